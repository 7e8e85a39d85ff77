// Helpers of the billing tests: prices from JSON text, amounts as text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "catch.h"
#include "tenancy/base/json.h"
#include "tenancy/billing/price.h"
#include "tenancy/catalog/price_book.h"

namespace tenancy::test {

inline Decimal dec(std::string_view text) {
  const Result<Decimal> parsed = Decimal::parse(text);
  if (!parsed.ok()) FAIL(parsed.error().message);
  return *parsed;
}

inline std::string errors_of(std::string_view json) {
  std::vector<CatalogError> errors;
  const auto document = Json::parse(json);
  REQUIRE(document.ok());
  const auto def = parse_price(*document, &errors);
  std::string text;
  for (const CatalogError& error : errors) text += error.path + ": " + error.message + "\n";
  CHECK(def.has_value() == errors.empty());
  return text;
}

// The JSON may use single quotes.
inline Price price(std::string json) {
  for (char& c : json) c = c == '\'' ? '"' : c;
  std::vector<CatalogError> errors;
  const auto document = Json::parse(json);
  if (!document.ok()) FAIL(json << ": " << document.error().message);
  const auto def = parse_price(*document, &errors);
  if (!def) FAIL(json << ": " << errors.front().path << ": " << errors.front().message);
  Result<Price> made = Price::make(*def);
  if (!made.ok()) FAIL(json << ": " << made.error().message);
  return std::move(made).value();
}

inline std::string text(const Result<Decimal>& amount) {
  return amount.ok() ? amount->text() : amount.error().message;
}

inline std::string amount(const Price& price, std::string_view quantity) {
  return text(price.amount(dec(quantity)));
}

// The members of every tiered price of these tests.
inline const char* const kFourTiers =
    "'tiers': [{'up_to': 10000, 'unit': 0.001}, {'up_to': 100000, 'unit': 0.0008},"
    " {'up_to': 1000000, 'unit': 0.0005}, {'unit': 0.0003}]";

inline std::string model(const char* name, const std::string& members) {
  return "{'model': '" + std::string(name) + "', " + members + "}";
}

}  // namespace tenancy::test
