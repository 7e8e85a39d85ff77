// All that the log does with files goes through these two interfaces, so that a test can fail, tear
// and reorder it.
//
// Every error is a Status: kFull (no space, quota or file size limit), kNotFound, kPermission, kIo.
// The text names path, operation and errno.
//
// Ownership: a File is unique and closes itself. Thread safety: a File belongs to one thread at a
// time; a Files may be used by any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"

namespace tenancy::log {

class File {
 public:
  virtual ~File() = default;
  // Appends up to `bytes` bytes from `offset` to `*out`; fewer only at the end of the file.
  virtual Status read_at(uint64_t offset, size_t bytes, std::string* out) = 0;
  // All of `data`, or an error; after an error any part of it may have been written.
  virtual Status write_at(uint64_t offset, std::string_view data) = 0;
  // Sets the system about writing what lies from `offset` on, of which a `sync` will have the less
  // to wait for; an error is as one of `sync`. What does not know better does nothing.
  virtual Status begin_sync(uint64_t /*offset*/) { return {}; }
  // fdatasync: data and length. After an error this File must never be synced again.
  virtual Status sync() = 0;
  // At least `bytes` bytes of space, zero where nothing was written. A file system that cannot
  // allocate leaves the length as it is, which is not an error.
  virtual Status allocate(uint64_t bytes) = 0;
  virtual Status truncate(uint64_t bytes) = 0;
  virtual Result<uint64_t> size() = 0;
};

enum class OpenMode : uint8_t {
  kRead,       // must exist
  kReadWrite,  // must exist
  kCreate,     // read and write; made when absent (mode 0600), else emptied
};

class Files {
 public:
  virtual ~Files() = default;
  virtual Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) = 0;
  virtual Status rename(const std::string& from, const std::string& to) = 0;
  virtual Status remove(const std::string& path) = 0;          // absent is not an error
  virtual Status make_directory(const std::string& path) = 0;  // mode 0700; present is not an error
  virtual Status sync_directory(const std::string& path) = 0;
  // Names of regular files, sorted; a directory that is not there is kNotFound.
  virtual Result<std::vector<std::string>> list(const std::string& path) = 0;

  // The operating system's.
  static Files& system();
};

// The whole file. kNotFound when absent, kIo above `bytes_max`.
Result<std::string> read_file(Files& files, const std::string& path, uint64_t bytes_max);
// Whole and durable or as before: temporary file, sync, rename, sync of the directory.
Status replace_file(Files& files, const std::string& directory, const std::string& name,
                    std::string_view content);

}  // namespace tenancy::log
