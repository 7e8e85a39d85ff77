// Quotas: usage against a grant, reservations and leases, on the slots of the CounterTable.
//
// Kinds (catalog QuotaKind): count and size go up and down and have no period; consumption restarts
// with each period; per-object is a maximum without state; concurrency is a set of leases, each of
// which frees itself when it expires or its holder dies.
//
// Invariants:
//  1. A consumption is allowed exactly when used + reserved + n <= limit (+ grace), decided by one
//     compare-and-swap; a refused one changes nothing.
//  2. A process killed at any instruction never lets more through; it leaves at most its own amount
//     in flight charged (it shows as reserved, and `reconcile` gives it back), and leases of dead
//     holders are free at once.
//  3. Each period has its own counter, so nothing has to be reset when a period ends.
//  4. Plan, limit, time zone and anchor are no part of a counter's name: changing them keeps what
//     was used, and the period in force stays until its end (see period_book.h).
//
// Amounts and limits count up to 2^61 - 1; what would pass that is refused, limits above it are
// that. A quota that the plan does not grant has limit 0. At most 4,096 leases of one quota live at
// once.
//
// Ownership: borrows the table and the clock. Thread safety: every method from any thread or
// process.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "tenancy/base/civil.h"
#include "tenancy/base/status.h"
#include "tenancy/catalog/catalog.h"
#include "tenancy/counters/table.h"
#include "tenancy/quotas/charges.h"

namespace tenancy {

// Whose quota, under which grant. Built by the engine from a tenant and a quota index.
struct QuotaTarget {
  uint64_t tenant_seed = 0;
  const QuotaDef* def = nullptr;
  const QuotaGrant* grant = nullptr;
  const TimeZone* time_zone = nullptr;  // of the tenant
  const Anchor* anchor = nullptr;       // of its subscription
  // SipHash of the definition's name with the table's secret, for callers who keep it; 0: unknown.
  uint64_t name_hash = 0;
};

// One reading of both clocks: a caller who has made it for its own purposes need not pay for
// another.
struct QuotaMoment {
  int64_t wall_ns = 0;
  int64_t table_ns = 0;
};

struct QuotaState {
  bool allowed = false;
  bool unlimited = false;
  bool soft = false;
  uint64_t limit = 0;
  uint64_t used = 0;  // committed
  // Held by live reservations; until `status` or a refusal has looked, by expired ones too.
  uint64_t reserved = 0;
  uint64_t overage = 0;              // used beyond a soft limit
  int64_t period_start_wall_ns = 0;  // 0 when the kind has no period
  int64_t period_end_wall_ns = 0;
  // Bit i: use has reached alert_percents[i] and nobody acknowledged it yet. Told by consume,
  // reserve, set and commit, refused ones included.
  uint8_t crossed = 0;
  bool full = false;  // the table had no room: refused, STATE_UNAVAILABLE
  bool exceeded() const { return !unlimited && used >= limit; }
};

// A reservation or lease. 0 = none. Opaque: place, generation and nonce.
struct QuotaHandle {
  uint64_t value = 0;
  uint64_t quota_key = 0;
  explicit operator bool() const { return value != 0; }
};

class Quotas {
 public:
  static constexpr int64_t kReservationNs = 60'000'000'000;  // default life of a reservation

  Quotas(CounterTable* table, std::shared_ptr<const Clock> clock);
  ~Quotas();

  QuotaState status(const QuotaTarget& target) const;
  // Would `amount` pass?
  QuotaState check(const QuotaTarget& target, uint64_t amount) const;
  QuotaState consume(const QuotaTarget& target, uint64_t amount) {
    return consume(target, amount, now());
  }
  QuotaState consume(const QuotaTarget& target, uint64_t amount, const QuotaMoment& now);
  // Count and size: down again, never below 0. Consumption: a correction inside the current period.
  // Reservations are not touched.
  QuotaState decrement(const QuotaTarget& target, uint64_t amount);
  // Sets the usage (a recount), then reconciles. Reservations stay on top of it.
  QuotaState set(const QuotaTarget& target, uint64_t used);
  // Gives back what processes killed in the middle of something left charged, so that the total is
  // again what is used and what is reserved. It must be certain that nobody alive is in the middle
  // of something: it waits for that, at most half a second, and else changes nothing. Not for the
  // inside of a decision.
  QuotaState reconcile(const QuotaTarget& target);

  // Takes like `consume`, but not for good: commit keeps it (or keeps less: `amount`), release
  // gives it back, expiry gives it back. `handle` is 0 when refused.
  QuotaState reserve(const QuotaTarget& target, uint64_t amount, int64_t ttl_ns,
                     QuotaHandle* handle) {
    return reserve(target, amount, ttl_ns, now(), handle);
  }
  QuotaState reserve(const QuotaTarget& target, uint64_t amount, int64_t ttl_ns,
                     const QuotaMoment& now, QuotaHandle* handle);
  // It charges the period in which it was made. False when the reservation had expired or was
  // settled before: the caller decides what that means. More than was reserved is cut to that.
  // `after` (may be null) gets the state of that period's counter after a commit.
  bool commit(const QuotaTarget& target, QuotaHandle handle, std::optional<uint64_t> amount,
              QuotaState* after = nullptr);
  bool release(const QuotaTarget& target, QuotaHandle handle);

  // Concurrency. One lease is one unit held by this process (process number and start time).
  // `ttl_ns` is at most 200 days and counted in hundredths of a second. An unlimited quota gives
  // leases that are not counted; consume and reserve refuse this kind.
  QuotaState acquire(const QuotaTarget& target, int64_t ttl_ns, QuotaHandle* handle);
  bool renew(const QuotaTarget& target, QuotaHandle handle, int64_t ttl_ns);
  bool end_lease(const QuotaTarget& target, QuotaHandle handle);
  // Ends every lease of the tenant's quota (suspension).
  uint64_t revoke_leases(const QuotaTarget& target);

  // Who is charged once under an idempotency key.
  Charges& charges();

  // After the threshold's event is stored: no later call reports it again in this period.
  void acknowledge_alert(const QuotaTarget& target, int64_t period_start_wall_ns, uint8_t crossed);

 private:
  QuotaMoment now() const;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenancy
