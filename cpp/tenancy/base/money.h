// Money: which digits a currency has, rounding to them, and splitting an amount so that the parts
// sum to the whole.
//
// The table is ISO 4217 (list one as of 1 January 2026, and codes withdrawn since 2021 for old
// bills): its minor units are not those of CLDR, which says what people write on price tags.
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "tenancy/base/decimal.h"
#include "tenancy/base/status.h"

namespace tenancy {

// The day whose list the table is.
constexpr std::string_view kCurrenciesAsOf = "2026-01-01";

// Digits after the point of a currency's smallest unit: JPY 0, USD 2, KWD 3, CLF 4. Nothing for
// codes that ISO 4217 does not have or gives no minor unit (gold, test codes).
std::optional<int> minor_digits(std::string_view currency);

// All codes of the table, sorted.
std::vector<std::string_view> currency_codes();

// Splits `amount` in proportion to the weights, in steps of 10^-digits, by the largest remainder:
// each part is the exact share rounded towards zero, and the steps that are left go to the largest
// remainders, earlier parts first. The parts sum to `amount` exactly, and have its sign.
// kInvalidArgument: no weights, one is negative, all are zero, or `amount` is no multiple of the
// step. kOutOfRange: the weights sum past the range.
Result<std::vector<Decimal>> allocate(Decimal amount, std::span<const Decimal> weights, int digits);

// The share of an amount for a part of a period: amount x part / whole. `digits` (0..12) first
// rounds the fraction part / whole to that many digits, as some systems do; -1 does not.
// kInvalidArgument unless 0 <= part <= whole and whole > 0.
Result<Decimal> prorate(Decimal amount, Decimal part, Decimal whole, int digits);

}  // namespace tenancy
