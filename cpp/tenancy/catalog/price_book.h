// Reads a price book from a document of its own or from the catalog's `price_books`, or reports
// everything that is wrong with it.
//
// Thread safety: pure functions.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/catalog/fields.h"
#include "tenancy/catalog/price_def.h"

namespace tenancy {

constexpr size_t kMetricsMax = 256;
constexpr size_t kPriceBooksMax = 64;

// The books that come with the package; plans may name them without defining them.
std::vector<std::string_view> shipped_price_books();

// A document {price_book: name, version, currency, rules, base_fee, minimum, maximum, seats,
// metrics, plans}. Null when there were errors.
std::shared_ptr<const PriceBookDef> parse_price_book(const Json& document,
                                                     std::vector<CatalogError>* errors);

// The catalog's `price_books`: names to books, in the catalog's currency unless they say another.
std::vector<std::shared_ptr<const PriceBookDef>> read_price_books(const Field& field,
                                                                  const std::string& currency);

// A price that stands alone. Nothing when there were errors.
std::optional<PriceDef> parse_price(const Json& document, std::vector<CatalogError>* errors);

}  // namespace tenancy
