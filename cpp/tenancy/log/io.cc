#include "tenancy/log/io.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

namespace tenancy::log {
namespace {

// strerror_r comes in two forms; only this one is in every library: the text of a code.
std::string errno_text(int error) {
  std::array<char, 128> buffer{};
  return std::string(strerror_r(error, buffer.data(), buffer.size())) + " (errno " +
         std::to_string(error) + ")";
}

Error failure(const std::string& path, std::string_view operation, int error) {
  const std::string text = path + ": " + std::string(operation) + ": " + errno_text(error);
  switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG: return {Code::kFull, text + "; free some space or use a larger disk"};
    case ENOENT:
    case ENOTDIR: return {Code::kNotFound, text};
    case EACCES:
    case EPERM:
    case EROFS:
    case ELOOP:
      return {Code::kPermission, text + "; files and directory of the log belong to user " +
                                     std::to_string(geteuid()) + " alone"};
    default: return {Code::kIo, text};
  }
}

class SystemFile final : public File {
 public:
  SystemFile(int fd, std::string path) : fd_(fd), path_(std::move(path)) {}
  ~SystemFile() override { ::close(fd_); }
  SystemFile(const SystemFile&) = delete;
  SystemFile& operator=(const SystemFile&) = delete;

  Status read_at(uint64_t offset, size_t bytes, std::string* out) override {
    const size_t before = out->size();
    out->resize(before + bytes);
    size_t done = 0;
    while (done < bytes) {
      const ssize_t got =
          pread(fd_, out->data() + before + done, bytes - done, static_cast<off_t>(offset + done));
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) {
        out->resize(before);
        return failure(path_, "read", errno);
      }
      if (got == 0) break;
      done += static_cast<size_t>(got);
    }
    out->resize(before + done);
    return {};
  }

  Status write_at(uint64_t offset, std::string_view data) override {
    while (!data.empty()) {
      const ssize_t put = pwrite(fd_, data.data(), data.size(), static_cast<off_t>(offset));
      if (put < 0 && errno == EINTR) continue;
      if (put < 0) return failure(path_, "write", errno);
      offset += static_cast<uint64_t>(put);
      data.remove_prefix(static_cast<size_t>(put));
    }
    return {};
  }

  Status begin_sync(uint64_t offset) override {
    if (sync_file_range(fd_, static_cast<off_t>(offset), 0, SYNC_FILE_RANGE_WRITE) == 0) return {};
    // Of a file system that does not have it, or a call that was interrupted: `sync` does it all.
    const bool only_later = errno == ENOSYS || errno == EINVAL || errno == ESPIPE || errno == EINTR;
    return only_later ? Status() : failure(path_, "sync_file_range", errno);
  }

  Status sync() override {
    // Not repeated after EINTR: whether the first call wrote everything is not known then.
    return fdatasync(fd_) == 0 ? Status() : failure(path_, "fdatasync", errno);
  }

  Status allocate(uint64_t bytes) override {
    int error = 0;
    do {
      error = fallocate(fd_, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
    } while (error == EINTR);
    if (error == 0 || error == EOPNOTSUPP || error == ENOSYS) return {};
    return failure(path_, "allocating " + std::to_string(bytes) + " bytes", error);
  }

  Status truncate(uint64_t bytes) override {
    return ftruncate(fd_, static_cast<off_t>(bytes)) == 0 ? Status()
                                                          : failure(path_, "truncate", errno);
  }

  Result<uint64_t> size() override {
    struct stat info {};
    if (fstat(fd_, &info) != 0) return failure(path_, "fstat", errno);
    return static_cast<uint64_t>(info.st_size);
  }

 private:
  int fd_;
  std::string path_;
};

class SystemFiles final : public Files {
 public:
  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    int flags = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    flags |= mode == OpenMode::kRead ? O_RDONLY : O_RDWR;
    if (mode == OpenMode::kCreate) flags |= O_CREAT | O_TRUNC;
    const int fd = ::open(path.c_str(), flags, 0600);
    if (fd < 0) return failure(path, "open", errno);
    struct stat info {};
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
      ::close(fd);
      return Error{Code::kForeign, path + ": expected a regular file"};
    }
    return std::unique_ptr<File>(new SystemFile(fd, path));
  }

  Status rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? Status()
                                                   : failure(from, "rename to " + to, errno);
  }

  Status remove(const std::string& path) override {
    return unlink(path.c_str()) == 0 || errno == ENOENT ? Status() : failure(path, "unlink", errno);
  }

  Status make_directory(const std::string& path) override {
    return mkdir(path.c_str(), 0700) == 0 || errno == EEXIST ? Status()
                                                             : failure(path, "mkdir", errno);
  }

  Status sync_directory(const std::string& path) override {
    const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return failure(path, "open", errno);
    const int error = fsync(fd) == 0 ? 0 : errno;
    ::close(fd);
    return error == 0 ? Status() : failure(path, "fsync", error);
  }

  Result<std::vector<std::string>> list(const std::string& path) override {
    DIR* const directory = opendir(path.c_str());
    if (directory == nullptr) return failure(path, "opendir", errno);
    std::vector<std::string> names;
    errno = 0;
    while (const dirent* entry = readdir(directory)) {
      const std::string_view name = entry->d_name;
      if (name != "." && name != "..") names.emplace_back(name);
    }
    const int error = errno;
    closedir(directory);
    if (error != 0) return failure(path, "readdir", error);
    std::sort(names.begin(), names.end());
    return names;
  }
};

}  // namespace

Files& Files::system() {
  static SystemFiles files;
  return files;
}

Result<std::string> read_file(Files& files, const std::string& path, uint64_t bytes_max) {
  Result<std::unique_ptr<File>> file = files.open(path, OpenMode::kRead);
  if (!file) return file.status();
  const Result<uint64_t> size = (*file)->size();
  if (!size) return size.status();
  if (*size > bytes_max) {
    return Error{Code::kIo, path + ": expected at most " + std::to_string(bytes_max) +
                                " bytes, found " + std::to_string(*size)};
  }
  std::string content;
  if (Status status = (*file)->read_at(0, *size, &content); !status) return status;
  return content;
}

Status replace_file(Files& files, const std::string& directory, const std::string& name,
                    std::string_view content) {
  const std::string path = directory + "/" + name;
  const std::string temporary = path + ".new";
  Result<std::unique_ptr<File>> file = files.open(temporary, OpenMode::kCreate);
  if (!file) return file.status();
  if (Status status = (*file)->write_at(0, content); !status) return status;
  if (Status status = (*file)->sync(); !status) return status;
  file->reset();
  if (Status status = files.rename(temporary, path); !status) return status;
  return files.sync_directory(directory);
}

}  // namespace tenancy::log
