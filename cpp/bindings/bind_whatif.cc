// What the analyst's side needs natively: usage as a table, exact sums by group, tiers of
// quantities, and the replay of recorded traffic. Columns of numbers go to Python as bytes.
#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "frame_types.h"
#include "pricing_types.h"
#include "tenancy/base/civil.h"
#include "tenancy/billing/aggregate.h"
#include "tenancy/billing/row_parts.h"
#include "tenancy/billing/tiers.h"
#include "tenancy/billing/usage_table.h"
#include "tenancy/limits/replay.h"

namespace tenancy {
namespace {

template <class T>
py::bytes bytes_of(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

// A column of a frame, where it lies, or anything array-like.
Column column_in(const py::object& values, const char* field, ColumnUse use) {
  if (!py::isinstance<FrameColumn>(values)) return column_of(values, field, use);
  const auto& column = values.cast<const FrameColumn&>();
  using Kind = FrameColumn::Kind;
  if (column.kind != Kind::kInt && column.kind != Kind::kDecimal && column.kind != Kind::kText) {
    raise_invalid(field, {Code::kInvalidArgument, "expected whole numbers, decimals or texts"});
  }
  return column.column;
}

std::vector<int64_t> wholes_of(const py::object& values, const char* field) {
  const Column column = column_of(values, field, ColumnUse::kIds);
  if (const std::optional<int64_t> row = column.first_null()) {
    raise_invalid(field, {Code::kInvalidArgument, "row " + std::to_string(*row) + " has no value"});
  }
  std::vector<int64_t> wholes(static_cast<size_t>(column.length()));
  if (column.kind() != Column::Kind::kWhole ||
      !column.read_wholes(0, column.length(), wholes.data())) {
    raise_invalid(field, {Code::kInvalidArgument, "expected whole numbers of 64 bits"});
  }
  return wholes;
}

// --- times

// Where times lie, and how many nanoseconds they count by.
struct Times {
  Column column;
  int64_t unit_ns;
};

Times times_in(const py::object& values) {
  if (py::isinstance<FrameColumn>(values)) {
    const auto& column = values.cast<const FrameColumn&>();
    if (column.kind == FrameColumn::Kind::kTime) return {column.column, column.unit_ns};
  }
  raise_invalid("time", {Code::kInvalidArgument, "expected times"});
}

int64_t in_ns(int64_t time, int64_t unit_ns) {
  int64_t ns = 0;
  if (__builtin_mul_overflow(time, unit_ns, &ns)) {
    raise_invalid("time", out_of_range("a time outside of 1677 to 2262"));
  }
  return ns;
}

struct TimeRange {
  int64_t low = INT64_MAX;
  int64_t high = INT64_MIN;

  void add(int64_t time) {
    low = std::min(low, time);
    high = std::max(high, time);
  }
};

TimeRange range_of(const Column& times, int64_t begin, int64_t end) {
  constexpr int64_t kBlock = 4096;
  std::array<int64_t, kBlock> block;
  TimeRange range;
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t count = std::min(kBlock, end - at);
    const int64_t* time = times.wholes_at(at, count);
    if (time == nullptr) {
      times.read_wholes(at, count, block.data());
      time = block.data();
    }
    for (int64_t i = 0; i < count; ++i) range.add(time[i]);
  }
  return range;
}

// Of every `step`th time and the last one.
TimeRange sampled_range_of(const Column& times, int64_t step) {
  TimeRange range;
  int64_t time = 0;
  for (int64_t at = 0; at < times.length(); at += step) {
    times.read_wholes(at, 1, &time);
    range.add(time);
  }
  if (times.length() > 0) {
    times.read_wholes(times.length() - 1, 1, &time);
    range.add(time);
  }
  return range;
}

py::tuple range_in_ns(const TimeRange& range, int64_t unit_ns) {
  if (range.low > range.high) return py::make_tuple(0, 0);
  return py::make_tuple(in_ns(range.low, unit_ns), in_ns(range.high, unit_ns));
}

// The first and the last time, in nanoseconds; (0, 0) without any. With a step above 1 of some of
// them only.
py::tuple time_range(const py::object& values, int64_t step) {
  constexpr int64_t kPerThreadMin = 1'000'000;
  const Times times = times_in(values);
  if (step > 1) return range_in_ns(sampled_range_of(times.column, step), times.unit_ns);
  const RowParts parts = RowParts::of(times.column.length(), kPerThreadMin, kThreadsMax);
  std::vector<TimeRange> ranges(static_cast<size_t>(parts.count));
  {
    const py::gil_scoped_release release;
    for_each_part(parts, [&](int64_t part, int64_t begin, int64_t end) {
      ranges[static_cast<size_t>(part)] = range_of(times.column, begin, end);
    });
  }
  const TimeRange all{std::ranges::min(ranges, {}, &TimeRange::low).low,
                      std::ranges::max(ranges, {}, &TimeRange::high).high};
  return range_in_ns(all, times.unit_ns);
}

// Bounds on the scale of the times: the first count that is not before each.
std::vector<int64_t> on_scale(std::vector<int64_t> starts_ns, int64_t unit_ns) {
  for (int64_t& start : starts_ns) {
    start = start / unit_ns + (start % unit_ns > 0 ? 1 : 0);
  }
  return starts_ns;
}

UsageRows rows_named(std::string_view name) {
  if (name == "used") return UsageRows::kUsed;
  if (name == "span") return UsageRows::kSpan;
  if (name == "since") return UsageRows::kSince;
  if (name == "all") return UsageRows::kAll;
  raise_invalid("customers", {Code::kInvalidArgument,
                              "expected \"used\", \"span\", \"since\" or \"all\", got \"" +
                                  std::string(name) + "\""});
}

py::list ids_of(const UsageSums& sums) {
  py::list ids;
  for (const std::string& text : sums.tenant_texts) ids.append(to_str(text));
  for (const int64_t number : sums.tenant_numbers) ids.append(py::int_(number));
  return ids;
}

py::dict usage_table(const py::object& tenants, const py::object& times, const py::object& metrics,
                     const py::object& quantities, const py::list& names, const py::object& starts,
                     const py::str& customers) {
  const UsageRows which = rows_named(utf8_view(customers));
  UsageEvents events;
  for (const py::handle name : names) events.metric_names.emplace_back(utf8_view(name));
  const Times time = times_in(times);
  const Column& time_column = time.column;
  events.period_starts = on_scale(wholes_of(starts, "starts"), time.unit_ns);
  const Column tenant_column = column_in(tenants, "tenant", ColumnUse::kIds);
  std::optional<Column> metric_column;
  std::optional<Column> quantity_column;
  if (!metrics.is_none()) metric_column = column_in(metrics, "metric", ColumnUse::kIds);
  if (!quantities.is_none()) {
    quantity_column = column_in(quantities, "quantity", ColumnUse::kQuantities);
  }
  events.tenants = &tenant_column;
  events.times = &time_column;
  events.metrics = metric_column ? &*metric_column : nullptr;
  events.quantities = quantity_column ? &*quantity_column : nullptr;
  UsageSums sums;
  Result<UsageTable> table = [&]() -> Result<UsageTable> {
    const py::gil_scoped_release release;
    Result<UsageSums> summed = sum_usage(events, kThreadsMax);
    if (!summed.ok()) return summed.error();
    sums = std::move(summed).value();
    return table_of(sums, events.metric_names.size(), events.period_starts.size() - 1, which);
  }();
  const UsageTable made = value_or_invalid(std::move(table), "usage");
  py::list columns;
  for (const UsageTable::MetricColumn& column : made.metrics) {
    columns.append(column.whole ? py::object(bytes_of(column.wholes)) : py::cast(column.units));
  }
  py::dict result;
  result["ids"] = ids_of(sums);
  result["tenants"] = bytes_of(made.tenants);
  result["periods"] = bytes_of(made.periods);
  result["columns"] = columns;
  return result;
}

// --- periods

// Where the periods that touch [from_ns, to_ns] begin, and where the last of them ends.
py::list period_starts(const py::str& unit, const py::str& zone, int64_t from_ns, int64_t to_ns) {
  constexpr size_t kPeriodsMax = 1'000'000;
  const std::optional<PeriodUnit> found = period_unit_from_name(utf8_view(unit));
  if (!found) {
    raise_invalid("period", {Code::kInvalidArgument,
                             "expected minute, hour, day, week, month, quarter or year, got \"" +
                                 std::string(utf8_view(unit)) + "\""});
  }
  const TimeZone place = value_or_invalid(TimeZone::load(utf8_view(zone)), "zone");
  py::list starts;
  int64_t at_ns = start_of(*found, from_ns, place);
  starts.append(at_ns);
  while (at_ns <= to_ns) {
    const int64_t next_ns = next_start(*found, at_ns, place);
    if (next_ns <= at_ns || starts.size() > kPeriodsMax) {
      raise_invalid("period", out_of_range("the number of periods between first and last time"));
    }
    at_ns = next_ns;
    starts.append(at_ns);
  }
  return starts;
}

// --- tiers

py::list price_ranges(const py::object& price) {
  py::list result;
  for (const TierRange& range : tier_ranges(*price_of(price))) {
    result.append(
        py::make_tuple(range.tier, range.last ? to_decimal(*range.last) : py::object(py::none())));
  }
  return result;
}

py::bytes tier_buckets(const py::object& price, const py::object& quantities,
                       const py::list& bounds) {
  const Column column = column_of(quantities, "quantity", ColumnUse::kQuantities);
  std::vector<Int128> units;
  for (const py::handle bound : bounds) units.push_back(decimal_or_raise(bound, "bounds").units());
  return bytes_of(value_or_invalid(buckets_of(*price_of(price), column, units), "quantity"));
}

// --- amounts

py::bytes amounts_words(const Amounts& amounts) {
  return {reinterpret_cast<const char*>(amounts.units.get()),
          static_cast<size_t>(amounts.length) * sizeof(Int128)};
}

Amounts amounts_of_words(const py::bytes& words) {
  const std::string_view data(words);
  if (data.size() % sizeof(Int128) != 0) throw py::value_error("expected 16 bytes for each amount");
  Amounts amounts;
  amounts.length = static_cast<int64_t>(data.size() / sizeof(Int128));
  amounts.units = allocate_units(amounts.length);
  std::copy(data.begin(), data.end(), reinterpret_cast<char*>(amounts.units.get()));
  for (int64_t i = 0; i < amounts.length; ++i) {
    if (!Decimal::from_units(amounts.units.get()[i])) {
      raise_invalid("amounts", out_of_range("amount " + std::to_string(i)));
    }
  }
  return amounts;
}

// --- traffic

struct TrafficColumns {
  std::vector<uint32_t> keys;
  std::vector<int64_t> times_ns;
  std::vector<uint64_t> costs;
  size_t key_count;

