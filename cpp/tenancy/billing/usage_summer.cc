#include "tenancy/billing/usage_summer.h"

#include <algorithm>

namespace tenancy {

namespace {

constexpr size_t kShownMax = 60;

Error event_error(Code code, int64_t index, const std::string& message) {
  return {code, "event " + std::to_string(index) + ": " + message};
}

Status bad_code(int64_t index) {
  return event_error(Code::kInvalidArgument, index, "its code is not in the dictionary");
}

// Whether all values are from 0 to `most`. Signs alone are looked at: vector units without a 64-bit
// comparison can do that.
bool all_within(const int64_t* values, int64_t count, int64_t most) {
  int64_t signs = 0;
  for (int64_t i = 0; i < count; ++i) signs |= values[i] | (most - (values[i] & INT64_MAX));
  return signs >= 0;
}

}  // namespace

UsageSummer::UsageSummer(const UsageEvents& events, int64_t direct)
    : events_(events),
      metrics_(static_cast<int64_t>(events.metric_names.size())),
      direct_(direct),
      tables_(periods_of(events)) {
  for (size_t i = 0; i < events.metric_names.size(); ++i) {
    names_.emplace(events.metric_names[i], static_cast<int64_t>(i));
  }
  wide_ = events.quantities != nullptr && events.quantities->kind() == Column::Kind::kDecimal;
}

Status UsageSummer::run(int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t count = std::min(kBlock, end - at);
    Status status = read_metrics(at, count);
    if (status.ok()) status = read_periods(at, count);
    if (status.ok()) status = read_quantities(at, count);
    if (status.ok()) status = read_tenants(at, count);
    if (!status.ok()) return status;
    if (groups_needed() * tables_.size() > kGroupsMax) {
      return event_error(Code::kOutOfRange, at,
                         "so many tenants, metrics and periods are too many sums at once; take "
                         "longer periods or fewer tenants");
    }
    plan_ahead(at + count, std::min(kBlock, end - at - count), count);
    wide_ ? add_wide(count) : add(count);
  }
  return {};
}

// The columns of the next block come to memory while this one is summed.
void UsageSummer::plan_ahead(int64_t at, int64_t next, int64_t count) {
  ahead_.plan(count / kEventsPerStep);
  for (const Column* column :
       {events_.metrics, events_.tenants, events_.quantities, events_.times}) {
    if (column == nullptr || next <= 0) continue;
    for (const std::span<const char> bytes : column->memory_at(at, next)) ahead_.add(bytes);
  }
}

std::vector<UsageSummer::Tenant> UsageSummer::tenants() const {
  std::vector<Tenant> tenants;
  for (size_t i = 0; i < direct_used_; ++i) tenants.push_back({static_cast<int64_t>(i), {}, i});
  const size_t first = static_cast<size_t>(direct_);
  for (size_t i = 0; i < numbers_.ids().size(); ++i) {
    tenants.push_back({numbers_.ids()[i], {}, first + i});
  }
  for (size_t i = 0; i < texts_.ids().size(); ++i) tenants.push_back({0, texts_.ids()[i], i});
  if (!numbers_.ids().empty()) std::ranges::sort(tenants, {}, &Tenant::number);
  if (!texts_.ids().empty()) std::ranges::sort(tenants, {}, &Tenant::text);
  return tenants;
}

// --- metrics

Status UsageSummer::read_metrics(int64_t at, int64_t count) {
  metric_ = metric_block_.data();
  one_metric_ = events_.metrics == nullptr || events_.metrics->repeats(at, count);
  if (events_.metrics != nullptr) return read_each_metric(at, one_metric_ ? 1 : count);
  metric_block_.front() = 0;
  return {};
}

Status UsageSummer::read_each_metric(int64_t at, int64_t count) {
  const Column& column = *events_.metrics;
  if (column.kind() == Column::Kind::kWhole) {
    metric_ = column.wholes_at(at, count);
    if (metric_ == nullptr) {
      column.read_codes(at, count, metric_block_.data());
      metric_ = metric_block_.data();
    }
    return check_metrics(at, count);
  }
  if (column.has_dictionary()) return read_metric_codes(at, count);
  column.read_texts(at, count, text_block_.data());
  for (int64_t i = 0; i < count; ++i) {
    const std::string_view name = text_block_[static_cast<size_t>(i)];
    const auto found = names_.find(name);
    if (found == names_.end()) return unknown_metric(at + i, name);
    metric_block_[static_cast<size_t>(i)] = found->second;
  }
  return {};
}

