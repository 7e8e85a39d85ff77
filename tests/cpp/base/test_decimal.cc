#include <array>
#include <random>
#include <string>

#include "catch.h"
#include "tenancy/base/decimal.h"
#include "tenancy/base/int128.h"

using namespace tenancy;

namespace {

Decimal dec(std::string_view text) {
  const Result<Decimal> parsed = Decimal::parse(text);
  if (!parsed.ok()) FAIL(text << ": " << parsed.error().message);
  return *parsed;
}

std::string text_of(const std::optional<Decimal>& value) {
  return value ? value->text() : "out of range";
}

constexpr std::string_view kLargest = "99999999999999999999999999.999999999999";
constexpr std::string_view kSmallest = "0.000000000001";

}  // namespace

TEST_CASE("decimal text: read exactly, written with the fewest digits") {
  for (const auto& [in, out] : std::initializer_list<std::pair<const char*, const char*>>{
           {"0", "0"},
           {"-0", "0"},
           {"0.000", "0"},
           {"0e999999999", "0"},
           {"12", "12"},
           {"+12", "12"},
           {"0012.50", "12.5"},
           {"-0.5", "-0.5"},
           {".5", "0.5"},
           {"5.", "5"},
           {"1e3", "1000"},
           {"1.25E-2", "0.0125"},
           {"1e25", "10000000000000000000000000"},
           {"0.0000000000010000", "0.000000000001"},
           {"18446744.073709551615", "18446744.073709551615"},
           {"18446744.073709551616", "18446744.073709551616"},
           {"-99999999999999999999999999.999999999999",
            "-99999999999999999999999999.999999999999"}}) {
    INFO(in);
    CHECK(dec(in).text() == out);
    CHECK(dec(dec(in).text()) == dec(in));
  }
  CHECK(dec(kLargest) == Decimal::max());
  CHECK(dec(kSmallest).units() == 1);
}

TEST_CASE("what is no decimal number") {
  for (const char* bad : {"",      " ",         "-",     "+",     ".",   "e5",       "1e",  "1e+",
                          "1.2.3", "1,5",       "1_000", " 1",    "1 ",  "0x10",     "NaN", "nan",
                          "inf",   "-Infinity", "sNaN",  "1e5.0", "--1", "\xd9\xa1", "1\n"}) {
    INFO(bad);
    const Result<Decimal> parsed = Decimal::parse(bad);
    REQUIRE_FALSE(parsed.ok());
    CHECK(parsed.error().code == Code::kInvalidArgument);
  }
  CHECK_FALSE(Decimal::parse(std::string_view("1\0", 2)).ok());
  CHECK_FALSE(Decimal::parse(std::string(201, '1')).ok());
}

TEST_CASE("a number is never rounded while it is read") {
  const Result<Decimal> fine = Decimal::parse("0.0000000000001");
  REQUIRE_FALSE(fine.ok());
  CHECK(fine.error().message ==
        "expected at most 12 digits after the point, got \"0.0000000000001\"; round it first");
  CHECK_FALSE(Decimal::parse("125e-14").ok());
  for (const char* large : {"1e26", "100000000000000000000000000", "1e999999999", "-1e27"}) {
    INFO(large);
    REQUIRE_FALSE(Decimal::parse(large).ok());
    CHECK(Decimal::parse(large).error().code == Code::kOutOfRange);
  }
}

TEST_CASE("sums and products outside the range are nothing") {
  CHECK(text_of(add(Decimal::max(), dec(kSmallest))) == "out of range");
  CHECK(text_of(add(Decimal::max(), Decimal::max())) == "out of range");
  CHECK(text_of(subtract(-Decimal::max(), Decimal::max())) == "out of range");
  CHECK(text_of(add(Decimal::max(), -Decimal::max())) == "0");
  CHECK(text_of(multiply(Decimal::max(), dec("1.000000000001"))) == "out of range");
  CHECK(text_of(multiply(Decimal::max(), Decimal(1))) == kLargest);
  CHECK(text_of(multiply(Decimal::max(), Decimal::max())) == "out of range");
  CHECK(text_of(multiply_divide(Decimal::max(), Decimal::max(), Decimal::max())) == kLargest);
  CHECK(text_of(multiply_divide(Decimal(1), Decimal(1), Decimal(0))) == "out of range");
}

