#include "tenancy/limits/sliding_window.h"

#include <optional>

#include "tenancy/limits/ring.h"

namespace tenancy {

namespace {

// How a window is cut. Times of entries are whole ticks; a grid cell is what one entry gathers.
struct WindowGrid {
  int64_t window_ns;
  Tick tick;
  int64_t cell_ticks;
};

struct QuarterShape {
  using Words = Ring<6, 27>;
  static WindowGrid grid(int64_t window_ns) {
    const Tick tick = Tick::of(window_ns, 10'000);
    // Rounded up: four cells are at least a window, which the proof of invariant 1 needs.
    return {window_ns, tick, (tick.ceil(window_ns) + 3) / 4};
  }
};

template <size_t kSize>
struct LogShape {
  using Words = Ring<kSize, 13>;
  static WindowGrid grid(int64_t window_ns) {
    return {window_ns, Tick::of(window_ns, 100'000'000), 1};
  }
};

// What the entries say at one moment.
struct Tally {
  uint64_t used = 0;
  int64_t reset_ns = 0;  // when the last of it is forgotten
  int64_t retry_ns = 0;  // when enough is forgotten for the cost that was asked; 0: there is room
  bool no_room = false;  // the entry that would be overwritten still counts
};

template <class Shape>
class Window {
 public:
  using Words = typename Shape::Words;
  using View = typename Words::View;

  Window(const LimitPolicy& policy, const SlotRef& slot)
      : policy_(policy), slot_(slot), ring_(slot), grid_(Shape::grid(policy.window_ns)) {}

  Outcome attempt(const Attempt& attempt, LimitState* state) {
    while (true) {
      View view;
      if (ring_.locate(&view) == Outcome::kElsewhere) return Outcome::kElsewhere;
      const std::optional<Outcome> step = try_once(attempt, &view, state);
      if (step) return *step;
    }
  }

  // The oldest entries that can hold the hit get it back: it may be counted there or later, never
  // earlier, so nothing is forgotten sooner for it. What was given back before may have emptied
  // them for a hit that is counted in a later one; then that one gets it. `cost` is what is left to
  // give.
  Outcome refund(uint64_t* cost, int64_t taken_ns, int64_t now_ns) {
    const int64_t taken_tick = grid_.tick.ceil(taken_ns);
    if (taken_tick * grid_.tick.ns() + grid_.window_ns <= now_ns) return Outcome::kDone;
    const int64_t cell_ns = cell_start(taken_tick) * grid_.tick.ns();
    while (true) {
      View view;
      if (ring_.locate(&view) == Outcome::kElsewhere) return Outcome::kElsewhere;
      if (read_expiry(view) <= now_ns) return Outcome::kDone;
      set_now(now_ns, view);
      size_t place = 0;
      uint64_t found = 0;
      for (size_t back = 0; back < Words::kSize; ++back) {
        const uint64_t word = ring_.entry(view, back);
        if ((word & Words::kUsed) == 0 || forget_ns(word) <= now_ns || time_ns(word) < cell_ns)
          break;
        if (Words::count_of(word) != 0) {
          place = back;
          found = word;
        }
        if ((word & Words::kGenesis) != 0) break;
      }
      const uint64_t given = std::min(*cost, Words::count_of(found));
      if (given == 0) return Outcome::kDone;
      if (is_moved(found)) return Outcome::kElsewhere;
      if (ring_.give_back(view, place, found, given)) *cost -= given;
    }
  }

  Outcome reset(int64_t now_ns) {
    while (true) {
      View view;
      if (ring_.locate(&view) == Outcome::kElsewhere) return Outcome::kElsewhere;
      if (view.empty()) return Outcome::kDone;
      set_now(now_ns, view);
      if (ring_.seal(&view) && ring_.open(view, true, tick_, 0)) return Outcome::kDone;
    }
  }

 private:
  // --- time
  // ---------------------------------------------------------------------------------------------

