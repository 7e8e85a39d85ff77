// What the tests of quotas share: a table on a clock of the test's own, and one quota of one
// tenant.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "catch.h"
#include "tenancy/base/clock.h"
#include "tenancy/quotas/quotas.h"

namespace tenancy::test {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kMinute = 60 * kSecond;
constexpr int64_t kHour = 60 * kMinute;
constexpr int64_t kDay = 24 * kHour;
constexpr int64_t kStart = 1'767'225'600 * kSecond;  // 2026-01-01 00:00 UTC

// A quota of one tenant that a test may change as it likes.
struct Quota {
  QuotaDef def;
  QuotaGrant grant;
  TimeZone zone;
  Anchor anchor;
  uint64_t seed = 7;

  Quota(QuotaKind kind, uint64_t limit, PeriodUnit period = PeriodUnit::kDay) {
    def.name = "things";
    def.kind = kind;
    def.period = period;
    def.alert_percents = {80, 100};
    grant.defined = true;
    grant.limit = limit;
  }
  QuotaTarget target() const {
    return {
        .tenant_seed = seed, .def = &def, .grant = &grant, .time_zone = &zone, .anchor = &anchor};
  }
  operator QuotaTarget() const { return target(); }  // NOLINT(google-explicit-constructor)
};

inline std::unique_ptr<CounterTable> open_table(std::shared_ptr<const Clock> clock,
                                                const std::string& path = "") {
  CounterTable::Options options;
  options.path = path;
  options.initial_slots = 64;
  options.max_bytes = size_t{256} << 20;
  auto table = CounterTable::open(options, std::move(clock));
  if (!table.ok()) FAIL(table.error().message);
  return std::move(table).value();
}

struct World {
  std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>(kStart);
  std::unique_ptr<CounterTable> table = open_table(clock);
  std::unique_ptr<Quotas> quotas = std::make_unique<Quotas>(table.get(), clock);
  Quotas* operator->() { return quotas.get(); }
};

}  // namespace tenancy::test
