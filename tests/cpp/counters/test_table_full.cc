// The tenant region at max_bytes: whatever its size and whoever filled it, it has room again once
// its keys equal "never seen".

#include <array>
#include <functional>
#include <random>
#include <utility>

#include "counting.h"
#include "tenancy/counters/core.h"
#include "tenancy/counters/table_file.h"

namespace tenancy::testing {
namespace {

constexpr size_t kMib = size_t{1} << 20;

// New keys until there is no room; returns how many went in.
uint64_t fill(CounterTable& table, SlotClass slot_class, uint64_t* key, int64_t until) {
  const uint64_t first = *key;
  for (;; ++*key) {
    const Place at{.slot_class = slot_class, .group = *key, .key = *key};
    if (!count(table, at, until)) return *key - first;
  }
}

// Fills, lets everything expire, and fills again.
void check_recovers(const CounterTable::Options& options, SlotClass slot_class) {
  CAPTURE(options.max_bytes, options.initial_slots, static_cast<int>(slot_class));
  auto clock = fake_clock();
  auto table = open_table(options, clock);
  uint64_t key = 1;
  const uint64_t fitted = fill(*table, slot_class, &key, table->now_ns() + kHour);
  REQUIRE(fitted >= 3);
  for (int round = 0; round < 4; ++round) {
    clock->advance(2 * kHour);
    CAPTURE(round);
    const uint64_t again = fill(*table, slot_class, &key, table->now_ns() + kHour);
    REQUIRE(again >= fitted);
    REQUIRE(table->bytes() <= options.max_bytes);
  }
}

TEST_CASE("a tenant region that was full has room again once its keys expired, at every size",
          "[exhaustive]") {
  for (const size_t mib : {1U, 2U, 3U, 4U, 5U, 6U, 8U, 16U}) {
    check_recovers({.initial_slots = 16, .max_bytes = mib * kMib}, SlotClass::kWords2);
    check_recovers({.max_bytes = mib * kMib}, SlotClass::kWords2);
  }
  for (const SlotClass slot_class : {SlotClass::kWords4, SlotClass::kWords8, SlotClass::kLog64,
                                     SlotClass::kLog512, SlotClass::kLog4096}) {
    for (const size_t mib : {1U, 2U, 3U, 5U}) {
      check_recovers({.max_bytes = mib * kMib}, slot_class);
    }
  }
}

TEST_CASE("what room is left over makes no difference") {
  std::mt19937_64 random(21);
  for (int i = 0; i < 12; ++i) {
    const size_t bytes = kMib + random() % (3 * kMib);
    const auto slot_class = static_cast<SlotClass>(random() % 4);
    check_recovers({.initial_slots = 1 + random() % 4096, .max_bytes = bytes}, slot_class);
  }
}

TEST_CASE("a first generation that cannot be moved within max_bytes is made smaller") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4, SlotClass::kWords8}) {
    check_recovers({.initial_slots = kMib / 16, .max_bytes = kMib}, slot_class);
  }
}

TEST_CASE("a file that was full has room again, also for one who opens it later") {
  const TempDir directory;
  auto clock = fake_clock();
  const CounterTable::Options options{.path = directory.file("counters"), .max_bytes = kMib};
  uint64_t key = 1;
  uint64_t fitted = 0;
  {
    auto table = open_table(options, clock);
    fitted = fill(*table, SlotClass::kWords2, &key, table->now_ns() + kHour);
  }
  for (int round = 0; round < 3; ++round) {
    clock->advance(2 * kHour);
    auto table = open_table(options, clock);
    REQUIRE(fill(*table, SlotClass::kWords2, &key, table->now_ns() + kHour) >= fitted);
  }
}

