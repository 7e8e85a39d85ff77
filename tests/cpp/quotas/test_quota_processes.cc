// Quotas between processes: the same counters at once, killed anywhere, stopped, forked.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <random>
#include <vector>

#include "quotas/processes.h"
#include "tenancy/quotas/ledger.h"

namespace tenancy {
namespace {

using test::Quota;
using test::TempDir;

using test::Host;
using test::kill_and_reap;
using test::kTtl;
using test::require_success;
using test::SharedBoard;
using test::spawn;
using test::wait_until;

TEST_CASE("processes hammering one quota admit exactly the limit") {
  for (const int processes : {1, 2, 4, 8}) {
    const TempDir dir;
    const SharedBoard board;
    const Quota quota(QuotaKind::kConsumption, 2000);
    std::vector<pid_t> children;
    for (int i = 0; i < processes; ++i) {
      children.push_back(spawn([&] {
        Host host(dir);
        ++board->ready;
        for (int refused = 0; refused < 50;) {
          QuotaHandle handle;
          const bool direct = (refused + i) % 2 == 0;
          const bool taken = direct ? host->consume(quota, 1).allowed
                                    : host->reserve(quota, 1, kTtl, &handle).allowed;
          if (!taken) {
            ++refused;
          } else if (direct || host->commit(quota, handle, std::nullopt)) {
            ++board->admitted;
          }
        }
      }));
    }
    for (const pid_t child : children) require_success(child);
    Host host(dir);
    CHECK(board->admitted == 2000);
    CHECK(host->status(quota).used == 2000);
    CHECK(host->status(quota).reserved == 0);
  }
}

TEST_CASE("workers killed anywhere: never above the limit, short by at most what was in flight") {
  constexpr int kKills = 200;
  constexpr uint64_t kCost = 3;
  const TempDir dir;
  const SharedBoard board;
  const Quota quota(QuotaKind::kConsumption, 1'000'000'000);
  std::mt19937 random(1);
  Host host(dir);
  for (int kills = 0; kills < kKills; ++kills) {
    const uint64_t ready = board->ready;
    const pid_t child = spawn([&] {
      Host own(dir);
      ++board->ready;
      for (uint64_t n = 0;; ++n) {
        QuotaHandle handle;
        if (n % 3 == 0) {
          if (own->consume(quota, kCost).allowed) board->admitted += kCost;
        } else if (own->reserve(quota, kCost, kTtl, &handle).allowed) {
          if (n % 3 == 1) {
            if (own->commit(quota, handle, std::nullopt)) board->admitted += kCost;
          } else {
            own->release(quota, handle);
          }
        }
      }
    });
    wait_until([&] { return board->ready > ready; });
    usleep(static_cast<useconds_t>(random() % 2000));
    kill_and_reap(child);
  }
  // What was confirmed is counted, and no more than one cost per kill beside it.
  const QuotaState state = host->status(quota);
  const uint64_t charged = state.used + state.reserved;
  CHECK(board->admitted <= charged);
  CHECK(charged <= board->admitted + kKills * kCost);
  CHECK(state.reserved <= kKills * kCost);

  // With a limit at hand: the rest is admitted to the last unit, and nothing beyond.
  Quota near = quota;
  near.grant.limit = charged + 1000;
  uint64_t rest = 0;
  while (host->consume(near, 1).allowed) ++rest;
  CHECK(rest == 1000);
  CHECK(board->admitted + rest <= near.grant.limit);
  CHECK(board->admitted + rest + kKills * kCost >= near.grant.limit);
}

TEST_CASE("reservations of a killed worker are free at once") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 300);
  for (int round = 0; round < 10; ++round) {
    const SharedBoard board;
    const pid_t child = spawn([&] {
      Host own(dir);
      QuotaHandle handle;
      for (int i = 0; i < 300; ++i) own->reserve(quota, 1, kTtl, &handle);
      board->ready = 1;
      for (;;) pause();
    });
    wait_until([&] { return board->ready == 1; });
    CHECK_FALSE(host->consume(quota, 1).allowed);
    kill_and_reap(child);
    QuotaHandle all;
    CHECK(host->reserve(quota, 300, kTtl, &all).allowed);
    CHECK(host->release(quota, all));
  }
  CHECK(host->status(quota).used == 0);
  CHECK(host->status(quota).reserved == 0);
}

TEST_CASE("what a worker killed between intent and holding had taken stays taken") {
  const TempDir dir;
  Host host(dir);
  constexpr uint64_t kUsageKey = 12345;
  quotas::UsageCells usage(host.table.get(), kUsageKey);
  REQUIRE(usage.make(quotas::kForeverNs));
  REQUIRE(usage.take(20, 100) == quotas::Take::kTaken);
  const SharedBoard board;
  const pid_t child = spawn([&] {
    Host own(dir);
    quotas::Ledgers ledgers(own.table.get());
    quotas::UsageCells cells(own.table.get(), kUsageKey);
    const int64_t until = own.table->now_ns() + kTtl;
    cells.find();
    // One stopped before the gate, one behind it, one that is held.
    if (!ledgers.intend({.amount = 5, .usage_key = kUsageKey, .until_ns = until})) _exit(1);
    if (!ledgers.intend({.amount = 7, .usage_key = kUsageKey, .until_ns = until})) _exit(2);
    if (cells.take(7, 100) != quotas::Take::kTaken) _exit(3);
    const auto held = ledgers.intend({.amount = 11, .usage_key = kUsageKey, .until_ns = until});
    if (!held || cells.take(11, 100) != quotas::Take::kTaken || !ledgers.hold(*held)) _exit(4);
    board->ready = 1;
    for (;;) pause();
  });
  wait_until([&] { return board->ready == 1; });
  quotas::Ledgers ledgers(host.table.get());
  ledgers.sweep(&usage);
  CHECK(usage.read().total == 38);  // the holder lives
  kill_and_reap(child);
  ledgers.sweep(&usage);
  CHECK(usage.read().total == 27);
  ledgers.sweep(&usage);
  CHECK(usage.read().total == 27);
  // Its ledger is clean and is taken over by the next process that needs one.
  const uint64_t made = host.table->stats(Region::kTenant, SlotClass::kLog512).used;
  REQUIRE(ledgers.intend({.amount = 1, .usage_key = kUsageKey, .until_ns = host.table->now_ns()}));
  CHECK(host.table->stats(Region::kTenant, SlotClass::kLog512).used == made);
}

TEST_CASE("leases of killed holders are free at once, even while nobody has reaped the holder") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kConcurrency, 20);
  for (int round = 0; round < 20; ++round) {
    const SharedBoard board;
    const auto hold = [&] {
      Host own(dir);
      QuotaHandle handle;
      for (int i = 0; i < 10; ++i) own->acquire(quota, kTtl, &handle);
      ++board->ready;
      for (;;) pause();
    };
    const pid_t first = spawn(hold);
    const pid_t second = spawn(hold);
    wait_until([&] { return board->ready == 2; });
    QuotaHandle handle;
    CHECK_FALSE(host->acquire(quota, kTtl, &handle).allowed);
    REQUIRE(kill(first, SIGKILL) == 0);
    if (round % 2 == 0) {
      REQUIRE(waitpid(first, nullptr, 0) == first);
    } else {
      siginfo_t info{};
      REQUIRE(waitid(P_PID, static_cast<id_t>(first), &info, WEXITED | WNOWAIT) == 0);
      usleep(20'000);  // what is known of the living is kept for 8 ms
    }
    std::vector<QuotaHandle> mine;
    for (int i = 0; i < 10; ++i) {
      REQUIRE(host->acquire(quota, kTtl, &handle).allowed);
      mine.push_back(handle);
    }
    CHECK_FALSE(host->acquire(quota, kTtl, &handle).allowed);  // the second still lives
    for (const QuotaHandle& one : mine) CHECK(host->end_lease(quota, one));
    if (round % 2 == 1) REQUIRE(waitpid(first, nullptr, 0) == first);
    kill_and_reap(second);
    CHECK(host->status(quota).used == 0);
  }
}

