// Retention: segments become stubs, and everything that is kept can be proven as before.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "faulty_files.h"
#include "memory_files.h"
#include "reports.h"
#include "rig.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/checkpoint.h"
#include "tenancy/log/stub.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

constexpr Class kChain = Class::kAccess;

// A log whose chain `access` has several segments, written by three tenants.
struct Pruning {
  explicit Pruning(int events = 40) : log(open(options_in(directory.path()))) { write(events); }

  void write(int count) {
    for (int i = 0; i < count; ++i, ++written) {
      append(*log, kChain, "ten_" + std::to_string(written % 3),
             std::to_string(written) + std::string(9000, '.'));
    }
    REQUIRE(log->flush().ok());
  }
  std::string checkpoint() { return *log->checkpoint(); }
  PruneResult prune(uint64_t before) {
    const Result<PruneResult> done = log->prune(kChain, before);
    if (!done) FAIL(done.error().message);
    return *done;
  }
  std::string path() const { return directory.path(); }
  std::string segment(uint64_t first) const { return file(segment_name(kChain, first)); }
  std::string stub(uint64_t first) const { return file(stub_name(kChain, first)); }
  std::string file(const std::string& name) const { return path() + "/log/segments/" + name; }

  TempDir directory;
  std::unique_ptr<Log> log;
  int written = 0;
};

InclusionReceipt receipt(const Pruning& pruning, uint64_t sequence, const std::string& note) {
  const auto found =
      prove_record(Files::system(), pruning.path() + "/log", {kChain, sequence}, note);
  if (!found) FAIL(found.error().message);
  return *found;
}

using Codes = std::vector<std::string>;

}  // namespace

