// Any bytes as a rate limit and as a list of them: a policy that keeps its promises and reads back
// from its own text, or a message of bounded length.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tenancy/catalog/limit_policy.h"

namespace {

using tenancy::Algorithm;
using tenancy::LimitPolicy;

void require(bool holds) {
  if (!holds) std::abort();
}

// The messages quote the input, cut to a length that a person reads.
void check_error(const tenancy::Error& error) {
  require(error.code == tenancy::Code::kInvalidArgument);
  require(!error.message.empty());
  require(error.message.size() <= 600);
}

void check_policy(const LimitPolicy& policy) {
  require(policy.limit != 0);
  require(policy.window_ns >= tenancy::kWindowNsMin && policy.window_ns <= tenancy::kWindowNsMax);
  require(policy.algorithm == Algorithm::kSlidingWindow && policy.worst_case() == policy.limit);
  // Only the limit may be too large for the default algorithm.
  require(policy.validate().ok() == (policy.limit <= tenancy::kSlidingWindowLimitMax));
  const auto again = LimitPolicy::parse(policy.text());
  require(again.ok() && *again == policy);
}

// Everything else a caller may set on what was read: valid or refused with a sentence, and what is
// valid keeps the arithmetic that the counters rely on within its bounds.
void check_options(LimitPolicy policy, uint64_t burst) {
  policy.burst = burst;
  for (unsigned algorithm = 0; algorithm <= 6; ++algorithm) {
    policy.algorithm = static_cast<Algorithm>(algorithm);
    const auto named = tenancy::algorithm_from_name(tenancy::algorithm_name(policy.algorithm));
    require(named.ok() && *named == policy.algorithm);
    const tenancy::Status status = policy.validate();
    if (!status.ok()) {
      check_error(status.error());
      continue;
    }
    require(policy.worst_case() >= policy.limit);
    if (!policy.is_gcra()) continue;
    const auto interval = static_cast<uint64_t>(policy.interval_ns());
    require(interval > 0 && policy.capacity() > 0);
    require(policy.capacity() <= static_cast<uint64_t>(tenancy::kDrainNsMax) / interval);
    const auto window = static_cast<uint64_t>(policy.window_ns);
    require(window / interval <= policy.limit);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // The last eight bytes are also a burst, so that text seeds stay text.
  uint64_t burst = 0;
  for (size_t i = size < 8 ? 0 : size - 8; i < size; ++i) burst = burst << 8 | data[i];
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  const auto one = LimitPolicy::parse(text);
  if (one.ok()) {
    check_policy(*one);
    for (const uint64_t value : {uint64_t{0}, burst, burst >> 32, burst & 0xff}) {
      check_options(*one, value);
    }
  } else {
    check_error(one.error());
  }

  const auto list = LimitPolicy::parse_list(text);
  if (!list.ok()) {
    check_error(list.error());
    require(!one.ok());  // one limit is a list of one
    return 0;
  }
  require(!list->empty());
  std::string joined;
  for (const LimitPolicy& policy : *list) {
    check_policy(policy);
    joined += (joined.empty() ? "" : "; ") + policy.text();
  }
  if (one.ok()) require(list->size() == 1 && list->front() == *one);
  const auto again = LimitPolicy::parse_list(joined);
  require(again.ok() && *again == *list);
  return 0;
}
