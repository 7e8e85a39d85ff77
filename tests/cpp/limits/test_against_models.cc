// Generated histories: the engine and the small models must answer alike, whatever happened before.
#include <deque>
#include <random>

#include "models.h"
#include "rig.h"

namespace tenancy {
namespace {

struct Mix {
  const char* text;
  Algorithm algorithm;
  uint64_t burst = 0;
  bool anchor_first = false;
};

const std::vector<Mix> kMixes = {
    {"10/minute", Algorithm::kSlidingWindow},
    {"3/s", Algorithm::kSlidingWindow},
    {"1000/7ms", Algorithm::kSlidingWindow},
    {"50/90s", Algorithm::kSlidingWindow},
    {"7/1234567ns", Algorithm::kSlidingWindow},
    {"25/day", Algorithm::kSlidingWindow},
    {"10/minute", Algorithm::kTokenBucket, 5},
    {"7/s", Algorithm::kTokenBucket},
    {"13/hour", Algorithm::kLeakyBucket, 40},
    {"9/10s", Algorithm::kLeakyQueue, 4},
    {"10/minute", Algorithm::kFixedWindow},
    {"5/1500ms", Algorithm::kFixedWindow},
    {"10/minute", Algorithm::kFixedWindow, 0, true},
    {"6/77ms", Algorithm::kFixedWindow, 0, true},
    {"10/minute", Algorithm::kSlidingCounter},
    {"19/7s", Algorithm::kSlidingCounter},
    {"10/minute", Algorithm::kSlidingLog},
    {"64/s", Algorithm::kSlidingLog},
    {"65/s", Algorithm::kSlidingLog},
    {"600/day", Algorithm::kSlidingLog},
};

LimitPolicy policy_of(const Mix& mix) {
  LimitPolicy policy = policy_of(mix.text, mix.algorithm, mix.burst);
  policy.anchor_first = mix.anchor_first;
  return policy;
}

class History {
 public:
  // `wild`: the clock steps and the limit changes.
  History(const Mix& mix, uint64_t seed, bool wild)
      : random_(seed),
        wild_(wild),
        rig_(policy_of(mix), std::make_shared<FakeClock>(kStart), {.initial_slots = 16}),
        first_limit_(rig_.policy.limit),
        model_(models::make(rig_.policy)) {}

  void run(int operations) {
    for (int i = 0; i < operations; ++i) {
      pass_time();
      act();
    }
  }

  // The most that was taken and kept inside one window.
  uint64_t most_in_a_window() const {
    uint64_t most = 0;
    for (size_t first = 0; first < kept_.size(); ++first) {
      uint64_t sum = 0;
      for (size_t i = first; i < kept_.size(); ++i) {
        if (kept_[i].at_ns - kept_[first].at_ns >= rig_.policy.window_ns) break;
        sum += kept_[i].cost;
      }
      most = std::max(most, sum);
    }
    return most;
  }
  const LimitPolicy& policy() const { return rig_.policy; }

 private:
  struct Kept {
    int64_t at_ns;
    uint64_t cost;
  };

  uint64_t up_to(uint64_t most) { return random_() % (most + 1); }
  int64_t now_ns() const { return rig_.table->now_ns(); }

  void pass_time() {
    const int64_t window = rig_.policy.window_ns;
    switch (up_to(15)) {
      case 0: return rig_.clock->advance(window);
      case 1: return rig_.clock->advance(int64_t(up_to(uint64_t(window))));
      case 2: return rig_.clock->advance(int64_t(up_to(uint64_t(window / 4))));
      case 3: return rig_.clock->advance(1);
      case 4: return rig_.clock->advance(int64_t(up_to(3)) * window / 4);
      case 5:
      case 6: return rig_.clock->advance(int64_t(up_to(uint64_t(window / 20))));
      case 7:
        return up_to(20) == 0 ? rig_.clock->advance(int64_t(up_to(4000)) * kDayNs / 10) : void();
      case 8: return wild_ && up_to(3) == 0 ? step() : void();
      default: return;
    }
  }