Status UsageSummer::check_metrics(int64_t at, int64_t count) const {
  if (all_within(metric_, count, metrics_ - 1)) return {};
  int64_t i = 0;
  while (metric_[i] >= 0 && metric_[i] < metrics_) ++i;
  return event_error(Code::kInvalidArgument, at + i,
                     "unknown metric " + std::to_string(metric_[i]) +
                         "; expected a position from 0 to " + std::to_string(metrics_ - 1));
}

Status UsageSummer::unknown_metric(int64_t index, std::string_view name) const {
  std::string known;
  for (const std::string& each : events_.metric_names) {
    known += (known.empty() ? "" : ", ") + each;
    if (known.size() > kShownMax) {
      known += ", …";
      break;
    }
  }
  return event_error(Code::kInvalidArgument, index,
                     "unknown metric \"" + std::string(name.substr(0, kShownMax)) +
                         "\"; prices are given for " + known);
}

// Codes of a dictionary are looked up once for each chunk, not once for each event.
Status UsageSummer::read_metric_codes(int64_t at, int64_t count) {
  const Column& column = *events_.metrics;
  column.read_codes(at, count, code_block_.data());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = at + i;
    if (index >= metric_codes_end_) {
      const std::vector<std::string_view> texts = column.dictionary_texts(index);
      metric_codes_.assign(texts.size(), -1);
      for (size_t k = 0; k < texts.size(); ++k) {
        const auto found = names_.find(texts[k]);
        if (found != names_.end()) metric_codes_[k] = found->second;
      }
      metric_codes_end_ = column.chunk_end(index);
    }
    const auto code = static_cast<uint64_t>(code_block_[static_cast<size_t>(i)]);
    if (code >= metric_codes_.size()) return bad_code(index);
    if (metric_codes_[code] < 0) {
      return unknown_metric(index, column.dictionary_texts(index)[code]);
    }
    metric_block_[static_cast<size_t>(i)] = metric_codes_[code];
  }
  return {};
}

// --- periods

Status UsageSummer::read_periods(int64_t at, int64_t count) {
  if (events_.times == nullptr) return {};
  const int64_t* time = events_.times->wholes_at(at, count);
  if (time == nullptr) {
    if (!events_.times->read_wholes(at, count, time_block_.data())) {
      return event_error(Code::kOutOfRange, at, "a time above 2^63 - 1 at it or after it");
    }
    time = time_block_.data();
  }
  // Most blocks lie in the period of the event before: one look at all of them, without a jump, and
  // at signs alone, as above.
  const auto begin = static_cast<uint64_t>(period_begin_);
  const uint64_t length = static_cast<uint64_t>(period_end_) - begin;
  const auto last = static_cast<int64_t>(std::min<uint64_t>(length, INT64_MAX)) - 1;
  int64_t signs = 0;
  for (int64_t i = 0; i < count; ++i) {
    const auto passed = static_cast<int64_t>(static_cast<uint64_t>(time[i]) - begin);
    signs |= passed | (last - (passed & INT64_MAX));
  }
  one_period_ = signs >= 0;
  if (one_period_) return {};
  for (int64_t i = 0; i < count; ++i) {
    if (time[i] < period_begin_ || time[i] >= period_end_) {
      const Status status = find_period(at + i, time[i]);
      if (!status.ok()) return status;
    }
    period_block_[static_cast<size_t>(i)] = period_;
  }
  return {};
}

Status UsageSummer::find_period(int64_t index, int64_t time) {
  const std::vector<int64_t>& starts = events_.period_starts;
  const auto end = std::ranges::upper_bound(starts, time);
  if (end == starts.begin() || end == starts.end()) {
    return event_error(Code::kInvalidArgument, index, "its time lies in none of the periods");
  }
  period_begin_ = *(end - 1);
  period_end_ = *end;
  period_ = end - starts.begin() - 1;
  return {};
}