TEST_CASE("products go through 256 bits and are rounded once") {
  // 2^63 + 1 units at the smallest price there is.
  CHECK(text_of(multiply(dec("9223372036854775809"), dec(kSmallest))) == "9223372.036854775809");
  CHECK(text_of(multiply(dec("1e25"), dec("1e-12"))) == "10000000000000");
  CHECK(text_of(multiply(dec("123456789012345678.9"), dec("7654321.000000000001"))) ==
        "944977892729766789386983.689012345679");  // …345 678 9: up at the twelfth digit
  CHECK(text_of(multiply(dec("0.000001"), dec("0.0000005"))) == "0.000000000001");
  CHECK(text_of(multiply(dec("0.000001"), dec("-0.0000005"))) == "-0.000000000001");
  CHECK(text_of(multiply(dec("0.000001"), dec("0.0000005"), Rounding::kHalfEven)) == "0");
}

TEST_CASE("rounding modes") {
  struct Row {
    const char* value;
    std::array<const char*, 7> rounded;  // in the order of the enum
  };
  // half_up, half_even, half_down, up, down, ceiling, floor
  for (const Row& row : std::initializer_list<Row>{
           {"0.125", {"0.13", "0.12", "0.12", "0.13", "0.12", "0.13", "0.12"}},
           {"-0.125", {"-0.13", "-0.12", "-0.12", "-0.13", "-0.12", "-0.12", "-0.13"}},
           {"0.135", {"0.14", "0.14", "0.13", "0.14", "0.13", "0.14", "0.13"}},
           {"0.120000000001", {"0.12", "0.12", "0.12", "0.13", "0.12", "0.13", "0.12"}},
           {"-0.129", {"-0.13", "-0.13", "-0.13", "-0.13", "-0.12", "-0.12", "-0.13"}},
           {"0.12", {"0.12", "0.12", "0.12", "0.12", "0.12", "0.12", "0.12"}}}) {
    for (size_t i = 0; i < row.rounded.size(); ++i) {
      const auto mode = static_cast<Rounding>(i);
      INFO(row.value << " " << rounding_name(mode));
      CHECK(text_of(round_to(dec(row.value), 2, mode)) == row.rounded[i]);
      CHECK(rounding_from_name(rounding_name(mode)) == mode);
    }
  }
  CHECK_FALSE(rounding_from_name("bankers").has_value());
  CHECK(text_of(round_to(Decimal::max(), 0, Rounding::kHalfUp)) == "out of range");
  CHECK(text_of(round_to(Decimal::max(), 0, Rounding::kDown)) == "99999999999999999999999999");
  CHECK(text_of(round_to_multiple(dec("7.26"), dec("0.05"), Rounding::kHalfUp)) == "7.25");
}

TEST_CASE("256-bit division undoes multiplication") {
  std::mt19937_64 random(20260101);
  const auto draw = [&random] {
    const Uint128 wide = (Uint128{random()} << 64) | random();
    return wide >> (random() % 128);
  };
  for (int i = 0; i < 20'000; ++i) {
    const Uint128 a = draw();
    const Uint128 b = draw() | 1;
    const Uint128 rest = draw() % b;
    Uint256 product = multiply_wide(a, b);
    product.low += rest;
    if (product.low < rest) ++product.high;
    const std::optional<Division> division = divide_wide(product, b);
    REQUIRE(division.has_value());
    REQUIRE((division->quotient == a && division->remainder == rest));
  }
  CHECK_FALSE(divide_wide({5, 0}, 5).has_value());
  CHECK(divide_wide({4, 0}, 5).has_value());
}
