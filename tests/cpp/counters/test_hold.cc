// A Hold counts a thread in once for many operations.
#include <cstdlib>
#include <thread>
#include <vector>

#include "catch.h"
#include "tenancy/base/clock.h"
#include "tenancy/counters/table.h"

namespace tenancy {
namespace {

constexpr int64_t kStart = int64_t{1'700'000'000} * 1'000'000'000;

std::unique_ptr<CounterTable> open_table(size_t initial_slots) {
  CounterTable::Options options;
  options.initial_slots = initial_slots;
  auto table = CounterTable::open(options, std::make_shared<FakeClock>(kStart));
  REQUIRE(table.ok());
  return std::move(*table);
}

// One more on the counter of `key`, in the lower bits of its word.
void count(CounterTable& table, uint64_t key) {
  for (;;) {
    auto slot = table.find_or_insert(Region::kTenant, SlotClass::kWords4, key, key);
    if (!slot.ok()) std::abort();  // Catch's assertions are not for threads
    if (!CounterTable::raise_expiry(*slot, table.now_ns() + 1'000'000'000)) continue;
    uint64_t seen = slot->state[0].load();
    while ((seen & kFrozen) == 0) {
      if (slot->state[0].compare_exchange_weak(seen, seen + 1)) return;
    }
  }
}

uint64_t counted(CounterTable& table, uint64_t key) {
  const SlotRef slot = table.find(Region::kTenant, SlotClass::kWords4, key, key);
  REQUIRE(slot);
  return slot.state[0].load() & kStateMask;
}

// Hashes, as callers use them.
uint64_t key_of(uint64_t i) { return (i + 1) * 0x9e3779b97f4a7c15; }

TEST_CASE("a table grows under holds as it does without") {
  const auto table = open_table(64);
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t i = 0; i < 5'000; ++i) {
      const CounterTable::Hold hold(*table);
      const CounterTable::Hold again(*table);  // they nest
      count(*table, key_of(i));
    }
  }
  for (uint64_t i = 0; i < 5'000; ++i) REQUIRE(counted(*table, key_of(i)) == 3);
  CHECK(table->stats(Region::kTenant, SlotClass::kWords4).generation > 1);
}

TEST_CASE("a long hold of one thread stops nobody, and loses nothing") {
  const auto table = open_table(64);
  const CounterTable::Hold hold(*table);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 3; ++thread) {
    threads.emplace_back([&] {
      for (uint64_t i = 0; i < 3'000; ++i) {
        const CounterTable::Hold own(*table);
        count(*table, key_of(i));
      }
    });
  }
  for (uint64_t i = 0; i < 3'000; ++i) count(*table, key_of(i));
  for (std::thread& thread : threads) thread.join();
  for (uint64_t i = 0; i < 3'000; ++i) REQUIRE(counted(*table, key_of(i)) == 4);
}

TEST_CASE("holds of two tables keep to their tables") {
  const auto one = open_table(64);
  const auto two = open_table(64);
  const CounterTable::Hold first(*one);
  {
    const CounterTable::Hold second(*two);
    for (uint64_t i = 0; i < 500; ++i) {
      count(*one, key_of(i));
      count(*two, key_of(i));
    }
  }
  for (uint64_t i = 0; i < 500; ++i) {
    count(*one, key_of(i));
    count(*two, key_of(i));
  }
  for (uint64_t i = 0; i < 500; ++i) {
    REQUIRE(counted(*one, key_of(i)) == 2);
    REQUIRE(counted(*two, key_of(i)) == 2);
  }
}

}  // namespace
}  // namespace tenancy
