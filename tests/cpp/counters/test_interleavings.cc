// Every order in which a few processes can step through the protocol, as far as it can be counted.
//
// Logical processes are fibers in one thread. They hand over before every access to shared memory
// (counters::Point), so an execution is a list of choices, and all lists are tried: completely
// where that is feasible, else all with at most a given number of preemptions, then random ones.

#include <ucontext.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "counting.h"
#include "tenancy/counters/core.h"
#include "tenancy/counters/table_file.h"

// The thread sanitizer does not follow swapcontext.
#if defined(__SANITIZE_THREAD__)
#define TENANCY_NO_FIBERS 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TENANCY_NO_FIBERS 1
#endif
#endif

#ifndef TENANCY_NO_FIBERS

namespace tenancy::testing {
namespace {

using counters::Point;

constexpr int64_t kUntil = kStart + 100 * kHour;

// Runs fibers one step at a time.
class Fibers {
 public:
  static inline Fibers* running = nullptr;

  explicit Fibers(const std::vector<std::function<void()>>& bodies) : fibers_(bodies.size()) {
    for (size_t i = 0; i < bodies.size(); ++i) fibers_[i].body = &bodies[i];
  }

  void begin() {
    for (size_t i = 0; i < fibers_.size(); ++i) prepare(&fibers_[i]);
  }

  bool is_done(size_t i) const { return fibers_[i].is_done; }

  // Lets fiber `i` make the access it stands before, up to the next one.
  void step(size_t i) {
    current_ = i;
    running = this;
    swapcontext(&scheduler_, &fibers_[i].context);
    running = nullptr;
  }

  // Up to the next time that fiber `i` stands before an access of that kind.
  void run_until(size_t i, Point point) {
    do {
      REQUIRE_FALSE(is_done(i));
      step(i);
    } while (is_done(i) || fibers_[i].before != point);
  }
  void finish(size_t i) {
    while (!is_done(i)) step(i);
  }

  void yield(Point point) {
    Fiber& fiber = fibers_[current_];
    fiber.before = point;
    swapcontext(&fiber.context, &scheduler_);
  }

 private:
  struct Fiber {
    ucontext_t context{};
    std::unique_ptr<std::array<char, 256 * 1024>> stack{new std::array<char, 256 * 1024>};
    const std::function<void()>* body = nullptr;
    Point before = Point::kPin;
    bool is_done = false;
  };

  void prepare(Fiber* fiber) {
    fiber->is_done = false;
    getcontext(&fiber->context);
    fiber->context.uc_stack.ss_sp = fiber->stack->data();
    fiber->context.uc_stack.ss_size = fiber->stack->size();
    fiber->context.uc_link = &scheduler_;
    makecontext(&fiber->context, &Fibers::enter, 0);
  }

  static void enter() {
    Fiber& fiber = running->fibers_[running->current_];
    (*fiber.body)();
    fiber.is_done = true;
  }

  std::vector<Fiber> fibers_;
  ucontext_t scheduler_{};
  size_t current_ = 0;
};

struct FiberStep {
  static void at(Point point) {
    if (Fibers::running != nullptr) Fibers::running->yield(point);
  }
  static void yield() {}
};
using FiberCore = counters::Core<FiberStep>;

// A table whose memory can be put back to how it was.
class Stage {
 public:
  explicit Stage(size_t initial_slots = 16)
      : options_{.initial_slots = initial_slots}, clock_(std::make_shared<FakeClock>(kStart)) {
    auto file = counters::open_table_file(options_, *clock_);
    REQUIRE(file.ok());
    file_ = std::move(file).value();
    core_ = std::make_unique<FiberCore>(
        file_.get(), clock_.get(),
        FiberCore::Sizes{options_.max_bytes, options_.initial_slots, false});
  }

  FiberCore& core() { return *core_; }

