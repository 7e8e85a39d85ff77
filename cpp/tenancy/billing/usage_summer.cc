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

// A number from the largest of them to the next power of two; none is negative.
int64_t about_largest(const int64_t* values, int64_t count) {
  int64_t bits = 0;
  for (int64_t i = 0; i < count; ++i) bits |= values[i];
  return bits;
}

}  // namespace

UsageSummer::UsageSummer(const UsageEvents& events, int64_t direct)
    : events_(events), metrics_(static_cast<int64_t>(events.metric_names.size())), direct_(direct) {
  for (size_t i = 0; i < events.metric_names.size(); ++i) {
    names_.emplace(events.metric_names[i], static_cast<int64_t>(i));
  }
  wide_ = events.quantities != nullptr && events.quantities->kind() == Column::Kind::kDecimal;
}

Status UsageSummer::run(int64_t begin, int64_t end) {
  for (int64_t at = begin; at < end; at += kBlock) {
    const int64_t count = std::min(kBlock, end - at);
    Status status = read_metrics(at, count);
    if (status.ok()) status = read_quantities(at, count);
    if (status.ok()) status = read_tenants(at, count);
    if (!status.ok()) return status;
    wide_ ? add_wide(count) : add(count);
  }
  return {};
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

UsageSummer::Sum UsageSummer::sum(size_t position, size_t metric) const {
  const size_t at = position * static_cast<size_t>(metrics_) + metric;
  if (wide_) return at < wide_groups_.size() ? wide_groups_[at] : Sum();
  if (at >= groups_.size()) return {};
  Int128 whole = groups_[at].sum;
  if (!spilled_.empty()) {
    const auto spilled = spilled_.find(at);
    if (spilled != spilled_.end()) whole += spilled->second;
  }
  return {whole * Decimal::kOne, groups_[at].events};
}

// --- metrics

Status UsageSummer::read_metrics(int64_t at, int64_t count) {
  metric_ = metric_block_.data();
  if (events_.metrics == nullptr) {
    std::fill_n(metric_block_.begin(), count, 0);
    return {};
  }
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
  wide_groups_.resize(groups_.size());
  for (size_t i = 0; i < groups_.size(); ++i) {
    wide_groups_[i] = {Int128{groups_[i].sum} * Decimal::kOne, groups_[i].events};
  }
  for (const auto& [at, sum] : spilled_) wide_groups_[at].units += sum * Decimal::kOne;
  groups_.clear();
  spilled_.clear();
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
  for (int64_t i = 0; i < count; ++i) {
    const auto k = static_cast<size_t>(i);
    tenant_block_[k] = texts_.position(text_block_[k]);
  }
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
  if (all_within(tenant_, count, direct_ - 1)) {
    const int64_t used = std::min(about_largest(tenant_, count), direct_ - 1) + 1;
    direct_used_ = std::max(direct_used_, static_cast<size_t>(used));
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const auto k = static_cast<size_t>(i);
    const int64_t id = tenant_[i];
    if (id >= 0 && id < direct_) {
      direct_used_ = std::max(direct_used_, static_cast<size_t>(id) + 1);
      tenant_block_[k] = id;
    } else {
      tenant_block_[k] = direct_ + numbers_.position(id);
    }
  }
  tenant_ = tenant_block_.data();
}

// --- sums

size_t UsageSummer::groups_needed() const {
  size_t positions = std::max(direct_used_, texts_.ids().size());
  if (!numbers_.ids().empty()) positions = static_cast<size_t>(direct_) + numbers_.ids().size();
  return positions * static_cast<size_t>(metrics_);
}

void UsageSummer::add(int64_t count) {
  const size_t needed = groups_needed();
  if (groups_.size() < needed) groups_.resize(std::max(needed, groups_.size() * 2));
  Group* groups = groups_.data();
  for (int64_t i = 0; i < count; ++i) {
    const int64_t at = tenant_[i] * metrics_ + metric_[i];
    Group& group = groups[at];
    ++group.events;
    if (__builtin_add_overflow(group.sum, quantity_[i], &group.sum)) {
      spill(static_cast<size_t>(at), quantity_[i]);
    }
  }
}

// The sum has wrapped: the true one moves aside, and summing begins again from 0.
void UsageSummer::spill(size_t at, int64_t added) {
  const auto before =
      static_cast<int64_t>(static_cast<uint64_t>(groups_[at].sum) - static_cast<uint64_t>(added));
  spilled_[at] += Int128{before} + added;
  groups_[at].sum = 0;
}

void UsageSummer::add_wide(int64_t count) {
  const size_t needed = groups_needed();
  if (wide_groups_.size() < needed) wide_groups_.resize(std::max(needed, wide_groups_.size() * 2));
  for (int64_t i = 0; i < count; ++i) {
    Sum& sum = wide_groups_[static_cast<size_t>(tenant_[i] * metrics_ + metric_[i])];
    ++sum.events;
    if (__builtin_add_overflow(sum.units, units_block_[static_cast<size_t>(i)], &sum.units)) {
      overflowed_ = true;
    }
  }
}

}  // namespace tenancy
