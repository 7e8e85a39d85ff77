// Log: the tamper-evident, crash-safe record of facts that all processes of a host share.
//
//   Result<std::unique_ptr<Log>> log = Log::open(options);
//   Field fields[] = {{FieldId::kType, Value::text("data_read")}, …};
//   Result<Position> at = (*log)->append({.chain = Class::kAccess, .tenant = "ten_…",
//                                         .fields = fields}, Ack::kDisk);
//
// Invariants:
//  1. A record whose append returned is never lost at its level of acknowledgement, and never
//     changes. One whose append failed is not in the log, with one exception: an append that was
//     committed but whose acknowledgement did not come in time, or not before the log was closed
//     (kIo or kConflict with "recorded, but"), is there.
//  2. Sequences of a chain have no gaps, those of a tenant in a chain neither.
//  3. No append waits for the disk unless it asks for kOs or kDisk, or the ring is full; then it
//     waits at most `full_wait_ns` (its own `wait_ns`), and fails. Nothing is dropped silently.
//  4. Killing any process at any instruction leaves a log that the others go on writing.
//
// Ownership: unique; several Logs of one directory may be open in one process and in many. Thread
// safety: all methods from any thread. After fork both processes may go on using it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/clock.h"
#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/merkle.h"
#include "tenancy/log/record.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

struct Options {
  std::string directory;     // the data directory: log/ and keys/ are below it
  std::string host{};        // named in the log's first records; empty: the machine's name
  bool shared = true;        // false: one process, private memory instead of the file `ring`
  bool background = true;    // false: nothing is flushed but by `flush` and full rings
  bool accept_loss = false;  // open although the disk lost what the head promises (10.1)
  uint64_t ring_bytes = uint64_t{8} << 20;      // rounded up to a power of two
  uint64_t segment_bytes = uint64_t{32} << 20;  // where segments end
  int64_t full_wait_ns = 2'000'000'000;         // the longest an append waits for room or the mutex
  int64_t ack_wait_ns = 30'000'000'000;         // the longest it waits for kOs or kDisk
  int64_t sync_interval_ns = 1'000'000'000;     // records nobody waits for are durable after this
  int64_t heartbeat_interval_ns = 300'000'000'000;
  int64_t epoch_interval_ns = 3'600'000'000'000;       // 0: keys move by `rotate` alone
  int64_t checkpoint_interval_ns = 3'600'000'000'000;  // 0: by `checkpoint` alone
  std::shared_ptr<const Clock> clock{};                // null: the system's
  Files* files = nullptr;                              // null: the system's
};

struct Entry {
  Class chain = Class::kOther;
  std::optional<std::string_view> tenant{};  // none: the platform's own event
  std::span<const Field> fields{};           // ascending, see record.h
  int64_t time_ns = 0;                       // 0: now
  // Whose key seals the fields that are marked personal, among the tenant's own; without one they
  // stay as they are.
  std::optional<std::string_view> subject{};
  std::optional<int64_t> wait_ns{};  // for room and the mutex; none: `full_wait_ns`
  Kind kind = Kind::kEvent;          // kUsage: a batch, of which the log knows nothing more
};

// A record that is committed, and may not be durable yet. Good for the Log that gave it, also after
// it was closed, and for that Log in a forked child.
struct Ticket {
  Position position{};
  uint64_t end = 0;  // of the record, in bytes of the ring; of two, the lower is durable no later
};

// What destroying a subject's key leaves behind.
struct Erasure {
  std::array<uint8_t, 16> key_id{};
  uint64_t sequence = 0;  // of the `erased` record, in chain 0
  int64_t time_ns = 0;
};

struct Health {
  bool failing = false;  // the flusher cannot write; `reason` says why
  std::string reason;
  bool flusher_alive = false;
  uint64_t unwritten_bytes = 0;  // committed, not in a file
  uint64_t unsynced_bytes = 0;   // committed, not durable
  uint64_t ring_bytes = 0;
  uint32_t epoch = 0;
  uint64_t checkpoints = 0;
  uint64_t syncs = 0;   // fdatasync calls since the ring was made
  uint64_t groups = 0;  // groups written
  uint64_t leader_changes = 0;
  bool key_on_host = false;  // keys/log.verify is still there
  std::array<uint64_t, kClasses> next_sequence{};
};

// What lets one record be checked with the public key alone.
struct InclusionReceipt {
  Position position{};
  std::string record;              // its bytes
  std::string note;                // the checkpoint it is proven against
  std::vector<Digest256> proof{};  // in the chain's tree of that checkpoint's size
};

// A segment whose records are gone; its stub is left.
struct PrunedSegment {
  uint64_t first = 0;
  uint64_t end = 0;    // the sequence behind its last record
  uint64_t bytes = 0;  // that it took
  Digest256 stub_hash{};
};

