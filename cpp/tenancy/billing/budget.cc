#include "tenancy/billing/budget.h"

#include <algorithm>
#include <vector>

namespace tenancy {

namespace {

constexpr Int128 kWhole = Decimal::kOne;

// Amounts grow with the quantity between two of these ends.
std::vector<Int128> ends(const Price& price) {
  std::vector<Int128> result;
  for (const PriceSegment& segment : price.segments()) {
    Int128 end = segment.upper;
    // Where quantities are rounded first, a bound is reached up to half a unit sooner or later, or
    // a whole one: the quantities around it are tried as well.
    result.push_back(end);
    const Int128 whole = end / kWhole * kWhole;
    for (const Int128 near : {whole, whole + kWhole / 2 - 1, whole + kWhole - 1}) {
      if (near < Decimal::kUnitsMax && near >= 0) result.push_back(near);
    }
  }
  std::ranges::sort(result);
  return result;
}

class Search {
 public:
  Search(const Price& price, Decimal budget, Decimal step)
      : price_(price), budget_(budget), step_(step.units()) {}

  bool affords(Int128 steps) const {
    const std::optional<Decimal> quantity = Decimal::from_units(steps * step_);
    const Result<Decimal> amount = price_.amount(*quantity);
    return amount.ok() && *amount <= budget_;
  }

  // The largest affordable number of steps in (low, high], or -1.
  Int128 within(Int128 low, Int128 high) const {
    if (low >= high || !affords(low + 1)) return -1;
    if (affords(high)) return high;
    Int128 good = low + 1;
    Int128 bad = high;
    while (bad - good > 1) {
      const Int128 middle = good + (bad - good) / 2;
      (affords(middle) ? good : bad) = middle;
    }
    return good;
  }

  Int128 steps_to(Int128 units) const { return units / step_; }

 private:
  const Price& price_;
  const Decimal budget_;
  const Int128 step_;
};

}  // namespace

Result<std::optional<Decimal>> quantity_for(const Price& price, Decimal budget, Decimal step) {
  if (step <= Decimal()) {
    return Error{Code::kInvalidArgument, "expected a step above 0, got " + step.text()};
  }
  const Result<Decimal> nothing = price.amount(Decimal());
  if (!nothing.ok()) return nothing.error();
  if (*nothing > budget) {
    return Error{Code::kInvalidArgument, "a budget of " + budget.text() +
                                             " does not pay for no usage, which costs " +
                                             nothing->text()};
  }
  if (price.def().maximum) {
    const std::optional<Decimal> most = price.concluded(Decimal::max());
    if (most && *most <= budget) return std::optional<Decimal>();
  }
  const Search search(price, budget, step);
  const std::vector<Int128> ends = tenancy::ends(price);
  const Int128 last = search.steps_to(Decimal::kUnitsMax);
  if (search.affords(last)) return std::optional<Decimal>();
  for (size_t i = ends.size(); i-- > 0;) {
    const Int128 low = i == 0 ? -1 : search.steps_to(ends[i - 1]);
    const Int128 found = search.within(low, search.steps_to(ends[i]));
    if (found >= 0) return Decimal::from_units(found * step.units());
  }
  return std::optional<Decimal>(Decimal());
}

}  // namespace tenancy
