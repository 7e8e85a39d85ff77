#include "tenancy/limits/replay.h"

#include <algorithm>
#include <array>
#include <memory>
#include <numeric>
#include <string>

#include "tenancy/base/clock.h"
#include "tenancy/base/hash.h"
#include "tenancy/counters/table.h"
#include "tenancy/limits/limiter.h"

namespace tenancy {

namespace {

Error row_error(size_t row, const std::string& message) {
  return {Code::kInvalidArgument, "row " + std::to_string(row) + ": " + message};
}

uint64_t cost_of(const Traffic& traffic, size_t row) {
  return traffic.costs.empty() ? 1 : traffic.costs[row];
}

Status check(const Traffic& traffic) {
  const size_t rows = traffic.keys.size();
  if (traffic.times_ns.size() != rows || (!traffic.costs.empty() && traffic.costs.size() != rows)) {
    return Error{Code::kInvalidArgument, "the columns have different lengths"};
  }
  for (size_t row = 0; row < rows; ++row) {
    if (traffic.times_ns[row] < 0) return row_error(row, "its time is before 1970");
    if (cost_of(traffic, row) == 0) return row_error(row, "its cost is 0");
    if (traffic.keys[row] >= traffic.key_count) return row_error(row, "its key is unknown");
  }
  return {};
}

// The rows in the order of time; empty when they lie so already.
std::vector<uint32_t> order_of(std::span<const int64_t> times_ns) {
  if (std::ranges::is_sorted(times_ns)) return {};
  std::vector<uint32_t> order(times_ns.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, {}, [&](uint32_t row) { return times_ns[row]; });
  return order;
}

// What became of the requests of each key, while they pass.
class Record {
 public:
  explicit Record(size_t keys) : found_(keys), runs_(keys) {}

  void add(size_t key, int64_t time_ns, uint64_t cost, bool allowed, int64_t delay_ns) {
    Replayed& found = found_[key];
    Run& run = runs_[key];
    ++found.requests;
    found.cost += cost;
    if (allowed) {
      run.length = 0;
      if (delay_ns > 0) ++found.delayed;
      found.delay_max_ns = std::max(found.delay_max_ns, delay_ns);
      return;
    }
    ++found.refused;
    found.cost_refused += cost;
    if (found.first_refusal_ns < 0) found.first_refusal_ns = time_ns;
    if (run.length++ == 0) run.begin_ns = time_ns;
    const int64_t lasted_ns = time_ns - run.begin_ns;
    const int64_t longest_ns = found.spell_end_ns - found.spell_begin_ns;
    if (found.spell == 0 || lasted_ns > longest_ns ||
        (lasted_ns == longest_ns && run.length > found.spell)) {
      found.spell = run.length;
      found.spell_begin_ns = run.begin_ns;
      found.spell_end_ns = time_ns;
    }
  }

  std::vector<Replayed> take() { return std::move(found_); }

 private:
  struct Run {
    uint64_t length = 0;
    int64_t begin_ns = 0;
  };

  std::vector<Replayed> found_;
  std::vector<Run> runs_;
};

// Calls `use(row)` in the order of time; stops at the first error.
template <class Use>
Status in_order(std::span<const int64_t> times_ns, Use use) {
  const std::vector<uint32_t> order = order_of(times_ns);
  for (size_t i = 0; i < times_ns.size(); ++i) {
    const Status status = use(order.empty() ? i : size_t{order[i]});
    if (!status.ok()) return status;
  }
  return {};
}

// The policies on a table of their own.
class Counters {
 public:
  static Result<Counters> open(std::span<const LimitPolicy> policies, int64_t start_ns) {
    auto clock = std::make_shared<FakeClock>(start_ns);
    CounterTable::Options options;
    options.anonymous_bytes = 0;
    Result<std::unique_ptr<CounterTable>> table = CounterTable::open(options, clock);
    if (!table.ok()) return table.error();
    return Counters(policies, std::move(clock), std::move(table).value());
  }