  // After `read_expiry`. What is counted expires a window after the end of its cell, so an expiry
  // that is ahead tells where the present cell lies: cheaper than a division.
  void set_now(int64_t now_ns, const View& view) {
    now_ns_ = now_ns;
    tick_ = grid_.tick.ceil(now_ns);
    tick_ns_ = tick_ * grid_.tick.ns();
    newest_ns_ = time_ns(view.newest_word);
    const int64_t last_ns = expiry_ns_ - grid_.window_ns;
    const int64_t first_ns = last_ns - (grid_.cell_ticks - 1) * grid_.tick.ns();
    const bool told = first_ns <= tick_ns_ && tick_ns_ <= last_ns;
    cell_start_ns_ = told ? first_ns : cell_start(tick_) * grid_.tick.ns();
  }
  int64_t cell_start(int64_t tick) const {
    return grid_.cell_ticks == 1 ? tick : tick - tick % grid_.cell_ticks;
  }
  int64_t time_ns(uint64_t word) const {
    return tick_ns_ - Words::age(tick_, word) * grid_.tick.ns();
  }
  // When an entry stops counting.
  int64_t forget_ns(uint64_t word) const { return time_ns(word) + grid_.window_ns; }
  // When a hit made now stops counting.
  int64_t forget_now_ns() const { return tick_ns_ + grid_.window_ns; }
  bool newest_in_cell() const { return newest_ns_ >= cell_start_ns_; }

  // When every entry has expired by invariant 2. Called after the newest entry was read: its writer
  // raised the expiry first.
  int64_t read_expiry(const View& view) {
    expiry_ns_ = view.empty() ? 0 : expiry_ns(slot_);
    return expiry_ns_;
  }
  bool ahead_of_clock(const View& view) const {
    return newest_ns_ > tick_ns_ || (view.sealed() && newest_in_cell());
  }

  // The entry opened or added to now counts at most until the end of its cell and a window more:
  // one raise serves a whole cell.
  int64_t until_ns() const {
    return cell_start_ns_ + (grid_.cell_ticks - 1) * grid_.tick.ns() + grid_.window_ns;
  }
  bool raise_expiry() const { return CounterTable::raise_expiry(slot_, until_ns()); }

  // --- counting
  // -----------------------------------------------------------------------------------------

  Tally tally(const View& view, int64_t at_ns, uint64_t cost) const {
    Tally sum;
    for (size_t back = 0; back < Words::kSize; ++back) {
      const uint64_t word = ring_.entry(view, back);
      if ((word & Words::kUsed) == 0) return sum;
      const int64_t until_ns = forget_ns(word);
      if (until_ns <= at_ns) return sum;
      const uint64_t count = Words::count_of(word);
      if (count != 0 && sum.used == 0) sum.reset_ns = until_ns;
      sum.used += count;
      if (sum.retry_ns == 0 && sum.used + cost > policy_.limit) sum.retry_ns = until_ns;
      if (back + 1 == Words::kSize) sum.no_room = count != 0;
      if ((word & Words::kGenesis) != 0) return sum;
    }
    return sum;
  }

  void answer(const Tally& sum, bool allowed, uint64_t taken, LimitState* state) const {
    const uint64_t used = sum.used + taken;
    state->allowed = allowed;
    state->remaining = policy_.limit > used ? policy_.limit - used : 0;
    const int64_t reset_ns = taken != 0 ? forget_now_ns() : sum.used != 0 ? sum.reset_ns : now_ns_;
    state->reset_after_ns = std::max<int64_t>(reset_ns - now_ns_, 0);
    state->retry_after_ns = allowed ? 0 : sum.retry_ns - now_ns_;
  }

  // --- one try
  // ------------------------------------------------------------------------------------------

  // Nothing: another process was faster, look again.
  std::optional<Outcome> try_once(const Attempt& attempt, View* view, LimitState* state) {
    bool fresh = read_expiry(*view) <= attempt.now_ns;
    set_now(attempt.now_ns, *view);
    if (!fresh && ahead_of_clock(*view)) {
      set_now(later_now_ns(attempt), *view);
      if (ahead_of_clock(*view)) return carry_over(attempt, view, state);
    }
    fresh = fresh || newest_ns_ + grid_.window_ns <= now_ns_;

    const Tally sum = fresh ? Tally{} : tally(*view, now_ns_, attempt.cost);
    const bool fits = sum.used + attempt.cost <= policy_.limit;
    if (!attempt.take || !fits) {
      if (!ring_.current(*view)) return std::nullopt;
      answer(sum, fits, 0, state);
      if (attempt.pending != nullptr && fits && !fresh && joins_newest(*view, sum)) {
        const uint64_t count = Words::count_of(view->newest_word) + attempt.cost;
        *attempt.pending = {.word = ring_.newest_place(*view),
                            .expected = view->newest_word,
                            .desired = Words::rewritten(*view, tick_, count),
                            .until_ns = until_ns(),
                            .reset_after_ns = forget_now_ns() - now_ns_};
      }
      return Outcome::kDone;
    }
    const std::optional<Outcome> step =
        fresh ? begin(view, true, attempt.cost) : count_hit(view, sum, attempt.cost, state);
    if (step == Outcome::kDone && !refused_for_room_) answer(sum, true, attempt.cost, state);
    return step;
  }

