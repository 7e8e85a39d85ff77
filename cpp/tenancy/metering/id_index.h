// IdIndex: the ids of the usage events of the last days, shared by all processes of a host: a
// projection of the chain `usage`, in `usage-ids` of the data directory. Internal to this layer.
// (FORMATS.md, 4)
//
// A row of tables, each for a part of the time; only the newest one is added to, and the oldest
// goes as a whole when its last entry is older than the window.
//
// Invariants:
//  1. Below `position`, every usage record of the window is in the index, unless `behind`.
//  2. What is in the index is in the log: records come first.
//  3. After another boot only what `settle` had made durable counts, and `position` stands there.
//
// Ownership: unique. Thread safety: what needs the lock says so; the lock also covers what this
// object itself holds, so several threads may use one.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tenancy/base/clock.h"
#include "tenancy/base/robust_mutex.h"
#include "tenancy/base/status.h"
#include "tenancy/log/lock_file.h"
#include "tenancy/log/log.h"
#include "tenancy/metering/id_table.h"
#include "tenancy/metering/settled.h"

namespace tenancy::metering {

class IdIndex {
 public:
  struct Options {
    std::string directory;  // `usage-ids`
    int64_t window_ns = 0;
    int64_t wait_ns = 0;  // the longest that anybody waits for the lock
    unsigned first_slots_log2 = 16;
    std::shared_ptr<const Clock> clock{};
  };

  // kConflict: other processes use it with another window, or in another PID namespace.
  static Result<std::unique_ptr<IdIndex>> open(const log::Log& log, const Options& options);
  ~IdIndex();
  IdIndex(const IdIndex&) = delete;
  IdIndex& operator=(const IdIndex&) = delete;

  // The key of ids and digests; the same for as long as the index.
  const HashKey& key() const { return key_; }

  // The lock, held while the object lives if `status` is good; else kFull says why.
  class Lock {
   public:
    explicit Lock(IdIndex& index);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;
    const Status& status() const { return status_; }

   private:
    IdIndex& index_;
    Status status_;
    bool held_ = false;
  };

  // --- under the lock

  // The log has, or may have, records that the index lacks: from `position` on they are to be added
  // and then `caught_up` called, before anything else.
  bool behind() const;
  void caught_up(uint64_t position);
  uint64_t position() const;
  void set_position(uint64_t position);

  void prefetch(const Hash128& id) const;
  // The entries of that id, the newest last.
  void find(const Hash128& id, std::vector<IdEntry>* out) const;
  bool contains(const Hash128& id, Place place) const;
  // Drops the tables whose time is over.
  void expire(int64_t now_ns);
  // Makes room for so many more: expires, and begins a new table when it is due. kFull: the disk,
  // or more ids than the window can hold.
  Status make_room(size_t entries, int64_t now_ns);
  void add(const Hash128& id, const IdEntry& entry, int64_t now_ns);

  // --- without it

  // Makes durable what is there now, so that less has to be read from the log after another boot.
  Status settle(log::Log& log);
  // Lets go of it; the last process settles. Once.
  Status close(log::Log& log);
  int64_t window_ns() const { return options_.window_ns; }

 private:
  struct Control;
  struct TableName {
    uint64_t number = 0;
    unsigned slots_log2 = 0;
  };

  using Tables = std::vector<std::unique_ptr<IdTable>>;

  explicit IdIndex(const Options& options);
  Status enter(const log::Log& log);
  Status join();
  Status make(const log::Log& log);
  Result<Settled> load(const log::Log& log, Tables* tables);
  Status begin_anew(Settled* settled);
  Status clear_leftovers(const Tables& kept) const;
  Status settle_alone(log::Log& log);
  IdTable::Identity identity() const;
  std::string table_path(uint64_t number) const;
  std::vector<TableName> listed() const;
  void publish(const std::vector<TableName>& tables);
  // Maps what is listed and not mapped yet.
  Status follow();
  Status begin_table(unsigned slots_log2);

  const Options options_;
  const uint64_t boot_;
  const uint64_t pid_namespace_;
  log::LogId log_id_{};
  HashKey key_{};
  std::unique_ptr<MappedFile> file_;
  Control* control_ = nullptr;
  log::LockFile users_;
  uint64_t forks_ = 0;
  bool closed_ = false;
  std::unique_ptr<Tables> tables_;  // oldest first, as listed when the list was `version_`
  uint64_t version_ = 0;
};

}  // namespace tenancy::metering
