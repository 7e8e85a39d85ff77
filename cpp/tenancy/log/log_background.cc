// The thread that leads, or waits to lead.
#include <algorithm>

#include "tenancy/log/log_impl.h"

namespace tenancy::log {
namespace {

constexpr int64_t kBusyNapNs = 10'000'000;   // after work
constexpr int64_t kIdleNapNs = 100'000'000;  // after none for a while
constexpr int64_t kBusyForNs = 1'000'000'000;
constexpr int64_t kTendEveryNs = 50'000'000;

}  // namespace

void LogImpl::start_thread(Worker* worker) {
  if (options_.background) worker->thread = std::thread([this, worker] { run(*worker); });
}

void LogImpl::run(Worker& worker) {
  int64_t tended = 0;
  int64_t worked_last = real_ns();
  while (!worker.stop.load()) {
    const uint32_t wake_seen = ring_->header().wake.load();
    const uint32_t followers_seen = ring_->header().followers.load();
    bool leading = false;
    bool worked = false;
    bool failing = false;
    {
      const auto turn = worker.wait_turn();
      const Result<bool> leads = worker.flusher.lead();
      leading = leads && *leads;
      if (leading) {
        const Result<bool> pumped = worker.flusher.pump_due();
        worked = pumped && *pumped;
        if (is_asked() || real_ns() - tended >= kTendEveryNs ||
            wake_seen != ring_->header().wake.load()) {
          (void)worker.flusher.tend();  // what fails is in `failure`, and tried again
          tended = real_ns();
        }
      }
      failing = worker.flusher.failing();
    }
    if (worked) {
      worked_last = real_ns();
    } else if (leading) {
      nap(worker, wake_seen, failing, real_ns() - worked_last > kBusyForNs);
    } else {
      follow(worker, followers_seen);
    }
  }
  const auto turn = worker.wait_turn();
  worker.flusher.step_down();
}

void LogImpl::follow(Worker& worker, uint32_t followers_seen) {
  RingHeader& header = ring_->header();
  // Keys of past epochs do not stay in the memory of a process that does not append.
  for (size_t i = 0; i < kClasses; ++i) {
    const auto chain = static_cast<Class>(i);
    if (header.chains[i].epoch.load() == keys_->read(chain).epoch) continue;
    const RingLock lock(*ring_, kSliceNs);
    if (lock.held()) keys_->follow(chain, ring_->chain(chain).epoch);
  }
  if (!worker.stop.load()) futex_wait(header.followers, followers_seen, kIdleNapNs);
}

bool LogImpl::flush_is_wanted() const {
  const RingHeader& header = ring_->header();
  return header.sync_wanted.load() > ring_->synced() ||
         header.write_wanted.load() > header.written.load();
}

bool LogImpl::is_asked() const {
  const RingHeader& header = ring_->header();
  for (size_t i = 0; i < static_cast<size_t>(Request::kCount); ++i) {
    if (header.asked[i].load() > header.served[i].load()) return true;
  }
  return false;
}

void LogImpl::nap(Worker& worker, uint32_t wake_seen, bool failing, bool idle) {
  RingHeader& header = ring_->header();
  header.sleeping.store(1);
  if ((!flush_is_wanted() || failing) && !worker.stop.load()) {
    futex_wait(header.wake, wake_seen, idle ? kIdleNapNs : kBusyNapNs);
  }
  header.sleeping.store(0);
}

}  // namespace tenancy::log
