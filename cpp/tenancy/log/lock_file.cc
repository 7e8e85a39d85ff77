#include "tenancy/log/lock_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace tenancy::log {
namespace {

bool lock(int fd, int operation) {
  while (flock(fd, operation) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

}  // namespace

LockFile& LockFile::operator=(LockFile&& other) noexcept {
  close();
  fd_ = std::exchange(other.fd_, -1);
  return *this;
}

Result<LockFile> LockFile::open(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) {
    return Error{
        errno == EACCES || errno == EPERM || errno == EROFS ? Code::kPermission : Code::kIo,
        path + ": open: errno " + std::to_string(errno)};
  }
  return LockFile(fd);
}

Status LockFile::exclusive() {
  return lock(fd_, LOCK_EX) ? Status() : Status(Code::kIo, "flock failed");
}

bool LockFile::try_exclusive() { return lock(fd_, LOCK_EX | LOCK_NB); }

Status LockFile::shared() {
  return lock(fd_, LOCK_SH) ? Status() : Status(Code::kIo, "flock failed");
}

void LockFile::unlock() {
  // Said aloud: a child forked meanwhile holds the same open file.
  if (fd_ >= 0) flock(fd_, LOCK_UN);
}

void LockFile::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

Result<HeldLock> HeldLock::exclusive(const std::string& path) {
  Result<LockFile> lock = LockFile::open(path);
  if (!lock) return lock.status();
  if (Status status = lock->exclusive(); !status) return status;
  return HeldLock(std::move(*lock));
}

}  // namespace tenancy::log
