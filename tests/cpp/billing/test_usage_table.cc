#include <algorithm>
#include <map>
#include <random>
#include <tuple>

#include "prices.h"
#include "tenancy/billing/usage_table.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

Column column(const std::vector<int64_t>& values) {
  return Column::of_wholes(values.data(), 8, true, static_cast<int64_t>(values.size()), nullptr);
}

struct Events {
  std::vector<int64_t> tenants;
  std::vector<int64_t> metrics;
  std::vector<int64_t> quantities;
  std::vector<int64_t> times;

  void add(int64_t tenant, int64_t time, int64_t metric, int64_t quantity) {
    tenants.push_back(tenant);
    times.push_back(time);
    metrics.push_back(metric);
    quantities.push_back(quantity);
  }
};

Result<UsageSums> sum(const Events& events, const std::vector<int64_t>& starts, unsigned threads) {
  const Column tenants = column(events.tenants);
  const Column metrics = column(events.metrics);
  const Column quantities = column(events.quantities);
  const Column times = column(events.times);
  return sum_usage({&tenants, &metrics, &quantities, {"a", "b"}, &times, starts}, threads);
}

// "tenant@period: a b; …"
std::string rows(const Events& events, const std::vector<int64_t>& starts, UsageRows which) {
  const Result<UsageSums> sums = sum(events, starts, 2);
  if (!sums.ok()) return sums.error().message;
  const auto table = table_of(*sums, 2, starts.size() - 1, which);
  REQUIRE(table.ok());
  std::string text;
  for (size_t i = 0; i < table->tenants.size(); ++i) {
    text += std::to_string(sums->tenant_numbers[table->tenants[i]]) + "@" +
            std::to_string(table->periods[i]) + ":";
    for (const UsageTable::MetricColumn& metric : table->metrics) {
      REQUIRE(metric.whole);
      text += " " + std::to_string(metric.wholes[i]);
    }
    text += "; ";
  }
  return text;
}

Events some() {
  Events events;
  events.add(7, 10, 0, 1);
  events.add(7, 39, 1, 2);
  events.add(7, 39, 1, 3);
  events.add(3, 20, 0, 4);
  events.add(7, 30, 0, 5);
  return events;
}

}  // namespace

TEST_CASE("a table has a row for each tenant and period with usage, or for those in between") {
  const std::vector<int64_t> starts{0, 10, 20, 30, 40, 50};
  CHECK(rows(some(), starts, UsageRows::kUsed) == "3@2: 4 0; 7@1: 1 0; 7@3: 5 5; ");
  CHECK(rows(some(), starts, UsageRows::kSpan) == "3@2: 4 0; 7@1: 1 0; 7@2: 0 0; 7@3: 5 5; ");
  CHECK(rows(some(), starts, UsageRows::kSince) ==
        "3@2: 4 0; 3@3: 0 0; 3@4: 0 0; 7@1: 1 0; 7@2: 0 0; 7@3: 5 5; 7@4: 0 0; ");
  CHECK(rows(some(), starts, UsageRows::kAll) ==
        "3@0: 0 0; 3@1: 0 0; 3@2: 4 0; 3@3: 0 0; 3@4: 0 0; "
        "7@0: 0 0; 7@1: 1 0; 7@2: 0 0; 7@3: 5 5; 7@4: 0 0; ");
  CHECK(rows(Events(), starts, UsageRows::kAll).empty());
}

TEST_CASE("a time outside the periods names its event") {
  CHECK(rows(some(), {0, 10, 20, 30, 39}, UsageRows::kUsed) ==
        "event 1: its time lies in none of the periods");
  CHECK(rows(some(), {11, 50}, UsageRows::kUsed) ==
        "event 0: its time lies in none of the periods");
  CHECK(rows(some(), {0}, UsageRows::kUsed) ==
        "times: expected whole numbers, and the starts of at least one period");
}

TEST_CASE("sums by tenant, period and metric are those of a map, in any order, by any threads") {
  const std::vector<int64_t> starts{0, 1000, 1500, 4000, 10'000};
  for (const bool by_time : {false, true}) {
    std::mt19937_64 random(3);
    std::map<std::tuple<int64_t, size_t, int64_t>, int64_t> model;
    std::vector<int64_t> times;
    for (int i = 0; i < 250'000; ++i) times.push_back(static_cast<int64_t>(random() % 10'000));
    if (by_time) std::ranges::sort(times);
    Events events;
    for (const int64_t time : times) {
      const auto tenant = static_cast<int64_t>(random() % 6000) - 10;
      const auto metric = static_cast<int64_t>(random() % 2);
      const auto quantity = static_cast<int64_t>(random() % 1000);
      size_t period = 0;
      while (starts[period + 1] <= time) ++period;
      model[{tenant, period, metric}] += quantity;
      events.add(tenant, time, metric, quantity);
    }
    for (const unsigned threads : {1U, 2U, 4U}) {
      const Result<UsageSums> sums = sum(events, starts, threads);
      REQUIRE(sums.ok());
      REQUIRE(sums->metrics.size() == model.size());
      size_t row = 0;
      bool equal = true;
      for (const auto& [key, total] : model) {
        const auto& [tenant, period, metric] = key;
        equal = equal && sums->tenant_numbers[sums->tenants[row]] == tenant &&
                sums->periods[row] == period && sums->metrics[row] == metric &&
                sums->quantities.units.get()[row] == Decimal(total).units();
        ++row;
      }
      CHECK(equal);
    }
  }
}

TEST_CASE("a metric with fractions comes as decimals, the other one as whole numbers") {
  const std::vector<Int128> units{dec("0.5").units(), dec("3").units()};
  const std::vector<int64_t> tenants{1, 1};
  const std::vector<int64_t> metrics{0, 1};
  const std::vector<int64_t> times{0, 0};
  const Column tenant = column(tenants);
  const Column metric = column(metrics);
  const Column time = column(times);
  const Column quantity = Column::of_units(units.data(), 2, nullptr);
  const auto sums = sum_usage({&tenant, &metric, &quantity, {"a", "b"}, &time, {0, 1}}, 1);
  REQUIRE(sums.ok());
  const auto table = table_of(*sums, 2, 1, UsageRows::kUsed);
  REQUIRE(table.ok());
  CHECK_FALSE(table->metrics[0].whole);
  CHECK(table->metrics[0].units.units.get()[0] == units[0]);
  CHECK(table->metrics[1].wholes == std::vector<int64_t>{3});
}
