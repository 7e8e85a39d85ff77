// What every algorithm promises to a caller, one sentence per test. Traps are those of the design.
#include <vector>

#include "rig.h"
#include "tenancy/limits/attempt.h"
#include "tenancy/limits/explain.h"
#include "tenancy/limits/limiter.h"

namespace tenancy {

TEST_CASE("dividing by a power of ten without a division is exact up to 2^63", "[limits]") {
  constexpr uint64_t kLargest = (uint64_t{1} << 63) - 1;
  for (const PowerOfTen& power : kPowersOfTen) {
    INFO(power.value);
    // Next to a multiple is where a reciprocal that is off by the least would show.
    for (uint64_t multiple = 1; multiple != 0 && multiple <= kLargest / power.value;
         multiple = multiple * 3 + multiple / 7) {
      const uint64_t at = multiple * power.value;
      CHECK(power.divide(at) == multiple);
      CHECK(power.divide(at - 1) == (at - 1) / power.value);
      CHECK(power.divide(at + power.value - 1) == (at + power.value - 1) / power.value);
    }
    for (const uint64_t dividend : {uint64_t{0}, uint64_t{1}, kLargest - 1, kLargest})
      CHECK(power.divide(dividend) == dividend / power.value);
  }
}

TEST_CASE("a fresh key admits exactly the limit at once", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("100/minute", way));
    const LimitState first = rig.take();
    CHECK(first.limit == 100);
    CHECK(first.remaining == 99);
    CHECK(first.retry_after_ns == 0);
    CHECK(rig.admitted(150) == 99);
    const LimitState refused = rig.take();
    CHECK_FALSE(refused.allowed);
    CHECK(refused.remaining == 0);
    CHECK(refused.retry_after_ns > 0);
    CHECK(refused.reset_after_ns >= refused.retry_after_ns);
  }
}

TEST_CASE("a burst comes back exactly one window later", "[limits]") {
  for (const Way& way : kWays) {
    if (way.algorithm == Algorithm::kSlidingCounter) continue;  // it returns over the next window
    INFO(way.name);
    Rig rig(policy_of("100/minute", way));
    REQUIRE(rig.admitted(101) == 100);
    CHECK(rig.peek(100).retry_after_ns == kMin);
    rig.clock->advance(kMin - 1);
    CHECK_FALSE(rig.peek(100).allowed);
    rig.clock->advance(1);
    CHECK(rig.admitted(101) == 100);
  }
}

TEST_CASE("a sliding counter lets the last window fade", "[limits]") {
  Rig rig(policy_of("100/minute", Algorithm::kSlidingCounter));
  REQUIRE(rig.admitted(101) == 100);
  rig.clock->advance(kMin);
  CHECK(rig.admitted(1) == 0);
  rig.clock->advance(kMin / 2);
  CHECK(rig.admitted(100) == 50);
  rig.clock->advance(2 * kMin);
  CHECK(rig.admitted(200) == 100);
}

TEST_CASE("tokens and leaks come back one by one, never faster than the limit", "[limits]") {
  Rig rig(policy_of("7/s", Algorithm::kTokenBucket, 3));
  REQUIRE(rig.admitted(10) == 3);
  uint64_t admitted = 0;
  for (int64_t ms = 0; ms < 100'000; ++ms) {
    rig.clock->advance(kMilli);
    admitted += rig.admitted(1);
  }
  CHECK(admitted <= 700);
  CHECK(admitted >= 695);  // looked at whole milliseconds only
}

TEST_CASE("a leaky queue tells each request when its turn is", "[limits]") {
  Rig rig(policy_of("10/s", Algorithm::kLeakyQueue, 4));
  for (int64_t place = 0; place < 4; ++place) {
    const LimitState state = rig.take();
    CHECK(state.allowed);
    CHECK(state.delay_ns == place * 100 * kMilli);
  }
  CHECK_FALSE(rig.take().allowed);
  rig.clock->advance(250 * kMilli);
  const LimitState later = rig.take();
  CHECK(later.allowed);
  CHECK(later.delay_ns == 150 * kMilli);
}

TEST_CASE("a cost above the limit never passes and says so", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    for (const uint64_t cost : {uint64_t{11}, UINT64_MAX}) {
      const LimitState state = rig.take(cost);
      CHECK_FALSE(state.allowed);
      CHECK(state.retry_after_ns == kNever);
      CHECK(state.remaining == 10);
    }
    CHECK(rig.take(10).allowed);
  }
}

TEST_CASE("trap 7: a refused heavy hit leaves the rest of the limit alone", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    REQUIRE(rig.take(6).allowed);
    CHECK_FALSE(rig.take(5).allowed);
    CHECK(rig.peek().remaining == 4);
    CHECK(rig.take(4).allowed);
  }
}

