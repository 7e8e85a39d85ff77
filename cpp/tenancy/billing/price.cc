#include "tenancy/billing/price.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tenancy/billing/price_compiler.h"

namespace tenancy {

namespace {

Rounding rounding_of(PackageRounding rounding) {
  switch (rounding) {
    case PackageRounding::kDown: return Rounding::kDown;
    case PackageRounding::kHalfUp: return Rounding::kHalfUp;
    default: return Rounding::kUp;
  }
}

Error volume_of_events_needed() {
  return {Code::kInvalidArgument,
          "this price depends on the size of every event (free events, limits per event, or "
          "a fixed fee with included volume); give the events themselves to amount_of_events"};
}

}  // namespace

std::optional<Decimal> packaged_units(Decimal units, Decimal package, PackageRounding rounding) {
  return round_to_multiple(units, package, rounding_of(rounding));
}

std::optional<Decimal> tier_cost(Decimal units, Decimal unit, Decimal package,
                                 PackageRounding rounding) {
  if (package == Decimal(1)) return multiply(units, unit);
  if (rounding == PackageRounding::kExact) return multiply_divide(units, unit, package);
  const std::optional<Decimal> sold = packaged_units(units, package, rounding);
  if (!sold) return std::nullopt;
  return multiply_divide(*sold, unit, package);
}

Result<Price> Price::make(PriceDef def) { return PriceCompiler(std::move(def)).compile(); }

std::optional<Decimal> Price::rounded_at(RoundAt point, Decimal value) const {
  if (def_.rules.round_at != point) return value;
  return round_to(value, currency_digits_, def_.rules.rounding);
}

std::optional<Decimal> Price::counted(Decimal quantity) const {
  // The volume of a percentage is an amount of money: it has no whole units.
  if (is_percentage(def_.model)) return quantity;
  switch (def_.rules.fraction) {
    case Fraction::kUp: return round_to(quantity, 0, Rounding::kUp);
    case Fraction::kDown: return round_to(quantity, 0, Rounding::kDown);
    case Fraction::kHalfUp: return round_to(quantity, 0, Rounding::kHalfUp);
    case Fraction::kExact:
    case Fraction::kLowerTier: break;
  }
  return quantity;
}

std::optional<Decimal> Price::base_fee() const {
  if (def_.rules.commitment == Commitment::kUsage) return Decimal();
  return rounded_at(RoundAt::kLine, def_.base_fee);
}

std::optional<Decimal> Price::concluded(Decimal usage) const {
  std::optional<Decimal> amount = usage;
  if (def_.minimum && *amount < *def_.minimum) amount = def_.minimum;
  if (def_.maximum && *amount > *def_.maximum) amount = def_.maximum;
  if (def_.rules.commitment == Commitment::kUsage) {
    const std::optional<Decimal> fee = rounded_at(RoundAt::kLine, def_.base_fee);
    if (!fee) return std::nullopt;
    amount = add(*amount, *fee);
    if (!amount) return std::nullopt;
  }
  return rounded_at(RoundAt::kCharge, *amount);
}

std::optional<Decimal> Price::positive_amount(Decimal quantity) const {
  const std::optional<Decimal> seen = counted(quantity);
  if (!seen) return std::nullopt;
  const auto segment = std::ranges::lower_bound(segments_, seen->units(), {}, &PriceSegment::upper);
  const std::optional<Decimal> units = subtract(*seen, segment->origin);
  if (!units) return std::nullopt;
  std::optional<Decimal> cost =
      tier_cost(*units, segment->unit, segment->package, def_.rules.package_rounding);
  if (!cost) return std::nullopt;
  cost = rounded_at(RoundAt::kLine, *cost);
  if (!cost) return std::nullopt;
  cost = add(segment->base, *cost);
  if (!cost) return std::nullopt;
  return concluded(*cost);
}

Result<Decimal> Price::negative_amount(Decimal quantity) const {
  switch (def_.rules.negative) {
    case NegativeUsage::kRefuse: break;
    case NegativeUsage::kZero: return amount(Decimal());
    case NegativeUsage::kCredit: {
      Result<Decimal> mirrored = amount(-quantity);
      if (!mirrored.ok()) return mirrored;
      return -*mirrored;
    }
  }
  return Error{Code::kInvalidArgument,
               "expected a number from 0, got " + quantity.text() +
                   "; the rule negative=\"credit\" prices it as a credit, \"zero\" as no usage"};
}

Result<Decimal> Price::amount(Decimal quantity) const {
  if (quantity.is_negative()) return negative_amount(quantity);
  if (per_event_ && !quantity.is_zero()) return amount_of_events({&quantity, 1});
  const std::optional<Decimal> amount = positive_amount(quantity);
  if (!amount) return out_of_range("the amount");
  return *amount;
}

Result<Decimal> Price::amount_after(Decimal quantity, Decimal after) const {
  const std::optional<Decimal> total = add(after, quantity);
  if (!total) return out_of_range("the amount");
  const Result<Decimal> with = amount(*total);
  if (!with.ok()) return with;
  const Result<Decimal> without = amount(after);
  if (!without.ok()) return without;
  const std::optional<Decimal> difference = subtract(*with, *without);
  if (!difference) return out_of_range("the amount");
  return *difference;
}

std::optional<Decimal> Price::amount_of_whole(int64_t quantity) const {
  if (quantity < 0 || quantity > whole_.quantity_max) return std::nullopt;
  size_t at = 0;
  while (at < whole_.upper.size() && quantity > whole_.upper[at]) ++at;
  int64_t units = quantity - whole_.origin[at];
  if (whole_.package[at] != 1) {
    // Only started packages are in this table.
    const int64_t package = whole_.package[at];
    units = units / package + (units % package != 0 ? 1 : 0);
  }
  Int128 amount = whole_.base[at] + Int128{units} * whole_.unit[at];
  if (def_.minimum && amount < def_.minimum->units()) amount = def_.minimum->units();
  if (def_.maximum && amount > def_.maximum->units()) amount = def_.maximum->units();
  const std::optional<Decimal> exact = Decimal::from_units(amount);
  return exact ? rounded_at(RoundAt::kCharge, *exact) : std::nullopt;
}

// One event that is not free, with the part of it that is charged.
std::optional<Decimal> Price::event_amount(Decimal volume) const {
  std::optional<Decimal> amount = multiply(volume, def_.tiers.front().unit);
  if (amount) amount = add(*amount, def_.fixed);
  if (!amount) return std::nullopt;
  if (def_.minimum_per_event) amount = std::max(*amount, *def_.minimum_per_event);
  if (def_.maximum_per_event) amount = std::min(*amount, *def_.maximum_per_event);
  return rounded_at(RoundAt::kLine, *amount);
}

Result<Decimal> Price::amount_of_events(std::span<const Decimal> volumes) const {
  if (def_.model != PriceModel::kPercentage) {
    return Error{Code::kInvalidArgument, "only a percentage is priced by its events; use amount"};
  }
  const bool by_count = def_.free_events > 0;
  const bool by_volume = !def_.included.is_zero();
  const std::optional<Decimal> fee = base_fee();
  if (!fee) return out_of_range("the base fee");
  Decimal total = *fee;
  Decimal so_far;
  for (size_t i = 0; i < volumes.size(); ++i) {
    Decimal charged = volumes[i];
    if (charged.is_negative()) {
      return Error{Code::kInvalidArgument, "event " + std::to_string(i) +
                                               ": expected a volume from 0, got " + charged.text()};
    }
    const std::optional<Decimal> with = add(so_far, charged);
    if (!with) return out_of_range("the volume of the events");
    if ((by_count || by_volume) && (!by_count || i < def_.free_events)) {
      if (!by_volume || *with <= def_.included) {
        so_far = *with;
        continue;
      }
      if (so_far < def_.included) charged = *subtract(*with, def_.included);
    }
    so_far = *with;
    const std::optional<Decimal> cost = event_amount(charged);
    const std::optional<Decimal> sum = cost ? add(total, *cost) : std::nullopt;
    if (!sum) return out_of_range("the amount");
    total = *sum;
  }
  const std::optional<Decimal> amount = concluded(total);
  if (!amount) return out_of_range("the amount");
  return *amount;
}

Result<Decimal> Price::amount_of_volume(Decimal volume, uint64_t events) const {
  if (def_.model != PriceModel::kPercentage) {
    return Error{Code::kInvalidArgument, "only a percentage has events; leave the argument out"};
  }
  if (volume.is_negative()) return negative_amount(volume);
  if (events == 1) return amount_of_events({&volume, 1});
  if (events == 0 && !volume.is_zero()) {
    return Error{Code::kInvalidArgument,
                 "a volume of " + volume.text() + " cannot come from 0 events"};
  }
  const bool sizes_matter = def_.free_events > 0 || def_.minimum_per_event ||
                            def_.maximum_per_event ||
                            (!def_.fixed.is_zero() && !def_.included.is_zero());
  if (events > 1 && sizes_matter) return volume_of_events_needed();
  constexpr uint64_t kEventsMax = 1'000'000'000'000'000'000;
  if (events > kEventsMax) return out_of_range("the number of events");
  const Decimal free = std::min(volume, def_.included);
  std::optional<Decimal> cost = multiply(*subtract(volume, free), def_.tiers.front().unit);
  if (cost) cost = rounded_at(RoundAt::kLine, *cost);
  std::optional<Decimal> fees = multiply(def_.fixed, Decimal(static_cast<int64_t>(events)));
  if (fees) fees = rounded_at(RoundAt::kLine, *fees);
  std::optional<Decimal> sum = cost && fees ? add(*cost, *fees) : std::nullopt;
  const std::optional<Decimal> fee = base_fee();
  if (sum) sum = fee ? add(*sum, *fee) : std::nullopt;
  if (sum) sum = concluded(*sum);
  if (!sum) return out_of_range("the amount");
  return *sum;
}

}  // namespace tenancy