  // Whether a hit is added to the newest entry; else it begins the next one.
  bool joins_newest(const View& view, const Tally& sum) const {
    if (view.sealed()) return false;
    return newest_in_cell() || Words::count_of(view.newest_word) == 0 || sum.no_room;
  }

  std::optional<Outcome> count_hit(View* view, const Tally& sum, uint64_t cost, LimitState* state) {
    if (joins_newest(*view, sum)) {
      if (!raise_expiry()) return Outcome::kElsewhere;
      const uint64_t count = Words::count_of(view->newest_word) + cost;
      return ring_.rewrite(*view, tick_, count) ? std::optional(Outcome::kDone) : std::nullopt;
    }
    if (!sum.no_room) return begin(view, false, cost);
    // A log that is full of entries of which some were given back, sealed by a process that then
    // died: room comes when the oldest entry expires.
    if (!ring_.current(*view)) return std::nullopt;
    refused_for_room_ = true;
    Tally refused = sum;
    refused.retry_ns = forget_ns(view->next_word);
    answer(refused, false, 0, state);
    return Outcome::kDone;
  }

  std::optional<Outcome> begin(View* view, bool genesis, uint64_t count) {
    if (!ring_.seal(view)) return std::nullopt;
    if (!raise_expiry()) return Outcome::kElsewhere;
    return ring_.open(*view, genesis, tick_, count) ? std::optional(Outcome::kDone) : std::nullopt;
  }

  // The clock stepped back behind the newest entry. All that counted at that entry's time is
  // treated as made now; written even when only looking or refusing, else it would count until the
  // clock comes there again.
  std::optional<Outcome> carry_over(const Attempt& attempt, View* view, LimitState* state) {
    Tally sum = tally(*view, newest_ns_, attempt.cost);
    const bool fits = sum.used + attempt.cost <= policy_.limit;
    const uint64_t taken = fits && attempt.take ? attempt.cost : 0;
    const uint64_t carried = std::min(sum.used + taken, Words::kCountMax);
    const std::optional<Outcome> step = begin(view, true, carried);
    sum.reset_ns = forget_now_ns();
    sum.retry_ns = sum.reset_ns;
    if (step == Outcome::kDone) answer(sum, fits, taken, state);
    return step;
  }

  const LimitPolicy& policy_;
  const SlotRef& slot_;
  Words ring_;
  WindowGrid grid_;
  int64_t now_ns_ = 0;
  int64_t tick_ = 0;       // of now, rounded up
  int64_t tick_ns_ = 0;    // the same in nanoseconds
  int64_t newest_ns_ = 0;  // time of the newest entry
  int64_t expiry_ns_ = 0;
  int64_t cell_start_ns_ = 0;
  bool refused_for_room_ = false;
};

// Calls `use` with the Window of the policy's shape.
template <class Use>
Outcome with_window(const LimitPolicy& policy, const SlotRef& slot, Use use) {
  if (policy.algorithm == Algorithm::kSlidingWindow) return use(Window<QuarterShape>(policy, slot));
  switch (sliding_log_class(policy.limit)) {
    case SlotClass::kLog64: return use(Window<LogShape<64>>(policy, slot));
    case SlotClass::kLog512: return use(Window<LogShape<512>>(policy, slot));
    default: return use(Window<LogShape<4096>>(policy, slot));
  }
}

}  // namespace

SlotClass sliding_log_class(uint64_t limit) {
  if (limit <= 64) return SlotClass::kLog64;
  return limit <= 512 ? SlotClass::kLog512 : SlotClass::kLog4096;
}

Outcome sliding_window_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state) {
  return with_window(attempt.policy, slot,
                     [&](auto&& window) { return window.attempt(attempt, state); });
}

Outcome sliding_window_refund(LimitHit* left, const SlotRef& slot, int64_t taken_ns,
                              int64_t now_ns) {
  return with_window(*left->policy, slot,
                     [&](auto&& window) { return window.refund(&left->cost, taken_ns, now_ns); });
}

Outcome sliding_window_reset(const LimitHit& hit, const SlotRef& slot, int64_t now_ns) {
  return with_window(*hit.policy, slot, [&](auto&& window) { return window.reset(now_ns); });
}

}  // namespace tenancy
