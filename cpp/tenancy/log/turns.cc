#include "tenancy/log/turns.h"

namespace tenancy::log {

bool Turns::begin(int64_t deadline_ns) {
  Waiter self;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (!taken_) {
      taken_ = true;
      return true;
    }
    (last_ == nullptr ? first_ : last_->next) = &self;
    last_ = &self;
  }
  while (self.called.load() == 0) {
    const int64_t left = deadline_ns - real_ns();
    if (left > 0) {
      futex_wait(self.called, 0, left);
      continue;
    }
    const std::lock_guard<std::mutex> guard(mutex_);
    if (self.called.load() != 0) return true;
    remove(&self);
    return false;
  }
  return true;
}

void Turns::end() {
  FutexWord* called = nullptr;
  {
    const std::lock_guard<std::mutex> guard(mutex_);
    if (first_ == nullptr) {
      taken_ = false;
      return;
    }
    called = &first_->called;
    remove(first_);
    called->store(1);
  }
  // Its thread may be gone by now; then nobody sleeps at that address, or somebody looks once more.
  futex_wake_all(*called);
}

void Turns::remove(const Waiter* waiter) {
  Waiter* before = nullptr;
  for (Waiter* at = first_; at != waiter; at = at->next) before = at;
  (before == nullptr ? first_ : before->next) = waiter->next;
  if (last_ == waiter) last_ = before;
}

}  // namespace tenancy::log
