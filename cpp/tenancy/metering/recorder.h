// Recorder: what one call needs to turn columns into records: who each event is, which come
// together, which are new. Internal to this layer.
//
// A record is of one tenant, so the events of a call are taken tenant by tenant, each tenant's in
// their order; and in blocks, so that what is known of an event is still in the cache when it is
// recorded, and that other processes get their turn.
//
// Ownership: borrows columns, log and index for the call. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/log.h"
#include "tenancy/metering/batch.h"
#include "tenancy/metering/columns.h"
#include "tenancy/metering/event_hash.h"
#include "tenancy/metering/id_index.h"
#include "tenancy/metering/pending.h"
#include "tenancy/metering/usage_log.h"

namespace tenancy::metering {

constexpr size_t kBlockEvents = size_t{8} << 10;

class Recorder {
 public:
  Recorder(log::Log& log, IdIndex& index) : log_(log), index_(index), hash_(index.key()) {}

  // The columns are checked.
  void begin(const UsageColumns& columns);
  // Looks at the next block of events; false when there are none left. Needs no lock.
  bool prepare();
  // Records them, under the index's lock.
  Status record(int64_t now_ns, std::span<EventStatus> statuses);

 private:
  struct Known {
    Hash128 id{};
    uint64_t content = 0;
    BatchWriter::Hashes hashes{};
    uint32_t event = 0;
    uint32_t tenant = 0;  // its code
  };
  struct Sender {
    uint32_t tenant = UINT32_MAX;  // its code
    std::string_view source{};
    HashKey key{};
  };

  void code_tenants();
  void group(size_t tenants);
  size_t event_at(size_t position) const { return order_.empty() ? position : order_[position]; }
  uint32_t tenant_of(size_t event) const;
  uint64_t hash_in(const TextColumn& column, const std::vector<uint64_t>& coded,
                   size_t event) const;
  // Of a few events, whose hashes are made together; the first one is at that place in the order.
  void learn(size_t position, std::span<Known> known);
  const HashKey& sender_key(size_t event);
  BatchWriter::Hashes text_hashes(size_t event) const;
  // Those of the block from `begin` to `end`, which are one tenant's.
  Status record_tenant(size_t begin, size_t end, int64_t now_ns, std::span<EventStatus> statuses);
  EventStatus judge(const Known& known, Action action);
  // Appends the batch at hand, then its ids.
  Status append(std::string_view tenant, int64_t now_ns);

  log::Log& log_;
  IdIndex& index_;
  EventHash hash_;
  const UsageColumns* columns_ = nullptr;
  std::vector<uint64_t> metric_hashes_;  // of the texts of coded columns
  std::vector<uint64_t> source_hashes_;
  std::vector<uint64_t> property_hashes_;
  std::vector<uint32_t> tenant_codes_;  // of a column of each
  std::vector<uint32_t> order_;         // of the events; empty: as they come
  size_t next_ = 0;                     // in that order
  Sender sender_;                       // of the last event
  std::vector<Known> known_;            // of the block
  BatchWriter writer_;
  Pending pending_;
  std::vector<IdEntry> found_;
};

}  // namespace tenancy::metering
