// What killed processes leave charged, and how it is given back without touching what the living
// are in the middle of.
#include <random>
#include <vector>

#include "quotas/processes.h"
#include "tenancy/quotas/ledger.h"
#include "tenancy/quotas/quota_key.h"

namespace tenancy {
namespace {

using test::Host;
using test::kill_and_reap;
using test::kTtl;
using test::Quota;
using test::require_success;
using test::SharedBoard;
using test::spawn;
using test::TempDir;
using test::wait_until;

// The counter of a count or size quota.
uint64_t counter_of(Host* host, const Quota& quota) {
  const HashKey& hash_key = host->table->hash_key();
  return quotas::usage_key(hash_key, quotas::quota_root(hash_key, quota), 0);
}

// A consumption that gets as far as the gate.
bool take_only(Host* host, const Quota& quota, uint64_t amount) {
  quotas::UsageCells cells(host->table.get(), counter_of(host, quota));
  return cells.make(quotas::kForeverNs) &&
         cells.take(amount, quota.grant.limit) == quotas::Take::kTaken;
}

void leave_charged(const TempDir& dir, const Quota& quota, uint64_t amount) {
  const SharedBoard board;
  const pid_t child = spawn([&] {
    Host own(dir);
    const CounterTable::Hold hold(*own.table);
    if (!take_only(&own, quota, amount)) _exit(1);
    board->ready = 1;
    for (;;) pause();
  });
  wait_until([&] { return board->ready == 1; });
  kill_and_reap(child);
}

TEST_CASE("a recount gives back what a worker killed inside a consumption left charged") {
  const TempDir dir;
  Host host(dir);
  for (const QuotaKind kind : {QuotaKind::kCount, QuotaKind::kSize}) {
    Quota quota(kind, 10);
    quota.seed += static_cast<uint64_t>(kind);
    REQUIRE(host->consume(quota, 3).allowed);
    leave_charged(dir, quota, 5);
    CHECK(host->status(quota).reserved == 5);
    CHECK_FALSE(host->consume(quota, 3).allowed);
    const QuotaState counted = host->set(quota, 4);
    CHECK(counted.allowed);
    CHECK(counted.used == 4);
    CHECK(counted.reserved == 0);
    CHECK(host->consume(quota, 6).allowed);
    CHECK_FALSE(host->consume(quota, 1).allowed);
  }
}

TEST_CASE("reconciling keeps what is used and what the living have reserved") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 20);
  QuotaHandle mine;
  REQUIRE(host->consume(quota, 3).allowed);
  REQUIRE(host->reserve(quota, 4, kTtl, &mine).allowed);
  leave_charged(dir, quota, 5);
  leave_charged(dir, quota, 6);
  CHECK(host->status(quota).reserved == 15);
  const QuotaState state = host->reconcile(quota);
  CHECK(state.used == 3);
  CHECK(state.reserved == 4);
  CHECK(host->reconcile(quota).reserved == 4);
  CHECK(host->commit(quota, mine, 2));
  CHECK(host->status(quota).used == 5);
  CHECK(host->status(quota).reserved == 0);
}

TEST_CASE("a period's counter is reconciled like the others, and an absent one stays absent") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kConsumption, 10);
  CHECK(host->reconcile(quota).used == 0);
  CHECK(host.table->stats(Region::kTenant, SlotClass::kWords8).used == 0);
  REQUIRE(host->consume(quota, 3).allowed);
  const HashKey& hash_key = host.table->hash_key();
  quotas::UsageCells cells(host.table.get(),
                           quotas::usage_key(hash_key, quotas::quota_root(hash_key, quota),
                                             host->status(quota).period_start_wall_ns));
  REQUIRE(cells.find());
  REQUIRE(cells.take(7, 10) == quotas::Take::kTaken);
  cells = quotas::UsageCells(host.table.get(), cells.key());  // lets go of the slot
  CHECK(host->status(quota).reserved == 7);
  CHECK(host->reconcile(quota).reserved == 0);
  CHECK(host->status(quota).used == 3);
}

TEST_CASE("what a stopped worker is in the middle of is not given back") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 10);
  const SharedBoard board;
  const pid_t child = spawn([&] {
    Host own(dir);
    const CounterTable::Hold hold(*own.table);
    if (!take_only(&own, quota, 5)) _exit(1);
    board->ready = 1;
    while (board->go == 0) usleep(100);
    quotas::UsageCells cells(own.table.get(), counter_of(&own, quota));
    if (!cells.find()) _exit(2);
    cells.book(5);
  });
  wait_until([&] { return board->ready == 1; });
  CHECK(host->reconcile(quota).reserved == 5);
  board->go = 1;
  require_success(child);
  CHECK(host->reconcile(quota).used == 5);
  CHECK(host->status(quota).reserved == 0);
}

