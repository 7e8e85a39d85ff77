// The table between processes: the same keys at once, killed at random, stopped, forked.

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <random>
#include <thread>
#include <vector>

#include "counting.h"
#include "tenancy/counters/core.h"
#include "tenancy/counters/table_file.h"

namespace tenancy::testing {
namespace {

using counters::Point;

constexpr int64_t kUntil = kStart + 100 * kHour;

pid_t spawn(const std::function<void()>& work) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    work();
    _exit(0);
  }
  return child;
}

void wait_for_success(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
}

// Memory that children share with the test.
template <class T>
class Shared {
 public:
  Shared() {
    void* const at =
        mmap(nullptr, sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    value_ = new (at) T{};
  }
  ~Shared() { munmap(value_, sizeof(T)); }
  T* operator->() const { return value_; }
  T& operator*() const { return *value_; }

 private:
  T* value_;
};

Place place_of(SlotClass slot_class, uint64_t key) {
  return {.slot_class = slot_class, .group = key / 3, .key = key};
}

TEST_CASE("processes inserting the same keys end on one slot each and count exactly") {
  constexpr uint64_t kKeys = 3000;
  constexpr int kProcesses = 4;
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4, SlotClass::kWords8}) {
    const TempDir dir;
    std::vector<pid_t> children;
    for (int i = 0; i < kProcesses; ++i) {
      children.push_back(spawn([&] {
        auto table = CounterTable::open({.path = dir.file("c"), .initial_slots = 16}, fake_clock());
        if (!table) _exit(1);
        for (uint64_t key = 1; key <= kKeys; ++key) {
          if (!count(**table, place_of(slot_class, key), kUntil)) _exit(2);
        }
      }));
    }
    for (const pid_t child : children) wait_for_success(child);
    auto table = open_table({.path = dir.file("c")}, fake_clock());
    for (uint64_t key = 1; key <= kKeys; ++key) {
      REQUIRE(counted(*table, place_of(slot_class, key), kUntil) == kProcesses);
    }
    REQUIRE(table->stats(Region::kTenant, slot_class).used >= kKeys);
  }
}

// Workers count one key at a time and note each success after it happened. A worker killed between
// the two has counted once more than it noted.
struct Notes {
  static constexpr uint64_t kKeys = 20'000;
  std::array<std::atomic<uint32_t>, kKeys + 1> noted{};
};

[[noreturn]] void count_until_killed(const std::string& path, SlotClass slot_class, uint64_t seed,
                                     Notes* notes) {
  auto table = CounterTable::open({.path = path, .initial_slots = 16}, fake_clock());
  if (!table) _exit(1);
  std::mt19937_64 random(seed);
  for (uint64_t top = 10;; top = std::min<uint64_t>(top + 1, Notes::kKeys)) {
    const uint64_t key = 1 + random() % top;
    if (!count(**table, place_of(slot_class, key), kUntil)) _exit(2);
    notes->noted[key].fetch_add(1);
  }
}

TEST_CASE("workers killed at random, also while it grows, lose and double nothing") {
  constexpr int kKills = 240;
  constexpr int kWorkers = 3;
  uint64_t seed = 1;
  std::mt19937_64 random(99);
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    const TempDir dir;
    Shared<Notes> notes;
    std::array<pid_t, kWorkers> workers{};
    const auto start = [&] {
      const uint64_t mine = ++seed;
      return spawn([&] { count_until_killed(dir.file("c"), slot_class, mine, &*notes); });
    };
    for (pid_t& worker : workers) worker = start();
    for (int kill_count = 0; kill_count < kKills / 2; ++kill_count) {
      usleep(static_cast<useconds_t>(2000 + random() % 6000));
      pid_t& victim = workers[random() % kWorkers];
      REQUIRE(kill(victim, SIGKILL) == 0);
      int status = 0;
      REQUIRE(waitpid(victim, &status, 0) == victim);
      REQUIRE(WIFSIGNALED(status));
      victim = start();
    }
    for (const pid_t worker : workers) {
      REQUIRE(kill(worker, SIGKILL) == 0);
      REQUIRE(waitpid(worker, nullptr, 0) == worker);
    }
    auto table = open_table({.path = dir.file("c")}, fake_clock());
    uint64_t beyond = 0;
    uint64_t total = 0;
    for (uint64_t key = 1; key <= Notes::kKeys; ++key) {
      const uint64_t in_table = counted(*table, place_of(slot_class, key), kUntil);
      const uint64_t noted = notes->noted[key].load();
      REQUIRE(in_table >= noted);
      beyond += in_table - noted;
      total += noted;
    }
    REQUIRE(total > 1000);
    REQUIRE(beyond <= kKills / 2 + kWorkers);
    REQUIRE(table->stats(Region::kTenant, slot_class).generation > 3);
  }
}

