// Keys of the log: epochs that move forward only, and the files that keep them. Internal.
// (LOG_FORMAT.md, 3)
//
// Thread safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "tenancy/base/crypto.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

// The key of one epoch. Erased when it goes away or moves on.
class EpochKey {
 public:
  EpochKey(const LogId& log_id, uint32_t epoch, const Digest256& key)
      : log_id_(log_id), epoch_(epoch), key_(key) {}
  ~EpochKey() { cleanse(key_); }
  EpochKey(const EpochKey&) = default;
  EpochKey& operator=(const EpochKey&) = default;

  const LogId& log_id() const { return log_id_; }
  uint32_t epoch() const { return epoch_; }
  const Digest256& secret() const { return key_; }
  void advance();                     // to the next epoch; the old key is gone
  EpochKey at(uint32_t epoch) const;  // requires epoch >= epoch()
  HmacKey record_key(Class chain) const;
  HmacKey file_key() const;
  std::array<uint8_t, 16> check() const;  // requires epoch() == 0

 private:
  LogId log_id_;
  uint32_t epoch_;
  Digest256 key_;
};

}  // namespace tenancy::log
