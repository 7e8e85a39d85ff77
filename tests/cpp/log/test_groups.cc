// Whom a sync wakes: the waiters' half of the protocol as a model, step by step against the
// leader's, in random interleavings.
#include <algorithm>
#include <atomic>
#include <optional>
#include <random>
#include <thread>
#include <vector>

#include "rig.h"
#include "tenancy/log/futex.h"
#include "tenancy/log/groups.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

// The shared words, and waiters that take one step at a time.
struct Host {
  std::atomic<uint64_t> gathered{0};
  uint64_t tail = 0;
  uint64_t synced = 0;
  uint32_t durable = 0;

  struct Waiter {
    enum class At : uint8_t { kBegin, kSeen, kChosen, kAsleep, kDone };
    At at = At::kBegin;
    uint64_t end = 0;
    uint32_t seen = 0;
    uint32_t bit = 0;
    unsigned in_vain = 0;  // times it was woken and not durable
  };
  std::vector<Waiter> waiters;

  void step(Waiter& waiter) {
    using At = Waiter::At;
    switch (waiter.at) {
      case At::kBegin:
        waiter.seen = durable;
        waiter.at = At::kSeen;
        break;
      case At::kSeen:
        if (synced >= waiter.end) {
          waiter.at = At::kDone;
          break;
        }
        waiter.bit = Gathered::of(gathered.load()).bit_of(waiter.end);
        waiter.at = At::kChosen;
        break;
      case At::kChosen:  // what the kernel does in FUTEX_WAIT
        waiter.at = durable == waiter.seen ? At::kAsleep : At::kBegin;
        break;
      case At::kAsleep:
      case At::kDone: break;
    }
  }

  void settle(Groups& groups, uint64_t upto) {
    synced = upto;
    const uint32_t bits = groups.settle(synced);
    ++durable;
    for (Waiter& waiter : waiters) {
      if (waiter.at != Waiter::At::kAsleep || (waiter.bit & bits) == 0) continue;
      waiter.at = Waiter::At::kBegin;
      if (waiter.end > synced) ++waiter.in_vain;
    }
  }

  bool sleeps_too_long() const {
    return std::ranges::any_of(waiters, [&](const Waiter& waiter) {
      return waiter.at == Waiter::At::kAsleep && waiter.end <= synced;
    });
  }
};

}  // namespace

TEST_CASE("no waiter sleeps through the sync that covers its record") {
  std::mt19937_64 random(2024);
  const auto below = [&](uint64_t count) { return random() % count; };
  for (int run = 0; run < 300; ++run) {
    Host host;
    std::optional<Groups> leader(std::in_place, host.gathered);
    uint64_t written = 0;
    for (int i = 0; i < 400; ++i) {
      switch (below(8)) {
        case 0:  // a record
          host.tail += 1 + below(9);
          host.waiters.push_back({.end = host.tail});
          break;
        case 1:  // a group: of all there is, or not; which may end early
          if (written == host.tail) break;
          leader->take(host.tail);
          if (below(3) == 0) {
            written += 1 + below(host.tail - written);
            leader->shorten(written);
          } else if (below(3) == 0) {  // a roll in the middle of it
            host.settle(*leader, written + below(host.tail - written));
            written = host.tail;
          } else {
            written = host.tail;
          }
          break;
        case 2: host.settle(*leader, written); break;
        case 3:  // the disk refuses: what is not durable is taken again
          if (below(4) == 0) written = host.synced;
          break;
        case 4:  // the leader dies
          if (below(8) != 0) break;
          written = host.synced;
          leader.emplace(host.gathered);
          leader->begin();
          break;
        default:
          for (size_t steps = below(6); steps > 0 && !host.waiters.empty(); --steps) {
            host.step(host.waiters[below(host.waiters.size())]);
          }
      }
      REQUIRE_FALSE(host.sleeps_too_long());
    }
  }
}

TEST_CASE("a sync wakes nobody whose record came after its group was taken") {
  Host host;
  Groups groups(host.gathered);
  const auto append = [&] {
    host.tail += 10;
    host.waiters.push_back({.end = host.tail});
    for (int i = 0; i < 3; ++i) host.step(host.waiters.back());
  };
  for (int round = 0; round < 100; ++round) {
    append();
    groups.take(host.tail);
    const uint64_t taken = host.tail;
    append();  // while the group is written
    host.settle(groups, taken);
    for (Host::Waiter& waiter : host.waiters) {
      while (waiter.at != Host::Waiter::At::kAsleep && waiter.at != Host::Waiter::At::kDone) {
        host.step(waiter);
      }
    }
  }
  // The first sync of a leader wakes all.
  const auto in_vain = [](const Host::Waiter& waiter) { return waiter.in_vain != 0; };
  CHECK(std::ranges::count_if(host.waiters, in_vain) <= 1);
}

TEST_CASE("a waiter is woken by its own bits alone") {
  FutexWord word{7};
  constexpr int64_t kForever = 60'000'000'000;
  std::thread odd([&] { futex_wait(word, 7, kForever, 1U << 3); });
  std::thread even([&] { futex_wait(word, 7, kForever, 1U << 4); });
  while (futex_wake(word, 1U << 3 | 1U << 5) == 0) std::this_thread::yield();
  odd.join();
  CHECK(futex_wake(word, ~(1U << 4)) == 0);
  while (futex_wake(word, 1U << 4) == 0) std::this_thread::yield();
  even.join();
  CHECK(futex_wake(word, kAllWaiters) == 0);
  futex_wait(word, 8, kForever);  // differs: returns at once
}
