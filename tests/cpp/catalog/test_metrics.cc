// Metrics and the policy of metering in a catalog.
#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/base/json.h"
#include "tenancy/catalog/catalog.h"

using namespace tenancy;

namespace {

std::vector<CatalogError> errors_with(const std::string& members) {
  const std::string text = R"({"catalog": "c", "plans": {"p": {}}, "quotas": {"tokens":
    {"kind": "consumption"}, "agents": {"kind": "concurrency"}}, )" +
                           members + "}";
  std::vector<CatalogError> errors;
  const Result<Json> document = Json::parse(text);
  REQUIRE(document.ok());
  Catalog::parse(*document, &errors);
  return errors;
}

std::shared_ptr<const Catalog> catalog_of(const std::string& members) {
  const Result<Json> document = Json::parse(R"({"catalog": "c", "plans": {"p": {}}, "quotas":
    {"tokens": {"kind": "consumption"}}, )" +
                                            members + "}");
  REQUIRE(document.ok());
  std::vector<CatalogError> errors;
  auto catalog = Catalog::parse(*document, &errors);
  REQUIRE(errors.empty());
  return catalog;
}

}  // namespace

TEST_CASE("a metric is summed unless it says otherwise, and usage has three days of grace") {
  const auto catalog = catalog_of(R"("metrics": {"calls": {}})");
  REQUIRE(catalog->metrics().size() == 1);
  CHECK(catalog->metrics()[0].name == "calls");
  CHECK(catalog->metrics()[0].aggregation == Aggregation::kSum);
  CHECK(catalog->metering().grace_ns == 3 * 86'400 * int64_t{1'000'000'000});
  CHECK(catalog->metering().ahead_ns == 300 * int64_t{1'000'000'000});
}

TEST_CASE("a metric has what the document says") {
  const auto catalog = catalog_of(R"("metrics": {"users": {"aggregation": "unique",
    "unique_by": "user", "unit": "user", "description": "Who was active", "group_by": ["region"],
    "quota": "tokens"}}, "metering": {"grace": "12 hours", "ahead": 0})");
  const MetricDef& metric = catalog->metrics().at(0);
  CHECK(metric.aggregation == Aggregation::kUnique);
  CHECK(metric.unique_by == "user");
  CHECK(metric.unit == "user");
  CHECK(metric.description == "Who was active");
  CHECK(metric.group_by == std::vector<std::string>{"region"});
  CHECK(metric.quota == "tokens");
  CHECK(catalog->metering().grace_ns == 12 * 3600 * int64_t{1'000'000'000});
  CHECK(catalog->metering().ahead_ns == 0);
}

TEST_CASE("what is wrong with metrics is told by path") {
  const auto errors = errors_with(R"("metrics": {"1x": {}, "a": {"aggregation": "mean"},
    "b": {"unique_by": "user"}, "c": {"aggregation": "unique"}, "d": {"quota": "token"},
    "e": {"quota": "agents"}, "f": {"group_by": ["x", "x"]}, "g": {"units": "GB"}, "h": 3},
    "metering": {"grace": "400 days", "ahead": "2 days", "late": 1})");
  std::vector<std::string> paths;
  for (const CatalogError& error : errors) paths.push_back(error.path);
  CHECK(paths == std::vector<std::string>{"metrics.1x", "metrics.a.aggregation",
                                          "metrics.b.unique_by", "metrics.c", "metrics.d.quota",
                                          "metrics.e.quota", "metrics.f.group_by[1]",
                                          "metrics.g.units", "metrics.h", "metering.late",
                                          "metering.grace", "metering.ahead"});
  CHECK(errors[4].message.find("did you mean \"tokens\"?") != std::string::npos);
}