TEST_CASE(
    "workers killed while they take and end leases: never above the limit, all free at last") {
  constexpr uint64_t kLimit = 4;
  const TempDir dir;
  const SharedBoard board;
  const Quota quota(QuotaKind::kConcurrency, kLimit);
  std::mt19937 random(2);
  Host host(dir);
  for (int round = 0; round < 60; ++round) {
    const uint64_t ready = board->ready;
    std::vector<pid_t> children;
    for (int i = 0; i < 2; ++i) {
      children.push_back(spawn([&] {
        Host own(dir);
        ++board->ready;
        for (;;) {
          QuotaHandle one;
          QuotaHandle two;
          own->acquire(quota, kTtl, &one);
          own->acquire(quota, kTtl, &two);
          if (one) own->end_lease(quota, one);
          if (two) own->end_lease(quota, two);
        }
      }));
    }
    wait_until([&] { return board->ready >= ready + 2; });
    usleep(static_cast<useconds_t>(random() % 2000));
    for (const pid_t child : children) kill_and_reap(child);
    std::vector<QuotaHandle> mine;
    QuotaHandle handle;
    while (host->acquire(quota, kTtl, &handle).allowed) mine.push_back(handle);
    REQUIRE(mine.size() == kLimit);
    for (const QuotaHandle& one : mine) REQUIRE(host->end_lease(quota, one));
  }
}

