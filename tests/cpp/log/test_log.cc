#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "rig.h"
#include "tenancy/log/checkpoint.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

TEST_CASE("what was appended is read back in order, in the same log and in the next one") {
  const TempDir directory;
  std::vector<std::string> expected;
  for (int round = 0; round < 3; ++round) {
    const auto log = open(options_in(directory.path()));
    for (int i = 0; i < 50; ++i) {
      const std::string text = std::to_string(round) + "." + std::to_string(i);
      append(*log, Class::kAccess, "ten_1", text, i % 7 == 0 ? Ack::kDisk : Ack::kRing);
      expected.push_back(text);
    }
    REQUIRE(log->flush().ok());
    REQUIRE(events_of(directory.path(), Class::kAccess) == expected);
  }
  CHECK(events_of(directory.path(), Class::kUsage).empty());
  const Report report = checked(directory.path());
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kQualified);
  CHECK(report.findings.size() == 1);
  CHECK(has(report, "unanchored"));
  CHECK(report.chains[1].events == 150);
  CHECK(report.chains[1].tenants == 1);
}

TEST_CASE("a log that a checkpoint kept elsewhere covers is whole") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  for (int i = 0; i < 20; ++i) append(*log, Class::kOther, "ten_" + std::to_string(i % 3), "x");
  const Result<std::string> note = log->checkpoint();
  REQUIRE(note.ok());
  append(*log, Class::kOther, "ten_1", "later", Ack::kDisk);
  const Report report = checked(directory.path(), {*note});
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kWhole);
  CHECK(report.anchors == 1);
  CHECK(report.checkpoints == 1);
  CHECK(*last_note(Files::system(), log->log_directory()) == *note);
}

TEST_CASE("segments end where they should, and chain, proofs and reading go over their ends") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  std::vector<std::string> expected;
  for (int i = 0; i < 1200; ++i) {
    expected.push_back(std::to_string(i));
    append(*log, Class::kUsage, "ten_" + std::to_string(i % 5), expected.back());
    if (i % 100 == 0) REQUIRE(log->flush().ok());
  }
  const Result<std::string> note = log->checkpoint();
  REQUIRE(note.ok());
  CHECK(events_of(directory.path(), Class::kUsage) == expected);
  const Report report = checked(directory.path(), {*note});
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kWhole);
  CHECK(report.chains[3].segments > 3);

  const auto key = parse_verifier_key(log->public_key());
  REQUIRE(key.ok());
  const auto checkpoint = open_note(*note, *key);
  REQUIRE(checkpoint.ok());
  const ChainHead& head = checkpoint->chains[3];
  for (const uint64_t sequence :
       {uint64_t{0}, uint64_t{1}, uint64_t{400}, uint64_t{777}, head.size - 1}) {
    const auto receipt =
        prove_record(Files::system(), log->log_directory(), {Class::kUsage, sequence}, *note);
    REQUIRE(receipt.ok());
    RecordView view;
    REQUIRE(RecordView::parse(receipt->record, &view) == Framing::kRecord);
    CHECK(view.sequence() == sequence);
    CHECK(verify_inclusion(sequence, head.size, leaf_hash(view.leaf()), receipt->proof, head.root));
    CHECK_FALSE(
        verify_inclusion(sequence, head.size, leaf_hash("other"), receipt->proof, head.root));
  }
  CHECK(prove_record(Files::system(), log->log_directory(), {Class::kUsage, head.size}, *note)
            .error()
            .code == Code::kOutOfRange);

  for (int i = 0; i < 500; ++i) append(*log, Class::kUsage, "ten_1", "more");
  const Result<std::string> next = log->checkpoint();
  REQUIRE(next.ok());
  const ChainHead later = open_note(*next, *key)->chains[3];
  const auto proof = prove_consistency(Files::system(), log->log_directory(), Class::kUsage,
                                       head.size, later.size);
  REQUIRE(proof.ok());
  CHECK(verify_consistency(head.size, later.size, head.root, later.root, *proof));
  CHECK_FALSE(verify_consistency(head.size, later.size, later.root, head.root, *proof));
}

