// Space that is written ahead of the records, so that a sync has nothing else to make durable.
#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "rig.h"
#include "victim.h"
#include "watched_files.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

// With a list of what was written into segments.
class WrittenFiles final : public WatchedFiles {
 public:
  struct Written {
    std::string path;
    uint64_t offset = 0;
    std::string bytes;
    uint64_t end() const { return offset + bytes.size(); }
  };
  std::vector<Written> writes;

  WrittenFiles() {
    on_write = [this](const std::string& path, uint64_t offset, std::string_view data) {
      writes.push_back({path, offset, std::string(data)});
    };
  }
};

Options watched_options(const std::string& directory, WrittenFiles& files) {
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
  WrittenFiles files;
  const auto log = open(watched_options(directory.path(), files));
  REQUIRE(log->flush().ok());
  append(*log, Class::kAccess, "ten_1", "the first of its chain's segment", Ack::kDisk);
  // The chain's genesis took zeros along, as those of the other chains did.
  uint64_t before = 0;
  for (const WrittenFiles::Written& write : files.writes) before = std::max(before, write.end());
  files.writes.clear();
  for (int i = 0; i < 400; ++i) {
    append(*log, Class::kAccess, "ten_1", std::string(500, '.'), Ack::kDisk);
  }
  size_t groups = 0;
  for (const WrittenFiles::Written& write : files.writes) {
    if (!ends_in_zeros(write.bytes)) {
      ++groups;
      CHECK(write.end() <= before);
    }
    before = std::max(before, write.end());
  }
  CHECK(groups == 400);
  CHECK(files.writes.size() < 420);
  CHECK(checked(directory.path()).verdict == Verdict::kQualified);  // unanchored, nothing else
  CHECK(checked(directory.path()).findings.size() == 1);
}

TEST_CASE("large groups are written once, without zeros ahead of them") {
  const TempDir directory;
  WrittenFiles files;
  const auto log = open(watched_options(directory.path(), files));
  REQUIRE(log->flush().ok());
  append(*log, Class::kAccess, "ten_1", "the first of its chain's segment", Ack::kDisk);
  files.writes.clear();
  for (int group = 0; group < 8; ++group) {
    for (int i = 0; i < 200; ++i) append(*log, Class::kAccess, "ten_1", std::string(1000, '.'));
    REQUIRE(log->flush().ok());
  }
  REQUIRE(files.writes.size() >= 8);
  for (const WrittenFiles::Written& write : files.writes) CHECK_FALSE(ends_in_zeros(write.bytes));
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

  WrittenFiles files;
  const auto log = open(watched_options(directory.path(), files));
  append(*log, Class::kAccess, "ten_1", "after", Ack::kDisk);
  REQUIRE_FALSE(files.writes.empty());
  for (const WrittenFiles::Written& write : files.writes) CHECK_FALSE(ends_in_zeros(write.bytes));
  const std::vector<std::string> events = events_of(directory.path(), Class::kAccess, files);
  REQUIRE(events.size() == kRecords + 1);
  CHECK(events.back() == "after");
}
