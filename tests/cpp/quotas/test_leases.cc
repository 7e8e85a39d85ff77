// Concurrency leases inside one process.
#include <random>
#include <vector>

#include "quotas/world.h"

namespace tenancy {
namespace {

using test::kHour;
using test::kSecond;
using test::Quota;
using test::World;

constexpr int64_t kLeaseTtl = 30 * kSecond;

QuotaHandle lease(World& world, const Quota& quota, int64_t ttl_ns = kLeaseTtl) {
  QuotaHandle handle;
  world->acquire(quota, ttl_ns, &handle);
  return handle;
}

TEST_CASE("as many leases as the limit says, and one more when one ends") {
  World world;
  for (const uint64_t limit : {1U, 2U, 63U, 64U, 65U, 512U, 513U, 4096U}) {
    Quota quota(QuotaKind::kConcurrency, limit);
    quota.seed = limit;
    std::vector<QuotaHandle> handles;
    for (uint64_t i = 0; i < limit; ++i) handles.push_back(lease(world, quota));
    for (const QuotaHandle& handle : handles) REQUIRE(handle);
    INFO("limit " << limit);
    const QuotaState refused = world->check(quota, 1);
    CHECK_FALSE(refused.allowed);
    CHECK(refused.used == limit);
    CHECK(refused.exceeded());
    CHECK_FALSE(lease(world, quota));
    CHECK(world->end_lease(quota, handles[limit / 2]));
    CHECK_FALSE(world->end_lease(quota, handles[limit / 2]));
    CHECK(world->check(quota, 1).allowed);
    CHECK_FALSE(world->check(quota, 2).allowed);
    CHECK(lease(world, quota));
    CHECK_FALSE(lease(world, quota));
    CHECK(world->revoke_leases(quota) == limit);
    CHECK(world->status(quota).used == 0);
  }
}

TEST_CASE("no more than 4,096 leases, whatever the limit") {
  World world;
  Quota quota(QuotaKind::kConcurrency, 1'000'000);
  uint64_t taken = 0;
  while (lease(world, quota)) ++taken;
  CHECK(taken == 4096);
}

TEST_CASE("a limit of 0 gives no lease, an unlimited quota gives all") {
  World world;
  Quota quota(QuotaKind::kConcurrency, 0);
  CHECK_FALSE(lease(world, quota));
  quota.grant.unlimited = true;
  const QuotaHandle handle = lease(world, quota);
  CHECK(handle);
  CHECK(world->renew(quota, handle, kLeaseTtl));
  CHECK(world->end_lease(quota, handle));
  quota.grant.unlimited = false;
  quota.grant.soft = true;
  quota.grant.limit = 1;
  REQUIRE(lease(world, quota));
  REQUIRE(lease(world, quota));
  CHECK(world->status(quota).overage == 1);
}

TEST_CASE("a lease ends by itself, and its holder is told") {
  World world;
  const Quota quota(QuotaKind::kConcurrency, 1);
  const QuotaHandle first = lease(world, quota);
  world.clock->advance(kLeaseTtl - kSecond / 100);
  CHECK_FALSE(lease(world, quota));
  world.clock->advance(kSecond / 100);
  SECTION("another takes its place") {
    const QuotaHandle second = lease(world, quota);
    CHECK(second);
    CHECK_FALSE(world->renew(quota, first, kLeaseTtl));
    CHECK_FALSE(world->end_lease(quota, first));
    CHECK(world->renew(quota, second, kLeaseTtl));
  }
  SECTION("it cannot be renewed any more") {
    CHECK_FALSE(world->renew(quota, first, kLeaseTtl));
    CHECK(world->status(quota).used == 0);
  }
  SECTION("ending it is late") { CHECK_FALSE(world->end_lease(quota, first)); }
}

TEST_CASE("renewal keeps a lease for as long as it goes on") {
  World world;
  const Quota quota(QuotaKind::kConcurrency, 1);
  const QuotaHandle handle = lease(world, quota);
  for (int i = 0; i < 1000; ++i) {
    world.clock->advance(kLeaseTtl / 3);
    REQUIRE(world->renew(quota, handle, kLeaseTtl));
  }
  CHECK_FALSE(lease(world, quota));
  world.clock->step_wall(-1000 * kHour);
  CHECK(world->renew(quota, handle, kLeaseTtl));
  CHECK(world->end_lease(quota, handle));
}

TEST_CASE("suspension: every lease of the quota ends, others stay") {
  World world;
  const Quota quota(QuotaKind::kConcurrency, 100);
  Quota other = quota;
  other.seed = 8;
  std::vector<QuotaHandle> handles;
  for (int i = 0; i < 100; ++i) handles.push_back(lease(world, quota));
  const QuotaHandle others = lease(world, other);
  CHECK(world->revoke_leases(quota) == 100);
  CHECK(world->revoke_leases(quota) == 0);
  for (const QuotaHandle& handle : handles) {
    CHECK_FALSE(world->renew(quota, handle, kLeaseTtl));
    CHECK_FALSE(world->end_lease(quota, handle));
  }
  CHECK(world->renew(other, others, kLeaseTtl));
  CHECK_FALSE(world->renew(other, handles[0], kLeaseTtl));
}

TEST_CASE("a lowered limit counts the leases above it") {
  World world;
  Quota quota(QuotaKind::kConcurrency, 100);
  std::vector<QuotaHandle> handles;
  for (int i = 0; i < 80; ++i) handles.push_back(lease(world, quota));
  quota.grant.limit = 10;
  CHECK(world->status(quota).used == 80);
  CHECK_FALSE(lease(world, quota));
  for (int i = 0; i < 70; ++i) {
    CHECK(world->end_lease(quota, handles[static_cast<size_t>(i)]));
    CHECK_FALSE(lease(world, quota));
  }
  CHECK(world->end_lease(quota, handles[70]));
  CHECK(lease(world, quota));
  CHECK_FALSE(lease(world, quota));
  quota.grant.limit = 600;
  CHECK(world->status(quota).used == 10);
  for (int i = 0; i < 590; ++i) REQUIRE(lease(world, quota));
  CHECK_FALSE(lease(world, quota));
}

TEST_CASE("random histories of leases agree with a list") {
  struct Live {
    QuotaHandle handle;
    int64_t until;
  };
  for (uint32_t seed = 1; seed <= 15; ++seed) {
    INFO("seed " << seed);
    World world;
    std::mt19937 random(seed);
    Quota quota(QuotaKind::kConcurrency, 5);
    std::vector<Live> live;
    std::vector<QuotaHandle> gone;
    const auto expire = [&] {
      const int64_t now = world.clock->mono_ns();
      std::erase_if(live, [&](const Live& one) {
        if (one.until > now) return false;
        gone.push_back(one.handle);
        return true;
      });
    };
    for (int step = 0; step < 2000; ++step) {
      expire();
      const int64_t ttl = static_cast<int64_t>(1 + random() % 20) * kSecond;
      const size_t pick = live.empty() ? 0 : random() % live.size();
      switch (random() % 8) {
        case 0:
        case 1:
        case 2: {
          QuotaHandle handle;
          const QuotaState state = world->acquire(quota, ttl, &handle);
          REQUIRE(state.allowed == (live.size() < quota.grant.limit));
          REQUIRE(state.allowed == static_cast<bool>(handle));
          if (handle) live.push_back({handle, world.clock->mono_ns() + ttl});
          REQUIRE(state.used == live.size());
          break;
        }
        case 3:
          if (live.empty()) break;
          REQUIRE(world->end_lease(quota, live[pick].handle));
          gone.push_back(live[pick].handle);
          live.erase(live.begin() + static_cast<ptrdiff_t>(pick));
          break;
        case 4:
          if (live.empty()) break;
          REQUIRE(world->renew(quota, live[pick].handle, ttl));
          live[pick].until = world.clock->mono_ns() + ttl;
          break;
        case 5:
          if (gone.empty()) break;
          REQUIRE_FALSE(world->renew(quota, gone[random() % gone.size()], ttl));
          REQUIRE_FALSE(world->end_lease(quota, gone[random() % gone.size()]));
          break;
        case 6:
          world.clock->advance(static_cast<int64_t>(random() % 5) * kSecond);
          if (random() % 4 == 0)
            world.clock->step_wall(-static_cast<int64_t>(random() % 100) * kHour);
          break;
        default:
          if (random() % 3 == 0) quota.grant.limit = random() % 100;
          if (random() % 50 == 0) {
            REQUIRE(world->revoke_leases(quota) == live.size());
            for (const Live& one : live) gone.push_back(one.handle);
            live.clear();
          }
      }
      expire();
      REQUIRE(world->status(quota).used == live.size());
    }
  }
}

}  // namespace
}  // namespace tenancy
