// Helpers of the catalog's tests: documents as JSON text, errors as one text.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "catch.h"
#include "tenancy/catalog/catalog.h"

namespace tenancy::test {

inline Json json(std::string_view text) {
  const Result<Json> parsed = Json::parse(text);
  if (!parsed.ok()) FAIL("not JSON: " << parsed.error().message << "\n" << text);
  return *parsed;
}

inline std::string lines(const std::vector<CatalogError>& errors) {
  std::string text;
  for (const CatalogError& error : errors) text += error.path + ": " + error.message + "\n";
  return text;
}

// The errors of a whole document; empty when it is valid.
inline std::string errors_of(std::string_view document) {
  std::vector<CatalogError> errors;
  const auto catalog = Catalog::parse(json(document), &errors);
  CHECK((catalog == nullptr) == !errors.empty());
  return lines(errors);
}

inline std::shared_ptr<const Catalog> valid(std::string_view document) {
  std::vector<CatalogError> errors;
  auto catalog = Catalog::parse(json(document), &errors);
  INFO(lines(errors));
  REQUIRE(catalog != nullptr);
  return catalog;
}

// `members` between the braces of a document that is complete without them.
inline std::string with(std::string_view members) {
  std::string text = R"({"catalog": "c", )";
  text += members;
  if (members.find("\"plans\"") == members.npos) {
    text += members.empty() ? "" : ", ";
    text += R"("plans": {"free": {}})";
  }
  return text + "}";
}

// A document whose plan "p" has this rate limit for the action "a".
inline std::string with_limit(std::string_view limit) {
  return with(R"("plans": {"p": {"rate_limits": {"a": )" + std::string(limit) + "}}}");
}

}  // namespace tenancy::test
