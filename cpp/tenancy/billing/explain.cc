#include "tenancy/billing/explain.h"

#include <algorithm>
#include <array>

namespace tenancy {

namespace {

constexpr std::array<std::string_view, 8> kKinds{"usage", "flat",    "included", "base_fee",
                                                 "fixed", "minimum", "maximum",  "rounding"};

class Explainer {
 public:
  explicit Explainer(const Price& price) : price_(price), def_(price.def()) {}

  // False when something does not fit.
  bool explain(Decimal quantity) {
    const std::optional<Decimal> seen = price_.counted(quantity);
    if (!seen) return false;
    quantity_ = *seen;
    if (price_.is_per_event() && !quantity_.is_zero()) return event() && conclude();
    add_included(std::min(quantity_, def_.included));
    const bool by_volume =
        def_.model == PriceModel::kVolume || def_.model == PriceModel::kStairstep;
    return (by_volume ? volume() : graduated()) && conclude();
  }

  std::vector<PriceLine> take() { return std::move(lines_); }

 private:
  bool pays_nothing() const { return quantity_ <= def_.included; }

  // What the bounds are compared with.
  Decimal tier_quantity() const {
    return def_.rules.tiers_count == TiersCount::kAll || pays_nothing()
               ? quantity_
               : *subtract(quantity_, def_.included);
  }

  bool within(Decimal value, const TierDef& tier) const {
    if (!tier.up_to) return true;
    if (def_.rules.fraction == Fraction::kLowerTier) {
      value = round_to(value, 0, Rounding::kDown).value_or(value);
    }
    return def_.rules.bounds == Bounds::kExclusive ? value < *tier.up_to : value <= *tier.up_to;
  }

  // Tiers that the included units fill, where tiers count all usage.
  bool all_included(const TierDef& tier) const {
    return def_.rules.tiers_count == TiersCount::kAll && tier.up_to && *tier.up_to <= def_.included;
  }

  bool add_usage(size_t index, Decimal units) {
    if (units.is_zero()) return true;
    const TierDef& tier = def_.tiers[index];
    const PackageRounding rounding = def_.rules.package_rounding;
    std::optional<Decimal> cost = tier_cost(units, tier.unit, tier.package, rounding);
    if (cost) cost = price_.rounded_at(RoundAt::kLine, *cost);
    if (!cost) return false;
    PriceLine line{LineKind::kUsage, static_cast<int>(index) + 1, units, tier.unit, {}, *cost};
    if (tier.package != Decimal(1)) {
      const std::optional<Decimal> sold = rounding == PackageRounding::kExact
                                              ? units
                                              : packaged_units(units, tier.package, rounding);
      line.packages = multiply_divide(*sold, Decimal(1), tier.package);
    }
    lines_.push_back(line);
    return true;
  }

  bool add_flat(size_t index) {
    const Decimal flat = def_.tiers[index].flat;
    if (flat.is_zero()) return true;
    const std::optional<Decimal> cost = price_.rounded_at(RoundAt::kLine, flat);
    if (!cost) return false;
    lines_.push_back({LineKind::kFlat, static_cast<int>(index) + 1, Decimal(1), flat, {}, *cost});
    return true;
  }

  bool graduated() {
    if (pays_nothing() && no_usage_is_free(def_)) return true;
    const Decimal seen = tier_quantity();
    Decimal lower = def_.rules.tiers_count == TiersCount::kAll ? def_.included : Decimal();
    for (size_t i = 0; i < def_.tiers.size(); ++i) {
      const TierDef& tier = def_.tiers[i];
      if (all_included(tier)) continue;
      if (pays_nothing()) return add_flat(i);
      const bool last = within(seen, tier);
      const Decimal upper = last ? seen : *tier.up_to;
      if (!add_usage(i, *subtract(upper, lower)) || !add_flat(i)) return false;
      if (last) return true;
      lower = *tier.up_to;
    }
    return true;
  }

  bool volume() {
    if (pays_nothing() && no_usage_is_free(def_)) return true;
    const Decimal seen = tier_quantity();
    size_t index = 0;
    while (all_included(def_.tiers[index]) ||
           (!pays_nothing() && !within(seen, def_.tiers[index]))) {
      ++index;
    }
    const Decimal paid = pays_nothing() ? Decimal() : *subtract(quantity_, def_.included);
    return add_usage(index, paid) && add_flat(index);
  }

