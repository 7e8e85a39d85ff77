// A process stopped between reading and swapping, at each place where it hurts: what it read is
// used after others went on. Deterministic: the steps are taken one by one.
#include "rig.h"
#include "tenancy/limits/fixed_window.h"
#include "tenancy/limits/gcra.h"
#include "tenancy/limits/ring.h"
#include "tenancy/limits/sliding_counter.h"
#include "tenancy/limits/sliding_window.h"

namespace tenancy {
namespace {

using Quarters = Ring<6, 27>;

struct Slot {
  std::array<std::atomic<uint64_t>, 8> words{};
  SlotRef ref() {
    SlotRef made;
    made.key = &words[0];
    made.expiry = &words[1];
    made.state = &words[2];
    return made;
  }
};

Quarters::View view_of(Quarters& ring) {
  Quarters::View view;
  REQUIRE(ring.locate(&view) == Outcome::kDone);
  return view;
}

void open_next(Quarters& ring, int64_t tick, uint64_t count) {
  Quarters::View view = view_of(ring);
  REQUIRE(ring.seal(&view));
  REQUIRE(ring.open(view, false, tick, count));
}

Outcome attempt_on(const Attempt& attempt, const SlotRef& slot, LimitState* state) {
  switch (attempt.policy.algorithm) {
    case Algorithm::kSlidingWindow:
    case Algorithm::kSlidingLog: return sliding_window_attempt(attempt, slot, state);
    case Algorithm::kFixedWindow: return fixed_window_attempt(attempt, slot, state);
    case Algorithm::kSlidingCounter: return sliding_counter_attempt(attempt, slot, state);
    default: return gcra_attempt(attempt, slot, state);
  }
}

}  // namespace

TEST_CASE("the swap that a look noted takes what a hit takes, unless one came between",
          "[limits]") {
  for (const Way& way : kWays) {
    for (const bool disturbed : {false, true}) {
      INFO(way.name << (disturbed ? ", disturbed" : ""));
      const LimitPolicy policy = policy_of("5/minute", way);
      Rig rig(policy);
      Rig twin(policy);
      for (Rig* each : {&rig, &twin}) {
        REQUIRE(each->take(2).allowed);
        each->clock->advance(3 * kSec);
      }
      const LimitHit hit = rig.hit(2);
      const SlotRef slot =
          rig.table->find(hit.region, limit_slot_class(policy), hit.group, hit.key);
      LimitState state;
      Pending pending;
      const Attempt look{policy, *rig.table, 2, false, rig.table->now_ns(), &pending};
      REQUIRE(attempt_on(look, slot, &state) == Outcome::kDone);
      CHECK(state.allowed);
      CHECK(state.remaining == 3);
      CHECK(rig.peek().remaining == 3);
      if (way.algorithm == Algorithm::kSlidingLog) {
        CHECK(pending.word == nullptr);  // begins an entry: two swaps
        continue;
      }
      if (disturbed) REQUIRE(rig.take(1).allowed);
      CHECK(take_pending(slot, pending) == !disturbed);
      if (!disturbed) {
        const LimitState taken = twin.take(2);
        CHECK(pending.reset_after_ns == taken.reset_after_ns);
        CHECK(taken.remaining == state.remaining - 2);
      } else {
        REQUIRE(twin.take(1).allowed);
      }
      rig.clock->advance(kSec);
      twin.clock->advance(kSec);
      CHECK(rig.peek().remaining == twin.peek().remaining);
      CHECK(rig.peek().reset_after_ns == twin.peek().reset_after_ns);
    }
  }
}

TEST_CASE("the swap that a look noted fails on a slot that has moved", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    const LimitPolicy policy = policy_of("5/minute", way);
    Rig rig(policy);
    REQUIRE(rig.take(2).allowed);
    const LimitHit hit = rig.hit();
    const SlotRef slot = rig.table->find(hit.region, limit_slot_class(policy), hit.group, hit.key);
    LimitState state;
    Pending pending;
    const Attempt look{policy, *rig.table, 1, false, rig.table->now_ns(), &pending};
    REQUIRE(attempt_on(look, slot, &state) == Outcome::kDone);
    REQUIRE(pending.word != nullptr);  // in the tick of the hit before
    pending.word->fetch_or(kFrozen);
    CHECK_FALSE(take_pending(slot, pending));
  }
}

