// FaultyFiles: a file system in memory that keeps what a disk would, so that a test can cut the
// power after any operation, or make any operation fail.
//
// Every operation is recorded. `after_power_cut(n, seed)` is the disk as it may be found when the
// power went after the first n of them: what was synced is there; of the rest each 512-byte sector,
// each change of length and each change of a directory is there or not, as the seed decides.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "tenancy/log/io.h"

namespace tenancy::log::test {

class FaultyFiles final : public Files {
 public:
  enum class Op {
    kOpen,
    kWrite,
    kBeginSync,
    kSync,
    kAllocate,
    kTruncate,
    kRename,
    kRemove,
    kSyncDirectory
  };
  struct Call {
    Op op;
    std::string path;
  };
  // Asked before each operation that changes something; an error is what the caller gets.
  using Fault = std::function<std::optional<Error>(const Call& call, size_t number)>;
  void set_fault(Fault fault) {
    const Guard guard(mutex_);
    fault_ = std::move(fault);
  }
  // Syncs that say they are done and are not.
  void set_lying(bool lying) { lying_ = lying; }

  size_t operations() const {
    const Guard guard(mutex_);
    return journal_.size();
  }
  // How often a descriptor was synced or written after a sync of it had failed.
  size_t misuses() const { return misuses_; }

  enum class Keep { kNothing, kAll, kSome };
  std::unique_ptr<FaultyFiles> after_power_cut(size_t operations, Keep keep, uint64_t seed) const;

  // Changes what is stored, as an intruder would.
  std::string& content(const std::string& path) { return names_.at(path)->data; }
  bool exists(const std::string& path) const { return names_.count(path) != 0; }
  std::vector<std::string> paths() const {
    const Guard guard(mutex_);
    std::vector<std::string> out;
    for (const auto& [path, node] : names_) out.push_back(path);
    return out;
  }

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override;
  Status rename(const std::string& from, const std::string& to) override;
  Status remove(const std::string& path) override;
  Status make_directory(const std::string& path) override;
  Status sync_directory(const std::string& path) override;
  Result<std::vector<std::string>> list(const std::string& path) override;

 private:
  using Guard = std::lock_guard<std::recursive_mutex>;
  struct Node {
    size_t id = 0;
    std::string data;
  };
  struct Step {
    Op op;
    size_t node = 0;
    uint64_t offset = 0;  // or length
    std::string data;     // or a path
    std::string other;
  };
  class Handle;
  static constexpr size_t kSector = 512;

  std::optional<Error> asked(Op op, const std::string& path) {
    return fault_ ? fault_({op, path}, calls_++) : std::nullopt;
  }
  static std::string parent(const std::string& path) { return path.substr(0, path.rfind('/')); }

  std::map<std::string, Node> base_;  // what was there, durable, before anything was recorded
  std::map<std::string, std::shared_ptr<Node>> names_;
  std::set<std::string> directories_;
  std::vector<Step> journal_;
  size_t nodes_ = 0;
  size_t calls_ = 0;
  size_t misuses_ = 0;
  bool lying_ = false;
  Fault fault_;
  // A log's thread may write ahead of the records when those who waited for it have gone on.
  mutable std::recursive_mutex mutex_;
};

class FaultyFiles::Handle final : public File {
 public:
  Handle(FaultyFiles& files, std::shared_ptr<Node> node, std::string path)
      : files_(files), node_(std::move(node)), path_(std::move(path)) {}

