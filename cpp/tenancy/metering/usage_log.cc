#include "tenancy/metering/usage_log.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "tenancy/metering/catch_up.h"
#include "tenancy/metering/id_index.h"
#include "tenancy/metering/recorder.h"

namespace tenancy::metering {
namespace {

constexpr size_t kCallEventsMax = size_t{1} << 31;
constexpr int64_t kWindowMinNs = int64_t{60} * 1'000'000'000;

class UsageLogImpl final : public UsageLog {
 public:
  UsageLogImpl(std::shared_ptr<log::Log> log, std::shared_ptr<const Clock> clock,
               std::unique_ptr<IdIndex> index)
      : log_(std::move(log)), clock_(std::move(clock)), index_(std::move(index)) {}
  // NOLINTNEXTLINE(bugprone-exception-escape): that a lock throws is the end of the process
  ~UsageLogImpl() override { (void)close(); }

  Result<Recorded> record(const UsageColumns& columns, log::Ack ack,
                          std::span<EventStatus> statuses) override;
  Status settle() override;
  Status close() override {
    closed_.store(true);
    return index_->close(*log_);
  }
  const log::Log& log() const override { return *log_; }
  int64_t window_ns() const override { return index_->window_ns(); }

  Status catch_up() {
    const IdIndex::Lock lock(*index_);
    return lock.status() ? catch_up_locked() : lock.status();
  }

 private:
  Recorder& recorder();
  Status record_block(Recorder& recorder, std::span<EventStatus> statuses, uint64_t* sequence);
  Status catch_up_locked() {
    return index_->behind() ? metering::catch_up(*log_, *index_, clock_->wall_ns()) : Status();
  }

  static std::atomic<uint64_t> made;

  const std::shared_ptr<log::Log> log_;
  const std::shared_ptr<const Clock> clock_;
  const std::unique_ptr<IdIndex> index_;
  const uint64_t serial_ = made.fetch_add(1) + 1;
  std::atomic<bool> closed_{false};
};

std::atomic<uint64_t> UsageLogImpl::made{0};

// The one of this thread, for as long as it goes on with the same log.
Recorder& UsageLogImpl::recorder() {
  struct Mine {
    uint64_t serial = 0;
    std::unique_ptr<Recorder> recorder;
  };
  thread_local Mine mine;
  if (mine.serial != serial_) {
    mine.recorder = std::make_unique<Recorder>(*log_, *index_);
    mine.serial = serial_;
  }
  return *mine.recorder;
}

Status UsageLogImpl::record_block(Recorder& recorder, std::span<EventStatus> statuses,
                                  uint64_t* sequence) {
  const IdIndex::Lock lock(*index_);
  if (!lock.status()) return lock.status();
  if (Status status = catch_up_locked(); !status) return status;
  Status status = recorder.record(clock_->wall_ns(), statuses);
  *sequence = index_->position();
  return status;
}

Result<Recorded> UsageLogImpl::record(const UsageColumns& columns, log::Ack ack,
                                      std::span<EventStatus> statuses) {
  if (closed_.load(std::memory_order_relaxed)) {
    return Error{Code::kConflict, "the usage log is closed"};
  }
  if (statuses.size() != columns.events) {
    return Error{Code::kInvalidArgument, "statuses: expected one for each event"};
  }
  if (columns.events > kCallEventsMax) {
    return Error{Code::kInvalidArgument, "ids: expected at most 2^31 events in a call"};
  }
  if (Status status = columns.check(); !status) return status;
  Recorder& recorder = this->recorder();
  recorder.begin(columns);
  Recorded out;
  while (recorder.prepare()) {
    if (Status status = record_block(recorder, statuses, &out.sequence); !status) {
      return Error{status.error().code,
                   status.error().message +
                       "; send all events of the call again: those that were recorded before this "
                       "count once"};
    }
  }
  for (const EventStatus status : statuses) {
    out.recorded += status == EventStatus::kRecorded ? 1 : 0;
    out.duplicates += status == EventStatus::kDuplicate ? 1 : 0;
    out.conflicts += status == EventStatus::kConflict ? 1 : 0;
    out.unknown += status == EventStatus::kUnknown ? 1 : 0;
  }
  // For duplicates too: whoever recorded them may have died before they reached that level.
  if (columns.events > 0) {
    if (Status status = log_->flush(ack); !status) return status;
  }
  return out;
}

Status UsageLogImpl::settle() {
  if (closed_.load()) return {Code::kConflict, "the usage log is closed"};
  if (Status status = catch_up(); !status) return status;
  return index_->settle(*log_);
}

}  // namespace

Result<std::unique_ptr<UsageLog>> UsageLog::open(std::shared_ptr<log::Log> log,
                                                 const UsageOptions& options) {
  const auto refuse = [](const std::string& what) {
    return Error{Code::kInvalidArgument, "usage log: " + what};
  };
  if (options.directory.empty()) return refuse("expected a directory");
  if (options.window_ns < kWindowMinNs) {
    return refuse("window_ns: expected at least a minute, got " +
                  std::to_string(options.window_ns) + " ns");
  }
  if (options.wait_ns < 0) return refuse("wait_ns: expected 0 or more");
  if (options.first_table_log2 < kTableLog2Min || options.first_table_log2 > kTableLog2Max) {
    return refuse("first_table_log2: expected 11 to 24");
  }
  IdIndex::Options of_index;
  of_index.directory = options.directory + "/usage-ids";
  of_index.window_ns = options.window_ns;
  of_index.wait_ns = options.wait_ns;
  of_index.first_slots_log2 = options.first_table_log2;
  of_index.clock = options.clock ? options.clock : Clock::system();
  Result<std::unique_ptr<IdIndex>> index = IdIndex::open(*log, of_index);
  if (!index) return index.status();
  auto usage = std::make_unique<UsageLogImpl>(std::move(log), of_index.clock, std::move(*index));
  if (Status status = usage->catch_up(); !status) return status;
  return std::unique_ptr<UsageLog>(std::move(usage));
}

}  // namespace tenancy::metering
