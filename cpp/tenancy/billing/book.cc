#include "tenancy/billing/book.h"

#include <algorithm>
#include <array>

#include "tenancy/base/money.h"
#include "tenancy/billing/row_parts.h"
#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

constexpr std::string_view kSeats = "seats";
constexpr std::string_view kBaseFee = "base_fee";
constexpr std::string_view kMinimum = "minimum";
constexpr std::string_view kMaximum = "maximum";

constexpr int64_t kRowsBlock = 1024;
constexpr int64_t kRowsPerThreadMin = 30'000;

Error unknown(std::string_view what, std::string_view name,
              const std::vector<std::string_view>& known) {
  std::string message = "unknown " + std::string(what) + " " + in_quotes(name);
  const std::string_view near = nearest_name(name, known);
  if (!near.empty()) return {Code::kNotFound, message + "; did you mean " + in_quotes(near) + "?"};
  message += known.empty() ? "; the book names none" : "; the book has ";
  for (size_t i = 0; i < known.size(); ++i) message += (i == 0 ? "" : ", ") + std::string(known[i]);
  return {Code::kNotFound, std::move(message)};
}

Error given_twice(std::string_view metric) {
  return {Code::kInvalidArgument, "the metric " + in_quotes(metric) + " is given twice"};
}

Result<std::shared_ptr<const Price>> make_price(const PriceDef& def, std::string_view name) {
  Result<Price> price = Price::make(def);
  if (!price.ok()) {
    return Error{price.error().code, std::string(name) + ": " + price.error().message};
  }
  return std::make_shared<const Price>(std::move(price).value());
}

}  // namespace

Result<std::shared_ptr<const PriceBook>> PriceBook::make(PriceBookDef def) {
  std::shared_ptr<PriceBook> book(new PriceBook());
  for (const MetricPrice& metric : def.metrics) {
    auto price = make_price(metric.price, metric.metric);
    if (!price.ok()) return price.error();
    book->prices_.push_back(*price);
  }
  if (def.seats) {
    auto price = make_price(*def.seats, kSeats);
    if (!price.ok()) return price.error();
    book->seats_ = *price;
  }
  book->base_fee_ = def.base_fee;
  if (def.rules.round_at == RoundAt::kLine) {
    const int digits = minor_digits(def.currency).value_or(Decimal::kDigits);
    const auto rounded = round_to(def.base_fee, digits, def.rules.rounding);
    if (!rounded) return out_of_range("the base fee");
    book->base_fee_ = *rounded;
  }
  book->def_ = std::move(def);
  return std::shared_ptr<const PriceBook>(std::move(book));
}

Result<size_t> PriceBook::index_of(std::string_view metric) const {
  const auto found = std::ranges::find(def_.metrics, metric, &MetricPrice::metric);
  if (found != def_.metrics.end()) return static_cast<size_t>(found - def_.metrics.begin());
  std::vector<std::string_view> known;
  for (const MetricPrice& each : def_.metrics) known.emplace_back(each.metric);
  return unknown("metric", metric, known);
}

std::shared_ptr<const Price> PriceBook::price(std::string_view metric) const {
  const Result<size_t> index = index_of(metric);
  return index.ok() ? prices_[*index] : nullptr;
}

Result<std::shared_ptr<const PriceBook>> PriceBook::for_plan(std::string_view plan) const {
  const auto found = def_.plans.find(std::string(plan));
  if (found == def_.plans.end()) {
    std::vector<std::string_view> known;
    for (const auto& [name, included] : def_.plans) known.emplace_back(name);
    return unknown("plan", plan, known);
  }
  PriceBookDef def = def_;
  for (MetricPrice& metric : def.metrics) {
    const auto included = found->second.find(metric.metric);
    if (included != found->second.end()) metric.price.included = included->second;
  }
  return make(std::move(def));
}

std::optional<Decimal> PriceBook::concluded(Decimal charges, BookAmount* lines) const {
  const bool counts = def_.rules.commitment == Commitment::kAll;
  const auto note = [lines](std::string_view name, std::optional<Decimal> amount) {
    if (lines != nullptr && amount && !amount->is_zero()) {
      lines->lines.emplace_back(name, *amount);
    }
  };
  note(kBaseFee, base_fee_);
  std::optional<Decimal> total = counts ? add(charges, base_fee_) : charges;
  if (!total) return std::nullopt;
  const Decimal before = *total;
  if (def_.minimum && before < *def_.minimum) {
    total = def_.minimum;
    note(kMinimum, subtract(*total, before));
  } else if (def_.maximum && before > *def_.maximum) {
    total = def_.maximum;
    note(kMaximum, subtract(*total, before));
  }
  return counts ? total : add(*total, base_fee_);
}

Result<BookAmount> PriceBook::amount(const Usage& usage, std::optional<Decimal> seats) const {
  std::vector<std::optional<Decimal>> quantities(prices_.size());
  for (const auto& [metric, quantity] : usage) {
    const Result<size_t> index = index_of(metric);
    if (!index.ok()) return index.error();
    if (quantities[*index]) return given_twice(metric);
    quantities[*index] = quantity;
  }
  if (seats && seats_ == nullptr) {
    return Error{Code::kInvalidArgument, "this book has no price for seats"};
  }
  BookAmount result;
  Decimal charges;
  const auto charge = [&](const std::string& name, const Price& price, Decimal quantity) {
    const Result<Decimal> amount = price.amount(quantity);
    if (!amount.ok()) {
      return Status(amount.error().code, name + ": " + amount.error().message);
    }
    const std::optional<Decimal> sum = add(charges, *amount);
    if (!sum) return Status(out_of_range("the total"));
    charges = *sum;
    result.lines.emplace_back(name, *amount);
    return Status();
  };
  for (size_t i = 0; i < prices_.size(); ++i) {
    const Status status =
        charge(def_.metrics[i].metric, *prices_[i], quantities[i].value_or(Decimal()));
    if (!status.ok()) return status.error();
  }
  if (seats_ != nullptr) {
    const Status status = charge(std::string(kSeats), *seats_, seats.value_or(Decimal()));
    if (!status.ok()) return status.error();
  }
  const std::optional<Decimal> total = concluded(charges, &result);
  if (!total) return out_of_range("the total");
  result.total = *total;
  return result;
}

