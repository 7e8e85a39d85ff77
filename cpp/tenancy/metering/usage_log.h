// UsageLog: usage events of one host, each once, in the log's chain `usage`.
//
//   auto usage = UsageLog::open(log, {.directory = "tenancy-data"});
//   std::vector<EventStatus> statuses(columns.events);
//   Result<Recorded> done = (*usage)->record(columns, log::Ack::kOs, statuses);
//
// An event is known by tenant, source and id for as long as the window lasts, by the time at which
// it was recorded, and at most an eighth of it longer.
//
// Invariants:
//  1. What `record` has acknowledged is in the log at that level, once, whoever is killed when.
//  2. Sent again with the same content within the window, an event counts once (kDuplicate); with
//     other content it is refused (kConflict).
//  3. A batch that was broken off can be sent again as a whole: what was recorded is a duplicate.
//
// Ownership: unique; keeps the log. Any number of processes may have one directory open. Thread
// safety: all methods from any thread, and in a forked child.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "tenancy/base/clock.h"
#include "tenancy/base/status.h"
#include "tenancy/log/log.h"
#include "tenancy/metering/columns.h"

namespace tenancy::metering {

constexpr int64_t kDayNs = int64_t{86'400} * 1'000'000'000;

struct UsageOptions {
  std::string directory{};               // the data directory: `usage-ids` is below it
  int64_t window_ns = 32 * kDayNs;       // at least a minute
  int64_t wait_ns = 5'000'000'000;       // the longest that an event waits for other processes
  unsigned first_table_log2 = 16;        // slots of the first table of ids: 11 to 24
  std::shared_ptr<const Clock> clock{};  // null: the system's
};

enum class EventStatus : uint8_t {
  kRecorded = 0,
  kDuplicate = 1,  // was there before with the same content
  kConflict = 2,   // the id is there with other content: refused
  kUnknown = 3,    // nothing of that id to correct or cancel: refused
};

struct Recorded {
  uint64_t recorded = 0;
  uint64_t duplicates = 0;
  uint64_t conflicts = 0;
  uint64_t unknown = 0;
  uint64_t sequence = 0;  // of the chain: all that this call recorded or found is below it
};

class UsageLog {
 public:
  static Result<std::unique_ptr<UsageLog>> open(std::shared_ptr<log::Log> log,
                                                const UsageOptions& options);
  virtual ~UsageLog() = default;  // as close(), errors unheard

  // Records events in their order; `statuses` has one for each. kInvalidArgument: a value can never
  // be recorded, and nothing was. After another error the first part of the batch may be recorded:
  // send all of it again. kFull: no room, or another process kept the index or the log too long.
  // kIo with "recorded, but": as of Log.
  //
  // A correction replaces what its id said, also when that was cancelled; one that says what holds
  // already is a duplicate, and so is a cancellation of what is cancelled. What was recorded, sent
  // again after a correction, is a duplicate still.
  virtual Result<Recorded> record(const UsageColumns& columns, log::Ack ack,
                                  std::span<EventStatus> statuses) = 0;

  // Makes the index durable, so that little of the log is read again after a power cut. Waits for
  // the disk; to be called now and then.
  virtual Status settle() = 0;
  // The last process settles: before the log is closed. What comes after fails with kConflict.
  virtual Status close() = 0;

  virtual const log::Log& log() const = 0;
  virtual int64_t window_ns() const = 0;
};

}  // namespace tenancy::metering