// --- quantities

Status UsageSummer::read_quantities(int64_t at, int64_t count) {
  quantity_ = quantity_block_.data();
  if (events_.quantities == nullptr) {
    std::fill_n(quantity_block_.begin(), count, 1);
    return {};
  }
  const Column& column = *events_.quantities;
  if (!wide_) {
    quantity_ = column.wholes_at(at, count);
    if (quantity_ != nullptr) return {};
    quantity_ = quantity_block_.data();
    if (column.read_wholes(at, count, quantity_block_.data())) return {};
    widen();  // a number above 2^63 - 1
  }
  const int64_t bad = column.read_units(at, count, units_block_.data());
  if (bad < 0) return {};
  return event_error(Code::kOutOfRange, bad,
                     "expected a quantity below 10^26 of at most 12 digits after the point");
}

void UsageSummer::widen() {
  wide_ = true;
  for (Table& table : tables_) {
    table.wide.resize(table.groups.size());
    for (size_t i = 0; i < table.groups.size(); ++i) {
      table.wide[i] = {Int128{table.groups[i].sum} * Decimal::kOne, table.groups[i].events};
    }
    for (const auto& [at, sum] : table.spilled) table.wide[at].units += sum * Decimal::kOne;
    table.groups.clear();
    table.spilled.clear();
  }
}

// --- tenants

Status UsageSummer::read_tenants(int64_t at, int64_t count) {
  const Column& column = *events_.tenants;
  tenant_ = tenant_block_.data();
  if (column.kind() == Column::Kind::kWhole) {
    tenant_ = column.wholes_at(at, count);
    if (tenant_ == nullptr) {
      if (!column.read_wholes(at, count, tenant_block_.data())) return large_id(at, count);
      tenant_ = tenant_block_.data();
    }
    place_numbers(count);
    return {};
  }
  if (column.has_dictionary()) return read_tenant_codes(at, count);
  column.read_texts(at, count, text_block_.data());
  texts_.positions(text_block_.data(), count, 0, tenant_block_.data());
  return {};
}

// Ids are signed numbers of 64 bits; larger ones would come out negative.
Status UsageSummer::large_id(int64_t at, int64_t count) const {
  int64_t i = 0;
  while (i + 1 < count && tenant_block_[static_cast<size_t>(i)] >= 0) ++i;
  return event_error(Code::kOutOfRange, at + i, "a tenant above 2^63 - 1; give such ids as texts");
}

Status UsageSummer::read_tenant_codes(int64_t at, int64_t count) {
  const Column& column = *events_.tenants;
  column.read_codes(at, count, code_block_.data());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t index = at + i;
    if (index >= tenant_codes_end_) {
      const std::vector<std::string_view> texts = column.dictionary_texts(index);
      tenant_codes_.clear();
      for (const std::string_view text : texts) tenant_codes_.push_back(texts_.position(text));
      tenant_codes_end_ = column.chunk_end(index);
    }
    const auto code = static_cast<uint64_t>(code_block_[static_cast<size_t>(i)]);
    if (code >= tenant_codes_.size()) return bad_code(index);
    tenant_block_[static_cast<size_t>(i)] = tenant_codes_[code];
  }
  return {};
}

// Turns ids into positions.
void UsageSummer::place_numbers(int64_t count) {
  if (direct_ == 0) return look_up_numbers(count);
  int64_t signs = 0;
  int64_t bits = 0;  // all of them together are at least the largest id
  for (int64_t i = 0; i < count; ++i) {
    bits |= tenant_[i];
    signs |= direct_ - 1 - (tenant_[i] & INT64_MAX);
  }
  if ((signs | bits) >= 0) {
    const int64_t used = std::min(bits, direct_ - 1) + 1;
    direct_used_ = std::max(direct_used_, static_cast<size_t>(used));
    return;
  }
  // Where the first events are not from 0 on, none is: their table would be mostly gap.
  if (direct_used_ == 0 && numbers_.ids().empty()) {
    direct_ = 0;
    return look_up_numbers(count);
  }
  // Those that are not positions themselves are looked up together.
  int64_t others = 0;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t id = tenant_[i];
    const bool direct = static_cast<uint64_t>(id) < static_cast<uint64_t>(direct_);
    if (direct) direct_used_ = std::max(direct_used_, static_cast<size_t>(id) + 1);
    tenant_block_[static_cast<size_t>(i)] = id;
    code_block_[static_cast<size_t>(others)] = id;
    place_block_[static_cast<size_t>(others)] = static_cast<uint32_t>(i);
    others += direct ? 0 : 1;
  }
  numbers_.positions(code_block_.data(), others, direct_, code_block_.data());
  for (int64_t i = 0; i < others; ++i) {
    tenant_block_[place_block_[static_cast<size_t>(i)]] = code_block_[static_cast<size_t>(i)];
  }
  tenant_ = tenant_block_.data();
}

