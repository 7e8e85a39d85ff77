// Price: computes what a quantity costs.
//
// A price definition is compiled into segments: ranges of the quantity in each of which
//
//     amount = base + cost(quantity - origin)
//
// Graduated prices carry the cost of the tiers below in `base` and count from the lower bound;
// volume prices have the flat price in `base` and count from zero. Included units, the base fee,
// inclusive or exclusive bounds and the fate of zero usage are all in the segments, so that one
// short path serves every model.
//
// Order of operations (version 1 of the rules): the quantity is rounded to whole units where the
// rules say so; each tier's cost is one product, rounded to 1e-12 half away from zero; a `line`
// rounds each cost and each flat price to the currency; minimum and maximum are applied; `charge`
// rounds the result.
//
// Invariants:
//  1. Segments ascend; the last one is open (its upper end is the largest decimal).
//  2. A result that does not fit is kOutOfRange, never a wrapped number.
//  3. Where the whole-number table exists, it gives the same amounts as the segments.
//
// Ownership: by value or const pointer. Thread safety: immutable.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "tenancy/base/decimal.h"
#include "tenancy/base/status.h"
#include "tenancy/catalog/price_def.h"

namespace tenancy {

struct PriceSegment {
  Int128 upper = 0;  // the largest quantity in it, in units of 1e-12
  Decimal origin;
  Decimal base;
  Decimal unit;
  Decimal package = Decimal(1);
};

// The segments once more for whole quantities that fit 64 bits: no division on this way. What comes
// out is not rounded yet where the rules round a charge.
struct WholeSegments {
  std::vector<int64_t> upper;  // of all but the last
  std::vector<int64_t> origin;
  std::vector<Int128> base;
  std::vector<int64_t> unit;
  std::vector<int64_t> package;
  bool packaged = false;
  int64_t quantity_max = -1;  // up to here no sum overflows; -1 = the table is not usable
};

class Price {
 public:
  // kOutOfRange when the tiers together cost more than a decimal holds.
  static Result<Price> make(PriceDef def);

  const PriceDef& def() const { return def_; }
  std::span<const PriceSegment> segments() const { return segments_; }
  const WholeSegments& whole() const { return whole_; }
  // Digits of the currency; 12 without one.
  int currency_digits() const { return currency_digits_; }

  Result<Decimal> amount(Decimal quantity) const;
  // What `quantity` more costs when `after` was priced before: amount(after + quantity) minus
  // amount(after). Adds up over any split of the usage.
  Result<Decimal> amount_after(Decimal quantity, Decimal after) const;
  // The amount of a whole quantity, or nothing where `amount` must be asked.
  std::optional<Decimal> amount_of_whole(int64_t quantity) const;

  // Percentages: a volume made of so many events whose sizes are not known. kInvalidArgument where
  // the answer depends on the sizes (free events; limits per event; a fixed fee with free volume).
  Result<Decimal> amount_of_volume(Decimal volume, uint64_t events) const;
  // Percentages: the events in their order. While fewer than `free_events` came before and the
  // volume so far is within `included`, an event is free (where both rules are set, the first one
  // that is used up ends the free events); of the one that passes `included`, the rest is charged.
  Result<Decimal> amount_of_events(std::span<const Decimal> volumes) const;

  // A percentage whose amount depends on single events.
  bool is_per_event() const { return per_event_; }

  // To the currency where the rules round at `point`, else unchanged.
  std::optional<Decimal> rounded_at(RoundAt point, Decimal value) const;
  // The quantity that tiers see: rounded to whole units where the rules say so.
  std::optional<Decimal> counted(Decimal quantity) const;
  // The base fee that counts towards minimum and maximum.
  std::optional<Decimal> base_fee() const;
  // Minimum, maximum, the base fee that does not count towards them, rounding of the charge.
  std::optional<Decimal> concluded(Decimal usage) const;

 private:
  friend class PriceCompiler;
  Price() = default;
  Result<Decimal> negative_amount(Decimal quantity) const;
  std::optional<Decimal> positive_amount(Decimal quantity) const;
  std::optional<Decimal> event_amount(Decimal volume) const;

  PriceDef def_;
  std::vector<PriceSegment> segments_;
  WholeSegments whole_;
  int currency_digits_ = Decimal::kDigits;
  bool per_event_ = false;
};

// What `units` cost in a tier, rounded to 1e-12; packages by `rounding`.
std::optional<Decimal> tier_cost(Decimal units, Decimal unit, Decimal package,
                                 PackageRounding rounding);
// `units` in whole packages, as a number of units.
std::optional<Decimal> packaged_units(Decimal units, Decimal package, PackageRounding rounding);

}  // namespace tenancy