  bool count(const Place& at, int64_t until_ns = kUntil) {
    return count_with(
        [&] {
          return core_->find_or_insert(counters::entry_index(at.region, at.slot_class), at.group,
                                       at.key);
        },
        at.slot_class != SlotClass::kWords2, 0, until_ns, [] { FiberStep::at(Point::kTake); });
  }

  // The same on a slot that `find_group` found, as far as it did.
  bool count_found(const Place& at) {
    const size_t entry = counters::entry_index(at.region, at.slot_class);
    std::array<SlotRef, 2> slots;
    core_->find_group(entry, at.group, std::array{at.key, at.key + 1'000'000}, slots);
    if (slots[1]) return false;  // nobody inserts that one
    bool is_first = true;
    return count_with(
        [&]() -> Result<SlotRef> {
          const bool use = std::exchange(is_first, false) && slots[0];
          return use ? slots[0] : core_->find_or_insert(entry, at.group, at.key);
        },
        at.slot_class != SlotClass::kWords2, 0, kUntil, [] { FiberStep::at(Point::kTake); });
  }

  uint64_t counted(const Place& at, int64_t until_ns = kUntil) {
    const SlotRef slot =
        core_->find(counters::entry_index(at.region, at.slot_class), at.group, at.key);
    if (!slot || slot.state->load() == 0) return 0;
    const uint64_t word = slot.state->load();
    return at.slot_class == SlotClass::kWords2 ? word - static_cast<uint64_t>(until_ns) : word;
  }

  bool is_home_free(uint64_t key) {
    const Place at{.slot_class = SlotClass::kWords8, .group = key, .key = key};
    const size_t entry = counters::entry_index(at.region, at.slot_class);
    counters::Generation generation;
    REQUIRE(core_->blocks().generation(entry, core_->header()->entries[entry].current.load(),
                                       &generation));
    return generation.key(counters::ProbeOrder(generation, counters::stored_key(key, key)).index())
               ->load() == 0;
  }

  // How many slots of the current generation hold the key.
  uint64_t slots_of(const Place& at) {
    const size_t entry = counters::entry_index(at.region, at.slot_class);
    counters::Generation generation;
    const uint64_t ref = core_->header()->entries[entry].current.load();
    REQUIRE(core_->blocks().generation(entry, ref, &generation));
    const uint64_t stored = counters::stored_key(at.group, at.key);
    uint64_t found = 0;
    for (uint64_t i = 0; i < generation.slots(); ++i) {
      found += generation.key(i)->load() == stored;
    }
    return found;
  }

  void keep() {
    used_bytes_ = end_of_blocks();
    kept_.assign(file_->data(), file_->data() + used_bytes_);
  }
  void put_back() {
    const size_t now_used = end_of_blocks();
    std::memcpy(file_->data(), kept_.data(), used_bytes_);
    if (now_used > used_bytes_) std::memset(file_->data() + used_bytes_, 0, now_used - used_bytes_);
  }

 private:
  size_t end_of_blocks() const {
    size_t end = sizeof(counters::FileHeader);
    for (size_t i = 0; core_->header()->blocks[i].extent.load() != 0; ++i) {
      end = core_->blocks().extent(i).end_bytes();
    }
    return end;
  }

  CounterTable::Options options_;
  std::shared_ptr<FakeClock> clock_;
  std::unique_ptr<MappedFile> file_;
  std::unique_ptr<FiberCore> core_;
  std::vector<std::byte> kept_;
  size_t used_bytes_ = 0;
};

constexpr size_t kNoBound = 1'000'000;
constexpr size_t kStepsMax = 100'000;  // beyond this somebody waits for somebody

struct Scenario {
  Stage& stage;
  std::vector<std::function<void()>> bodies;
  std::function<bool()> is_right;
  // What comes before any choice, and how many of the last bodies are killed after it.
  std::function<void(Fibers&)> prelude{};
  size_t killed = 0;
};

class Explorer {
 public:
  explicit Explorer(const Scenario& scenario)
      : scenario_(scenario),
        fibers_(scenario.bodies),
        alive_(scenario.bodies.size() - scenario.killed) {}

