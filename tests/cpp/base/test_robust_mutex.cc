// A mutex that outlives its holders.
#include <signal.h>
#include <sys/mman.h>

#include <new>

#include "catch.h"
#include "process.h"
#include "tenancy/base/robust_mutex.h"

using tenancy::RobustMutex;
using tenancy::test::Child;
using Taken = RobustMutex::Taken;

namespace {

// In memory that children share.
struct Shared {
  Shared() {
    memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    mutex = new (memory) RobustMutex;
    mutex->init();
  }
  ~Shared() { munmap(memory, 4096); }
  void* memory;
  RobustMutex* mutex;
};

}  // namespace

TEST_CASE("the mutex of a process that died with it is taken, and says so once") {
  const Shared shared;
  Child child([&] {
    shared.mutex->lock(0);
    kill(getpid(), SIGKILL);
    return std::string();
  });
  CHECK(child.join() == "died");
  CHECK(shared.mutex->lock(0) == Taken::kFromTheDead);
  shared.mutex->mended();
  shared.mutex->unlock();
  CHECK(shared.mutex->lock(0) == Taken::kTaken);
  shared.mutex->unlock();
}

TEST_CASE("whoever dies while mending leaves it to the next one") {
  const Shared shared;
  for (int i = 0; i < 3; ++i) {
    Child child([&] {
      shared.mutex->lock(0);
      kill(getpid(), SIGKILL);
      return std::string();
    });
    CHECK(child.join() == "died");
  }
  CHECK(shared.mutex->lock(0) == Taken::kFromTheDead);
  shared.mutex->mended();
  shared.mutex->unlock();
}

TEST_CASE("a mutex that another process holds is busy") {
  const Shared shared;
  REQUIRE(shared.mutex->lock(0) == Taken::kTaken);
  Child child([&] {
    return std::string(shared.mutex->lock(1'000'000) == Taken::kBusy ? "busy" : "taken");
  });
  CHECK(child.join() == "busy");
  shared.mutex->unlock();
}
