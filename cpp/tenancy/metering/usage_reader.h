// Reading usage events back from the log, in the order in which they were recorded.
//
// Ownership: what is read owns its texts. Thread safety: one thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/reader.h"
#include "tenancy/metering/usage_event.h"

namespace tenancy::metering {

// An event and where it stands: the number of its record in the chain, and its own in the record.
struct UsageRow {
  uint64_t sequence = 0;
  uint32_t number = 0;
  int64_t recorded_ns = 0;
  std::string_view tenant{};
  UsageEvent event{};
};

struct UsageRows {
  std::vector<UsageRow> rows{};
  uint64_t next = 0;                  // the sequence to read from next
  std::deque<std::string> records{};  // what the texts of the rows lie in
};

class UsageReader {
 public:
  explicit UsageReader(std::string log_directory) : directory_(std::move(log_directory)) {}

  // The events of all durable records from the sequence `after` on, whole records, until there are
  // `limit` or the next record would pass that (the first one may). Fewer when no more are durable
  // yet. kOutOfRange when the record was pruned; kDamaged.
  Result<UsageRows> read(uint64_t after, size_t limit);

 private:
  // The next record, copied: what the log's reader shows is gone with its next step. None yet:
  // null.
  Result<const std::string*> fetch();

  const std::string directory_;
  std::unique_ptr<log::Reader> reader_;
  uint64_t next_ = 0;  // the sequence of what `fetch` gives
  std::string ahead_;  // one that was read and not given
};

}  // namespace tenancy::metering