  // A percentage with rules for single events: the volume is one event.
  bool event() {
    Decimal free = std::min(quantity_, def_.included);
    if (def_.included.is_zero() && def_.free_events > 0) free = quantity_;
    add_included(free);
    const Decimal charged = *subtract(quantity_, free);
    if (charged.is_zero()) return true;
    const Decimal rate = def_.tiers.front().unit;
    const std::optional<Decimal> cost = multiply(charged, rate);
    const std::optional<Decimal> whole = cost ? add(*cost, def_.fixed) : std::nullopt;
    if (!whole) return false;
    lines_.push_back({LineKind::kUsage, 1, charged, rate, {}, *cost});
    if (!def_.fixed.is_zero()) {
      lines_.push_back({LineKind::kFixed, 1, Decimal(1), def_.fixed, {}, def_.fixed});
    }
    Decimal bounded = *whole;
    if (def_.minimum_per_event) bounded = std::max(bounded, *def_.minimum_per_event);
    add_difference(LineKind::kMinimum, bounded, *whole);
    const Decimal raised = bounded;
    if (def_.maximum_per_event) bounded = std::min(bounded, *def_.maximum_per_event);
    add_difference(LineKind::kMaximum, bounded, raised);
    const std::optional<Decimal> rounded = price_.rounded_at(RoundAt::kLine, bounded);
    if (rounded) add_difference(LineKind::kRounding, *rounded, bounded);
    return rounded.has_value();
  }

  void add_included(Decimal units) {
    if (!units.is_zero()) lines_.push_back({LineKind::kIncluded, 0, units, {}, {}, {}});
  }

  // What brings `from` to `to`; no line where nothing does. Both are amounts in the range and of
  // one sign, so the difference fits.
  void add_difference(LineKind kind, Decimal to, Decimal from) {
    if (to == from) return;
    lines_.push_back({kind, 0, Decimal(1), {}, {}, *subtract(to, from)});
  }

  std::optional<Decimal> sum() const {
    Decimal total;
    for (const PriceLine& line : lines_) {
      const std::optional<Decimal> next = add(total, line.amount);
      if (!next) return std::nullopt;
      total = *next;
    }
    return total;
  }

  bool add_base_fee() {
    if (def_.base_fee.is_zero()) return true;
    const std::optional<Decimal> fee = price_.rounded_at(RoundAt::kLine, def_.base_fee);
    if (!fee) return false;
    lines_.push_back({LineKind::kBaseFee, 0, Decimal(1), def_.base_fee, {}, *fee});
    return true;
  }

  bool conclude() {
    const bool counts = def_.rules.commitment == Commitment::kAll;
    if (counts && !add_base_fee()) return false;
    const std::optional<Decimal> usage = sum();
    if (!usage) return false;
    if (def_.minimum) add_difference(LineKind::kMinimum, std::max(*usage, *def_.minimum), *usage);
    if (def_.maximum) add_difference(LineKind::kMaximum, std::min(*usage, *def_.maximum), *usage);
    if (!counts && !add_base_fee()) return false;
    const std::optional<Decimal> total = sum();
    const std::optional<Decimal> rounded =
        total ? price_.rounded_at(RoundAt::kCharge, *total) : std::nullopt;
    if (!rounded) return false;
    add_difference(LineKind::kRounding, *rounded, *total);
    return true;
  }

  const Price& price_;
  const PriceDef& def_;
  Decimal quantity_;
  std::vector<PriceLine> lines_;
};

}  // namespace

std::string_view line_kind_name(LineKind kind) { return kKinds[static_cast<size_t>(kind)]; }

Result<std::vector<PriceLine>> explain_price(const Price& price, Decimal quantity) {
  const Result<Decimal> amount = price.amount(quantity);
  if (!amount.ok()) return amount.error();
  const bool credit = quantity.is_negative();
  if (credit && price.def().rules.negative == NegativeUsage::kZero) quantity = Decimal();
  Explainer explainer(price);
  const Decimal size = quantity.is_negative() ? -quantity : quantity;
  if (!explainer.explain(size)) return out_of_range("the amount");
  std::vector<PriceLine> lines = explainer.take();
  if (quantity.is_negative()) {
    for (PriceLine& line : lines) {
      line.quantity = -line.quantity;
      line.amount = -line.amount;
    }
  }
  return lines;
}

}  // namespace tenancy
