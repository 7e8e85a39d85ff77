#include <random>

#include "prices.h"

using namespace tenancy;
using namespace tenancy::test;

TEST_CASE("per unit: exact to the last digit") {
  const Price stamp = price("0.01");
  CHECK(amount(stamp, "0") == "0");
  CHECK(amount(stamp, "12345") == "123.45");
  CHECK(amount(stamp, "0.5") == "0.005");
  CHECK(amount(price("0.000000000001"), "9223372036854775809") == "9223372.036854775809");
  CHECK(amount(price("0"), "5") == "0");
}

TEST_CASE("graduated: each unit at the price of its tier") {
  const Price tiered = price(model("graduated", kFourTiers));
  CHECK(amount(tiered, "0") == "0");
  CHECK(amount(tiered, "1") == "0.001");
  CHECK(amount(tiered, "10000") == "10");
  CHECK(amount(tiered, "10001") == "10.0008");
  CHECK(amount(tiered, "100000") == "82");
  CHECK(amount(tiered, "1000000") == "532");
  CHECK(amount(tiered, "1000001") == "532.0003");
  CHECK(amount(tiered, "10000.5") == "10.0004");
}

TEST_CASE("volume: all units at the price of the tier that the total reaches") {
  const Price volume = price(model("volume", kFourTiers));
  CHECK(amount(volume, "10000") == "10");
  CHECK(amount(volume, "10001") == "8.0008");
  CHECK(amount(volume, "100000") == "80");
  CHECK(amount(volume, "1000001") == "300.0003");
}

TEST_CASE("stairstep: the flat price of the tier that the total reaches") {
  const Price steps = price(
      "{'model': 'stairstep', 'tiers': [{'up_to': 10000, 'flat': 10}, {'up_to': 100000, 'flat': "
      "80},"
      " {'up_to': 1000000, 'flat': 600}, {'flat': 5000}]}");
  CHECK(amount(steps, "0") == "10");
  CHECK(amount(steps, "10000") == "10");
  CHECK(amount(steps, "10000.000000000001") == "80");
  CHECK(amount(steps, "1000001") == "5000");
}

TEST_CASE("packages: started ones count in full, also inside a tier") {
  const Price package = price("{'model': 'package', 'unit': 5, 'package': 100, 'included': 100}");
  CHECK(amount(package, "100") == "0");
  CHECK(amount(package, "101") == "5");
  CHECK(amount(package, "201") == "10");
  const Price tiers = price(
      "{'tiers': [{'up_to': 1000, 'unit': 1, 'package': 100}, {'unit': 1, 'package': 1000}]}");
  CHECK(amount(tiers, "1") == "1");
  CHECK(amount(tiers, "1000") == "10");
  CHECK(amount(tiers, "5325") == "15");
  const auto rounding = [](const char* how) {
    return price(std::string("{'model': 'package', 'unit': 10, 'package': 60, 'rules': "
                             "{'package_rounding': '") +
                 how + "'}}");
  };
  CHECK(amount(rounding("up"), "150") == "30");
  CHECK(amount(rounding("down"), "150") == "20");
  CHECK(amount(rounding("half_up"), "150") == "30");
  CHECK(amount(rounding("half_up"), "149") == "20");
  CHECK(amount(rounding("exact"), "150") == "25");
  CHECK(amount(rounding("exact"), "1") == "0.166666666667");
}

TEST_CASE("a price per million is exact where it divides") {
  const Price tokens = price(
      "{'model': 'per_unit', 'unit': 0.15, 'package': 1000000, 'rules': "
      "{'package_rounding': 'exact'}}");
  CHECK(amount(tokens, "1") == "0.00000015");
  CHECK(amount(tokens, "12345678") == "1.8518517");
  CHECK(tokens.segments().back().package == Decimal(1));
}

TEST_CASE("zero usage: the first flat price is due, or nothing is, or nothing of a percentage") {
  const std::string tiers =
      "'tiers': [{'up_to': 5, 'unit': 5, 'flat': 10}, {'unit': 4, 'flat': 20}]";
  CHECK(amount(price(model("graduated", tiers)), "0") == "10");
  CHECK(amount(price(model("graduated", tiers + ", 'rules': {'zero_usage': 'free'}")), "0") == "0");
  CHECK(amount(price(model("graduated", tiers + ", 'rules': {'zero_usage': 'free'}")),
               "0.000000000001") == "10.000000000005");
  CHECK(amount(price(model("volume", tiers + ", 'rules': {'zero_usage': 'free'}")), "0") == "0");
  CHECK(amount(price(model("volume", tiers)), "6") == "44");
  const std::string rates = "'tiers': [{'rate': 1, 'flat': 10}]";
  const std::string rule = ", 'rules': {'zero_usage': 'free_percentage'}";
  CHECK(amount(price(model("graduated_percentage", rates)), "0") == "10");
  CHECK(amount(price(model("graduated_percentage", rates + rule)), "0") == "0");
  CHECK(amount(price(model("graduated_percentage", rates + rule)), "100") == "11");
  CHECK(amount(price(model("graduated", tiers + rule)), "0") == "10");
}

