// Which period a consumption counts in: calendars, zones, anchors, changes of them, and clocks that
// step.
#include "quotas/world.h"

namespace tenancy {
namespace {

using test::kDay;
using test::kHour;
using test::kSecond;
using test::kStart;
using test::Quota;
using test::World;

TimeZone zone(const char* name) {
  const Result<TimeZone> loaded = TimeZone::load(name);
  REQUIRE(loaded.ok());
  return *loaded;
}

TEST_CASE("periods follow the tenant's calendar") {
  World world;  // 2026-01-01 00:00 UTC
  Quota monthly(QuotaKind::kConsumption, 10, PeriodUnit::kMonth);
  monthly.zone = zone("America/New_York");  // there it is still December
  QuotaState state = world->consume(monthly, 10);
  CHECK(state.period_end_wall_ns == kStart + 5 * kHour);
  CHECK_FALSE(world->consume(monthly, 1).allowed);
  world.clock->advance(5 * kHour - 1);
  CHECK_FALSE(world->consume(monthly, 1).allowed);
  world.clock->advance(1);
  state = world->consume(monthly, 1);
  CHECK(state.allowed);
  CHECK(state.period_start_wall_ns == kStart + 5 * kHour);
  CHECK(state.period_end_wall_ns == kStart + 31 * kDay + 5 * kHour);
}

TEST_CASE("periods begin on the subscription's day where the quota says so") {
  World world;
  Quota monthly(QuotaKind::kConsumption, 10, PeriodUnit::kMonth);
  monthly.anchor.day = 31;
  CHECK(world->status(monthly).period_start_wall_ns == kStart);
  monthly.def.anchored = true;
  CHECK(world->status(monthly).period_start_wall_ns == kStart - kDay);  // 31 December
  world.clock->advance(30 * kDay);
  CHECK(world->status(monthly).period_start_wall_ns == kStart + 30 * kDay);  // 31 January
  CHECK(world->status(monthly).period_end_wall_ns == kStart + 58 * kDay);    // 28 February
}

TEST_CASE("a change of time zone takes effect at the next period, and what is used stays") {
  World world;
  world.clock->advance(12 * kHour);
  Quota daily(QuotaKind::kConsumption, 10);
  world->consume(daily, 10);
  daily.zone = zone("Asia/Tokyo");  // there the day ends at 15:00 UTC
  world.clock->advance(4 * kHour);
  QuotaState state = world->consume(daily, 1);
  CHECK_FALSE(state.allowed);
  CHECK(state.used == 10);
  CHECK(state.period_end_wall_ns == kStart + kDay);
  // The day that follows begins where the old one ended and has Tokyo's end, 15 hours later.
  world.clock->advance(8 * kHour);
  state = world->consume(daily, 10);
  CHECK(state.allowed);
  CHECK(state.period_start_wall_ns == kStart + kDay);
  CHECK(state.period_end_wall_ns == kStart + kDay + 15 * kHour);
  world.clock->advance(15 * kHour);
  CHECK(world->status(daily).period_end_wall_ns == kStart + 2 * kDay + 15 * kHour);
}

TEST_CASE("a stub of less than half a period belongs to the one after it") {
  World world;
  Quota monthly(QuotaKind::kConsumption, 10, PeriodUnit::kMonth);
  monthly.def.anchored = true;
  world->consume(monthly, 10);  // January
  monthly.anchor.day = 5;       // the first end after January would be 5 February
  world.clock->advance(31 * kDay);
  const QuotaState state = world->consume(monthly, 10);
  CHECK(state.allowed);
  CHECK(state.period_start_wall_ns == kStart + 31 * kDay);
  CHECK(state.period_end_wall_ns == kStart + (31 + 28 + 4) * kDay);  // 5 March
  world.clock->advance(10 * kDay);
  CHECK_FALSE(world->consume(monthly, 1).allowed);
}

TEST_CASE("changing the time zone over and over gives no more than a grant per half period") {
  World world;
  Quota daily(QuotaKind::kConsumption, 1);
  int allowed = 0;
  const char* zones[] = {"Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC", "Asia/Tokyo"};
  for (int hour = 0; hour < 24 * 30; ++hour) {
    daily.zone = zone(zones[hour % 4]);
    if (world->consume(daily, 1).allowed) ++allowed;
    world.clock->advance(kHour);
  }
  CHECK(allowed <= 60);
  CHECK(allowed >= 20);
}

TEST_CASE("a wall clock that steps back reopens no period") {
  World world;
  Quota daily(QuotaKind::kConsumption, 10);
  world->consume(daily, 3);
  world.clock->advance(kDay);
  world->consume(daily, 10);
  for (const int64_t step : {2 * kHour, 30 * kHour, 400 * kDay}) {
    world.clock->step_wall(-step);
    const QuotaState state = world->consume(daily, 1);
    CHECK_FALSE(state.allowed);
    CHECK(state.used == 10);
    CHECK(state.period_start_wall_ns == kStart + kDay);
    world.clock->step_wall(step);
  }
}

TEST_CASE("a step back by less than the shared mark lags behind reopens nothing either") {
  World world;
  Quota daily(QuotaKind::kConsumption, 10);
  world.clock->advance(kDay - kSecond / 2);
  world->consume(daily, 10);
  world.clock->advance(kSecond * 6 / 10);
  const QuotaState next = world->consume(daily, 4);
  CHECK(next.period_start_wall_ns == kStart + kDay);
  world.clock->step_wall(-kSecond * 3 / 10);
  const QuotaState back = world->consume(daily, 6);
  CHECK(back.allowed);
  CHECK(back.used == 10);
  CHECK(back.period_start_wall_ns == kStart + kDay);
}

TEST_CASE("after a step back the use is not forgotten before the period ends") {
  World world;
  Quota daily(QuotaKind::kConsumption, 10);
  world.clock->step_wall(100 * kDay);
  world->consume(daily, 10);
  world.clock->step_wall(-100 * kDay);
  for (int day = 0; day < 100; ++day) {
    REQUIRE_FALSE(world->consume(daily, 1).allowed);
    world.clock->advance(kDay);
  }
  world.clock->advance(kDay);
  CHECK(world->consume(daily, 1).allowed);
}

TEST_CASE("a new tenant takes the newest clock that anybody saw") {
  World world;
  Quota daily(QuotaKind::kConsumption, 10);
  world.clock->advance(kDay);
  world->consume(daily, 1);
  world.clock->step_wall(-kDay);
  Quota other = daily;
  other.seed = 99;
  CHECK(world->consume(other, 1).period_start_wall_ns == kStart + kDay);
}

TEST_CASE("a step forward begins the period that it leads to") {
  World world;
  Quota daily(QuotaKind::kConsumption, 10);
  world->consume(daily, 10);
  world.clock->step_wall(kDay);
  CHECK(world->consume(daily, 10).allowed);
  CHECK_FALSE(world->consume(daily, 1).allowed);
}

TEST_CASE("every unit has periods of its own") {
  World world;
  const PeriodUnit units[] = {PeriodUnit::kMinute, PeriodUnit::kHour,  PeriodUnit::kDay,
                              PeriodUnit::kWeek,   PeriodUnit::kMonth, PeriodUnit::kQuarter,
                              PeriodUnit::kYear};
  for (const PeriodUnit unit : units) {
    Quota quota(QuotaKind::kConsumption, 2, unit);
    CHECK(world->consume(quota, 2).allowed);
    const QuotaState state = world->consume(quota, 1);
    CHECK_FALSE(state.allowed);
    CHECK(state.period_start_wall_ns == start_of(unit, kStart, TimeZone()));
    CHECK(state.period_end_wall_ns == next_start(unit, kStart, TimeZone()));
  }
}

TEST_CASE("a period before 1970 is a period") {
  auto clock = std::make_shared<FakeClock>(-30 * kDay);
  auto table = test::open_table(clock);
  Quotas quotas(table.get(), clock);
  Quota monthly(QuotaKind::kConsumption, 2, PeriodUnit::kMonth);
  const QuotaState state = quotas.consume(monthly, 2);
  CHECK(state.allowed);
  CHECK(state.period_end_wall_ns == 0);
  CHECK_FALSE(quotas.consume(monthly, 1).allowed);
  clock->advance(30 * kDay);
  CHECK(quotas.consume(monthly, 1).allowed);
}

}  // namespace
}  // namespace tenancy
