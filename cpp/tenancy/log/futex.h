// Waiting on a word of shared memory, between processes. Internal.
//
// Thread safety: free functions, any thread and process.
#pragma once

#include <atomic>
#include <cstdint>

namespace tenancy::log {

using FutexWord = std::atomic<uint32_t>;

constexpr uint32_t kAllWaiters = 0xffffffff;

// Until somebody wakes one of these bits of the word, it differs from `seen`, or the time has
// passed; may return early.
void futex_wait(const FutexWord& word, uint32_t seen, int64_t timeout_ns,
                uint32_t bits = kAllWaiters);
// Those who wait with one of these bits; how many there were.
int futex_wake(FutexWord& word, uint32_t bits);
inline void futex_wake_all(FutexWord& word) { (void)futex_wake(word, kAllWaiters); }

// CLOCK_MONOTONIC: deadlines of waits are real time, whatever clock a test injects for the rest.
int64_t real_ns();

}  // namespace tenancy::log