  void step() {
    const int64_t window = rig_.policy.window_ns;
    const int64_t by = int64_t(up_to(uint64_t(window * (up_to(1) == 0 ? 1 : 50))));
    rig_.clock->step_mono(up_to(2) == 0 ? by : -by);
    kept_.clear();  // where hits from before a step are counted is not promised
  }

  void act() {
    const uint64_t cost = up_to(4) == 0 ? up_to(rig_.policy.capacity() + 1) : 1;
    switch (up_to(24)) {
      case 3:
        // Other keys come and make the table grow: this one moves. Growing leaves expired counters
        // behind, which a clock that steps back would bring to life again in the model.
        if (wild_) return;
        for (int i = 0; i < 10; ++i) rig_.take(1, 1000 + next_name_++);
        return;
      case 4: return wild_ ? change_limit() : void();
      case 0: return compare(false, cost);
      case 1:
        rig_.reset();
        model_->reset();
        kept_.clear();
        return;
      case 2: return refund();
      default: return compare(true, cost);
    }
  }

  void change_limit() {
    LimitPolicy changed = rig_.policy;
    changed.limit = 1 + up_to(2 * first_limit_ - 1);
    if (limit_slot_class(changed) != limit_slot_class(rig_.policy)) return;
    rig_.policy = changed;
    model_->policy = changed;
  }

  void compare(bool take, uint64_t cost) {
    const int64_t at_ns = now_ns();
    INFO("at " << at_ns - kStart << " ns, cost " << cost << (take ? " take" : " peek"));
    const models::Answer expected = model_->hit(cost, take, at_ns);
    const LimitState state = take ? rig_.take(cost) : rig_.peek(cost);
    REQUIRE(state.allowed == expected.allowed);
    REQUIRE(state.remaining == expected.remaining);
    REQUIRE(state.reset_after_ns == expected.reset_after_ns);
    REQUIRE(state.retry_after_ns == expected.retry_after_ns);
    if (take && state.allowed && cost != 0) kept_.push_back({at_ns, cost});
    if (cost != 0 && !state.allowed && state.retry_after_ns > 0 && up_to(5) == 0)
      wait_and_see(cost, state);
  }

  // The promise of retry_after: not a nanosecond earlier, and then it passes.
  void wait_and_see(uint64_t cost, const LimitState& refused) {
    rig_.clock->advance(refused.retry_after_ns - 1);
    REQUIRE_FALSE(rig_.peek(cost).allowed);
    rig_.clock->advance(1);
    compare(true, cost);
    REQUIRE(kept_.back().at_ns == now_ns());
  }

  void refund() {
    if (kept_.empty()) return;
    const size_t back = up_to(2) == 0 ? up_to(std::min<size_t>(kept_.size() - 1, 3)) : 0;
    const size_t place = kept_.size() - 1 - back;
    const Kept kept = kept_[place];
    INFO("refund " << kept.cost << " taken at " << kept.at_ns - kStart);
    rig_.refund(kept.cost, kept.at_ns);
    model_->refund(kept.cost, kept.at_ns, now_ns());
    kept_.erase(kept_.begin() + static_cast<std::ptrdiff_t>(place));
  }

  std::mt19937_64 random_;
  bool wild_;
  Rig rig_;
  uint64_t first_limit_;
  uint64_t next_name_ = 0;
  std::unique_ptr<models::Model> model_;
  std::vector<Kept> kept_;
};

void run_all(bool wild, uint64_t seeds, int operations) {
  for (const Mix& mix : kMixes) {
    for (uint64_t seed = 1; seed <= seeds; ++seed) {
      INFO(mix.text << " " << algorithm_name(mix.algorithm) << " seed " << seed);
      History history(mix, seed, wild);
      history.run(operations);
      if (!wild) CHECK(history.most_in_a_window() <= history.policy().worst_case());
    }
  }
}

}  // namespace

TEST_CASE("histories answer like the model and never pass the worst case", "[limits][model]") {
  run_all(false, 8, 800);
}

TEST_CASE("histories with clock steps and changes of the limit answer like the model (trap 8)",
          "[limits][model]") {
  run_all(true, 8, 800);
}

}  // namespace tenancy