  // False when there was no room. `delay_ns` is the longest wait that a queue asks for.
  bool take(uint32_t key, uint64_t cost, int64_t time_ns, bool* allowed, int64_t* delay_ns) {
    clock_->advance(time_ns - clock_->wall_ns());
    const int64_t now_ns = table_->now_ns();
    const HashKey& secret = table_->hash_key();
    const uint64_t group = siphash_join(secret, key, 0);
    for (size_t i = 0; i < policies_.size(); ++i) {
      hits_[i] = {&policies_[i], group, limit_key(secret, group, policies_[i]), cost,
                  Region::kTenant};
    }
    const size_t count = policies_.size();
    *allowed = limit_take_all(*table_, {hits_.data(), count}, {states_.data(), count}, now_ns);
    *delay_ns = 0;
    for (size_t i = 0; i < count; ++i) {
      if (states_[i].full) return false;
      *delay_ns = std::max(*delay_ns, states_[i].delay_ns);
    }
    return true;
  }

 private:
  Counters(std::span<const LimitPolicy> policies, std::shared_ptr<FakeClock> clock,
           std::unique_ptr<CounterTable> table)
      : policies_(policies), clock_(std::move(clock)), table_(std::move(table)) {}

  std::span<const LimitPolicy> policies_;
  std::shared_ptr<FakeClock> clock_;
  std::unique_ptr<CounterTable> table_;
  std::array<LimitHit, kHitsMax> hits_;
  std::array<LimitState, kHitsMax> states_;
};

}  // namespace

Result<std::vector<Replayed>> replay_limits(std::span<const LimitPolicy> policies,
                                            const Traffic& traffic) {
  if (policies.empty() || policies.size() > kHitsMax) {
    return Error{Code::kInvalidArgument,
                 "expected 1 to " + std::to_string(kHitsMax) + " limits at once"};
  }
  Status status = check(traffic);
  if (!status.ok()) return status.error();
  Record record(traffic.key_count);
  if (traffic.keys.empty()) return record.take();
  Result<Counters> counters = Counters::open(policies, std::ranges::min(traffic.times_ns));
  if (!counters.ok()) return counters.error();
  status = in_order(traffic.times_ns, [&](size_t row) -> Status {
    const int64_t time_ns = traffic.times_ns[row];
    const uint64_t cost = cost_of(traffic, row);
    bool allowed = false;
    int64_t delay_ns = 0;
    if (!counters->take(traffic.keys[row], cost, time_ns, &allowed, &delay_ns)) {
      return Error{Code::kFull, "there are more keys than one table of counters holds"};
    }
    record.add(traffic.keys[row], time_ns, cost, allowed, delay_ns);
    return {};
  });
  if (!status.ok()) return status.error();
  return record.take();
}

Result<std::vector<Replayed>> replay_quota(uint64_t limit, std::span<const int64_t> starts,
                                           const Traffic& traffic) {
  struct Used {
    size_t period = 0;  // counted from 1
    uint64_t amount = 0;
  };
  Status status = check(traffic);
  if (!status.ok()) return status.error();
  Record record(traffic.key_count);
  std::vector<Used> used(traffic.key_count);
  size_t period = 0;
  status = in_order(traffic.times_ns, [&](size_t row) -> Status {
    const int64_t time_ns = traffic.times_ns[row];
    while (period < starts.size() && starts[period] <= time_ns) ++period;
    if (period == 0 || period == starts.size()) {
      return row_error(row, "its time lies in none of the periods");
    }
    Used& now = used[traffic.keys[row]];
    if (now.period != period) now = {period, 0};
    const uint64_t cost = cost_of(traffic, row);
    const bool allowed = cost <= limit && now.amount <= limit - cost;
    if (allowed) now.amount += cost;
    record.add(traffic.keys[row], time_ns, cost, allowed, 0);
    return {};
  });
  if (!status.ok()) return status.error();
  return record.take();
}

}  // namespace tenancy
