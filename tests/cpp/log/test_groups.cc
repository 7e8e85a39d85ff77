// Whom a sync wakes: the waiters' half of the protocol as a model, step by step against the
// leader's, in random interleavings.
#include <algorithm>
#include <atomic>
#include <map>
#include <mutex>
#include <optional>
#include <random>
#include <regex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "rig.h"
#include "tenancy/log/futex.h"
#include "tenancy/log/groups.h"
#include "watched_files.h"

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

TEST_CASE("the next group waits for as many as a sync woke, for at most half of a sync") {
  Patience patience;
  constexpr int64_t kSync = 200'000;
  CHECK(patience.wait_ns(0, true, kSync) == 0);
  CHECK(patience.wait_ns(1, false, kSync) == 0);  // alone: it would wait for itself
  CHECK(patience.wait_ns(1, true, kSync) == kSync / 2);
  CHECK(patience.wait_ns(2, false, kSync) == kSync / 2);
  CHECK(patience.wait_ns(60, true, 60'000'000'000) == Patience::kWaitNsMax);
}

TEST_CASE("waiting in vain is given up for longer each time, until it is worth it again") {
  Patience patience;
  constexpr int64_t kSync = 200'000;
  const auto groups_at_once = [&] {
    uint32_t count = 0;
    while (patience.wait_ns(10, true, kSync) == 0) ++count;
    return count;
  };
  CHECK(groups_at_once() == 0);
  for (const uint32_t expected : {1U, 3U, 7U, 15U, 31U, 63U, 63U}) {
    patience.tell(10, 6);
    CHECK(groups_at_once() == expected);
  }
  patience.tell(10, 5);
  CHECK(groups_at_once() == 0);
}

namespace {

// What the disk has of threads that number their commits: of each thread the last one that was
// synced, and whether those before it came in order.
class Durable {
 public:
  static std::string text(size_t thread, size_t number) {
    return "<" + std::to_string(thread) + ":" + std::to_string(number) + ">";
  }

  void wrote(const std::string& path, std::string_view data) {
    const std::lock_guard<std::mutex> guard(mutex_);
    unsynced_[path] += data;
  }
  void synced(const std::string& path) {
    const std::lock_guard<std::mutex> guard(mutex_);
    ++syncs_;
    const std::string data = std::exchange(unsynced_[path], {});
    const std::regex one("<([0-9]+):([0-9]+)>");
    for (std::sregex_iterator found(data.begin(), data.end(), one), end; found != end; ++found) {
      uint64_t& last = last_[std::stoul((*found)[1])];
      if (std::stoul((*found)[2]) != last + 1) in_order_ = false;
      ++last;
    }
  }

  uint64_t last(size_t thread) {
    const std::lock_guard<std::mutex> guard(mutex_);
    return last_[thread];
  }
  size_t syncs() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return syncs_;
  }
  bool in_order() {
    const std::lock_guard<std::mutex> guard(mutex_);
    return in_order_;
  }
  void watch(WatchedFiles* files) {
    files->on_write = [this](const std::string& path, uint64_t, std::string_view data) {
      wrote(path, data);
    };
    files->after_sync = [this](const std::string& path) { synced(path); };
  }

 private:
  std::mutex mutex_;
  std::map<std::string, std::string> unsynced_;
  std::map<size_t, uint64_t> last_;  // numbers begin with 1
  size_t syncs_ = 0;
  bool in_order_ = true;
};

bool commit(Log& log, size_t thread, size_t number) {
  const std::string text = Durable::text(thread, number);
  const Field fields[] = {{FieldId::kResourceId, Value::text(text), {}}};
  return log.append({Class::kOther, "ten_1", fields, 0}, Ack::kDisk).ok();
}

Options committing(const std::string& directory, WatchedFiles* files) {
  Options options = options_in(directory);
  options.background = true;
  options.segment_bytes = 1 << 20;  // holds them all: one that is full is synced for itself
  options.files = files;
  return options;
}

}  // namespace

TEST_CASE("a commit that has returned is synced, and the commits of a thread lie in its order") {
  const TempDir directory;
  WatchedFiles files;
  Durable disk;
  disk.watch(&files);
  const auto log = open(committing(directory.path(), &files));
  REQUIRE(log->flush().ok());
  const uint64_t groups_before = log->health().groups;
  const size_t syncs_before = disk.syncs();
  constexpr size_t kThreads = 8;
  constexpr size_t kEach = 50;
  std::atomic<size_t> failed{0};
  std::atomic<size_t> early{0};
  std::vector<std::thread> threads;
  for (size_t t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (size_t i = 1; i <= kEach; ++i) {
        if (!commit(*log, t, i)) ++failed;
        if (disk.last(t) != i) ++early;  // acknowledged before it was durable
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(early == 0);
  CHECK(disk.in_order());
  // Without a flush: a reader, too, has all of them.
  CHECK(events_of(directory.path(), Class::kOther).size() == kThreads * kEach);
  CHECK(disk.syncs() - syncs_before <= log->health().groups - groups_before);
}

TEST_CASE("commits that come while a sync runs share the next one") {
  const TempDir directory;
  WatchedFiles files;
  Durable disk;
  disk.watch(&files);
  std::atomic<bool> hold{false};
  std::atomic<size_t> held{0};
  files.before_sync = [&](const std::string&) {
    if (!hold) return;
    ++held;
    hold.wait(true);
  };
  const auto log = open(committing(directory.path(), &files));
  REQUIRE(log->flush().ok());
  const size_t syncs_before = disk.syncs();
  const uint64_t begin = log->position(Class::kOther);
  std::atomic<size_t> durable{0};
  std::vector<std::thread> threads;
  const auto start = [&](size_t thread) {
    threads.emplace_back([&, thread] {
      if (commit(*log, thread, 1) && disk.last(thread) == 1) ++durable;
    });
  };
  hold = true;
  start(0);
  while (held == 0) std::this_thread::yield();
  constexpr size_t kMore = 7;
  for (size_t t = 1; t <= kMore; ++t) start(t);
  while (log->position(Class::kOther) < begin + 1 + kMore) std::this_thread::yield();
  CHECK(durable == 0);  // all are in the ring, none on the disk
  hold = false;
  hold.notify_all();
  for (std::thread& thread : threads) thread.join();
  CHECK(durable == 1 + kMore);
  CHECK(disk.syncs() - syncs_before == 2);
}
