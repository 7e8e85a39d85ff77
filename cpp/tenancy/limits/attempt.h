// What the algorithms share: one attempt at one counter, and the arithmetic of time.
//
// Internal to the layer. An algorithm is three functions on the words of one slot:
//   <name>_attempt  looks, and takes when asked to; fills the answer
//   <name>_refund   gives back
//   <name>_reset    forgets
// Each returns kElsewhere when it met a frozen word: the caller looks the slot up again.
//
// Thread safety: all of it from any thread or process; the slot words are the only shared state.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cstdint>

#include "tenancy/catalog/limit_policy.h"
#include "tenancy/counters/table.h"
#include "tenancy/limits/limiter.h"

namespace tenancy {

__extension__ using WideUint = unsigned __int128;

enum class Outcome : uint8_t { kDone, kElsewhere };

struct Attempt {
  const LimitPolicy& policy;
  const CounterTable& table;  // for reading the clock again
  uint64_t cost;              // <= policy.capacity()
  bool take;                  // false: look only
  int64_t now_ns;
};

// The clock, read again because the state is ahead of the time this attempt began with. A slow
// process is behind what others have written meanwhile; only when a second reading, made after the
// state was read, is behind as well has the clock stepped back.
inline int64_t later_now_ns(const Attempt& attempt) {
  return std::max(attempt.now_ns, attempt.table.now_ns());
}

inline bool is_moved(uint64_t word) { return (word & (kFrozen | kMoved)) != 0; }

// Table time after which the slot equals "never seen".
inline int64_t expiry_ns(const SlotRef& slot) {
  return static_cast<int64_t>(slot.expiry->load(std::memory_order_acquire) & kStateMask);
}

// Swaps a state word. False: somebody else changed it first.
inline bool swap_word(std::atomic<uint64_t>& word, uint64_t expected, uint64_t desired) {
  return word.compare_exchange_strong(expected, desired, std::memory_order_acq_rel,
                                      std::memory_order_acquire);
}

// The largest power of ten that divides `window_ns` into at least `parts` (1 ns at least): times
// stored in such ticks are exact for the moments people choose, so a burst made at a whole second
// is forgotten exactly one window later.
inline int64_t tick_length_ns(int64_t window_ns, int64_t parts) {
  constexpr auto kPowers = [] {
    std::array<int64_t, 19> powers{};
    int64_t power = 1;
    for (int64_t& value : powers) {
      value = power;
      power = power > INT64_MAX / 10 ? power : power * 10;
    }
    return powers;
  }();
  const int64_t longest = std::max<int64_t>(window_ns / parts, 1);
  // 1233 / 4096 is just above log10(2): the guess is right or one too high.
  const unsigned bits = static_cast<unsigned>(std::bit_width(static_cast<uint64_t>(longest)));
  const size_t guess = (bits * 1233) >> 12;
  return kPowers[guess] > longest ? kPowers[guess - 1] : kPowers[guess];
}

inline int64_t ceil_div(int64_t value, int64_t by) { return (value + by - 1) / by; }

// `difference` of two counters that keep only `kBits` bits, as the nearest signed number.
template <int kBits>
int64_t signed_difference(uint64_t difference) {
  return static_cast<int64_t>(difference << (64 - kBits)) >> (64 - kBits);
}

}  // namespace tenancy
