#include <algorithm>
#include <cstdlib>
#include <random>

#include "prices.h"
#include "tenancy/billing/samples.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

Amounts amounts_of(const std::vector<std::string>& texts) {
  Amounts amounts;
  amounts.length = static_cast<int64_t>(texts.size());
  amounts.units = allocate_units(amounts.length);
  for (size_t i = 0; i < texts.size(); ++i) amounts.units.get()[i] = dec(texts[i]).units();
  return amounts;
}

std::vector<std::string> texts_of(const Result<Amounts>& amounts) {
  if (!amounts.ok()) return {amounts.error().message};
  std::vector<std::string> result;
  for (int64_t i = 0; i < amounts->length; ++i) {
    result.push_back(Decimal::from_units(amounts->units.get()[i])->text());
  }
  return result;
}

using Texts = std::vector<std::string>;

}  // namespace

TEST_CASE("whole numbers count units of the digits that are named") {
  const int64_t values[] = {125, -7, INT64_MAX};
  CHECK(texts_of(amounts_of_wholes(values, 2)) == Texts{"1.25", "-0.07", "92233720368547758.07"});
  CHECK(texts_of(amounts_of_wholes(values, 0)).front() == "125");
  CHECK_FALSE(amounts_of_wholes(values, 13).ok());
  CHECK_FALSE(amounts_of_wholes(values, -1).ok());
}

TEST_CASE("sample s of a group is the sum of sample s of its rows") {
  const Amounts rows = amounts_of({"1", "2", "10", "20", "0.5", "-0.5"});
  const int64_t groups[] = {1, 0, 1};
  CHECK(texts_of(sum_rows(rows, 2, groups, 3)) == Texts{"10", "20", "1.5", "1.5", "0", "0"});
  const int64_t wrong[] = {1, 3, 1};
  CHECK(sum_rows(rows, 2, wrong, 3).error().message == "row 1: no such group");
  CHECK_FALSE(sum_rows(rows, 2, std::span(groups, 2), 3).ok());
  CHECK_FALSE(sum_rows(rows, 4, groups, 3).ok());
  const std::string most = Decimal::max().text();
  const int64_t one[] = {0, 0};
  CHECK(sum_rows(amounts_of({most, "1"}), 1, one, 1).error().code == Code::kOutOfRange);
  CHECK(sum_rows(amounts_of({most, most}), 1, one, 1).error().code == Code::kOutOfRange);
}

TEST_CASE("a quantile is the smallest sample that so many are not above") {
  const Amounts row = amounts_of({"5", "1", "4", "2", "3"});
  const double levels[] = {0, 0.2, 0.21, 0.5, 0.8, 1};
  CHECK(texts_of(row_quantiles(row, 5, levels)) == Texts{"1", "1", "2", "3", "4", "5"});
  const double falling[] = {0.5, 0.2};
  CHECK_FALSE(row_quantiles(row, 5, falling).ok());
  const double beyond[] = {1.5};
  CHECK_FALSE(row_quantiles(row, 5, beyond).ok());
}

TEST_CASE("quantiles, means and counts of generated rows are those of the sorted rows") {
  std::mt19937_64 source(11);
  for (int round = 0; round < 200; ++round) {
    const auto samples = static_cast<int64_t>(source() % 40 + 1);
    std::vector<int64_t> values(static_cast<size_t>(samples));
    for (int64_t& value : values) value = static_cast<int64_t>(source() % 21) - 10;
    const Amounts row = *amounts_of_wholes(values, 12);
    const int64_t threshold[] = {static_cast<int64_t>(source() % 21) - 10};
    const auto above = std::ranges::count_if(values, [&](int64_t v) { return v > threshold[0]; });
    CHECK(row_counts_above(row, samples, *amounts_of_wholes(threshold, 12))->front() == above);
    int64_t sum = 0;
    for (const int64_t value : values) sum += value;
    const int64_t size = 2 * std::abs(sum) + samples;
    const int64_t mean = (sum < 0 ? -1 : 1) * (size / (2 * samples));
    CHECK(static_cast<int64_t>(row_means(row, samples)->units.get()[0]) == mean);
    std::ranges::sort(values);
    const double levels[] = {0.1, 0.25, 0.5, 0.9};
    const Amounts found = *row_quantiles(row, samples, levels);
    for (size_t k = 0; k < 4; ++k) {
      const auto quantile = static_cast<int64_t>(found.units.get()[k]);
      const auto not_above = [&](int64_t most) {
        return static_cast<double>(
            std::ranges::count_if(values, [&](int64_t v) { return v <= most; }));
      };
      CHECK(not_above(quantile) >= levels[k] * static_cast<double>(samples) - 1e-6);
      CHECK(not_above(quantile - 1) < levels[k] * static_cast<double>(samples));
    }
  }
}

TEST_CASE("samples without a value, and rows that are not whole, are refused") {
  Amounts row = amounts_of({"1", "2", "3"});
  CHECK(row_means(row, 2).error().message == "3 amounts are no whole rows of 2 samples");
  row.null_count = 1;
  CHECK_FALSE(row_means(row, 3).ok());
  CHECK_FALSE(row_counts_above(amounts_of({"1"}), 1, amounts_of({"1", "2"})).ok());
}

TEST_CASE("amounts are added element by element") {
  CHECK(texts_of(sum_of_both(amounts_of({"1", "-2"}), amounts_of({"0.5", "2"}))) ==
        Texts{"1.5", "0"});
  CHECK_FALSE(sum_of_both(amounts_of({"1"}), amounts_of({"1", "2"})).ok());
  const std::string most = Decimal::max().text();
  CHECK_FALSE(sum_of_both(amounts_of({most}), amounts_of({"1"})).ok());
  CHECK_FALSE(sum_of_both(amounts_of({most}), amounts_of({most})).ok());
}

TEST_CASE("the nearest double of an amount") {
  CHECK(nearest_double(dec("0.1").units()) == 0.1);
  CHECK(nearest_double(dec("-12345678.25").units()) == -12345678.25);
  CHECK(nearest_double(0) == 0.0);
  // Rounding the whole part and the rest one after the other gives the neighbour of this one.
  CHECK(nearest_double(dec("1.82").units()) == 1.82);
  std::mt19937_64 random(20260101);
  for (int i = 0; i < 200'000; ++i) {
    const Int128 wide = (Int128{static_cast<int64_t>(random() >> 2)} << 64) + Int128(random());
    const Int128 units = (wide >> (random() % 127)) % Decimal::kUnitsMax;
    const std::string digits = Decimal::from_units(random() % 2 == 0 ? units : -units)->text();
    INFO(digits);
    REQUIRE(nearest_double(dec(digits).units()) == std::strtod(digits.c_str(), nullptr));
  }
}
