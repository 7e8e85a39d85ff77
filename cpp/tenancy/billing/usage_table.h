// UsageTable: sums of usage as a price book takes them, one row for each tenant and period and one
// column for each metric.
//
// Ownership: owns what it holds. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/billing/aggregate.h"
#include "tenancy/billing/vector.h"

namespace tenancy {

// Which periods of a tenant are rows.
enum class UsageRows : uint8_t {
  kUsed = 0,  // those with events
  kSpan,      // from the first one with events to the last one with events
  kSince,     // from the first one with events to the end of all
  kAll,       // every one
};

struct UsageTable {
  struct MetricColumn {
    bool whole = true;            // all of them are whole numbers of 64 bits
    std::vector<int64_t> wholes;  // where `whole`
    Amounts units;                // where not
  };
  // Per row; tenants are positions in the sums.
  std::vector<uint32_t> tenants;
  std::vector<uint32_t> periods;
  std::vector<MetricColumn> metrics;
};

// kOutOfRange: more rows than 2^31.
Result<UsageTable> table_of(const UsageSums& sums, size_t metrics, size_t periods, UsageRows rows);

}  // namespace tenancy
