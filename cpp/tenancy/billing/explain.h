// Where an amount comes from: tier by tier, then fees, minimum, maximum and rounding.
//
// Made from the definition and not from the compiled segments, so that the two check each other:
// the lines always sum to what Price::amount says.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tenancy/base/decimal.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/price.h"

namespace tenancy {

enum class LineKind : uint8_t {
  kUsage = 0,  // units of a tier at its price
  kFlat,       // the flat price of a tier
  kIncluded,   // units that cost nothing
  kBaseFee,
  kFixed,    // of events
  kMinimum,  // what is missing to the minimum
  kMaximum,  // what lies above the maximum, negative
  kRounding,
};

std::string_view line_kind_name(LineKind kind);

struct PriceLine {
  LineKind kind = LineKind::kUsage;
  int tier = 0;  // from 1; 0 where no tier is meant
  Decimal quantity;
  Decimal unit;
  std::optional<Decimal> packages;  // how many were sold, where the tier sells packages
  Decimal amount;
};

// The errors are those of Price::amount.
Result<std::vector<PriceLine>> explain_price(const Price& price, Decimal quantity);

}  // namespace tenancy