  Traffic view() const { return {keys, times_ns, costs, key_count}; }
};

TrafficColumns read_traffic(const py::object& keys, size_t key_count, const py::object& times,
                            const py::object& costs) {
  TrafficColumns traffic;
  traffic.key_count = key_count;
  for (const int64_t key : wholes_of(keys, "tenant")) {
    traffic.keys.push_back(static_cast<uint32_t>(std::clamp<int64_t>(key, 0, UINT32_MAX)));
  }
  traffic.times_ns = wholes_of(times, "time");
  if (costs.is_none()) return traffic;
  for (const int64_t cost : wholes_of(costs, "cost")) {
    if (cost <= 0) {
      raise_invalid("cost", {Code::kInvalidArgument, "row " + std::to_string(traffic.costs.size()) +
                                                         ": expected a whole number above 0, got " +
                                                         std::to_string(cost)});
    }
    traffic.costs.push_back(static_cast<uint64_t>(cost));
  }
  return traffic;
}

template <class Get>
py::bytes replayed_column(const std::vector<Replayed>& replayed, Get get) {
  std::vector<int64_t> values;
  values.reserve(replayed.size());
  for (const Replayed& each : replayed) values.push_back(static_cast<int64_t>(each.*get));
  return bytes_of(values);
}

py::dict replayed_columns(const std::vector<Replayed>& replayed) {
  py::dict result;
  result["requests"] = replayed_column(replayed, &Replayed::requests);
  result["refused"] = replayed_column(replayed, &Replayed::refused);
  result["cost"] = replayed_column(replayed, &Replayed::cost);
  result["cost_refused"] = replayed_column(replayed, &Replayed::cost_refused);
  result["first_refusal_ns"] = replayed_column(replayed, &Replayed::first_refusal_ns);
  result["spell"] = replayed_column(replayed, &Replayed::spell);
  result["spell_begin_ns"] = replayed_column(replayed, &Replayed::spell_begin_ns);
  result["spell_end_ns"] = replayed_column(replayed, &Replayed::spell_end_ns);
  result["delayed"] = replayed_column(replayed, &Replayed::delayed);
  result["delay_max_ns"] = replayed_column(replayed, &Replayed::delay_max_ns);
  return result;
}

py::dict replay_by_limits(const py::list& policies, const py::object& keys, size_t key_count,
                          const py::object& times, const py::object& costs) {
  std::vector<LimitPolicy> limits;
  for (const py::handle policy : policies) limits.push_back(policy.cast<LimitPolicy>());
  const TrafficColumns traffic = read_traffic(keys, key_count, times, costs);
  Result<std::vector<Replayed>> replayed = [&] {
    const py::gil_scoped_release release;
    return replay_limits(limits, traffic.view());
  }();
  return replayed_columns(value_or_invalid(std::move(replayed), "traffic"));
}

py::dict replay_by_quota(uint64_t limit, const py::object& starts, const py::object& keys,
                         size_t key_count, const py::object& times, const py::object& costs) {
  const std::vector<int64_t> periods = wholes_of(starts, "starts");
  const TrafficColumns traffic = read_traffic(keys, key_count, times, costs);
  Result<std::vector<Replayed>> replayed = [&] {
    const py::gil_scoped_release release;
    return replay_quota(limit, periods, traffic.view());
  }();
  return replayed_columns(value_or_invalid(std::move(replayed), "traffic"));
}

}  // namespace

void bind_whatif(py::module_& module) {
  module.def("usage_table", &usage_table, py::arg("tenants"), py::arg("times"), py::arg("metrics"),
             py::arg("quantities"), py::arg("names"), py::arg("starts"), py::arg("customers"));
  module.def("time_range", &time_range, py::arg("times"), py::arg("step") = 1);
  module.def("period_starts", &period_starts, py::arg("unit"), py::arg("zone"), py::arg("from_ns"),
             py::arg("to_ns"));
  module.def("price_ranges", &price_ranges, py::arg("price"));
  module.def("tier_buckets", &tier_buckets, py::arg("price"), py::arg("quantities"),
             py::arg("bounds"));
  module.def("amounts_words", &amounts_words, py::arg("amounts"));
  module.def("amounts_of_words", &amounts_of_words, py::arg("words"));
  module.def("replay_limits", &replay_by_limits, py::arg("policies"), py::arg("keys"),
             py::arg("key_count"), py::arg("times"), py::arg("costs"));
  module.def("replay_quota", &replay_by_quota, py::arg("limit"), py::arg("starts"), py::arg("keys"),
             py::arg("key_count"), py::arg("times"), py::arg("costs"));
}

}  // namespace tenancy
