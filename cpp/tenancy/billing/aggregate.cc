#include "tenancy/billing/aggregate.h"

#include <algorithm>
#include <memory>
#include <optional>
#include <thread>

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
  size_t next = 0;

  const UsageSummer::Tenant* front() const {
    return next < tenants.size() ? &tenants[next] : nullptr;
  }
};

std::vector<Part> sum_parts(const UsageEvents& events, unsigned threads) {
  const int64_t length = events.tenants->length();
  const auto periods = static_cast<int64_t>(periods_of(events));
  const int64_t direct = std::max(kDirectMin, length / kEventsPerDirectId / periods);
  const int64_t count = std::clamp<int64_t>(length / kPerThreadMin, 1, std::max(threads, 1U));
  const int64_t each = (length + count - 1) / count;
  std::vector<Part> parts(static_cast<size_t>(count));
  const auto work = [&](int64_t at) {
    Part& part = parts[static_cast<size_t>(at)];
    part.summer = std::make_unique<UsageSummer>(events, direct);
    part.status = part.summer->run(at * each, std::min(length, (at + 1) * each));
    if (part.status.ok()) part.tenants = part.summer->tenants();
  };
  std::vector<std::thread> others;
  for (int64_t at = 1; at < count; ++at) others.emplace_back(work, at);
  work(0);
  for (std::thread& other : others) other.join();
  return parts;
}

// Walks the tenants of all parts in order and puts their sums together.
class Merger {
 public:
  Merger(const UsageEvents& events, std::vector<Part>* parts) : parts_(*parts) {
    metrics_ = events.metric_names.size();
    periods_ = periods_of(events);
    sums_.tenants_are_texts = events.tenants->kind() == Column::Kind::kText;
    size_t most = 0;
    for (const Part& part : parts_) most = std::max(most, part.tenants.size() * metrics_);
    units_.reserve(most);
    sums_.tenants.reserve(most);
    sums_.periods.reserve(most);
    sums_.metrics.reserve(most);
    sums_.events.reserve(most);
  }

  Result<UsageSums> merge() {
    while (const UsageSummer::Tenant* least = first()) {
      const UsageSummer::Tenant tenant = *least;
      take(tenant);
      const size_t rows = units_.size();
      for (size_t cell = 0; cell < periods_ * metrics_; ++cell) {
        if (!add_row(cell / metrics_, cell % metrics_))
          return out_of_range("the sum of the quantities of one tenant");
      }
      if (units_.size() > rows) add_tenant(tenant);
    }
    sums_.quantities.length = static_cast<int64_t>(units_.size());
    sums_.quantities.units = allocate_units(sums_.quantities.length);
    std::ranges::copy(units_, sums_.quantities.units.get());
    return std::move(sums_);
  }

 private:
  struct Share {
    const UsageSummer* summer;
    size_t position;
  };

  int compare(const UsageSummer::Tenant& a, const UsageSummer::Tenant& b) const {
    if (sums_.tenants_are_texts) return a.text.compare(b.text);
    return a.number < b.number ? -1 : a.number > b.number ? 1 : 0;
  }

  const UsageSummer::Tenant* first() const {
    const UsageSummer::Tenant* least = nullptr;
    for (const Part& part : parts_) {
      const UsageSummer::Tenant* front = part.front();
      if (front != nullptr && (least == nullptr || compare(*front, *least) < 0)) least = front;
    }
    return least;
  }

  // What the parts have of this tenant, which is at the front of each that has something.
  void take(const UsageSummer::Tenant& tenant) {
    shares_.clear();
    for (Part& part : parts_) {
      const UsageSummer::Tenant* front = part.front();
      if (front == nullptr || compare(*front, tenant) != 0) continue;
      shares_.push_back({part.summer.get(), front->position});
      ++part.next;
    }
  }

  // False when the sum does not fit.
  bool add_row(size_t period, size_t metric) {
    Int128 units = 0;
    uint64_t events = 0;
    for (const Share& share : shares_) {
      const UsageSummer::Sum sum = share.summer->sum(share.position, period, metric);
      if (__builtin_add_overflow(units, sum.units, &units)) return false;
      events += sum.events;
    }
    if (events == 0) return true;
    if (!Decimal::from_units(units)) return false;
    units_.push_back(units);
    sums_.tenants.push_back(tenants_);
    sums_.periods.push_back(static_cast<uint32_t>(period));
    sums_.metrics.push_back(static_cast<uint32_t>(metric));
    sums_.events.push_back(events);
    return true;
  }

  void add_tenant(const UsageSummer::Tenant& tenant) {
    ++tenants_;
    if (sums_.tenants_are_texts) {
      sums_.tenant_texts.emplace_back(tenant.text);
    } else {
      sums_.tenant_numbers.push_back(tenant.number);
    }
  }

  std::vector<Part>& parts_;
  size_t metrics_ = 0;
  size_t periods_ = 0;
  uint32_t tenants_ = 0;
  std::vector<Share> shares_;
  UsageSums sums_;
  std::vector<Int128> units_;
};

// A whole quantity that fits 64 bits.
std::optional<int64_t> as_whole(Int128 units) {
  if (units <= INT64_MAX) {
    // Most are this small, and 64-bit division is several times faster.
    const auto small = static_cast<int64_t>(units);
    if (small % Decimal::kOne != 0) return std::nullopt;
    return small / Decimal::kOne;
  }
  const Int128 whole = units / Decimal::kOne;
  if (whole > INT64_MAX || whole * Decimal::kOne != units) return std::nullopt;
  return static_cast<int64_t>(whole);
}

}  // namespace

Result<UsageSums> sum_usage(const UsageEvents& events, unsigned threads) {
  const Status checked = check(events);
  if (!checked.ok()) return checked.error();
  std::vector<Part> parts = sum_parts(events, threads);
  for (const Part& part : parts) {
    if (!part.status.ok()) return part.status.error();
    if (part.summer->overflowed()) return out_of_range("the sum of the quantities of one tenant");
  }
  return Merger(events, &parts).merge();
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
    if (units >= 0) {
      if (const std::optional<int64_t> whole = as_whole(units)) {
        quick = price.amount_of_whole(*whole);
      }
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