TEST_CASE("a slow process cannot add to a sealed entry", "[ring]") {
  Slot slot;
  Quarters ring(slot.ref());
  REQUIRE(ring.open(view_of(ring), true, 100, 1));
  const Quarters::View slow = view_of(ring);
  Quarters::View fast = view_of(ring);
  REQUIRE(ring.seal(&fast));
  CHECK_FALSE(ring.rewrite(slow, 101, 2));
  REQUIRE(ring.open(fast, false, 200, 1));
  CHECK_FALSE(ring.rewrite(slow, 101, 2));
}

TEST_CASE("two processes that open the next entry: one wins", "[ring]") {
  Slot slot;
  Quarters ring(slot.ref());
  CHECK(ring.open(view_of(ring), true, 100, 1));
  Quarters::View first = view_of(ring);
  REQUIRE(ring.seal(&first));
  Quarters::View second = view_of(ring);
  CHECK(ring.open(first, false, 200, 1));
  CHECK_FALSE(ring.open(second, false, 200, 1));
  CHECK_FALSE(ring.open(second, true, 200, 1));
}

TEST_CASE("two processes that open the very first entry: one wins", "[ring]") {
  Slot slot;
  Quarters ring(slot.ref());
  const Quarters::View first = view_of(ring);
  const Quarters::View second = view_of(ring);
  CHECK(ring.open(first, true, 100, 1));
  CHECK_FALSE(ring.open(second, true, 100, 1));
}

TEST_CASE("an opener that slept through any number of entries does no harm", "[ring]") {
  for (int64_t opened = 1; opened <= 30; ++opened) {
    Slot slot;
    Quarters ring(slot.ref());
    REQUIRE(ring.open(view_of(ring), true, 0, 1));
    Quarters::View slow = view_of(ring);
    REQUIRE(ring.seal(&slow));
    for (int64_t i = 1; i <= opened; ++i) open_next(ring, 100 * i, 1);
    const Quarters::View before = view_of(ring);
    CHECK(Quarters::time_of(before.newest_word) == static_cast<uint64_t>(100 * opened));
    CHECK_FALSE(ring.open(slow, false, 5, 7));
    CHECK(view_of(ring).newest_word == before.newest_word);
  }
}

TEST_CASE("a refund of a sealed entry is seen by who decides after it", "[ring]") {
  Slot slot;
  Quarters ring(slot.ref());
  REQUIRE(ring.open(view_of(ring), true, 0, 5));
  open_next(ring, 100, 1);
  const Quarters::View view = view_of(ring);
  const uint64_t old = ring.entry(view, 1);
  CHECK(ring.give_back(view, 1, old, 3));
  CHECK(Quarters::count_of(ring.entry(view, 1)) == 2);
  CHECK_FALSE(ring.give_back(view, 1, old, 3));
  CHECK(ring.give_back(view, 1, ring.entry(view, 1), 100));
  CHECK(Quarters::count_of(ring.entry(view, 1)) == 0);
}

TEST_CASE("a frozen word sends everybody to the next generation", "[ring]") {
  const LimitPolicy policy = policy_of("3/minute");
  Rig rig(policy);
  const int64_t now_ns = rig.table->now_ns();
  for (size_t frozen = 2; frozen < 8; ++frozen) {
    Slot slot;
    Quarters ring(slot.ref());
    const int64_t tick = now_ns / kMilli;
    REQUIRE(ring.open(view_of(ring), true, tick, 1));
    slot.words[1] = static_cast<uint64_t>(now_ns + kMin);
    slot.words[frozen] |= kFrozen;
    LimitState state;
    const Attempt attempt{policy, *rig.table, 1, true, now_ns + kMin / 2};
    const Outcome outcome = sliding_window_attempt(attempt, slot.ref(), &state);
    // Words 2 and 3 are the ones that this hit seals and opens; it needs no other.
    CHECK((outcome == Outcome::kElsewhere) == (frozen <= 3));
    CHECK(Quarters::count_of(slot.words[2]) == 1);
  }
}

TEST_CASE("a sealer that died is followed by whoever comes next", "[limits]") {
  const LimitPolicy policy = policy_of("3/minute");
  for (const int64_t later : {int64_t{0}, kSec, 20 * kSec, 59 * kSec, kMin, 3 * kMin}) {
    INFO(later);
    Rig rig(policy);
    REQUIRE(rig.take(2).allowed);
    const LimitHit hit = rig.hit();
    const SlotRef slot = rig.table->find(hit.region, SlotClass::kWords8, hit.group, hit.key);
    Quarters ring(slot);
    Quarters::View view = view_of(ring);
    REQUIRE(ring.seal(&view));
    rig.clock->advance(later);
    CHECK(rig.admitted(5) == (later < kMin ? 1 : 3));
    CHECK(rig.peek().retry_after_ns <= kMin);
    rig.clock->advance(kMin);
    CHECK(rig.admitted(5) == 3);
  }
}

