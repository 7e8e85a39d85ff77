// Leases: who holds one unit of a concurrency quota, a word per lease. Internal.
//
// The positions 0–4095 of a quota lie in up to three slots: 0–63 in a kLog64 slot, 64–511 in a
// kLog512 slot, 512–4095 in a kLog4096 slot, each made when a limit first reaches it. So a change
// of limit moves nothing.
//
// A lease word is free or says holder (ledger number), expiry and a nonce. One compare-and-swap
// takes a lease, so a killed process has either taken it, and is dead, or has not. What is expired
// or was held by a dead process is swapped for a free word before it counts as free. FORMATS.md
// shows why no limit is passed, not even while one is being lowered.
//
// Ownership: borrows table and ledgers. Thread safety: any thread or process.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "tenancy/quotas/ledger.h"

namespace tenancy::quotas {

constexpr uint32_t kLeasePositions = 4096;
constexpr int64_t kLeaseMaxNs = int64_t{200} * 86'400 * 1'000'000'000;

struct LeaseRef {
  uint32_t position = 0;
  uint32_t holder = kNoLedger;
  uint16_t nonce = 0;
};

struct LeaseAnswer {
  std::optional<LeaseRef> taken;
  uint64_t live = 0;  // after the call
  bool full = false;  // no room in the table
};

class Leases {
 public:
  Leases(CounterTable* table, Ledgers* ledgers) : table_(table), ledgers_(ledgers) {}

  // Takes a free one of `limit` leases (at most kLeasePositions).
  LeaseAnswer acquire(uint64_t key, uint64_t limit, int64_t ttl_ns);
  // Live leases. Those of dead holders are ended on the way when `at_least` or more seem live.
  uint64_t count(uint64_t key, uint64_t at_least);
  // False when it had expired or was ended before.
  bool renew(uint64_t key, const LeaseRef& lease, int64_t ttl_ns);
  bool end(uint64_t key, const LeaseRef& lease);
  uint64_t end_all(uint64_t key);

 private:
  class Scan;

  CounterTable* table_;
  Ledgers* ledgers_;
};

}  // namespace tenancy::quotas