TEST_CASE("trap 8: a clock set back locks nobody out for longer than a window", "[limits]") {
  for (const Way& way : kWays) {
    for (const int64_t back : {kSec, 59 * kSec, 3600 * kSec, 6 * kDayNs}) {
      INFO(way.name << " back by " << back / kSec << " s");
      Rig rig(policy_of("10/minute", way));
      REQUIRE(rig.admitted(11) == 10);
      rig.clock->step_mono(-back);
      CHECK_FALSE(rig.take().allowed);  // stricter: all counted as made now
      const LimitState refused = rig.peek();
      const int64_t longest = way.algorithm == Algorithm::kSlidingCounter ? 2 * kMin : kMin;
      CHECK(refused.retry_after_ns <= longest);
      rig.clock->advance(longest);
      CHECK(rig.admitted(11) == 10);
    }
  }
}

TEST_CASE("looking changes nothing and makes no counter", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    CHECK(rig.peek(3).allowed);
    CHECK(rig.take(0).allowed);
    CHECK(rig.table->stats(Region::kTenant, limit_slot_class(rig.policy)).used == 0);
    rig.take(4);
    for (int i = 0; i < 20; ++i) CHECK(rig.peek(6).remaining == 6);
    CHECK_FALSE(rig.peek(7).allowed);
  }
}

TEST_CASE("reset forgets, refund gives back and never more than was taken", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    const int64_t now_ns = rig.table->now_ns();
    rig.refund(5, now_ns);
    REQUIRE(rig.admitted(11) == 10);
    rig.refund(3, now_ns);
    CHECK(rig.peek().remaining == 3);
    rig.refund(100, now_ns);
    CHECK(rig.peek().remaining == 10);
    REQUIRE(rig.admitted(11) == 10);
    rig.reset();
    CHECK(rig.peek().remaining == 10);
    CHECK(rig.peek().reset_after_ns == 0);
    CHECK(rig.admitted(11) == 10);
    rig.clock->advance(3 * kMin);
    rig.refund(5, now_ns);  // long forgotten
    CHECK(rig.admitted(11) == 10);
  }
}

TEST_CASE("a change of the limit keeps what was counted", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    REQUIRE(rig.admitted(8) == 8);
    rig.policy.limit = 20;
    if (rig.policy.is_gcra()) {
      CHECK(rig.peek().remaining == 4);  // 48 s of a minute are still to drain
    } else {
      CHECK(rig.peek().remaining == 12);
      rig.policy.limit = 5;
      CHECK_FALSE(rig.take().allowed);
      CHECK(rig.peek().remaining == 0);
    }
  }
}

TEST_CASE("a lowered burst locks nobody out", "[limits]") {
  Rig rig(policy_of("10/minute", Algorithm::kTokenBucket, 1000));
  REQUIRE(rig.take(1000).allowed);
  rig.policy.burst = 2;
  CHECK(rig.take().retry_after_ns == 6 * kSec);
  rig.clock->advance(6 * kSec);
  CHECK(rig.take().allowed);
}

TEST_CASE("shadow mode counts, reports and refuses nothing", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    LimitPolicy policy = policy_of("5/minute", way);
    policy.shadow = true;
    Rig rig(policy);
    for (int i = 0; i < 5; ++i) CHECK_FALSE(rig.take().shadow);
    const LimitState state = rig.take();
    CHECK(state.allowed);
    CHECK(state.shadow);
    CHECK(state.remaining == 0);
    CHECK(rig.take(6).shadow);
  }
}

TEST_CASE("trap 1: refused by one of several limits, nothing is taken from the others",
          "[limits]") {
  Rig rig(policy_of("10/s"));
  const LimitPolicy minute = policy_of("12/minute", Algorithm::kFixedWindow);
  const LimitPolicy bucket = policy_of("100/hour", Algorithm::kTokenBucket);
  const LimitPolicy log = policy_of("30/hour", Algorithm::kSlidingLog);
  std::vector<LimitHit> hits(4, rig.hit());
  const LimitPolicy* policies[] = {&rig.policy, &minute, &bucket, &log};
  for (size_t i = 0; i < 4; ++i) {
    hits[i].policy = policies[i];
    hits[i].key = limit_key(rig.table->hash_key(), hits[i].group, *policies[i]);
  }
  std::vector<LimitState> states(4);
  const auto all = [&] { return limit_take_all(*rig.table, hits, states, rig.table->now_ns()); };

  for (int i = 0; i < 10; ++i) REQUIRE(all());
  for (int i = 0; i < 50; ++i) CHECK_FALSE(all());
  CHECK_FALSE(states[0].allowed);
  CHECK(states[1].remaining == 2);
  CHECK(states[2].remaining == 90);
  CHECK(states[3].remaining == 20);
  rig.clock->advance(kSec);
  CHECK(all());
  CHECK(all());
  CHECK_FALSE(all());
  CHECK(states[0].remaining == 8);
  CHECK_FALSE(states[1].allowed);
  CHECK(states[3].remaining == 18);
}

