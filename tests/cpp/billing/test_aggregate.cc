#include <algorithm>
#include <array>
#include <map>
#include <random>

#include "prices.h"
#include "tenancy/billing/aggregate.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

struct Events {
  std::vector<int64_t> tenants;
  std::vector<int64_t> metrics;
  std::vector<int64_t> quantities;

  void add(int64_t tenant, int64_t metric, int64_t quantity) {
    tenants.push_back(tenant);
    metrics.push_back(metric);
    quantities.push_back(quantity);
  }
};

Column column(const std::vector<int64_t>& values) {
  return Column::of_wholes(values.data(), 8, true, static_cast<int64_t>(values.size()), nullptr);
}

std::string rows(const Result<UsageSums>& sums) {
  if (!sums.ok()) return sums.error().message;
  std::string text;
  for (size_t i = 0; i < sums->metrics.size(); ++i) {
    text += sums->tenant_text(i);
    text += "/" + std::to_string(sums->metrics[i]) + " " + std::to_string(sums->events[i]) + ": " +
            Decimal::from_units(sums->quantities.units.get()[i])->text() + "; ";
  }
  return text;
}

Result<UsageSums> sum(const Events& events, unsigned threads = 2) {
  const Column tenants = column(events.tenants);
  const Column metrics = column(events.metrics);
  const Column quantities = column(events.quantities);
  return sum_usage({&tenants, &metrics, &quantities, {"a", "b", "c"}}, threads);
}

}  // namespace

TEST_CASE("sums by tenant and metric, sorted; no row without events") {
  Events events;
  events.add(7, 1, 5);
  events.add(3, 0, 2);
  events.add(7, 1, 6);
  events.add(7, 0, 0);
  events.add(-4, 2, 9);
  events.add(INT64_MAX, 2, 1);
  CHECK(rows(sum(events)) ==
        "-4/2 1: 9; 3/0 1: 2; 7/0 1: 0; 7/1 2: 11; 9223372036854775807/2 1: 1; ");
  CHECK(rows(sum(Events())).empty());
}

TEST_CASE("sums leave 64 bits without a loss, in both directions") {
  Events events;
  for (int i = 0; i < 5; ++i) events.add(1, 0, INT64_MAX);
  for (int i = 0; i < 3; ++i) events.add(2, 0, INT64_MIN);
  events.add(2, 0, -1);
  CHECK(rows(sum(events)) == "1/0 5: 46116860184273879035; 2/0 4: -27670116110564327425; ");
}

TEST_CASE("any order and any number of threads give the same sums as a map") {
  std::mt19937_64 random(5);
  for (const bool sparse : {false, true}) {
    Events events;
    std::map<std::pair<int64_t, int64_t>, std::pair<uint64_t, int64_t>> model;
    for (int i = 0; i < 250'000; ++i) {
      auto tenant = static_cast<int64_t>(random() % 3000);
      if (sparse) tenant = static_cast<int64_t>(static_cast<uint64_t>(tenant) * 0x9e3779b97f4a7c15);
      const auto metric = static_cast<int64_t>(random() % 3);
      const auto quantity = static_cast<int64_t>(random() % 1'000'000) - 100;
      events.add(tenant, metric, quantity);
      auto& [count, total] = model[{tenant, metric}];
      ++count;
      total += quantity;
    }
    std::string expected;
    for (const auto& [key, value] : model) {
      expected += std::to_string(key.first) + "/" + std::to_string(key.second) + " " +
                  std::to_string(value.first) + ": " + std::to_string(value.second) + "; ";
    }
    CHECK((rows(sum(events, 1)) == expected));
    CHECK((rows(sum(events, 2)) == expected));
    std::ranges::reverse(events.tenants);
    std::ranges::reverse(events.metrics);
    std::ranges::reverse(events.quantities);
    CHECK((rows(sum(events, 2)) == expected));
  }
}

