// RobustMutex: a mutex in memory that several processes map. Its holder may be killed at any
// instruction: the next one to lock learns of it, and mends what the mutex guards.
//
// Ownership: lives where `init` was called, for as long as the memory; never destroyed, copied or
// moved. Thread safety: all methods from any thread of any process that maps the memory. A forked
// child does not hold what its parent's threads hold.
#pragma once

#include <pthread.h>

#include <cstdint>

namespace tenancy {

class RobustMutex {
 public:
  RobustMutex() = default;
  RobustMutex(const RobustMutex&) = delete;
  RobustMutex& operator=(const RobustMutex&) = delete;

  // Once, before anybody else can see the memory.
  void init();

  enum class Taken : uint8_t {
    kTaken,
    kFromTheDead,  // taken; its last holder died with it. `mended` must follow before `unlock`
    kBusy,         // not free within the time; not taken
  };
  Taken lock(int64_t wait_ns);
  // What the mutex guards is whole again. Unlocked without this call, it can never be taken again.
  void mended() { pthread_mutex_consistent(&mutex_); }
  void unlock() { pthread_mutex_unlock(&mutex_); }

 private:
  pthread_mutex_t mutex_;
};
static_assert(sizeof(RobustMutex) == sizeof(pthread_mutex_t));

}  // namespace tenancy
