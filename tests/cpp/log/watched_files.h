// WatchedFiles: the system's files, and a test that looks at what happens to the segments. A log
// calls from the thread that leads.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tenancy/log/io.h"

namespace tenancy::log::test {

class WatchedFiles : public Files {
 public:
  std::function<void(const std::string& path, uint64_t offset, std::string_view data)> on_write;
  std::function<void(const std::string& path)> before_sync;
  std::function<void(const std::string& path)> after_sync;  // that went well

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    Result<std::unique_ptr<File>> file = system().open(path, mode);
    if (!file || path.find("/segments/") == std::string::npos) return file;
    return std::unique_ptr<File>(new Watched(*this, std::move(*file), path));
  }
  Status rename(const std::string& from, const std::string& to) override {
    return system().rename(from, to);
  }
  Status remove(const std::string& path) override { return system().remove(path); }
  Status make_directory(const std::string& path) override { return system().make_directory(path); }
  Status sync_directory(const std::string& path) override { return system().sync_directory(path); }
  Result<std::vector<std::string>> list(const std::string& path) override {
    return system().list(path);
  }

 private:
  class Watched final : public File {
   public:
    Watched(WatchedFiles& files, std::unique_ptr<File> file, std::string path)
        : files_(files), file_(std::move(file)), path_(std::move(path)) {}
    Status read_at(uint64_t offset, size_t bytes, std::string* out) override {
      return file_->read_at(offset, bytes, out);
    }
    Status write_at(uint64_t offset, std::string_view data) override {
      if (files_.on_write) files_.on_write(path_, offset, data);
      return file_->write_at(offset, data);
    }
    Status begin_sync(uint64_t offset) override { return file_->begin_sync(offset); }
    Status sync() override {
      if (files_.before_sync) files_.before_sync(path_);
      Status status = file_->sync();
      if (status && files_.after_sync) files_.after_sync(path_);
      return status;
    }
    Status allocate(uint64_t bytes) override { return file_->allocate(bytes); }
    Status truncate(uint64_t bytes) override { return file_->truncate(bytes); }
    Result<uint64_t> size() override { return file_->size(); }

   private:
    WatchedFiles& files_;
    std::unique_ptr<File> file_;
    std::string path_;
  };
};

}  // namespace tenancy::log::test