// A core that stops its own process where the test says, once.
struct StopStep {
  static void yield() { std::this_thread::yield(); }
  static inline Point stop_at{};
  static inline int countdown = -1;
  static void at(Point point) {
    if (countdown < 0 || point != stop_at) return;
    if (countdown-- == 0) raise(SIGSTOP);
  }
};
using StopCore = counters::Core<StopStep>;

// Counts once for `key` in a child that stops at the n-th passing of `point`.
pid_t spawn_stopping(const std::string& path, const Place& at, Point point, int nth) {
  return spawn([&] {
    const CounterTable::Options options{.path = path, .initial_slots = 16};
    auto clock = fake_clock();
    auto file = counters::open_table_file(options, *clock);
    if (!file) _exit(1);
    StopCore core(file->get(), clock.get(),
                  {.max_bytes = options.max_bytes, .initial_slots = 16, .is_shared = true});
    StopStep::stop_at = point;
    StopStep::countdown = nth;
    const bool done = count_with(
        [&] {
          return core.find_or_insert(counters::entry_index(at.region, at.slot_class), at.group,
                                     at.key);
        },
        at.slot_class != SlotClass::kWords2, 0, kUntil, [] {});
    _exit(done ? 0 : 2);
  });
}

// Others insert the same key, grow twice and reclaim, while the child is stopped; then it goes on.
// False when the child never came to the point.
bool check_stopped(SlotClass slot_class, Point point, int nth, uint64_t keys_before) {
  CAPTURE(static_cast<int>(slot_class), static_cast<int>(point), nth, keys_before);
  const TempDir dir;
  auto clock = fake_clock();
  auto table = open_table({.path = dir.file("c"), .initial_slots = 16}, clock);
  for (uint64_t key = 1; key <= keys_before; ++key) {
    REQUIRE(count(*table, place_of(slot_class, key), kUntil));
  }
  const Place contested = place_of(slot_class, 1'000'000);
  const pid_t child = spawn_stopping(dir.file("c"), contested, point, nth);
  int status = 0;
  REQUIRE(waitpid(child, &status, WUNTRACED) == child);
  const bool stopped = WIFSTOPPED(status);  // it may have had no reason to pass there
  if (!stopped) REQUIRE(status == 0);

  for (int i = 0; i < 5; ++i) REQUIRE(count(*table, contested, kUntil));
  const uint64_t generation = table->stats(Region::kTenant, slot_class).generation;
  uint64_t key = keys_before;
  while (table->stats(Region::kTenant, slot_class).generation < generation + 2) {
    ++key;
    REQUIRE(count(*table, place_of(slot_class, key), kUntil));
  }
  // Keys that die at once: generations of one size, which would reuse memory.
  for (uint64_t dead = 0; dead < 3 * key; ++dead) {
    REQUIRE(count(*table, place_of(slot_class, 2'000'000 + dead), 1));
  }
  for (int i = 0; i < 5; ++i) REQUIRE(count(*table, contested, kUntil));
  if (stopped) {
    REQUIRE(kill(child, SIGCONT) == 0);
    wait_for_success(child);
  }
  REQUIRE(counted(*table, contested, kUntil) == 11);
  for (uint64_t old = 1; old <= key; ++old) {
    REQUIRE(counted(*table, place_of(slot_class, old), kUntil) == 1);
  }
  return stopped;
}

TEST_CASE("a process stopped between probe and swap goes on exactly, whatever happened meanwhile") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    for (const Point point : {Point::kPin, Point::kLoadCurrent, Point::kLoadNext, Point::kProbe,
                              Point::kCountIn, Point::kInsertKey}) {
      for (const uint64_t keys_before : {uint64_t{0}, uint64_t{5}}) {
        REQUIRE(check_stopped(slot_class, point, 0, keys_before));
      }
    }
  }
}

TEST_CASE("a process stopped while it moves slots goes on exactly") {
  for (const SlotClass slot_class : {SlotClass::kWords2, SlotClass::kWords4}) {
    // 12 keys in 16 slots: the next key begins a move.
    for (const Point point :
         {Point::kReserveBlock, Point::kReleaseBlock, Point::kAppendBlock, Point::kLink,
          Point::kCloseKey, Point::kFreeze, Point::kDecide, Point::kInsertKey, Point::kCopyWord,
          Point::kMarkMoved, Point::kNextChunk, Point::kSwitch, Point::kAdvanceEpoch}) {
      // A fresh table has fresh blocks only, and a single word needs no decision.
      const bool is_passed = point != Point::kReleaseBlock &&
                             (point != Point::kDecide || slot_class != SlotClass::kWords2);
      REQUIRE(check_stopped(slot_class, point, 0, 12) == is_passed);
      for (const int nth : {1, 5}) check_stopped(slot_class, point, nth, 12);
    }
  }
}