void UsageSummer::look_up_numbers(int64_t count) {
  numbers_.positions(tenant_, count, 0, tenant_block_.data());
  tenant_ = tenant_block_.data();
}

// --- sums

size_t UsageSummer::groups_needed() const {
  size_t positions = std::max(direct_used_, texts_.ids().size());
  if (!numbers_.ids().empty()) positions = static_cast<size_t>(direct_) + numbers_.ids().size();
  return positions * static_cast<size_t>(metrics_);
}

// The run of events of one period that begins there: its table, and where it ends.
UsageSummer::Run UsageSummer::run_at(int64_t begin, int64_t count) {
  if (one_period_) return {&tables_[static_cast<size_t>(period_)], count};
  const int64_t period = period_block_[static_cast<size_t>(begin)];
  int64_t end = begin + 1;
  while (end < count && period_block_[static_cast<size_t>(end)] == period) ++end;
  return {&tables_[static_cast<size_t>(period)], end};
}

void UsageSummer::add(int64_t count) {
  const size_t needed = groups_needed();
  for (int64_t i = 0; i < count;) {
    const Run run = run_at(i, count);
    Table& table = *run.table;
    if (table.groups.size() < needed) {
      table.groups.resize(std::max(needed, table.groups.size() * 2));
    }
    if (one_metric_) {
      add_run(&table, i, run.end, [metric = metric_[0]](int64_t) { return metric; });
    } else {
      add_run(&table, i, run.end, [this](int64_t event) { return metric_[event]; });
    }
    i = run.end;
  }
}

template <class MetricOf>
void UsageSummer::add_run(Table* table, int64_t begin, int64_t end, MetricOf metric_of) {
  Group* groups = table->groups.data();
  const int64_t* tenants = tenant_;
  const int64_t* quantities = quantity_;
  const int64_t metrics = metrics_;
  for (int64_t i = begin; i < end; ++i) {
    if (i % kEventsPerStep == 0) ahead_.step(i / kEventsPerStep);
    const int64_t at = tenants[i] * metrics + metric_of(i);
    Group& group = groups[at];
    ++group.events;
    if (__builtin_add_overflow(group.sum, quantities[i], &group.sum)) {
      spill(table, static_cast<size_t>(at), quantities[i]);
    }
  }
}

// The sum has wrapped: the true one moves aside, and summing begins again from 0.
void UsageSummer::spill(Table* table, size_t at, int64_t added) {
  int64_t& sum = table->groups[at].sum;
  const auto before =
      static_cast<int64_t>(static_cast<uint64_t>(sum) - static_cast<uint64_t>(added));
  table->spilled[at] += Int128{before} + added;
  sum = 0;
}

void UsageSummer::add_wide(int64_t count) {
  const size_t needed = groups_needed();
  for (int64_t i = 0; i < count;) {
    const Run run = run_at(i, count);
    Table& table = *run.table;
    if (table.wide.size() < needed) table.wide.resize(std::max(needed, table.wide.size() * 2));
    for (; i < run.end; ++i) {
      if (i % kEventsPerStep == 0) ahead_.step(i / kEventsPerStep);
      const int64_t metric = metric_[one_metric_ ? 0 : i];
      Sum& sum = table.wide[static_cast<size_t>(tenant_[i] * metrics_ + metric)];
      ++sum.events;
      if (__builtin_add_overflow(sum.units, units_block_[static_cast<size_t>(i)], &sum.units)) {
        overflowed_ = true;
      }
    }
  }
}

}  // namespace tenancy
