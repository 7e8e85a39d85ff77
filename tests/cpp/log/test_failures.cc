// Disks that fail: at each operation, once or for a while, with EIO or ENOSPC, or by lying.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "faulty_files.h"
#include "rig.h"
#include "tenancy/log/futex.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

using Op = FaultyFiles::Op;

struct Rig {
  Rig() {
    REQUIRE(files.make_directory(directory.path() + "/log").ok());
    std::filesystem::create_directories(directory.path() + "/log");
  }
  Options options() {
    Options out = options_in(directory.path());
    out.shared = false;
    out.files = &files;
    out.full_wait_ns = 0;
    out.ack_wait_ns = 0;
    return out;
  }
  TempDir directory;
  FaultyFiles files;
};

// Appends at disk whatever happens; what was committed is expected, acknowledged or not.
void write(Log& log, Class chain, const std::string& text, std::vector<std::string>* expected) {
  const Field fields[] = {{FieldId::kResourceId, Value::text(text), {}}};
  const Result<Position> at = log.append({chain, "ten_1", fields, 0}, Ack::kDisk);
  const bool recorded = at || at.error().message.rfind("recorded, but", 0) == 0;
  if (!at && !recorded) REQUIRE(at.error().code == Code::kFull);
  if (recorded) expected->push_back(text);
}

// Of which somebody has to wait for room soon, with a thread that makes it.
Options small_ring(Rig& rig) {
  Options options = rig.options();
  options.background = true;
  options.ring_bytes = 64 << 10;
  options.full_wait_ns = 60'000'000'000;
  options.ack_wait_ns = 60'000'000'000;
  return options;
}

Status append_to_ring(Log& log, std::string_view text) {
  const Field fields[] = {{FieldId::kResourceId, Value::text(text), {}}};
  return log.append({Class::kOther, "ten_1", fields, 0}, Ack::kRing).status();
}

void require_only(const Report& report, std::vector<std::string> codes) {
  INFO(shown(report));
  for (const Finding& finding : report.findings) {
    REQUIRE(std::find(codes.begin(), codes.end(), finding.code) != codes.end());
  }
}

// One failure of the n-th operation of a kind; false when there were not so many.
bool fails_once(Op op, Code code, size_t which) {
  Rig rig;
  const auto log = open(rig.options());
  REQUIRE(log->flush().ok());
  size_t seen = 0;
  bool failed = false;
  rig.files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (call.op != op || seen++ != which) return std::nullopt;
    failed = true;
    return Error{code, call.path + ": injected"};
  });
  std::vector<std::string> expected;
  const std::string filler(7000, '.');
  for (int i = 0; i < 16; ++i) {
    write(*log, Class::kAccess, std::to_string(i) + filler, &expected);
    if (i == 8) (void)log->rotate();
    if (i == 10) (void)log->checkpoint();
  }
  rig.files.set_fault(nullptr);
  REQUIRE(log->flush().ok());
  REQUIRE(log->tend().ok());
  REQUIRE(log->flush().ok());
  CHECK_FALSE(log->health().failing);
  CHECK(rig.files.misuses() == 0);
  REQUIRE(events_of(rig.directory.path(), Class::kAccess, rig.files) == expected);
  require_only(checked(rig.directory.path(), {}, 0, rig.files), {"unanchored", "repaired"});
  // And a power cut now takes nothing.
  const auto disk =
      rig.files.after_power_cut(rig.files.operations(), FaultyFiles::Keep::kNothing, 0);
  Options options = rig.options();
  options.files = disk.get();
  REQUIRE(log->close().ok());
  const auto again = open(options);
  REQUIRE(again->flush().ok());
  REQUIRE(events_of(rig.directory.path(), Class::kAccess, *disk) == expected);
  return failed;
}

}  // namespace

