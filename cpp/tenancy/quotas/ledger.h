// Ledgers: where processes write down what they hold, so that others can give it back for them.
// Internal.
//
// A ledger is one kLog512 slot: 4 words about its holder, then 127 records of 4 words, each one
// reservation. A process takes a ledger on its first reservation or lease and further ones when it
// runs out of records. Their number is bounded by the processes of the host and what they have in
// flight, not by tenants. The words and the order in which they change are in FORMATS.md.
//
// A record goes FREE → INTENT (written before the gate) → HELD (after it) → FREE. Whoever swaps
// HELD for FREE, and nobody else, settles the amount: holder, a sweeper after expiry, or a sweeper
// after the holder died. What a process killed in INTENT had taken is not known and stays taken.
//
// Ownership: borrows the table. Thread safety: any thread or process; works after fork.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "tenancy/quotas/usage.h"

namespace tenancy::quotas {

constexpr uint32_t kLedgersMax = 4095;  // 12 bits, and one value for "none"
constexpr uint32_t kNoLedger = kLedgersMax;
constexpr size_t kRecords = 127;
// Handles carry so many bits of a nonce.
constexpr uint64_t kHandleNonceMask = (uint64_t{1} << 44) - 1;

// Where a reservation is written down. The nonce tells it from all others that used the record.
struct RecordRef {
  uint32_t ledger = kNoLedger;
  uint32_t record = 0;
  uint64_t nonce = 0;
};

// What is written there.
struct Held {
  uint64_t amount = 0;
  uint64_t usage_key = 0;
  int64_t until_ns = 0;  // table time
};

class Ledgers {
 public:
  explicit Ledgers(CounterTable* table);
  ~Ledgers();

  // Writes an INTENT. Nothing when there is no free record on this host.
  std::optional<RecordRef> intend(const Held& held);
  // INTENT → HELD. False when somebody else freed the record: the amount is not held.
  bool hold(const RecordRef& ref);
  // INTENT → FREE: the gate refused.
  void abandon(const RecordRef& ref);
  // HELD → FREE by whoever holds the handle. Nothing when it is not held any more, or was for
  // another counter than `usage`. The caller settles the amount.
  std::optional<Held> settle(const RecordRef& ref, UsageCells* usage);
  // Frees what expired or dead holders hold of that counter and gives it back to `usage`.
  void sweep(UsageCells* usage);
  // What HELD records hold of that counter, all together.
  uint64_t held(uint64_t usage_key);

  // The number under which this process's leases are written down, its ledger kept for them until
  // `until_ns`; kNoLedger when no ledger can be had.
  uint32_t lease_holder(int64_t until_ns);
  // The same for a lease that is renewed, by whatever process.
  void keep_holder(uint32_t ledger, int64_t until_ns);
  // False only when it is certain that the holder is gone.
  bool holder_alive(uint32_t ledger);

 private:
  struct Own;  // what this process has taken; made anew after a fork

  Own& own();
  Cells ledger_cells(uint32_t ledger) const;
  uint64_t now_us() const;
  // Takes one more ledger unless `mine` has more than `known` already. False when there is none.
  bool take_ledger(Own* mine, size_t known);
  Take try_take(const Own& mine, uint32_t ledger);
  std::optional<RecordRef> intend_in(const Own& mine, uint32_t ledger, const Held& held);
  bool identity_alive(uint64_t identity);
  // HELD → FREE of a record whose control word was `control`, with what it held given back. False
  // when somebody else was faster.
  bool free_held(Cells* cells, size_t base, uint64_t control, const Held& held);
  // Frees what a ledger holds beyond its time, or all of it when its holder is dead. True when
  // every record is free afterwards.
  bool clear(Cells* cells, uint64_t holder, bool dead);
  void release_all(const Own& mine);

  CounterTable* table_;
  uint64_t boot_ = 0;  // 26 bits that differ from boot to boot
  std::atomic<Own*> own_{nullptr};
  // Who was seen alive lately: identity mixed with a stretch of time, so that one word says both.
  std::array<std::atomic<uint64_t>, 64> seen_alive_{};
};

}  // namespace tenancy::quotas
