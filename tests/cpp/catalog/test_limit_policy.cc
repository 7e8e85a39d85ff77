#include <random>
#include <string>

#include "catch.h"
#include "tenancy/catalog/limit_policy.h"

namespace tenancy {
namespace {

constexpr int64_t kSec = 1'000'000'000;

LimitPolicy parsed(const std::string& text) {
  Result<LimitPolicy> policy = LimitPolicy::parse(text);
  INFO(text);
  if (!policy.ok()) FAIL(policy.error().message);
  return *policy;
}

std::string error_of(const std::string& text) {
  Result<LimitPolicy> policy = LimitPolicy::parse(text);
  INFO(text);
  REQUIRE_FALSE(policy.ok());
  CHECK(policy.error().code == Code::kInvalidArgument);
  return policy.error().message;
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

}  // namespace

TEST_CASE("a limit is read in the ways people write it", "[limit_policy]") {
  struct Case {
    const char* text;
    uint64_t limit;
    int64_t window_ns;
  };
  for (const Case& c : std::initializer_list<Case>{{"100/minute", 100, 60 * kSec},
                                                   {"5/s", 5, kSec},
                                                   {" 5 / sec ", 5, kSec},
                                                   {"1000 per hour", 1000, 3600 * kSec},
                                                   {"10/90s", 10, 90 * kSec},
                                                   {"100/2 minutes", 100, 120 * kSec},
                                                   {"1_000_000/day", 1'000'000, 86'400 * kSec},
                                                   {"3/Week", 3, 7 * 86'400 * kSec},
                                                   {"7/250ms", 7, 250'000'000},
                                                   {"2 per 15 min", 2, 900 * kSec},
                                                   {"1/400 days", 1, 400 * 86'400 * kSec}}) {
    const LimitPolicy policy = parsed(c.text);
    INFO(c.text);
    CHECK(policy.limit == c.limit);
    CHECK(policy.window_ns == c.window_ns);
    CHECK(policy.algorithm == Algorithm::kSlidingWindow);
  }
}

TEST_CASE("what is wrong with a limit is said with its remedy", "[limit_policy]") {
  CHECK(has(error_of(""), "expected a limit such as"));
  CHECK(has(error_of("fast"), "expected a limit such as"));
  CHECK(has(error_of("-5/minute"), "positive"));
  CHECK(has(error_of("0/minute"), "positive"));
  CHECK(has(error_of("0.5/s"), "longer window"));
  CHECK(has(error_of("99999999999999999999/s"), "64 bits"));
  CHECK(has(error_of("1__0/s"), "64 bits"));
  CHECK(has(error_of("10/parsec"), "unit of time"));
  CHECK(has(error_of("10/"), "unit of time"));
  CHECK(has(error_of("10/s extra"), "unit of time"));
  CHECK(has(error_of("10 minute"), "expected a limit such as"));
  CHECK(has(error_of("10/month"), "no fixed length"));
  CHECK(has(error_of("10/2 years"), "no fixed length"));
  CHECK(has(error_of("10/0s"), "1 ms to 400 days"));
  CHECK(has(error_of("10/401d"), "1 ms to 400 days"));
  CHECK(has(error_of("10/1844674407370955160d"), "1 ms to 400 days"));
  CHECK(has(error_of("10/99999999999999999999d"), "64 bits"));
  CHECK(has(error_of(std::string("10/s\0", 5)), "unit of time"));
}

TEST_CASE("text is read back as the same policy", "[limit_policy]") {
  std::mt19937_64 random(1);
  for (int i = 0; i < 2000; ++i) {
    LimitPolicy policy;
    policy.limit = 1 + random() % 1'000'000;
    const int64_t units[] = {1, 1'000'000, kSec, 60 * kSec, 3600 * kSec, 86'400 * kSec};
    const int64_t unit = units[random() % 6];
    policy.window_ns =
        std::clamp(unit * static_cast<int64_t>(1 + random() % 300), kWindowNsMin, kWindowNsMax);
    CHECK(parsed(policy.text()) == policy);
  }
  CHECK(parsed("60/60s").text() == "60/minute");
  CHECK(parsed("60/90s").text() == "60/90s");
}

TEST_CASE("several limits hold at once", "[limit_policy]") {
  const auto policies = LimitPolicy::parse_list("10/second; 100/minute ;1000/h");
  REQUIRE(policies.ok());
  REQUIRE(policies.value().size() == 3);
  CHECK(policies.value()[1].limit == 100);
  CHECK_FALSE(LimitPolicy::parse_list("10/second;").ok());
  const auto twice = LimitPolicy::parse_list("10/minute; 20/60s");
  REQUIRE_FALSE(twice.ok());
  CHECK(has(twice.error().message, "two limits for one window"));
}

TEST_CASE("names of algorithms go both ways", "[limit_policy]") {
  for (uint8_t i = 0; i <= static_cast<uint8_t>(Algorithm::kSlidingLog); ++i) {
    const auto algorithm = static_cast<Algorithm>(i);
    const auto back = algorithm_from_name(algorithm_name(algorithm));
    REQUIRE(back.ok());
    CHECK(back.value() == algorithm);
  }
  CHECK(has(algorithm_from_name("tokens").error().message, "token_bucket"));
}

TEST_CASE("validate refuses what the counters cannot hold", "[limit_policy]") {
  LimitPolicy policy = parsed("100/minute");
  CHECK(policy.validate().ok());

  policy.burst = 5;
  CHECK(has(policy.validate().error().message, "token_bucket"));
  policy.algorithm = Algorithm::kTokenBucket;
  CHECK(policy.validate().ok());

  policy.anchor_first = true;
  CHECK(has(policy.validate().error().message, "fixed_window"));

  policy = parsed("100/minute");
  policy.limit = kSlidingWindowLimitMax + 1;
  CHECK(has(policy.validate().error().message, "token_bucket"));
  policy.limit = 4097;
  policy.algorithm = Algorithm::kSlidingLog;
  CHECK(has(policy.validate().error().message, "4096"));

  policy = parsed("2000000/ms");
  policy.algorithm = Algorithm::kTokenBucket;
  CHECK(has(policy.validate().error().message, "nanosecond"));
  policy = parsed("1/day");
  policy.algorithm = Algorithm::kLeakyBucket;
  policy.burst = 3650;
  CHECK(policy.validate().ok());
  policy.burst = 3651;
  CHECK(has(policy.validate().error().message, "ten years"));
  policy.burst = UINT64_MAX;
  CHECK(has(policy.validate().error().message, "ten years"));

  policy = parsed("1/day");
  policy.limit = 0;
  CHECK(has(policy.validate().error().message, "positive"));
  policy = parsed("1/day");
  policy.window_ns = -1;
  CHECK(has(policy.validate().error().message, "1 ms"));
}

TEST_CASE("the capacity comes back in the window, or with a burst at the policy's rate",
          "[limit_policy]") {
  LimitPolicy policy = parsed("7/minute");
  CHECK(policy.refill_ns() == 60'000'000'000);
  policy.algorithm = Algorithm::kTokenBucket;
  CHECK(policy.refill_ns() == 60'000'000'000);
  policy.burst = 7;
  CHECK(policy.refill_ns() == 60'000'000'000);
  policy.burst = 1;
  CHECK(policy.refill_ns() == 8'571'428'572);
  policy.burst = 70;
  CHECK(policy.refill_ns() == 600'000'000'000);
  policy.algorithm = Algorithm::kFixedWindow;  // knows no burst
  CHECK(policy.refill_ns() == 60'000'000'000);
  policy = parsed("1/400 days");
  policy.algorithm = Algorithm::kTokenBucket;
  policy.burst = 9;
  REQUIRE(policy.validate().ok());
  CHECK(policy.refill_ns() == 9 * kWindowNsMax);
}

TEST_CASE("worst cases are the published ones", "[limit_policy]") {
  LimitPolicy policy = parsed("100/minute");
  CHECK(policy.worst_case() == 100);
  policy.algorithm = Algorithm::kFixedWindow;
  CHECK(policy.worst_case() == 200);
  policy.algorithm = Algorithm::kTokenBucket;
  CHECK(policy.worst_case() == 200);
  policy.burst = 10;
  CHECK(policy.worst_case() == 110);
}

}  // namespace tenancy
