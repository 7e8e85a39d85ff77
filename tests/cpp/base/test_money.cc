#include <random>
#include <string>

#include "catch.h"
#include "tenancy/base/money.h"

using namespace tenancy;

namespace {

Decimal dec(std::string_view text) { return *Decimal::parse(text); }

std::string parts(std::string_view amount, const std::vector<const char*>& weights, int digits) {
  std::vector<Decimal> read;
  for (const char* weight : weights) read.push_back(dec(weight));
  const Result<std::vector<Decimal>> shares = allocate(dec(amount), read, digits);
  if (!shares.ok()) return shares.error().message;
  std::string text;
  for (const Decimal share : *shares) text += (text.empty() ? "" : " ") + share.text();
  return text;
}

}  // namespace

TEST_CASE("minor units are those of ISO 4217") {
  CHECK(minor_digits("USD") == 2);
  CHECK(minor_digits("JPY") == 0);
  CHECK(minor_digits("KWD") == 3);
  CHECK(minor_digits("CLF") == 4);
  CHECK(minor_digits("HUF") == 2);  // CLDR says 0
  CHECK(minor_digits("ISK") == 0);
  for (const char* none : {"", "US", "usd", "USDX", "XAU", "XBC", "XTS", "SD ", "D U", "ABC"}) {
    INFO(none);
    CHECK_FALSE(minor_digits(none).has_value());
  }
  const std::vector<std::string_view> codes = currency_codes();
  CHECK(codes.size() > 150);
  for (size_t i = 1; i < codes.size(); ++i) CHECK(codes[i - 1] < codes[i]);
}

TEST_CASE("allocation: the parts sum to the whole, the largest remainder first") {
  CHECK(parts("100", {"1", "1", "1"}, 2) == "33.34 33.33 33.33");
  CHECK(parts("-100", {"1", "1", "1"}, 2) == "-33.34 -33.33 -33.33");
  CHECK(parts("0.05", {"3", "7"}, 2) ==
        "0.02 0.03");  // 1.5 and 3.5: equal remainders, earlier first
  CHECK(parts("10", {"0", "1"}, 0) == "0 10");
  CHECK(parts("1", {"0.5", "0.25", "0.25"}, 0) == "1 0 0");
  CHECK(parts("0", {"1", "2"}, 2) == "0 0");
  CHECK(parts("99999999999999999999999999", {"1e13", "2e13"}, 0) ==
        "33333333333333333333333333 66666666666666666666666666");
}

TEST_CASE("what cannot be allocated") {
  CHECK(parts("1", {}, 2) == "expected at least one weight");
  CHECK(parts("1", {"0", "0"}, 2) == "expected a weight above zero, all are zero");
  CHECK(parts("1", {"1", "-1"}, 2) == "a weight must not be negative, got -1");
  CHECK(parts("0.001", {"1"}, 2) == "expected a multiple of 0.01, got 0.001; round it first");
}

TEST_CASE("generated allocations sum, and no part is a step off its exact share") {
  std::mt19937_64 random(4217);
  for (int round = 0; round < 2'000; ++round) {
    const int digits = static_cast<int>(random() % 4);
    Int128 step = Decimal::kOne;
    for (int i = 0; i < digits; ++i) step /= 10;
    const Decimal amount =
        *Decimal::from_units(step * static_cast<int64_t>(random() % 2'000'000) - step * 1'000'000);
    std::vector<Decimal> weights(1 + random() % 9);
    Decimal total;
    for (Decimal& weight : weights) {
      weight = *Decimal::from_units(static_cast<int64_t>(random() % 5'000'000));
      total = *add(total, weight);
    }
    if (total.is_zero()) continue;
    const auto shares = allocate(amount, weights, digits);
    REQUIRE(shares.ok());
    Decimal sum;
    for (size_t i = 0; i < weights.size(); ++i) {
      sum = *add(sum, (*shares)[i]);
      const Decimal exact = *multiply_divide(amount, weights[i], total);
      REQUIRE(magnitude(subtract((*shares)[i], exact)->units()) <= static_cast<Uint128>(step));
    }
    REQUIRE(sum == amount);
  }
}

TEST_CASE("proration: exact, or by a fraction of so many digits") {
  const auto share = [](const char* amount, const char* part, const char* whole, int digits) {
    const Result<Decimal> result = prorate(dec(amount), dec(part), dec(whole), digits);
    return result.ok() ? result->text() : result.error().message;
  };
  CHECK(share("100", "14", "31", -1) == "45.161290322581");
  CHECK(share("100", "14", "31", 9) == "45.1612903");
  CHECK(share("100", "14", "31", 0) == "0");
  CHECK(share("-30", "1", "3", -1) == "-10");
  CHECK(share("5", "31", "31", 9) == "5");
  CHECK(share("5", "0", "31", -1) == "0");
  CHECK(share("1", "1", "0", -1) == "the whole period must be longer than 0, got 0");
  CHECK(share("1", "2", "1", -1) == "expected a part from 0 to 1, the whole period, got 2");
}
