// NameMap: names to numbers or to small records, copy-on-write, packed for a million principals.
//
// A name of up to 23 bytes sits inside its 32-byte slot, so a look-up that hits touches one cache
// line besides the directory. A value is a number below 2^31, never 0, or a record: words beside
// the slots, whose first word says how many there are.
//
// Invariants:
//  1. Slots are filled by linear probing without gaps; a value of 0 is an empty slot.
//  2. A map below 2,048 names is one shard, below 16,384 it has 64, beyond that 4,096: a change
//  copies one
//     shard and at most two directory nodes.
//
// Ownership: a value; copies share shards. Thread safety: as in cow.h.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/access/cow.h"

namespace tenancy::access {

constexpr size_t kNameBytesMax = 1024;

// Differs from process to process: nobody outside can choose names that collide.
uint64_t hash_name(std::string_view name);

struct NameSlot {
  static constexpr uint8_t kInlineMax = 23;
  static constexpr uint8_t kElsewhere = 255;  // the text is (offset, length) into the shard's bytes

  uint32_t tag = 0;
  uint32_t value = 0;
  uint8_t length = 0;
  char text[kInlineMax] = {};
};
static_assert(sizeof(NameSlot) == 32);

struct NameShard {
  static constexpr uint32_t kRecordBit = uint32_t{1} << 31;

  EditToken token = 0;
  uint32_t used = 0;
  uint32_t dead = 0;  // words and bytes that nothing refers to any more
  std::vector<NameSlot> slots;
  std::vector<uint32_t> words;
  std::string bytes;

  std::string_view name_of(const NameSlot& slot) const {
    if (slot.length != NameSlot::kElsewhere) return {slot.text, slot.length};
    uint32_t where[2];
    std::memcpy(where, slot.text, sizeof where);
    return {bytes.data() + where[0], where[1]};
  }
  const NameSlot* find(std::string_view name, uint32_t tag) const;
  // The words of a record, its count included.
  std::span<const uint32_t> record(uint32_t value) const {
    const uint32_t* begin = words.data() + (value & ~kRecordBit);
    return {begin, *begin};
  }
};

class NameMap {
 public:
  // What a name stands for: a number, or a record of the shard. Lives as long as the map.
  struct Found {
    const NameShard* shard = nullptr;
    uint32_t value = 0;  // 0: unknown name

    explicit operator bool() const { return value != 0; }
    bool is_record() const { return (value & NameShard::kRecordBit) != 0; }
    std::span<const uint32_t> record() const { return shard->record(value); }
  };

  Found find(std::string_view name) const { return find(name, hash_name(name)); }
  Found find(std::string_view name, uint64_t hash) const;
  // Asks the memory for the name's slot, for a `find` a little later.
  void prefetch(uint64_t hash) const;
  // Inserts or replaces. `value` is 1 … 2^31 - 1.
  void put(std::string_view name, uint32_t value, EditToken token);
  // Inserts or replaces by a record; `words[0]` is filled in here.
  void put_record(std::string_view name, std::span<uint32_t> words, EditToken token);
  bool erase(std::string_view name, EditToken token);
  uint32_t size() const { return size_; }
  size_t memory_bytes() const;

  // Calls fn(std::string_view name, Found value) for each name, in no particular order.
  template <class Fn>
  void for_each(Fn&& fn) const {
    const auto visit = [&fn](const NameShard& shard) {
      for (const NameSlot& slot : shard.slots) {
        if (slot.value != 0) fn(shard.name_of(slot), Found{&shard, slot.value});
      }
    };
    if (single_ != nullptr) visit(*single_);
    if (pages_ != nullptr) pages_->shards.for_each(visit);
  }

 private:
  struct Pages {
    EditToken token = 0;
    CowPages<NameShard> shards;
  };

  const NameShard* shard_of(uint64_t hash) const {
    if (pages_ == nullptr) return single_.get();
    return pages_->shards.find(position_of(hash));
  }
  uint32_t position_of(uint64_t hash) const { return static_cast<uint32_t>(hash >> (64 - bits_)); }
  NameShard& edit_shard(uint64_t hash, EditToken token);
  NameSlot& slot_for(NameShard& shard, std::string_view name, uint64_t hash);
  void spread(uint32_t bits, EditToken token);

  std::shared_ptr<NameShard> single_;  // while there is one shard only
  std::shared_ptr<Pages> pages_;       // otherwise; the top `bits_` of the hash choose the shard
  uint32_t size_ = 0;
  uint32_t bits_ = 0;
};

}  // namespace tenancy::access
