// Limits: the algorithms of LimitPolicy on the slots of a CounterTable.
//
// A hit names a policy, a key and a cost. Keys are 64-bit keyed hashes made with the table's
// secret. One decision takes from several limits at once: look at all, take in order, give back on
// a late refusal, so a refusal is transiently stricter for others and never looser.
//
// Ownership: borrows the table. Thread safety: all functions from any thread or process.
#pragma once

#include <cstdint>
#include <span>

#include "tenancy/base/status.h"
#include "tenancy/catalog/limit_policy.h"
#include "tenancy/counters/table.h"

namespace tenancy {

constexpr size_t kHitsMax = 64;  // limits of one decision
constexpr int64_t kNever = -1;   // retry_after_ns: waiting does not help

// What one limit answers. All times are relative to the `now_ns` of the call.
struct LimitState {
  bool allowed = false;
  bool shadow = false;         // would have been refused, but the policy only reports
  uint64_t limit = 0;          // header value: limit per window, or burst for GCRA
  uint64_t remaining = 0;      // cost units left after this call
  int64_t reset_after_ns = 0;  // until the full limit is back, if nothing more is spent
  int64_t retry_after_ns = 0;  // 0 when allowed; kNever when this cost can never pass
  int64_t delay_ns = 0;        // kLeakyQueue: serve the request after this long
  bool full = false;           // the region had no room: answered by on_full
};

struct LimitHit {
  const LimitPolicy* policy = nullptr;
  uint64_t group = 0;  // places the counter: same for the windows of one tenant and scope
  uint64_t key = 0;    // this counter
  uint64_t cost = 1;   // 0 asks without taking
  Region region = Region::kTenant;
};

// Takes `cost` or nothing.
LimitState limit_take(CounterTable& table, const LimitHit& hit, int64_t now_ns);
// Would `limit_take` allow it? Changes nothing, inserts nothing.
LimitState limit_peek(CounterTable& table, const LimitHit& hit, int64_t now_ns);
// Gives back up to `cost` of what was taken at about `taken_ns`; never above the limit. What can no
// longer be given back exactly (the bucket expired) is dropped.
void limit_refund(CounterTable& table, const LimitHit& hit, int64_t taken_ns, int64_t now_ns);
// Forgets the counter: as if never seen.
void limit_reset(CounterTable& table, const LimitHit& hit, int64_t now_ns);

// All or nothing over `hits` (at most kHitsMax), results in `states` (same size). Returns true when
// every non-shadow limit allowed. On refusal nothing remains taken from any of them, and `states`
// still tell each one's view.
bool limit_take_all(CounterTable& table, std::span<const LimitHit> hits,
                    std::span<LimitState> states, int64_t now_ns);

// The slots that hold the counters of this policy.
SlotClass limit_slot_class(const LimitPolicy& policy);

// The key of a window inside a group. The policy's limit and burst are not part of it, so changing
// them keeps what was counted; algorithm and window are, so changing those starts afresh.
uint64_t limit_key(const HashKey& hash_key, uint64_t group, const LimitPolicy& policy);

}  // namespace tenancy