TEST_CASE("pruned segments become stubs and the rest verifies, anchored by old checkpoints") {
  Pruning pruning;
  const std::string old_note = pruning.checkpoint();
  pruning.write(20);
  const std::string note = pruning.checkpoint();
  const uint64_t size = pruning.log->position(kChain);

  const PruneResult nothing = pruning.prune(3);
  CHECK(nothing.segments.empty());
  CHECK(nothing.record == kNoSequence);
  CHECK(nothing.kept_from == 0);

  const PruneResult done = pruning.prune(20);
  REQUIRE(done.segments.size() == 3);
  CHECK(done.record == size);
  CHECK(done.kept_from == done.segments[2].end);
  CHECK(done.kept_from <= 20);
  CHECK(done.segments[1].first == done.segments[0].end);
  for (const PrunedSegment& segment : done.segments) {
    CHECK_FALSE(std::filesystem::exists(pruning.segment(segment.first)));
    CHECK(std::filesystem::file_size(pruning.stub(segment.first)) < 8192);
    CHECK(segment.bytes > 50'000);
  }
  const Report report = checked(pruning.path(), {old_note, note});
  INFO(shown(report));
  CHECK(codes(report) == Codes{"pruned"});
  CHECK(report.verdict == Verdict::kWhole);
  const ChainCounts& counts = report.chains[index(kChain)];
  CHECK(counts.stubs == 3);
  CHECK(counts.first_sequence == done.kept_from);
  CHECK(counts.tenants == 3);
  CHECK(counts.not_comparable == 0);
  CHECK(report_json(report).find("\"stubs\":3") != std::string::npos);
}

TEST_CASE("proofs of kept records are the same before and after; of pruned ones there are none") {
  Pruning pruning;
  const std::string old_note = pruning.checkpoint();
  const uint64_t old_size = pruning.log->position(kChain);
  pruning.write(20);
  const std::string note = pruning.checkpoint();
  const uint64_t size = pruning.log->position(kChain);
  const std::string log = pruning.path() + "/log";
  const InclusionReceipt before = receipt(pruning, 38, note);
  const auto consistent = prove_consistency(Files::system(), log, kChain, old_size, size);
  REQUIRE(consistent.ok());

  const PruneResult done = pruning.prune(30);
  const InclusionReceipt after = receipt(pruning, 38, note);
  CHECK(after.record == before.record);
  CHECK(after.proof == before.proof);
  CHECK(receipt(pruning, 38, old_note).record == before.record);
  CHECK(*prove_consistency(Files::system(), log, kChain, old_size, size) == *consistent);
  CHECK(prove_consistency(Files::system(), log, kChain, done.kept_from, size).ok());

  const auto gone = prove_record(Files::system(), log, {kChain, 3}, note);
  REQUIRE_FALSE(gone.ok());
  CHECK(gone.error().code == Code::kOutOfRange);
  CHECK(gone.error().message == "record 3 of the chain access was pruned");
  CHECK(prove_consistency(Files::system(), log, kChain, 3, size).error().code == Code::kOutOfRange);
  CHECK(Reader::open(Files::system(), log, kChain, 0).error().code == Code::kOutOfRange);
}

TEST_CASE("a checkpoint inside a stub is counted as one that cannot be compared") {
  Pruning pruning(10);
  const std::string inside = pruning.checkpoint();
  pruning.write(30);
  const std::string note = pruning.checkpoint();
  pruning.prune(30);
  const Report report = checked(pruning.path(), {inside, note});
  INFO(shown(report));
  CHECK(codes(report) == Codes{"pruned"});
  CHECK(report.chains[index(kChain)].not_comparable == 2);  // the checkpoint and the anchor
  CHECK(report.chains[index(Class::kUsage)].not_comparable == 0);
}

TEST_CASE("the segment that is written to is never pruned, and writing goes on") {
  Pruning pruning;
  const PruneResult done = pruning.prune(kNoSequence);
  CHECK(done.kept_from > 0);
  CHECK(std::filesystem::exists(pruning.segment(done.kept_from)));
  pruning.write(20);
  const PruneResult again = pruning.prune(pruning.log->position(kChain));
  CHECK(again.segments.front().first == done.kept_from);
  CHECK(codes(checked(pruning.path())) == Codes{"pruned", "unanchored"});
}

TEST_CASE("a tenant whose records are all in stubs goes on with its next sequence") {
  Pruning pruning;
  append(*pruning.log, kChain, "ten_rare", "once");
  pruning.write(40);
  const PruneResult done = pruning.prune(pruning.log->position(kChain));
  CHECK(done.kept_from > 41);
  REQUIRE(pruning.log->close().ok());
  if (GENERATE(false, true)) std::filesystem::remove(pruning.path() + "/log/tenants");
  pruning.log = open(options_in(pruning.path()));
  const Position at = append(*pruning.log, kChain, "ten_rare", "again", Ack::kDisk);
  const std::string note = pruning.checkpoint();
  const Report report = checked(pruning.path(), {note});
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kWhole);
  CHECK(report.chains[index(kChain)].tenants == 4);
  RecordView view;
  const InclusionReceipt found = receipt(pruning, at.sequence, note);
  REQUIRE(RecordView::parse(found.record, &view) == Framing::kRecord);
  CHECK(view.tenant_sequence() == 2);
}

TEST_CASE("a segment that is not what the log wrote is kept") {
  Pruning pruning;
  REQUIRE(pruning.log->close().ok());
  MemoryFiles files = MemoryFiles::load(pruning.path());
  std::string bytes = files.content.at(pruning.segment(0));
  bytes[kSegmentHeaderBytes + 400] ^= 1;
  const auto length = get<uint32_t>(bytes.data() + kSegmentHeaderBytes);
  if (GENERATE(false, true)) {  // with a checksum that is right
    put(bytes.data() + kSegmentHeaderBytes + length - 4,
        crc32c(std::string_view(bytes).substr(kSegmentHeaderBytes, length - 4)));
  }
  std::filesystem::resize_file(pruning.segment(0), 0);
  Result<std::unique_ptr<File>> file =
      Files::system().open(pruning.segment(0), OpenMode::kReadWrite);
  REQUIRE((*file)->write_at(0, bytes).ok());
  pruning.log = open(options_in(pruning.path()));
  const Result<PruneResult> done = pruning.log->prune(kChain, 20);
  REQUIRE_FALSE(done.ok());
  CHECK(done.error().code == Code::kDamaged);
  CHECK(done.error().message.find("it is kept") != std::string::npos);
  CHECK(std::filesystem::exists(pruning.segment(0)));
  CHECK_FALSE(std::filesystem::exists(pruning.stub(0)));
  CHECK(kept_in(pruning.path(), kChain) == 0);
}

