// File locks between processes, as those that have a log open use them. (LOG_FORMAT.md, 9.6)
//
// Thread safety: one thread at a time.
#pragma once

#include <string>
#include <utility>

#include "tenancy/base/status.h"

namespace tenancy::log {

// A lock on a file of its own descriptor; let go when the object and all forked copies are gone.
class LockFile {
 public:
  LockFile() = default;
  ~LockFile() { close(); }
  LockFile(LockFile&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  LockFile& operator=(LockFile&& other) noexcept;

  static Result<LockFile> open(const std::string& path);
  Status exclusive();    // waits
  bool try_exclusive();  // may give up a shared lock for a moment
  Status shared();
  void unlock();
  void close();

 private:
  explicit LockFile(int fd) : fd_(fd) {}
  int fd_ = -1;
};

// A lock that is held until the end of its scope, or the death of its process.
class HeldLock {
 public:
  explicit HeldLock(LockFile lock) : lock_(std::move(lock)) {}
  // Said aloud: a child that was forked meanwhile has the same open file.
  ~HeldLock() { lock_.unlock(); }
  HeldLock(HeldLock&&) noexcept = default;
  HeldLock& operator=(HeldLock&&) = delete;

  static Result<HeldLock> exclusive(const std::string& path);  // waits

 private:
  LockFile lock_;
};

}  // namespace tenancy::log