struct PruneResult {
  uint64_t kept_from = 0;                 // where the records that are kept begin
  uint64_t record = kNoSequence;          // of the `pruned` record; none: nothing to prune
  std::vector<PrunedSegment> segments{};  // in order
};

class Log {
 public:
  static Result<std::unique_ptr<Log>> open(const Options& options);
  virtual ~Log() = default;  // as close(), errors unheard

  // kFull: the ring stayed full, or the mutex or the flusher did not move, for that long;
  // nothing was recorded. kInvalidArgument: see encode_record. kIo, or kConflict where the log was
  // closed meanwhile, with "recorded, but": it is recorded, and not (known to be) at `ack` yet.
  virtual Result<Position> append(const Entry& entry, Ack ack = Ack::kRing) = 0;
  // `append` in halves, for a thread that serves many and cannot sleep for each: `submit` commits,
  // as at kRing, `wait` waits for what `append` would have waited for, `reached` looks without
  // waiting. Many tickets share one sync: whoever waited for one asks `reached` of the others. A
  // ticket need not be waited for; then its record is durable after `sync_interval_ns`. At kOs one
  // may be unreached again when the process that led has died: the next writes the same bytes anew.
  virtual Result<Ticket> submit(const Entry& entry) = 0;
  virtual bool reached(const Ticket& ticket, Ack ack) const = 0;
  // For at most `wait_ns` (none: `ack_wait_ns`); for kDisk the caller may do the sync itself, if
  // the one before took less than half of that, and then for as long as it takes. kIo and kConflict
  // with "recorded, but", the second where this log was closed before; waiting again is allowed.
  // kInvalidArgument: the ticket is of no record of this log.
  virtual Status wait(const Ticket& ticket, Ack ack,
                      std::optional<int64_t> wait_ns = std::nullopt) = 0;
  // All in order, one acknowledgement for the last; stops at the first that fails.
  virtual Result<Position> append_all(std::span<const Entry> entries, Ack ack) = 0;

  // Everything committed so far reaches `ack` (kRing does nothing), within `wait_ns` (none:
  // `ack_wait_ns`); else kIo.
  virtual Status flush(Ack ack = Ack::kDisk, std::optional<int64_t> wait_ns = std::nullopt) = 0;
  // Moves to the next key epoch; the old key is gone when it returns.
  virtual Status rotate() = 0;
  // Makes a checkpoint and returns its signed note.
  virtual Result<std::string> checkpoint() = 0;
  // Whole segments of the chain that end at or before `before` become stubs: their records are gone
  // for good, proofs and verification go on. The one that is written to stays whatever `before`
  // says. After an error nothing was pruned; kDamaged: a segment is not what the log wrote, and is
  // kept. (LOG_FORMAT.md, 6.4)
  virtual Result<PruneResult> prune(Class chain, uint64_t before) = 0;
  // What falls due by the clock: heartbeats, rotation, checkpoint. The flusher's thread does it by
  // itself; without `background` the owner calls it.
  virtual Status tend() = 0;

  // Destroys the key of that subject of that tenant, and says so in a record that `by` and `reason`
  // go into. When it returns, the record is durable and the key overwritten on disk; once begun, an
  // erasure is finished by the next one who opens the log or erases. kNotFound: nothing is sealed
  // under a key of the subject.
  virtual Result<Erasure> erase(std::optional<std::string_view> tenant, std::string_view subject,
                                std::string_view by, std::string_view reason) = 0;
  // The id of the key that seals what is about that subject of that tenant now. kNotFound: none.
  virtual Result<std::array<uint8_t, 16>> subject_key(std::optional<std::string_view> tenant,
                                                      std::string_view subject) = 0;
  // Finishes an erasure whose process died; nothing to do is no error.
  virtual Status finish_erasure() = 0;

  // The next sequence of a chain.
  virtual uint64_t position(Class chain) const = 0;
  virtual Health health() const = 0;
  virtual const LogId& id() const = 0;
  virtual std::string public_key() const = 0;  // the C2SP verifier key
  virtual const std::string& log_directory() const = 0;

  // Flushes and syncs; the last process writes `closed`. Further calls fail with kConflict. Who
  // still waits for a record hears that it is durable, or "recorded, but".
  virtual Status close() = 0;
};

// Proofs, from files alone. The note is a checkpoint of this log; kOutOfRange when it does not
// cover the record yet.
Result<InclusionReceipt> prove_record(Files& files, const std::string& log_directory,
                                      Position position, std::string_view note);
Result<std::vector<Digest256>> prove_consistency(Files& files, const std::string& log_directory,
                                                 Class chain, uint64_t from, uint64_t to);
// The newest note in the log's directory; kNotFound before the first checkpoint.
Result<std::string> last_note(Files& files, const std::string& log_directory);

}  // namespace tenancy::log
