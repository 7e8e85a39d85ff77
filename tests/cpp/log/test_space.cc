// Space that is written ahead of the records, so that a sync has nothing else to make durable.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "rig.h"
#include "victim.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

// The system's files, with a list of what was written into segments.
class RecordedFiles final : public Files {
 public:
  struct Written {
    std::string path;
    uint64_t offset = 0;
    std::string bytes;
    uint64_t end() const { return offset + bytes.size(); }
  };
  std::vector<Written> writes;

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
    Watched(RecordedFiles& files, std::unique_ptr<File> file, std::string path)
        : files_(files), file_(std::move(file)), path_(std::move(path)) {}
    Status read_at(uint64_t offset, size_t bytes, std::string* out) override {
      return file_->read_at(offset, bytes, out);
    }
    Status write_at(uint64_t offset, std::string_view data) override {
      files_.writes.push_back({path_, offset, std::string(data)});
      return file_->write_at(offset, data);
    }
    Status sync() override { return file_->sync(); }
    Status allocate(uint64_t bytes) override { return file_->allocate(bytes); }
    Status truncate(uint64_t bytes) override { return file_->truncate(bytes); }
    Result<uint64_t> size() override { return file_->size(); }

   private:
    RecordedFiles& files_;
    std::unique_ptr<File> file_;
    std::string path_;
  };
};

Options watched_options(const std::string& directory, RecordedFiles& files) {
  Options options = options_in(directory);
  options.ring_bytes = 4 << 20;
  options.segment_bytes = 16 << 20;
  options.files = &files;
  return options;
}

bool ends_in_zeros(std::string_view bytes) {
  constexpr size_t kZeros = 64;
  return bytes.size() >= kZeros && bytes.substr(bytes.size() - kZeros) == std::string(kZeros, '\0');
}

}  // namespace

TEST_CASE("small groups are written into space that was written before") {
  const TempDir directory;
  RecordedFiles files;
  const auto log = open(watched_options(directory.path(), files));
  REQUIRE(log->flush().ok());
  append(*log, Class::kAccess, "ten_1", "the first of its chain's segment", Ack::kDisk);
  // The chain's genesis took zeros along, as those of the other chains did.
  uint64_t before = 0;
  for (const RecordedFiles::Written& write : files.writes) before = std::max(before, write.end());
  size_t beyond = 0;
  files.writes.clear();
  for (int i = 0; i < 400; ++i) {
    append(*log, Class::kAccess, "ten_1", std::string(500, '.'), Ack::kDisk);
  }
  REQUIRE(files.writes.size() == 400);
  for (const RecordedFiles::Written& write : files.writes) {
    if (write.end() > before) ++beyond;
    before = std::max(before, write.end());
  }
  // Where more space is taken: at 64, 128 and 256 KiB.
  CHECK(beyond <= 3);
  CHECK(checked(directory.path()).verdict == Verdict::kQualified);  // unanchored, nothing else
  CHECK(checked(directory.path()).findings.size() == 1);
}

TEST_CASE("large groups are written once, without zeros ahead of them") {
  const TempDir directory;
  RecordedFiles files;
  const auto log = open(watched_options(directory.path(), files));
  REQUIRE(log->flush().ok());
  append(*log, Class::kAccess, "ten_1", "the first of its chain's segment", Ack::kDisk);
  files.writes.clear();
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 200; ++i) append(*log, Class::kAccess, "ten_1", std::string(1000, '.'));
    REQUIRE(log->flush().ok());
  }
  REQUIRE(files.writes.size() >= 8);
  for (const RecordedFiles::Written& write : files.writes) CHECK_FALSE(ends_in_zeros(write.bytes));
}

TEST_CASE("a new leader writes no zeros over what a dead one wrote") {
  // Records at `os` are in the file and not durable: whoever leads next must not wipe them away,
  // even if it writes them again at once.
  const TempDir directory;
  constexpr size_t kRecords = 50;
  Victim victim([&](int to) {
    Options options = options_in(directory.path());
    options.segment_bytes = 16 << 20;
    const auto log = Log::open(options);
    if (!log) _exit(2);
    for (size_t i = 0; i < kRecords; ++i) {
      append(**log, Class::kAccess, "ten_1", std::to_string(i) + std::string(500, '.'), Ack::kOs);
      say(to, "written\n");
    }
    pause();
  });
  victim.wait_for_lines(kRecords);
  (void)victim.kill_and_read();

  RecordedFiles files;
  const auto log = open(watched_options(directory.path(), files));
  append(*log, Class::kAccess, "ten_1", "after", Ack::kDisk);
  REQUIRE_FALSE(files.writes.empty());
  for (const RecordedFiles::Written& write : files.writes) CHECK_FALSE(ends_in_zeros(write.bytes));
  const std::vector<std::string> events = events_of(directory.path(), Class::kAccess, files);
  REQUIRE(events.size() == kRecords + 1);
  CHECK(events.back() == "after");
}
