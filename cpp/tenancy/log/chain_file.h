// ChainFile: the active segment of one chain in the hands of the leader. Internal.
// (LOG_FORMAT.md, 6 and 10.3)
//
// It has two states: what was added, and what is durable. `settle` makes the first the second;
// `fall_back` returns to the durable one, from which the same records can be added again; `abandon`
// gives the file up as well, and the next segment will say where it was cut.
//
// Thread safety: the leader's thread only.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <string>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/keyring.h"
#include "tenancy/log/merkle.h"
#include "tenancy/log/record.h"
#include "tenancy/log/segment.h"
#include "tenancy/log/store.h"
#include "tenancy/log/tenant_keys.h"

namespace tenancy::log {

// What the ring knows of a chain's files.
struct ChainMark {
  uint64_t first = kNoSequence;  // of the active segment
  uint64_t offset = 0;           // end of its records
  uint64_t next_sequence = 0;
  Tag tag{};
  uint32_t epoch = 0;         // of the next record
  bool needs_segment = true;  // before anything is written
  bool sealed = false;        // the one being left; else it was cut
  bool repair_told = false;   // the record of the cut is in the ring
};

class ChainFile {
 public:
  ChainFile(Files& files, const Paths& paths, const LogId& log_id, Class chain)
      : files_(files), paths_(paths), log_id_(log_id), chain_(chain) {}

  // Takes over from whoever wrote up to `mark`: reads the segment to know its tree and tenants.
  Status load(const ChainMark& mark);
  const ChainMark& durable() const { return durable_; }
  Class chain() const { return chain_; }
  bool needs_segment() const { return mark_.needs_segment; }
  bool has_unsynced() const { return dirty_; }

  // Whether `bytes` more would pass the end of the segment.
  bool would_pass(size_t bytes, uint64_t segment_bytes) const;
  // Adds a record to what `write` writes; false unless it is the next one. Its tree knows it when
  // it is durable.
  bool add(std::string_view record);
  Status write();
  Status sync();
  void settle() { durable_ = mark_, durable_range_ = range_; }
  // When everything is durable and nobody waits: space for the commits that come. An error is as
  // one of `sync`.
  Status fill_ahead();
  void fall_back();
  void abandon();

  // Behind the last record, which is durable; then needs_segment.
  Status seal(const FileKey& key);
  // The manifest's entry of the segment that is being left, when there is one to leave.
  bool left_segment(ManifestEntry* entry) const;
  // The next segment, from the last durable record on.
  Status make_segment(const FileKey& key, uint64_t segment_bytes);

  // The tree over all records that are durable.
  CompactRange tree() const;

 private:
  std::string path(uint64_t first) const {
    return paths_.segments + "/" + segment_name(chain_, first);
  }
  Status scan(uint64_t end);
  Status make_room(uint64_t end);
  Status finish_seal(uint64_t end);
  void hash_leaves();

  Files& files_;
  const Paths& paths_;
  const LogId log_id_;
  const Class chain_;
  std::unique_ptr<File> file_;
  uint64_t room_ = 0;    // up to where space of the file is taken
  uint64_t filled_ = 0;  // up to where it was written, records or zeros, but for large records
  ChainMark mark_;
  ChainMark durable_;
  SegmentHeader header_;  // of the active segment
  CompactRange before_;   // the tree over what lies before it
  CompactRange range_;    // over its records, but those of `buffer_` and `unhashed_`
  CompactRange durable_range_;
  absl::flat_hash_map<TenantKey, TenantEntry, TenantKeyHash> tenants_;  // with records in it
  TenantKeyCache keys_;
  std::string buffer_;    // records that are to be written
  std::string unhashed_;  // records that are written and not in `range_`
  bool dirty_ = false;
  bool small_ = false;  // the last write was
  Tag footer_mac_{};
};

}  // namespace tenancy::log
