// Who a process is, in one word: enough to tell whether it still lives.
//
// Thread safety: free functions, any thread.
#pragma once

#include <atomic>
#include <cstdint>

namespace tenancy {

// Process number, start time and PID namespace of the caller. Never 0.
uint64_t own_process_id();
// False only when it is certain that the process is gone. One of another PID namespace, or one that
// cannot be looked at, counts as alive.
bool process_alive(uint64_t process_id);

// Grows by one in the child of every fork, once watch_forks was called.
extern std::atomic<uint64_t> g_fork_count;
void watch_forks();

}  // namespace tenancy
