#include "tenancy/billing/aggregate.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <span>
#include <utility>

#include "tenancy/billing/row_parts.h"
#include "tenancy/billing/usage_summer.h"

namespace tenancy {

namespace {

constexpr int64_t kPerThreadMin = 100'000;
// Small ids are positions themselves; the table of sums may then have gaps, so it stays small
// beside the events.
constexpr int64_t kDirectMin = 1 << 12;
constexpr int64_t kEventsPerDirectId = 32;

Error bad_columns(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

Status check_column(const Column& column, std::string_view name, int64_t length) {
  if (column.length() != length) {
    return bad_columns(std::string(name) + ": has " + std::to_string(column.length()) +
                       " values, tenants has " + std::to_string(length));
  }
  if (const std::optional<int64_t> index = column.first_null()) {
    return bad_columns("event " + std::to_string(*index) + ": " + std::string(name) +
                       " has no value; leave such events out");
  }
  return {};
}

Status check(const UsageEvents& events) {
  if (events.metric_names.empty()) return bad_columns("prices: expected at least one metric");
  const int64_t length = events.tenants->length();
  if (events.tenants->kind() == Column::Kind::kDecimal) {
    return bad_columns("tenants: expected whole numbers or texts, got decimals");
  }
  Status status = check_column(*events.tenants, "tenants", length);
  if (status.ok() && events.metrics != nullptr) {
    if (events.metrics->kind() == Column::Kind::kDecimal) {
      return bad_columns("metrics: expected texts or whole numbers, got decimals");
    }
    status = check_column(*events.metrics, "metrics", length);
  }
  if (status.ok() && events.quantities != nullptr) {
    if (events.quantities->kind() == Column::Kind::kText) {
      return bad_columns("quantities: expected whole numbers or decimals, got texts");
    }
    status = check_column(*events.quantities, "quantities", length);
  }
  if (status.ok() && events.times != nullptr) {
    if (events.times->kind() != Column::Kind::kWhole || events.period_starts.size() < 2) {
      return bad_columns("times: expected whole numbers, and the starts of at least one period");
    }
    status = check_column(*events.times, "times", length);
  }
  return status;
}

// One part of the events, summed, and its tenants in order.
struct Part {
  std::unique_ptr<UsageSummer> summer;
  std::vector<UsageSummer::Tenant> tenants;
  Status status;
};

std::vector<Part> sum_parts(const UsageEvents& events, unsigned threads) {
  const int64_t length = events.tenants->length();
  const auto periods = static_cast<int64_t>(periods_of(events));
  const int64_t direct = std::max(kDirectMin, length / kEventsPerDirectId / periods);
  const RowParts shares = RowParts::of(length, kPerThreadMin, threads);
  std::vector<Part> parts(static_cast<size_t>(shares.count));
  for_each_part(shares, [&](int64_t at, int64_t begin, int64_t end) {
    Part& part = parts[static_cast<size_t>(at)];
    part.summer = std::make_unique<UsageSummer>(events, direct);
    part.status = part.summer->run(begin, end);
    if (part.status.ok()) part.tenants = part.summer->tenants();
  });
  return parts;
}

bool before(const UsageSummer::Tenant& a, const UsageSummer::Tenant& b) {
  return a.number != b.number ? a.number < b.number : a.text < b.text;
}

// Some of the tenants of a part.
struct Slice {
  const UsageSummer* summer;
  std::span<const UsageSummer::Tenant> tenants;
};

// The tenants of all parts in `count` shares of about one size: those of a share come before those
// of the next one.
std::vector<std::vector<Slice>> slices_of(const std::vector<Part>& parts, size_t count) {
  const Part& longest =
      *std::ranges::max_element(parts, {}, [](const Part& part) { return part.tenants.size(); });
  std::vector<std::vector<Slice>> shares(count);
  for (const Part& part : parts) {
    auto begin = part.tenants.begin();
    for (size_t i = 0; i < count; ++i) {
      auto end = part.tenants.end();
      if (i + 1 < count) {
        const size_t place = longest.tenants.size() * (i + 1) / count;
        if (place < longest.tenants.size()) {
          end = std::lower_bound(begin, end, longest.tenants[place], before);
        }
      }
      shares[i].push_back({part.summer.get(), {begin, end}});
      begin = end;
    }
  }
  return shares;
}

// Walks the tenants of the parts in order and puts their sums together.
class Merger {
 public:
  Merger(const UsageEvents& events, std::vector<Slice> slices) : slices_(std::move(slices)) {
    metrics_ = events.metric_names.size();
    periods_ = periods_of(events);
    rows_.sums.tenants_are_texts = events.tenants->kind() == Column::Kind::kText;
    size_t most = 0;
    for (const Slice& slice : slices_) most = std::max(most, slice.tenants.size());
    most = std::min(most * metrics_ * periods_, static_cast<size_t>(events.tenants->length()));
    rows_.units.reserve(most);
    rows_.sums.tenants.reserve(most);
    rows_.sums.periods.reserve(most);
    rows_.sums.metrics.reserve(most);
    rows_.sums.events.reserve(most);
  }

  // Rows with the quantities beside them.
  struct Rows {
    UsageSums sums;
    std::vector<Int128> units;
    bool fits = true;
  };

  Rows merge() {
    while (const UsageSummer::Tenant* least = first()) {
      const UsageSummer::Tenant tenant = *least;
      take(tenant);
      const size_t rows = rows_.units.size();
      for (size_t period = 0; period < periods_; ++period) {
        for (size_t metric = 0; metric < metrics_; ++metric) add_row(period, metric);
      }
      if (rows_.units.size() > rows) add_tenant(tenant);
    }
    return std::move(rows_);
  }

 private:
  // The sums of a tenant lie in as many places as there are periods.
  static constexpr size_t kAhead = 4;

  struct Share {
    const UsageSummer* summer;
    size_t position;
  };

  const UsageSummer::Tenant* first() const {
    const UsageSummer::Tenant* least = nullptr;
    for (const Slice& slice : slices_) {
      if (slice.tenants.empty()) continue;
      const UsageSummer::Tenant* front = slice.tenants.data();
      if (least == nullptr || before(*front, *least)) least = front;
    }
    return least;
  }

  // What the parts have of this tenant, which is at the front of each that has something.
  void take(const UsageSummer::Tenant& tenant) {
    shares_.clear();
    for (Slice& slice : slices_) {
      if (slice.tenants.empty() || before(tenant, slice.tenants.front())) continue;
      if (kAhead < slice.tenants.size()) slice.summer->prefetch(slice.tenants[kAhead].position);
      shares_.push_back({slice.summer, slice.tenants.front().position});
      slice.tenants = slice.tenants.subspan(1);
    }
  }

  void add_row(size_t period, size_t metric) {
    Int128 units = 0;
    uint64_t events = 0;
    for (const Share& share : shares_) {
      const UsageSummer::Sum sum = share.summer->sum(share.position, period, metric);
      if (__builtin_add_overflow(units, sum.units, &units)) rows_.fits = false;
      events += sum.events;
    }
    if (events == 0) return;
    if (!Decimal::from_units(units)) rows_.fits = false;
    rows_.units.push_back(units);
    rows_.sums.tenants.push_back(tenants_);
    rows_.sums.periods.push_back(static_cast<uint32_t>(period));
    rows_.sums.metrics.push_back(static_cast<uint32_t>(metric));
    rows_.sums.events.push_back(events);
  }

  void add_tenant(const UsageSummer::Tenant& tenant) {
    ++tenants_;
    if (rows_.sums.tenants_are_texts) {
      rows_.sums.tenant_texts.emplace_back(tenant.text);
    } else {
      rows_.sums.tenant_numbers.push_back(tenant.number);
    }
  }

  std::vector<Slice> slices_;
  size_t metrics_ = 0;
  size_t periods_ = 0;
  uint32_t tenants_ = 0;
  std::vector<Share> shares_;
  Rows rows_;
};

template <class T>
void append(std::vector<T>* all, const std::vector<T>& more) {
  all->insert(all->end(), more.begin(), more.end());
}

// The rows of all shares, one after the other.
UsageSums joined(std::vector<Merger::Rows> shares) {
  UsageSums sums = std::move(shares.front().sums);
  int64_t length = 0;
  for (const Merger::Rows& share : shares) length += static_cast<int64_t>(share.units.size());
  sums.quantities.length = length;
  sums.quantities.units = allocate_units(length);
  Int128* units = std::ranges::copy(shares.front().units, sums.quantities.units.get()).out;
  for (size_t i = 1; i < shares.size(); ++i) {
    const UsageSums& more = shares[i].sums;
    const size_t tenants = sums.tenant_numbers.size() + sums.tenant_texts.size();
    for (const uint32_t tenant : more.tenants) {
      sums.tenants.push_back(static_cast<uint32_t>(tenants) + tenant);
    }
    append(&sums.tenant_numbers, more.tenant_numbers);
    append(&sums.tenant_texts, more.tenant_texts);
    append(&sums.periods, more.periods);
    append(&sums.metrics, more.metrics);
    append(&sums.events, more.events);
    units = std::ranges::copy(shares[i].units, units).out;
  }
  return sums;
}

Result<UsageSums> merged(const UsageEvents& events, const std::vector<Part>& parts) {
  std::vector<std::vector<Slice>> slices = slices_of(parts, parts.size());
  const auto count = static_cast<int64_t>(slices.size());
  std::vector<Merger::Rows> shares(slices.size());
  for_each_part(RowParts::of(count, 1, static_cast<unsigned>(count)),
                [&](int64_t at, int64_t, int64_t) {
                  const auto share = static_cast<size_t>(at);
                  shares[share] = Merger(events, std::move(slices[share])).merge();
                });
  for (const Merger::Rows& share : shares) {
    if (!share.fits) return out_of_range("the sum of the quantities of one tenant");
  }
  return joined(std::move(shares));
}

}  // namespace

Result<UsageSums> sum_usage(const UsageEvents& events, unsigned threads) {
  const Status checked = check(events);
  if (!checked.ok()) return checked.error();
  const std::vector<Part> parts = sum_parts(events, threads);
  for (const Part& part : parts) {
    if (!part.status.ok()) return part.status.error();
    if (part.summer->overflowed()) return out_of_range("the sum of the quantities of one tenant");
  }
  return merged(events, parts);
}

Result<Amounts> price_sums(const UsageSums& sums, std::span<const Price* const> prices,
                           std::span<const std::string> metric_names) {
  Amounts amounts;
  amounts.length = sums.quantities.length;
  amounts.units = allocate_units(amounts.length);
  for (int64_t i = 0; i < amounts.length; ++i) {
    const auto row = static_cast<size_t>(i);
    const Price& price = *prices[sums.metrics[row]];
    const Int128 units = sums.quantities.units.get()[i];
    std::optional<Decimal> quick;
    if (const std::optional<int64_t> whole = whole_of(units); whole && *whole >= 0) {
      quick = price.amount_of_whole(*whole);
    }
    const Result<Decimal> amount =
        quick ? Result<Decimal>(*quick) : price.amount(*Decimal::from_units(units));
    if (!amount.ok()) {
      return Error{amount.error().code, "tenant " + sums.tenant_text(row) + ", metric " +
                                            metric_names[sums.metrics[row]] + ": " +
                                            amount.error().message};
    }
    amounts.units.get()[i] = amount->units();
  }
  return amounts;
}

}  // namespace tenancy
