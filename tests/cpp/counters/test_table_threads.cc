// The table between threads; the thread sanitizer watches these.

#include <atomic>
#include <random>
#include <thread>
#include <vector>

#include "counting.h"

namespace tenancy::testing {
namespace {

constexpr int kThreads = 4;

template <class Work>
void run_threads(Work&& work) {
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) threads.emplace_back([&work, i] { work(i); });
  for (std::thread& thread : threads) thread.join();
}

TEST_CASE("threads counting on the same keys while it grows count exactly") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4, SlotClass::kWords8}) {
    auto table = open_table({.initial_slots = 16}, std::make_shared<FakeClock>(kStart));
    const int64_t until = kStart + kHour;
    std::atomic<bool> is_good{true};
    run_threads([&](int) {
      for (uint64_t key = 1; key <= 2000; ++key) {
        const Place at{.slot_class = slot_class, .group = key / 2, .key = key};
        if (!count(*table, at, until)) is_good = false;
      }
    });
    REQUIRE(is_good);
    for (uint64_t key = 1; key <= 2000; ++key) {
      const Place at{.slot_class = slot_class, .group = key / 2, .key = key};
      REQUIRE(counted(*table, at, until) == kThreads);
    }
  }
}

TEST_CASE("threads that come and go with keys reuse memory and lose no live count") {
  auto clock = std::make_shared<FakeClock>(kStart);
  auto table = open_table({.initial_slots = 64}, clock);
  const int64_t until = kStart + 1000 * kHour;
  std::atomic<bool> is_good{true};
  run_threads([&](int thread) {
    std::mt19937_64 random(static_cast<uint64_t>(thread) + 1);
    for (int i = 0; i < 6000; ++i) {
      const Place lasting{.slot_class = SlotClass::kWords4, .group = 1, .key = random() % 20 + 1};
      const Place passing{.slot_class = SlotClass::kWords4, .group = random(), .key = random() | 1};
      if (!count(*table, lasting, until)) is_good = false;
      if (!count(*table, passing, 1)) is_good = false;
    }
  });
  REQUIRE(is_good);
  uint64_t total = 0;
  for (uint64_t key = 1; key <= 20; ++key) {
    total += counted(*table, {.slot_class = SlotClass::kWords4, .group = 1, .key = key}, until);
  }
  REQUIRE(total == kThreads * 6000);
  REQUIRE(table->stats(Region::kTenant, SlotClass::kWords4).generation > 20);
}

}  // namespace
}  // namespace tenancy::testing
