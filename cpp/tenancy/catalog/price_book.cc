#include "tenancy/catalog/price_book.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "tenancy/catalog/names.h"
#include "tenancy/catalog/price_reader.h"
#include "tenancy/catalog/price_rules.h"

namespace tenancy {

namespace {

constexpr size_t kBookPlansMax = 256;

void read_metrics(const Field& book, PriceBookDef* out) {
  const Field metrics = book.member("metrics");
  if (!metrics.present()) {
    book.error("\"metrics\" is missing: a mapping of metrics to their prices");
    return;
  }
  if (!metrics.is_mapping_within(kMetricsMax)) return;
  if (metrics.json().as_object().empty()) metrics.error("expected at least one metric");
  for (const auto& [name, value] : metrics.members()) {
    if (!is_name(name)) {
      value.error("the name of a metric must be " + std::string(kNameRule));
    } else {
      out->metrics.push_back({name, read_price_def(value, out->rules, out->currency)});
    }
  }
}

void read_included(const Field& field, const PriceBookDef& book,
                   std::map<std::string, Decimal>* out) {
  if (!field.is_mapping()) return;
  std::vector<std::string_view> known;
  for (const MetricPrice& metric : book.metrics) known.emplace_back(metric.metric);
  for (const auto& [metric, value] : field.members()) {
    if (std::ranges::find(known, std::string_view(metric)) == known.end()) {
      value.unknown("metric", metric, known);
    } else if (const auto units = read_number(value, Least::kZero, "a number of units from 0")) {
      (*out)[metric] = *units;
    }
  }
}

void read_plans(const Field& field, PriceBookDef* book) {
  if (!field.present() || !field.is_mapping_within(kBookPlansMax)) return;
  for (const auto& [plan, value] : field.members()) {
    if (!is_name(plan)) {
      value.error("the name of a plan must be " + std::string(kNameRule));
      continue;
    }
    std::map<std::string, Decimal>& included = book->plans[plan];
    if (!value.is_mapping_of({"included"})) continue;
    if (const Field units = value.member("included"); units.present()) {
      read_included(units, *book, &included);
    }
  }
}

void read_members(const Field& field, PriceBookDef* book) {
  book->version = field.member("version").version();
  book->currency = read_currency_member(field, book->currency);
  book->rules = read_rules(field.member("rules"), PriceRules());
  book->base_fee = read_amount_member(field, "base_fee");
  book->minimum = read_optional_member(field, "minimum");
  book->maximum = read_optional_member(field, "maximum");
  check_commitments(field, book->minimum, book->maximum);
  if (const Field seats = field.member("seats"); seats.present()) {
    book->seats = read_price_def(seats, book->rules, book->currency);
  }
  read_metrics(field, book);
  read_plans(field.member("plans"), book);
}

}  // namespace

std::vector<std::string_view> shipped_price_books() {
  return {"llm-tokens", "llm-tokens-volume", "per_operation", "tiered", "volume"};
}

std::shared_ptr<const PriceBookDef> parse_price_book(const Json& document,
                                                     std::vector<CatalogError>* errors) {
  ErrorList list;
  const Field field(&document, "", &list);
  auto book = std::make_shared<PriceBookDef>();
  if (field.is_mapping_of({"$schema", "price_book", "version", "currency", "rules", "base_fee",
                           "minimum", "maximum", "seats", "metrics", "plans"})) {
    if (const Field name = field.member("price_book"); name.present()) {
      book->name = name.name().value_or("");
    } else {
      field.error("\"price_book\" is missing: the name of this price book");
    }
    if (!field.member("currency").present()) {
      field.error("\"currency\" is missing: a code of ISO 4217 such as USD");
    }
    read_members(field, book.get());
  }
  if (list.empty()) return book;
  list.move_to(errors);
  return nullptr;
}

std::vector<std::shared_ptr<const PriceBookDef>> read_price_books(const Field& field,
                                                                  const std::string& currency) {
  std::vector<std::shared_ptr<const PriceBookDef>> books;
  if (!field.present() || !field.is_mapping_within(kPriceBooksMax)) return books;
  for (const auto& [name, value] : field.members()) {
    if (!is_name(name)) {
      value.error("the name of a price book must be " + std::string(kNameRule));
      continue;
    }
    if (!value.is_mapping_of({"version", "currency", "rules", "base_fee", "minimum", "maximum",
                              "seats", "metrics", "plans"})) {
      continue;
    }
    auto book = std::make_shared<PriceBookDef>();
    book->name = name;
    book->currency = currency;
    read_members(value, book.get());
    books.push_back(std::move(book));
  }
  return books;
}

std::optional<PriceDef> parse_price(const Json& document, std::vector<CatalogError>* errors) {
  ErrorList list;
  PriceDef price = read_price_def(Field(&document, "", &list), PriceRules(), "");
  if (list.empty()) return price;
  list.move_to(errors);
  return std::nullopt;
}

}  // namespace tenancy
