#include "tenancy/quotas/charges.h"

#include <algorithm>

#include "tenancy/quotas/ledger.h"

namespace tenancy {
namespace {

using quotas::Cells;
using quotas::number_of;
using quotas::number_word;

constexpr int64_t kSecondNs = 1'000'000'000;
// A slot stays a little longer than what is in it counts, so that nobody finds it gone while it
// does.
constexpr int64_t kKeepNs = 60 * kSecondNs;
constexpr size_t kMark = 0;
constexpr size_t kPrint = 1;

enum State : uint32_t { kFree = 0, kPending = 1, kCharged = 2 };

// 61 bits: state 2, nonce 15, then the ledger of the holder (pending) or the repeats so far
// (charged) 12, and 32 bits of the time in seconds until which it counts.
struct Mark {
  uint32_t state = kFree;
  uint32_t nonce = 0;
  uint32_t holder = 0;
  uint32_t until = 0;

  uint64_t word() const {
    return number_word(uint64_t{state} | uint64_t{nonce & 0x7fff} << 2 |
                       uint64_t{holder & 0xfff} << 17 | uint64_t{until} << 29);
  }
  static Mark of(uint64_t word) {
    const uint64_t number = number_of(word);
    return {.state = static_cast<uint32_t>(number & 3),
            .nonce = static_cast<uint32_t>(number >> 2 & 0x7fff),
            .holder = static_cast<uint32_t>(number >> 17 & 0xfff),
            .until = static_cast<uint32_t>(number >> 29)};
  }
  bool counts(int64_t now_ns) const {
    const auto now = static_cast<uint32_t>(static_cast<uint64_t>(now_ns / kSecondNs));
    return state != kFree && static_cast<int32_t>(until - now) > 0;
  }
};

uint32_t until_seconds(int64_t until_ns) {
  return static_cast<uint32_t>(static_cast<uint64_t>((until_ns + kSecondNs - 1) / kSecondNs));
}

int64_t clamp_window(int64_t ns) { return std::clamp<int64_t>(ns, 0, Charges::kWindowMaxNs); }

uint64_t print_word(uint64_t fingerprint) { return number_word(fingerprint >> 3); }

bool is_claim(const Mark& seen, const ChargeHandle& handle) {
  return seen.state == kPending && seen.nonce == handle.nonce && seen.holder == handle.holder;
}

}  // namespace

bool Charges::known(uint64_t key) {
  Cells cells(table_, SlotClass::kWords4, quotas::usable_key(key));
  return cells.find();
}

Charge Charges::claim(uint64_t key, uint64_t fingerprint, const ChargeTerms& terms,
                      ChargeHandle* handle) {
  key = quotas::usable_key(key);
  const int64_t now = table_->now_ns();
  const int64_t pending_until = now + clamp_window(terms.pending_ns);
  const int64_t kept = now + clamp_window(std::max(terms.window_ns, terms.pending_ns)) + kKeepNs;
  const uint64_t print = print_word(fingerprint);
  const uint32_t repeats_max = std::min(terms.repeats_max, kRepeatsMax);
  Cells cells(table_, SlotClass::kWords4, key);
  if (!cells.make(kept)) return Charge::kFull;
  uint32_t ledger = quotas::kNoLedger;
  for (;;) {
    const uint64_t word = cells.load(kMark);
    if (!cells.present()) return Charge::kFull;
    const uint64_t before = cells.load(kPrint);
    const Mark seen = Mark::of(word);
    if (seen.counts(now) && seen.state == kCharged) {
      // The print belongs to the mark if the mark is still the same after it was read.
      if (cells.load(kMark) != word) continue;
      if (before != print || seen.holder >= repeats_max) return Charge::kReused;
      Mark repeated = seen;
      ++repeated.holder;
      if (cells.swap(kMark, word, repeated.word())) return Charge::kBefore;
      continue;
    }
    if (seen.counts(now) && ledgers_->holder_alive(seen.holder)) return Charge::kInProgress;
    if (ledger == quotas::kNoLedger) {
      ledger = ledgers_->lease_holder(pending_until + kSecondNs);
      if (ledger == quotas::kNoLedger) return Charge::kFull;
    }
    const Mark mine{.state = kPending,
                    .nonce = (seen.nonce + 1) & 0x7fff,
                    .holder = ledger,
                    .until = until_seconds(pending_until)};
    if (!cells.swap(kMark, word, mine.word())) continue;
    cells.swap(kPrint, before, print);  // fails only when somebody has taken over already
    *handle = {.key = key, .holder = mine.holder, .nonce = mine.nonce};
    return Charge::kMine;
  }
}

bool Charges::book(const ChargeHandle& handle, const ChargeTerms& terms) {
  const int64_t until = table_->now_ns() + clamp_window(terms.window_ns);
  Cells cells(table_, SlotClass::kWords4, handle.key);
  if (!cells.find() || !cells.keep(until + kKeepNs)) return false;
  const uint64_t word = cells.load(kMark);
  const Mark seen = Mark::of(word);
  if (!is_claim(seen, handle)) return false;
  const Mark charged{.state = kCharged, .nonce = seen.nonce, .until = until_seconds(until)};
  return cells.swap(kMark, word, charged.word());
}

void Charges::drop(const ChargeHandle& handle) {
  Cells cells(table_, SlotClass::kWords4, handle.key);
  if (!cells.find()) return;
  const uint64_t word = cells.load(kMark);
  const Mark seen = Mark::of(word);
  if (is_claim(seen, handle)) cells.swap(kMark, word, Mark{.nonce = seen.nonce}.word());
}

}  // namespace tenancy
