#include "tenancy/limits/sliding_counter.h"

#include <optional>

#include "tenancy/limits/ring.h"

namespace tenancy {

namespace {

using Words = Ring<2, 30>;
using View = Words::View;

// What the estimate is made of, at one moment of one period.
struct Estimate {
  uint64_t previous = 0;
  uint64_t current = 0;
  uint64_t elapsed_ns = 0;  // of the period; < window
};

class Counter {
 public:
  Counter(const LimitPolicy& policy, const SlotRef& slot)
      : limit_(policy.limit),
        window_ns_(static_cast<uint64_t>(policy.window_ns)),
        slot_(slot),
        ring_(slot) {}

  Outcome attempt(const Attempt& attempt, LimitState* state) {
    while (true) {
      View view;
      if (ring_.locate(&view) == Outcome::kElsewhere) return Outcome::kElsewhere;
      const std::optional<Outcome> outcome = try_once(attempt, &view, state);
      if (outcome) return *outcome;
    }
  }

  Outcome refund(uint64_t cost, int64_t taken_ns, int64_t now_ns) {
    while (true) {
      View view;
      if (ring_.locate(&view) == Outcome::kElsewhere) return Outcome::kElsewhere;
      if (forgotten(view, now_ns)) return Outcome::kDone;
      set_now(now_ns);
      const int64_t taken = taken_ns / signed_window();
      size_t back = has_previous(view) && taken < period_of(view.newest_word) ? 1 : 0;
      uint64_t word = back == 0 ? view.newest_word : view.next_word;
      if (taken != period_of(word) || taken < period_ - 1) return Outcome::kDone;
      if (Words::count_of(word) == 0) {
        // Counted by a process that had read its clock in the period before, and was late.
        if (back == 0 || Words::count_of(view.newest_word) == 0) return Outcome::kDone;
        back = 0;
        word = view.newest_word;
      }
      if (ring_.give_back(view, back, word, cost)) return Outcome::kDone;
    }
  }

  Outcome reset(int64_t now_ns) {
    while (true) {
      View view;
      if (ring_.locate(&view) == Outcome::kElsewhere) return Outcome::kElsewhere;
      if (view.empty()) return Outcome::kDone;
      set_now(now_ns);
      if (ring_.seal(&view) && ring_.open(view, true, period_, 0)) return Outcome::kDone;
    }
  }

 private:
  int64_t signed_window() const { return static_cast<int64_t>(window_ns_); }
  void set_now(int64_t now_ns) {
    now_ns_ = now_ns;
    period_ = now_ns / signed_window();
  }
  uint64_t elapsed_ns() const { return static_cast<uint64_t>(now_ns_ - period_ * signed_window()); }
  int64_t period_of(uint64_t word) const { return period_ - Words::age(period_, word); }

  bool forgotten(const View& view, int64_t now_ns) const {
    return view.empty() || expiry_ns(slot_) <= now_ns;
  }
  bool ahead_of_clock(const View& view) const {
    const int64_t newest = period_of(view.newest_word);
    return newest > period_ || (view.sealed() && newest == period_);
  }
  // When what is counted now is forgotten.
  int64_t until_ns() const { return (period_ + 2) * signed_window(); }
  bool raise_expiry() const { return CounterTable::raise_expiry(slot_, until_ns()); }

  bool is_counted_now(const View& view, bool fresh) const {
    return !fresh && period_of(view.newest_word) == period_;
  }

  bool has_previous(const View& view) const {
    return !view.genesis() && (view.next_word & Words::kUsed) != 0 &&
           period_of(view.next_word) == period_of(view.newest_word) - 1;
  }

  Estimate estimate(const View& view, bool fresh) const {
    Estimate now{.previous = 0, .current = 0, .elapsed_ns = elapsed_ns()};
    if (fresh) return now;
    const uint64_t newest = Words::count_of(view.newest_word);
    if (period_of(view.newest_word) == period_) {
      now.current = newest;
      now.previous = has_previous(view) ? Words::count_of(view.next_word) : 0;
    } else {
      now.previous = newest;
    }
    return now;
  }

  // previous x rest + current x window, in units x nanoseconds.
  WideUint weight(const Estimate& now) const {
    return WideUint{now.previous} * (window_ns_ - now.elapsed_ns) +
           WideUint{now.current} * window_ns_;
  }
  bool fits(const Estimate& now, uint64_t cost) const {
    return weight(now) + WideUint{cost} * window_ns_ <= WideUint{limit_} * window_ns_;
  }

