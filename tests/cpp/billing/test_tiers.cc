#include "prices.h"
#include "tenancy/billing/explain.h"
#include "tenancy/billing/tiers.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

std::string ranges(const Price& price) {
  std::string text;
  for (const TierRange& range : tier_ranges(price)) {
    text += std::to_string(range.tier) + " to " + (range.last ? range.last->text() : "end") + "; ";
  }
  return text;
}

Price tiered(const char* model, const std::string& members) {
  return price(std::string("{'model': '") + model +
               "', 'tiers': [{'up_to': 10, 'unit': 3}, {'up_to': 20, 'unit': 2},"
               " {'unit': 1}]" +
               members + "}");
}

// The tier that an explanation of a volume price names, 0 without any.
int tier_explained(const Price& price, Decimal quantity) {
  int tier = 0;
  const auto lines = explain_price(price, quantity);
  REQUIRE(lines.ok());
  for (const PriceLine& line : *lines) {
    if (line.kind == LineKind::kUsage) tier = std::max(tier, line.tier);
  }
  return tier;
}

}  // namespace

TEST_CASE("ranges of tiers follow included units and rules") {
  CHECK(ranges(tiered("graduated", "")) == "1 to 10; 2 to 20; 3 to end; ");
  CHECK(ranges(tiered("graduated", ", 'included': 5")) == "0 to 5; 1 to 15; 2 to 25; 3 to end; ");
  CHECK(ranges(tiered("graduated", ", 'included': 15, 'rules': {'tiers_count': 'all'}")) ==
        "0 to 15; 2 to 20; 3 to end; ");
  CHECK(ranges(tiered("graduated", ", 'rules': {'bounds': 'exclusive'}")) ==
        "1 to 9.999999999999; 2 to 19.999999999999; 3 to end; ");
  CHECK(ranges(tiered("graduated", ", 'rules': {'zero_usage': 'free'}")) ==
        "0 to 0; 1 to 10; 2 to 20; 3 to end; ");
  CHECK(ranges(price("{'unit': 2}")) == "1 to end; ");
}

TEST_CASE("the bucket of a quantity is the tier that its explanation names") {
  for (const char* members :
       {"", ", 'included': 4", ", 'included': 12, 'rules': {'tiers_count': 'all'}",
        ", 'rules': {'bounds': 'exclusive'}", ", 'rules': {'fraction': 'up'}",
        ", 'rules': {'fraction': 'down'}", ", 'rules': {'fraction': 'lower_tier'}"}) {
    const Price tested = tiered("volume", members);
    std::vector<Int128> units;
    for (int tenth = 1; tenth < 400; ++tenth) {
      units.push_back(Decimal(tenth).units() / 10);
    }
    const Column column =
        Column::of_units(units.data(), static_cast<int64_t>(units.size()), nullptr);
    const std::vector<TierRange> found = tier_ranges(tested);
    std::vector<Int128> bounds;
    for (const TierRange& range : found) {
      if (range.last) bounds.push_back(range.last->units());
    }
    const auto buckets = buckets_of(tested, column, bounds);
    REQUIRE(buckets.ok());
    for (size_t i = 0; i < units.size(); ++i) {
      const Decimal quantity = *Decimal::from_units(units[i]);
      const Decimal seen = *tested.counted(quantity);
      if (seen.is_zero()) continue;  // no usage has a tier only for its flat price
      INFO(members << ": " << quantity.text());
      CHECK(found[(*buckets)[i]].tier == tier_explained(tested, quantity));
    }
  }
}

TEST_CASE("a quantity that has no tier names its row") {
  const Price tested = tiered("graduated", "");
  const std::vector<int64_t> wholes{1, -2};
  const Column column = Column::of_wholes(wholes.data(), 8, true, 2, nullptr);
  CHECK(buckets_of(tested, column, {}).error().message == "row 1: is below zero");
}
