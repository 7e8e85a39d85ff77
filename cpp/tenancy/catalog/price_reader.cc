#include "tenancy/catalog/price_reader.h"

#include <array>
#include <string>
#include <utility>

#include "tenancy/base/money.h"
#include "tenancy/catalog/names.h"
#include "tenancy/catalog/price_rules.h"

namespace tenancy {

namespace {

constexpr std::array<std::string_view, 7> kModels{
    "per_unit",   "graduated",           "volume", "package", "stairstep",
    "percentage", "graduated_percentage"};

constexpr int64_t kFreeEventsMax = 1'000'000'000'000;

bool has_tiers(PriceModel model) {
  return model == PriceModel::kGraduated || model == PriceModel::kVolume ||
         model == PriceModel::kStairstep || model == PriceModel::kGraduatedPercentage;
}

// 1.5 (percent) is 0.015.
Decimal read_rate(const Field& field) {
  const std::optional<Decimal> rate = read_number(field, Least::kZero, "a percentage such as 2.9");
  if (!rate) return {};
  if (rate->units() % 100 != 0) {
    field.error("expected a percentage of at most 10 digits after the point, got " + rate->text());
    return {};
  }
  return *Decimal::from_units(rate->units() / 100);
}

Decimal read_package(const Field& field) {
  if (!field.present()) return Decimal(1);
  return read_number(field, Least::kAboveZero, "a number of units above 0").value_or(Decimal(1));
}

// One tier; the bounds are judged by the list.
TierDef read_tier(const Field& field, PriceModel model) {
  TierDef tier;
  bool known = false;
  if (model == PriceModel::kStairstep) {
    known = field.is_mapping_of({"up_to", "flat"});
  } else if (is_percentage(model)) {
    known = field.is_mapping_of({"up_to", "rate", "flat"});
  } else {
    known = field.is_mapping_of({"up_to", "unit", "flat", "package"});
  }
  if (!known) return tier;
  if (const Field up_to = field.member("up_to"); up_to.present() && !up_to.json().is_null()) {
    tier.up_to = read_number(up_to, Least::kAboveZero, "a bound above 0");
  }
  const bool percent = is_percentage(model);
  const Field unit = field.member(percent ? "rate" : "unit");
  const Field flat = field.member("flat");
  if (!unit.present() && !flat.present()) {
    field.error(model == PriceModel::kStairstep ? "\"flat\" is missing: the price of this step"
                : percent                       ? "\"rate\" is missing: a percentage such as 2.9"
                          : "this tier has no price: give \"unit\", \"flat\" or both (0 is free)");
  }
  if (unit.present()) {
    tier.unit = percent ? read_rate(unit)
                        : read_number(unit, Least::kZero, "a price from 0").value_or(Decimal());
  }
  tier.flat = read_amount_member(field, "flat");
  tier.package = read_package(field.member("package"));
  return tier;
}

// Ascending bounds, the last one open.
void check_bounds(const Field& list, const std::vector<TierDef>& tiers) {
  std::optional<Decimal> below;
  for (size_t i = 0; i < tiers.size(); ++i) {
    const Field up_to = list.element(i).member("up_to");
    const bool last = i + 1 == tiers.size();
    if (last && up_to.present() && !up_to.json().is_null()) {
      up_to.error(
          "the last tier must be open: leave its \"up_to\" out, or add a tier without one "
          "for what lies above " +
          (tiers[i].up_to ? tiers[i].up_to->text() : "it"));
    } else if (!last && (!up_to.present() || up_to.json().is_null())) {
      list.element(i).error("only the last tier may be open: give this one an \"up_to\"");
    } else if (tiers[i].up_to && below && *tiers[i].up_to <= *below) {
      up_to.error("tiers must ascend without overlap: " + tiers[i].up_to->text() +
                  " is not above " + below->text() + ", the bound of the tier before");
    }
    if (tiers[i].up_to) below = tiers[i].up_to;
  }
}

std::vector<TierDef> read_tiers(const Field& field, PriceModel model) {
  std::vector<TierDef> tiers;
  const Field list = field.member("tiers");
  if (!list.present()) {
    field.error("\"tiers\" is missing: a list of tiers, the last one without \"up_to\"");
    return tiers;
  }
  if (!list.is_list()) return tiers;
  const size_t count = list.json().as_array().size();
  if (count == 0 || count > kTiersMax) {
    list.error("expected 1 to " + std::to_string(kTiersMax) + " tiers, got " +
               std::to_string(count));
    return tiers;
  }
  for (size_t i = 0; i < count; ++i) tiers.push_back(read_tier(list.element(i), model));
  bool mappings = true;
  for (size_t i = 0; i < count; ++i) mappings = mappings && list.element(i).json().is_object();
  if (mappings) check_bounds(list, tiers);
  return tiers;
}

PriceModel read_model(const Field& field) {
  const Field model = field.member("model");
  if (!model.present()) {
    return field.member("tiers").present() ? PriceModel::kGraduated : PriceModel::kPerUnit;
  }
  const std::optional<size_t> chosen = model.choice(
      {kModels[0], kModels[1], kModels[2], kModels[3], kModels[4], kModels[5], kModels[6]});
  return static_cast<PriceModel>(chosen.value_or(0));
}

bool has_known_members(const Field& field, PriceModel model) {
  if (has_tiers(model)) {
    return field.is_mapping_of(
        {"model", "tiers", "included", "base_fee", "minimum", "maximum", "currency", "rules"});
  }
  if (model == PriceModel::kPercentage) {
    return field.is_mapping_of({"model", "rate", "fixed", "free_events", "minimum_per_event",
                                "maximum_per_event", "included", "base_fee", "minimum", "maximum",
                                "currency", "rules"});
  }
  return field.is_mapping_of({"model", "unit", "package", "included", "base_fee", "minimum",
                              "maximum", "currency", "rules"});
}

void read_single_tier(const Field& field, PriceDef* price) {
  TierDef tier;
  const bool percent = price->model == PriceModel::kPercentage;
  const Field unit = field.member(percent ? "rate" : "unit");
  if (!unit.present()) {
    field.error(percent ? "\"rate\" is missing: a percentage such as 2.9"
                        : "\"unit\" is missing: a price from 0");
  } else {
    tier.unit = percent ? read_rate(unit)
                        : read_number(unit, Least::kZero, "a price from 0").value_or(Decimal());
  }
  const Field package = field.member("package");
  if (price->model == PriceModel::kPackage && !package.present()) {
    field.error("\"package\" is missing: how many units are sold together");
  }
  tier.package = read_package(package);
  price->tiers = {tier};
}

void read_events(const Field& field, PriceDef* price) {
  price->fixed = read_amount_member(field, "fixed");
  if (const Field events = field.member("free_events"); events.present()) {
    price->free_events = static_cast<uint64_t>(events.integer(0, kFreeEventsMax).value_or(0));
  }
  price->minimum_per_event = read_optional_member(field, "minimum_per_event");
  price->maximum_per_event = read_optional_member(field, "maximum_per_event");
  if (price->minimum_per_event && price->maximum_per_event &&
      *price->minimum_per_event > *price->maximum_per_event) {
    field.member("minimum_per_event")
        .error("must not be above \"maximum_per_event\", which is " +
               price->maximum_per_event->text());
  }
}

void read_price_currency(const Field& field, const std::string& around, PriceDef* price) {
  price->currency = around;
  if (!field.present()) return;
  const std::optional<std::string> own = read_currency_code(field);
  if (!own) return;
  if (!around.empty() && *own != around) {
    field.error("mixed currencies: the book is in " + around + ", this price in " + *own +
                "; make one book for each currency");
    return;
  }
  price->currency = *own;
}

}  // namespace

std::string_view price_model_name(PriceModel model) { return kModels[static_cast<size_t>(model)]; }

std::optional<Decimal> read_number(const Field& field, Least least, std::string_view what) {
  const std::string text = field.digits();
  if (text.empty()) {
    field.expected(what);
    return std::nullopt;
  }
  const Result<Decimal> value = Decimal::parse(text);
  if (!value.ok()) {
    field.error(value.error().message);
    return std::nullopt;
  }
  if (value->is_negative() || (least == Least::kAboveZero && value->is_zero())) {
    field.expected(what);
    return std::nullopt;
  }
  return *value;
}

Decimal read_amount_member(const Field& field, std::string_view name) {
  return read_optional_member(field, name).value_or(Decimal());
}

std::optional<Decimal> read_optional_member(const Field& field, std::string_view name) {
  const Field member = field.member(name);
  if (!member.present()) return std::nullopt;
  return read_number(member, Least::kZero, "a number from 0");
}

std::optional<std::string> read_currency_code(const Field& field) {
  if (field.json().is_string() && minor_digits(field.json().as_string())) {
    return field.json().as_string();
  }
  field.expected("a currency of ISO 4217 that has a minor unit, such as \"USD\"");
  return std::nullopt;
}

std::string read_currency_member(const Field& field, const std::string& around) {
  const Field member = field.member("currency");
  return member.present() ? read_currency_code(member).value_or(around) : around;
}

void check_commitments(const Field& field, const std::optional<Decimal>& minimum,
                       const std::optional<Decimal>& maximum) {
  if (minimum && maximum && *minimum > *maximum) {
    field.member("minimum").error("must not be above \"maximum\", which is " + maximum->text());
  }
}

PriceDef read_price_def(const Field& field, const PriceRules& rules, const std::string& currency) {
  PriceDef price;
  price.rules = rules;
  price.currency = currency;
  if (!field.json().is_object()) {
    TierDef tier;
    tier.unit = read_number(field, Least::kZero, "a price from 0, or a mapping with \"model\"")
                    .value_or(Decimal());
    price.tiers = {tier};
    return price;
  }
  price.model = read_model(field);
  if (!has_known_members(field, price.model)) return price;
  if (has_tiers(price.model)) {
    price.tiers = read_tiers(field, price.model);
  } else {
    read_single_tier(field, &price);
  }
  if (price.model == PriceModel::kPercentage) read_events(field, &price);
  price.included = read_amount_member(field, "included");
  price.base_fee = read_amount_member(field, "base_fee");
  price.minimum = read_optional_member(field, "minimum");
  price.maximum = read_optional_member(field, "maximum");
  check_commitments(field, price.minimum, price.maximum);
  read_price_currency(field.member("currency"), currency, &price);
  price.rules = read_rules(field.member("rules"), rules);
  if (price.currency.empty() && price.rules.round_at != RoundAt::kInvoice) {
    field.error("\"currency\" is missing: these rules round to its minor unit");
  }
  return price;
}

}  // namespace tenancy