TEST_CASE("a segment that was cut gets a seal when it is pruned") {
  TempDir directory;
  FaultyFiles files;
  REQUIRE(files.make_directory(directory.path() + "/log").ok());
  std::filesystem::create_directories(directory.path() + "/log");
  Options options = options_in(directory.path());
  options.shared = false;
  options.files = &files;
  options.full_wait_ns = options.ack_wait_ns = 0;
  const auto log = open(options);
  append(*log, kChain, "ten_1", "before", Ack::kDisk);
  bool once = true;
  files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    const bool wanted = call.op == FaultyFiles::Op::kSync &&
                        call.path.find(class_name(kChain)) != std::string::npos;
    if (!wanted || !std::exchange(once, false)) return std::nullopt;
    return Error{Code::kIo, call.path + ": injected"};
  });
  const Field fields[] = {{FieldId::kResourceId, Value::text("during"), {}}};
  (void)log->append({kChain, "ten_1", fields, 0}, Ack::kDisk);
  REQUIRE(log->flush().ok());
  REQUIRE(log->tend().ok());
  REQUIRE(log->flush().ok());
  const Result<PruneResult> done = log->prune(kChain, kNoSequence);
  if (!done) FAIL(done.error().message);
  CHECK(done->segments.size() == 1);
  const Report report = checked(directory.path(), {*log->checkpoint()}, 0, files);
  INFO(shown(report));
  CHECK(codes(report) == Codes{"pruned", "repaired"});
  CHECK(events_of(directory.path(), kChain, files) == Codes{"during"});
}

TEST_CASE("another process than the leader may ask for a prune") {
  TempDir directory;
  Options options = options_in(directory.path());
  options.background = true;
  options.clock = nullptr;
  const auto log = open(options);
  for (int i = 0; i < 30; ++i) append(*log, kChain, "ten_1", std::string(9000, '.'));
  REQUIRE(log->flush().ok());
  const pid_t child = fork();
  if (child == 0) {
    options.background = false;  // the thread sanitizer allows no thread in a child of threads
    Result<std::unique_ptr<Log>> mine = Log::open(options);
    const Result<PruneResult> done =
        mine ? (*mine)->prune(kChain, 20) : Result<PruneResult>(mine.error());
    _exit(done && done->segments.size() == 3 && done->record != kNoSequence ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(kept_in(directory.path(), kChain) > 0);
  CHECK(codes(checked(directory.path())) == Codes{"pruned", "unanchored"});
}

namespace {

struct FailingRig {
  FailingRig() {
    REQUIRE(files.make_directory(directory.path() + "/log").ok());
    std::filesystem::create_directories(directory.path() + "/log");
    Options options = options_in(directory.path());
    options.shared = false;
    options.files = &files;
    log = open(options);
    for (int i = 0; i < 30; ++i) append(*log, kChain, "ten_1", std::string(9000, '.'));
    REQUIRE(log->flush().ok());
    REQUIRE(log->tend().ok());
  }
  TempDir directory;
  FaultyFiles files;
  std::unique_ptr<Log> log;
};

// One failure of the n-th operation of a prune; false when there were not so many.
bool fails_once(Code code, size_t which) {
  FailingRig rig;
  size_t seen = 0;
  bool failed = false;
  rig.files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    if (seen++ != which) return std::nullopt;
    failed = true;
    return Error{code, call.path + ": injected"};
  });
  const Result<PruneResult> done = rig.log->prune(kChain, 20);
  rig.files.set_fault(nullptr);
  const std::string& directory = rig.directory.path();
  const auto still = checked(directory, {}, 0, rig.files);
  INFO(shown(still));
  CHECK(still.verdict == Verdict::kQualified);
  REQUIRE(rig.log->flush().ok());
  REQUIRE(rig.log->tend().ok());
  REQUIRE(rig.log->tend().ok());
  CHECK_FALSE(rig.log->health().failing);
  CHECK(rig.files.misuses() == 0);
  const uint64_t kept = kept_in(directory, kChain, rig.files);
  CHECK((kept > 0) == done.ok());
  const auto all = list_segment_files(rig.files, directory + "/log/segments");
  CHECK((*all)[index(kChain)].stubs.size() == (done.ok() ? 3 : 0));
  CHECK((*all)[index(kChain)].segments.front() == kept);
  const Result<PruneResult> again = rig.log->prune(kChain, 20);
  if (!again) FAIL(again.error().message);
  CHECK(again->kept_from == 19);
  const Report report = checked(directory, {}, 0, rig.files);
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kQualified);
  return failed;
}

}  // namespace

