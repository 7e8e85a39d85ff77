// Charges: whoever repeats a request under its key is charged once, whatever dies in between.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <random>
#include <string>
#include <vector>

#include "base/process.h"
#include "quotas/world.h"
#include "tenancy/quotas/charges.h"

namespace tenancy {
namespace {

using test::kDay;
using test::kSecond;
using test::kStart;
using test::TempDir;
using test::World;

constexpr ChargeTerms kTerms{.pending_ns = 60 * kSecond, .window_ns = kDay, .repeats_max = 3};
constexpr uint64_t kKey = 4711;
constexpr uint64_t kPrint = uint64_t{815} << 8;

struct Attempt {
  Charge answer;
  ChargeHandle handle;
};

Attempt claim(World& world, uint64_t key = kKey, uint64_t print = kPrint) {
  Attempt attempt{};
  attempt.answer = world->charges().claim(key, print, kTerms, &attempt.handle);
  return attempt;
}

TEST_CASE("a charge is the first one's; repeats of it are free, three times") {
  World world;
  CHECK_FALSE(world->charges().known(kKey));
  const Attempt first = claim(world);
  REQUIRE(first.answer == Charge::kMine);
  CHECK(claim(world).answer == Charge::kInProgress);
  REQUIRE(world->charges().book(first.handle, kTerms));
  CHECK_FALSE(world->charges().book(first.handle, kTerms));
  for (int i = 0; i < 3; ++i) CHECK(claim(world).answer == Charge::kBefore);
  CHECK(claim(world).answer == Charge::kReused);
  CHECK(world->charges().known(kKey));
  CHECK(claim(world, kKey + 1).answer == Charge::kMine);
}

TEST_CASE("a charged key stands for one request only") {
  World world;
  const Attempt first = claim(world);
  REQUIRE(world->charges().book(first.handle, kTerms));
  CHECK(claim(world, kKey, kPrint + 256).answer == Charge::kReused);
  CHECK(claim(world).answer == Charge::kBefore);
}

TEST_CASE("an attempt that failed charges nothing, and the next one may be another request") {
  World world;
  world->charges().drop(claim(world).handle);
  const Attempt second = claim(world, kKey, kPrint + 256);
  REQUIRE(second.answer == Charge::kMine);
  REQUIRE(world->charges().book(second.handle, kTerms));
  CHECK(claim(world, kKey, kPrint + 256).answer == Charge::kBefore);
}

TEST_CASE("after the window a key is new") {
  World world;
  REQUIRE(world->charges().book(claim(world).handle, kTerms));
  world.clock->advance(kDay - kSecond);
  CHECK(claim(world).answer == Charge::kBefore);
  world.clock->advance(2 * kSecond);
  CHECK(claim(world, kKey, kPrint + 256).answer == Charge::kMine);
}

TEST_CASE("an attempt that takes too long loses its charge to the one that comes after") {
  World world;
  const Attempt slow = claim(world);
  world.clock->advance(61 * kSecond);
  SECTION("when there is one") {
    const Attempt quick = claim(world);
    REQUIRE(quick.answer == Charge::kMine);
    CHECK_FALSE(world->charges().book(slow.handle, kTerms));
    world->charges().drop(slow.handle);  // not its own any more: nothing happens
    CHECK(world->charges().book(quick.handle, kTerms));
    CHECK(claim(world).answer == Charge::kBefore);
  }
  SECTION("and keeps it when there is none") {
    CHECK(world->charges().book(slow.handle, kTerms));
    CHECK(claim(world).answer == Charge::kBefore);
  }
}

TEST_CASE("a charge survives growth and reclaim of the table") {
  World world;
  REQUIRE(world->charges().book(claim(world).handle, kTerms));
  const Attempt open = claim(world, kKey + 1);
  for (uint64_t other = 1'000; other < 4'000; ++other) claim(world, other << 20 | other);
  CHECK(claim(world).answer == Charge::kBefore);
  CHECK(claim(world, kKey + 1).answer == Charge::kInProgress);
  CHECK(world->charges().book(open.handle, kTerms));
}

TEST_CASE("a table without room refuses and changes nothing") {
  auto clock = std::make_shared<FakeClock>(kStart);
  CounterTable::Options options;
  options.initial_slots = 16;
  options.max_bytes = size_t{2} << 20;
  options.anonymous_bytes = size_t{64} << 10;
  auto table = std::move(CounterTable::open(options, clock)).value();
  Quotas quotas(table.get(), clock);
  ChargeHandle handle;
  uint64_t key = 1;
  while (quotas.charges().claim(key << 24, kPrint, kTerms, &handle) == Charge::kMine) ++key;
  CHECK(key > 100);
  CHECK(quotas.charges().claim(key << 24, kPrint, kTerms, &handle) == Charge::kFull);
  CHECK(quotas.charges().claim(uint64_t{1} << 24, kPrint, kTerms, &handle) == Charge::kInProgress);
}

// A worker of the host, with clock and table of its own on the files that all share.
struct Worker {
  explicit Worker(const TempDir& dir) {
    clock = *FakeClock::open(dir.file("clock"), kStart);
    table = test::open_table(clock, dir.file("counters"));
    quotas = std::make_unique<Quotas>(table.get(), clock);
  }
  std::shared_ptr<FakeClock> clock;
  std::unique_ptr<CounterTable> table;
  std::unique_ptr<Quotas> quotas;
};

TEST_CASE("a killed worker's charge is taken over at once, whatever it had done") {
  const TempDir dir;
  Worker here(dir);
  for (uint64_t key = 1; key <= 20; ++key) {
    const bool books = key % 2 == 0;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Worker worker(dir);
      ChargeHandle handle;
      const bool mine =
          worker.quotas->charges().claim(key, kPrint, kTerms, &handle) == Charge::kMine;
      if (books) worker.quotas->charges().book(handle, kTerms);
      raise(mine ? SIGKILL : SIGTERM);
    }
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(WIFSIGNALED(status));
    REQUIRE(WTERMSIG(status) == SIGKILL);
    ChargeHandle handle;
    const Charge answer = here.quotas->charges().claim(key, kPrint, kTerms, &handle);
    CHECK(answer == (books ? Charge::kBefore : Charge::kMine));
  }
}

// Each child tries to charge every key of a list, in an order of its own, and counts what it
// booked.
uint64_t charge_all(Worker& worker, uint64_t keys, unsigned seed) {
  std::vector<uint64_t> order(keys);
  for (uint64_t i = 0; i < keys; ++i) order[i] = i + 1;
  std::shuffle(order.begin(), order.end(), std::mt19937(seed));
  const ChargeTerms terms{.pending_ns = 60 * kSecond, .window_ns = kDay, .repeats_max = 4095};
  uint64_t booked = 0;
  for (const uint64_t key : order) {
    for (;;) {
      ChargeHandle handle;
      const Charge answer = worker.quotas->charges().claim(key << 20, kPrint, terms, &handle);
      if (answer == Charge::kBefore) break;
      if (answer != Charge::kMine) continue;
      if (seed % 3 == 0 && key % 5 == seed % 5) {  // an attempt that fails: somebody else pays
        worker.quotas->charges().drop(handle);
        if (key % 2 == 0) continue;
        break;
      }
      booked += worker.quotas->charges().book(handle, terms) ? 1 : 0;
      break;
    }
  }
  return booked;
}

TEST_CASE("processes that race for the same keys charge each of them exactly once") {
  const TempDir dir;
  Worker here(dir);
  constexpr uint64_t kKeys = 400;
  std::vector<std::unique_ptr<test::Child>> children;
  for (unsigned seed = 1; seed <= 4; ++seed) {
    children.push_back(std::make_unique<test::Child>([&dir, seed] {
      Worker worker(dir);
      return std::to_string(charge_all(worker, kKeys, seed));
    }));
  }
  uint64_t booked = 0;
  for (auto& child : children) booked += std::stoull(child->join());
  booked += charge_all(here, kKeys, 7);
  CHECK(booked == kKeys);
}

// What a decision does with a key: at most once in the window, whoever else does the same.
void charge(Quotas& quotas, const test::Quota& quota, uint64_t key, uint64_t amount) {
  ChargeHandle handle;
  if (quotas.charges().claim(key << 20, kPrint, kTerms, &handle) != Charge::kMine) return;
  QuotaHandle held;
  if (!quotas.reserve(quota, amount, kTerms.pending_ns, &held).allowed) return;
  if (quotas.charges().book(handle, kTerms)) quotas.commit(quota, held, std::nullopt);
}

TEST_CASE(
    "workers killed anywhere: no key is charged twice, and one for each kill may be left out") {
  constexpr uint64_t kKills = 150;
  constexpr uint64_t kAmount = 3;
  const TempDir dir;
  const test::Quota quota(QuotaKind::kCount, 1'000'000'000);
  void* const shared = mmap(nullptr, sizeof(std::atomic<uint64_t>), PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  REQUIRE(shared != MAP_FAILED);
  auto* const reached = new (shared) std::atomic<uint64_t>(0);
  std::mt19937 random(1);
  Worker here(dir);
  uint64_t keys = 0;
  for (uint64_t round = 1; round <= kKills; ++round) {
    const uint64_t first = round << 24;
    *reached = first;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      Worker worker(dir);
      for (;;) charge(*worker.quotas, quota, ++*reached, kAmount);
    }
    while (*reached < first + 1 + random() % 30) usleep(50);
    REQUIRE(kill(child, SIGKILL) == 0);
    REQUIRE(waitpid(child, nullptr, 0) == child);
    keys += *reached - first;
    // The clients, who heard nothing, send everything again.
    for (uint64_t key = first + 1; key <= *reached; ++key) {
      charge(*here.quotas, quota, key, kAmount);
    }
  }
  const QuotaState state = here.quotas->status(quota);
  munmap(shared, sizeof(std::atomic<uint64_t>));
  CHECK(state.reserved <= kKills * kAmount);  // of those killed before their record was whole
  CHECK(state.used <= keys * kAmount);
  CHECK(state.used + kKills * kAmount >= keys * kAmount);
  CHECK(keys > kKills);
}

}  // namespace
}  // namespace tenancy
