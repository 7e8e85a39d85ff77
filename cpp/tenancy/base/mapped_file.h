// MappedFile: memory backed by a file that several processes map, and the rules for trusting it.
//
// Invariants:
//  1. Every byte that is mapped is allocated on disk (posix_fallocate) before it is touched, so a
//  full
//     disk is a kFull error at open or grow, never a SIGBUS later.
//  2. Network file systems are refused (kUnsupported): their mappings are not coherent across
//  hosts.
//     FUSE is judged by the subtype in the mount table (sshfs no, fuse-overlayfs yes).
//  3. The file is opened O_CLOEXEC, mode 0600; a file owned by another user, or writable by others,
//  is
//     refused (kPermission). root may inspect other users' files read-only, nothing more. Symbolic
//     links, directories, FIFOs and devices are refused.
//  4. The address never changes while the object lives: all `reserve_bytes` of address space are
//  taken
//     at open, and growing the file brings more of it to life.
//  5. A refused file keeps every byte and its length.
//
// Ownership: unique. Thread safety: `grow` may be called from any thread and any process, with or
// without the Lock; reading `data` needs nothing. A forked child keeps the mapping and may grow it
// too.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "tenancy/base/status.h"

namespace tenancy {

class MappedFile {
 public:
  struct Options {
    size_t size_bytes = 0;     // at least this much exists and is mapped after open
    size_t reserve_bytes = 0;  // the most that grow() may ever reach; 0 = size_bytes
    bool read_only = false;    // inspect only: never creates, never grows; maps what is there
    // Bytes that a file of this kind begins with. A file that begins otherwise is refused
    // (kForeign) before anything is changed; zeros pass, because whoever made the file may have
    // died before writing them. Empty = not checked.
    std::string_view magic{};
  };

  // Opens or creates. `*created` (may be null) says whether the file was empty or absent before.
  // When it was not, its maker may still be writing its first content, or may have died before:
  // take the Lock and look.
  static Result<std::unique_ptr<MappedFile>> open(const std::string& path, const Options& options,
                                                  bool* created);
  // Anonymous private memory behind the same interface: one process, no file.
  static Result<std::unique_ptr<MappedFile>> anonymous(const Options& options);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  std::byte* data() const { return data_; }
  // Bytes this process may touch now. Another process may have grown the file further: see `grow`.
  size_t size_bytes() const { return size_bytes_.load(std::memory_order_acquire); }
  size_t reserve_bytes() const { return reserve_bytes_; }
  // Makes at least `size_bytes` exist and be mapped; a no-op when they are.
  Status grow(size_t size_bytes);
  // Brings all pages to memory for writing, for who is about to write all over them: one call takes
  // a fraction of the faults. Only faster or slower, so nothing is said where it cannot be done.
  void populate();
  const std::string& path() const { return path_; }  // empty when anonymous

  // An exclusive advisory lock on the file, between processes and between threads of one, released
  // by the kernel when the holder dies. For open and recovery only; never on a request's path. Not
  // recursive. No-op when anonymous.
  class Lock {
   public:
    explicit Lock(const MappedFile& file);
    ~Lock();
    Lock(const Lock&) = delete;
    Lock& operator=(const Lock&) = delete;

   private:
    friend class MappedFile;
    explicit Lock(int file_fd);
    int fd_ = -1;
  };

 private:
  MappedFile() = default;
  Status open_descriptor(bool* absent);
  Status check_trust() const;
  Status check_magic(std::string_view magic, size_t file_bytes) const;
  Status allocate(size_t from, size_t size_bytes) const;
  Status append_zeros(size_t size_bytes) const;
  Status fail(Code code, std::string_view what) const;
  void publish_size(size_t size_bytes);

  std::byte* data_ = nullptr;
  size_t reserve_bytes_ = 0;
  std::atomic<size_t> size_bytes_{0};
  int fd_ = -1;
  bool read_only_ = false;
  std::string path_;
};

}  // namespace tenancy