TEST_CASE("bounds and fractions between whole units") {
  const std::string tiers = "'tiers': [{'up_to': 5, 'unit': 7}, {'unit': 6, 'flat': 1}]";
  const auto with = [&](const char* model_name, const char* rules) {
    return price(model(model_name, tiers + ", 'rules': {" + rules + "}"));
  };
  CHECK(amount(with("volume", ""), "5") == "35");
  CHECK(amount(with("volume", "'bounds': 'exclusive'"), "5") == "31");
  CHECK(amount(with("graduated", "'bounds': 'exclusive'"), "5") == "36");
  CHECK(amount(with("graduated", "'bounds': 'exclusive'"), "4.999999999999") == "34.999999999993");
  CHECK(amount(with("graduated", ""), "5.5") == "39");
  CHECK(amount(with("graduated", "'fraction': 'up'"), "5.1") == "42");
  CHECK(amount(with("graduated", "'fraction': 'down'"), "5.9") == "35");
  CHECK(amount(with("graduated", "'fraction': 'half_up'"), "5.5") == "42");
  CHECK(amount(with("graduated", "'fraction': 'lower_tier'"), "5.5") == "38.5");
  CHECK(amount(with("volume", "'fraction': 'lower_tier'"), "5.999999999999") == "41.999999999993");
  CHECK(amount(with("volume", "'fraction': 'lower_tier'"), "6") == "37");
  CHECK(amount(with("volume", "'fraction': 'lower_tier', 'bounds': 'exclusive'"), "4.5") == "31.5");
  CHECK(amount(with("volume", "'fraction': 'lower_tier', 'bounds': 'exclusive'"), "5") == "31");
}

TEST_CASE("included units: tiers count paid units or all of them") {
  const std::string tiers =
      "'included': 8, 'tiers': [{'up_to': 5, 'unit': 7, 'flat': 1}, {'unit': 6, 'flat': 2}]";
  const std::string all = tiers + ", 'rules': {'tiers_count': 'all'}";
  const Price paid = price(model("graduated", tiers));
  CHECK(amount(paid, "0") == "1");
  CHECK(amount(paid, "8") == "1");
  CHECK(amount(paid, "9") == "8");
  CHECK(amount(paid, "14") == "44");  // 5 x 7 + 1, then 1 x 6 + 2
  const Price counted = price(model("graduated", all));
  CHECK(amount(counted, "8") == "2");
  CHECK(amount(counted, "9") == "8");
  CHECK(amount(price(model("volume", tiers)), "14") == "38");
  CHECK(amount(price(model("volume", all)), "14") == "38");
  CHECK(amount(price(model("volume", tiers)), "13") == "36");
  CHECK(amount(price(model("volume", all)), "13") == "32");
}

TEST_CASE("base fee, minimum and maximum") {
  const auto with = [](const char* members) {
    return price(std::string("{'model': 'per_unit', 'unit': 1, ") + members + "}");
  };
  CHECK(amount(with("'base_fee': 10"), "0") == "10");
  CHECK(amount(with("'base_fee': 10, 'minimum': 50"), "5") == "50");
  CHECK(amount(with("'base_fee': 10, 'maximum': 50"), "45") == "50");
  const char* usage =
      "'base_fee': 10, 'minimum': 50, 'maximum': 60, 'rules': {'commitment': 'usage'}";
  CHECK(amount(with(usage), "5") == "60");
  CHECK(amount(with(usage), "55") == "65");
  CHECK(amount(with(usage), "100") == "70");
}

TEST_CASE("rounding at the line, at the charge, or not") {
  const std::string tiers =
      "'currency': 'USD', 'tiers': [{'up_to': 3, 'unit': 0.335}, {'unit': 0.335}]";
  const auto with = [&](const char* rules) {
    return price(model("graduated", tiers + ", 'rules': {" + rules + "}"));
  };
  CHECK(amount(with(""), "4") == "1.34");
  CHECK(amount(with("'round_at': 'line'"), "4") == "1.35");  // 1.005 and 0.335: 1.01 and 0.34
  CHECK(amount(with("'round_at': 'charge'"), "3") == "1.01");
  CHECK(amount(with("'round_at': 'charge', 'rounding': 'half_even'"), "3") == "1");
  const Price yen = price(
      "{'model': 'per_unit', 'unit': 0.5, 'currency': 'JPY', 'rules': {'round_at': 'charge'}}");
  CHECK(amount(yen, "5") == "3");
}