  Status read_at(uint64_t offset, size_t bytes, std::string* out) override {
    const Guard guard(files_.mutex_);
    if (offset < node_->data.size()) out->append(node_->data, offset, bytes);
    return {};
  }
  Status write_at(uint64_t offset, std::string_view data) override {
    const Guard guard(files_.mutex_);
    if (failed_) ++files_.misuses_;
    const std::optional<Error> error = files_.asked(Op::kWrite, path_);
    if (error) data = data.substr(0, data.size() / 2);  // part of it got there
    if (node_->data.size() < offset + data.size()) node_->data.resize(offset + data.size());
    node_->data.replace(offset, data.size(), data);
    files_.journal_.push_back({Op::kWrite, node_->id, offset, std::string(data), {}});
    return error ? Status(*error) : Status();
  }
  Status begin_sync(uint64_t) override {
    const Guard guard(files_.mutex_);
    if (failed_) ++files_.misuses_;
    const std::optional<Error> error = files_.asked(Op::kBeginSync, path_);
    failed_ = failed_ || error;
    return error ? Status(*error) : Status();
  }
  Status sync() override {
    const Guard guard(files_.mutex_);
    if (failed_) ++files_.misuses_;
    if (const std::optional<Error> error = files_.asked(Op::kSync, path_)) {
      // The kernel forgets that the pages were not written: a later sync would say all is well.
      failed_ = true;
      return *error;
    }
    if (!files_.lying_) files_.journal_.push_back({Op::kSync, node_->id, 0, {}, {}});
    return {};
  }
  Status allocate(uint64_t bytes) override {
    const Guard guard(files_.mutex_);
    if (const auto error = files_.asked(Op::kAllocate, path_)) return *error;
    if (node_->data.size() < bytes) node_->data.resize(bytes);
    files_.journal_.push_back({Op::kAllocate, node_->id, bytes, {}, {}});
    return {};
  }
  Status truncate(uint64_t bytes) override {
    const Guard guard(files_.mutex_);
    if (const auto error = files_.asked(Op::kTruncate, path_)) return *error;
    node_->data.resize(bytes);
    files_.journal_.push_back({Op::kTruncate, node_->id, bytes, {}, {}});
    return {};
  }
  Result<uint64_t> size() override {
    const Guard guard(files_.mutex_);
    return static_cast<uint64_t>(node_->data.size());
  }

