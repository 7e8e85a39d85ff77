#include "tenancy/billing/price_compiler.h"

#include <algorithm>

#include "tenancy/base/money.h"

namespace tenancy {

namespace {

bool fits_int64(Int128 value) { return value >= INT64_MIN && value <= INT64_MAX; }

Int128 floor_whole(Int128 units) { return units / Decimal::kOne * Decimal::kOne; }

// A package price that divides evenly is a unit price: 0.15 per million is 0.00000015 each.
void unfold_package(TierDef* tier, PackageRounding rounding) {
  if (rounding != PackageRounding::kExact || tier->package == Decimal(1)) return;
  const std::optional<Decimal> each = multiply_divide(tier->unit, Decimal(1), tier->package);
  if (!each) return;
  // The quotient may have been rounded: only an exact one counts.
  const Uint256 back = multiply_wide(magnitude(each->units()), magnitude(tier->package.units()));
  const Uint256 exact =
      multiply_wide(magnitude(tier->unit.units()), static_cast<Uint128>(Decimal::kOne));
  if (back.high != exact.high || back.low != exact.low) return;
  tier->unit = *each;
  tier->package = Decimal(1);
}

}  // namespace

std::optional<Decimal> PriceCompiler::line(std::optional<Decimal> value) const {
  if (!value) return std::nullopt;
  return price_.rounded_at(RoundAt::kLine, *value);
}

// The largest quantity that is still in a tier with this bound.
Int128 PriceCompiler::last_quantity(Decimal bound) const {
  Int128 units = bound.units();
  const bool exclusive = def().rules.bounds == Bounds::kExclusive;
  if (def().rules.fraction == Fraction::kLowerTier) {
    const bool whole = floor_whole(units) == units;
    return floor_whole(units) + (exclusive && whole ? 0 : Decimal::kOne) - 1;
  }
  return exclusive ? units - 1 : units;
}

// The tiers that charge something, shifted or cut by the included units.
std::vector<PriceCompiler::Cell> PriceCompiler::cells() const {
  const bool shifted = def().rules.tiers_count == TiersCount::kPaid;
  std::vector<Cell> cells;
  Decimal lower = def().included;
  for (TierDef tier : def().tiers) {
    unfold_package(&tier, def().rules.package_rounding);
    Cell cell{Decimal::kUnitsMax, lower, tier};
    if (tier.up_to) {
      const Decimal bound = shifted ? *add(*tier.up_to, def().included) : *tier.up_to;
      if (bound <= lower) continue;  // all of it is included
      const Int128 shift = shifted ? def().included.units() : Int128{0};
      cell.upper = std::min(last_quantity(*tier.up_to) + shift, Decimal::kUnitsMax);
      lower = bound;
      cell.tier.up_to = bound;
    }
    cells.push_back(cell);
  }
  return cells;
}

// The segment without paid usage: zero, and the included units.
bool PriceCompiler::add_no_usage(const Cell& first) {
  const bool free = no_usage_is_free(def());
  if (def().included.is_zero() && !free) return true;
  PriceSegment segment;
  segment.upper = def().included.units();
  segment.base = below_;
  if (!free) {
    const std::optional<Decimal> flat = line(first.tier.flat);
    const std::optional<Decimal> base = flat ? add(below_, *flat) : std::nullopt;
    if (!base) return false;
    segment.base = *base;
  }
  price_.segments_.push_back(segment);
  return true;
}

bool PriceCompiler::add_cell(const Cell& cell, bool last) {
  const std::optional<Decimal> flat = line(cell.tier.flat);
  const std::optional<Decimal> base = flat ? add(below_, *flat) : std::nullopt;
  if (!base) return false;
  PriceSegment segment;
  segment.upper = cell.upper;
  segment.origin = by_volume() ? def().included : cell.lower;
  segment.base = *base;
  segment.unit = cell.tier.unit;
  segment.package = cell.tier.package;
  price_.segments_.push_back(segment);
  if (by_volume() || last) return true;
  const std::optional<Decimal> cost =
      line(tier_cost(*subtract(*cell.tier.up_to, cell.lower), cell.tier.unit, cell.tier.package,
                     def().rules.package_rounding));
  const std::optional<Decimal> sum = cost ? add(*base, *cost) : std::nullopt;
  if (!sum) return false;
  below_ = *sum;
  return true;
}

Result<Price> PriceCompiler::compile() {
  const PriceDef& def = price_.def_;
  if (!def.currency.empty()) {
    price_.currency_digits_ = minor_digits(def.currency).value_or(Decimal::kDigits);
  }
  price_.per_event_ =
      def.model == PriceModel::kPercentage && (def.free_events > 0 || def.minimum_per_event ||
                                               def.maximum_per_event || !def.fixed.is_zero());
  const std::optional<Decimal> fee = price_.base_fee();
  if (!fee) return out_of_range("the base fee");
  below_ = *fee;
  for (const TierDef& tier : def.tiers) {
    if (tier.up_to && !add(*tier.up_to, def.included))
      return out_of_range("the last bound with the included units");
  }
  const std::vector<Cell> cells = this->cells();
  bool good = add_no_usage(cells.front());
  for (size_t i = 0; i < cells.size() && good; ++i) {
    good = add_cell(cells[i], i + 1 == cells.size());
  }
  if (!good) return out_of_range("the price of the tiers together");
  make_whole_segments();
  return std::move(price_);
}

void PriceCompiler::make_whole_segments() {
  const PriceRules& rules = def().rules;
  const bool base_fee_outside = rules.commitment == Commitment::kUsage && !def().base_fee.is_zero();
  if (rules.round_at == RoundAt::kLine || price_.per_event_ || base_fee_outside) return;
  WholeSegments whole;
  for (const PriceSegment& segment : price_.segments_) {
    const bool usable = segment.origin.is_whole() && segment.package.is_whole() &&
                        fits_int64(segment.origin.units() / Decimal::kOne) &&
                        fits_int64(segment.package.units() / Decimal::kOne) &&
                        fits_int64(segment.unit.units());
    if (!usable) return;
    if (segment.package != Decimal(1)) {
      if (rules.package_rounding != PackageRounding::kUp) return;
      whole.packaged = true;
    }
    const Int128 upper = segment.upper / Decimal::kOne;
    whole.upper.push_back(fits_int64(upper) ? static_cast<int64_t>(upper) : INT64_MAX);
    whole.origin.push_back(static_cast<int64_t>(segment.origin.units() / Decimal::kOne));
    whole.base.push_back(segment.base.units());
    whole.unit.push_back(static_cast<int64_t>(segment.unit.units()));
    whole.package.push_back(static_cast<int64_t>(segment.package.units() / Decimal::kOne));
  }
  whole.upper.pop_back();  // the last one is open
  price_.whole_ = std::move(whole);
  price_.whole_.quantity_max = safe_quantity();
}

// Costs grow within a segment, so its two ends say whether a number in between can overflow.
int64_t PriceCompiler::safe_quantity() const {
  constexpr int64_t kTried[] = {INT64_MAX, int64_t{1} << 52, int64_t{1} << 40, int64_t{1} << 20};
  for (const int64_t most : kTried) {
    bool safe = true;
    for (const PriceSegment& segment : price_.segments_) {
      const Int128 end = std::min(segment.upper, Decimal(most).units());
      if (end < segment.origin.units()) continue;
      const Decimal units = *Decimal::from_units(end - segment.origin.units());
      const std::optional<Decimal> cost =
          tier_cost(units, segment.unit, segment.package, price_.def_.rules.package_rounding);
      safe = safe && cost && add(segment.base, *cost);
    }
    if (safe) return most;
  }
  return -1;
}

}  // namespace tenancy
