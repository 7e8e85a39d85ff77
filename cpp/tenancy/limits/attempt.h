// What the algorithms share: one attempt at one counter, and the arithmetic of time.
//
// Internal to the layer. An algorithm is three functions on the words of one slot:
//   <name>_attempt  looks, and takes when asked to; fills the answer. A look notes the swap that
//                   would take (Pending), so that taking what was looked at needs no second look
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

// The one swap that would take what a look found to fit. It stands on the word that the look read:
// however much later it is made, it succeeds only if nothing was counted in between.
struct Pending {
  std::atomic<uint64_t>* word = nullptr;  // null: it takes more than one swap, look again
  uint64_t expected = 0;
  uint64_t desired = 0;
  int64_t until_ns = 0;        // the expiry that has to be raised before
  int64_t reset_after_ns = 0;  // what the answer says then
};

struct Attempt {
  const LimitPolicy& policy;
  const CounterTable& table;  // for reading the clock again
  uint64_t cost;              // <= policy.capacity()
  bool take;                  // false: look only
  int64_t now_ns;
  Pending* pending = nullptr;  // of a look; may be null
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

// Takes what a look found. False: somebody counted meanwhile or the slot has moved; nothing was
// taken.
inline bool take_pending(const SlotRef& slot, const Pending& pending) {
  return pending.word != nullptr && CounterTable::raise_expiry(slot, pending.until_ns) &&
         swap_word(*pending.word, pending.expected, pending.desired);
}

// Division by a power of ten that is known only at run time, without a division or a jump that the
// processor would have to guess: the six windows of one decision have six different units.
struct PowerOfTen {
  uint64_t value = 1;
  uint64_t reciprocal = 0;  // ceil(2^(64 + shift) / value)
  unsigned shift = 0;       // floor(log2(value))

  // Exact for dividend < 2^63: the reciprocal is too large by less than value / 2^(64 + shift), and
  // value < 2^(shift + 1), so the quotient is too large by less than 1 / value. (Granlund and
  // Montgomery, "Division by Invariant Integers using Multiplication", 1994, theorem 4.2.)
  uint64_t divide(uint64_t dividend) const {
    const auto high = static_cast<uint64_t>((WideUint{dividend} * reciprocal) >> 64);
    return value == 1 ? dividend : high >> shift;
  }
};

inline constexpr auto kPowersOfTen = [] {
  std::array<PowerOfTen, 14> powers{};
  uint64_t value = 1;
  for (PowerOfTen& power : powers) {
    power.value = value;
    power.shift = static_cast<unsigned>(std::bit_width(value)) - 1;
    if (value > 1) {
      power.reciprocal =
          static_cast<uint64_t>(((WideUint{1} << (64 + power.shift)) + value - 1) / value);
    }
    value *= 10;
  }
  return powers;
}();

// The unit of stored times: a power of ten of nanoseconds, so that it divides the moments people
// choose and a burst made at a whole second is forgotten exactly one window later.
class Tick {
 public:
  // The largest that fits at least `parts` times into the window; 1 ns at least. 400 days / 10^4 is
  // below 10^13.
  static Tick of(int64_t window_ns, int64_t parts) {
    const uint64_t longest = static_cast<uint64_t>(std::max<int64_t>(window_ns / parts, 1));
    // 1233 / 4096 is just above log10(2): the guess is right or one too high.
    unsigned exponent = (static_cast<unsigned>(std::bit_width(longest)) * 1233) >> 12;
    if (kPowersOfTen[exponent].value > longest) --exponent;
    return Tick(kPowersOfTen[exponent]);
  }

  int64_t ns() const { return static_cast<int64_t>(unit_->value); }
  // Both of values that are not negative.
  int64_t floor(int64_t ns) const {
    return static_cast<int64_t>(unit_->divide(static_cast<uint64_t>(ns)));
  }
  int64_t ceil(int64_t value_ns) const { return floor(value_ns + ns() - 1); }

 private:
  explicit Tick(const PowerOfTen& unit) : unit_(&unit) {}

  const PowerOfTen* unit_;
};

// `difference` of two counters that keep only `kBits` bits, as the nearest signed number.
template <int kBits>
int64_t signed_difference(uint64_t difference) {
  return static_cast<int64_t>(difference << (64 - kBits)) >> (64 - kBits);
}

}  // namespace tenancy
