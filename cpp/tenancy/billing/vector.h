// Prices a column of quantities at once.
//
// Whole quantities go through the table of WholeSegments, a few nanoseconds each; others through
// Price::amount. Long columns are shared by two threads.
//
// Ownership: the amounts own their memory and share it. Thread safety: see below.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tenancy/base/int128.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/column.h"
#include "tenancy/billing/price.h"
#include "tenancy/billing/unit_memory.h"

namespace tenancy {

// The number that so many units of 1e-12 are, where it is whole and fits 64 bits.
inline std::optional<int64_t> whole_of(Int128 units) {
  const auto small = static_cast<int64_t>(units);
  if (small == units) {  // most are, and 64-bit division is several times faster
    return small % Decimal::kOne == 0 ? std::optional(small / Decimal::kOne) : std::nullopt;
  }
  const Int128 whole = units / Decimal::kOne;
  if (whole * Decimal::kOne != units || static_cast<int64_t>(whole) != whole) return std::nullopt;
  return static_cast<int64_t>(whole);
}

// Numbers in units of 1e-12: what decimal128(38, 12) holds. Immutable once filled.
struct Amounts {
  std::shared_ptr<Int128> units;
  int64_t length = 0;
  // One bit each, set where there is a value; empty when all have one.
  std::shared_ptr<std::vector<uint8_t>> validity;
  int64_t null_count = 0;

  bool is_null(int64_t index) const {
    return validity != nullptr &&
           (((*validity)[static_cast<size_t>(index >> 3)] >> (index & 7)) & 1) == 0;
  }
};

// The amount of every quantity; nulls stay null. The errors are those of Price::amount, with the
// index of the first element they are about; kInvalidArgument for a column of texts.
// `threads`: at most so many. Safe from any thread.
Result<Amounts> price_column(const Price& price, const Column& quantities, unsigned threads);

// Where a column could not be priced.
struct PriceFailure {
  int64_t index;
  Error error;
};

// The amounts of quantities [begin, end), which are no texts, into `out`; 0 for nulls.
std::optional<PriceFailure> price_rows(const Price& price, const Column& quantities, int64_t begin,
                                       int64_t end, Int128* out);

// The exact sum; nothing when it does not fit.
std::optional<Decimal> sum_of(const Amounts& amounts);

}  // namespace tenancy
