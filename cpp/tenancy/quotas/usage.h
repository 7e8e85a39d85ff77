// Usage: the counters of one quota in one period, on the words of a kWords8 slot. Internal.
//
//   word 0  total: used and reserved together. One swap of it decides every consumption.
//   word 1  used: what was kept. Never above total: it is raised after total and lowered before
//           it, so a process killed in between leaves total too high by its amount, never too low.
//   word 2  alerts acknowledged, a bit per threshold.
//   word 3  how often something was about to be lowered or a reservation to be freed; raised before
//           it is. By this `Quotas::reconcile` knows that nothing was while it looked.
//
// Thread safety: the words are shared; see FORMATS.md for the order of changes.
#pragma once

#include <algorithm>
#include <cstdint>

#include "tenancy/quotas/cells.h"

namespace tenancy::quotas {

enum class Take : uint8_t { kTaken, kRefused, kFull };

struct Usage {
  uint64_t total = 0;
  uint64_t used = 0;
  uint64_t reserved() const { return total > used ? total - used : 0; }
};

class UsageCells : public Cells {
 public:
  UsageCells(CounterTable* table, uint64_t key) : Cells(table, SlotClass::kWords8, key) {}

  Usage read() {
    Usage usage;
    usage.used = number_of(load(kUsed));  // first: it is the one that may not pass the other
    usage.total = std::max(number_of(load(kTotal)), usage.used);
    return usage;
  }

  // Adds `amount` to the total when that stays within `cap`.
  Take take(uint64_t amount, uint64_t cap) {
    for (;;) {
      const uint64_t seen = load(kTotal);
      if (!present()) return Take::kFull;
      const uint64_t total = number_of(seen);
      if (amount > cap || total > cap - amount) return Take::kRefused;
      if (swap(kTotal, seen, number_word(total + amount))) return Take::kTaken;
    }
  }

  // Of what was taken, `amount` is used now.
  void book(uint64_t amount) {
    if (amount == 0) return;
    update(kUsed, [amount](uint64_t word) {
      return number_word(std::min(number_of(word) + amount, kAmountMax));
    });
  }

  // Comes before every call that lowers, and before a record that holds some of it is freed.
  void about_to_lower() {
    update(kLowerings, [](uint64_t word) { return number_word(number_of(word) + 1); });
  }
  uint64_t lowerings() { return load(kLowerings); }
  // Raises it from `seen`; false when something is being lowered since.
  bool claim(uint64_t seen) { return swap(kLowerings, seen, number_word(number_of(seen) + 1)); }
  // Takes `amount` off a total that is still `total`.
  bool drop(uint64_t total, uint64_t amount) {
    return swap(kTotal, number_word(total), number_word(total - amount));
  }

  // Of what was taken, `amount` is free again.
  void give_back(uint64_t amount) {
    if (amount == 0) return;
    update(kTotal, [amount](uint64_t word) {
      return number_word(number_of(word) - std::min(number_of(word), amount));
    });
  }

  // Lowers the use by up to `amount`.
  void lower(uint64_t amount) {
    about_to_lower();
    uint64_t lowered = 0;
    update(kUsed, [amount, &lowered](uint64_t word) {
      lowered = std::min(number_of(word), amount);
      return lowered == 0 ? word : number_word(number_of(word) - lowered);
    });
    give_back(lowered);
  }

  // Makes the use `used`, whatever the limit; reservations stay on top. False when the total would
  // pass what a word can hold, or the slot is gone.
  bool set_used(uint64_t used) {
    for (;;) {
      const uint64_t seen = load(kUsed);
      if (!present()) return false;
      const uint64_t before = number_of(seen);
      about_to_lower();
      const uint64_t more = used > before ? used - before : 0;
      if (more > 0 && take(more, kAmountMax) != Take::kTaken) return false;
      if (swap(kUsed, seen, number_word(used))) {
        if (used < before) give_back(before - used);
        return true;
      }
      give_back(more);
    }
  }

  uint8_t acknowledged() { return static_cast<uint8_t>(number_of(load(kAlerts))); }
  void acknowledge(uint8_t alerts) {
    update(kAlerts, [alerts](uint64_t word) { return number_word(number_of(word) | alerts); });
  }

 private:
  static constexpr size_t kTotal = 0;
  static constexpr size_t kUsed = 1;
  static constexpr size_t kAlerts = 2;
  static constexpr size_t kLowerings = 3;
};

}  // namespace tenancy::quotas
