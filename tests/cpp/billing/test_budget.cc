#include "prices.h"
#include "tenancy/billing/budget.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

std::string buys(const Price& price, const char* budget, const char* step = "1") {
  const auto found = quantity_for(price, dec(budget), dec(step));
  if (!found.ok()) return found.error().message;
  return *found ? (*found)->text() : "no end";
}

}  // namespace

TEST_CASE("what a budget buys") {
  const Price tiered = price(model("graduated", kFourTiers));
  CHECK(buys(tiered, "0") == "0");
  CHECK(buys(tiered, "10") == "10000");
  CHECK(buys(tiered, "10.0015") == "10001");
  CHECK(buys(tiered, "532.0003") == "1000001");
  CHECK(buys(tiered, "0.0005", "0.25") == "0.5");
  CHECK(buys(price("0"), "0") == "no end");
  CHECK(buys(price("{'model': 'per_unit', 'unit': 1, 'maximum': 5}"), "5") == "no end");
  CHECK(buys(price("{'model': 'per_unit', 'unit': 1, 'maximum': 5}"), "4.5") == "4");
  CHECK(buys(price("{'model': 'package', 'unit': 5, 'package': 100, 'included': 7}"), "12") ==
        "207");
  CHECK(buys(price("{'model': 'per_unit', 'unit': 1, 'base_fee': 10}"), "9") ==
        "a budget of 9 does not pay for no usage, which costs 10");
  CHECK(buys(tiered, "1", "0") == "expected a step above 0, got 0");
}

TEST_CASE("a volume price: the largest quantity, though smaller ones may cost more") {
  const Price volume = price(model("volume", kFourTiers));
  CHECK(buys(volume, "9.9999") == "12499");  // 10,000 cost 10, 12,499 cost 9.9992
  const Price steps =
      price("{'model': 'stairstep', 'tiers': [{'up_to': 100, 'flat': 10}, {'flat': 80}]}");
  CHECK(buys(steps, "79") == "100");
  CHECK(buys(steps, "80") == "no end");
}

TEST_CASE("the answer is affordable and one step more is not, also where usage is rounded") {
  for (const char* fraction : {"exact", "up", "down", "half_up", "lower_tier"}) {
    for (const char* bounds : {"inclusive", "exclusive"}) {
      const Price tested =
          price(model("graduated",
                      "'tiers': [{'up_to': 5.5, 'unit': 3, 'flat': 1}, {'up_to': 9, 'unit': 2,"
                      " 'flat': 4}, {'unit': 1, 'package': 3}], 'rules': {'fraction': '" +
                          std::string(fraction) + "', 'bounds': '" + bounds + "'}"));
      for (int quarter = 4; quarter < 160; ++quarter) {
        const Decimal budget = *Decimal::from_units(Int128{quarter} * (Decimal::kOne / 4));
        const auto found = quantity_for(tested, budget, dec("0.25"));
        REQUIRE(found.ok());
        REQUIRE(found->has_value());
        INFO(fraction << " " << bounds << " " << budget.text() << " " << (*found)->text());
        REQUIRE(*tested.amount(**found) <= budget);
        for (int more = 1; more <= 8; ++more) {
          const Decimal next = *add(**found, *Decimal::from_units(more * (Decimal::kOne / 4)));
          REQUIRE(*tested.amount(next) > budget);
        }
      }
    }
  }
}
