#include "tenancy/limits/fixed_window.h"

#include <optional>

namespace tenancy {

namespace {

constexpr int kCountBits = 30;
constexpr int kTimeBits = 31;
constexpr uint64_t kCountMax = (uint64_t{1} << kCountBits) - 1;
constexpr uint64_t kTimeMask = (uint64_t{1} << kTimeBits) - 1;
constexpr uint64_t kUsed = uint64_t{1} << 61;

// The time line of one policy, seen from one moment.
class Line {
 public:
  Line(const LimitPolicy& policy, int64_t now_ns)
      : anchored_(policy.anchor_first),
        window_ns_(policy.window_ns),
        tick_(Tick::of(window_ns_, 10'000)),
        now_ns_(now_ns),
        time_(time_at(now_ns)) {}

  int64_t now_ns() const { return now_ns_; }
  // Where `ns` lies: its window, or the tick of a window that began then.
  int64_t time_at(int64_t ns) const { return anchored_ ? tick_.ceil(ns) : ns / window_ns_; }
  int64_t time_of(uint64_t word) const {
    return time_ -
           signed_difference<kTimeBits>(static_cast<uint64_t>(time_) - (word >> kCountBits));
  }
  bool ahead_of_clock(uint64_t word) const { return time_of(word) > time_; }
  int64_t end_ns(int64_t time) const {
    return time * (anchored_ ? tick_.ns() : window_ns_) + window_ns_;
  }
  bool over(uint64_t word) const { return end_ns(time_of(word)) <= now_ns_; }
  bool holds(uint64_t word, int64_t ns) const {
    return anchored_ ? time_of(word) <= time_at(ns) : time_of(word) == time_at(ns);
  }
  int64_t now_end_ns() const { return end_ns(time_); }
  uint64_t word_now(uint64_t count) const {
    return kUsed | (static_cast<uint64_t>(time_) & kTimeMask) << kCountBits | count;
  }

 private:
  bool anchored_;
  int64_t window_ns_;
  Tick tick_;
  int64_t now_ns_;
  int64_t time_;
};

struct Count {
  uint64_t used;
  int64_t end_ns;
};

void answer(const Attempt& attempt, const Count& count, int64_t now_ns, bool allowed,
            LimitState* state) {
  const uint64_t limit = attempt.policy.limit;
  state->allowed = allowed;
  state->remaining = limit > count.used ? limit - count.used : 0;
  state->reset_after_ns = count.used == 0 ? 0 : count.end_ns - now_ns;
  state->retry_after_ns = allowed ? 0 : count.end_ns - now_ns;
}

std::optional<Outcome> try_once(const Attempt& attempt, const SlotRef& slot, LimitState* state) {
  const uint64_t word = slot.state->load(std::memory_order_acquire);
  if (is_moved(word)) return Outcome::kElsewhere;
  Line line(attempt.policy, attempt.now_ns);
  const uint64_t counted = word & kCountMax;
  // The expiry is read after the word, whose writer raised it first.
  bool fresh = counted == 0 || expiry_ns(slot) <= attempt.now_ns;
  bool stepped_back = false;
  if (!fresh && line.ahead_of_clock(word)) {
    line = Line(attempt.policy, later_now_ns(attempt));
    stepped_back = line.ahead_of_clock(word);
  }
  fresh = fresh || line.over(word);
  const bool keeps = !fresh && !stepped_back;
  Count count{fresh ? 0 : counted, keeps ? line.end_ns(line.time_of(word)) : line.now_end_ns()};

  const bool allowed = count.used + attempt.cost <= attempt.policy.limit;
  const uint64_t taken = allowed && attempt.take ? attempt.cost : 0;
  // What was counted in the future counts in this window, written even when only looking or
  // refusing: else it would stay until the clock comes there again.
  if (taken != 0 || stepped_back) {
    count.used += taken;
    const uint64_t desired = keeps ? word + taken : line.word_now(count.used);
    if (!CounterTable::raise_expiry(slot, count.end_ns)) return Outcome::kElsewhere;
    if (!swap_word(*slot.state, word, desired)) return std::nullopt;
  }
  answer(attempt, count, line.now_ns(), allowed, state);
  if (attempt.pending != nullptr && allowed && !stepped_back) {
    *attempt.pending = {
        .word = slot.state,
        .expected = word,
        .desired = keeps ? word + attempt.cost : line.word_now(count.used + attempt.cost),
        .until_ns = count.end_ns,
        .reset_after_ns = count.end_ns - line.now_ns()};
  }
  return Outcome::kDone;
}

}  // namespace

Outcome fixed_window_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state) {
  while (true) {
    const std::optional<Outcome> outcome = try_once(attempt, slot, state);
    if (outcome) return *outcome;
  }
}

Outcome fixed_window_refund(const LimitHit& hit, const SlotRef& slot, int64_t taken_ns,
                            int64_t now_ns) {
  while (true) {
    const uint64_t word = slot.state->load(std::memory_order_acquire);
    if (is_moved(word)) return Outcome::kElsewhere;
    const uint64_t counted = word & kCountMax;
    const Line line(*hit.policy, now_ns);
    if (counted == 0 || expiry_ns(slot) <= now_ns || line.over(word) ||
        !line.holds(word, taken_ns)) {
      return Outcome::kDone;
    }
    if (swap_word(*slot.state, word, word - std::min(hit.cost, counted))) return Outcome::kDone;
  }
}

Outcome fixed_window_reset(const SlotRef& slot) {
  while (true) {
    const uint64_t word = slot.state->load(std::memory_order_acquire);
    if (is_moved(word)) return Outcome::kElsewhere;
    if (word == 0 || swap_word(*slot.state, word, word & ~kCountMax)) return Outcome::kDone;
  }
}

}  // namespace tenancy
