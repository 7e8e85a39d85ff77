#include "tenancy/base/robust_mutex.h"

#include <time.h>

#include <algorithm>
#include <cerrno>

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace tenancy {
namespace {

// By a clock that nobody sets, so that a step of the time makes no wait longer. The thread
// sanitizer of GCC 12 does not know that call.
int lock_within(pthread_mutex_t* mutex, int64_t wait_ns) {
#ifdef __SANITIZE_THREAD__
  constexpr clockid_t kClock = CLOCK_REALTIME;
#else
  constexpr clockid_t kClock = CLOCK_MONOTONIC;
#endif
  struct timespec until {};
  clock_gettime(kClock, &until);
  const int64_t nanos = until.tv_nsec + wait_ns;
  until.tv_sec += static_cast<time_t>(nanos / 1'000'000'000);
  until.tv_nsec = static_cast<long>(nanos % 1'000'000'000);
#ifdef __SANITIZE_THREAD__
  const int error = pthread_mutex_timedlock(mutex, &until);
  // It does not see that a timed wait which ends with the death of the owner has locked, and would
  // take the unlock that follows for a mistake.
  if (error == EOWNERDEAD) {
    __tsan_mutex_pre_lock(mutex, __tsan_mutex_try_lock);
    __tsan_mutex_post_lock(mutex, __tsan_mutex_try_lock, 0);
  }
  return error;
#else
  return pthread_mutex_clocklock(mutex, kClock, &until);
#endif
}

// A moment in which the processor leaves the other thread of its core alone.
void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

// What is done under such a mutex mostly takes less time than to fall asleep and to be woken, for
// which whoever unlocks pays as well. Some five microseconds, with longer and longer pauses, so
// that many who try do not keep the mutex's memory from the one who has it.
int lock_soon(pthread_mutex_t* mutex) {
  constexpr unsigned kPausesMax = 64;
  int error = EBUSY;
  for (unsigned pauses = 1; error == EBUSY && pauses <= kPausesMax; pauses *= 2) {
    for (unsigned i = 0; i < pauses; ++i) pause_briefly();
    error = pthread_mutex_trylock(mutex);
  }
  return error;
}

}  // namespace

void RobustMutex::init() {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutex_init(&mutex_, &attributes);
  pthread_mutexattr_destroy(&attributes);
}

RobustMutex::Taken RobustMutex::lock(int64_t wait_ns) {
  int error = pthread_mutex_trylock(&mutex_);
  if (error == EBUSY && wait_ns > 0) error = lock_soon(&mutex_);
  if (error == EBUSY && wait_ns > 0) error = lock_within(&mutex_, wait_ns);
  if (error == EOWNERDEAD) return Taken::kFromTheDead;
  return error == 0 ? Taken::kTaken : Taken::kBusy;
}

}  // namespace tenancy