TEST_CASE("any operation may fail once, and every record that was committed is there") {
  for (const Op op : {Op::kWrite, Op::kBeginSync, Op::kSync, Op::kAllocate, Op::kTruncate,
                      Op::kRename, Op::kSyncDirectory}) {
    for (const Code code : {Code::kIo, Code::kFull}) {
      size_t failures = 0;
      for (size_t which = 0; which < 200; ++which) {
        INFO("operation kind " << static_cast<int>(op) << ", code " << code_name(code)
                               << ", number " << which);
        if (!fails_once(op, code, which)) break;
        ++failures;
      }
      INFO("operation kind " << static_cast<int>(op));
      CHECK(failures >= 1);
    }
  }
}

TEST_CASE("while the disk is full appends wait in the ring, then fail, and nothing is lost") {
  Rig rig;
  Options options = rig.options();
  options.ring_bytes = 64 << 10;
  const auto log = open(options);
  std::vector<std::string> expected;
  write(*log, Class::kOther, "before", &expected);
  rig.files.set_fault([](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (call.op != Op::kWrite && call.op != Op::kSync) return std::nullopt;
    return Error{Code::kFull, call.path + ": no space"};
  });
  size_t refused = 0;
  for (int i = 0; i < 400; ++i) {
    const size_t before = expected.size();
    write(*log, Class::kOther, std::to_string(i), &expected);
    if (expected.size() == before) ++refused;
  }
  CHECK(refused > 50);
  CHECK(expected.size() > 100);
  CHECK(log->health().failing);
  CHECK(log->health().reason.find("no space") != std::string::npos);
  rig.files.set_fault(nullptr);
  REQUIRE(log->flush().ok());
  write(*log, Class::kOther, "after", &expected);
  CHECK_FALSE(log->health().failing);
  CHECK(events_of(rig.directory.path(), Class::kOther, rig.files) == expected);
  CHECK(rig.files.misuses() == 0);
  require_only(checked(rig.directory.path(), {}, 0, rig.files), {"unanchored", "repaired"});
}

TEST_CASE("who waits for a full disk soon hears of it, and what was recorded follows") {
  Rig rig;
  std::atomic<bool> full{false};
  rig.files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (!full || (call.op != Op::kWrite && call.op != Op::kSync)) return std::nullopt;
    return Error{Code::kFull, call.path + ": no space"};
  });
  Options options = rig.options();
  options.background = true;
  options.ack_wait_ns = 30'000'000'000;
  const auto log = open(options);
  REQUIRE(log->flush().ok());
  full = true;
  std::vector<std::string> expected;
  for (const Ack ack : {Ack::kDisk, Ack::kOs, Ack::kDisk}) {
    expected.push_back(std::to_string(expected.size()));
    const Field fields[] = {{FieldId::kResourceId, Value::text(expected.back()), {}}};
    const Result<Position> at = log->append({Class::kOther, "ten_1", fields, 0}, ack);
    REQUIRE_FALSE(at.ok());
    CHECK(at.error().code == Code::kIo);
    INFO(at.error().message);
    CHECK(at.error().message.rfind("recorded, but not yet ", 0) == 0);
    CHECK(at.error().message.find("no space") != std::string::npos);
    CHECK(at.error().message.find("does not keep up") == std::string::npos);
  }
  full = false;
  REQUIRE(log->flush().ok());
  REQUIRE(log->close().ok());
  CHECK(events_of(rig.directory.path(), Class::kOther, rig.files) == expected);
}