TEST_CASE("an operation of a prune that fails leaves all or nothing, and the next one works") {
  for (const Code code : {Code::kIo, Code::kFull}) {
    size_t failures = 0;
    for (size_t which = 0; which < 200; ++which) {
      INFO("operation " << which << ", code " << code_name(code));
      if (!fails_once(code, which)) break;
      ++failures;
    }
    CHECK(failures >= 15);
  }
}

namespace {

// A pruned log in memory, and the tools of somebody who tampers with it.
struct Tampered {
  Tampered() {
    Pruning pruning;
    note = pruning.checkpoint();
    kept = pruning.prune(20).kept_from;
    REQUIRE(pruning.log->close().ok());
    path = pruning.path();
    files = MemoryFiles::load(path);
  }
  std::string& stub(uint64_t first) {
    return files.content.at(path + "/log/segments/" + stub_name(kChain, first));
  }
  EpochKey key() { return read_key(files, path + "/keys/log.verify")->key; }
  void seal(std::string* bytes, size_t from, size_t end) {
    fix_mac(bytes, from, end);
    fix_crc(bytes, from, end);
  }
  void fix_mac(std::string* bytes, size_t from, size_t end) {
    const Tag mac = key().file_key().mac(std::string_view(*bytes).substr(from, end - from - 36));
    bytes->replace(end - 36, 32, as_view(mac));
  }
  static void fix_crc(std::string* bytes, size_t from, size_t end) {
    put(bytes->data() + end - 4, crc32c(std::string_view(*bytes).substr(from, end - from - 4)));
  }
  // The first damage, as "code file offset".
  std::string damage() {
    const Report report = checked(path, {note}, 0, files);
    INFO(shown(report));
    const Finding* const found = report.first(Verdict::kTampered);
    if (found == nullptr) return "none";
    return found->code + " " + found->file + " " + std::to_string(found->offset);
  }
  std::string at(const std::string& code, uint64_t first, uint64_t offset = 0) {
    return code + " segments/" + stub_name(kChain, first) + " " + std::to_string(offset);
  }

  std::string path;
  std::string note;
  uint64_t kept = 0;
  MemoryFiles files;
};

}  // namespace

