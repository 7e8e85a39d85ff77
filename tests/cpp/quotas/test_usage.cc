// Counts, sizes and consumption without reservations: what is allowed, what the answer says.
#include "quotas/world.h"

namespace tenancy {
namespace {

using test::kDay;
using test::kStart;
using test::Quota;
using test::World;

constexpr uint64_t kAmountMax = (uint64_t{1} << 61) - 1;

TEST_CASE("a consumption is allowed while used + n <= limit, and a refused one changes nothing") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  CHECK(world->consume(quota, 4).allowed);
  CHECK_FALSE(world->consume(quota, 7).allowed);
  CHECK(world->status(quota).used == 4);
  const QuotaState last = world->consume(quota, 6);
  CHECK(last.allowed);
  CHECK(last.used == 10);
  CHECK(last.limit == 10);
  CHECK(last.exceeded());
  CHECK_FALSE(world->consume(quota, 1).allowed);
  CHECK(world->status(quota).used == 10);
  CHECK(world->status(quota).reserved == 0);
}

TEST_CASE("scenario: with 10 of 10 projects exceeded is true and one more is refused") {
  World world;
  const Quota projects(QuotaKind::kCount, 10);
  for (int i = 0; i < 10; ++i) REQUIRE(world->consume(projects, 1).allowed);
  CHECK(world->status(projects).exceeded());
  CHECK_FALSE(world->check(projects, 1).allowed);
  CHECK_FALSE(world->consume(projects, 1).allowed);
  world->decrement(projects, 1);
  CHECK_FALSE(world->status(projects).exceeded());
  CHECK(world->consume(projects, 1).allowed);
}

TEST_CASE("asking changes nothing and makes no counter") {
  World world;
  const Quota quota(QuotaKind::kCount, 2);
  CHECK(world->check(quota, 2).allowed);
  CHECK_FALSE(world->check(quota, 3).allowed);
  CHECK(world->status(quota).used == 0);
  CHECK(world->decrement(quota, 5).used == 0);
  CHECK(world.table->stats(Region::kTenant, SlotClass::kWords8).used == 0);
}

TEST_CASE("an amount of 0 is a question") {
  World world;
  Quota quota(QuotaKind::kCount, 2);
  CHECK(world->consume(quota, 0).allowed);
  CHECK(world->consume(quota, 2).allowed);
  CHECK(world->consume(quota, 0).allowed);
  quota.grant.limit = 1;
  CHECK_FALSE(world->consume(quota, 0).allowed);
  CHECK(world->consume(quota, 0).used == 2);
}

TEST_CASE("decrement never goes below 0") {
  World world;
  const Quota quota(QuotaKind::kSize, 100);
  world->consume(quota, 5);
  CHECK(world->decrement(quota, 3).used == 2);
  CHECK(world->decrement(quota, 100).used == 0);
  CHECK(world->decrement(quota, UINT64_MAX).used == 0);
  CHECK(world->consume(quota, 100).allowed);
}

TEST_CASE("set replaces the use, whatever the limit") {
  World world;
  const Quota quota(QuotaKind::kSize, 100);
  CHECK(world->set(quota, 40).used == 40);
  CHECK(world->set(quota, 500).used == 500);
  CHECK(world->status(quota).exceeded());
  CHECK_FALSE(world->consume(quota, 1).allowed);
  CHECK(world->set(quota, 99).allowed);
  CHECK(world->consume(quota, 1).allowed);
  CHECK_FALSE(world->consume(quota, 1).allowed);
}

TEST_CASE("amounts up to 2^61 - 1 count exactly, and nothing wraps") {
  World world;
  Quota quota(QuotaKind::kSize, UINT64_MAX);
  CHECK(world->status(quota).limit == kAmountMax);
  for (const uint64_t huge : {kAmountMax + 1, UINT64_MAX, UINT64_MAX - 1, uint64_t{1} << 63}) {
    CHECK_FALSE(world->consume(quota, huge).allowed);
    CHECK_FALSE(world->check(quota, huge).allowed);
    CHECK_FALSE(world->set(quota, huge).allowed);
    QuotaHandle handle;
    CHECK_FALSE(world->reserve(quota, huge, 0, &handle).allowed);
    CHECK_FALSE(handle);
  }
  CHECK(world->consume(quota, kAmountMax - 1).allowed);
  CHECK_FALSE(world->consume(quota, 2).allowed);
  CHECK(world->consume(quota, 1).allowed);
  CHECK(world->status(quota).used == kAmountMax);

  SECTION("unlimited and soft quotas stop there too") {
    quota.grant.unlimited = true;
    CHECK_FALSE(world->consume(quota, 1).allowed);
    quota.grant.unlimited = false;
    quota.grant.soft = true;
    CHECK_FALSE(world->consume(quota, 1).allowed);
    CHECK(world->status(quota).used == kAmountMax);
  }
}

TEST_CASE("unlimited quotas count without refusing") {
  World world;
  Quota quota(QuotaKind::kCount, 0);
  quota.grant.unlimited = true;
  CHECK(world->consume(quota, 1'000'000).allowed);
  const QuotaState state = world->status(quota);
  CHECK(state.unlimited);
  CHECK(state.used == 1'000'000);
  CHECK_FALSE(state.exceeded());
  CHECK(state.crossed == 0);
}

TEST_CASE("trap 13: what the plan does not grant is refused") {
  World world;
  Quota quota(QuotaKind::kCount, 10);
  quota.grant.defined = false;
  quota.grant.unlimited = true;
  CHECK_FALSE(world->consume(quota, 1).allowed);
  QuotaTarget target = quota;
  target.grant = nullptr;
  CHECK_FALSE(world->consume(target, 1).allowed);
  CHECK(world->status(target).limit == 0);
}

TEST_CASE("soft limits let through and report the overage") {
  World world;
  Quota quota(QuotaKind::kConsumption, 10);
  quota.grant.soft = true;
  CHECK(world->consume(quota, 10).overage == 0);
  const QuotaState over = world->consume(quota, 5);
  CHECK(over.allowed);
  CHECK(over.overage == 5);
  CHECK(over.exceeded());
}

TEST_CASE("grace lets through up to limit + grace") {
  World world;
  Quota quota(QuotaKind::kCount, 10);
  quota.grant.grace = 2;
  CHECK(world->consume(quota, 12).allowed);
  CHECK(world->status(quota).exceeded());
  CHECK_FALSE(world->consume(quota, 1).allowed);
  quota.grant.grace = UINT64_MAX;
  CHECK(world->consume(quota, 1).allowed);
}

TEST_CASE("a per-object maximum has no state") {
  World world;
  Quota rows(QuotaKind::kPerObject, 10'000);
  CHECK(world->check(rows, 10'000).allowed);
  CHECK(world->consume(rows, 10'000).allowed);
  CHECK(world->consume(rows, 10'000).allowed);
  CHECK_FALSE(world->consume(rows, 10'001).allowed);
  QuotaHandle handle;
  CHECK(world->reserve(rows, 5, 0, &handle).allowed);
  CHECK(handle);
  CHECK(world->commit(rows, handle, std::nullopt));
  CHECK_FALSE(world->reserve(rows, 10'001, 0, &handle).allowed);
  CHECK_FALSE(handle);
  rows.grant.unlimited = true;
  CHECK(world->consume(rows, UINT64_MAX).allowed);
}

TEST_CASE("tenants, quotas and kinds have counters of their own") {
  World world;
  Quota one(QuotaKind::kCount, 1);
  Quota other_tenant = one;
  other_tenant.seed = 8;
  Quota other_name = one;
  other_name.def.name = "things2";
  Quota other_kind(QuotaKind::kSize, 1);
  for (const Quota* quota : {&one, &other_tenant, &other_name, &other_kind}) {
    CHECK(world->consume(*quota, 1).allowed);
    CHECK_FALSE(world->consume(*quota, 1).allowed);
  }
}

TEST_CASE("a change of plan keeps what is used") {
  World world;
  Quota quota(QuotaKind::kConsumption, 10);
  world->consume(quota, 8);
  quota.grant.limit = 5;
  CHECK(world->status(quota).used == 8);
  CHECK(world->status(quota).exceeded());
  CHECK_FALSE(world->consume(quota, 1).allowed);
  quota.grant.limit = 9;
  CHECK(world->consume(quota, 1).allowed);
  CHECK_FALSE(world->consume(quota, 1).allowed);
}

TEST_CASE("use lasts: counts for ever, consumption to the end of its period") {
  World world;
  const Quota count(QuotaKind::kCount, 10);
  const Quota daily(QuotaKind::kConsumption, 10);
  world->consume(count, 3);
  world->consume(daily, 3);
  world.clock->advance(kDay - 1);
  CHECK(world->status(daily).used == 3);
  world.clock->advance(1);
  CHECK(world->status(daily).used == 0);
  CHECK(world->status(daily).period_start_wall_ns == kStart + kDay);
  world.clock->advance(3000 * kDay);
  CHECK(world->status(count).used == 3);
  CHECK(world->status(count).period_end_wall_ns == 0);
}

TEST_CASE("a full table refuses and says so") {
  auto clock = std::make_shared<FakeClock>(kStart);
  CounterTable::Options options;
  options.initial_slots = 16;
  options.max_bytes = size_t{1} << 20;
  auto table = CounterTable::open(options, clock);
  REQUIRE(table.ok());
  Quotas quotas(table->get(), clock);
  Quota quota(QuotaKind::kCount, 10);
  bool full = false;
  for (quota.seed = 1; quota.seed < 100'000 && !full; ++quota.seed) {
    const QuotaState state = quotas.consume(quota, 1);
    full = state.full;
    REQUIRE(state.allowed == !full);
  }
  CHECK(full);
}

TEST_CASE("thresholds are told by every consuming call until acknowledged, once per period") {
  World world;
  Quota quota(QuotaKind::kConsumption, 10);
  CHECK(world->consume(quota, 7).crossed == 0);
  CHECK(world->consume(quota, 1).crossed == 1);
  CHECK(world->consume(quota, 1).crossed == 1);
  const QuotaState last = world->consume(quota, 1);
  CHECK(last.crossed == 3);
  CHECK(world->consume(quota, 1).crossed == 3);  // refused, and still told
  CHECK(world->status(quota).crossed == 0);
  world->acknowledge_alert(quota, last.period_start_wall_ns, 1);
  CHECK(world->consume(quota, 1).crossed == 2);
  world->acknowledge_alert(quota, last.period_start_wall_ns, 2);
  CHECK(world->consume(quota, 1).crossed == 0);
  world.clock->advance(kDay);
  const QuotaState next = world->consume(quota, 10);
  CHECK(next.crossed == 3);
  world->acknowledge_alert(quota, last.period_start_wall_ns, 3);  // of the period before
  CHECK(world->consume(quota, 1).crossed == 3);
}

TEST_CASE("thresholds round up: 80 % of 3 is reached with 3") {
  World world;
  Quota quota(QuotaKind::kCount, 3);
  CHECK(world->consume(quota, 2).crossed == 0);
  CHECK(world->consume(quota, 1).crossed == 3);
  Quota huge(QuotaKind::kSize, kAmountMax);
  huge.def.alert_percents = {50, 100, 255};
  CHECK(world->consume(huge, kAmountMax / 2).crossed == 0);
  CHECK(world->consume(huge, 1).crossed == 1);
  Quota none(QuotaKind::kCount, 0);
  CHECK(world->consume(none, 1).crossed == 0);
}

}  // namespace
}  // namespace tenancy
