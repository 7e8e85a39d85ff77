// Quotas between processes: what the tests share. Children are forked and open the same files.
#pragma once

#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <functional>
#include <memory>

#include "base/process.h"
#include "quotas/world.h"

namespace tenancy::test {

constexpr int64_t kTtl = 60 * kSecond;

// Numbers that children share with the test.
struct Board {
  std::atomic<uint64_t> admitted{0};
  std::atomic<uint64_t> ready{0};
  std::atomic<uint64_t> late{0};
  std::atomic<uint64_t> go{0};
};

class SharedBoard {
 public:
  SharedBoard() {
    void* const at =
        mmap(nullptr, sizeof(Board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    REQUIRE(at != MAP_FAILED);
    board_ = new (at) Board{};
  }
  ~SharedBoard() { munmap(board_, sizeof(Board)); }
  SharedBoard(const SharedBoard&) = delete;
  SharedBoard& operator=(const SharedBoard&) = delete;
  Board* operator->() const { return board_; }

 private:
  Board* board_;
};

// What each process opens for itself: clock, table and quotas on the same files.
struct Host {
  explicit Host(const TempDir& dir) {
    clock = *FakeClock::open(dir.file("clock"), kStart);
    table = open_table(clock, dir.file("counters"));
    quotas = std::make_unique<Quotas>(table.get(), clock);
  }
  std::shared_ptr<FakeClock> clock;
  std::unique_ptr<CounterTable> table;
  std::unique_ptr<Quotas> quotas;
  Quotas* operator->() { return quotas.get(); }
};

inline pid_t spawn(const std::function<void()>& work) {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    work();
    _exit(0);
  }
  return child;
}

inline void require_success(pid_t child) {
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
}

inline void kill_and_reap(pid_t child) {
  REQUIRE(kill(child, SIGKILL) == 0);
  REQUIRE(waitpid(child, nullptr, 0) == child);
}

template <class Done>
void wait_until(const Done& done) {
  while (!done()) usleep(100);
}

}  // namespace tenancy::test