TEST_CASE("who waits for room in the ring soon hears of a full disk, and nothing was recorded") {
  Rig rig;
  std::atomic<bool> full{false};
  rig.files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (!full || (call.op != Op::kWrite && call.op != Op::kSync)) return std::nullopt;
    return Error{Code::kFull, call.path + ": no space"};
  });
  const Options options = small_ring(rig);
  const auto log = open(options);
  REQUIRE(log->flush().ok());
  full = true;
  std::vector<std::string> expected;
  Status refused;
  int64_t waited_ns = 0;
  while (refused && expected.size() < 1000) {
    const std::string text = std::to_string(expected.size()) + std::string(1000, '.');
    const int64_t began = real_ns();
    refused = append_to_ring(*log, text);
    waited_ns = real_ns() - began;
    if (refused) expected.push_back(text);
  }
  REQUIRE_FALSE(refused.ok());
  INFO(refused.error().message);
  CHECK(refused.error().code == Code::kFull);
  CHECK(refused.error().message.find("nothing was recorded") != std::string::npos);
  CHECK(refused.error().message.find("no space") != std::string::npos);
  CHECK(waited_ns < options.full_wait_ns / 2);
  CHECK(expected.size() > 40);  // the ring took what it has room for
  full = false;
  REQUIRE(log->flush().ok());
  expected.emplace_back("after");
  REQUIRE(append_to_ring(*log, "after").ok());
  REQUIRE(log->close().ok());
  CHECK(events_of(rig.directory.path(), Class::kOther, rig.files) == expected);
}

TEST_CASE("a disk that is slow but does not fail is waited for until there is room") {
  Rig rig;
  std::atomic<bool> slow{false};
  rig.files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    // For longer than a disk that fails is given.
    if (call.op == Op::kSync && slow.exchange(false)) {
      std::this_thread::sleep_for(std::chrono::milliseconds(600));
    }
    return std::nullopt;
  });
  const auto log = open(small_ring(rig));
  REQUIRE(log->flush().ok());
  slow = true;
  std::vector<std::string> expected;
  for (int i = 0; i < 200; ++i) {  // three rings
    expected.push_back(std::to_string(i) + std::string(1000, '.'));
    const Status status = append_to_ring(*log, expected.back());
    INFO("append number " << i);
    REQUIRE(status.ok());
  }
  CHECK_FALSE(slow);
  REQUIRE(log->close().ok());
  CHECK(events_of(rig.directory.path(), Class::kOther, rig.files) == expected);
}

TEST_CASE("a failed sync is told by a repair record in the segment that replaced the file") {
  Rig rig;
  const auto log = open(rig.options());
  std::vector<std::string> expected;
  write(*log, Class::kOther, "before", &expected);
  bool once = true;
  rig.files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (call.op != Op::kSync || !std::exchange(once, false)) return std::nullopt;
    return Error{Code::kIo, call.path + ": injected"};
  });
  write(*log, Class::kOther, "during", &expected);
  REQUIRE(log->flush().ok());
  REQUIRE(log->tend().ok());
  REQUIRE(log->flush().ok());
  const Report report = checked(rig.directory.path(), {}, 0, rig.files);
  INFO(shown(report));
  CHECK(report.chains[2].repairs == 1);
  CHECK(report.chains[2].segments == 2);
  CHECK(has(report, "repaired"));
  CHECK(report.verdict == Verdict::kQualified);
}

TEST_CASE(
    "what a lying disk lost is found with an anchor, and without one it is said that it cannot "
    "be") {
  Rig rig;
  auto log = open(rig.options());
  std::vector<std::string> expected;
  write(*log, Class::kOther, "kept", &expected);
  rig.files.set_lying(true);
  for (int i = 0; i < 10; ++i) write(*log, Class::kOther, std::to_string(i), &expected);
  const Result<std::string> note = log->checkpoint();
  REQUIRE(note.ok());
  const auto disk =
      rig.files.after_power_cut(rig.files.operations(), FaultyFiles::Keep::kNothing, 0);
  log.reset();
  Options options = rig.options();
  options.files = disk.get();
  log = open(options);
  REQUIRE(log->flush().ok());
  CHECK(events_of(rig.directory.path(), Class::kOther, *disk) == std::vector<std::string>{"kept"});
  require_only(checked(rig.directory.path(), {}, 0, *disk), {"unanchored"});
  const Report anchored = checked(rig.directory.path(), {*note}, 0, *disk);
  INFO(shown(anchored));
  CHECK(anchored.verdict == Verdict::kTampered);
  CHECK(has(anchored, "rolled_back"));
  log.reset();  // before its disk
}
