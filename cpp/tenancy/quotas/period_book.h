// PeriodBook: which period of a quota is in force. Internal.
//
// The period in force is remembered in a slot, so that all processes agree on it whatever their
// clocks and definitions say, and a new one is worked out only when it has passed. So:
//  1. A change of time zone or anchor takes effect at the next period, which begins where the old
//     one ends. When that leaves less than half a period until the new kind's first end, the next
//     period goes on to the end after that: nobody gets a whole grant for a few hours by changing
//     the time zone.
//  2. A wall clock that steps back reopens nothing: the period in force stays until the clock
//     passes its end.
//  3. A tenant without a remembered period takes the newest wall clock any process saw, not an
//     older one.
//
// Ownership: borrows table and clock. Thread safety: any thread or process.
#pragma once

#include <cstdint>

#include "tenancy/base/civil.h"
#include "tenancy/quotas/quota_key.h"

namespace tenancy::quotas {

// How long counters of a period outlive it: late commits and clocks that step back find them.
constexpr int64_t kGraceNs = int64_t{86'400} * 1'000'000'000;

class PeriodBook {
 public:
  PeriodBook(CounterTable* table, const Clock* clock) : table_(table), clock_(clock) {}

  struct Entered {
    Period period;
    int64_t keep_until_ns = 0;  // table time until which the counters of the period are needed
    bool full = false;          // the table has no room to remember the period
  };
  // The period in force, made and remembered if need be.
  Entered enter(const QuotaTarget& target, uint64_t root, const QuotaMoment& now);
  // The same without changing anything.
  Period look(const QuotaTarget& target, uint64_t root) const;

 private:
  // The newest wall clock any process saw: `own_ns` or the mark, which it moves.
  int64_t note_wall(int64_t own_ns);
  static Period next_period(const QuotaTarget& target, int64_t wall_ns, const Period* before);

  CounterTable* table_;
  const Clock* clock_;
};

}  // namespace tenancy::quotas
