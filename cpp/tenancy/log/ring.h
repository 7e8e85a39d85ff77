// The memory that the processes of a host share: mutex, states of the chains, committed records
// that are not durable yet, heads of the tenants. Internal. (LOG_FORMAT.md, 9)
//
// Invariants:
//  1. A record exists if and only if it lies below `tail`. States of chains and tenants are those
//     after the last record below `tail`, whoever died where.
//  2. Bytes between `synced` and `tail` are never overwritten.
//
// Thread safety: what says "under the mutex" needs it; everything else from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/mapped_file.h"
#include "tenancy/base/robust_mutex.h"
#include "tenancy/base/status.h"
#include "tenancy/log/futex.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

using Word = std::atomic<uint64_t>;
constexpr size_t kTagWords = 4;
constexpr size_t kKeyWords = 3;

struct alignas(64) ChainWords {
  Word next_sequence;
  Word tag[kTagWords];
  Word epoch;
  Word last_time;  // of the last record, for heartbeats; advisory
};

struct SlotWords {
  Word key[kKeyWords];
  Word sequence;  // class in the two highest bits; 0: nothing is known of the tenant
  Word tag[kTagWords];
};
static_assert(sizeof(SlotWords) == 64);

// A tenant's slot as plain values.
struct TenantHead {
  uint64_t sequence = 0;
  Tag tag{};
};
TenantHead tenant_head(const SlotWords& slot);

// What undoes the append that was going on when the holder of the mutex died.
struct alignas(64) Journal {
  Word position;  // the tail after that append; it is undone if `tail` is below
  Word chain;
  Word next_sequence;
  Word tag[kTagWords];
  Word epoch;
  Word slot;  // offset in the file, 0 for none
  Word slot_sequence;
  Word slot_tag[kTagWords];
};

// What is durable, per chain.
struct ChainProgress {
  Word first;  // of the active segment; kNoSequence before there is one
  Word offset;
  Word next_sequence;
  Word flags;  // bit 0: a new segment has to be made before anything is written
  Word tag[kTagWords];
};
struct alignas(64) Progress {
  Word synced;
  ChainProgress chains[kClasses];
};

// Work that any process may ask the leader for.
enum class Request : uint8_t { kRotate = 0, kCheckpoint = 1, kPrune = 2, kCount = 3 };

constexpr unsigned kFailedShift = 8;

struct RingHeader {
  Word magic;
  Word version;
  Word boot;
  Word pid_namespace;
  Word log_id[2];
  Word ring_bytes;
  Word ready;  // the maker has finished
  alignas(64) RobustMutex mutex;
  alignas(64) Word tail;
  alignas(64) Word synced;
  Word written;
  Word write_wanted;
  Word sync_wanted;
  Word gathered;  // the group that was taken last: a Gathered
  alignas(64) Word leader;
  Word leader_epoch;
  Word syncs;
  Word groups;
  Word checkpoints;
  Word last_checkpoint_time;
  Word epoch_began;
  Word failure;  // 0, or a Code below kFailedShift and above it how many groups have failed
  Word asked[static_cast<size_t>(Request::kCount)];
  Word served[static_cast<size_t>(Request::kCount)];
  Word prune_before[kClasses];  // where the records begin that are to be kept; 0: nobody asks
  Word prune_code[kClasses];    // how the last prune ended: a Code
  Word pruned_at[kClasses];     // the sequence of its record
  alignas(64) FutexWord wake;   // for the leader
  FutexWord done;               // for those who wait for room, `written` or `served`
  FutexWord durable;            // for those who wait for `synced`, each with the bit of its group
  FutexWord followers;          // for those who might lead
  std::atomic<uint32_t> sleeping;  // the leader waits on `wake`
  FutexWord awaited;  // the value of `wake` for which the leader waits with a group; 0: it does not
  Journal journal;
  ChainWords chains[kClasses];
  Word progress_current;  // 0 or 1
  Progress progress[2];
  alignas(64)
      Word table;  // offset of the tenants' table in the file, log2 of its slots in the low 6 bits
  Word table_used;
  Word heap_end;
  char failure_text[256];  // under the mutex
};
constexpr size_t kRingDataOffset = 8192;
static_assert(sizeof(RingHeader) <= kRingDataOffset);

