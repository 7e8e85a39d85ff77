#include "tenancy/log/futex.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace tenancy::log {

static_assert(sizeof(FutexWord) == sizeof(uint32_t) && FutexWord::is_always_lock_free);

void futex_wait(const FutexWord& word, uint32_t seen, int64_t timeout_ns, uint32_t bits) {
  if (timeout_ns <= 0) return;
  // FUTEX_WAIT_BITSET takes a point in time, by CLOCK_MONOTONIC.
  const int64_t until_ns = real_ns() + timeout_ns;
  struct timespec until {};
  until.tv_sec = static_cast<time_t>(until_ns / 1'000'000'000);
  until.tv_nsec = static_cast<long>(until_ns % 1'000'000'000);
  (void)syscall(SYS_futex, reinterpret_cast<const uint32_t*>(&word), FUTEX_WAIT_BITSET, seen,
                &until, nullptr, bits);
}

int futex_wake(FutexWord& word, uint32_t bits) {
  if (bits == 0) return 0;
  return static_cast<int>(syscall(SYS_futex, reinterpret_cast<uint32_t*>(&word), FUTEX_WAKE_BITSET,
                                  INT_MAX, nullptr, nullptr, bits));
}

int64_t real_ns() {
  struct timespec now {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace tenancy::log