 private:
  FaultyFiles& files_;
  std::shared_ptr<Node> node_;
  std::string path_;
  bool failed_ = false;
};

inline Result<std::unique_ptr<File>> FaultyFiles::open(const std::string& path, OpenMode mode) {
  const Guard guard(mutex_);
  auto found = names_.find(path);
  if (found == names_.end() && mode != OpenMode::kCreate) {
    return Error{Code::kNotFound, path + ": open: no such file"};
  }
  if (mode == OpenMode::kCreate) {
    if (const auto error = asked(Op::kOpen, path)) return *error;
    if (found == names_.end()) {
      auto node = std::make_shared<Node>();
      node->id = nodes_++;
      found = names_.emplace(path, node).first;
      journal_.push_back({Op::kOpen, node->id, 0, path, {}});
    } else {
      found->second->data.clear();
      journal_.push_back({Op::kTruncate, found->second->id, 0, {}, {}});
    }
  }
  return std::unique_ptr<File>(new Handle(*this, found->second, path));
}

inline Status FaultyFiles::rename(const std::string& from, const std::string& to) {
  const Guard guard(mutex_);
  if (const auto error = asked(Op::kRename, from)) return *error;
  names_[to] = names_.at(from);
  names_.erase(from);
  journal_.push_back({Op::kRename, 0, 0, from, to});
  return {};
}

inline Status FaultyFiles::remove(const std::string& path) {
  const Guard guard(mutex_);
  if (const auto error = asked(Op::kRemove, path)) return *error;
  names_.erase(path);
  journal_.push_back({Op::kRemove, 0, 0, path, {}});
  return {};
}

// Directories exist for good: that they may be lost before the log is made is nothing to the log.
inline Status FaultyFiles::make_directory(const std::string& path) {
  const Guard guard(mutex_);
  directories_.insert(path);
  return {};
}

inline Status FaultyFiles::sync_directory(const std::string& path) {
  const Guard guard(mutex_);
  if (const auto error = asked(Op::kSyncDirectory, path)) return *error;
  if (!lying_) journal_.push_back({Op::kSyncDirectory, 0, 0, path, {}});
  return {};
}

inline Result<std::vector<std::string>> FaultyFiles::list(const std::string& path) {
  const Guard guard(mutex_);
  if (directories_.count(path) == 0) return Error{Code::kNotFound, path + ": no such directory"};
  std::vector<std::string> names;
  for (const auto& [name, node] : names_) {
    if (parent(name) == path) names.push_back(name.substr(path.size() + 1));
  }
  return names;
}

inline std::unique_ptr<FaultyFiles> FaultyFiles::after_power_cut(size_t operations, Keep keep,
                                                                 uint64_t seed) const {
  const Guard guard(mutex_);
  std::mt19937_64 random(seed);
  const auto kept = [&] {
    return keep == Keep::kAll || (keep == Keep::kSome && random() % 2 == 0);
  };
  // Which steps a later sync made durable.
  std::vector<bool> durable(operations, false);
  for (size_t i = 0; i < operations; ++i) {
    const Step& sync = journal_[i];
    for (size_t k = 0; k < i; ++k) {
      const Step& step = journal_[k];
      const bool data =
          step.op == Op::kWrite || step.op == Op::kAllocate || step.op == Op::kTruncate;
      if (sync.op == Op::kSync && data && step.node == sync.node) durable[k] = true;
      if (sync.op != Op::kSyncDirectory || data) continue;
      if (step.op == Op::kSync || step.op == Op::kSyncDirectory) continue;
      if (parent(step.data) == sync.data) durable[k] = true;
    }
  }
  auto disk = std::make_unique<FaultyFiles>();
  disk->directories_ = directories_;
  disk->nodes_ = nodes_;
  std::map<size_t, std::shared_ptr<Node>> nodes;
  std::map<std::string, size_t> seen;  // what each name meant to the program
  for (const auto& [path, node] : base_) {
    nodes[node.id] = std::make_shared<Node>(node);
    disk->names_[path] = nodes[node.id];
    seen[path] = node.id;
  }
  const auto node_of = [&](size_t id) {
    auto& node = nodes[id];
    if (!node) {
      node = std::make_shared<Node>();
      node->id = id;
    }
    return node;
  };
  for (size_t i = 0; i < operations; ++i) {
    const Step& step = journal_[i];
    switch (step.op) {
      case Op::kWrite: {
        std::string& data = node_of(step.node)->data;
        for (uint64_t at = step.offset; at < step.offset + step.data.size();) {
          const uint64_t end =
              std::min<uint64_t>(at / kSector * kSector + kSector, step.offset + step.data.size());
          if (durable[i] || kept()) {
            if (data.size() < end) data.resize(end);
            data.replace(at, end - at, step.data, at - step.offset, end - at);
          }
          at = end;
        }
        break;
      }
      case Op::kAllocate:
        if ((durable[i] || kept()) && node_of(step.node)->data.size() < step.offset) {
          node_of(step.node)->data.resize(step.offset);
        }
        break;
      case Op::kTruncate:
        if (durable[i] || kept()) node_of(step.node)->data.resize(step.offset);
        break;
      case Op::kOpen:
        seen[step.data] = step.node;
        if (durable[i] || kept()) disk->names_[step.data] = node_of(step.node);
        break;
      case Op::kRename: {
        const size_t node = seen[step.data];
        seen.erase(step.data);
        seen[step.other] = node;
        if (durable[i] || kept()) {
          disk->names_.erase(step.data);
          disk->names_[step.other] = node_of(node);
        }
        break;
      }
      case Op::kRemove:
        seen.erase(step.data);
        if (durable[i] || kept()) disk->names_.erase(step.data);
        break;
      case Op::kBeginSync:
      case Op::kSync:
      case Op::kSyncDirectory: break;
    }
  }
  for (const auto& [path, node] : disk->names_) disk->base_.emplace(path, *node);
  return disk;
}

}  // namespace tenancy::log::test
