// A directory tree in memory: what a test damages and then verifies.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tenancy/log/io.h"

namespace tenancy::log {

class MemoryFiles final : public Files {
 public:
  // All regular files below `root`, under their own paths.
  static MemoryFiles load(const std::string& root) {
    MemoryFiles out;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream in(entry.path(), std::ios::binary);
      out.content[entry.path().string()] = {std::istreambuf_iterator<char>(in), {}};
    }
    return out;
  }

  std::map<std::string, std::string> content;

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    const auto found = content.find(path);
    if (found == content.end()) return Error{Code::kNotFound, path + ": not there"};
    if (mode != OpenMode::kRead) return Error{Code::kPermission, path + ": is only read"};
    return std::unique_ptr<File>(new Opened(found->second));
  }
  Result<std::vector<std::string>> list(const std::string& path) override {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : content) {
      if (name.size() > path.size() + 1 && name.compare(0, path.size(), path) == 0 &&
          name[path.size()] == '/' && name.find('/', path.size() + 1) == std::string::npos) {
        names.push_back(name.substr(path.size() + 1));
      }
    }
    const bool below = std::any_of(content.begin(), content.end(), [&](const auto& file) {
      return file.first.compare(0, path.size() + 1, path + "/") == 0;
    });
    if (!below) return Error{Code::kNotFound, path + ": not there"};
    return names;
  }
  Status rename(const std::string&, const std::string&) override { return refused(); }
  Status remove(const std::string&) override { return refused(); }
  Status make_directory(const std::string&) override { return refused(); }
  Status sync_directory(const std::string&) override { return refused(); }

 private:
  static Status refused() { return {Code::kPermission, "verification writes nothing"}; }

  class Opened final : public File {
   public:
    explicit Opened(const std::string& bytes) : bytes_(bytes) {}
    Status read_at(uint64_t offset, size_t bytes, std::string* out) override {
      if (offset < bytes_.size()) out->append(bytes_, offset, bytes);
      return {};
    }
    Status write_at(uint64_t, std::string_view) override { return refused(); }
    Status sync() override { return refused(); }
    Status allocate(uint64_t) override { return refused(); }
    Status truncate(uint64_t) override { return refused(); }
    Result<uint64_t> size() override { return uint64_t{bytes_.size()}; }

   private:
    const std::string& bytes_;
  };
};

}  // namespace tenancy::log