// The charges in the order of the book, with columns of one length and without nulls.
Result<std::vector<PriceBook::Charge>> PriceBook::charges_of(const Columns& usage,
                                                             const Column* seats) const {
  if (usage.empty()) return Error{Code::kInvalidArgument, "expected at least one column of usage"};
  std::vector<Charge> charges;
  for (size_t i = 0; i < prices_.size(); ++i) {
    charges.push_back({def_.metrics[i].metric, prices_[i].get(), nullptr, {}});
  }
  for (const auto& [metric, column] : usage) {
    const Result<size_t> index = index_of(metric);
    if (!index.ok()) return index.error();
    if (charges[*index].quantities != nullptr) return given_twice(metric);
    charges[*index].quantities = column;
  }
  if (seats != nullptr && seats_ == nullptr) {
    return Error{Code::kInvalidArgument, "this book has no price for seats"};
  }
  if (seats_ != nullptr) charges.push_back({kSeats, seats_.get(), seats, {}});
  const int64_t length = usage.front().second->length();
  for (Charge& charge : charges) {
    const Result<Decimal> none = charge.price->amount(Decimal());
    if (!none.ok()) return none.error();
    charge.none = *none;
    if (charge.quantities == nullptr) continue;
    const std::string field(charge.name);
    if (charge.quantities->kind() == Column::Kind::kText) {
      return Error{Code::kInvalidArgument,
                   field +
                       ": expected whole numbers or decimals, got a column of texts; cast it "
                       "to int64 or decimal128"};
    }
    if (charge.quantities->length() != length) {
      return Error{Code::kInvalidArgument,
                   "the columns have different lengths: " + std::to_string(length) + " and " +
                       std::to_string(charge.quantities->length())};
    }
    if (const std::optional<int64_t> null = charge.quantities->first_null()) {
      return Error{Code::kInvalidArgument, field + ": element " + std::to_string(*null) +
                                               " has no value; write 0 for no usage"};
    }
  }
  return charges;
}

// Base fee, minimum and maximum on top of each total; false where one leaves the decimals.
bool PriceBook::conclude_rows(int64_t count, Int128* totals) const {
  const Int128 fee = base_fee_.units();
  const bool counts = def_.rules.commitment == Commitment::kAll;
  const Int128 before = counts ? fee : Int128{0};
  const Int128 after = counts ? Int128{0} : fee;
  const Int128 low = def_.minimum ? def_.minimum->units() : -Decimal::kUnitsMax;
  const Int128 high = def_.maximum ? def_.maximum->units() : Decimal::kUnitsMax;
  const auto outside = [](Int128 units) {
    return units > Decimal::kUnitsMax || units < -Decimal::kUnitsMax;
  };
  bool bad = false;
  for (int64_t i = 0; i < count; ++i) {
    Int128 total = totals[i];
    bad |= outside(total) || __builtin_add_overflow(total, before, &total) || outside(total);
    total = total < low ? low : total > high ? high : total;
    bad |= __builtin_add_overflow(total, after, &total) || outside(total);
    totals[i] = total;
  }
  return !bad;
}

// The totals of rows [begin, end), a block at a time, so that what is summed stays in the cache.
Status PriceBook::total_rows(const std::vector<Charge>& charges, int64_t begin, int64_t end,
                             Int128* out) const {
  std::array<Int128, kRowsBlock> amounts;
  for (int64_t at = begin; at < end; at += kRowsBlock) {
    const int64_t count = std::min(kRowsBlock, end - at);
    Int128* totals = out + at;
    std::fill_n(totals, count, Int128{0});
    bool overflow = false;
    for (const Charge& charge : charges) {
      if (charge.quantities == nullptr) {
        std::fill_n(amounts.begin(), count, charge.none.units());
      } else if (const std::optional<PriceFailure> failure = price_rows(
                     *charge.price, *charge.quantities, at, at + count, amounts.data())) {
        return {failure->error.code, std::string(charge.name) + ": element " +
                                         std::to_string(failure->index) + ": " +
                                         failure->error.message};
      }
      for (int64_t i = 0; i < count; ++i) {
        overflow |= __builtin_add_overflow(totals[i], amounts[static_cast<size_t>(i)], &totals[i]);
      }
    }
    if (!conclude_rows(count, totals) || overflow) return out_of_range("the total");
  }
  return {};
}

Result<Amounts> PriceBook::amounts(const Columns& usage, const Column* seats,
                                   unsigned threads) const {
  const Result<std::vector<Charge>> charges = charges_of(usage, seats);
  if (!charges.ok()) return charges.error();
  Amounts totals;
  totals.length = usage.front().second->length();
  totals.units = allocate_units(totals.length);
  const RowParts parts = RowParts::of(totals.length, kRowsPerThreadMin, threads, kRowsBlock);
  std::vector<Status> found(static_cast<size_t>(parts.count));
  for_each_part(parts, [&](int64_t part, int64_t begin, int64_t end) {
    found[static_cast<size_t>(part)] = total_rows(*charges, begin, end, totals.units.get());
  });
  for (const Status& status : found) {
    if (!status.ok()) return status.error();
  }
  return totals;
}

}  // namespace tenancy
