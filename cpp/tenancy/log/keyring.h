// KeyRing: the record keys that one process uses, following the chains from epoch to epoch.
// Internal.
//
// Appenders read keys without the ring's mutex, because they hash most of a record before they take
// it. They read the version first; when it is the same under the mutex, the keys that they read
// were whole.
//
// Thread safety: `read`, `version` and `base_epoch` from any thread; the rest under the ring's
// mutex.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "tenancy/log/keys.h"

namespace tenancy::log {

// A key for blocks and the epoch it belongs to.
struct FileKey {
  uint32_t epoch = 0;
  HmacKey key{};
};

class KeyRing {
 public:
  explicit KeyRing(const EpochKey& base);
  ~KeyRing();
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;

  struct Read {
    uint64_t version = 0;
    uint32_t epoch = 0;
    HmacKey key{};
  };
  Read read(Class chain) const;
  uint64_t version() const { return version_.load(std::memory_order_relaxed); }

  // The chain is in `epoch` now (never an earlier one than before). Keys that no chain needs any
  // more are erased.
  void follow(Class chain, uint32_t epoch);
  uint32_t epoch(Class chain) const { return epochs_[index(chain)]; }
  // Of the oldest epoch in which a chain still is.
  FileKey file_key() const;
  const EpochKey& base() const { return base_; }
  uint32_t base_epoch() const { return base_epoch_.load(std::memory_order_relaxed); }

 private:
  void publish(Class chain, const HmacKey& key, uint32_t epoch);

  struct Slot {
    std::atomic<uint64_t> epoch{0};
    std::array<std::atomic<uint64_t>, 8> states{};
  };
  EpochKey base_;
  std::atomic<uint32_t> base_epoch_;
  std::array<uint32_t, kClasses> epochs_{};
  std::atomic<uint64_t> version_{0};
  std::array<Slot, kClasses> slots_;
};

}  // namespace tenancy::log
