// SubjectKeys: the keys with which personal fields are sealed, one per subject, in the file
// `keys/subjects` that all processes of a host share. Internal. (LOG_FORMAT.md, 3.2)
//
// Slots are only ever added, each at a place that it keeps, so a key is in one place for all its
// life and overwriting that place destroys it. A process keeps where the slots are, never a key:
// each use reads the slot again, so an erasure holds in every process from the next use on.
//
// Invariants:
//  1. A subject has at most one live key. One that was erased never comes back: its next fact gets
//     another key with another id.
//  2. Killing any process at any instruction leaves slots that are whole. A power cut leaves all
//     that `sync` has returned for.
//  3. An error has added or changed nothing that anybody sees, with one exception: `set` may have
//     written what it could not sync.
//
// Thread safety: all methods from any thread. A forked child makes its own.
#pragma once

#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/subject_file.h"

namespace tenancy::log {

class SubjectKeys {
 public:
  // `keys` is the directory; `log_id` is that of the log whose keys they must be.
  SubjectKeys(Files& files, std::string keys, const LogId& log_id)
      : files_(files), keys_(std::move(keys)), log_id_(log_id) {}
  // To open what was sealed: never writes, takes the log's id from the file.
  SubjectKeys(Files& files, std::string keys) : files_(files), keys_(std::move(keys)) {}

  // The live key of that subject, made when it has none. kFull, kIo, kPermission; kDamaged,
  // kForeign and kVersion name the file.
  Result<SubjectSlot> live(std::optional<std::string_view> tenant, std::string_view subject);
  // The same, but kNotFound when there is none.
  Result<SubjectSlot> find(std::optional<std::string_view> tenant, std::string_view subject);
  // The slot of that key, whatever its state; kNotFound.
  Result<SubjectSlot> find(const SubjectKeyId& id);
  // Every slot that was made before the call is durable when it returns.
  Status sync();
  // Writes the slot of that id anew and syncs it.
  Status set(const SubjectSlot& slot);
  // The log that the file belongs to. kNotFound when there is no file.
  Result<LogId> log_id();

  std::string path() const { return keys_ + "/subjects"; }

 private:
  // Both are random or keyed hashes already.
  struct FirstBytes {
    template <class Bytes>
    size_t operator()(const Bytes& bytes) const {
      size_t value;
      std::memcpy(&value, bytes.data(), sizeof value);
      return value;
    }
  };

  Status open(bool make);
  Status make_file();
  Status refresh();
  Result<std::optional<SubjectSlot>> read(uint64_t number);
  void index(uint64_t number, const SubjectSlot& slot);
  Result<SubjectSlot> find_name(const Digest256& name);
  Result<SubjectSlot> find_id(const SubjectKeyId& id, uint64_t* number);
  Result<SubjectSlot> add(const Digest256& name);
  Status write_again();

  Files& files_;
  const std::string keys_;
  const std::optional<LogId> log_id_{};

  std::mutex mutex_;
  std::unique_ptr<File> file_;
  SubjectsHeader header_;
  uint64_t seen_ = 0;           // slots that were looked at
  std::vector<uint64_t> torn_;  // of those, the ones that were not whole then
  std::unordered_map<Digest256, uint64_t, FirstBytes> by_name_;
  std::unordered_map<SubjectKeyId, uint64_t, FirstBytes> by_id_;
  uint64_t synced_bytes_ = 0;
  bool sync_failed_ = false;
};

}  // namespace tenancy::log