  // All orders with at most `preemptions` (with a bound, the next in turn follows one that is
  // done), but no more than `executions_max`.
  size_t explore(size_t preemptions, size_t executions_max) {
    choices_.clear();
    size_t executions = 0;
    do {
      run_listed(preemptions);
      ++executions;
    } while (executions < executions_max && next_list());
    return executions;
  }

  void sample(uint64_t seed, size_t executions) {
    std::mt19937_64 random(seed);
    for (size_t i = 0; i < executions; ++i) {
      begin();
      size_t current = random() % alive_;
      size_t steps = 0;
      while (!all_done()) {
        if (fibers_.is_done(current) || random() % 6 == 0) current = random() % alive_;
        if (!fibers_.is_done(current)) fibers_.step(current);
        if (++steps == kStepsMax) FAIL("no end after " << steps << " steps");
      }
      check();
    }
  }

 private:
  struct Choice {
    uint8_t taken;
    uint8_t options;
  };

  void begin() {
    scenario_.stage.put_back();
    fibers_.begin();
    if (scenario_.prelude) scenario_.prelude(fibers_);
  }

  bool all_done() const {
    for (size_t i = 0; i < alive_; ++i) {
      if (!fibers_.is_done(i)) return false;
    }
    return true;
  }

  void check() {
    if (!scenario_.is_right()) FAIL("a wrong result after " << choices_.size() << " choices");
  }

  // Option 0 goes on with the running fiber, the others switch to the next ones in turn.
  void run_listed(size_t preemptions) {
    size_t preemptions_left = preemptions;
    begin();
    size_t current = 0;
    size_t depth = 0;
    while (!all_done()) {
      std::array<size_t, 4> ready{};
      size_t options = 0;
      for (size_t i = 0; i < alive_; ++i) {
        const size_t fiber = (current + i) % alive_;
        if (!fibers_.is_done(fiber)) ready[options++] = fiber;
      }
      const bool must_switch = fibers_.is_done(current);
      if (must_switch ? preemptions != kNoBound : preemptions_left == 0) options = 1;
      if (depth == choices_.size()) choices_.push_back({0, static_cast<uint8_t>(options)});
      const size_t taken = choices_[depth].taken;
      if (!must_switch && taken != 0) --preemptions_left;
      current = ready[taken];
      fibers_.step(current);
      if (++depth == kStepsMax) FAIL("no end after " << depth << " steps");
    }
    check();
  }

  bool next_list() {
    while (!choices_.empty() && choices_.back().taken + 1 >= choices_.back().options) {
      choices_.pop_back();
    }
    if (choices_.empty()) return false;
    ++choices_.back().taken;
    return true;
  }

  const Scenario& scenario_;
  Fibers fibers_;
  const size_t alive_;
  std::vector<Choice> choices_;
};

Place at_key(SlotClass slot_class, uint64_t key) {
  return {.slot_class = slot_class, .group = key, .key = key};
}

TEST_CASE("two inserters of one key, in every order") {
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

TEST_CASE("two first users of a class, with up to three preemptions") {
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

TEST_CASE("a take while its slot is moved to a larger generation") {
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

TEST_CASE("a take on a slot found with its group, while it is moved") {
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

TEST_CASE("two inserters of one key, one of them in the generation that is left") {
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

TEST_CASE("two movers and a taker") {
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

TEST_CASE("a taker who has its slot, and two movers, in every order of two preemptions") {
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

TEST_CASE("a take in the old generation on a slot that another inserts there late") {
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

TEST_CASE("new keys leave room for those that are still to be moved") {
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

TEST_CASE("a take on a slot that equals never seen, while a mover drops it") {
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

TEST_CASE("a take while memory is retired, reused and retired again") {
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
