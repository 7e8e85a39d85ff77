// LimitPolicy: what a rate limit says, before any counter exists.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"

namespace tenancy {

enum class Algorithm : uint8_t {
  kSlidingWindow = 0,  // the default: never more than `limit` in any window (sub-buckets)
  kTokenBucket,        // GCRA with capacity `burst`
  kLeakyBucket,        // as a meter: GCRA, the same arithmetic under its other name
  kLeakyQueue,      // as a queue: GCRA that answers with a delay instead of refusing, up to `burst`
  kFixedWindow,     // calendar-aligned or from the first request
  kSlidingCounter,  // two fixed windows, weighted
  kSlidingLog,      // exact, remembers each hit, limit <= 4096
};
std::string_view algorithm_name(Algorithm algorithm);  // "sliding_window", "token_bucket", …
Result<Algorithm> algorithm_from_name(std::string_view name);

constexpr int64_t kWindowNsMin = 1'000'000;                          // 1 ms
constexpr int64_t kWindowNsMax = int64_t{400} * 86'400'000'000'000;  // 400 days
// Largest `limit` per algorithm: what the counts in their state words hold. GCRA counts in
// nanoseconds, at least one per unit, and a full bucket drains in at most ten years.
constexpr uint64_t kSlidingWindowLimitMax = uint64_t{1} << 26;
constexpr uint64_t kFixedWindowLimitMax = uint64_t{1} << 29;
constexpr uint64_t kSlidingCounterLimitMax = uint64_t{1} << 29;
constexpr uint64_t kSlidingLogLimitMax = 4096;
constexpr int64_t kDrainNsMax = int64_t{3650} * 86'400'000'000'000;

enum class OnFull : uint8_t { kRefuse = 0, kAllow };  // when the counter region has no room

struct LimitPolicy {
  Algorithm algorithm = Algorithm::kSlidingWindow;
  uint64_t limit = 0;         // cost units per window; never 0
  int64_t window_ns = 0;      // >= 1 ms, <= 400 days
  uint64_t burst = 0;         // GCRA capacity in cost units; 0 = limit
  bool anchor_first = false;  // windows begin at the first request instead of the clock
  bool shadow = false;        // count and report, never refuse
  OnFull on_full = OnFull::kRefuse;

  bool operator==(const LimitPolicy&) const = default;

  // "100/minute", "5/s", "1000 per hour", "10/90s", "100/2 minutes". kInvalidArgument names what
  // was expected. Options (burst, algorithm) are set on the result by the caller and checked by
  // `validate`.
  static Result<LimitPolicy> parse(std::string_view text);
  // "10/second; 100/minute": one or several of them, all of which hold at once.
  static Result<std::vector<LimitPolicy>> parse_list(std::string_view text);
  // Everything that can be wrong with the values, in one sentence with its remedy.
  Status validate() const;
  // "100/minute" or "100/90s": what `parse` reads back.
  std::string text() const;
  // The most that can be admitted in any window of `window_ns`, cost 1 (design: "each policy states
  // its worst case"): sliding window and log L; GCRA burst + L; fixed window and sliding counter 2
  // L.
  uint64_t worst_case() const;

  // Token bucket, leaky bucket and leaky queue: one arithmetic, and the only ones with a burst.
  bool is_gcra() const {
    return algorithm == Algorithm::kTokenBucket || algorithm == Algorithm::kLeakyBucket ||
           algorithm == Algorithm::kLeakyQueue;
  }
  // The most one request can cost and still pass: burst for GCRA, else limit.
  uint64_t capacity() const { return is_gcra() && burst != 0 ? burst : limit; }
  // In how long the whole capacity comes back at the policy's rate: the window, except where a
  // burst makes the capacity another amount than the window's. Rounded up; never 0.
  int64_t refill_ns() const;
  // GCRA: nanoseconds per cost unit, rounded up so that the long-run rate never passes limit /
  // window.
  int64_t interval_ns() const {
    const uint64_t window = static_cast<uint64_t>(window_ns);
    return static_cast<int64_t>(window / limit + (window % limit != 0 ? 1 : 0));
  }
};

}  // namespace tenancy
