// IdTable: a file of fixed size that remembers ids of usage events, mapped by all processes of a
// host. Internal to this layer. (FORMATS.md, 4.2)
//
// Open addressing with linear probing, at most half full. Entries are added, never changed, so
// those of one id lie in the order in which they came.
//
// Invariants:
//  1. An entry is there once its first word is, which is stored last: a process that is killed
//     while it adds leaves nothing or all of it.
//
// Ownership: unique. Thread safety: everything under the index's mutex.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tenancy/base/hash.h"
#include "tenancy/base/mapped_file.h"
#include "tenancy/base/status.h"
#include "tenancy/log/types.h"
#include "tenancy/metering/usage_event.h"

namespace tenancy::metering {

constexpr size_t kTableHeadBytes = 4096;
constexpr unsigned kTableLog2Min = 11;  // holds a whole batch
constexpr unsigned kTableLog2Max = 24;

// Where an event is, and what it does there, in one word: record (52 bits), number in its batch
// (10), action (2).
struct Place {
  uint64_t sequence = 0;
  uint32_t number = 0;
  Action action = Action::kRecord;

  uint64_t word() const {
    return sequence << 12 | uint64_t{number} << 2 | static_cast<uint64_t>(action);
  }
  static Place of(uint64_t word) {
    return {word >> 12, static_cast<uint32_t>(word >> 2 & 1023), static_cast<Action>(word & 3)};
  }
  bool operator==(const Place&) const = default;
};

// One event of an id.
struct IdEntry {
  uint64_t digest = 0;  // of the content
  Place place{};
};

class IdTable {
 public:
  // Whose table it is.
  struct Identity {
    log::LogId log_id{};
    uint64_t key_check = 0;
  };

  static Result<std::unique_ptr<IdTable>> make(const std::string& path, const Identity& identity,
                                               uint64_t number, unsigned slots_log2);
  // kDamaged, kForeign, kVersion: it is not that table.
  static Result<std::unique_ptr<IdTable>> open(const std::string& path, const Identity& identity,
                                               uint64_t number, unsigned slots_log2);

  uint64_t number() const { return head_->number.load(); }
  unsigned slots_log2() const { return static_cast<unsigned>(head_->slots_log2.load()); }
  uint64_t used() const { return head_->used.load(std::memory_order_relaxed); }
  uint64_t capacity() const { return (mask_ + 1) / 2; }
  int64_t first_ns() const { return static_cast<int64_t>(head_->first_ns.load()); }
  int64_t last_ns() const { return static_cast<int64_t>(head_->last_ns.load()); }

  void prefetch(const Hash128& id) const { __builtin_prefetch(&slots_[id.high & mask_]); }
  // Appends the entries of that id, in the order in which they were added.
  void find(const Hash128& id, std::vector<IdEntry>* out) const;
  bool contains(const Hash128& id, Place place) const;
  // There must be room. `now_ns` is never below that of the entry before.
  void add(const Hash128& id, const IdEntry& entry, int64_t now_ns);
  // Entries of records from there on count no more.
  void forget_from(uint64_t sequence);

 private:
  using Word = std::atomic<uint64_t>;
  struct Head {
    Word magic;
    Word version;
    Word log_id[2];
    Word key_check;
    Word number;
    Word slots_log2;
    Word used;
    Word first_ns;
    Word last_ns;
  };
  static_assert(sizeof(Head) <= kTableHeadBytes);
  // An empty slot has a `low` of 0; an id whose lower half is 0 has 1 there.
  struct Slot {
    Word low;
    Word high;
    Word digest;
    Word place;
  };
  static_assert(sizeof(Slot) == 32);

  explicit IdTable(std::unique_ptr<MappedFile> file);

  std::unique_ptr<MappedFile> file_;
  Head* head_;
  Slot* slots_;
  uint64_t mask_ = 0;
};

}  // namespace tenancy::metering
