// PriceBook: the prices of several metrics, seats and a base fee, in one currency.
//
// Ownership: std::shared_ptr<const PriceBook>; prices are shared. Thread safety: immutable.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenancy/base/decimal.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/price.h"
#include "tenancy/billing/vector.h"
#include "tenancy/catalog/price_def.h"

namespace tenancy {

// What a book comes to: one line for each metric, in the book's order, then seats, base fee, and
// what minimum and maximum add or take. The lines sum to `total`.
struct BookAmount {
  std::vector<std::pair<std::string, Decimal>> lines;
  Decimal total;
};

class PriceBook {
 public:
  using Usage = std::vector<std::pair<std::string, Decimal>>;
  using Columns = std::vector<std::pair<std::string, const Column*>>;

  static Result<std::shared_ptr<const PriceBook>> make(PriceBookDef def);

  const PriceBookDef& def() const { return def_; }
  // Null for a metric that it has not.
  std::shared_ptr<const Price> price(std::string_view metric) const;
  const std::shared_ptr<const Price>& seats() const { return seats_; }  // null = no seats
  // In the order of the definition.
  const std::vector<std::shared_ptr<const Price>>& prices() const { return prices_; }

  // The same book with the included units of a plan. kNotFound where it names no such plan.
  Result<std::shared_ptr<const PriceBook>> for_plan(std::string_view plan) const;

  // Metrics that `usage` leaves out were not used: their zero usage is priced. kInvalidArgument: an
  // metric given twice, seats where the book has none; kNotFound: an unknown metric.
  Result<BookAmount> amount(const Usage& usage, std::optional<Decimal> seats) const;
  // The total of every row of the columns, which have one length and no nulls. `seats` may be null:
  // no seats. `threads`: at most so many; amounts and errors do not depend on it.
  Result<Amounts> amounts(const Columns& usage, const Column* seats, unsigned threads) const;

 private:
  PriceBook() = default;
  Result<size_t> index_of(std::string_view metric) const;
  // One charge of `amounts`: what is priced, and null where every quantity is zero.
  struct Charge {
    std::string_view name;
    const Price* price = nullptr;
    const Column* quantities = nullptr;
    Decimal none;  // the amount of a quantity of zero
  };
  Result<std::vector<Charge>> charges_of(const Columns& usage, const Column* seats) const;
  Status total_rows(const std::vector<Charge>& charges, int64_t begin, int64_t end,
                    Int128* out) const;
  bool conclude_rows(int64_t count, Int128* totals) const;
  // Base fee, minimum and maximum on top of the charges.
  std::optional<Decimal> concluded(Decimal charges, BookAmount* lines) const;

  PriceBookDef def_;
  std::vector<std::shared_ptr<const Price>> prices_;
  std::shared_ptr<const Price> seats_;
  Decimal base_fee_;  // rounded where lines are
};

}  // namespace tenancy