TEST_CASE("whoever tampers with stubs is found out") {
  static const Tampered original;
  Tampered log = original;
  REQUIRE(log.damage() == "none");
  const std::string first = stub_name(kChain, 0);
  const std::string second = stub_name(kChain, 7);
  const std::string directory = log.path + "/log/segments/";
  SECTION("one is gone, in front") {
    log.files.content.erase(directory + first);
    CHECK(log.damage() == log.at("stub_missing", 0));
  }
  SECTION("one is gone, in the middle") {
    log.files.content.erase(directory + second);
    CHECK(log.damage() == log.at("stub_missing", 7));
  }
  SECTION("the last one is gone") {
    log.files.content.erase(directory + stub_name(kChain, 13));
    CHECK(log.damage() == log.at("stub_missing", 13));
  }
  SECTION("all are gone") {
    log.files.content.erase(directory + first);
    log.files.content.erase(directory + second);
    log.files.content.erase(directory + stub_name(kChain, 13));
    CHECK(log.damage() == log.at("stub_missing", 0));
  }
  SECTION("one was edited") {
    log.stub(0)[200] ^= 1;
    CHECK(log.damage() == log.at("stub_damaged", 0));
  }
  SECTION("bytes were added") {
    log.stub(7) += 'x';
    CHECK(log.damage() == log.at("stub_damaged", 7));
  }
  SECTION("one was edited, with a checksum that is right") {
    std::string& bytes = log.stub(7);
    bytes[kSegmentHeaderBytes + 80] ^= 1;
    Tampered::fix_crc(&bytes, kSegmentHeaderBytes, bytes.size());
    CHECK(log.damage() == log.at("stub_mac", 7));
  }
  SECTION("two were swapped") {
    std::swap(log.stub(0), log.stub(7));
    CHECK(log.damage() == log.at("stub_content", 0));
  }
  SECTION("somebody with the file key changes a tenant's head") {
    std::string& bytes = log.stub(13);
    bytes[bytes.size() - 36 - 1] ^= 1;  // the tag of the last entry
    log.seal(&bytes, kSegmentHeaderBytes, bytes.size());
    CHECK(log.damage().find("tenant_previous") == 0);
  }
  SECTION("somebody with the file key changes a hash of the tree") {
    std::string& bytes = log.stub(13);
    bytes[kSegmentHeaderBytes + 112] ^= 1;
    log.seal(&bytes, kSegmentHeaderBytes, bytes.size());
    CHECK(log.damage().find("segment_link") == 0);
  }
  SECTION("somebody with the file key gives a cut segment's stub another seal") {
    std::string& bytes = log.stub(0);
    put(bytes.data() + kSegmentHeaderBytes + 20, uint32_t{0});
    put(bytes.data() + kSegmentHeaderBytes + 64, uint64_t{70'000});
    log.seal(&bytes, kSegmentHeaderBytes, bytes.size());
    CHECK(log.damage() == "pruned_content segments/" + segment_name(kChain, log.kept) + " 0");
  }
}

TEST_CASE("any changed byte of a stub is found") {
  static const Tampered original;
  Tampered log = original;
  std::string& bytes = log.stub(0);
  for (size_t i = 0; i < bytes.size(); i += i < 80 || i > kSegmentHeaderBytes - 40 ? 3 : 97) {
    bytes[i] ^= 0x20;
    INFO("byte " << i);
    CHECK(log.damage().find(" segments/" + stub_name(kChain, 0)) != std::string::npos);
    bytes[i] ^= 0x20;
  }
}

TEST_CASE("segments that somebody with the file key turned into stubs lack a record") {
  Pruning pruning;
  const std::string note = pruning.checkpoint();
  REQUIRE(pruning.log->close().ok());
  MemoryFiles files = MemoryFiles::load(pruning.path());
  const EpochKey key = read_key(files, pruning.path() + "/keys/log.verify")->key;
  const Paths paths(pruning.path());
  Manifest manifest = *read_manifest(files, paths);
  auto& entries = manifest.segments[index(kChain)];
  const ManifestEntry gone = entries.front();
  files.content[pruning.stub(0)] =
      *make_stub(files, paths.segments, key.log_id(), kChain, gone, {0, key.file_key()});
  entries.erase(entries.begin());
  manifest.kept_from[index(kChain)] = gone.end;
  files.content[paths.log + "/manifest"] = manifest.block({0, key.file_key()});
  files.content.erase(pruning.segment(0));
  const Report report = checked(pruning.path(), {note}, 0, files);
  INFO(shown(report));
  CHECK(codes(report) == Codes{"pruned", "pruned_missing"});
  // And where the manifest does not say so, a segment is missing.
  files.content[paths.log + "/manifest"] =
      MemoryFiles::load(pruning.path()).content.at(paths.log + "/manifest");
  CHECK(has(checked(pruning.path(), {note}, 0, files), "segment_missing"));
}
