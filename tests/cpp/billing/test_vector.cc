#include <algorithm>
#include <random>

#include "prices.h"
#include "tenancy/billing/vector.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

std::vector<std::string> texts(const Result<Amounts>& amounts) {
  if (!amounts.ok()) return {amounts.error().message};
  std::vector<std::string> result;
  for (int64_t i = 0; i < amounts->length; ++i) {
    result.push_back(amounts->is_null(i) ? "null"
                                         : Decimal::from_units(amounts->units.get()[i])->text());
  }
  return result;
}

}  // namespace

TEST_CASE("a column of any whole width, and of decimals") {
  const Price tiered = price(model("graduated", kFourTiers));
  const int16_t small[] = {0, 1, 10001};
  CHECK(texts(price_column(tiered, Column::of_wholes(small, 2, true, 3, nullptr), 1)) ==
        std::vector<std::string>{"0", "0.001", "10.0008"});
  const uint64_t large[] = {UINT64_MAX, 5};
  CHECK(texts(price_column(tiered, Column::of_wholes(large, 8, false, 2, nullptr), 1)) ==
        std::vector<std::string>{"5534023222113097.4845", "0.005"});
  const Int128 units[] = {dec("10000.5").units(), dec("0.5").units()};
  CHECK(texts(price_column(tiered, Column::of_units(units, 2, nullptr), 1)) ==
        std::vector<std::string>{"10.0004", "0.0005"});
  CHECK(texts(price_column(tiered, Column::of_wholes(small, 2, true, 0, nullptr), 2)).empty());
}

TEST_CASE("decimal128 of any scale; what does not fit is an error with its index") {
  ArrowSchema schema{};
  schema.format = "d:20,2";
  Result<Column> column = Column::of_schema(schema);
  REQUIRE(column.ok());
  const Int128 values[] = {12345, 50, 7};
  const uint8_t validity[] = {0b101};
  const void* buffers[] = {validity, values};
  ArrowArray array{};
  array.length = 3;
  array.null_count = 1;
  array.n_buffers = 2;
  array.buffers = buffers;
  REQUIRE(column->append(array, nullptr).ok());
  CHECK(texts(price_column(price("1"), *column, 1)) ==
        std::vector<std::string>{"123.45", "null", "0.07"});
  schema.format = "d:38,14";
  column = Column::of_schema(schema);
  const Int128 fine[] = {100, 250};
  buffers[1] = fine;
  array.length = 2;
  array.null_count = 0;
  REQUIRE(column->append(array, nullptr).ok());
  CHECK(texts(price_column(price("1"), *column, 1)) ==
        std::vector<std::string>{
            "element 1: expected a number below 10^26 of at most 12 digits after the point"});
  schema.format = "g";
  CHECK(
      Column::of_schema(schema).error().message ==
      "Arrow type \"g\" is binary floating point, which cannot hold most decimal numbers: cast to "
      "int64 or decimal128");
}

TEST_CASE("long columns by two threads are what single amounts are; the first error is told") {
  std::mt19937_64 random(3);
  std::vector<int64_t> quantities(300'001);
  for (int64_t& each : quantities) each = static_cast<int64_t>(random() >> (8 + random() % 50));
  const auto length = static_cast<int64_t>(quantities.size());
  for (const std::string& each :
       {model("graduated", kFourTiers), model("volume", kFourTiers), std::string("0.3"),
        std::string("{'model': 'package', 'unit': 5, 'package': 100}"),
        std::string("{'model': 'per_unit', 'unit': 0.001, 'minimum': 3, 'maximum': 1000}"),
        std::string("{'model': 'per_unit', 'unit': 0.001, 'currency': 'USD', 'rules': "
                    "{'round_at': 'charge'}}")}) {
    const Price tested = price(each);
    const auto amounts =
        price_column(tested, Column::of_wholes(quantities.data(), 8, true, length, nullptr), 2);
    INFO(each);
    REQUIRE(amounts.ok());
    for (int64_t i = 0; i < length; i += 97) {
      const Result<Decimal> single = tested.amount(Decimal(quantities[static_cast<size_t>(i)]));
      REQUIRE(amounts->units.get()[i] == single->units());
    }
  }
  quantities[200'000] = -7;
  quantities[299'000] = -8;
  const auto refused =
      price_column(price("1"), Column::of_wholes(quantities.data(), 8, true, length, nullptr), 2);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().message.starts_with("element 200000: expected a number from 0, got -7"));
}

TEST_CASE("a long column has the same units to the last bit by one, two and three threads") {
  std::mt19937_64 random(11);
  std::vector<int64_t> quantities(3'000'001);
  for (int64_t& each : quantities) each = static_cast<int64_t>(random() >> (8 + random() % 50));
  const auto length = static_cast<int64_t>(quantities.size());
  const Column column = Column::of_wholes(quantities.data(), 8, true, length, nullptr);
  for (const std::string& each : {model("graduated", kFourTiers), model("volume", kFourTiers)}) {
    const Price tested = price(each);
    const auto alone = price_column(tested, column, 1);
    INFO(each);
    REQUIRE(alone.ok());
    for (const unsigned threads : {2U, 3U, 7U}) {
      const auto shared = price_column(tested, column, threads);
      REQUIRE(shared.ok());
      CHECK(std::equal(alone->units.get(), alone->units.get() + length, shared->units.get()));
    }
  }
}

TEST_CASE("one tier, nine tiers and a hundred tiers") {
  std::string tiers;
  for (int i = 1; i < 100; ++i) {
    tiers += "{'up_to': " + std::to_string(i * 10) + ", 'unit': " + std::to_string(100 - i) + "}, ";
  }
  const Price many = price("{'tiers': [" + tiers + "{'unit': 1}]}");
  std::vector<int64_t> quantities;
  for (int64_t i = 0; i < 1100; ++i) quantities.push_back(i);
  const auto amounts =
      price_column(many, Column::of_wholes(quantities.data(), 8, true, 1100, nullptr), 1);
  REQUIRE(amounts.ok());
  for (int64_t i = 0; i < 1100; ++i) {
    REQUIRE(amounts->units.get()[i] == many.amount(Decimal(i))->units());
  }
  CHECK(sum_of(*amounts).has_value());
}
