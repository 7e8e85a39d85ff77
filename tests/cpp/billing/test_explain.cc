#include <array>
#include <random>

#include "prices.h"
#include "tenancy/billing/explain.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

std::string lines(const Price& price, const char* quantity) {
  const auto found = explain_price(price, dec(quantity));
  if (!found.ok()) return found.error().message;
  std::string text;
  for (const PriceLine& line : *found) {
    text += std::string(line_kind_name(line.kind)) + std::to_string(line.tier) + " " +
            line.quantity.text() + "x" + line.unit.text();
    if (line.packages) text += " in " + line.packages->text();
    text += " = " + line.amount.text() + "; ";
  }
  return text;
}

}  // namespace

TEST_CASE("an amount is explained tier by tier") {
  CHECK(lines(price(model("graduated",
                          "'tiers': [{'up_to': 5, 'unit': 7, 'flat': 1},"
                          " {'unit': 6}], 'included': 2, 'base_fee': 3")),
              "8") ==
        "included0 2x0 = 0; usage1 5x7 = 35; flat1 1x1 = 1; usage2 1x6 = 6; "
        "base_fee0 1x3 = 3; ");
  CHECK(lines(price("{'model': 'package', 'unit': 5, 'package': 100, 'minimum': 20}"), "201") ==
        "usage1 201x5 in 3 = 15; minimum0 1x0 = 5; ");
  CHECK(lines(price("{'model': 'per_unit', 'unit': 0.335, 'currency': 'USD', 'maximum': 3.007,"
                    " 'rules': {'round_at': 'charge'}}"),
              "10") == "usage1 10x0.335 = 3.35; maximum0 1x0 = -0.343; rounding0 1x0 = 0.003; ");
  CHECK(lines(price("{'model': 'percentage', 'rate': 1, 'fixed': 0.1, 'maximum_per_event': 2}"),
              "500") == "usage1 500x0.01 = 5; fixed1 1x0.1 = 0.1; maximum0 1x0 = -3.1; ");
}

TEST_CASE("the lines sum to the amount for every model and rule") {
  constexpr std::array kModels{"graduated", "volume",  "stairstep",
                               "per_unit",  "package", "percentage"};
  constexpr std::array kRules{
      "'zero_usage': 'free'",       "'fraction': 'up'",     "'fraction': 'lower_tier'",
      "'bounds': 'exclusive'",      "'tiers_count': 'all'", "'package_rounding': 'exact'",
      "'package_rounding': 'down'", "'negative': 'credit'", "'negative': 'zero'",
      "'round_at': 'line'",         "'round_at': 'charge'", "'commitment': 'usage'",
      "'rounding': 'half_even'",    "'preset': 'killbill'"};
  std::mt19937_64 random(11);
  const auto number = [&random](int64_t most) {
    return Decimal::from_units(static_cast<int64_t>(random() % static_cast<uint64_t>(most)) *
                               (Decimal::kOne / 4))
        ->text();
  };
  for (int i = 0; i < 4000; ++i) {
    const std::string name = kModels[random() % kModels.size()];
    std::string members;
    if (name == "per_unit" || name == "package") {
      members = "'unit': " + number(50) + ", 'package': " + std::to_string(1 + random() % 7);
    } else if (name == "percentage") {
      members = "'rate': " + number(50) + ", 'fixed': " + number(4);
      if (random() % 2 == 0) members += ", 'maximum_per_event': " + number(100);
      if (random() % 4 == 0) members += ", 'free_events': 1";
    } else {
      const bool units = name != "stairstep";
      const auto tier = [&] {
        std::string text = "'flat': " + number(20);
        if (units) text += ", 'unit': " + number(50);
        if (units && random() % 2 == 0) text += ", 'package': " + std::to_string(1 + random() % 4);
        return text;
      };
      members = "'tiers': [{'up_to': 5.5, " + tier() + "}, {'up_to': 20, " + tier() + "}, {" +
                tier() + "}]";
    }
    if (random() % 2 == 0) members += ", 'included': " + number(60);
    if (random() % 2 == 0) members += ", 'base_fee': " + number(20);
    if (random() % 3 == 0) members += ", 'minimum': " + number(50);
    if (random() % 3 == 0) members += ", 'maximum': 10" + number(50);
    members +=
        ", 'currency': 'JPY', 'rules': {" + std::string(kRules[random() % kRules.size()]) + "}";
    const Price tested = price(model(name.c_str(), members));
    for (int k = 0; k < 8; ++k) {
      Decimal quantity = dec(number(200));
      if (tested.def().rules.negative != NegativeUsage::kRefuse && random() % 2 == 0) {
        quantity = -quantity;
      }
      const Result<Decimal> amount = tested.amount(quantity);
      const auto explained = explain_price(tested, quantity);
      INFO(name << " " << members << " " << quantity.text());
      REQUIRE(amount.ok());
      REQUIRE(explained.ok());
      Decimal sum;
      for (const PriceLine& line : *explained) sum = *add(sum, line.amount);
      REQUIRE(sum.text() == amount->text());
    }
  }
}