TEST_CASE("a stopped process holds back the reuse of memory, a dead one does not") {
  const TempDir dir;
  auto clock = fake_clock();
  auto table = open_table({.path = dir.file("c"), .initial_slots = 16}, clock);
  std::mt19937_64 random(5);
  uint64_t dead_keys = 0;
  const auto churn = [&] {
    const uint64_t goal = table->stats(Region::kTenant, SlotClass::kWords2).generation + 20;
    while (table->stats(Region::kTenant, SlotClass::kWords2).generation < goal) {
      REQUIRE(count(*table, place_of(SlotClass::kWords2, 5'000'000 + ++dead_keys), 1));
    }
  };
  churn();
  const size_t settled = table->bytes();
  churn();
  REQUIRE(table->bytes() == settled);

  const pid_t child =
      spawn_stopping(dir.file("c"), place_of(SlotClass::kWords2, 7), Point::kLoadCurrent, 0);
  int status = 0;
  REQUIRE(waitpid(child, &status, WUNTRACED) == child);
  REQUIRE(WIFSTOPPED(status));
  churn();
  const size_t held_back = table->bytes();
  REQUIRE(held_back > settled);

  REQUIRE(kill(child, SIGKILL) == 0);
  // Not even waited for: a zombie holds nothing.
  siginfo_t info{};
  REQUIRE(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  churn();
  const size_t after = table->bytes();
  churn();
  REQUIRE(table->bytes() == after);
  REQUIRE(waitpid(child, &status, 0) == child);
}

TEST_CASE("a table opened before fork works in parent and children") {
  const TempDir dir;
  auto table = open_table({.path = dir.file("c"), .initial_slots = 16}, fake_clock());
  REQUIRE(count(*table, place_of(SlotClass::kWords2, 1), kUntil));
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    children.push_back(spawn([&] {
      for (uint64_t key = 1; key <= 2000; ++key) {
        if (!count(*table, place_of(SlotClass::kWords2, key), kUntil)) _exit(1);
      }
    }));
  }
  for (uint64_t key = 1; key <= 2000; ++key) {
    REQUIRE(count(*table, place_of(SlotClass::kWords2, key), kUntil));
  }
  for (const pid_t child : children) wait_for_success(child);
  REQUIRE(counted(*table, place_of(SlotClass::kWords2, 1), kUntil) == 6);
  for (uint64_t key = 2; key <= 2000; ++key) {
    REQUIRE(counted(*table, place_of(SlotClass::kWords2, key), kUntil) == 5);
  }
}

TEST_CASE("private memory is each process's own after fork") {
  auto table = open_table({.initial_slots = 16}, fake_clock());
  REQUIRE(count(*table, place_of(SlotClass::kWords2, 1), kUntil));
  wait_for_success(spawn([&] {
    for (uint64_t key = 1; key <= 5000; ++key) {
      if (!count(*table, place_of(SlotClass::kWords2, key), kUntil)) _exit(1);
    }
    if (counted(*table, place_of(SlotClass::kWords2, 1), kUntil) != 2) _exit(2);
  }));
  REQUIRE(counted(*table, place_of(SlotClass::kWords2, 1), kUntil) == 1);
  REQUIRE(counted(*table, place_of(SlotClass::kWords2, 2), kUntil) == 0);
}

TEST_CASE("only what certainly died counts as dead") {
  REQUIRE(process_alive(own_process_id()));
  REQUIRE(own_process_id() == own_process_id());
  Shared<std::atomic<uint64_t>> id;
  const pid_t child = spawn([&] {
    id->store(own_process_id());
    raise(SIGSTOP);
  });
  int status = 0;
  REQUIRE(waitpid(child, &status, WUNTRACED) == child);
  REQUIRE(process_alive(id->load()));
  // The same number in another PID namespace cannot be judged, …
  REQUIRE(process_alive(id->load() ^ uint64_t{1} << 60));
  // … and one that started at another time is somebody else.
  REQUIRE_FALSE(process_alive(id->load() ^ uint64_t{1} << 30));
  REQUIRE(kill(child, SIGKILL) == 0);
  siginfo_t info{};
  REQUIRE(waitid(P_PID, static_cast<id_t>(child), &info, WEXITED | WNOWAIT) == 0);
  REQUIRE_FALSE(process_alive(id->load()));
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE_FALSE(process_alive(id->load()));
}

}  // namespace
}  // namespace tenancy::testing