TEST_CASE("a worker stopped past the expiry of its reservation cannot commit it") {
  const TempDir dir;
  const SharedBoard board;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 10);
  const Quota agents(QuotaKind::kConcurrency, 1);
  const pid_t child = spawn([&] {
    Host own(dir);
    QuotaHandle reservation;
    QuotaHandle lease;
    if (!own->reserve(quota, 10, kTtl, &reservation).allowed) _exit(1);
    if (!own->acquire(agents, kTtl, &lease).allowed) _exit(2);
    board->ready = 1;
    while (board->go == 0) usleep(100);
    if (own->commit(quota, reservation, std::nullopt)) _exit(3);
    if (own->renew(agents, lease, kTtl)) _exit(4);
    if (own->end_lease(agents, lease)) _exit(5);
  });
  wait_until([&] { return board->ready == 1; });
  REQUIRE(kill(child, SIGSTOP) == 0);
  QuotaHandle lease;
  CHECK_FALSE(host->consume(quota, 1).allowed);  // stopped is not dead
  CHECK_FALSE(host->acquire(agents, kTtl, &lease).allowed);
  host.clock->advance(kTtl);
  CHECK(host->consume(quota, 8).allowed);
  CHECK(host->acquire(agents, kTtl, &lease).allowed);
  board->go = 1;
  REQUIRE(kill(child, SIGCONT) == 0);
  require_success(child);
  CHECK(host->status(quota).used == 8);
  CHECK(host->status(quota).reserved == 0);
  CHECK(host->end_lease(agents, lease));
}

TEST_CASE("opened before the fork: parent and child hold apart") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 10);
  const Quota agents(QuotaKind::kConcurrency, 2);
  const SharedBoard board;
  QuotaHandle reservation;
  QuotaHandle lease;
  REQUIRE(host->reserve(quota, 4, kTtl, &reservation).allowed);
  REQUIRE(host->acquire(agents, kTtl, &lease).allowed);
  const pid_t child = spawn([&] {
    QuotaHandle own;
    if (!host->reserve(quota, 6, kTtl, &own).allowed) _exit(1);
    if (!host->acquire(agents, kTtl, &own).allowed) _exit(2);
    board->ready = 1;
    for (;;) pause();
  });
  wait_until([&] { return board->ready == 1; });
  QuotaHandle more;
  CHECK_FALSE(host->acquire(agents, kTtl, &more).allowed);
  CHECK_FALSE(host->consume(quota, 1).allowed);
  kill_and_reap(child);
  CHECK(host->status(quota).reserved >= 4);
  CHECK(host->consume(quota, 6).allowed);  // the child's share, not the parent's
  CHECK_FALSE(host->consume(quota, 1).allowed);
  CHECK(host->acquire(agents, kTtl, &more).allowed);
  CHECK_FALSE(host->acquire(agents, kTtl, &more).allowed);
  CHECK(host->commit(quota, reservation, std::nullopt));
  CHECK(host->end_lease(agents, lease));
}

TEST_CASE("a handle may be settled by another process") {
  const TempDir dir;
  Host host(dir);
  const Quota quota(QuotaKind::kCount, 10);
  QuotaHandle handle;
  REQUIRE(host->reserve(quota, 7, kTtl, &handle).allowed);
  require_success(spawn([&] {
    Host own(dir);
    if (!own->commit(quota, handle, 5)) _exit(1);
  }));
  CHECK(host->status(quota).used == 5);
  CHECK_FALSE(host->release(quota, handle));
}

TEST_CASE("use, reservations and leases survive a restart of everybody") {
  const TempDir dir;
  const Quota quota(QuotaKind::kCount, 10);
  require_success(spawn([&] {
    Host own(dir);
    QuotaHandle handle;
    if (!own->consume(quota, 6).allowed) _exit(1);
    if (!own->reserve(quota, 4, kTtl, &handle).allowed) _exit(2);
  }));
  Host host(dir);
  const QuotaState state = host->consume(quota, 4);  // its holder has ended
  CHECK(state.allowed);
  CHECK(state.used == 10);
}

}  // namespace
}  // namespace tenancy