// The state of a chain, as plain values.
struct ChainState {
  uint64_t next_sequence = 0;
  Tag tag{};
  uint32_t epoch = 0;
};

class Ring {
 public:
  struct Identity {
    uint64_t boot = 0;
    uint64_t pid_namespace = 0;
    LogId log_id{};
  };

  // Memory of this process alone.
  static Result<std::unique_ptr<Ring>> make_private(const Identity& identity, uint64_t ring_bytes);
  // Makes the file anew; nobody may be using it. It is not `ready` until `publish`.
  static Result<std::unique_ptr<Ring>> make(const std::string& path, const Identity& identity,
                                            uint64_t ring_bytes);
  // Joins a file; kConflict when it is of another boot or namespace or was never finished,
  // kForeign, kVersion and kDamaged as ever.
  static Result<std::unique_ptr<Ring>> join(const std::string& path, const Identity& identity);
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  void publish() { header().ready.store(1, std::memory_order_release); }
  RingHeader& header() const { return *header_; }
  bool is_private() const { return file_->path().empty(); }
  uint64_t ring_bytes() const { return ring_bytes_; }

  // Takes the mutex, and undoes what a dead holder left half done. False after `wait_ns`.
  bool lock(int64_t wait_ns);
  void unlock() { header().mutex.unlock(); }

  uint64_t tail() const { return header().tail.load(std::memory_order_acquire); }
  uint64_t synced() const { return header().synced.load(std::memory_order_acquire); }
  uint64_t written() const { return header().written.load(std::memory_order_acquire); }

  // Under the mutex.
  ChainState chain(Class chain) const;
  void set_chain(Class chain, const ChainState& state);  // when the ring is made
  uint32_t epoch(Class chain) const {
    return static_cast<uint32_t>(
        header().chains[index(chain)].epoch.load(std::memory_order_relaxed));
  }
  bool has_room(size_t bytes) const { return tail() + bytes - synced() <= ring_bytes_; }
  // The tenant's slot, made when it is not there. Null: no room to make it.
  Result<SlotWords*> tenant_slot(const TenantKey& key);
  Status set_tenant(Class chain, const TenantEntry& entry);  // when the ring is made
  // Commits `record`, which is complete: the chain becomes `state`, the tenant's slot (or null)
  // `tenant_sequence` and the record's tag.
  void commit(std::string_view record, Class chain, const ChainState& state, SlotWords* slot,
              uint64_t tenant_sequence, int64_t time_ns);
  std::array<std::vector<TenantEntry>, kClasses> tenants() const;

  // From any thread: a record of so many bytes is about to be committed. The memory that it will
  // go to was written by others, or a whole ring ago; fetched while the record is hashed, it costs
  // no wait under the mutex.
  void expect(size_t bytes) const;

  // Copies [from, from + bytes) of the committed bytes.
  void read(uint64_t from, size_t bytes, char* out) const;

 private:
  Ring(std::unique_ptr<MappedFile> file, uint64_t ring_bytes);
  static Result<std::unique_ptr<Ring>> initialise(std::unique_ptr<MappedFile> file,
                                                  const Identity& identity, uint64_t ring_bytes);
  void undo();
  char* data() const { return base_ + kRingDataOffset; }
  SlotWords* slots(uint64_t table) const;
  Status grow_table();

  std::unique_ptr<MappedFile> file_;
  char* base_;
  RingHeader* header_;
  uint64_t ring_bytes_;
};

// The mutex, held while the object lives if `held()`.
class RingLock {
 public:
  RingLock(Ring& ring, int64_t wait_ns) : ring_(ring), held_(ring.lock(wait_ns)) {}
  ~RingLock() { release(); }
  RingLock(const RingLock&) = delete;
  RingLock& operator=(const RingLock&) = delete;
  bool held() const { return held_; }
  void release() {
    if (held_) ring_.unlock();
    held_ = false;
  }

 private:
  Ring& ring_;
  bool held_;
};

}  // namespace tenancy::log
