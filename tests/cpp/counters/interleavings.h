// Every order in which a few processes can step through the protocol, as far as it can be counted.
//
// Logical processes are fibers in one thread. They hand over before every access to shared memory
// (counters::Point), so an execution is a list of choices, and all lists are tried: completely
// where that is feasible, else all with at most a given number of preemptions, then random ones.
#pragma once

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

inline Place at_key(SlotClass slot_class, uint64_t key) {
  return {.slot_class = slot_class, .group = key, .key = key};
}

}  // namespace tenancy::testing

#endif  // TENANCY_NO_FIBERS