TEST_CASE("keys move forward, and the ones before are gone from the host's key file") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  const auto key_bytes = [&] {
    return *read_file(Files::system(), directory.path() + "/keys/log.key", 4096);
  };
  std::set<std::string> keys = {key_bytes()};
  for (int i = 0; i < 5; ++i) {
    append(*log, Class::kSecurity, "ten_1", std::to_string(i));
    REQUIRE(log->rotate().ok());
    CHECK(log->health().epoch == static_cast<uint32_t>(i + 1));
    CHECK(keys.insert(key_bytes()).second);
  }
  append(*log, Class::kSecurity, "ten_1", "last", Ack::kDisk);
  const Report report = checked(directory.path());
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kQualified);
  CHECK(report.findings.size() == 1);
  // The key that the host has now does not verify what was before.
  VerifyOptions options;
  options.log_directory = log->log_directory();
  options.key_path = directory.path() + "/keys/log.key";
  const Report with_host_key = verify(Files::system(), options);
  CHECK(with_host_key.verdict == Verdict::kCannotVerify);
  CHECK(has(with_host_key, "wrong_key"));
}

TEST_CASE("rotated logs are opened again with what the host still knows") {
  const TempDir directory;
  for (int round = 0; round < 4; ++round) {
    const auto log = open(options_in(directory.path()));
    append(*log, Class::kOther, "ten_1", "a");
    REQUIRE(log->rotate().ok());
    append(*log, Class::kOther, "ten_1", "b");
    CHECK(log->health().epoch == static_cast<uint32_t>(round + 1));
  }
  const Report report = checked(directory.path());
  INFO(shown(report));
  CHECK(report.findings.size() == 1);
  CHECK(report.chains[2].events == 8);
}

TEST_CASE("two logs of one directory write one chain") {
  const TempDir directory;
  const auto a = open(options_in(directory.path()));
  const auto b = open(options_in(directory.path()));
  for (uint64_t i = 0; i < 40; ++i) {
    const Position at = append(i % 2 == 0 ? *a : *b, Class::kOther, "ten_1", std::to_string(i));
    CHECK(at.sequence == i + 1);  // behind the first record of the chain
  }
  REQUIRE(a->flush().ok());
  CHECK(events_of(directory.path(), Class::kOther).size() == 40);
  CHECK(checked(directory.path()).findings.size() == 1);
}

TEST_CASE("files are for their owner alone") {
  const TempDir directory;
  {
    const auto log = open(options_in(directory.path()));
    append(*log, Class::kOther, "ten_1", "x", Ack::kDisk);
    REQUIRE(log->checkpoint().ok());
    REQUIRE(log->rotate().ok());
  }
  size_t files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path())) {
    struct stat info {};
    REQUIRE(stat(entry.path().c_str(), &info) == 0);
    INFO(entry.path());
    CHECK((info.st_mode & 0777) == (entry.is_directory() ? 0700 : 0600));
    files += entry.is_directory() ? 0 : 1;
  }
  CHECK(files >= 15);
}

TEST_CASE("a log that lost its key, and a key that lost its log, are refused with a remedy") {
  const TempDir directory;
  REQUIRE(open(options_in(directory.path()))->close().ok());
  const std::string key = directory.path() + "/keys/log.key";
  std::filesystem::rename(key, directory.file("key"));
  const auto without_key = Log::open(options_in(directory.path()));
  REQUIRE_FALSE(without_key.ok());
  CHECK(without_key.error().code == Code::kDamaged);
  CHECK(without_key.error().message.find("restore the key") != std::string::npos);
  std::filesystem::rename(directory.file("key"), key);
  std::filesystem::remove_all(directory.path() + "/log");
  const auto without_log = Log::open(options_in(directory.path()));
  REQUIRE_FALSE(without_log.ok());
  CHECK(without_log.error().message.find("it was removed") != std::string::npos);
}

