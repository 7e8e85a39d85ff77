// Fixed window: a count per window, the windows side by side or each begun by its first hit.
//
// Invariants:
//  1. One state word holds the window and its count, so every change is one swap: used 1, time 31,
//  count 30
//     bits. The time is the number of the window, or the tick of its first hit rounded up.
//  2. A count of 0 equals "never seen".
//  3. Expiry in the past and clock steps: as in the sliding window.
#pragma once

#include "tenancy/limits/attempt.h"

namespace tenancy {

Outcome fixed_window_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state);
Outcome fixed_window_refund(const LimitHit& hit, const SlotRef& slot, int64_t taken_ns,
                            int64_t now_ns);
Outcome fixed_window_reset(const SlotRef& slot);

}  // namespace tenancy
