// Reads a price from a document, or reports everything that is wrong with it.
//
// A number alone is a price per unit; otherwise a mapping with `model` and that model's members:
//
//   per_unit              unit
//   graduated, volume     tiers of {up_to, unit, flat, package}
//   package               unit, package
//   stairstep             tiers of {up_to, flat}
//   percentage            rate, fixed, free_events, minimum_per_event, maximum_per_event
//   graduated_percentage  tiers of {up_to, rate, flat}
//
// and, for each of them, `included`, `base_fee`, `minimum`, `maximum`, `currency`, `rules`.
// Without `model` it is a price per unit, or graduated where there are tiers.
//
// Thread safety: pure functions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "tenancy/catalog/fields.h"
#include "tenancy/catalog/price_def.h"

namespace tenancy {

std::string_view price_model_name(PriceModel model);

// The price, or what could be read of it when errors were reported. `rules` and `currency` are
// those of what is around it; a price that names another currency than a book's is an error.
PriceDef read_price_def(const Field& field, const PriceRules& rules, const std::string& currency);

// A number of at most 12 digits after the point, from 0 (or above it, as `what` must say). Numbers
// and texts of digits alike.
enum class Least : uint8_t { kZero, kAboveZero };
std::optional<Decimal> read_number(const Field& field, Least least, std::string_view what);
// The member of that name; 0, or nothing, where it is absent or wrong.
Decimal read_amount_member(const Field& field, std::string_view name);
std::optional<Decimal> read_optional_member(const Field& field, std::string_view name);

// A currency with its minor unit; reports other texts.
std::optional<std::string> read_currency_code(const Field& field);
// The member "currency"; `around` where it is absent or wrong.
std::string read_currency_member(const Field& field, const std::string& around);

// Reports a minimum above the maximum.
void check_commitments(const Field& field, const std::optional<Decimal>& minimum,
                       const std::optional<Decimal>& maximum);

}  // namespace tenancy
