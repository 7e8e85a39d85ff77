// Reservations inside one process: what they hold, when they end, whom a late settlement can reach.
#include <vector>

#include "quotas/world.h"

namespace tenancy {
namespace {

using test::kDay;
using test::kSecond;
using test::Quota;
using test::World;

constexpr int64_t kHoldTtl = 60 * kSecond;

QuotaHandle reserved(World& world, const Quota& quota, uint64_t amount, int64_t ttl_ns = kHoldTtl) {
  QuotaHandle handle;
  REQUIRE(world->reserve(quota, amount, ttl_ns, &handle).allowed);
  REQUIRE(handle);
  return handle;
}

TEST_CASE("a reservation holds its amount, commit keeps it, release gives it back") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  const QuotaHandle first = reserved(world, quota, 4);
  const QuotaHandle second = reserved(world, quota, 5);
  QuotaState state = world->status(quota);
  CHECK(state.used == 0);
  CHECK(state.reserved == 9);
  CHECK_FALSE(world->consume(quota, 2).allowed);
  CHECK(world->commit(quota, first, std::nullopt));
  state = world->status(quota);
  CHECK(state.used == 4);
  CHECK(state.reserved == 5);
  CHECK(world->release(quota, second));
  state = world->status(quota);
  CHECK(state.used == 4);
  CHECK(state.reserved == 0);
  CHECK(world->consume(quota, 6).allowed);
}

TEST_CASE("a commit may keep less, never more") {
  World world;
  const Quota tokens(QuotaKind::kConsumption, 100);
  CHECK(world->commit(tokens, reserved(world, tokens, 50), 20));
  CHECK(world->status(tokens).used == 20);
  CHECK(world->status(tokens).reserved == 0);
  QuotaState after;
  CHECK(world->commit(tokens, reserved(world, tokens, 10), 1000, &after));
  CHECK(after.used == 30);
  CHECK(world->commit(tokens, reserved(world, tokens, 70), 0));
  CHECK(world->status(tokens).used == 30);
}

TEST_CASE("commit tells the thresholds it reached") {
  World world;
  const Quota quota(QuotaKind::kConsumption, 10);
  QuotaHandle handle;
  CHECK(world->reserve(quota, 9, kHoldTtl, &handle).crossed == 0);
  QuotaState after;
  CHECK(world->commit(quota, handle, std::nullopt, &after));
  CHECK(after.crossed == 1);
  world->acknowledge_alert(quota, world->status(quota).period_start_wall_ns, 1);
  CHECK(world->consume(quota, 0).crossed == 0);
}

TEST_CASE("a handle settles once") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  const QuotaHandle handle = reserved(world, quota, 5);
  CHECK(world->commit(quota, handle, std::nullopt));
  CHECK_FALSE(world->commit(quota, handle, std::nullopt));
  CHECK_FALSE(world->release(quota, handle));
  CHECK(world->status(quota).used == 5);

  // The record serves others by now; the old handle reaches none of them.
  std::vector<QuotaHandle> others;
  for (int i = 0; i < 5; ++i) others.push_back(reserved(world, quota, 1));
  CHECK_FALSE(world->release(quota, handle));
  CHECK_FALSE(world->commit(quota, handle, 0));
  CHECK(world->status(quota).reserved == 5);
  for (const QuotaHandle& other : others) CHECK(world->release(quota, other));
}

TEST_CASE("handles from nowhere settle nothing") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  const QuotaHandle real = reserved(world, quota, 3);
  for (const QuotaHandle& forged :
       {QuotaHandle{}, QuotaHandle{1, real.quota_key}, QuotaHandle{real.value, real.quota_key + 1},
        QuotaHandle{real.value + 2, real.quota_key}, QuotaHandle{UINT64_MAX - 1, real.quota_key},
        QuotaHandle{real.value ^ uint64_t{1} << 40, real.quota_key}}) {
    CHECK_FALSE(world->commit(quota, forged, std::nullopt));
    CHECK_FALSE(world->release(quota, forged));
  }
  CHECK(world->status(quota).reserved == 3);
  CHECK(world->commit(quota, real, std::nullopt));
}

