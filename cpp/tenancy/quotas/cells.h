// Cells: the state words of one slot, wherever the slot is at the moment. Internal to this layer.
//
// A slot may be frozen and moved by anybody at any time; every access here notices it and goes to
// the new place. A word that was never written reads as 0.
//
// Ownership: borrows the table; lives for one operation. Thread safety: belongs to one thread,
// works on words that all processes share.
#pragma once

#include <cstddef>
#include <cstdint>

#include "tenancy/counters/table.h"

namespace tenancy::quotas {

class Cells {
 public:
  Cells(CounterTable* table, SlotClass slot_class, uint64_t key)
      : table_(table), slot_class_(slot_class), key_(key) {}

  // Finds the slot, or makes it, and keeps it from expiring before `until_ns` (table time). False
  // when the region has no room.
  bool make(int64_t until_ns) {
    until_ns_ = until_ns;
    makes_ = true;
    return locate();
  }
  // Finds the slot; false when there is none. `load` of an absent slot gives 0, changes do nothing.
  bool find() {
    makes_ = false;
    return locate();
  }

  // Keeps a found slot from expiring before `until_ns`. False when it is gone.
  bool keep(int64_t until_ns) {
    while (slot_ && !CounterTable::raise_expiry(slot_, until_ns)) locate();
    return present();
  }

  uint64_t load(size_t word) {
    while (slot_) {
      const uint64_t seen = slot_.state[word].load();
      if ((seen & kMarks) == 0) return seen;
      if (!locate()) break;
    }
    return 0;
  }

  // False when the word is not `expected` any more, or the slot is gone.
  bool swap(size_t word, uint64_t expected, uint64_t desired) {
    while (slot_) {
      uint64_t seen = expected;
      if (slot_.state[word].compare_exchange_strong(seen, desired)) return true;
      if ((seen & kMarks) == 0) return false;
      if (!locate()) break;
    }
    return false;
  }

  // Replaces the word by `next(word)` until nobody interferes. False when the slot is gone.
  template <class Next>
  bool update(size_t word, const Next& next) {
    while (slot_) {
      const uint64_t seen = load(word);
      if (!slot_) return false;
      const uint64_t desired = next(seen);
      if (desired == seen || swap(word, seen, desired)) return true;
    }
    return false;
  }

  bool present() const { return static_cast<bool>(slot_); }
  uint64_t key() const { return key_; }

 private:
  static constexpr uint64_t kMarks = kFrozen | kMoved;

  bool locate() {
    slot_ = SlotRef{};  // lets go of the old place first: two pins are never needed
    for (;;) {
      if (!makes_) {
        slot_ = table_->find(Region::kTenant, slot_class_, key_, key_);
        return present();
      }
      Result<SlotRef> made = table_->find_or_insert(Region::kTenant, slot_class_, key_, key_);
      if (!made.ok()) return false;
      if (!CounterTable::raise_expiry(*made, until_ns_)) continue;  // frozen: look again
      slot_ = *made;
      return true;
    }
  }

  CounterTable* table_;
  SlotClass slot_class_;
  uint64_t key_;
  int64_t until_ns_ = 0;
  bool makes_ = false;
  SlotRef slot_{};
};

// A number in a state word: never 0 once written.
constexpr uint64_t kAmountMax = (uint64_t{1} << 61) - 1;
constexpr uint64_t number_word(uint64_t number) { return number << 1 | 1; }
constexpr uint64_t number_of(uint64_t word) { return word >> 1; }

// Table time at which nothing ever arrives.
constexpr int64_t kForeverNs = static_cast<int64_t>(kStateMask);

// 0 and all ones mean something else to the table.
inline uint64_t usable_key(uint64_t hash) { return hash + 1 > 1 ? hash : hash ^ 2; }

// The words of the table that this layer uses.
constexpr size_t kWallMarkWord = 14;     // the latest wall clock anybody saw, ns
constexpr size_t kLedgerCountWord = 15;  // ledgers ever made

}  // namespace tenancy::quotas
