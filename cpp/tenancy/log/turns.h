// Turns: threads of one process that wait for the disk and go on one after the other.
//
// For callers that need one and the same lock as soon as they are awake, such as Python's
// interpreter lock: woken together, all but one would go to sleep once more, waiting for that. Who
// has the turn waits for the sync; when it has its lock it ends its turn, and the next one, whose
// record the same sync made durable as a rule, is woken.
//
// Invariants:
//  1. At most one thread has the turn; while anybody waits for it somebody has it.
//  2. Turns are taken in the order in which they were asked for.
//
// Thread safety: Turns: all methods from any thread. Turn: its own thread.
#pragma once

#include <cstdint>
#include <mutex>

#include "tenancy/log/futex.h"

namespace tenancy::log {

class Turns {
 public:
  // Waits for the turn, until that real time (real_ns) at most; false when it was not ours by then.
  bool begin(int64_t deadline_ns);
  // The next one is woken.
  void end();

 private:
  struct Waiter {
    FutexWord called{0};
    Waiter* next = nullptr;
  };
  // Under the mutex.
  void remove(const Waiter* waiter);

  std::mutex mutex_;
  bool taken_ = false;
  Waiter* first_ = nullptr;
  Waiter* last_ = nullptr;
};

// The turn of a thread, which ends with it.
class Turn {
 public:
  Turn() = default;
  ~Turn() {
    if (turns_ != nullptr) turns_->end();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

  bool begin(Turns& turns, int64_t deadline_ns) {
    if (!turns.begin(deadline_ns)) return false;
    turns_ = &turns;
    return true;
  }

 private:
  Turns* turns_ = nullptr;
};

}  // namespace tenancy::log
