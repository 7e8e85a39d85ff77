// Clocks: the only source of time in the engine. Every object that reads time is handed one.
//
// Two scales. `mono_ns` (CLOCK_BOOTTIME) never goes back while the machine is up and counts
// suspended time: rate limits, leases and reservations live on it. `wall_ns` (CLOCK_REALTIME, Unix
// nanoseconds) may step: calendar periods, expiry of keys and time stamps live on it.
//
// Ownership: shared (std::shared_ptr<const Clock>). Thread safety: all methods may be called from
// any thread; FakeClock also from any process when it was opened on a file.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "tenancy/base/status.h"

namespace tenancy {

class MappedFile;

class Clock {
 public:
  virtual ~Clock() = default;
  virtual int64_t mono_ns() const = 0;
  virtual int64_t wall_ns() const = 0;
  // Names the period in which mono_ns runs without a break: the kernel's boot id, or a fixed name
  // for a fake clock. A file that stores mono times stores this beside them.
  virtual std::string boot_id() const = 0;

  static std::shared_ptr<const Clock> system();
};

// Time that a test owns. mono and wall move together by `advance`; `step_wall` moves wall alone, as
// an operator or NTP would; `step_mono` exists to show that even an impossible clock locks nobody
// out.
class FakeClock final : public Clock {
 public:
  // Private to this process. mono starts at the same number as wall.
  explicit FakeClock(int64_t start_wall_ns);
  // Shared through a small file: the first opener sets the time, later openers join it. Another
  // program's file is refused (kForeign) and left as it was.
  static Result<std::shared_ptr<FakeClock>> open(const std::string& path, int64_t start_wall_ns);
  ~FakeClock() override;

  int64_t mono_ns() const override;
  int64_t wall_ns() const override;
  std::string boot_id() const override;

  void advance(int64_t delta_ns);
  void step_wall(int64_t delta_ns);
  void step_mono(int64_t delta_ns);

 private:
  struct Cells {
    std::atomic<int64_t> mono_ns;
    std::atomic<int64_t> wall_ns;
  };
  explicit FakeClock(std::unique_ptr<MappedFile> file, Cells* cells);

  Cells own_;
  std::unique_ptr<MappedFile> file_;  // null when private
  Cells* cells_;
};

}  // namespace tenancy
