#include "tenancy/billing/book.h"

#include <algorithm>

#include "tenancy/base/money.h"
#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

constexpr std::string_view kSeats = "seats";
constexpr std::string_view kBaseFee = "base_fee";
constexpr std::string_view kMinimum = "minimum";
constexpr std::string_view kMaximum = "maximum";

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

// Adds one charge to every total; null quantities are none at all.
Status PriceBook::add_charges(std::string_view name, const Price& price, const Column* quantities,
                              unsigned threads, Amounts* totals) const {
  const std::string field(name);
  const Result<Decimal> none = price.amount(Decimal());
  if (!none.ok()) return none.error();
  Result<Amounts> charges = Amounts();
  if (quantities != nullptr) {
    if (quantities->length() != totals->length) {
      return Error{Code::kInvalidArgument,
                   "the columns have different lengths: " + std::to_string(totals->length) +
                       " and " + std::to_string(quantities->length())};
    }
    if (const std::optional<int64_t> null = quantities->first_null()) {
      return Error{Code::kInvalidArgument, field + ": element " + std::to_string(*null) +
                                               " has no value; write 0 for no usage"};
    }
    charges = price_column(price, *quantities, threads);
    if (!charges.ok()) {
      return Error{charges.error().code, field + ": " + charges.error().message};
    }
  }
  Int128* out = totals->units.get();
  for (int64_t k = 0; k < totals->length; ++k) {
    const Int128 amount = quantities != nullptr ? charges->units.get()[k] : none->units();
    if (__builtin_add_overflow(out[k], amount, &out[k])) return out_of_range("the total");
  }
  return {};
}

Result<Amounts> PriceBook::amounts(const Columns& usage, const Column* seats,
                                   unsigned threads) const {
  std::vector<const Column*> columns(prices_.size(), nullptr);
  if (usage.empty()) return Error{Code::kInvalidArgument, "expected at least one column of usage"};
  for (const auto& [metric, column] : usage) {
    const Result<size_t> index = index_of(metric);
    if (!index.ok()) return index.error();
    if (columns[*index] != nullptr) return given_twice(metric);
    columns[*index] = column;
  }
  if (seats != nullptr && seats_ == nullptr) {
    return Error{Code::kInvalidArgument, "this book has no price for seats"};
  }
  Amounts totals;
  totals.length = usage.front().second->length();
  totals.units = allocate_units(totals.length);
  Int128* out = totals.units.get();
  std::fill_n(out, totals.length, Int128{0});
  Status status;
  for (size_t i = 0; i < prices_.size() && status.ok(); ++i) {
    status = add_charges(def_.metrics[i].metric, *prices_[i], columns[i], threads, &totals);
  }
  if (status.ok() && seats_ != nullptr) {
    status = add_charges(kSeats, *seats_, seats, threads, &totals);
  }
  if (!status.ok()) return status.error();
  for (int64_t k = 0; k < totals.length; ++k) {
    std::optional<Decimal> total = Decimal::from_units(out[k]);
    if (total) total = concluded(*total, nullptr);
    if (!total) return out_of_range("the total");
    out[k] = total->units();
  }
  return totals;
}

}  // namespace tenancy
