// The protocol of the counters, stepped through in every order that can be counted.
#include "interleavings.h"

#ifndef TENANCY_NO_FIBERS

namespace tenancy::testing {
namespace {

TEST_CASE("two inserters of one key, in every order", "[exhaustive]") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    Stage stage;
    REQUIRE(stage.count(at_key(slot_class, 99)));
    stage.keep();
    const Place at = at_key(slot_class, 1);
    std::array<std::atomic<uint64_t>*, 2> states{};
    const auto insert = [&](size_t i) {
      states[i] =
          stage.core()
              .find_or_insert(counters::entry_index(at.region, slot_class), at.group, at.key)
              .value()
              .state;
    };
    const Scenario inserting{stage, {[&] { insert(0); }, [&] { insert(1); }}, [&] {
                               return states[0] == states[1] && stage.slots_of(at) == 1;
                             }};
    Explorer every(inserting);
    const size_t executions = every.explore(kNoBound, 200'000);
    REQUIRE(executions > 1'000);
    REQUIRE(executions < 200'000);  // the list came to its end

    const Scenario counting{stage, {[&] { stage.count(at); }, [&] { stage.count(at); }}, [&] {
                              return stage.counted(at) == 2 && stage.slots_of(at) == 1;
                            }};
    Explorer(counting).explore(4, 30'000);
  }
}

TEST_CASE("two first users of a class, with up to three preemptions", "[exhaustive]") {
  Stage stage;
  stage.keep();
  const Place at = at_key(SlotClass::kWords2, 1);
  const Scenario scenario{stage, {[&] { stage.count(at); }, [&] { stage.count(at); }}, [&] {
                            return stage.counted(at) == 2 && stage.slots_of(at) == 1;
                          }};
  Explorer explorer(scenario);
  REQUIRE(explorer.explore(3, 200'000) > 1000);
}

// 12 keys in 16 slots: the next new key begins a move.
constexpr uint64_t kKeysBefore = 12;
constexpr uint64_t kNewKey = 50;

void fill(Stage& stage, SlotClass slot_class, int64_t until_ns) {
  for (uint64_t key = 1; key <= kKeysBefore; ++key) {
    REQUIRE(stage.count(at_key(slot_class, key), until_ns));
  }
  stage.keep();
}

bool all_counted(Stage& stage, SlotClass slot_class, uint64_t taken, uint64_t taken_times) {
  for (uint64_t key = 1; key <= kKeysBefore; ++key) {
    const Place at = at_key(slot_class, key);
    if (stage.counted(at) != 1 + (key == taken ? taken_times : 0)) return false;
    if (stage.slots_of(at) != 1) return false;
  }
  return stage.counted(at_key(slot_class, kNewKey)) == 1;
}

TEST_CASE("a take while its slot is moved to a larger generation", "[exhaustive]") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    Stage stage;
    fill(stage, slot_class, kUntil);
    const Scenario scenario{stage,
                            {[&] { stage.count(at_key(slot_class, kNewKey)); },
                             [&] { stage.count(at_key(slot_class, 5)); }},
                            [&] { return all_counted(stage, slot_class, 5, 1); }};
    Explorer explorer(scenario);
    REQUIRE(explorer.explore(2, 20'000) > 1000);
    explorer.sample(1, 5'000);
  }
}

TEST_CASE("a take on a slot found with its group, while it is moved", "[exhaustive]") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    Stage stage;
    fill(stage, slot_class, kUntil);
    const Scenario scenario{stage,
                            {[&] { stage.count(at_key(slot_class, kNewKey)); },
                             [&] { stage.count_found(at_key(slot_class, 5)); }},
                            [&] { return all_counted(stage, slot_class, 5, 1); }};
    Explorer explorer(scenario);
    REQUIRE(explorer.explore(1, 20'000) > 20);
    explorer.sample(1, 3'000);
  }
}

TEST_CASE("two inserters of one key, one of them in the generation that is left", "[exhaustive]") {
  // 25 keys in 32 slots of which an operation moves 8: the move lasts for several operations.
  constexpr uint64_t kKeys = 25;
  Stage stage(32);
  for (uint64_t key = 1; key <= kKeys; ++key) {
    REQUIRE(stage.count(at_key(SlotClass::kWords8, key)));
  }
  stage.keep();
  // A key whose home is in the last chunk.
  uint64_t late = 1000;
  while (counters::stored_key(late, late) >> 62 != 3) ++late;
  const Place at = at_key(SlotClass::kWords8, late);
  const Scenario scenario{stage,
                          {[&] { stage.count(at); },
                           [&] {
                             stage.count(at_key(SlotClass::kWords8, kNewKey));
                             stage.count(at);
                           }},
                          [&] {
                            // The rest of the move.
                            for (uint64_t key = 1; key <= kKeys; ++key) {
                              if (stage.counted(at_key(SlotClass::kWords8, key)) != 1) return false;
                            }
                            return stage.counted(at) == 2 && stage.slots_of(at) == 1;
                          }};
  Explorer explorer(scenario);
  REQUIRE(explorer.explore(1, 20'000) > 100);
  explorer.sample(5, 2'000);
}

TEST_CASE("two movers and a taker", "[exhaustive]") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    Stage stage;
    fill(stage, slot_class, kUntil);
    const Place another = at_key(slot_class, kNewKey + 1);
    const Scenario scenario{
        stage,
        {[&] { stage.count(at_key(slot_class, kNewKey)); },
         [&] {
           stage.count(another);
           stage.count(at_key(slot_class, 5));
         },
         [&] {
           stage.count(at_key(slot_class, 5));
           stage.count(at_key(slot_class, 5));
         }},
        [&] { return all_counted(stage, slot_class, 5, 3) && stage.counted(another) == 1; }};
    Explorer explorer(scenario);
    explorer.explore(1, 20'000);
    explorer.sample(2, 10'000);
  }
}

TEST_CASE("a taker who has its slot, and two movers, in every order of two preemptions",
          "[exhaustive]") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    for (const int steps_taken : {1, 2, 3}) {  // before expiry, load and swap
      CAPTURE(static_cast<int>(slot_class), steps_taken);
      Stage stage;
      const Place taken = at_key(slot_class, 5);
      REQUIRE(stage.count(taken));
      // The rest equals never seen, which keeps the lists short.
      for (uint64_t key = 100; key < 100 + kKeysBefore - 1; ++key) {
        REQUIRE(stage.count(at_key(slot_class, key), 1));
      }
      stage.keep();
      const Place one = at_key(slot_class, kNewKey);
      const Place two = at_key(slot_class, kNewKey + 1);
      const Place three = at_key(slot_class, kNewKey + 2);
      const Scenario scenario{.stage = stage,
                              .bodies = {[&] { stage.count(taken); }, [&] { stage.count(one); },
                                         [&] { stage.count(two); }, [&] { stage.count(three); }},
                              .is_right =
                                  [&] {
                                    return stage.counted(taken) == 2 &&
                                           stage.slots_of(taken) == 1 && stage.counted(one) == 1 &&
                                           stage.counted(two) == 1;
                                  },
                              .prelude =
                                  [&](Fibers& fibers) {
                                    for (int i = 0; i < steps_taken; ++i)
                                      fibers.run_until(0, Point::kTake);
                                    // Killed as soon as it has published the next generation.
                                    fibers.run_until(3, Point::kLink);
                                    fibers.step(3);
                                  },
                              .killed = 1};
      const size_t executions = Explorer(scenario).explore(2, 100'000);
      REQUIRE(executions > 1'000);
      REQUIRE(executions < 100'000);
    }
  }
}

// An order that takes more preemptions than can be listed: what closing an empty slot is for.

TEST_CASE("a take in the old generation on a slot that another inserts there late",
          "[exhaustive]") {
  constexpr uint64_t kKeys = 24;
  Stage stage(32);
  for (uint64_t key = 1; key <= kKeys; ++key) {
    REQUIRE(stage.count(at_key(SlotClass::kWords8, key)));
  }
  // New keys whose homes are free, one in each half.
  const auto free_key_in_half = [&](uint64_t half) {
    uint64_t key = 1000;
    while (counters::stored_key(key, key) >> 63 != half || !stage.is_home_free(key)) {
      REQUIRE(++key < 100'000);
    }
    return at_key(SlotClass::kWords8, key);
  };
  const Place first = free_key_in_half(0);
  const Place late = free_key_in_half(1);
  // The move may be under way when the key is counted in the next generation, or be over.
  const uint64_t more_chunks = GENERATE(uint64_t{0}, uint64_t{4});
  const std::vector<std::function<void()>> bodies{
      [&] { stage.count(late); }, [&] { stage.count(late); },
      [&] {
        stage.count(first);
        for (uint64_t key = 1; key <= more_chunks; ++key) {
          stage.counted(at_key(SlotClass::kWords8, key));
        }
        stage.count(late);
      }};
  Fibers fibers(bodies);
  fibers.begin();
  fibers.run_until(0, Point::kProbe);      // knows of no next generation
  fibers.run_until(1, Point::kInsertKey);  // the same, and found the slot empty
  fibers.finish(2);
  fibers.step(1);  // may the key still go into the old generation?
  fibers.finish(0);
  fibers.finish(1);
  REQUIRE(stage.counted(late) == 3);
}

TEST_CASE("new keys leave room for those that are still to be moved", "[exhaustive]") {
  // 12 of 25 keys live, so the next generation has 32 slots again: too few for 24 new keys beside
  // them. All inserters stand at the end of the same chunk, so they move one chunk together instead
  // of one each; without the bound each would insert its key at once.
  constexpr uint64_t kLive = 12;
  constexpr uint64_t kExpired = 13;
  constexpr uint64_t kNew = 24;
  Stage stage(32);
  const auto live = [](uint64_t i) { return at_key(SlotClass::kWords8, 1 + i); };
  const auto fresh = [](uint64_t i) { return at_key(SlotClass::kWords8, 200 + i); };
  for (uint64_t i = 0; i < kLive; ++i) REQUIRE(stage.count(live(i)));
  for (uint64_t i = 0; i < kExpired; ++i) {
    REQUIRE(stage.count(at_key(SlotClass::kWords8, 100 + i), 1));
  }
  std::vector<std::function<void()>> bodies;
  for (uint64_t i = 0; i < kNew; ++i) bodies.emplace_back([&, i] { stage.count(fresh(i)); });
  Fibers fibers(bodies);
  fibers.begin();
  for (uint64_t i = 0; i < kNew; ++i) fibers.run_until(i, Point::kNextChunk);
  for (uint64_t i = 0; i < kNew; ++i) fibers.finish(i);
  for (uint64_t i = 0; i < kLive; ++i) REQUIRE(stage.counted(live(i)) == 1);
  for (uint64_t i = 0; i < kNew; ++i) REQUIRE(stage.counted(fresh(i)) == 1);
}

TEST_CASE("a take on a slot that equals never seen, while a mover drops it", "[exhaustive]") {
  Stage stage;
  fill(stage, SlotClass::kWords4, kStart);  // all have expired
  const Place taken = at_key(SlotClass::kWords4, 5);
  const Place fresh = at_key(SlotClass::kWords4, kNewKey);
  const auto is_right = [&] {
    // Kept with what it had, or begun anew: never lost, never half of both.
    const uint64_t got = stage.counted(taken);
    const SlotRef slot = stage.core().find(counters::entry_index(taken.region, taken.slot_class),
                                           taken.group, taken.key);
    return (got == 1 || got == 2) && slot.expiry->load() == static_cast<uint64_t>(kUntil) &&
           stage.slots_of(taken) == 1 && stage.counted(fresh) == 1;
  };
  const Scenario scenario{
      stage, {[&] { stage.count(fresh); }, [&] { stage.count(taken); }}, is_right};
  Explorer explorer(scenario);
  REQUIRE(explorer.explore(2, 40'000) > 1000);
  const Scenario crowded{stage,
                         {[&] { stage.count(fresh); }, [&] { stage.count(taken); },
                          [&] { stage.count(at_key(SlotClass::kWords4, kNewKey + 1)); }},
                         is_right};
  Explorer(crowded).sample(3, 10'000);
}

TEST_CASE("a take while memory is retired, reused and retired again", "[exhaustive]") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    Stage stage;
    const Place lasting = at_key(slot_class, 7);
    REQUIRE(stage.count(lasting));
    for (uint64_t key = 100; key < 140; ++key) REQUIRE(stage.count(at_key(slot_class, key), 1));
    stage.keep();
    const uint64_t begun =
        stage.core().stats(counters::entry_index(Region::kTenant, slot_class)).generation;
    const auto churn = [&] {
      for (uint64_t key = 200; key < 260; ++key) stage.count(at_key(slot_class, key), 1);
    };
    const auto is_right = [&] {
      const uint64_t now =
          stage.core().stats(counters::entry_index(Region::kTenant, slot_class)).generation;
      return now >= begun + 3 && stage.counted(lasting) == 3 && stage.slots_of(lasting) == 1;
    };
    const auto take_twice = [&] {
      stage.count(lasting);
      stage.count(lasting);
    };
    const Scenario scenario{stage, {take_twice, churn}, is_right};
    Explorer explorer(scenario);
    // The taker runs to any of its steps, then the other retires and reuses what it stands in.
    REQUIRE(explorer.explore(1, 20'000) > 10);
    explorer.explore(2, 500);
    explorer.sample(4, 500);
  }
}

}  // namespace
}  // namespace tenancy::testing

#endif  // TENANCY_NO_FIBERS
