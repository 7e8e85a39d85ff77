// Threads on one quota: what is admitted is exactly the limit. Clean under the thread sanitizer.
#include <atomic>
#include <thread>
#include <vector>

#include "quotas/world.h"

namespace tenancy {
namespace {

using test::kSecond;
using test::Quota;
using test::World;

constexpr int kThreads = 4;

template <class Work>
void in_threads(const Work& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back(work, i);
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("threads consuming one quota admit exactly the limit") {
  World world;
  const Quota quota(QuotaKind::kConsumption, 3000);
  std::atomic<uint64_t> admitted{0};
  in_threads([&](int i) {
    for (int n = 0; n < 2000; ++n) {
      const auto amount = static_cast<uint64_t>(1 + (n + i) % 3);
      if (world->consume(quota, amount).allowed) admitted += amount;
    }
  });
  CHECK(admitted == 3000);
  CHECK(world->status(quota).used == 3000);
  CHECK(world->status(quota).reserved == 0);
}

TEST_CASE("threads reserving, committing and releasing lose and gain nothing") {
  World world;
  const Quota quota(QuotaKind::kCount, 50);
  std::atomic<uint64_t> kept{0};
  std::atomic<uint64_t> live{0};
  std::atomic<bool> passed{false};
  in_threads([&](int i) {
    for (int n = 0; n < 1500; ++n) {
      QuotaHandle handle;
      if (!world->reserve(quota, 3, 60 * kSecond, &handle).allowed) {
        world->decrement(quota, 1);
        continue;
      }
      if (live.fetch_add(3) + 3 > 50) passed = true;
      live -= 3;  // before it can be anybody else's
      const bool release = (n + i) % 3 == 0;
      const bool settled =
          release ? world->release(quota, handle) : world->commit(quota, handle, 1);
      if (!settled) passed = true;
      if (!release) ++kept;
    }
  });
  CHECK_FALSE(passed);
  CHECK(kept > 0);
  const QuotaState state = world->status(quota);
  CHECK(state.reserved == 0);
  CHECK(state.used <= 50);
  CHECK(world->consume(quota, 50 - state.used).allowed);
  CHECK_FALSE(world->consume(quota, 1).allowed);
}

TEST_CASE("threads taking and ending leases never hold more than the limit") {
  World world;
  const Quota quota(QuotaKind::kConcurrency, 3);
  std::atomic<int> held{0};
  std::atomic<bool> passed{false};
  std::atomic<int> taken{0};
  in_threads([&](int) {
    for (int n = 0; n < 1500; ++n) {
      QuotaHandle handle;
      if (!world->acquire(quota, 30 * kSecond, &handle).allowed) continue;
      if (held.fetch_add(1) + 1 > 3) passed = true;
      ++taken;
      if (n % 4 == 0 && !world->renew(quota, handle, 30 * kSecond)) passed = true;
      held.fetch_sub(1);
      if (!world->end_lease(quota, handle)) passed = true;
    }
  });
  CHECK_FALSE(passed);
  CHECK(taken > 0);
  CHECK(world->status(quota).used == 0);
}

TEST_CASE("leases expire under threads while the limit moves, and no limit is passed at rest") {
  World world;
  std::atomic<bool> done{false};
  std::thread time([&] {
    while (!done) world.clock->advance(kSecond);
  });
  in_threads([&](int i) {
    Quota quota(QuotaKind::kConcurrency, 100);
    for (int n = 0; n < 300; ++n) {
      quota.grant.limit = static_cast<uint64_t>(60 + (n + i) % 10);
      QuotaHandle handle;
      world->acquire(quota, 20 * kSecond, &handle);
      if (n % 3 == 0) world->end_lease(quota, handle);
      if (n % 3 == 1) world->renew(quota, handle, 20 * kSecond);
    }
  });
  done = true;
  time.join();
  const Quota quota(QuotaKind::kConcurrency, 60);
  CHECK(world->status(quota).used <= 70);
  world.clock->advance(100 * kSecond);
  CHECK(world->status(quota).used == 0);
}

TEST_CASE("periods turn under threads, each with its own full grant") {
  World world;
  const Quota quota(QuotaKind::kConsumption, 500, PeriodUnit::kMinute);
  constexpr int kPeriods = 5;
  for (int period = 0; period < kPeriods; ++period) {
    std::atomic<uint64_t> admitted{0};
    in_threads([&](int) {
      for (int n = 0; n < 300; ++n) {
        if (world->consume(quota, 1).allowed) ++admitted;
      }
    });
    CHECK(admitted == 500);
    world.clock->advance(test::kMinute);
  }
}

TEST_CASE("growth of the table under threads keeps every counter") {
  World world;
  std::atomic<bool> passed{false};
  in_threads([&](int i) {
    Quota quota(QuotaKind::kCount, 3);
    for (uint64_t n = 0; n < 1500; ++n) {
      quota.seed = 1 + n;  // every thread the same tenants
      QuotaHandle handle;
      const QuotaState state = world->reserve(quota, 1, 600 * kSecond, &handle);
      if (state.full) passed = true;
      if (state.allowed && i % 2 == 0 && !world->commit(quota, handle, std::nullopt)) passed = true;
      if (state.allowed && i % 2 == 1 && !world->release(quota, handle)) passed = true;
    }
  });
  CHECK_FALSE(passed);
  Quota quota(QuotaKind::kCount, 3);
  uint64_t sum = 0;
  for (quota.seed = 1; quota.seed <= 1500; ++quota.seed) {
    const QuotaState state = world->status(quota);
    REQUIRE(state.reserved == 0);
    sum += state.used;
  }
  CHECK(sum <= 3000);
  CHECK(sum >= 1500);
}

}  // namespace
}  // namespace tenancy
