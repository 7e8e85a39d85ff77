// Interners: give ids their positions 0, 1, 2, … in the order in which they first come. Internal to
// this layer.
//
// Open addressing, at most half full, grown by doubling. The hash is salted per process, so that
// nobody can prepare ids that collide.
//
// Ownership: texts are borrowed. Thread safety: one thread.
#pragma once

#include <absl/hash/hash.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace tenancy {

// Another number in every process.
inline const uint64_t kHashSalt = absl::HashOf(uint64_t{0x9e3779b97f4a7c15});

// Two multiplications, one by the salt: enough for a table, and half the time of a general hash.
inline uint64_t hash_of(int64_t id) {
  const auto value = static_cast<uint64_t>(id) ^ kHashSalt;
  uint64_t mixed = value * 0xbf58476d1ce4e5b9ULL;
  mixed ^= mixed >> 32;
  mixed *= kHashSalt | 1;
  return mixed ^ (mixed >> 29);
}

inline uint64_t hash_of(std::string_view id) { return absl::HashOf(id); }

template <class Id>
class Interner {
 public:
  Interner() : slots_(kSlotsMin) {}

  uint32_t position(Id id) {
    const uint64_t hash = hash_of(id);
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].next != 0) {
      if (slots_[at].tag == static_cast<uint32_t>(hash >> 32) && ids_[slots_[at].next - 1] == id) {
        return slots_[at].next - 1;
      }
      at = (at + 1) & (slots_.size() - 1);
    }
    return insert(id, hash);
  }

  const std::vector<Id>& ids() const { return ids_; }

 private:
  static constexpr size_t kSlotsMin = 1024;

  struct Slot {
    uint32_t next = 0;  // the position + 1
    uint32_t tag = 0;   // the upper half of the hash
  };

  uint32_t insert(Id id, uint64_t hash) {
    ids_.push_back(id);
    hashes_.push_back(hash);
    if (ids_.size() * 2 > slots_.size()) {
      slots_.assign(slots_.size() * 2, Slot());
      for (size_t i = 0; i < ids_.size(); ++i) place(i);
    } else {
      place(ids_.size() - 1);
    }
    return static_cast<uint32_t>(ids_.size() - 1);
  }

  void place(size_t position) {
    const uint64_t hash = hashes_[position];
    size_t at = hash & (slots_.size() - 1);
    while (slots_[at].next != 0) at = (at + 1) & (slots_.size() - 1);
    slots_[at] = {static_cast<uint32_t>(position + 1), static_cast<uint32_t>(hash >> 32)};
  }

  std::vector<Slot> slots_;
  std::vector<Id> ids_;
  std::vector<uint64_t> hashes_;
};

}  // namespace tenancy
