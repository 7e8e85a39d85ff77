// Groups: whom a sync wakes, and whom the next one waits for. What the leader takes from the ring
// in one go is a group; groups are numbered modulo 32, and whoever waits for its record to be
// durable sleeps with the bit of its group, so that nobody is woken for another's. Internal.
// (LOG_FORMAT.md, 9.4)
//
// Invariant: whoever looked at the word `durable`, then at `synced`, then chose a bit from
// `gathered`, and sleeps only if `durable` is still the same, is woken by the next sync that covers
// its record.
//
// Thread safety: Gathered is a plain value. Groups, Patience: one thread at a time, the leader's.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "tenancy/log/futex.h"

namespace tenancy::log {

// The group that was taken last, as one word of shared memory.
struct Gathered {
  static constexpr uint64_t kGroups = 32;

  uint64_t end = 0;     // in bytes of the ring
  uint64_t number = 0;  // below kGroups

  static Gathered of(uint64_t word) { return {word / kGroups, word % kGroups}; }
  uint64_t word() const { return end * kGroups + number; }
  Gathered next(uint64_t next_end) const { return {next_end, (number + 1) % kGroups}; }
  uint32_t bit() const { return uint32_t{1} << number; }
  // Of a record that ends there and is not durable. With a word that is older than it might be,
  // that is the group behind this one: still right, or woken early by a group that left it behind.
  uint32_t bit_of(uint64_t record_end) const { return record_end <= end ? bit() : next(end).bit(); }
};

class Groups {
 public:
  explicit Groups(std::atomic<uint64_t>& gathered) : gathered_(gathered) {}

  // A process begins to lead: somebody may wait for a group of the leader before.
  void begin() {
    last_ = Gathered::of(gathered_.load());
    pending_ = kAllWaiters;
  }
  // Before the group's records are read.
  void take(uint64_t end) {
    last_ = Gathered::of(gathered_.load()).next(end);
    gathered_.store(last_.word());
    pending_ |= last_.bit();
  }
  // It ends earlier than was said.
  void shorten(uint64_t end) {
    last_.end = end;
    gathered_.store(last_.word());
  }
  // Everything before `synced` is durable: the bits to be woken. A group that goes on behind that
  // stays pending, as does, after a failure, whatever was taken and has to be taken again.
  uint32_t settle(uint64_t synced) {
    const uint32_t woken = pending_;
    pending_ = synced < last_.end ? last_.bit() : 0;
    return woken;
  }

 private:
  std::atomic<uint64_t>& gathered_;
  Gathered last_;
  uint32_t pending_ = kAllWaiters;
};

// How long the leader waits, before it takes the next group, for those whom the last sync woke.
// They as a rule commit again at once; without them the group has those alone who came during the
// sync, and two halves take turns at syncs that would have had room for both. Waiting for longer
// than a sync could gain nothing, and where they do not come back it is soon given up.
class Patience {
 public:
  static constexpr int64_t kWaitNsMax = 2'000'000;
  static constexpr uint32_t kSkipsMax = 63;

  // A sync that took `sync_ns` woke `woken` waiters; `others`: somebody waits for the next one
  // already. 0: not at all.
  int64_t wait_ns(uint32_t woken, bool others, int64_t sync_ns) {
    if (woken == 0 || (woken == 1 && !others)) return 0;
    if (skips_left_ != 0) {
      --skips_left_;
      return 0;
    }
    return std::min(sync_ns / 2, kWaitNsMax);
  }
  // After a wait: so many of those that were woken did not come in time.
  void tell(uint32_t woken, uint32_t missing) {
    skips_ = missing * 2 <= woken ? 0 : std::min(skips_ * 2 + 1, kSkipsMax);
    skips_left_ = skips_;
  }

 private:
  uint32_t skips_ = 0;  // how many groups were taken at once after the last wait
  uint32_t skips_left_ = 0;
};

}  // namespace tenancy::log
