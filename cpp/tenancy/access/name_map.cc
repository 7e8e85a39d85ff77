#include "tenancy/access/name_map.h"

#include <absl/hash/hash.h>
#include <absl/strings/string_view.h>

#include <algorithm>
#include <atomic>
#include <utility>

namespace tenancy::access {

namespace {

constexpr uint32_t kSlotsMin = 2;
constexpr uint32_t kOneShardMax = 2'048;
constexpr uint32_t kOnePageMax = 16'384;

uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash); }

size_t home_of(uint32_t tag, size_t slots) {
  return static_cast<size_t>((static_cast<uint64_t>(tag) * slots) >> 32);
}

// At most three quarters full, and growing by a third: between growths a shard is 56 to 75 % full.
size_t slots_wanted(size_t used, size_t slots) {
  if ((used + 1) * 4 <= slots * 3) return slots;
  return std::max<size_t>(kSlotsMin, (used + 1) * 4 / 3 + used / 3 + 1);
}

void set_name(NameShard& shard, NameSlot& slot, std::string_view name) {
  if (name.size() <= NameSlot::kInlineMax) {
    slot.length = static_cast<uint8_t>(name.size());
    std::memcpy(slot.text, name.data(), name.size());
    return;
  }
  const uint32_t where[2] = {static_cast<uint32_t>(shard.bytes.size()),
                             static_cast<uint32_t>(name.size())};
  slot.length = NameSlot::kElsewhere;
  std::memcpy(slot.text, where, sizeof where);
  shard.bytes.append(name);
}

uint32_t append_record(NameShard& shard, std::span<const uint32_t> words) {
  const auto offset = static_cast<uint32_t>(shard.words.size());
  shard.words.insert(shard.words.end(), words.begin(), words.end());
  shard.words[offset] = static_cast<uint32_t>(words.size());
  return offset | NameShard::kRecordBit;
}

// The first empty slot for a tag; the caller has made sure there is one.
NameSlot& empty_slot(std::vector<NameSlot>& slots, uint32_t tag) {
  size_t at = home_of(tag, slots.size());
  while (slots[at].value != 0) at = at + 1 == slots.size() ? 0 : at + 1;
  return slots[at];
}

void resize(NameShard& shard, size_t slots) {
  std::vector<NameSlot> old(slots);
  old.swap(shard.slots);
  for (const NameSlot& slot : old) {
    if (slot.value != 0) empty_slot(shard.slots, slot.tag) = slot;
  }
}

// Copies an entry with its text and record, so that nothing dead comes along.
void transfer(const NameShard& from, const NameSlot& slot, NameShard& to) {
  const size_t slots = slots_wanted(to.used, to.slots.size());
  if (slots != to.slots.size()) resize(to, slots);
  NameSlot& copy = empty_slot(to.slots, slot.tag);
  copy.tag = slot.tag;
  set_name(to, copy, from.name_of(slot));
  copy.value = (slot.value & NameShard::kRecordBit) != 0
                   ? append_record(to, from.record(slot.value))
                   : slot.value;
  ++to.used;
}

void bury(NameShard& shard, const NameSlot& slot, bool with_name) {
  if ((slot.value & NameShard::kRecordBit) != 0) shard.dead += shard.record(slot.value).front();
  if (with_name && slot.length == NameSlot::kElsewhere) {
    shard.dead += static_cast<uint32_t>(shard.name_of(slot).size() / 4);
  }
}

void compact_if_worth_it(NameShard& shard) {
  if (shard.dead < 64 || shard.dead * 2 < shard.words.size() + shard.bytes.size() / 4) return;
  NameShard fresh;
  fresh.token = shard.token;
  for (const NameSlot& slot : shard.slots) {
    if (slot.value != 0) transfer(shard, slot, fresh);
  }
  shard = std::move(fresh);
}

}  // namespace

EditToken next_edit_token() {
  static std::atomic<EditToken> last{0};
  return last.fetch_add(1, std::memory_order_relaxed) + 1;
}

uint64_t hash_name(std::string_view name) {
  return absl::Hash<absl::string_view>{}(absl::string_view(name.data(), name.size()));
}

const NameSlot* NameShard::find(std::string_view name, uint32_t tag) const {
  if (slots.empty()) return nullptr;
  const NameSlot* const begin = slots.data();
  const NameSlot* const end = begin + slots.size();
  const NameSlot* slot = begin + home_of(tag, slots.size());
  while (slot->value != 0) {
    if (slot->tag == tag) {
      const std::string_view held = name_of(*slot);
      if (held.size() == name.size() && std::memcmp(held.data(), name.data(), name.size()) == 0) {
        return slot;
      }
    }
    if (++slot == end) slot = begin;
  }
  return nullptr;
}

