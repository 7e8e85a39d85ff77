// Sliding counter: the count of this period plus the part of the last one that a sliding window
// still covers.
//
// Periods of one window length lie side by side from the origin of table time. A Ring of two
// entries holds the newest period and the one before it; the estimate is previous x (rest of the
// period) / window + current, compared exactly in 128 bits. It assumes that the hits of the last
// period were spread evenly, so up to twice the limit can fall into one window.
//
// Invariants:
//  1. The first hit of a period seals the entry before it, so the previous count only falls
//  (refunds).
//  2. An entry that does not follow its predecessor's period at once is a genesis entry: there is
//  no previous.
//  3. Expiry in the past and clock steps: as in the sliding window.
#pragma once

#include "tenancy/limits/attempt.h"

namespace tenancy {

Outcome sliding_counter_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state);
Outcome sliding_counter_refund(const LimitHit& hit, const SlotRef& slot, int64_t taken_ns,
                               int64_t now_ns);
Outcome sliding_counter_reset(const LimitHit& hit, const SlotRef& slot, int64_t now_ns);

}  // namespace tenancy