  // The shortest wait until `count` of the previous period has shrunk to `room` units.
  uint64_t shrink_ns(uint64_t count, uint64_t room) const {
    if (count <= room) return 0;
    return window_ns_ - static_cast<uint64_t>(WideUint{room} * window_ns_ / count);
  }
  uint64_t retry_ns(const Estimate& now, uint64_t cost) const {
    if (now.current + cost <= limit_) {
      return shrink_ns(now.previous, limit_ - now.current - cost) - now.elapsed_ns;
    }
    return window_ns_ - now.elapsed_ns + shrink_ns(now.current, limit_ - cost);
  }

  void answer(const Estimate& now, bool allowed, uint64_t cost, LimitState* state) const {
    const WideUint full = WideUint{limit_} * window_ns_;
    const WideUint used = weight(now);
    state->allowed = allowed;
    state->remaining = used >= full ? 0 : static_cast<uint64_t>((full - used) / window_ns_);
    const uint64_t rest_ns = window_ns_ - now.elapsed_ns;
    const uint64_t reset_ns = now.current != 0    ? rest_ns + window_ns_
                              : now.previous != 0 ? rest_ns
                                                  : 0;
    state->reset_after_ns = static_cast<int64_t>(reset_ns);
    state->retry_after_ns = allowed ? 0 : static_cast<int64_t>(retry_ns(now, cost));
  }

  std::optional<Outcome> try_once(const Attempt& attempt, View* view, LimitState* state) {
    set_now(attempt.now_ns);
    bool fresh = forgotten(*view, now_ns_);
    if (!fresh && ahead_of_clock(*view)) {
      set_now(later_now_ns(attempt));
      if (ahead_of_clock(*view)) return carry_over(attempt, view, state);
    }
    fresh = fresh || period_of(view->newest_word) < period_ - 1;

    Estimate now = estimate(*view, fresh);
    const bool allowed = fits(now, attempt.cost);
    if (!attempt.take || !allowed) {
      if (!ring_.current(*view)) return std::nullopt;
      answer(now, allowed, attempt.cost, state);
      if (attempt.pending != nullptr && allowed && is_counted_now(*view, fresh)) {
        *attempt.pending = {.word = ring_.newest_place(*view),
                            .expected = view->newest_word,
                            .desired = Words::rewritten(*view, period_, now.current + attempt.cost),
                            .until_ns = until_ns(),
                            .reset_after_ns = until_ns() - now_ns_};
      }
      return Outcome::kDone;
    }
    now.current += attempt.cost;
    const bool same_period = is_counted_now(*view, fresh);
    const std::optional<Outcome> outcome =
        same_period ? add(*view, now.current) : begin(view, fresh, now.current);
    if (outcome == Outcome::kDone) answer(now, true, attempt.cost, state);
    return outcome;
  }

  std::optional<Outcome> add(const View& view, uint64_t count) {
    if (!raise_expiry()) return Outcome::kElsewhere;
    return ring_.rewrite(view, period_, count) ? std::optional(Outcome::kDone) : std::nullopt;
  }

  std::optional<Outcome> begin(View* view, bool genesis, uint64_t count) {
    if (!ring_.seal(view)) return std::nullopt;
    if (!raise_expiry()) return Outcome::kElsewhere;
    return ring_.open(*view, genesis, period_, count) ? std::optional(Outcome::kDone)
                                                      : std::nullopt;
  }

  // The clock stepped back behind the newest period: all that counted then is treated as made now.
  std::optional<Outcome> carry_over(const Attempt& attempt, View* view, LimitState* state) {
    uint64_t used = Words::count_of(view->newest_word);
    if (has_previous(*view)) used += Words::count_of(view->next_word);
    const bool allowed = used + attempt.cost <= limit_;
    const Estimate now{
        .previous = 0,
        .current = std::min(used + (allowed && attempt.take ? attempt.cost : 0), Words::kCountMax),
        .elapsed_ns = elapsed_ns()};
    const std::optional<Outcome> outcome = begin(view, true, now.current);
    if (outcome == Outcome::kDone) answer(now, allowed, attempt.cost, state);
    return outcome;
  }

  uint64_t limit_;
  uint64_t window_ns_;
  const SlotRef& slot_;
  Words ring_;
  int64_t now_ns_ = 0;
  int64_t period_ = 0;
};

}  // namespace

Outcome sliding_counter_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state) {
  return Counter(attempt.policy, slot).attempt(attempt, state);
}

Outcome sliding_counter_refund(const LimitHit& hit, const SlotRef& slot, int64_t taken_ns,
                               int64_t now_ns) {
  return Counter(*hit.policy, slot).refund(hit.cost, taken_ns, now_ns);
}

Outcome sliding_counter_reset(const LimitHit& hit, const SlotRef& slot, int64_t now_ns) {
  return Counter(*hit.policy, slot).reset(now_ns);
}

}  // namespace tenancy
