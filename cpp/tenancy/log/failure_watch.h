// FailureWatch: tells a disk that is slow from one that fails, so that nobody waits for one to be
// mended. Internal.
//
// Thread safety: one thread; the ring's header is read from any.
#pragma once

#include <cstdint>

#include "tenancy/log/futex.h"
#include "tenancy/log/ring.h"

namespace tenancy::log {

class FailureWatch {
 public:
  explicit FailureWatch(const RingHeader& header)
      : header_(header), before_(failed()), since_(real_ns()) {}

  // The leader has tried since this was made, in vain, and was given a while to get over it.
  bool hopeless() const {
    const uint64_t now = failed();
    return now != 0 && now != before_ && real_ns() - since_ >= kGraceNs;
  }

 private:
  static constexpr int64_t kGraceNs = 250'000'000;
  uint64_t failed() const { return header_.failure.load() >> kFailedShift; }

  const RingHeader& header_;
  const uint64_t before_;
  const int64_t since_;
};

// An append that waits for room in the ring.
struct RoomWait {
  int64_t deadline;
  FailureWatch failure;
};

}  // namespace tenancy::log