void NameMap::prefetch(uint64_t hash) const {
  const NameShard* shard = shard_of(hash);
  if (shard == nullptr || shard->slots.empty()) return;
  __builtin_prefetch(&shard->slots[home_of(tag_of(hash), shard->slots.size())]);
}

NameMap::Found NameMap::find(std::string_view name, uint64_t hash) const {
  const NameShard* shard = shard_of(hash);
  if (shard == nullptr) return {};
  const NameSlot* slot = shard->find(name, tag_of(hash));
  return slot == nullptr ? Found{} : Found{shard, slot->value};
}

NameShard& NameMap::edit_shard(uint64_t hash, EditToken token) {
  if (bits_ == 0 && size_ >= kOneShardMax) spread(6, token);
  if (bits_ == 6 && size_ >= kOnePageMax) spread(12, token);
  if (bits_ == 0) return own(single_, token);
  return own(pages_, token).shards.edit(position_of(hash), token);
}

void NameMap::spread(uint32_t bits, EditToken token) {
  NameMap wider;
  wider.bits_ = bits;
  wider.size_ = size_;
  Pages& pages = own(wider.pages_, token);
  const auto move_all = [&](const NameShard& shard) {
    for (const NameSlot& slot : shard.slots) {
      if (slot.value == 0) continue;
      const uint64_t hash = hash_name(shard.name_of(slot));
      transfer(shard, slot, pages.shards.edit(wider.position_of(hash), token));
    }
  };
  if (single_ != nullptr) move_all(*single_);
  if (pages_ != nullptr) pages_->shards.for_each(move_all);
  *this = std::move(wider);
}

// The name's slot, made when it is new; its value is still the old one, or 0.
NameSlot& NameMap::slot_for(NameShard& shard, std::string_view name, uint64_t hash) {
  if (const NameSlot* known = shard.find(name, tag_of(hash))) {
    return shard.slots[static_cast<size_t>(known - shard.slots.data())];
  }
  const size_t slots = slots_wanted(shard.used, shard.slots.size());
  if (slots != shard.slots.size()) resize(shard, slots);
  NameSlot& slot = empty_slot(shard.slots, tag_of(hash));
  slot.tag = tag_of(hash);
  set_name(shard, slot, name);
  ++shard.used;
  ++size_;
  return slot;
}

void NameMap::put(std::string_view name, uint32_t value, EditToken token) {
  const uint64_t hash = hash_name(name);
  NameShard& shard = edit_shard(hash, token);
  NameSlot& slot = slot_for(shard, name, hash);
  bury(shard, slot, false);
  slot.value = value;
  compact_if_worth_it(shard);
}

void NameMap::put_record(std::string_view name, std::span<uint32_t> words, EditToken token) {
  const uint64_t hash = hash_name(name);
  NameShard& shard = edit_shard(hash, token);
  NameSlot& slot = slot_for(shard, name, hash);
  bury(shard, slot, false);
  slot.value = append_record(shard, words);
  compact_if_worth_it(shard);
}

bool NameMap::erase(std::string_view name, EditToken token) {
  const uint64_t hash = hash_name(name);
  const NameShard* before = shard_of(hash);
  if (before == nullptr || before->find(name, tag_of(hash)) == nullptr) return false;
  NameShard& shard = edit_shard(hash, token);
  std::vector<NameSlot>& slots = shard.slots;
  auto hole = static_cast<size_t>(shard.find(name, tag_of(hash)) - slots.data());
  bury(shard, slots[hole], true);
  // Close the gap: whoever could not sit nearer to its home because of it moves up.
  for (size_t at = hole + 1 == slots.size() ? 0 : hole + 1; slots[at].value != 0;
       at = at + 1 == slots.size() ? 0 : at + 1) {
    const size_t home = home_of(slots[at].tag, slots.size());
    const bool home_between =
        hole <= at ? (hole < home && home <= at) : (hole < home || home <= at);
    if (home_between) continue;
    slots[hole] = slots[at];
    hole = at;
  }
  slots[hole] = NameSlot{};
  --shard.used;
  --size_;
  compact_if_worth_it(shard);
  return true;
}

size_t NameMap::memory_bytes() const {
  size_t bytes = 0;
  const auto add = [&bytes](const NameShard& shard) {
    bytes += sizeof shard + 16 + shard.slots.capacity() * sizeof(NameSlot) +
             shard.words.capacity() * sizeof(uint32_t) + shard.bytes.capacity();
  };
  if (single_ != nullptr) add(*single_);
  if (pages_ != nullptr) {
    pages_->shards.for_each(add);
    bytes += pages_->shards.memory_bytes();
  }
  return bytes;
}

}  // namespace tenancy::access
