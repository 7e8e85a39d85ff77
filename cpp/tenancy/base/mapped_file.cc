#include "tenancy/base/mapped_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "tenancy/base/file_system.h"

namespace tenancy {
namespace {

std::string errno_text(int error) {
  std::array<char, 128> buffer{};
  return std::string(strerror_r(error, buffer.data(), buffer.size())) + " (errno " +
         std::to_string(error) + ")";
}

size_t round_to_pages(size_t bytes) {
  static const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return (bytes + page - 1) / page * page;
}

std::string directory_of(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Result<size_t> file_size(int fd) {
  struct stat info {};
  if (fstat(fd, &info) != 0) return Error{Code::kIo, "fstat: " + errno_text(errno)};
  return static_cast<size_t>(info.st_size);
}

int reopen(int fd, int flags) {
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  return open(link.c_str(), flags | O_CLOEXEC);
}

}  // namespace

Status MappedFile::fail(Code code, std::string_view what) const {
  return {code, path_ + ": " + std::string(what)};
}

Status MappedFile::open_descriptor(bool* absent) {
  // O_NONBLOCK so that a FIFO in the file's place cannot hang the open; regular files ignore it.
  const int flags = (read_only_ ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
  fd_ = ::open(path_.c_str(), flags);
  if (fd_ < 0 && errno == ENOENT && !read_only_) {
    // Asked before the file is made, so that a refusal leaves nothing behind.
    const std::string network = network_filesystem_of_path(directory_of(path_));
    if (!network.empty()) {
      return fail(Code::kUnsupported, "the directory is on a network file system (" + network +
                                          "), whose mappings hosts do not share; use a local disk");
    }
    *absent = true;
    fd_ = ::open(path_.c_str(), flags | O_CREAT, 0600);
  }
  if (fd_ >= 0) return {};
  const int error = errno;
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return fail(Code::kNotFound,
                  *absent ? "the directory does not exist; create it first" : "no such file");
    case ELOOP: return fail(Code::kPermission, "is a symbolic link; name the file itself");
    case EISDIR: return fail(Code::kForeign, "expected a regular file, found a directory");
    case EROFS:
      return fail(Code::kPermission,
                  "the file system is read-only; mount it writable or use another "
                  "directory");
    case EACCES:
    case EPERM:
      return fail(Code::kPermission,
                  "the operating system refused to open it (" + errno_text(error) +
                      "); the directory and the file must be readable and writable by user " +
                      std::to_string(geteuid()));
    case ENOSPC:
    case EDQUOT: return fail(Code::kFull, "no room to create the file: " + errno_text(error));
    default: return fail(Code::kIo, "open: " + errno_text(error));
  }
}

Status MappedFile::check_trust() const {
  struct stat info {};
  if (fstat(fd_, &info) != 0) return fail(Code::kIo, "fstat: " + errno_text(errno));
  if (!S_ISREG(info.st_mode)) {
    return fail(Code::kForeign, std::string("expected a regular file, found a ") +
                                    (S_ISDIR(info.st_mode)    ? "directory"
                                     : S_ISFIFO(info.st_mode) ? "FIFO"
                                                              : "device or socket"));
  }
  const uid_t user = geteuid();
  const bool root_inspects = read_only_ && user == 0;
  if (info.st_uid != user && !root_inspects) {
    return fail(Code::kPermission,
                "owned by user " + std::to_string(info.st_uid) + ", expected user " +
                    std::to_string(user) +
                    "; run as the owner, or give the file to this user with chown");
  }
  if ((info.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
    return fail(Code::kPermission,
                "others may write to it; mend it with: chmod 600 '" + path_ + "'");
  }
  const std::string network = network_filesystem_of(fd_);
  if (!network.empty()) {
    return fail(Code::kUnsupported, "is on a network file system (" + network +
                                        "), whose mappings hosts do not share; use a local disk");
  }
  return {};
}

Status MappedFile::check_magic(std::string_view magic, size_t file_bytes) const {
  if (magic.empty() || file_bytes == 0) return {};
  std::string found(magic.size(), '\0');
  const ssize_t got = pread(fd_, found.data(), found.size(), 0);
  if (got < 0) return fail(Code::kIo, "read: " + errno_text(errno));
  found.resize(static_cast<size_t>(got));
  if (found == magic || found.find_first_not_of('\0') == std::string::npos) return {};
  std::string shown;
  for (const char c : found) shown += c >= ' ' && c <= '~' ? c : '?';
  return fail(Code::kForeign,
              "is not a file of ours: it begins with \"" + shown + "\"; use another path");
}

// Blocks for [from, size_bytes) and at least that length. Safe beside other processes that do the
// same: it only ever adds.
Status MappedFile::allocate(size_t from, size_t size_bytes) const {
  if (size_bytes <= from) return {};
  const auto no_room = [&](const std::string& why) {
    return fail(Code::kFull, "no room for " + std::to_string(size_bytes) + " bytes: " + why +
                                 "; free some space or use a larger disk");
  };
  // Asked first because passing this limit raises SIGXFSZ, which would end the process.
  struct rlimit limit {};
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      size_bytes > limit.rlim_cur) {
    return no_room("this process may write files of at most " + std::to_string(limit.rlim_cur) +
                   " bytes (ulimit -f)");
  }
  // Not posix_fallocate: where the file system cannot allocate, the C library writes to the file's
  // blocks from user space, over what other processes may have stored there meanwhile.
  int error = 0;
  do {
    error = fallocate(fd_, 0, static_cast<off_t>(from), static_cast<off_t>(size_bytes - from)) == 0
                ? 0
                : errno;
  } while (error == EINTR);
  switch (error) {
    case 0: return {};
    case EOPNOTSUPP:
    case ENOSYS: return append_zeros(size_bytes);
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return no_room(errno_text(error));
    default: return fail(Code::kIo, "fallocate: " + errno_text(error));
  }
}

// For file systems that cannot allocate. Appending never overwrites, whatever others do meanwhile.
Status MappedFile::append_zeros(size_t size_bytes) const {
  Result<size_t> size = file_size(fd_);
  if (!size) return size.status();
  const off_t hole = lseek(fd_, 0, SEEK_HOLE);
  if (hole >= 0 && static_cast<size_t>(hole) < *size) {
    return fail(Code::kUnsupported,
                "has holes that this file system cannot fill; copy it with cp --sparse=never");
  }
  const int appending = reopen(fd_, O_WRONLY | O_APPEND);
  if (appending < 0) return fail(Code::kIo, "open to append: " + errno_text(errno));
  static constexpr std::array<char, 65536> kZeros{};
  int error = 0;
  while (error == 0 && *size < size_bytes) {
    if (write(appending, kZeros.data(), std::min(kZeros.size(), size_bytes - *size)) < 0 &&
        errno != EINTR) {
      error = errno;
    }
    size = file_size(fd_);
    if (!size) break;
  }
  close(appending);
  if (!size) return size.status();
  if (error == 0) return {};
  const bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
  return fail(full ? Code::kFull : Code::kIo,
              "no room for " + std::to_string(size_bytes) + " bytes: " + errno_text(error));
}

void MappedFile::publish_size(size_t size_bytes) {
  size_t known = size_bytes_.load(std::memory_order_relaxed);
  while (known < size_bytes &&
         !size_bytes_.compare_exchange_weak(known, size_bytes, std::memory_order_release,
                                            std::memory_order_relaxed)) {
  }
}

Result<std::unique_ptr<MappedFile>> MappedFile::open(const std::string& path,
                                                     const Options& options, bool* created) {
  std::unique_ptr<MappedFile> file(new MappedFile);
  file->path_ = path;
  file->read_only_ = options.read_only;
  bool absent = false;
  if (Status status = file->open_descriptor(&absent); !status) return status;
  if (Status status = file->check_trust(); !status) return status;

  // Under the lock, so that of several first openers exactly one is told that it created the file.
  const Lock lock(file->read_only_ ? -1 : file->fd_);
  const Result<size_t> before = file_size(file->fd_);
  if (!before) return file->fail(Code::kIo, before.error().message);
  if (Status status = file->check_magic(options.magic, *before); !status) return status;
  size_t size = *before;
  if (file->read_only_) {
    if (size < options.size_bytes) {
      return file->fail(Code::kDamaged, "expected at least " + std::to_string(options.size_bytes) +
                                            " bytes, found " + std::to_string(size));
    }
  } else {
    size = round_to_pages(std::max(size, options.size_bytes));
    if (Status status = file->allocate(0, size); !status) {
      // Under the lock nobody has mapped what a failed allocation may have added.
      if (file_size(file->fd_).ok() && ftruncate(file->fd_, static_cast<off_t>(*before)) != 0) {
        return file->fail(Code::kIo, "ftruncate: " + errno_text(errno));
      }
      return status;
    }
  }
  if (created != nullptr) *created = *before == 0 && !file->read_only_;

  file->reserve_bytes_ =
      std::max(round_to_pages(std::max({options.reserve_bytes, size, size_t{1}})), size);
  // The whole reserve is mapped at once, past the end of the file too. Those pages come to life
  // when the file grows, in every process, and are never touched before: see publish_size.
  void* const address =
      mmap(nullptr, file->reserve_bytes_, file->read_only_ ? PROT_READ : PROT_READ | PROT_WRITE,
           MAP_SHARED, file->fd_, 0);
  if (address == MAP_FAILED) {
    const int error = errno;
    return file->fail(
        error == ENODEV ? Code::kUnsupported : Code::kIo,
        "mmap of " + std::to_string(file->reserve_bytes_) + " bytes: " + errno_text(error));
  }
  file->data_ = static_cast<std::byte*>(address);
  file->publish_size(size);
  return file;
}

Result<std::unique_ptr<MappedFile>> MappedFile::anonymous(const Options& options) {
  std::unique_ptr<MappedFile> file(new MappedFile);
  file->reserve_bytes_ =
      round_to_pages(std::max({options.reserve_bytes, options.size_bytes, size_t{1}}));
  void* const address = mmap(nullptr, file->reserve_bytes_, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) {
    return Error{Code::kIo, "mmap of " + std::to_string(file->reserve_bytes_) +
                                " bytes: " + errno_text(errno)};
  }
  file->data_ = static_cast<std::byte*>(address);
  if (Status status = file->grow(options.size_bytes); !status) return status;
  return file;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(data_, reserve_bytes_);
  if (fd_ >= 0) close(fd_);
}

Status MappedFile::grow(size_t size_bytes) {
  const size_t known = this->size_bytes();
  if (size_bytes <= known) return {};
  if (read_only_) return fail(Code::kPermission, "opened to inspect only; it cannot grow");
  if (size_bytes > reserve_bytes_) {
    return fail(Code::kOutOfRange, "cannot grow to " + std::to_string(size_bytes) +
                                       " bytes: opened with a reserve of " +
                                       std::to_string(reserve_bytes_));
  }
  const size_t wanted = round_to_pages(size_bytes);
  if (fd_ < 0) {
    if (mprotect(data_, wanted, PROT_READ | PROT_WRITE) != 0) {
      return {Code::kFull,
              "no memory for " + std::to_string(wanted) + " bytes: " + errno_text(errno)};
    }
    publish_size(wanted);
    return {};
  }
  if (Status status = allocate(known, wanted); !status) return status;
  const Result<size_t> now = file_size(fd_);
  if (!now) return fail(Code::kIo, now.error().message);
  publish_size(std::min(*now, reserve_bytes_));
  return {};
}

void MappedFile::populate() {
  constexpr int kPopulateWrite = 23;  // MADV_POPULATE_WRITE, which older headers lack
  (void)madvise(data_, size_bytes(), kPopulateWrite);
}

MappedFile::Lock::Lock(const MappedFile& file) : Lock(file.fd_) {}

// flock belongs to the open file, which threads and forked children share: an open of its own makes
// the lock hold between them as well. Without /proc it holds between processes opened separately.
MappedFile::Lock::Lock(int file_fd) {
  if (file_fd < 0) return;
  fd_ = reopen(file_fd, O_RDONLY);
  if (fd_ < 0) fd_ = fcntl(file_fd, F_DUPFD_CLOEXEC, 0);
  while (fd_ >= 0 && flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
  }
}

MappedFile::Lock::~Lock() {
  if (fd_ < 0) return;
  // Said aloud: a child forked meanwhile holds the same open file, and closing ours would not
  // unlock.
  flock(fd_, LOCK_UN);
  close(fd_);
}

}  // namespace tenancy
