// Many processes and threads on one key admit exactly what the policy says; with kill -9, never
// more.
#include <signal.h>
#include <sys/mman.h>

#include <random>
#include <thread>
#include <vector>

#include "../base/process.h"
#include "rig.h"

namespace tenancy {
namespace {

LimitPolicy busy_policy(const Way& way) {
  return policy_of(way.algorithm == Algorithm::kSlidingLog ? "500/minute" : "2000/minute", way);
}

// Time may pass inside the window where nothing comes back before its end.
bool may_move(const Way& way) { return !policy_of("1/s", way).is_gcra(); }

std::shared_ptr<FakeClock> shared_clock(const test::TempDir& dir) {
  auto clock = FakeClock::open(dir.file("clock"), kStart);
  if (!clock.ok()) FAIL(clock.error().message);
  return *clock;
}

// A number that outlives the process that raises it.
class SharedCount {
 public:
  SharedCount()
      : value_(new (mmap(nullptr, sizeof(std::atomic<uint64_t>), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0)) std::atomic<uint64_t>(0)) {}
  ~SharedCount() { munmap(value_, sizeof(*value_)); }
  SharedCount(const SharedCount&) = delete;
  SharedCount& operator=(const SharedCount&) = delete;
  std::atomic<uint64_t>& operator*() const { return *value_; }

 private:
  std::atomic<uint64_t>* value_;
};

std::string hammer(Rig& rig, bool moves) {
  uint64_t admitted = 0;
  const uint64_t tries = rig.policy.limit * 2;
  for (uint64_t i = 0; i < tries; ++i) {
    if (moves && i % (tries / 8) == 0) rig.clock->advance(kMin / 50);
    admitted += rig.take().allowed ? 1 : 0;
  }
  return std::to_string(admitted);
}

}  // namespace

TEST_CASE("1, 2, 4 and 8 processes admit exactly the limit", "[limits][processes]") {
  for (const Way& way : kWays) {
    for (const size_t processes : {1U, 2U, 4U, 8U}) {
      INFO(way.name << ", " << processes << " processes");
      const test::TempDir dir;
      const LimitPolicy policy = busy_policy(way);
      std::vector<std::unique_ptr<test::Child>> children;
      for (size_t i = 0; i < processes; ++i) {
        const bool moves = i == 0 && may_move(way);
        children.push_back(std::make_unique<test::Child>([&] {
          Rig rig(policy, shared_clock(dir), {.path = dir.file("counters")});
          return hammer(rig, moves);
        }));
      }
      uint64_t admitted = 0;
      for (auto& child : children) {
        const std::string said = child->join();
        REQUIRE(said != "died");
        admitted += std::stoull(said);
      }
      CHECK(admitted == policy.limit);
      // The same after everybody has gone and come back.
      Rig rig(policy, shared_clock(dir), {.path = dir.file("counters")});
      CHECK_FALSE(rig.take().allowed);
      rig.clock->advance(3 * kMin);
      CHECK(rig.take(policy.limit).allowed);
    }
  }
}

TEST_CASE("a table opened before fork counts for all children", "[limits][processes]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    const test::TempDir dir;
    Rig rig(busy_policy(way), shared_clock(dir), {.path = dir.file("counters")});
    REQUIRE(rig.take().allowed);
    uint64_t admitted = 1;
    std::vector<std::unique_ptr<test::Child>> children;
    for (int i = 0; i < 3; ++i) {
      children.push_back(std::make_unique<test::Child>([&] { return hammer(rig, false); }));
    }
    for (auto& child : children) admitted += std::stoull(child->join());
    CHECK(admitted == rig.policy.limit);
  }
}

