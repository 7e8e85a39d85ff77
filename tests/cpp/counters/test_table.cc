// The table in one process and one thread: against a model, growing, reclaiming, full.

#include <array>
#include <map>
#include <random>
#include <set>
#include <unordered_map>
#include <vector>

#include "counting.h"
#include "tenancy/counters/core.h"

namespace tenancy::testing {
namespace {

uint64_t random_key(std::mt19937_64& random) { return random() | 1; }

TEST_CASE("a key that was never seen is not found and starts at zero") {
  auto table = open_table({}, fake_clock());
  REQUIRE_FALSE(table->find(Region::kTenant, SlotClass::kWords2, 1, 2));
  auto slot = table->find_or_insert(Region::kTenant, SlotClass::kWords2, 1, 2);
  REQUIRE(slot.ok());
  REQUIRE(slot->state->load() == 0);
  REQUIRE(slot->expiry == nullptr);
  const SlotRef found = table->find(Region::kTenant, SlotClass::kWords2, 1, 2);
  REQUIRE(found.state == slot->state);
  REQUIRE_FALSE(table->find(Region::kAnonymous, SlotClass::kWords2, 1, 2));
  REQUIRE_FALSE(table->find(Region::kTenant, SlotClass::kWords4, 1, 2));
  REQUIRE_FALSE(table->find(Region::kTenant, SlotClass::kWords2, 1, 3));
}

TEST_CASE("every class holds its words apart and keeps them while it grows") {
  const std::array<std::pair<SlotClass, size_t>, 6> classes{{{SlotClass::kWords2, 5000},
                                                             {SlotClass::kWords4, 5000},
                                                             {SlotClass::kWords8, 5000},
                                                             {SlotClass::kLog64, 500},
                                                             {SlotClass::kLog512, 100},
                                                             {SlotClass::kLog4096, 20}}};
  auto table = open_table({.initial_slots = 16}, fake_clock());
  const int64_t until = table->now_ns() + kHour;
  for (const auto& [slot_class, keys] : classes) {
    const size_t words = state_words(slot_class);
    for (uint64_t key = 1; key <= keys; ++key) {
      const Place at{.slot_class = slot_class, .group = key / 4, .key = key};
      for (const size_t word : {size_t{0}, words / 2, words - 1}) {
        for (uint64_t i = 0; i <= key % 3; ++i) REQUIRE(count(*table, at, until, word));
      }
    }
    const size_t distinct = words == 1 ? 1 : words == 2 ? 2 : 3;
    for (uint64_t key = 1; key <= keys; ++key) {
      const Place at{.slot_class = slot_class, .group = key / 4, .key = key};
      const uint64_t each = 1 + key % 3;
      REQUIRE(counted(*table, at, until, words - 1) == (distinct == 1   ? 3 * each
                                                        : distinct == 2 ? 2 * each
                                                                        : each));
      REQUIRE(counted(*table, at, until, 0) == (distinct == 1 ? 3 * each : each));
      if (distinct == 3) REQUIRE(counted(*table, at, until, words / 2) == each);
    }
    const CounterTable::ClassStats stats = table->stats(Region::kTenant, slot_class);
    REQUIRE(stats.generation > 1);
    REQUIRE(stats.used >= keys);
    REQUIRE(stats.slots >= keys);
  }
}

// Random operations against a map from key to count, with keys that come and go.
void run_model(SlotClass slot_class, Region region, uint64_t seed, size_t steps, size_t keys) {
  CAPTURE(seed, static_cast<int>(slot_class), static_cast<int>(region));
  auto clock = fake_clock();
  auto table = open_table({.initial_slots = 16, .anonymous_bytes = size_t{32} << 20}, clock);
  std::mt19937_64 random(seed);
  struct Known {
    uint64_t group;
    uint64_t count;
    int64_t until;
  };
  std::unordered_map<uint64_t, Known> model;
  std::vector<uint64_t> names(keys);
  for (uint64_t& name : names) name = random_key(random);
  for (size_t step = 0; step < steps; ++step) {
    const uint64_t key = names[random() % keys];
    const uint64_t group = key % 64;
    const int64_t now = table->now_ns();
    auto known = model.find(key);
    const bool is_live = known != model.end() && known->second.until > now;
    const Place at{.region = region, .slot_class = slot_class, .group = group, .key = key};
    if (random() % 4 == 0) {
      const uint64_t expected = is_live ? known->second.count : 0;
      const int64_t until = is_live ? known->second.until : now + 1;
      const uint64_t got = counted(*table, at, until);
      // What is dead may still be there or be forgotten; the reader looks at the expiry.
      if (is_live) REQUIRE(got == expected);
      if (known == model.end()) REQUIRE(got == 0);
    } else if (is_live || known == model.end()) {
      const int64_t until =
          is_live ? known->second.until : now + static_cast<int64_t>(random() % 100) * kSecond + 1;
      REQUIRE(count(*table, at, until));
      if (is_live) {
        ++known->second.count;
      } else {
        model[key] = {.group = group, .count = 1, .until = until};
      }
    }
    if (random() % 64 == 0) clock->advance(static_cast<int64_t>(random() % kSecond));
    // Keys that died are replaced by new names, so generations fill with the dead.
    if (random() % 8 == 0) names[random() % keys] = random_key(random);
  }
  for (const auto& [key, known] : model) {
    if (known.until <= table->now_ns()) continue;
    const Place at{.region = region, .slot_class = slot_class, .group = known.group, .key = key};
    REQUIRE(counted(*table, at, known.until) == known.count);
  }
}

TEST_CASE("random operations agree with a map, through growth and reclaim") {
  for (const Region region : {Region::kTenant, Region::kAnonymous}) {
    run_model(SlotClass::kWords2, region, 1, 60'000, 3000);
    run_model(SlotClass::kWords4, region, 2, 60'000, 3000);
    run_model(SlotClass::kWords8, region, 3, 60'000, 3000);
  }
  run_model(SlotClass::kLog64, Region::kTenant, 4, 20'000, 300);
  run_model(SlotClass::kLog512, Region::kTenant, 5, 5'000, 40);
}

TEST_CASE("slots of one group share a cache line while there is room") {
  auto table = open_table({.initial_slots = 4096}, fake_clock());
  for (uint64_t group = 1; group < 100; ++group) {
    std::set<uintptr_t> lines;
    for (uint64_t key = 1; key <= 4; ++key) {
      auto slot =
          table->find_or_insert(Region::kTenant, SlotClass::kWords2, group, group << 8 | key);
      REQUIRE(slot.ok());
      lines.insert(reinterpret_cast<uintptr_t>(slot->key) / 64);
    }
    REQUIRE(lines.size() <= 2);
  }
}

TEST_CASE("keys of a group are found together as they are one by one") {
  auto table = open_table({.initial_slots = 16}, fake_clock());
  std::array<uint64_t, 3> keys{};
  std::array<SlotRef, 3> none;
  table->find_group(Region::kTenant, SlotClass::kWords8, 1, keys, none);
  REQUIRE_FALSE(none[0]);
  std::mt19937_64 random(3);
  for (uint64_t group = 1; group <= 500; ++group) {
    // The second of three is not there; growth is under way most of the time.
    for (uint64_t& key : keys) key = random_key(random);
    for (const size_t i : {size_t{0}, size_t{2}}) {
      REQUIRE(table->find_or_insert(Region::kTenant, SlotClass::kWords8, group, keys[i]).ok());
    }
    std::array<SlotRef, 3> slots;
    table->find_group(Region::kTenant, SlotClass::kWords8, group, keys, slots);
    for (size_t i = 0; i < keys.size(); ++i) {
      REQUIRE(static_cast<bool>(slots[i]) == (i != 1));
      const SlotRef one = table->find(Region::kTenant, SlotClass::kWords8, group, keys[i]);
      REQUIRE(one.state == slots[i].state);
    }
  }
}

TEST_CASE("a group of many thousand keys stays usable") {
  auto table = open_table({}, fake_clock());
  const int64_t until = table->now_ns() + kHour;
  for (uint64_t key = 1; key <= 30'000; ++key) {
    REQUIRE(count(*table, {.group = 7, .key = key}, until));
  }
  for (uint64_t key = 1; key <= 30'000; ++key) {
    REQUIRE(counted(*table, {.group = 7, .key = key}, until) == 1);
  }
}

TEST_CASE("the two values that mean empty and dead are keys like others") {
  for (const uint64_t value : {uint64_t{0}, ~uint64_t{0}}) {
    REQUIRE(counters::stored_key(value, value) != 0);
    REQUIRE(counters::stored_key(value, value) != counters::kDeadKey);
  }
}

TEST_CASE("moving copies what is live and leaves what equals never seen") {
  auto clock = fake_clock();
  auto table = open_table({.initial_slots = 1024}, clock);
  const int64_t now = table->now_ns();
  // Two thirds die before the generation is full.
  for (uint64_t key = 1; key <= 600; ++key) {
    const int64_t until = key % 3 == 0 ? now + kHour : now + kSecond;
    REQUIRE(count(*table, {.slot_class = SlotClass::kWords4, .group = key, .key = key}, until));
  }
  clock->advance(2 * kSecond);
  for (uint64_t key = 10'001; key <= 10'300; ++key) {
    REQUIRE(
        count(*table, {.slot_class = SlotClass::kWords4, .group = key, .key = key}, now + kHour));
  }
  const CounterTable::ClassStats stats = table->stats(Region::kTenant, SlotClass::kWords4);
  REQUIRE(stats.generation == 2);
  REQUIRE(stats.slots == 1024);
  for (uint64_t key = 1; key <= 600; ++key) {
    const Place at{.slot_class = SlotClass::kWords4, .group = key, .key = key};
    REQUIRE(counted(*table, at, 0) == (key % 3 == 0 ? 1 : 0));
  }
}

TEST_CASE("reclaiming at one size for ever uses no new memory") {
  auto clock = fake_clock();
  auto table = open_table({.initial_slots = 1024}, clock);
  std::mt19937_64 random(11);
  size_t settled = 0;
  for (int round = 0; round < 400; ++round) {
    const int64_t until = table->now_ns() + kSecond;
    for (int i = 0; i < 250; ++i) {
      REQUIRE(count(*table, {.group = random(), .key = random_key(random)}, until));
    }
    clock->advance(2 * kSecond);
    if (round == 20) settled = table->bytes();
  }
  REQUIRE(table->bytes() == settled);
  REQUIRE(table->stats(Region::kTenant, SlotClass::kWords2).slots == 1024);
  REQUIRE(table->stats(Region::kTenant, SlotClass::kWords2).generation > 50);
}

TEST_CASE("private memory takes at most 32 bytes for each of 100,000 limits") {
  auto table = open_table({}, fake_clock());
  for (uint64_t key = 1; key <= 100'000; ++key) {
    REQUIRE(count(*table, {.group = key, .key = key}, kStart + kHour));
  }
  const CounterTable::ClassStats stats = table->stats(Region::kTenant, SlotClass::kWords2);
  REQUIRE(stats.bytes <= 100'000 * 22);
  REQUIRE(table->bytes() <= 100'000 * 32);
}

TEST_CASE("a flood of anonymous keys ends at its budget and touches no tenant") {
  auto clock = fake_clock();
  auto table = open_table({.initial_slots = 64, .anonymous_bytes = size_t{1} << 20}, clock);
  const int64_t until = table->now_ns() + kHour;
  const Place tenant{.group = 5, .key = 6};
  REQUIRE(count(*table, tenant, until));
  const CounterTable::ClassStats before = table->stats(Region::kTenant, SlotClass::kWords2);
  std::mt19937_64 random(12);
  size_t refused = 0;
  std::vector<uint64_t> admitted;
  for (int i = 0; i < 100'000; ++i) {
    const uint64_t key = random_key(random);
    const Place at{.region = Region::kAnonymous,
                   .slot_class = i % 2 == 0 ? SlotClass::kWords2 : SlotClass::kWords8,
                   .group = key,
                   .key = key};
    if (count(*table, at, until)) {
      if (i % 2 == 0) admitted.push_back(key);
    } else {
      ++refused;
    }
  }
  REQUIRE(refused > 80'000);
  REQUIRE(admitted.size() > 4'000);
  const auto refusal = table->find_or_insert(Region::kAnonymous, SlotClass::kWords2, 1, 1);
  REQUIRE_FALSE(refusal.ok());
  REQUIRE(refusal.error().code == Code::kFull);
  REQUIRE(table->bytes() < (size_t{1} << 20) + 200'000);
  const CounterTable::ClassStats after = table->stats(Region::kTenant, SlotClass::kWords2);
  REQUIRE(after.slots == before.slots);
  REQUIRE(counted(*table, tenant, until) == 1);
  REQUIRE(count(*table, {.group = 8, .key = 9}, until));
  for (const uint64_t key : admitted) {
    const Place at{.region = Region::kAnonymous, .group = key, .key = key};
    REQUIRE(counted(*table, at, until) == 1);
    REQUIRE(count(*table, at, until));
  }

  SECTION("and has room again once its keys equal never seen") {
    clock->advance(2 * kHour);
    for (int i = 0; i < 5'000; ++i) {
      const uint64_t key = random_key(random);
      REQUIRE(count(*table, {.region = Region::kAnonymous, .group = key, .key = key},
                    table->now_ns() + kHour));
    }
  }
}

TEST_CASE("one slot that dies in a full region makes room") {
  auto clock = fake_clock();
  auto table = open_table({.anonymous_bytes = size_t{1} << 16}, clock);
  const int64_t now = table->now_ns();
  const Region region = Region::kAnonymous;
  uint64_t key = 1;
  REQUIRE(count(*table, {.region = region, .group = key, .key = key}, now + 10 * kSecond));
  while (count(*table, {.region = region, .group = key + 1, .key = key + 1}, now + kHour)) ++key;
  clock->advance(11 * kSecond);
  REQUIRE(count(*table, {.region = region, .group = 1'000'000, .key = 1}, now + kHour));
  // While slots are moved a generation may fill to its last slot but one, not further.
  const uint64_t spare = table->stats(region, SlotClass::kWords2).slots / 16;
  uint64_t more = 0;
  while (count(*table, {.region = region, .group = 2'000'000 + more, .key = 2}, now + kHour))
    ++more;
  REQUIRE(more < spare);
  for (uint64_t old = 2; old <= key; ++old) {
    REQUIRE(counted(*table, {.region = region, .group = old, .key = old}, now + kHour) == 1);
  }
}

TEST_CASE("the tenant region grows to max_bytes and then answers full") {
  auto clock = fake_clock();
  auto table = open_table({.initial_slots = 16, .max_bytes = size_t{2} << 20}, clock);
  const int64_t until = table->now_ns() + kHour;
  uint64_t key = 0;
  while (count(*table, {.group = key + 1, .key = key + 1}, until)) ++key;
  REQUIRE(key > 10'000);
  REQUIRE(table->bytes() <= size_t{2} << 20);
  for (uint64_t old = 1; old <= key; ++old) {
    REQUIRE(counted(*table, {.group = old, .key = old}, until) == 1);
  }
  REQUIRE(count(*table, {.group = 1, .key = 1}, until));
  REQUIRE(count(*table, {.region = Region::kAnonymous, .group = 1, .key = 1}, until));
}

TEST_CASE("options out of range are refused with the range") {
  const auto refused = [](const CounterTable::Options& options) {
    const auto table = CounterTable::open(options, fake_clock());
    REQUIRE_FALSE(table.ok());
    return table.error();
  };
  REQUIRE(refused({.max_bytes = 100}).code == Code::kInvalidArgument);
  REQUIRE(refused({.initial_slots = 0}).code == Code::kInvalidArgument);
  REQUIRE(refused({.initial_slots = size_t{1} << 40}).message.find("initial_slots") == 0);
}

TEST_CASE("expiry only rises, and not while the slot is being moved") {
  auto table = open_table({}, fake_clock());
  auto slot = table->find_or_insert(Region::kTenant, SlotClass::kWords4, 1, 1);
  REQUIRE(slot.ok());
  REQUIRE(CounterTable::raise_expiry(*slot, 100));
  REQUIRE(CounterTable::raise_expiry(*slot, 50));
  REQUIRE(slot->expiry->load() == 100);
  REQUIRE(CounterTable::raise_expiry(*slot, std::numeric_limits<int64_t>::max()));
  REQUIRE(slot->expiry->load() == kStateMask);
  slot->expiry->fetch_or(kFrozen);
  REQUIRE_FALSE(CounterTable::raise_expiry(*slot, std::numeric_limits<int64_t>::max()));
}

TEST_CASE("probing covers every slot, near ones first") {
  for (size_t slot_class = 0; slot_class < kSlotClasses; ++slot_class) {
    for (const unsigned slots_log2 : {1U, 2U, 4U, 6U}) {
      const counters::Generation generation{.shape = &counters::kShapes[slot_class],
                                            .slots_log2 = slots_log2};
      for (uint64_t key = 1; key < 50; ++key) {
        const uint64_t stored = counters::stored_key(key, key);
        counters::ProbeOrder order(generation, stored);
        REQUIRE(order.index() == counters::home_slot(*generation.shape, slots_log2, stored));
        std::set<uint64_t> seen;
        for (; !order.done(); order.advance()) {
          REQUIRE(order.index() < generation.slots());
          seen.insert(order.index());
        }
        REQUIRE(seen.size() == generation.slots());
      }
    }
  }
}

}  // namespace
}  // namespace tenancy::testing
