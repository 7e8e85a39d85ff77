// The member "billing" of a catalog, and the periods of its plans.
#include <memory>
#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/base/json.h"
#include "tenancy/catalog/billing_policy.h"
#include "tenancy/catalog/catalog.h"

using namespace tenancy;

namespace {

constexpr int64_t kDayNs = 86'400 * int64_t{1'000'000'000};

std::shared_ptr<const Catalog> parsed(const std::string& members,
                                      std::vector<CatalogError>* errors) {
  const Result<Json> document = Json::parse(
      R"({"catalog": "c", "plans": {"a": {}, "b": {"period": "quarter"}})" + members + "}");
  REQUIRE(document.ok());
  return Catalog::parse(*document, errors);
}

}  // namespace

TEST_CASE("billing is monthly, from the subscription's day, in arrears, unless a catalog says so") {
  std::vector<CatalogError> errors;
  const auto catalog = parsed("", &errors);
  REQUIRE(catalog != nullptr);
  CHECK(catalog->billing().period == PeriodUnit::kMonth);
  CHECK(catalog->billing().anchored);
  CHECK(catalog->billing().fees == Fees::kInArrears);
  CHECK(catalog->billing().price_changes == PriceChanges::kNextPeriod);
  CHECK(catalog->billing().dispute_ns == 90 * kDayNs);
  CHECK(catalog->plans()[0].price_period == PeriodUnit::kMonth);
}

TEST_CASE("a plan without a period has that of the catalog") {
  std::vector<CatalogError> errors;
  const auto catalog =
      parsed(R"(, "billing": {"period": "year", "anchor": "calendar", "fees": "in_advance",
        "price_changes": "at_once", "dispute": "30 days"})",
             &errors);
  REQUIRE(catalog != nullptr);
  CHECK(catalog->billing().period == PeriodUnit::kYear);
  CHECK_FALSE(catalog->billing().anchored);
  CHECK(catalog->billing().fees == Fees::kInAdvance);
  CHECK(catalog->billing().price_changes == PriceChanges::kAtOnce);
  CHECK(catalog->billing().dispute_ns == 30 * kDayNs);
  CHECK(catalog->plans()[0].price_period == PeriodUnit::kYear);
  CHECK(catalog->plans()[1].price_period == PeriodUnit::kQuarter);
}

TEST_CASE("each unit of a billing period is the one that was named") {
  for (const char* unit : {"day", "week", "month", "quarter", "year"}) {
    std::vector<CatalogError> errors;
    const auto catalog =
        parsed(R"(, "billing": {"period": ")" + std::string(unit) + R"(", "dispute": 0})", &errors);
    REQUIRE(catalog != nullptr);
    CHECK(period_unit_name(catalog->billing().period) == unit);
    CHECK(catalog->billing().dispute_ns == 0);
  }
}

TEST_CASE("what is wrong with billing is told by path") {
  std::vector<CatalogError> errors;
  const auto catalog =
      parsed(R"(, "billing": {"period": "hour", "anchor": "monday", "fees": "before",
        "price_changes": true, "dispute": "380 days", "cycle": 1})",
             &errors);
  CHECK(catalog == nullptr);
  std::vector<std::string> paths;
  for (const CatalogError& error : errors) paths.push_back(error.path);
  CHECK(paths == std::vector<std::string>{"billing.cycle", "billing.period", "billing.anchor",
                                          "billing.fees", "billing.price_changes",
                                          "billing.dispute"});
  CHECK(errors[3].message.find("in_advance") != std::string::npos);
}