TEST_CASE("kill -9 anywhere: never more, and short by no more than the kills",
          "[limits][processes][exhaustive]") {
  constexpr int kRounds = 32;
  constexpr size_t kProcesses = 4;
  std::mt19937_64 random(20261121);
  uint64_t kills = 0;
  for (const Way& way : kWays) {
    INFO(way.name);
    const test::TempDir dir;
    LimitPolicy policy =
        policy_of(way.algorithm == Algorithm::kSlidingLog ? "4000/minute" : "100000/minute", way);
    Rig rig(policy, shared_clock(dir), {.path = dir.file("counters")});
    for (int round = 0; round < kRounds; ++round) {
      const SharedCount admitted;
      std::vector<pid_t> children;
      for (size_t i = 0; i < kProcesses; ++i) {
        const pid_t child = fork();
        if (child == 0) {
          for (uint64_t n = 0;; ++n) {
            if (i == 0 && may_move(way) && n < 4000 && n % 100 == 99) rig.clock->advance(kMin / 50);
            if (rig.take().allowed) (*admitted).fetch_add(1);
          }
        }
        children.push_back(child);
      }
      for (const pid_t child : children) {
        usleep(static_cast<useconds_t>(random() % 2000));
        kill(child, SIGKILL);
        ++kills;
      }
      for (const pid_t child : children) waitpid(child, nullptr, 0);
      const uint64_t rest = rig.peek().remaining;
      if (rest != 0 && rig.take(rest).allowed) *admitted += rest;
      REQUIRE_FALSE(rig.take().allowed);
      REQUIRE(*admitted <= policy.limit);
      REQUIRE(*admitted + kProcesses >= policy.limit);
      // On to a time when nothing of this counts any more, at the beginning of a period.
      rig.clock->advance(4 * kMin - rig.table->now_ns() % kMin);
    }
  }
  CHECK(kills >= 1000);
}

TEST_CASE("several limits at once stay all or nothing between processes", "[limits][processes]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    const test::TempDir dir;
    const LimitPolicy wide = policy_of("2000/minute");
    const LimitPolicy narrow = policy_of("300/hour", way);
    const auto take_many = [&](Rig& rig, uint64_t tries) {
      std::vector<LimitHit> hits(2, rig.hit());
      hits[1].policy = &narrow;
      hits[1].key = limit_key(rig.table->hash_key(), hits[1].group, narrow);
      std::vector<LimitState> states(2);
      uint64_t admitted = 0;
      for (uint64_t i = 0; i < tries; ++i) {
        admitted += limit_take_all(*rig.table, hits, states, rig.table->now_ns()) ? 1 : 0;
      }
      return admitted;
    };
    std::vector<std::unique_ptr<test::Child>> children;
    for (int i = 0; i < 4; ++i) {
      children.push_back(std::make_unique<test::Child>([&] {
        Rig rig(wide, shared_clock(dir), {.path = dir.file("counters")});
        return std::to_string(take_many(rig, 500));
      }));
    }
    uint64_t admitted = 0;
    for (auto& child : children) admitted += std::stoull(child->join());
    Rig rig(wide, shared_clock(dir), {.path = dir.file("counters")});
    admitted += take_many(rig, 1);
    CHECK(admitted == 300);
    CHECK(rig.peek().remaining == 1700);
  }
}

TEST_CASE("threads of one process admit exactly the limit", "[limits][threads]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(busy_policy(way));
    std::atomic<uint64_t> admitted{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&, i] {
        for (uint64_t n = 0; n < rig.policy.limit; ++n) {
          if (i == 0 && may_move(way) && n % 100 == 99) rig.clock->advance(kMin / 100);
          if (limit_take(*rig.table, rig.hit(), rig.table->now_ns()).allowed) ++admitted;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(admitted == rig.policy.limit);
  }
}

TEST_CASE("hits, refunds and resets of many threads never leave more than the limit",
          "[limits][threads]") {
  for (const Way& way : kWays) {
    INFO(way.name);
    Rig rig(policy_of("50/minute", way));
    std::atomic<int64_t> held{0};
    std::atomic<int64_t> most{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&] {
        for (int n = 0; n < 3000; ++n) {
          const int64_t now_ns = rig.table->now_ns();
          if (!limit_take(*rig.table, rig.hit(), now_ns).allowed) continue;
          const int64_t now_held = held.fetch_add(1) + 1;
          int64_t seen = most.load();
          while (seen < now_held && !most.compare_exchange_weak(seen, now_held)) {
          }
          held.fetch_sub(1);
          limit_refund(*rig.table, rig.hit(), now_ns, now_ns);
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(most <= 50);
    CHECK(rig.peek().remaining == 50);
  }
}

}  // namespace tenancy
