// GCRA, the generic cell rate algorithm (ITU-T I.371): token bucket, leaky bucket and leaky queue.
//
// Invariants:
//  1. The one state word is the theoretical arrival time: when the bucket will be full again
//  (tokens) or empty
//     (queue), in nanoseconds of table time. A word in the past equals "never seen".
//  2. A unit costs ceil(window / limit) ns, so the long-run rate never passes limit / window; the
//  capacity is
//     burst x that, so a fresh bucket admits exactly `burst`.
//  3. A time beyond now + capacity cannot come from this policy: the clock stepped back or the
//  burst was
//     lowered. It is brought back to now + capacity, so nobody is locked out longer than a full
//     bucket.
#pragma once

#include "tenancy/limits/attempt.h"

namespace tenancy {

Outcome gcra_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state);
// What flowed out since `taken_ns` is gone; the rest of `cost` is given back.
Outcome gcra_refund(const LimitHit& hit, const SlotRef& slot, int64_t taken_ns, int64_t now_ns);
Outcome gcra_reset(const SlotRef& slot);

}  // namespace tenancy
