// NameMap: from the hash of a name to an index, sharing shards between copies. Internal.
//
// It holds 32 bits of the hash and the index, eight bytes in all, and no names: the caller says
// whether an index is the one meant. So copying a shard, which every change does, copies plain
// memory.
//
// Ownership: a value type. Thread safety: as CowShards.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/hash/hash.h"
#include "absl/strings/string_view.h"
#include "tenancy/base/cow_map.h"
#include "tenancy/tenants/slabs.h"

namespace tenancy::tenants {

constexpr uint32_t kNothing = UINT32_MAX;

// Differs from run to run; never leaves memory.
inline uint64_t name_hash(std::string_view name) {
  return absl::Hash<absl::string_view>{}(absl::string_view(name.data(), name.size()));
}

// Linear probing in a power of two of slots, at most three quarters full; erasing closes the gap.
class NameShard {
 public:
  template <class Match>
  uint32_t find(uint32_t tag, const Match& match) const {
    if (slots_.empty()) return kNothing;
    for (size_t at = tag & mask();; at = (at + 1) & mask()) {
      const Slot& slot = slots_[at];
      if (slot.index == kNothing) return kNothing;
      if (slot.tag == tag && match(slot.index)) return slot.index;
    }
  }

  void prefetch(uint32_t tag) const {
    if (!slots_.empty()) __builtin_prefetch(&slots_[tag & mask()]);
  }

  void insert(uint32_t tag, uint32_t index) {
    if ((used_ + 1) * 4 > slots_.size() * 3) grow();
    place({tag, index});
    ++used_;
  }

  bool erase(uint32_t tag, uint32_t index) {
    if (slots_.empty()) return false;
    size_t at = tag & mask();
    while (slots_[at].index != index || slots_[at].tag != tag) {
      if (slots_[at].index == kNothing) return false;
      at = (at + 1) & mask();
    }
    close_gap(at);
    --used_;
    return true;
  }

  size_t memory_bytes() const { return sizeof(*this) + slots_.capacity() * sizeof(Slot); }

 private:
  struct Slot {
    uint32_t tag = 0;
    uint32_t index = kNothing;
  };

  using Slots = std::vector<Slot, SlabAllocator<Slot>>;

  size_t mask() const { return slots_.size() - 1; }

  void place(Slot slot) {
    size_t at = slot.tag & mask();
    while (slots_[at].index != kNothing) at = (at + 1) & mask();
    slots_[at] = slot;
  }

  void grow() {
    Slots old(slots_.empty() ? 4 : slots_.size() * 2);
    old.swap(slots_);
    for (const Slot& slot : old) {
      if (slot.index != kNothing) place(slot);
    }
  }

  // Moves back every later slot of the run that may stand in the hole without hiding from its home.
  void close_gap(size_t hole) {
    for (size_t at = (hole + 1) & mask(); slots_[at].index != kNothing; at = (at + 1) & mask()) {
      const size_t home = slots_[at].tag & mask();
      if (((at - home) & mask()) >= ((at - hole) & mask())) {
        slots_[hole] = slots_[at];
        hole = at;
      }
    }
    slots_[hole] = Slot{};
  }

  Slots slots_;
  size_t used_ = 0;
};

class NameMap {
 public:
  // The index under `hash` for which `match` holds, or kNothing.
  template <class Match>
  uint32_t find(uint64_t hash, const Match& match) const {
    const NameShard* shard = shards_.find(hash);
    return shard == nullptr ? kNothing : shard->find(static_cast<uint32_t>(hash), match);
  }
  // Asks the memory for what `find` reads, a little later.
  void prefetch(uint64_t hash) const {
    const NameShard* shard = shards_.find(hash);
    if (shard != nullptr) shard->prefetch(static_cast<uint32_t>(hash));
  }
  void insert(uint64_t hash, uint32_t index) {
    shards_.edit(hash).insert(static_cast<uint32_t>(hash), index);
  }
  // False when it was not there.
  bool erase(uint64_t hash, uint32_t index) {
    return shards_.edit(hash).erase(static_cast<uint32_t>(hash), index);
  }
  size_t memory_bytes() const {
    size_t bytes = 0;
    shards_.for_each_shard([&bytes](const NameShard& shard) { bytes += shard.memory_bytes(); });
    return bytes;
  }

 private:
  CowShards<NameShard> shards_;
};

}  // namespace tenancy::tenants