TEST_CASE("under holds a full region has room again within a tenth of a second") {
  for (const Region region : {Region::kTenant, Region::kAnonymous}) {
    auto clock = fake_clock();
    auto table = open_table({.max_bytes = kMib}, clock);
    uint64_t key = 1;
    const auto insert = [&] {
      const CounterTable::Hold hold(*table);
      const Place at{.region = region, .group = key, .key = key};
      const bool done = count(*table, at, table->now_ns() + kHour);
      key += done ? 1 : 0;
      return done;
    };
    while (insert()) {
    }
    for (int round = 0; round < 4; ++round) {
      CAPTURE(static_cast<int>(region), round);
      clock->advance(2 * kHour);
      int refused = 0;
      for (; !insert(); ++refused) clock->advance(20 * kSecond / 1000);
      CHECK(refused <= 5);
      const uint64_t first = key;
      while (insert()) {
      }
      REQUIRE(key - first >= 1000);
    }
  }
}

TEST_CASE("classes that share the tenant region leave each other what reclaim needs") {
  std::mt19937_64 random(22);
  for (int run = 0; run < 12; ++run) {
    auto clock = fake_clock();
    auto table =
        open_table({.initial_slots = 16, .max_bytes = kMib + random() % (3 * kMib)}, clock);
    constexpr std::array<SlotClass, 4> kClasses{SlotClass::kWords2, SlotClass::kWords4,
                                                SlotClass::kWords8, SlotClass::kLog64};
    uint64_t key = 1;
    // Each has a first generation; then they grow in turns of random length, then to the end.
    for (int turn = 0; turn < 60; ++turn) {
      const SlotClass slot_class = kClasses[turn < 4 ? static_cast<size_t>(turn) : random() % 4];
      const uint64_t keys = turn < 4 ? 1 : random() % 3000;
      for (uint64_t i = 0; i < keys; ++i, ++key) {
        const Place at{.slot_class = slot_class, .group = key, .key = key};
        if (!count(*table, at, table->now_ns() + kHour)) break;
      }
    }
    std::array<uint64_t, 4> fitted{};
    for (int round = 0; round < 3; ++round) {
      for (size_t i = 0; i < kClasses.size(); ++i) {
        CAPTURE(run, round, i);
        const uint64_t again = fill(*table, kClasses[i], &key, table->now_ns() + kHour);
        const uint64_t slots = table->stats(Region::kTenant, kClasses[i]).slots;
        if (round > 0) REQUIRE(again >= fitted[i]);
        if (round > 0) REQUIRE(again >= slots / 2);
        fitted[i] = round == 0 ? 0 : again;
      }
      clock->advance(2 * kHour);
    }
    REQUIRE(table->bytes() <= 4 * kMib);
  }
}

// Lets another process act once, just before the next generation is published.
struct LinkStep {
  static inline std::function<void()> before_link;
  static void at(counters::Point point) {
    if (point != counters::Point::kLink || !before_link) return;
    std::exchange(before_link, nullptr)();
  }
  static void yield() {}
};

TEST_CASE("a large block that the loser of a first use left is put to use") {
  using Core = counters::Core<LinkStep>;
  const CounterTable::Options options =
      *counters::check_options({.max_bytes = kMib, .anonymous_bytes = kMib / 4});
  auto clock = fake_clock();
  auto file = counters::open_table_file(options, *clock);
  REQUIRE(file.ok());
  Core large(file->get(), clock.get(), {.max_bytes = kMib, .initial_slots = 16'384});
  Core small(file->get(), clock.get(), {.max_bytes = kMib, .initial_slots = 16});
  const auto insert = [&](Core& core, uint64_t key) {
    return count_with([&] { return core.find_or_insert(0, key, key); }, false, 0,
                      core.time().now_ns() + kHour, [] {});
  };
  LinkStep::before_link = [&] { REQUIRE(insert(small, 1)); };
  REQUIRE(insert(large, 2));
  REQUIRE(large.stats(0).slots == 16);
  uint64_t key = 3;
  while (insert(small, key)) ++key;
  REQUIRE(small.stats(0).slots == 16'384);
  for (int round = 0; round < 3; ++round) {
    clock->advance(2 * kHour);
    const uint64_t first = key;
    while (insert(small, key)) ++key;
    REQUIRE(key - first >= 15'000);
  }
}

}  // namespace
}  // namespace tenancy::testing
