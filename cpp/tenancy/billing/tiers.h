// Where quantities lie among the tiers of a price.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tenancy/base/decimal.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/column.h"
#include "tenancy/billing/price.h"

namespace tenancy {

// A range of quantities that one tier prices.
struct TierRange {
  int tier = 0;                 // from 1; 0 for no usage and the included units
  std::optional<Decimal> last;  // the largest quantity in it; nothing = the open end
};

// Ascending, and without gaps. Tiers that are wholly included are left out.
std::vector<TierRange> tier_ranges(const Price& price);

// How many of the ascending `bounds` (units of 1e-12) lie below each quantity: one that is equal to
// a bound is still under it. Quantities are first rounded as the price counts them.
// kInvalidArgument: texts, a null, a quantity below zero; kOutOfRange: one that does not fit. Each
// names the row.
Result<std::vector<uint32_t>> buckets_of(const Price& price, const Column& quantities,
                                         std::span<const Int128> bounds);

}  // namespace tenancy
