// Charges: what was charged under a client's idempotency key, so that a repeated request is charged
// once, whichever process of the host serves it.
//
// A charge is one slot of two words. Word 0 goes free → pending → charged, or back to free; word 1
// is the fingerprint of the request that the key stands for. Layout and proofs: FORMATS.md,
// section 2.6.
//
// Invariants:
//  1. Of all attempts under one key, at most one is charged within the window: the one that swapped
//     pending for charged. Its amount is booked after that swap, so a process killed in between
//     leaves the charge out, never doubled.
//  2. A pending charge is one attempt's alone until it is settled, its time is over, or its process
//     is dead; who takes it over then is the one that may settle it.
//  3. A charged key stands for one request only, and for a limited number of repeats of it.
//
// Ownership: borrows table and ledgers. Thread safety: any thread or process.
#pragma once

#include <cstdint>

#include "tenancy/counters/table.h"

namespace tenancy {

namespace quotas {
class Ledgers;
}

// One attempt's claim on a charge. Opaque; empty = none.
struct ChargeHandle {
  uint64_t key = 0;
  uint32_t holder = 0;
  uint32_t nonce = 0;
  explicit operator bool() const { return key != 0; }
};

struct ChargeTerms {
  int64_t pending_ns = 0;  // how long an attempt that is not settled keeps others out
  int64_t window_ns = 0;   // how long a settled charge is remembered
  uint32_t repeats_max =
      0;  // repeats of a settled charge that pass for nothing; at most kRepeatsMax
};

enum class Charge : uint8_t {
  kMine = 0,    // not charged yet: charge, then `book`; or `drop`
  kBefore,      // an earlier attempt was charged: this one is a repeat of it
  kInProgress,  // another attempt has not ended yet
  kReused,      // the key stands for another request, or was repeated too often
  kFull,        // the table has no room
};

class Charges {
 public:
  static constexpr uint32_t kRepeatsMax = 4095;
  static constexpr int64_t kWindowMaxNs = int64_t{400} * 86'400 * 1'000'000'000;

  Charges(CounterTable* table, quotas::Ledgers* ledgers) : table_(table), ledgers_(ledgers) {}

  // Whether the key has a slot already: claiming it takes no more memory.
  bool known(uint64_t key);
  // `key` is a hash made with the table's secret over tenant, caller, the client's key and what is
  // charged; `fingerprint` one over the request. `handle` is set for kMine only.
  Charge claim(uint64_t key, uint64_t fingerprint, const ChargeTerms& terms, ChargeHandle* handle);
  // Before the amount is booked. False: another attempt took the charge over, and pays.
  bool book(const ChargeHandle& handle, const ChargeTerms& terms);
  // The attempt failed and is not charged: the next one is.
  void drop(const ChargeHandle& handle);

 private:
  CounterTable* table_;
  quotas::Ledgers* ledgers_;
};

}  // namespace tenancy
