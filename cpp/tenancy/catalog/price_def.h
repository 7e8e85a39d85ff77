// What a price and a price book say, as validated values. The billing layer computes with them.
//
// A price says what a quantity of one metric costs; a price book gives each metric its price, in
// one currency. Every choice in which billing systems differ is a member of PriceRules with a name
// of its own; `price_rules.h` has presets that reproduce those systems.
//
// Invariants (kept by the readers in price_reader.h and price_book.h):
//  1. A price has 1..kTiersMax tiers; their bounds ascend and only the last has none.
//  2. No number is negative; packages and bounds are above zero; minimum <= maximum.
//  3. A price that rounds before the invoice has a currency. Prices of one book have its currency.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tenancy/base/decimal.h"

namespace tenancy {

constexpr size_t kTiersMax = 100;

enum class PriceModel : uint8_t {
  kPerUnit = 0,
  kGraduated,  // each unit at the price of the tier it falls into
  kVolume,     // all units at the price of the tier that the total reaches
  kPackage,    // per started package
  kStairstep,  // the flat price of the tier that the total reaches
  kPercentage,
  kGraduatedPercentage,
};

constexpr bool is_percentage(PriceModel model) {
  return model == PriceModel::kPercentage || model == PriceModel::kGraduatedPercentage;
}

// Usage of zero: the first tier's flat price is due, or nothing is, or nothing where the price is a
// percentage.
enum class ZeroUsage : uint8_t { kFirstFlat = 0, kFree, kFreePercentage };

// Usage between whole units. Exact: what lies above a bound is the next tier's. Up, down, half up:
// the quantity is rounded to whole units first. Lower tier: it stays in the lower tier until it
// reaches the next whole unit.
enum class Fraction : uint8_t { kExact = 0, kUp, kDown, kHalfUp, kLowerTier };

// Whether a quantity equal to `up_to` is still in the tier.
enum class Bounds : uint8_t { kInclusive = 0, kExclusive };

// Tiers count the paid units alone, or all usage with the included units in it.
enum class TiersCount : uint8_t { kPaid = 0, kAll };

// A package that is not full. Exact: its share of the price.
enum class PackageRounding : uint8_t { kUp = 0, kDown, kHalfUp, kExact };

// A quantity below zero. Credit: minus the price of the opposite quantity.
enum class NegativeUsage : uint8_t { kRefuse = 0, kCredit, kZero };

// Where amounts are rounded to the currency. Invoice: not in prices.
enum class RoundAt : uint8_t { kInvoice = 0, kCharge, kLine };

// What counts towards minimum and maximum: base fee and usage, or usage alone.
enum class Commitment : uint8_t { kAll = 0, kUsage };

// The share of a fee for a part of a period: seconds, days without the last one, days with both.
enum class Proration : uint8_t { kSecond = 0, kDay, kDayInclusive, kNone };

struct PriceRules {
  ZeroUsage zero_usage = ZeroUsage::kFirstFlat;
  Fraction fraction = Fraction::kExact;
  Bounds bounds = Bounds::kInclusive;
  TiersCount tiers_count = TiersCount::kPaid;
  PackageRounding package_rounding = PackageRounding::kUp;
  NegativeUsage negative = NegativeUsage::kRefuse;
  RoundAt round_at = RoundAt::kInvoice;
  Rounding rounding = Rounding::kHalfUp;
  Commitment commitment = Commitment::kAll;
  Proration proration = Proration::kSecond;
  int8_t proration_digits = -1;  // of the fraction of the period; -1 = as many as there are
  bool operator==(const PriceRules&) const = default;
};

struct TierDef {
  std::optional<Decimal> up_to;  // cumulative; none = open
  Decimal unit;                  // per unit, or per package; a share (1 % = 0.01) in percentages
  Decimal flat;                  // once, when the tier is reached
  Decimal package = Decimal(1);
};

struct PriceDef {
  PriceModel model = PriceModel::kPerUnit;
  std::vector<TierDef> tiers;
  Decimal included;  // free units (or free amount)
  Decimal base_fee;
  std::optional<Decimal> minimum;
  std::optional<Decimal> maximum;
  std::string currency;  // empty = none
  PriceRules rules;
  // Percentages only.
  Decimal fixed;             // per event that is not free
  uint64_t free_events = 0;  // 0 = no rule by number of events
  std::optional<Decimal> minimum_per_event;
  std::optional<Decimal> maximum_per_event;
};

inline bool no_usage_is_free(const PriceDef& price) {
  const ZeroUsage rule = price.rules.zero_usage;
  return rule == ZeroUsage::kFree ||
         (rule == ZeroUsage::kFreePercentage && is_percentage(price.model));
}

struct MetricPrice {
  std::string metric;
  PriceDef price;
};

struct PriceBookDef {
  std::string name;
  std::string version;
  std::string currency;
  PriceRules rules;
  std::vector<MetricPrice> metrics;
  std::optional<PriceDef> seats;
  Decimal base_fee;
  std::optional<Decimal> minimum;
  std::optional<Decimal> maximum;
  // Per plan: included units of metrics.
  std::map<std::string, std::map<std::string, Decimal>> plans;
};

}  // namespace tenancy