TEST_CASE("one key twice in a decision: the late refusal gives the first one back", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way));
    REQUIRE(rig.admitted(9) == 9);
    const std::vector<LimitHit> hits(2, rig.hit());
    std::vector<LimitState> states(2);
    CHECK_FALSE(limit_take_all(*rig.table, hits, states, rig.table->now_ns()));
    CHECK(rig.peek().remaining == 1);
    CHECK(states[0].allowed);
    CHECK_FALSE(states[1].allowed);
  }
}

TEST_CASE("counters live on while the table grows around them", "[limits]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("10/minute", way), std::make_shared<FakeClock>(kStart),
            {.initial_slots = 16});
    const uint64_t names = way.algorithm == Algorithm::kSlidingLog ? 300 : 3000;
    for (uint64_t name = 0; name < names; ++name) {
      REQUIRE(rig.take(4, name).allowed);
      REQUIRE(rig.take(4, name / 2).allowed == (name % 2 == 0));
    }
    for (uint64_t name = 0; name < names; ++name) {
      REQUIRE(rig.peek(1, name).remaining == (name < (names + 1) / 2 ? 2 : 6));
    }
    CHECK(rig.table->stats(Region::kTenant, limit_slot_class(rig.policy)).generation > 1);
  }
}

TEST_CASE("trap 6: the limits of a hundred thousand keys are all remembered", "[limits]") {
  Rig rig(policy_of("2/minute"));
  for (uint64_t name = 0; name < 100'000; ++name) REQUIRE(rig.take(2, name).allowed);
  for (uint64_t name = 0; name < 100'000; ++name) REQUIRE_FALSE(rig.take(1, name).allowed);
}

TEST_CASE("a full region answers as the policy says and touches no tenant", "[limits]") {
  for (const OnFull on_full : {OnFull::kRefuse, OnFull::kAllow}) {
    LimitPolicy policy = policy_of("5/minute");
    policy.on_full = on_full;
    Rig rig(policy, std::make_shared<FakeClock>(kStart), {.anonymous_bytes = 64 << 10});
    REQUIRE(rig.take(5).allowed);
    uint64_t full = 0;
    for (uint64_t name = 0; name < 20'000; ++name) {
      LimitHit hit = rig.hit(1, name);
      hit.region = Region::kAnonymous;
      const LimitState state = limit_take(*rig.table, hit, rig.table->now_ns());
      if (!state.full) continue;
      ++full;
      REQUIRE(state.allowed == (on_full == OnFull::kAllow));
      REQUIRE((state.retry_after_ns > 0) == (on_full == OnFull::kRefuse));
    }
    CHECK(full > 10'000);
    CHECK_FALSE(rig.take().allowed);
    CHECK(rig.take(1, 8).allowed);
    // A window later the flood equals "never seen".
    rig.clock->advance(2 * kMin);
    LimitHit hit = rig.hit(1, 1'000'000);
    hit.region = Region::kAnonymous;
    CHECK_FALSE(limit_take(*rig.table, hit, rig.table->now_ns()).full);
  }
}

TEST_CASE("keys of other groups, windows and algorithms are other counters", "[limits]") {
  const HashKey secret{1, 2};
  const LimitPolicy base = policy_of("10/minute");
  const uint64_t key = limit_key(secret, 5, base);
  LimitPolicy other = base;
  other.limit = 99;
  other.shadow = true;
  CHECK(limit_key(secret, 5, other) == key);
  other.window_ns += 1;
  CHECK(limit_key(secret, 5, other) != key);
  CHECK(limit_key(secret, 6, base) != key);
  CHECK(limit_key({1, 3}, 5, base) != key);
  for (const Way& way : kWays) {
    const LimitPolicy policy = policy_of("10/minute", way);
    CHECK((limit_key(secret, 5, policy) == key) == (way.algorithm == Algorithm::kSlidingWindow));
  }
}

TEST_CASE("explain states worst case, memory and what a change keeps", "[limits]") {
  for (const Way& way : kWays) {
    const LimitPolicy policy = policy_of("100/minute", way);
    const std::string text = limit_explain(policy);
    INFO(text);
    CHECK(text.find(std::to_string(policy.worst_case()) + " in any 1 min") != text.npos);
    CHECK(text.find("bytes per key") != text.npos);
    CHECK(text.find("change") != text.npos);
  }
  CHECK(limit_explain(policy_of("100/minute")).find("64 bytes per key") != std::string::npos);
  CHECK(limit_explain(policy_of("9/s", Algorithm::kTokenBucket)).find("16 bytes") !=
        std::string::npos);
}

}  // namespace tenancy
