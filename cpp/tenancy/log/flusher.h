// Flusher: the one process of a host that touches the log's files. Internal.
// (LOG_FORMAT.md, 9.3, 10.3)
//
// A method that fails has moved nothing forward: what the ring holds beyond the last sync is
// written again by the next call, into new segments where the old file failed.
//
// Thread safety: one thread at a time; the owner holds a lock.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tenancy/base/clock.h"
#include "tenancy/base/status.h"
#include "tenancy/log/appender.h"
#include "tenancy/log/chain_file.h"
#include "tenancy/log/checkpoint.h"
#include "tenancy/log/groups.h"
#include "tenancy/log/io.h"
#include "tenancy/log/keyring.h"
#include "tenancy/log/log.h"
#include "tenancy/log/ring.h"
#include "tenancy/log/store.h"
#include "tenancy/log/subject_keys.h"

namespace tenancy::log {

// A cut that a `repair` record has to tell of.
struct Repair {
  Class chain = Class::kSecurity;
  uint64_t segment = 0;
  uint64_t offset = 0;
  uint64_t discarded_bytes = 0;
  std::optional<Digest256> discarded_hash{};
  std::string reason;
};

// Appends the record of that repair; as Appender::append.
Appender::Outcome append_repair(Appender& appender, const Repair& repair, int64_t time_ns,
                                int64_t wait_ns, Status* error);

void store_progress(RingHeader& header, uint64_t synced,
                    const std::array<ChainMark, kClasses>& chains);
std::array<ChainMark, kClasses> load_progress(const RingHeader& header, uint64_t* synced);

class Flusher {
 public:
  Flusher(const Options& options, Files& files, const Clock& clock, const Paths& paths,
          const LogId& log_id, Ring& ring, KeyRing& keys, SubjectKeys& subjects,
          Appender& appender);

  // Becomes leader unless a living process is; then true, and the files are open.
  Result<bool> lead();
  bool leading() const { return leading_; }
  void step_down();

  // Writes, and with `sync` makes durable, everything committed below `upto`.
  Status pump(uint64_t upto, bool sync);
  // Who calls `pump_due`: the thread, or one that waits for its own commit and will be back with
  // the next.
  enum class By : uint8_t { kThread, kCommitter };
  // What is due: the next group and its sync, if somebody waits or it is time. True if there was
  // work.
  Result<bool> pump_due(By by = By::kThread);
  // How long the last sync took.
  int64_t sync_ns() const { return sync_ns_; }
  // Heartbeats, rotation, checkpoint, repairs that are due; requests of other processes.
  Status tend();
  Status rotate();
  Result<std::string> checkpoint();
  // Whole segments of the chain that end at or before that sequence become stubs. The sequence of
  // the record that says so; kNoSequence when there are none. After an error nothing was pruned.
  Result<uint64_t> prune(Class chain, uint64_t before);
  // A head that is synced.
  Status save_head();
  bool failing() const { return failing_since_ != 0; }

 private:
  using Tenants = std::array<std::vector<TenantEntry>, kClasses>;

  Status load();
  Status complete_manifest(Class chain, uint64_t active_first);
  Status load_checkpoints();
  Status write_group(uint64_t upto);
  Status add(Class chain, std::string_view record);
  Status write_all();
  Status sync_all(By by = By::kThread);
  Status fill_ahead();
  void gather();
  Status roll(ChainFile& chain);
  Status ensure_segment(ChainFile& chain);
  Status write_manifest();
  Status fail(ChainFile* culprit, Status status);
  void recovered();
  void report(const Status& status);
  void settle(By by);
  Head head() const;
  FileKey file_key();
  Status append(const RecordDraft& draft, Committed* committed);
  Status beat(int64_t now);
  Status tell_repairs(int64_t now);
  Status serve(Request request);
  // Commits `epoch` records for all chains that are not in `target`.
  Result<Tenants> append_epochs(uint32_t* target, uint64_t* end);
  Status save_tenants(uint64_t checkpoint, const std::array<uint64_t, kClasses>& next,
                      Tenants tenants);
  Status append_checkpoint(const std::string& note);
  Result<uint64_t> prune_segments(Class chain, const std::vector<ManifestEntry>& going);
  Status write_stubs(Class chain, const std::vector<ManifestEntry>& going);
  Result<uint64_t> append_pruned(Class chain, uint64_t kept);
  Status clear_leftovers();
  Status serve_prunes();

  const Options& options_;
  Files& files_;
  const Clock& clock_;
  const Paths paths_;
  const LogId log_id_;
  Ring& ring_;
  KeyRing& keys_;
  SubjectKeys& subjects_;
  Appender& appender_;

  bool leading_ = false;
  uint64_t written_ = 0;
  uint64_t synced_ = 0;
  int64_t unsynced_since_ = 0;  // real time; 0: nothing is unsynced
  Groups groups_;
  Patience patience_;
  int64_t sync_ns_ = 0;
  uint32_t woken_ = 0;        // by the last sync, with the committer that made it
  uint32_t gathered_at_ = 0;  // the value of `wake` when all of them have come back
  int64_t gather_until_ = 0;  // real time; 0: nobody is waited for
  std::vector<std::unique_ptr<ChainFile>> chains_;
  Manifest manifest_;
  bool manifest_due_ = false;
  HeadFile head_file_;
  bool head_due_ = false;  // a synced one is to be written when there is time
  bool head_failed_ = false;
  bool checkpoint_due_ = false;  // one that failed half way
  bool leftovers_due_ = false;   // a prune may have been broken off
  uint32_t stored_epoch_ = 0;    // of keys/log.key
  Ed25519Seed seed_{};
  CompactRange checkpoint_tree_;
  uint64_t checkpoints_end_ = 0;
  uint64_t records_since_tenants_ = 0;
  FileKey file_key_;
  std::string group_;
  std::deque<Repair> repairs_;
  int64_t failing_since_ = 0;
  uint64_t failed_groups_ = 0;
  int64_t retry_at_ = 0;
  int64_t retry_after_ns_ = 0;
};

}  // namespace tenancy::log