TEST_CASE("a chain that was cut behind what its head promises is not opened by itself") {
  const TempDir directory;
  {
    const auto log = open(options_in(directory.path()));
    for (int i = 0; i < 30; ++i) append(*log, Class::kAccess, "ten_1", std::to_string(i));
  }
  const std::string segment = directory.path() + "/log/segments/access-00000000000000000000.seg";
  std::filesystem::resize_file(segment, 4096 + 2000);
  std::filesystem::remove(directory.path() + "/log/ring");
  Options options = options_in(directory.path());
  const auto refused = Log::open(options);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::kDamaged);
  CHECK(refused.error().message.find("accept_loss") != std::string::npos);
  CHECK(checked(directory.path()).verdict == Verdict::kTampered);
  options.accept_loss = true;
  const auto log = open(options);
  append(*log, Class::kAccess, "ten_1", "after", Ack::kDisk);
  const Report report = checked(directory.path());
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kTampered);
  CHECK(has(report, "lost"));
}

TEST_CASE("options that cannot be right are refused") {
  const TempDir directory;
  Options options = options_in(directory.path());
  options.ring_bytes = 1000;
  CHECK(Log::open(options).error().message.find("ring_bytes") != std::string::npos);
  options = options_in(directory.path());
  options.segment_bytes = 1;
  CHECK(Log::open(options).error().message.find("segment_bytes") != std::string::npos);
  options = options_in("");
  CHECK(Log::open(options).error().code == Code::kInvalidArgument);
  options = options_in(directory.path());
  options.heartbeat_interval_ns = 0;
  CHECK(Log::open(options).error().code == Code::kInvalidArgument);
}

TEST_CASE("a closed log says so, and closing twice is closing once") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  CHECK(log->close().ok());
  CHECK(log->close().ok());
  const Result<Position> at = log->append({}, Ack::kRing);
  REQUIRE_FALSE(at.ok());
  CHECK(at.error().code == Code::kConflict);
}

TEST_CASE("heartbeats, rotation and checkpoints fall due by the clock; silence is found") {
  const TempDir directory;
  auto clock = std::make_shared<FakeClock>(kStartNs);
  Options options = options_in(directory.path());
  options.clock = clock;
  options.heartbeat_interval_ns = 60'000'000'000;
  options.epoch_interval_ns = 600'000'000'000;
  options.checkpoint_interval_ns = 300'000'000'000;
  auto log = open(options);
  for (int minute = 0; minute < 30; ++minute) {
    clock->advance(60'000'000'000);
    REQUIRE(log->tend().ok());
  }
  CHECK(log->health().epoch == 3);
  CHECK(log->health().checkpoints == 6);
  CHECK(log->position(Class::kUsage) >= 30);
  REQUIRE(log->flush().ok());
  const Report quiet = checked(directory.path(), {}, clock->wall_ns());
  INFO(shown(quiet));
  CHECK(quiet.findings.size() == 1);
  // Nobody tends it for an hour: that shows, to whoever verifies now and for ever after.
  clock->advance(3'600'000'000'000);
  CHECK(has(checked(directory.path(), {}, clock->wall_ns()), "silent"));
  REQUIRE(log->tend().ok());
  REQUIRE(log->flush().ok());
  const Report later = checked(directory.path());
  CHECK(has(later, "silent"));
  CHECK(later.verdict == Verdict::kQualified);
  // An hour between a good end and the next begin is no silence.
  log.reset();
  const size_t before = checked(directory.path()).findings.size();
  clock->advance(3'600'000'000'000);
  log = open(options);
  REQUIRE(log->flush().ok());
  CHECK(checked(directory.path()).findings.size() == before);
}

TEST_CASE("clocks that are set back lose nothing and stop nothing") {
  const TempDir directory;
  auto clock = std::make_shared<FakeClock>(kStartNs);
  Options options = options_in(directory.path());
  options.clock = clock;
  options.epoch_interval_ns = 3'600'000'000'000;
  const auto log = open(options);
  append(*log, Class::kOther, "ten_1", "a");
  clock->step_wall(-86'400'000'000'000);
  REQUIRE(log->tend().ok());
  CHECK(log->health().epoch == 1);
  append(*log, Class::kOther, "ten_1", "b", Ack::kDisk);
  CHECK(checked(directory.path()).findings.size() == 1);
}
