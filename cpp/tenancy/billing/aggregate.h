// Sums usage events by tenant, period and metric, and prices the sums.
//
// The result does not depend on the order of the events. Sums are exact: 64-bit ones that overflow
// continue in 128 bits, and one past 10^26 is an error.
//
// Ownership: the result owns what it holds. Thread safety: pure functions; up to two threads work
// on one call, on halves of the events.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/billing/column.h"
#include "tenancy/billing/price.h"
#include "tenancy/billing/vector.h"

namespace tenancy {

struct UsageEvents {
  const Column* tenants = nullptr;  // whole numbers or texts
  const Column* metrics = nullptr;  // positions in `metric_names`, or those names; null = the one
  const Column* quantities = nullptr;  // whole numbers or decimals; null = 1 each (a count)
  std::vector<std::string> metric_names;
  const Column* times = nullptr;  // whole numbers; null = no periods
  // Ascending; period i lies from starts[i] to before starts[i + 1], so the last one is where the
  // last period ends.
  std::vector<int64_t> period_starts{};
};

// One row for every tenant, period and metric that has events, sorted by tenant, period and the
// position of the metric.
struct UsageSums {
  // The tenants that have events, once each: numbers or texts.
  bool tenants_are_texts = false;
  std::vector<int64_t> tenant_numbers;
  std::vector<std::string> tenant_texts;
  // Per row: the position of its tenant above, the period (0 without periods), the metric, how many
  // events.
  std::vector<uint32_t> tenants;
  std::vector<uint32_t> periods;
  std::vector<uint32_t> metrics;
  std::vector<uint64_t> events;
  Amounts quantities;

  std::string tenant_text(size_t row) const {
    const size_t at = tenants[row];
    return tenants_are_texts ? tenant_texts[at] : std::to_string(tenant_numbers[at]);
  }
};

// kInvalidArgument: lengths differ, a null, an unknown metric, a time outside the periods;
// kOutOfRange: a number that does not fit, too many periods for the tenants. Each names the first
// event it is about.
Result<UsageSums> sum_usage(const UsageEvents& events, unsigned threads);

// The amount of every row: prices[metric] of its quantity. `prices` are in the order of
// `metric_names`. The errors are those of Price::amount and name tenant and metric.
Result<Amounts> price_sums(const UsageSums& sums, std::span<const Price* const> prices,
                           std::span<const std::string> metric_names);

}  // namespace tenancy
