#include "tenancy/billing/usage_table.h"

#include <algorithm>
#include <optional>
#include <utility>

namespace tenancy {

namespace {

constexpr size_t kRowsMax = size_t{1} << 31;

class Builder {
 public:
  Builder(const UsageSums& sums, size_t metrics, size_t periods, UsageRows rows)
      : sums_(sums), metrics_(metrics), periods_(periods), rows_(rows) {}

  Result<UsageTable> build() {
    row_of_.reserve(sums_.tenants.size());
    table_.tenants.reserve(sums_.tenants.size());
    table_.periods.reserve(sums_.tenants.size());
    for (size_t begin = 0; begin < sums_.tenants.size();) {
      size_t end = begin;
      while (end < sums_.tenants.size() && sums_.tenants[end] == sums_.tenants[begin]) ++end;
      add_tenant(begin, end);
      if (table_.tenants.size() > kRowsMax) return out_of_range("the number of rows");
      begin = end;
    }
    fill();
    return std::move(table_);
  }

 private:
  // The sums [begin, end) of one tenant, which ascend by period.
  void add_tenant(size_t begin, size_t end) {
    const uint32_t first = rows_ == UsageRows::kAll ? 0 : sums_.periods[begin];
    const uint32_t last = rows_ == UsageRows::kAll || rows_ == UsageRows::kSince
                              ? static_cast<uint32_t>(periods_) - 1
                              : sums_.periods[end - 1];
    size_t at = begin;
    for (uint32_t period = first; period <= last; ++period) {
      const bool used = at < end && sums_.periods[at] == period;
      if (!used && rows_ == UsageRows::kUsed) continue;
      for (; at < end && sums_.periods[at] == period; ++at)
        row_of_.push_back(table_.tenants.size());
      table_.tenants.push_back(sums_.tenants[begin]);
      table_.periods.push_back(period);
    }
  }

  // Columns are whole numbers until a sum is none.
  void fill() {
    const size_t rows = table_.tenants.size();
    table_.metrics.resize(metrics_);
    for (UsageTable::MetricColumn& column : table_.metrics) column.wholes.assign(rows, 0);
    const Int128* units = sums_.quantities.units.get();
    for (size_t i = 0; i < row_of_.size(); ++i) {
      UsageTable::MetricColumn& column = table_.metrics[sums_.metrics[i]];
      if (!column.whole) continue;
      const std::optional<int64_t> whole = whole_of(units[i]);
      column.whole = whole.has_value();
      if (whole) column.wholes[row_of_[i]] = *whole;
    }
    for (size_t metric = 0; metric < metrics_; ++metric) {
      if (!table_.metrics[metric].whole) fill_units(metric, rows);
    }
  }

  void fill_units(size_t metric, size_t rows) {
    UsageTable::MetricColumn& column = table_.metrics[metric];
    column.wholes.clear();
    column.units.length = static_cast<int64_t>(rows);
    column.units.units = allocate_units(column.units.length);
    Int128* out = column.units.units.get();
    std::fill_n(out, rows, Int128{0});
    for (size_t i = 0; i < row_of_.size(); ++i) {
      if (sums_.metrics[i] == metric) out[row_of_[i]] = sums_.quantities.units.get()[i];
    }
  }

  const UsageSums& sums_;
  const size_t metrics_;
  const size_t periods_;
  const UsageRows rows_;
  std::vector<size_t> row_of_;  // of each sum
  UsageTable table_;
};

}  // namespace

Result<UsageTable> table_of(const UsageSums& sums, size_t metrics, size_t periods, UsageRows rows) {
  return Builder(sums, metrics, periods, rows).build();
}

}  // namespace tenancy
