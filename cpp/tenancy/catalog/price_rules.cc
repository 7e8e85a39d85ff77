#include "tenancy/catalog/price_rules.h"

#include <array>
#include <initializer_list>
#include <string>
#include <utility>

namespace tenancy {

namespace {

using Names = std::initializer_list<std::string_view>;

// In the order of the enums.
const Names kZeroUsage{"first_flat", "free", "free_percentage"};
const Names kFraction{"exact", "up", "down", "half_up", "lower_tier"};
const Names kBounds{"inclusive", "exclusive"};
const Names kTiersCount{"paid", "all"};
const Names kPackageRounding{"up", "down", "half_up", "exact"};
const Names kNegative{"refuse", "credit", "zero"};
const Names kRoundAt{"invoice", "charge", "line"};
const Names kRounding{"half_up", "half_even", "half_down", "up", "down", "ceiling", "floor"};
const Names kCommitment{"all", "usage"};
const Names kProration{"second", "day", "day_inclusive", "none"};

template <class Enum>
void read_option(const Field& rules, std::string_view name, Names names, Enum* out) {
  const Field field = rules.member(name);
  if (!field.present()) return;
  if (const std::optional<size_t> chosen = field.choice(names)) *out = static_cast<Enum>(*chosen);
}

template <class Enum>
std::string name_of(Names names, Enum value) {
  return std::string(names.begin()[static_cast<size_t>(value)]);
}

PriceRules stripe() {
  PriceRules rules;
  rules.round_at = RoundAt::kLine;
  rules.commitment = Commitment::kUsage;
  return rules;
}

PriceRules lago() {
  PriceRules rules;
  rules.zero_usage = ZeroUsage::kFreePercentage;
  rules.negative = NegativeUsage::kZero;
  rules.round_at = RoundAt::kCharge;
  rules.proration = Proration::kDay;
  return rules;
}

PriceRules openmeter() {
  PriceRules rules;
  rules.round_at = RoundAt::kLine;
  rules.commitment = Commitment::kUsage;
  return rules;
}

PriceRules killbill() {
  constexpr int8_t kFractionDigits = 9;
  PriceRules rules;
  rules.zero_usage = ZeroUsage::kFree;
  rules.fraction = Fraction::kDown;
  rules.round_at = RoundAt::kCharge;
  rules.proration = Proration::kDay;
  rules.proration_digits = kFractionDigits;
  return rules;
}

struct Preset {
  std::string_view name;
  PriceRules (*make)();
};

constexpr std::array<Preset, 5> kPresets{{
    {"default", [] { return PriceRules(); }},
    {"stripe", stripe},
    {"lago", lago},
    {"openmeter", openmeter},
    {"killbill", killbill},
}};

PriceRules preset_of(const Field& field, const PriceRules& base) {
  if (!field.json().is_string()) {
    field.expected("the name of a preset or a mapping of rules");
    return base;
  }
  if (const auto preset = rules_preset(field.json().as_string())) return *preset;
  field.unknown("preset", field.json().as_string(), rules_presets());
  return base;
}

}  // namespace

std::optional<PriceRules> rules_preset(std::string_view name) {
  for (const Preset& preset : kPresets) {
    if (preset.name == name) return preset.make();
  }
  return std::nullopt;
}

std::vector<std::string_view> rules_presets() {
  std::vector<std::string_view> names;
  names.reserve(kPresets.size());
  for (const Preset& preset : kPresets) names.push_back(preset.name);
  return names;
}

PriceRules read_rules(const Field& field, const PriceRules& base) {
  if (!field.present()) return base;
  if (!field.json().is_object()) return preset_of(field, base);
  if (!field.is_mapping_of({"preset", "zero_usage", "fraction", "bounds", "tiers_count",
                            "package_rounding", "negative", "round_at", "rounding", "commitment",
                            "proration", "proration_digits"})) {
    return base;
  }
  const Field preset = field.member("preset");
  PriceRules rules = preset.present() ? preset_of(preset, base) : base;
  read_option(field, "zero_usage", kZeroUsage, &rules.zero_usage);
  read_option(field, "fraction", kFraction, &rules.fraction);
  read_option(field, "bounds", kBounds, &rules.bounds);
  read_option(field, "tiers_count", kTiersCount, &rules.tiers_count);
  read_option(field, "package_rounding", kPackageRounding, &rules.package_rounding);
  read_option(field, "negative", kNegative, &rules.negative);
  read_option(field, "round_at", kRoundAt, &rules.round_at);
  read_option(field, "rounding", kRounding, &rules.rounding);
  read_option(field, "commitment", kCommitment, &rules.commitment);
  read_option(field, "proration", kProration, &rules.proration);
  if (const Field digits = field.member("proration_digits"); digits.present()) {
    if (const auto value = digits.integer(-1, Decimal::kDigits)) {
      rules.proration_digits = static_cast<int8_t>(*value);
    }
  }
  return rules;
}

std::vector<std::pair<std::string_view, std::string>> rules_text(const PriceRules& rules) {
  return {
      {"zero_usage", name_of(kZeroUsage, rules.zero_usage)},
      {"fraction", name_of(kFraction, rules.fraction)},
      {"bounds", name_of(kBounds, rules.bounds)},
      {"tiers_count", name_of(kTiersCount, rules.tiers_count)},
      {"package_rounding", name_of(kPackageRounding, rules.package_rounding)},
      {"negative", name_of(kNegative, rules.negative)},
      {"round_at", name_of(kRoundAt, rules.round_at)},
      {"rounding", name_of(kRounding, rules.rounding)},
      {"commitment", name_of(kCommitment, rules.commitment)},
      {"proration", name_of(kProration, rules.proration)},
      {"proration_digits", std::to_string(rules.proration_digits)},
  };
}

}  // namespace tenancy