TEST_CASE("a process that read its clock long ago decides strictly", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    const int64_t early_ns = rig.table->now_ns();
    for (int i = 0; i < 12; ++i) {
      rig.clock->advance(7 * kSec);
      rig.take();
    }
    uint64_t late = 0;
    for (int i = 0; i < 20; ++i) {
      late += limit_take(*rig.table, rig.hit(), early_ns).allowed ? 1 : 0;
    }
    const uint64_t fair = rig.admitted(20);
    Rig twin(policy_of("10/minute", way));
    for (int i = 0; i < 12; ++i) {
      twin.clock->advance(7 * kSec);
      twin.take();
    }
    CHECK(late + fair == twin.admitted(20));
  }
}

TEST_CASE("a hit that came late is given back, though entries of its time are empty", "[limits]") {
  for (const Way& way : kWays) {
    if (way.algorithm != Algorithm::kSlidingWindow && way.algorithm != Algorithm::kSlidingLog &&
        way.algorithm != Algorithm::kSlidingCounter) {
      continue;  // their state is one word
    }
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    // One hit is given back; a process that read its clock with it counts in a later entry.
    const int64_t early_ns = rig.table->now_ns();
    REQUIRE(rig.take().allowed);
    rig.clock->advance(way.algorithm == Algorithm::kSlidingCounter ? kMin : 20 * kSec);
    REQUIRE(rig.take().allowed);
    rig.refund(1, early_ns);
    REQUIRE(rig.peek().remaining == 9);
    REQUIRE(limit_take(*rig.table, rig.hit(), early_ns).allowed);
    REQUIRE(rig.peek().remaining == 8);
    rig.refund(1, early_ns);
    CHECK(rig.peek().remaining == 9);
  }
}

TEST_CASE("what cost much is given back whole, though it lies in several entries", "[limits]") {
  for (const Algorithm algorithm : {Algorithm::kSlidingWindow, Algorithm::kSlidingLog}) {
    Rig rig(policy_of("10/minute", algorithm));
    const int64_t early_ns = rig.table->now_ns();
    REQUIRE(rig.take().allowed);
    rig.clock->advance(20 * kSec);
    REQUIRE(rig.take().allowed);
    REQUIRE(limit_take(*rig.table, rig.hit(5), early_ns).allowed);  // counted in the second entry
    REQUIRE(rig.peek().remaining == 3);
    rig.refund(5, early_ns);
    CHECK(rig.peek().remaining == 8);
    rig.clock->advance(41 * kSec);
    CHECK(rig.peek().remaining == 8);  // all that is left counts from the later of the two
  }
}

TEST_CASE("a reset is not undone by a hit that was on its way", "[ring]") {
  Slot slot;
  Quarters ring(slot.ref());
  REQUIRE(ring.open(view_of(ring), true, 0, 9));
  const Quarters::View slow = view_of(ring);
  Quarters::View reset = view_of(ring);
  REQUIRE(ring.seal(&reset));
  REQUIRE(ring.open(reset, true, 0, 0));
  CHECK_FALSE(ring.rewrite(slow, 0, 10));
  const Quarters::View after = view_of(ring);
  CHECK(after.genesis());
  CHECK(Quarters::count_of(after.newest_word) == 0);
}

TEST_CASE("entries of any age are told apart after years of silence", "[limits]") {
  // The few bits of time in an entry come round again: the expiry word says that all of it is old.
  for (const char* text : {"3/ms", "3/s", "3/minute"}) {
    const LimitPolicy policy = policy_of(text);
    Rig rig(policy);
    const int64_t tick_ns = Tick::of(policy.window_ns, 10'000).ns();
    const int64_t round_ns = tick_ns << Quarters::kTimeBits;
    for (const int64_t silence : {round_ns - policy.window_ns / 2, round_ns, round_ns / 2,
                                  round_ns + policy.window_ns / 2, 2 * round_ns}) {
      if (silence > 80 * 365 * kDayNs) continue;
      INFO(text << " " << silence);
      CHECK(rig.admitted(5) == 3);
      rig.clock->advance(silence);
    }
  }
}

}  // namespace tenancy
