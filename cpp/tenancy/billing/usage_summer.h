// UsageSummer: sums a part of the usage events into groups of tenant, period and metric. Internal
// to this layer.
//
// Tenants get positions: ids from 0 to below `direct` are their own position, other numbers follow
// them in the order in which they come; where already the first ones are others, `direct` becomes
// 0. Texts are numbered from 0. Each period has a table of groups, of which a group is the position
// of the tenant x metrics + the metric: whether events come in the order of time or of tenants,
// those that follow each other lie close together.
//
// Sums are 64-bit whole numbers with the overflow kept aside, until a decimal or a number above
// 2^63 - 1 comes; from then on they are units of 1e-12 in 128 bits.
//
// Ownership: borrows the events. Thread safety: one thread.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tenancy/base/int128.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/aggregate.h"
#include "tenancy/billing/interner.h"
#include "tenancy/billing/number_interner.h"
#include "tenancy/billing/read_ahead.h"

namespace tenancy {

// 1 where the events have no times.
inline size_t periods_of(const UsageEvents& events) {
  return events.times == nullptr ? 1 : events.period_starts.size() - 1;
}

class UsageSummer {
 public:
  UsageSummer(const UsageEvents& events, int64_t direct);

  // Sums events [begin, end).
  Status run(int64_t begin, int64_t end);

  struct Sum {
    Int128 units = 0;  // of 1e-12
    uint64_t events = 0;
  };
  struct Tenant {
    int64_t number = 0;
    std::string_view text;
    size_t position = 0;
  };

  // Sorted by number or text.
  std::vector<Tenant> tenants() const;
  // Without events where the tenant has none. The units may lie outside a decimal.
  Sum sum(size_t position, size_t period, size_t metric) const;
  // Hints that the sums of this tenant are wanted soon.
  void prefetch(size_t position) const;
  // A sum has left 128 bits.
  bool overflowed() const { return overflowed_; }

 private:
  static constexpr int64_t kBlock = 1024;
  static constexpr int64_t kEventsPerStep = 8;           // of reading ahead: a line of numbers
  static constexpr size_t kGroupsMax = size_t{1} << 27;  // 2 GiB of them

  struct Group {
    int64_t sum = 0;
    uint64_t events = 0;
  };
  // The groups of one period.
  struct Table {
    std::vector<Group> groups;
    std::vector<Sum> wide;
    std::unordered_map<size_t, Int128> spilled;
  };

  Status read_metrics(int64_t at, int64_t count);
  Status read_each_metric(int64_t at, int64_t count);
  Status check_metrics(int64_t at, int64_t count) const;
  Status read_metric_codes(int64_t at, int64_t count);
  Status unknown_metric(int64_t index, std::string_view name) const;
  Status read_periods(int64_t at, int64_t count);
  Status find_period(int64_t index, int64_t time);
  Status read_quantities(int64_t at, int64_t count);
  Status read_tenants(int64_t at, int64_t count);
  Status read_tenant_codes(int64_t at, int64_t count);
  Status large_id(int64_t at, int64_t count) const;
  void place_numbers(int64_t count);
  void look_up_numbers(int64_t count);
  void widen();
  size_t groups_needed() const;
  void plan_ahead(int64_t at, int64_t next, int64_t count);
  void add(int64_t count);
  template <class MetricOf>
  void add_run(Table* table, int64_t begin, int64_t end, MetricOf metric_of);
  void add_wide(int64_t count);
  struct Run {
    Table* table;
    int64_t end;
  };
  Run run_at(int64_t begin, int64_t count);
  static void spill(Table* table, size_t at, int64_t added);

  const UsageEvents& events_;
  const int64_t metrics_;
  int64_t direct_;
  size_t direct_used_ = 0;
  bool wide_ = false;
  bool overflowed_ = false;
  std::unordered_map<std::string_view, int64_t> names_;
  NumberInterner numbers_;
  TextInterner texts_;
  std::vector<Table> tables_;
  // Positions of the codes of the dictionary in use, and where its chunk ends.
  std::vector<int64_t> metric_codes_;
  std::vector<int64_t> tenant_codes_;
  int64_t metric_codes_end_ = 0;
  int64_t tenant_codes_end_ = 0;
  // The period of the event before, and its ends.
  int64_t period_begin_ = 0;
  int64_t period_end_ = 0;
  int64_t period_ = 0;
  bool one_period_ = true;  // all of the block at hand, and period_block_ is not written
  ReadAhead ahead_;
  // The block at hand: each points into its array below, or into the column itself.
  bool one_metric_ = false;  // the first is that of all, and only it is written
  const int64_t* metric_ = nullptr;
  const int64_t* tenant_ = nullptr;
  const int64_t* quantity_ = nullptr;
  std::array<int64_t, kBlock> metric_block_;
  std::array<int64_t, kBlock> tenant_block_;
  std::array<int64_t, kBlock> quantity_block_;
  std::array<int64_t, kBlock> code_block_;
  std::array<uint32_t, kBlock> place_block_;  // where in the block
  std::array<int64_t, kBlock> time_block_;
  std::array<int64_t, kBlock> period_block_;  // written where the events have times
  std::array<Int128, kBlock> units_block_;
  std::array<std::string_view, kBlock> text_block_;
};

inline UsageSummer::Sum UsageSummer::sum(size_t position, size_t period, size_t metric) const {
  const Table& table = tables_[period];
  const size_t at = position * static_cast<size_t>(metrics_) + metric;
  if (wide_) return at < table.wide.size() ? table.wide[at] : Sum();
  if (at >= table.groups.size() || table.groups[at].events == 0) return {};
  Int128 whole = table.groups[at].sum;
  if (!table.spilled.empty()) {
    const auto spilled = table.spilled.find(at);
    if (spilled != table.spilled.end()) whole += spilled->second;
  }
  return {whole * Decimal::kOne, table.groups[at].events};
}

inline void UsageSummer::prefetch(size_t position) const {
  const size_t at = position * static_cast<size_t>(metrics_);
  for (const Table& table : tables_) {
    if (at < table.groups.size()) __builtin_prefetch(table.groups.data() + at);
  }
}

}  // namespace tenancy