TEST_CASE("texts as tenants and metrics, decimals as quantities, and counting") {
  const std::string bytes = "acmeglobexacme";
  const std::vector<int64_t> ends{0, 4, 10, 14};
  const Column tenants = Column::of_texts(ends.data(), bytes.data(), 3, nullptr);
  const std::string names = "bab";
  const std::vector<int64_t> name_ends{0, 1, 2, 3};
  const Column metrics = Column::of_texts(name_ends.data(), names.data(), 3, nullptr);
  const Int128 units[] = {dec("0.1").units(), dec("5").units(), dec("0.2").units()};
  const Column quantities = Column::of_units(units, 3, nullptr);
  CHECK(rows(sum_usage({&tenants, &metrics, &quantities, {"a", "b"}}, 2)) ==
        "acme/1 2: 0.3; globex/0 1: 5; ");
  CHECK(rows(sum_usage({&tenants, nullptr, nullptr, {"calls"}}, 2)) ==
        "acme/0 2: 2; globex/0 1: 1; ");
  CHECK(rows(sum_usage({&tenants, &metrics, nullptr, {"a", "c"}}, 2)) ==
        "event 0: unknown metric \"b\"; prices are given for a, c");
}

TEST_CASE("texts sum like the numbers they stand for, by any number of threads") {
  std::mt19937_64 random(9);
  Events events;
  std::string bytes;
  std::vector<int64_t> ends{0};
  for (int i = 0; i < 250'000; ++i) {
    // A hundred of each length; those above 24 bytes differ in the middle.
    const auto tenant = static_cast<int64_t>(random() % 4000);
    const auto length = static_cast<size_t>(4 + tenant / 100);
    std::string name(length, 'n');
    const std::string digits = std::to_string(1000 + tenant % 100);
    name.replace(length < 10 ? 0 : length / 2 - 2, digits.size(), digits);
    bytes += name;
    ends.push_back(static_cast<int64_t>(bytes.size()));
    events.add(tenant, static_cast<int64_t>(random() % 3), static_cast<int64_t>(random() % 1000));
  }
  const Column tenants = Column::of_texts(ends.data(), bytes.data(), 250'000, nullptr);
  const Column metrics = column(events.metrics);
  const Column quantities = column(events.quantities);
  const UsageEvents by_text{&tenants, &metrics, &quantities, {"a", "b", "c"}};
  const Result<UsageSums> one = sum_usage(by_text, 1);
  const Result<UsageSums> two = sum_usage(by_text, 2);
  CHECK((rows(one) == rows(two)));
  REQUIRE(two.ok());
  CHECK(two->tenant_texts.size() == 4000);
  const Result<UsageSums> numbers = sum(events);
  REQUIRE(numbers.ok());
  // The same sums, if in another order.
  const auto sorted = [](const UsageSums& sums) {
    std::vector<std::pair<uint64_t, Int128>> all;
    for (size_t i = 0; i < sums.events.size(); ++i) {
      all.emplace_back(sums.events[i], sums.quantities.units.get()[i]);
    }
    std::ranges::sort(all);
    return all;
  };
  CHECK((sorted(*two) == sorted(*numbers)));
}

TEST_CASE("ids from 0 and others may come in any order") {
  for (const bool others_first : {false, true}) {
    Events events;
    for (int64_t i = 0; i < 3000; ++i) events.add(i % 7, 0, 1);
    for (int64_t i = 0; i < 3000; ++i) events.add(i % 2 == 0 ? i % 7 : -1 - i % 7, 0, 1);
    if (others_first) std::ranges::reverse(events.tenants);
    Result<UsageSums> sums = sum(events, 1);
    REQUIRE(sums.ok());
    CHECK(sums->tenant_numbers ==
          std::vector<int64_t>({-7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6}));
    uint64_t counted = 0;
    for (const uint64_t count : sums->events) counted += count;
    CHECK(counted == 6000);
    CHECK(rows(sums).starts_with("-7/0 214: 214; -6/0 214: 214; -5/0 214: 214; "));
  }
}

TEST_CASE("tenants, periods and metrics sum to the same by any number of threads") {
  std::mt19937_64 random(4);
  for (const bool dense : {true, false}) {
    Events events;
    std::vector<int64_t> times;
    constexpr int64_t kCount = 400'000;
    for (int64_t i = 0; i < kCount; ++i) {
      // Half of the tenants come in one half of the events only; some have every period.
      const auto tenant = static_cast<int64_t>(random() % 300) + (i < kCount / 2 ? 0 : 150);
      const int64_t metric = i % 50'000 < 20'000 ? 1 : static_cast<int64_t>(random() % 3);
      events.add(dense ? tenant : tenant * 1'000'003 - 7, metric, static_cast<int64_t>(i));
      times.push_back(static_cast<int64_t>(random() % (tenant % 2 == 0 ? 40 : 400)) - 5);
    }
    const Column tenants = column(events.tenants);
    const Column metrics = column(events.metrics);
    const Column quantities = column(events.quantities);
    const Column when = column(times);
    const std::vector<int64_t> starts{-5, 0, 10, 100, 395};
    const UsageEvents usage{&tenants, &metrics, &quantities, {"a", "b", "c"}, &when, starts};
    std::map<std::array<int64_t, 3>, std::pair<uint64_t, int64_t>> model;
    for (size_t i = 0; i < times.size(); ++i) {
      const auto period = std::ranges::upper_bound(starts, times[i]) - starts.begin() - 1;
      auto& [count, total] = model[{events.tenants[i], period, events.metrics[i]}];
      ++count;
      total += events.quantities[i];
    }
    for (const unsigned threads : {1U, 2U, 3U}) {
      const Result<UsageSums> sums = sum_usage(usage, threads);
      REQUIRE(sums.ok());
      REQUIRE(sums->events.size() == model.size());
      size_t row = 0;
      for (const auto& [key, expected] : model) {
        CHECK(sums->tenant_numbers[sums->tenants[row]] == key[0]);
        CHECK(sums->periods[row] == key[1]);
        CHECK(sums->metrics[row] == key[2]);
        CHECK(sums->events[row] == expected.first);
        CHECK((sums->quantities.units.get()[row] == Int128{expected.second} * Decimal::kOne));
        ++row;
      }
    }
  }
}

TEST_CASE("what is wrong is told with its event") {
  Events events;
  events.add(1, 0, 1);
  events.add(1, 3, 1);
  CHECK(rows(sum(events)) == "event 1: unknown metric 3; expected a position from 0 to 2");
  events.metrics[1] = -1;
  CHECK(rows(sum(events)) == "event 1: unknown metric -1; expected a position from 0 to 2");
  events.metrics.pop_back();
  CHECK(rows(sum(events)) == "metrics: has 1 values, tenants has 2");
}

TEST_CASE("an id that would come out negative is refused") {
  const std::vector<uint64_t> ids{5, UINT64_MAX, 7};
  const Column tenants = Column::of_wholes(ids.data(), 8, false, 3, nullptr);
  CHECK(rows(sum_usage({&tenants, nullptr, nullptr, {"calls"}}, 1)) ==
        "event 1: a tenant above 2^63 - 1; give such ids as texts");
}

TEST_CASE("sums are priced, each by the price of its metric") {
  Events events;
  events.add(1, 0, 10001);
  events.add(1, 1, 3);
  events.add(2, 1, 4);
  const auto sums = sum(events);
  REQUIRE(sums.ok());
  const Price tiered = price(model("graduated", kFourTiers));
  const Price unit = price("0.5");
  const std::vector<const Price*> prices{&tiered, &unit, &unit};
  const std::vector<std::string> names{"a", "b", "c"};
  const auto amounts = price_sums(*sums, prices, names);
  REQUIRE(amounts.ok());
  CHECK(sum_of(*amounts)->text() == "13.5008");
  events.add(2, 1, -5);
  const auto negative = sum(events);
  REQUIRE(negative.ok());
  const auto refused = price_sums(*negative, prices, names);
  REQUIRE(!refused.ok());
  CAPTURE(refused.error().message);
  CHECK(refused.error().message.find("expected a number from 0, got -1") != std::string::npos);
  CHECK(refused.error().message.starts_with("tenant 2, metric b: "));
}