TEST_CASE("an expired reservation is given back, and a late commit says no") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  const QuotaHandle handle = reserved(world, quota, 10);
  world.clock->advance(kHoldTtl - 1);
  CHECK_FALSE(world->consume(quota, 1).allowed);
  world.clock->advance(1);
  SECTION("a consumption that would be refused finds it") {
    CHECK(world->consume(quota, 10).allowed);
    CHECK_FALSE(world->commit(quota, handle, std::nullopt));
    CHECK_FALSE(world->release(quota, handle));
    CHECK(world->status(quota).used == 10);
  }
  SECTION("a check finds it") { CHECK(world->check(quota, 10).allowed); }
  SECTION("status finds it") { CHECK(world->status(quota).reserved == 0); }
  SECTION("another reservation finds it") {
    QuotaHandle next;
    CHECK(world->reserve(quota, 10, kHoldTtl, &next).allowed);
    CHECK_FALSE(world->commit(quota, handle, std::nullopt));
    CHECK(world->commit(quota, next, std::nullopt));
  }
  SECTION("the late commit itself gives it back") {
    CHECK_FALSE(world->commit(quota, handle, std::nullopt));
    CHECK(world->status(quota).used == 0);
    CHECK(world->status(quota).reserved == 0);
  }
  SECTION("and so does the late release") {
    CHECK_FALSE(world->release(quota, handle));
    CHECK(world->status(quota).reserved == 0);
  }
}

TEST_CASE("a wall clock step changes nothing for reservations") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  const QuotaHandle handle = reserved(world, quota, 10);
  world.clock->step_wall(10 * kDay);
  CHECK(world->status(quota).reserved == 10);
  world.clock->step_wall(-20 * kDay);
  CHECK(world->commit(quota, handle, std::nullopt));
}

TEST_CASE("a reservation charges the period in which it was made") {
  World world;
  const Quota daily(QuotaKind::kConsumption, 10);
  const QuotaHandle handle = reserved(world, daily, 10, 3 * kDay);
  world.clock->advance(kDay);
  CHECK(world->consume(daily, 10).allowed);  // the next day has its own ten
  CHECK(world->commit(daily, handle, std::nullopt));
  CHECK(world->status(daily).used == 10);
}

TEST_CASE("decrement and set leave reservations alone") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  world->consume(quota, 5);
  const QuotaHandle handle = reserved(world, quota, 4);
  CHECK(world->decrement(quota, 100).used == 0);
  CHECK(world->status(quota).reserved == 4);
  CHECK_FALSE(world->consume(quota, 7).allowed);
  CHECK(world->set(quota, 6).used == 6);
  CHECK_FALSE(world->consume(quota, 1).allowed);
  CHECK(world->commit(quota, handle, std::nullopt));
  CHECK(world->status(quota).used == 10);
}

TEST_CASE("many reservations at once need several ledgers, and all come back") {
  World world;
  const Quota quota(QuotaKind::kCount, 1'000'000);
  std::vector<QuotaHandle> handles;
  for (int i = 0; i < 1000; ++i) handles.push_back(reserved(world, quota, 3));
  CHECK(world->status(quota).reserved == 3000);
  for (size_t i = 0; i < handles.size(); ++i) {
    CHECK((i % 2 == 0 ? world->commit(quota, handles[i], 2) : world->release(quota, handles[i])));
  }
  CHECK(world->status(quota).used == 1000);
  CHECK(world->status(quota).reserved == 0);
  const uint64_t ledgers = world.table->stats(Region::kTenant, SlotClass::kLog512).used;
  CHECK(ledgers == 8);
  for (int i = 0; i < 1000; ++i) reserved(world, quota, 1, kSecond);
  world.clock->advance(kSecond);
  for (int i = 0; i < 1000; ++i)
    reserved(world, quota, 1, kSecond);  // in the places of the expired
  CHECK(world->status(quota).reserved == 1000);
  CHECK(world.table->stats(Region::kTenant, SlotClass::kLog512).used == ledgers);
}

TEST_CASE("Quotas that come and go use the same ledgers again") {
  World world;
  const Quota quota(QuotaKind::kCount, 1000);
  for (int i = 0; i < 20; ++i) {
    Quotas own(world.table.get(), world.clock);
    QuotaHandle handle;
    REQUIRE(own.reserve(quota, 1, kHoldTtl, &handle).allowed);
    if (i % 2 == 0) {
      REQUIRE(own.commit(quota, handle, std::nullopt));
    } else {
      world.clock->advance(kHoldTtl);  // left to expire
    }
  }
  CHECK(world.table->stats(Region::kTenant, SlotClass::kLog512).used <= 2);
  CHECK(world->status(quota).used == 10);
  CHECK(world->status(quota).reserved == 0);
}

TEST_CASE("a handle outlives the Quotas that made it") {
  World world;
  const Quota quota(QuotaKind::kCount, 10);
  QuotaHandle handle;
  {
    Quotas own(world.table.get(), world.clock);
    REQUIRE(own.reserve(quota, 4, kHoldTtl, &handle).allowed);
  }
  CHECK(world->status(quota).reserved == 4);
  CHECK(world->commit(quota, handle, std::nullopt));
  CHECK(world->status(quota).used == 4);
}

}  // namespace
}  // namespace tenancy
