// Sliding window and sliding log: never more than `limit` in any window of that length.
//
// Both are a Ring whose entries hold the time of their last hit, rounded up to a tick, and how much
// was counted. An entry counts in full until a whole window has passed since its last hit. The
// sliding window gathers the hits of a quarter of a window in one entry, six entries in all (64
// bytes); the log gathers only hits of the same tick, so it forgets each exactly one window later.
//
// Invariants:
//  1. Entries of the sliding window lie in strictly increasing quarters after a genesis entry, so
//  the entry
//     that is overwritten has expired (FORMATS.md). The log looks, and where the oldest entry still
//     counts it adds to the newest one instead: later forgotten, never earlier.
//  2. An expiry word in the past says that every entry has expired, however its few bits of time
//  read.
//  3. An entry ahead of a clock that was read after it means that the clock stepped back. What
//  counts is then
//     carried into a genesis entry made now: stricter, for at most one window (trap 8).
#pragma once

#include "tenancy/limits/attempt.h"

namespace tenancy {

// kLog64, kLog512 or kLog4096: the smallest that holds `limit` entries.
SlotClass sliding_log_class(uint64_t limit);

Outcome sliding_window_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state);
// Lowers the cost of `left` by what it gave back; 0 is left unless less was counted.
Outcome sliding_window_refund(LimitHit* left, const SlotRef& slot, int64_t taken_ns,
                              int64_t now_ns);
Outcome sliding_window_reset(const LimitHit& hit, const SlotRef& slot, int64_t now_ns);

}  // namespace tenancy
