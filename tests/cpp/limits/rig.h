// A table, a clock that the test owns, and hits on one key.
#pragma once

#include <memory>
#include <string>

#include "catch.h"
#include "tenancy/base/clock.h"
#include "tenancy/counters/table.h"
#include "tenancy/limits/limiter.h"

namespace tenancy {

// One of each way of counting.
struct Way {
  const char* name;
  Algorithm algorithm;
  bool anchor_first = false;
};
constexpr Way kWays[] = {{"sliding window", Algorithm::kSlidingWindow},
                         {"token bucket", Algorithm::kTokenBucket},
                         {"leaky bucket", Algorithm::kLeakyBucket},
                         {"leaky queue", Algorithm::kLeakyQueue},
                         {"fixed window", Algorithm::kFixedWindow},
                         {"fixed window from the first hit", Algorithm::kFixedWindow, true},
                         {"sliding counter", Algorithm::kSlidingCounter},
                         {"sliding log", Algorithm::kSlidingLog}};

constexpr int64_t kMilli = 1'000'000;
constexpr int64_t kSec = 1000 * kMilli;
constexpr int64_t kMin = 60 * kSec;
constexpr int64_t kDayNs = 1440 * kMin;
constexpr int64_t kStart = 1'790'000'040 * kSec;  // a whole minute

inline LimitPolicy policy_of(const std::string& text,
                             Algorithm algorithm = Algorithm::kSlidingWindow, uint64_t burst = 0) {
  Result<LimitPolicy> parsed = LimitPolicy::parse(text);
  if (!parsed.ok()) FAIL(parsed.error().message);
  parsed->algorithm = algorithm;
  parsed->burst = burst;
  if (const Status status = parsed->validate(); !status.ok()) FAIL(status.error().message);
  return *parsed;
}

inline LimitPolicy policy_of(const std::string& text, const Way& way) {
  LimitPolicy policy = policy_of(text, way.algorithm);
  policy.anchor_first = way.anchor_first;
  return policy;
}

// One key of one policy in a table of its own, or in a shared one.
class Rig {
 public:
  explicit Rig(const LimitPolicy& limit)
      : policy(limit), clock(std::make_shared<FakeClock>(kStart)), table(open({}, clock)) {}
  Rig(const LimitPolicy& limit, std::shared_ptr<FakeClock> shared_clock,
      const CounterTable::Options& options)
      : policy(limit), clock(std::move(shared_clock)), table(open(options, clock)) {}

  LimitHit hit(uint64_t cost = 1, uint64_t name = 7) const {
    LimitHit made;
    made.policy = &policy;
    made.group = siphash_join(table->hash_key(), 1, name);
    made.key = limit_key(table->hash_key(), made.group, policy);
    made.cost = cost;
    return made;
  }
  LimitState take(uint64_t cost = 1, uint64_t name = 7) {
    return limit_take(*table, hit(cost, name), table->now_ns());
  }
  LimitState peek(uint64_t cost = 1, uint64_t name = 7) {
    return limit_peek(*table, hit(cost, name), table->now_ns());
  }
  void refund(uint64_t cost, int64_t taken_ns) {
    limit_refund(*table, hit(cost), taken_ns, table->now_ns());
  }
  void reset() { limit_reset(*table, hit(), table->now_ns()); }
  // How many of `tries` hits pass now.
  uint64_t admitted(uint64_t tries) {
    uint64_t count = 0;
    for (uint64_t i = 0; i < tries; ++i) count += take().allowed ? 1 : 0;
    return count;
  }

  LimitPolicy policy;
  std::shared_ptr<FakeClock> clock;
  std::unique_ptr<CounterTable> table;

 private:
  static std::unique_ptr<CounterTable> open(const CounterTable::Options& options,
                                            std::shared_ptr<const Clock> clock) {
    Result<std::unique_ptr<CounterTable>> opened = CounterTable::open(options, std::move(clock));
    if (!opened.ok()) FAIL(opened.error().message);
    return std::move(*opened);
  }
};

}  // namespace tenancy
