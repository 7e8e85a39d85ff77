// Replays recorded traffic against limits and quotas: who would have been refused.
//
// Limits are counted by the algorithms themselves, on a table and a clock of the replay's own, so
// the answers are those of a limiter that had stood before the traffic. Quotas are a plain sum per
// calendar period, all or nothing.
//
// Ownership: borrows the traffic. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/catalog/limit_policy.h"

namespace tenancy {

struct Traffic {
  std::span<const uint32_t> keys;     // below key_count
  std::span<const int64_t> times_ns;  // Unix, not before 1970; in any order
  std::span<const uint64_t> costs;    // at least 1; empty = 1 each
  size_t key_count = 0;
};

// What became of the requests of one key.
struct Replayed {
  uint64_t requests = 0;
  uint64_t refused = 0;
  uint64_t cost = 0;
  uint64_t cost_refused = 0;
  int64_t first_refusal_ns = -1;  // -1: none was refused
  // The longest run of refusals without an admission in between, by time and then by number.
  uint64_t spell = 0;
  int64_t spell_begin_ns = -1;
  int64_t spell_end_ns = -1;  // the last refusal of the run
  // Leaky queues: requests that waited, and the longest wait.
  uint64_t delayed = 0;
  int64_t delay_max_ns = 0;
};

// All of `policies` hold at once, for each key alone. Requests at one time keep their order.
// kInvalidArgument names the row; kFull: more keys than a table holds.
Result<std::vector<Replayed>> replay_limits(std::span<const LimitPolicy> policies,
                                            const Traffic& traffic);

// At most `limit` of cost per key and period; period i lies from starts[i] to before starts[i + 1].
// A request that does not fit takes nothing. kInvalidArgument: a time outside the periods.
Result<std::vector<Replayed>> replay_quota(uint64_t limit, std::span<const int64_t> starts,
                                           const Traffic& traffic);

}  // namespace tenancy