TEST_CASE("whatever lowers or frees says so before, and then nothing can be claimed") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 100);
  REQUIRE(host->consume(quota, 10).allowed);
  quotas::UsageCells cells(host.table.get(), counter_of(&host, quota));
  REQUIRE(cells.find());
  uint64_t seen = cells.lowerings();
  const auto said = [&] { return cells.lowerings() != seen && !cells.claim(seen); };
  const auto reserve = [&] {
    QuotaHandle handle;
    REQUIRE(host->reserve(quota, 5, kTtl, &handle).allowed);
    seen = cells.lowerings();
    return handle;
  };
  CHECK_FALSE(said());
  host->consume(quota, 1);  // only adds
  CHECK(cells.lowerings() == seen);
  host->decrement(quota, 1);
  CHECK(said());
  CHECK(host->commit(quota, reserve(), 2));
  CHECK(said());
  CHECK(host->commit(quota, reserve(), std::nullopt));
  CHECK(said());
  CHECK(host->release(quota, reserve()));
  CHECK(said());
  reserve();
  host.clock->advance(kTtl);
  CHECK(host->status(quota).reserved == 0);  // swept
  CHECK(said());
  seen = cells.lowerings();
  host->set(quota, 3);
  CHECK(said());
  seen = cells.lowerings();
  CHECK(cells.claim(seen));
  CHECK_FALSE(cells.claim(seen));
}

TEST_CASE("inside a decision nothing is reconciled, at once") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 10);
  leave_charged(dir, quota, 5);
  const CounterTable::Hold hold(*host.table);
  CHECK_FALSE(host.table->wait_for_grace(1'000'000'000));
  CHECK(host->reconcile(quota).reserved == 5);
}

TEST_CASE("reconciling among workers that come, go, consume and give back loses nothing") {
  constexpr int kWorkers = 3;
  constexpr uint64_t kRounds = 20'000;
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 1'000'000'000);
  const SharedBoard board;
  std::vector<pid_t> children;
  for (int worker = 0; worker < kWorkers; ++worker) {
    children.push_back(spawn([&, worker] {
      Host own(dir);
      std::mt19937 random(static_cast<unsigned>(worker));
      for (uint64_t n = 0; n < kRounds; ++n) {
        const uint64_t amount = 1 + random() % 2;
        QuotaHandle handle;
        switch (random() % 4) {
          case 0:
            if (own->consume(quota, amount).allowed) board->admitted += amount;
            break;
          case 1:  // the same up and down: a total that comes back to what it was
            if (own->consume(quota, amount).allowed) own->decrement(quota, amount);
            break;
          case 2:
            if (own->reserve(quota, amount, kTtl, &handle).allowed &&
                own->commit(quota, handle, amount - 1)) {
              board->admitted += amount - 1;
            }
            break;
          default:
            if (own->reserve(quota, amount, kTtl, &handle).allowed) own->release(quota, handle);
        }
      }
      ++board->ready;
    }));
  }
  while (board->ready < kWorkers) host->reconcile(quota);
  for (const pid_t child : children) require_success(child);
  const QuotaState state = host->reconcile(quota);
  CHECK(state.used == board->admitted);
  CHECK(state.reserved == 0);
  // The gate stands where the use is: to the last unit, and nothing beyond.
  Quota near = quota;
  near.grant.limit = state.used + 10;
  CHECK_FALSE(host->consume(near, 11).allowed);
  CHECK(host->consume(near, 10).allowed);
}

TEST_CASE("after hundreds of kills a recount is exact again") {
  constexpr int kKills = 200;
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 1'000'000'000);
  const SharedBoard board;
  std::mt19937 random(3);
  for (int kills = 0; kills < kKills; ++kills) {
    const uint64_t ready = board->ready;
    const pid_t child = spawn([&] {
      Host own(dir);
      ++board->ready;
      for (uint64_t n = 0;; ++n) {
        QuotaHandle handle;
        own->consume(quota, 3);
        if (own->reserve(quota, 3, kTtl, &handle).allowed) own->commit(quota, handle, n % 3);
        own->decrement(quota, 2);
      }
    });
    wait_until([&] { return board->ready > ready; });
    usleep(static_cast<useconds_t>(random() % 1000));
    kill_and_reap(child);
    if (kills % 50 == 49) {
      const uint64_t used = host->status(quota).used;
      CHECK(host->reconcile(quota).used == used);
      CHECK(host->status(quota).reserved == 0);
    }
  }
  const QuotaState counted = host->set(quota, 1000);
  CHECK(counted.used == 1000);
  CHECK(counted.reserved == 0);
  Quota near = quota;
  near.grant.limit = 1010;
  CHECK_FALSE(host->consume(near, 11).allowed);
  CHECK(host->consume(near, 10).allowed);
}

}  // namespace
}  // namespace tenancy
