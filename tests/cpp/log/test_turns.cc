// Threads that wait for the disk and go on one after the other.
#include <atomic>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "rig.h"
#include "tenancy/log/turns.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

constexpr int64_t kLongNs = 60'000'000'000;

}  // namespace

TEST_CASE("turns are taken one at a time, in the order in which they were asked for") {
  Turns turns;
  REQUIRE(turns.begin(real_ns() + kLongNs));
  std::vector<int> order;  // by who has the turn alone
  std::vector<std::thread> threads;
  std::atomic<int> asking{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      while (asking.load() != i) std::this_thread::yield();
      ++asking;
      Turn turn;
      if (turn.begin(turns, real_ns() + kLongNs)) order.push_back(i);
    });
    while (asking.load() == i) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));  // it is in the queue
  }
  CHECK(order.empty());
  turns.end();
  for (std::thread& thread : threads) thread.join();
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7});
  Turn last;
  CHECK(last.begin(turns, 0));  // free again: nobody has to wait
}

TEST_CASE("who has waited too long leaves the queue to the others") {
  Turns turns;
  REQUIRE(turns.begin(real_ns() + kLongNs));
  std::atomic<int> got{0};
  std::thread patient([&] {
    Turn turn;
    if (turn.begin(turns, real_ns() + kLongNs)) ++got;
  });
  for (int i = 0; i < 3; ++i) {
    Turn turn;
    CHECK_FALSE(turn.begin(turns, real_ns() + 1'000'000));
  }
  CHECK(got == 0);
  turns.end();
  patient.join();
  CHECK(got == 1);
  Turn next;
  CHECK(next.begin(turns, 0));
}

TEST_CASE("turns pass through many threads without one being forgotten") {
  Turns turns;
  size_t count = 0;  // guarded by the turn
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 500; ++i) {
        Turn turn;
        // Some give up early: before, while and after they are called.
        const int64_t wait_ns = (i + t) % 5 == 0 ? 20'000 : kLongNs;
        if (turn.begin(turns, real_ns() + wait_ns)) ++count;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(count >= size_t{8} * 400);
}

TEST_CASE("events that are committed in turn are durable when that is said") {
  const TempDir directory;
  Options options = options_in(directory.path());
  options.background = true;
  const auto log = open(options);
  std::mutex interpreter;  // held but for the calls, as Python's is
  std::atomic<size_t> failed{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t) {
    threads.emplace_back([&] {
      std::unique_lock<std::mutex> lock(interpreter);
      for (int i = 0; i < 40; ++i) {
        const Field fields[] = {{FieldId::kResourceId, Value::text("event"), {}}};
        Turn turn;
        lock.unlock();
        if (!log->append({Class::kAccess, "ten_1", fields, 0}, Ack::kDisk, &turn)) ++failed;
        lock.lock();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(failed == 0);
  CHECK(events_of(directory.path(), Class::kAccess).size() == 16 * 40);
}
