// TableTime: the table's own scale of time, on which every expiry in it lives. Internal.
//
// It runs with the clock's mono_ns. The offset between the two is stored once per boot, such that
// table time goes on after a reboot at the highest time known to the file, or at wall time if that
// is later.
//
// Thread safety: any thread or process; `begin_boot` under the file lock.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>

#include "tenancy/base/clock.h"
#include "tenancy/base/hash.h"
#include "tenancy/counters/layout.h"

namespace tenancy::counters {

constexpr int64_t kHighWaterStepNs = 1'000'000'000;

class TableTime {
 public:
  TableTime(FileHeader* header, const Clock* clock) : header_(header), clock_(clock) {}

  int64_t now_ns() const {
    const auto offset =
        static_cast<int64_t>(header_->clock_offset_ns.load(std::memory_order_relaxed));
    // Never 0, which means "never written", and never into the two flag bits.
    const int64_t now =
        std::clamp<int64_t>(clock_->mono_ns() + offset, 1, static_cast<int64_t>(kStateMask));
    uint64_t high = header_->high_water_ns.load(std::memory_order_relaxed);
    if (now - static_cast<int64_t>(high) > kHighWaterStepNs) [[unlikely]] {
      header_->high_water_ns.compare_exchange_strong(high, static_cast<uint64_t>(now));
    }
    return now;
  }

  // At open: a no-op for a boot that the file knows.
  void begin_boot() {
    const uint64_t digest = boot_digest();
    if (header_->boot_digest.load() == digest) return;
    const int64_t high = static_cast<int64_t>(header_->high_water_ns.load());
    const int64_t start = std::max({high, clock_->wall_ns(), int64_t{1}});
    header_->clock_offset_ns.store(static_cast<uint64_t>(start - clock_->mono_ns()));
    header_->high_water_ns.store(static_cast<uint64_t>(start));
    // Last: a process killed before this line does it all again.
    header_->boot_digest.store(digest);
  }

 private:
  uint64_t boot_digest() const {
    const uint64_t digest = siphash(HashKey{}, clock_->boot_id());
    return digest == 0 ? 1 : digest;
  }

  FileHeader* header_;
  const Clock* clock_;
};

}  // namespace tenancy::counters