TEST_CASE("negative quantities: refused, a credit, or no usage") {
  const std::string tiers = "'tiers': [{'up_to': 5, 'unit': 5, 'flat': 10}, {'unit': 4}]";
  CHECK(amount(price(model("graduated", tiers)), "-1") ==
        "expected a number from 0, got -1; the rule negative=\"credit\" prices it as a credit, "
        "\"zero\" as no usage");
  CHECK(amount(price(model("graduated", tiers + ", 'rules': {'negative': 'credit'}")), "-6") ==
        "-39");
  CHECK(amount(price(model("graduated", tiers + ", 'rules': {'negative': 'zero'}")), "-6") == "10");
}

TEST_CASE("percentages") {
  const Price card = price("{'model': 'percentage', 'rate': 2.9, 'fixed': 0.3}");
  CHECK(amount(card, "0") == "0");
  CHECK(amount(card, "50") == "1.75");
  CHECK(text(card.amount_of_volume(dec("150"), 3)) == "5.25");
  CHECK(text(card.amount_of_volume(dec("0"), 0)) == "0");
  CHECK(text(card.amount_of_volume(dec("1"), 0)) == "a volume of 1 cannot come from 0 events");
  const Price bounded = price(
      "{'model': 'percentage', 'rate': 2.99, 'minimum_per_event': 1.75, 'maximum_per_event': 12}");
  CHECK(text(bounded.amount_of_events(std::vector<Decimal>{dec("10"), dec("80"), dec("10000")})) ==
        "16.142");
  CHECK(text(bounded.amount_of_volume(dec("90"), 2)).starts_with("this price depends on the size"));
  CHECK(text(price("1").amount_of_volume(dec("1"), 1)) ==
        "only a percentage has events; leave the argument out");
  CHECK(text(card.amount_of_events(std::vector<Decimal>{dec("1"), dec("-1")})) ==
        "event 1: expected a volume from 0, got -1");
  const Price graduated = price(
      "{'model': 'graduated_percentage', 'tiers': [{'up_to': 1000, 'rate': 1, 'flat': 200},"
      " {'rate': 2, 'flat': 300}]}");
  CHECK(amount(graduated, "500") == "205");
  CHECK(text(graduated.amount_after(dec("550"), dec("500"))) == "306");
}

TEST_CASE("overflow is an error, not a wrapped number") {
  CHECK(amount(price("2"), "99999999999999999999999999") ==
        "the amount passes 10^26, the largest number that is kept exactly");
  std::vector<CatalogError> errors;
  const auto def = parse_price(
      *Json::parse(R"({"tiers": [{"up_to": 1e20, "unit": 1e20}, {"unit": 1}]})"), &errors);
  REQUIRE(def.has_value());
  CHECK(Price::make(*def).error().message ==
        "the price of the tiers together passes 10^26, the largest number that is kept exactly");
}

TEST_CASE("the table of whole quantities gives the same amounts as the segments") {
  std::mt19937_64 random(7);
  for (const std::string& each :
       {model("graduated", kFourTiers), model("volume", kFourTiers),
        model("graduated", std::string(kFourTiers) + ", 'included': 500, 'base_fee': 3"),
        model("volume", std::string(kFourTiers) + ", 'minimum': 20, 'maximum': 100"),
        std::string("{'model': 'package', 'unit': 5, 'package': 100, 'included': 7}"),
        std::string(
            "{'tiers': [{'up_to': 7, 'unit': 3, 'package': 2}, {'unit': 1, 'flat': 2}]}")}) {
    const Price tested = price(each);
    INFO(each);
    REQUIRE(tested.whole().quantity_max > 0);
    for (int i = 0; i < 3000; ++i) {
      const auto quantity = static_cast<int64_t>(random() >> (1 + random() % 63));
      const std::optional<Decimal> quick = tested.amount_of_whole(quantity);
      if (quantity > tested.whole().quantity_max) {
        CHECK_FALSE(quick.has_value());
        continue;
      }
      REQUIRE(quick.has_value());
      const Result<Decimal> slow = tested.amount(Decimal(quantity));
      REQUIRE(slow.ok());
      REQUIRE(*quick == *slow);
    }
    CHECK_FALSE(tested.amount_of_whole(-1).has_value());
  }
}
