// Sealed fields, and what is left when their key is destroyed.
#include <filesystem>

#include "faulty_files.h"
#include "rig.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/sealing.h"
#include "tenancy/log/segment.h"
#include "victim.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

Result<Position> append_about(Log& log, std::string_view subject, std::string_view ip,
                              Ack ack = Ack::kRing) {
  const Field fields[] = {{FieldId::kType, Value::text("data_read"), {}},
                          {FieldId::kPrincipal, Value::text(subject), {}, true},
                          {FieldId::kIp, Value::text(ip), {}, true},
                          {FieldId::kReason, Value::null(), {}, true},
                          {FieldId::kNamed, Value::integer(-7), "age", true},
                          {FieldId::kNamed, Value::text("open"), "note"}};
  return log.append({Class::kAccess, "acme", fields, 0, subject}, ack);
}

// The events of `access`, each with its fields as text, opened where they can be.
std::vector<std::map<std::string, std::string>> opened(const std::string& directory, Files& files) {
  Result<std::unique_ptr<Reader>> reader =
      Reader::open(files, directory + "/log", Class::kAccess, 0);
  if (!reader) FAIL(reader.error().message);
  Opener opener(files, directory + "/keys");
  std::vector<std::map<std::string, std::string>> events;
  RecordView record;
  while (true) {
    const Result<bool> more = (*reader)->next(&record);
    if (!more) FAIL(more.error().message);
    if (!*more) return events;
    if (record.kind() != Kind::kEvent) continue;
    auto& event = events.emplace_back();
    FieldCursor cursor = record.fields();
    Field field;
    while (cursor.next(&field)) {
      const std::string name = field.id == FieldId::kNamed
                                   ? std::string(field.name)
                                   : std::string(event_field_name(field.id));
      std::string plain;
      if (field.value.type == ValueType::kSealed) {
        const Result<bool> open = opener.open(&field, &plain);
        if (!open) FAIL(open.error().message);
        if (!*open) {
          event[name] = "closed";
          continue;
        }
      }
      std::array<char, 8> number{};
      event[name] = std::string(value_bytes(field.value, &number));
    }
  }
}

Report judged(const std::string& directory, Files& files = Files::system()) {
  VerifyOptions options;
  options.log_directory = directory + "/log";
  options.key_path = directory + "/keys/log.verify";
  options.subjects_path = directory + "/keys/subjects";
  return verify(files, options);
}

// Nothing but that nobody keeps an anchor; torn tails after a kill are no news either.
void check_whole(const Report& report) {
  INFO(shown(report));
  CHECK(report.first(Verdict::kTampered) == nullptr);
  CHECK(report.first(Verdict::kCannotVerify) == nullptr);
}

const Finding& found(const Report& report, std::string_view code) {
  for (const Finding& finding : report.findings) {
    if (finding.code == code) return finding;
  }
  FAIL(std::string(code) + " is not in " + shown(report));
  return report.findings.front();
}

// A log on a disk of its own whose power can be cut.
struct Disk {
  Disk() {
    for (const char* name : {"/log", "/keys"}) {
      REQUIRE(files.make_directory(directory.path() + name).ok());
      std::filesystem::create_directories(directory.path() + name);
    }
    options = options_in(directory.path());
    options.shared = false;
    options.files = &files;
  }
  TempDir directory;
  FaultyFiles files;
  Options options;
};

}  // namespace

TEST_CASE("personal fields are sealed in the files and open with the key") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  REQUIRE(append_about(*log, "ada@example.com", "192.0.2.77", Ack::kDisk).ok());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory.path())) {
    if (!entry.is_regular_file() || entry.path().filename() == "ring") continue;
    const Result<std::string> bytes = read_file(Files::system(), entry.path().string(), 1U << 30);
    INFO(entry.path().string());
    CHECK(bytes->find("ada@example.com") == std::string::npos);
    CHECK(bytes->find("192.0.2.77") == std::string::npos);
  }
  const auto events = opened(directory.path(), Files::system());
  REQUIRE(events.size() == 1);
  CHECK(events[0].at("principal") == "ada@example.com");
  CHECK(events[0].at("ip") == "192.0.2.77");
  CHECK(get<int64_t>(events[0].at("age").data()) == -7);
  CHECK(events[0].at("note") == "open");
  CHECK(events[0].at("reason").empty());
  const Report report = judged(directory.path());
  check_whole(report);
  CHECK(report.chains[index(Class::kAccess)].sealed == 3);  // a null is not sealed
}

TEST_CASE("without a subject nothing is sealed and no file made") {
  const TempDir directory;
  const auto log = open(options_in(directory.path()));
  const Field fields[] = {{FieldId::kPrincipal, Value::text("ada"), {}, true}};
  REQUIRE(log->append({Class::kAccess, "acme", fields, 0, {}}, Ack::kDisk).ok());
  CHECK(opened(directory.path(), Files::system())[0].at("principal") == "ada");
  CHECK_FALSE(std::filesystem::exists(directory.path() + "/keys/subjects"));
}

TEST_CASE("erasing closes a subject's fields for good, is recorded, and no other's") {
  const TempDir directory;
  Options options = options_in(directory.path());
  options.background = true;
  const auto log = open(options);
  const auto other = open(options);
  REQUIRE(append_about(*log, "ada", "192.0.2.1").ok());
  REQUIRE(append_about(*log, "bob", "192.0.2.2", Ack::kDisk).ok());
  CHECK(log->erase("globex", "ada", "op", "asked").error().code == Code::kNotFound);
  CHECK(log->erase("acme", "eve", "op", "asked").error().code == Code::kNotFound);
  CHECK(log->erase("acme", "ada", "", "asked").error().code == Code::kInvalidArgument);
  const auto key = log->subject_key("acme", "ada");
  REQUIRE(key.ok());
  const Result<Erasure> done = other->erase("acme", "ada", "op", "asked");
  REQUIRE(done.ok());
  CHECK(done->key_id == *key);
  CHECK(log->subject_key("acme", "ada").error().code == Code::kNotFound);
  auto events = opened(directory.path(), Files::system());
  CHECK(events[0].at("principal") == "closed");
  CHECK(events[0].at("age") == "closed");
  CHECK(events[0].at("note") == "open");
  CHECK(events[1].at("principal") == "bob");
  // The other process seals what comes with another key.
  REQUIRE(append_about(*log, "ada", "192.0.2.3", Ack::kDisk).ok());
  events = opened(directory.path(), Files::system());
  CHECK(events[0].at("ip") == "closed");
  CHECK(events[2].at("ip") == "192.0.2.3");
  check_whole(judged(directory.path()));

  Result<std::unique_ptr<Reader>> reader =
      Reader::open(Files::system(), directory.path() + "/log", Class::kSecurity, done->sequence);
  RecordView record;
  REQUIRE(*(*reader)->next(&record));
  CHECK(record.kind() == Kind::kErased);
  CHECK(record.tenant() == "acme");
  CHECK(record.find(FieldId::kSubjectKey)->bytes == view_of(done->key_id));
  CHECK(record.find(FieldId::kPrincipal)->bytes == "op");
  CHECK(log->erase("acme", "ada", "op", "again").ok());
  CHECK(log->erase("acme", "ada", "op", "again").error().code == Code::kNotFound);
}

TEST_CASE("no power cut leaves a record whose fields were sealed with a key that is lost") {
  Disk disk;
  const auto log = open(disk.options);
  REQUIRE(log->flush().ok());
  const size_t begin = disk.files.operations();
  for (int i = 0; i < 6; ++i) {
    REQUIRE(append_about(*log, "p" + std::to_string(i), "192.0.2.1").ok());
    REQUIRE(log->flush(i % 2 == 0 ? Ack::kOs : Ack::kDisk).ok());
  }
  const size_t end = disk.files.operations();
  REQUIRE(log->close().ok());
  for (size_t cut = begin; cut <= end; ++cut) {
    for (uint64_t seed = 0; seed < 6; ++seed) {
      const auto keep = seed == 0   ? FaultyFiles::Keep::kNothing
                        : seed == 1 ? FaultyFiles::Keep::kAll
                                    : FaultyFiles::Keep::kSome;
      const auto files = disk.files.after_power_cut(cut, keep, seed);
      Options options = disk.options;
      options.files = files.get();
      REQUIRE(open(options)->close().ok());
      for (const auto& event : opened(disk.directory.path(), *files)) {
        INFO("cut " << cut << " seed " << seed);
        REQUIRE(event.at("principal") != "closed");
      }
      check_whole(judged(disk.directory.path(), *files));
    }
  }
}

TEST_CASE("an erasure that a power cut or a kill breaks off was not begun or is finished") {
  Disk disk;
  const auto log = open(disk.options);
  REQUIRE(append_about(*log, "ada", "192.0.2.1", Ack::kDisk).ok());
  const size_t begin = disk.files.operations();
  REQUIRE(log->erase("acme", "ada", "op", "asked").ok());
  const size_t end = disk.files.operations();
  CHECK(end > begin + 5);
  REQUIRE(log->close().ok());
  bool before = false;
  bool after = false;
  for (size_t cut = begin; cut <= end; ++cut) {
    // All kept is what a kill leaves.
    for (uint64_t seed = 0; seed < 6; ++seed) {
      const auto keep = seed == 0   ? FaultyFiles::Keep::kNothing
                        : seed == 1 ? FaultyFiles::Keep::kAll
                                    : FaultyFiles::Keep::kSome;
      const auto files = disk.files.after_power_cut(cut, keep, seed);
      Options options = disk.options;
      options.files = files.get();
      REQUIRE(open(options)->close().ok());
      INFO("cut " << cut << " of " << begin << " to " << end << ", seed " << seed);
      const bool closed = opened(disk.directory.path(), *files)[0].at("principal") == "closed";
      (closed ? after : before) = true;
      const Report report = judged(disk.directory.path(), *files);
      check_whole(report);
      CHECK_FALSE(has(report, "erasing"));
      CHECK_FALSE(files->exists(disk.directory.path() + "/keys/subjects.erasing"));
      if (cut == end) REQUIRE(closed);
    }
  }
  CHECK(before);
  CHECK(after);
}

TEST_CASE("killed while they erase, processes leave records and keys that agree") {
  const TempDir directory;
  Options options = options_in(directory.path());
  options.background = true;
  options.clock = nullptr;
  options.ack_wait_ns = options.full_wait_ns = 120'000'000'000;
  for (int round = 0; round < 8; ++round) {
    Victim victim([&](int to) {
      const Result<std::unique_ptr<Log>> log = Log::open(options);
      for (int i = 0; log; ++i) {
        const std::string name = std::to_string(round) + "." + std::to_string(i);
        if (!append_about(**log, name, "192.0.2.1")) _exit(2);
        if (!(*log)->erase("acme", name, "op", "asked")) _exit(3);
        say(to, name + "\n");
      }
    });
    victim.wait_for_lines(static_cast<size_t>(1 + round));
    (void)victim.kill_and_read();
    REQUIRE(open(options)->close().ok());
    const Report report = judged(directory.path());
    check_whole(report);
    CHECK_FALSE(has(report, "erasing"));
  }
}

TEST_CASE("a disk that is full when the record is to be written leaves an erasure to be finished") {
  Disk disk;
  disk.options.ack_wait_ns = 1;
  const auto log = open(disk.options);
  REQUIRE(append_about(*log, "ada", "192.0.2.1").ok());
  REQUIRE(log->flush().ok());
  bool erasing = false;
  disk.files.set_fault([&](const FaultyFiles::Call& call, size_t) -> std::optional<Error> {
    erasing |= call.path.find("subjects.erasing") != std::string::npos;
    const bool segment = call.path.find("/segments/") != std::string::npos;
    if (erasing && segment) return Error{Code::kFull, "no space"};
    return std::nullopt;
  });
  REQUIRE_FALSE(log->erase("acme", "ada", "op", "asked").ok());
  CHECK(opened(disk.directory.path(), disk.files)[0].at("principal") == "closed");
  disk.files.set_fault({});
  REQUIRE(log->finish_erasure().ok());
  check_whole(judged(disk.directory.path(), disk.files));
  CHECK(log->erase("acme", "ada", "op", "asked").error().code == Code::kNotFound);
}

// ------------------------------------------------------------------------- threats, by their code

namespace {

struct Target : Disk {
  Target() {
    const auto log = open(options);
    REQUIRE(append_about(*log, "ada", "192.0.2.1").ok());
    REQUIRE(append_about(*log, "bob", "192.0.2.2", Ack::kDisk).ok());
    before = files.content(keys());
    const Result<Erasure> done = log->erase("acme", "ada", "op", "asked");
    REQUIRE(done.ok());
    erasure = *done;
    REQUIRE(log->close().ok());
    check_whole(judge());
  }
  std::string keys() const { return directory.path() + "/keys/subjects"; }
  std::string security() const {
    return directory.path() + "/log/segments/" + segment_name(Class::kSecurity, 0);
  }
  Report judge() { return judged(directory.path(), files); }
  // Where the `erased` record is.
  std::pair<size_t, size_t> place() {
    const std::string& bytes = files.content(security());
    RecordView record;
    for (size_t at = kSegmentHeaderBytes;
         RecordView::parse(std::string_view(bytes).substr(at), &record) == Framing::kRecord;
         at += record.size()) {
      if (record.sequence() == erasure.sequence) return {at, record.size()};
    }
    FAIL("no such record");
    return {};
  }

  std::string before;  // the file of keys before the erasure
  Erasure erasure;
};

}  // namespace

TEST_CASE("threat: the record of an erasure is removed") {
  Target target;
  const auto [at, bytes] = target.place();
  target.files.content(target.security()).erase(at, bytes);
  const Report report = target.judge();
  const Finding& chain = found(report, "record_sequence");
  CHECK(chain.offset == at);
  const Finding& missing = found(report, "erased_missing");
  CHECK(missing.verdict == Verdict::kTampered);
  CHECK(missing.chain == 0);
  CHECK(missing.sequence == target.erasure.sequence);
  CHECK(missing.file == "keys/subjects");
  CHECK(missing.offset == kSubjectSlotBytes);
}

TEST_CASE("threat: a key is destroyed and nothing said") {
  Target target;
  SubjectSlot bob = *SubjectSlot::parse(
      std::string_view(target.files.content(target.keys())).substr(2 * kSubjectSlotBytes));
  bob.state = SubjectState::kErased;
  bob.sequence = 2;
  target.files.content(target.keys())
      .replace(2 * kSubjectSlotBytes, kSubjectSlotBytes, bob.bytes());
  const Finding missing = found(target.judge(), "erased_missing");
  CHECK(missing.offset == 2 * kSubjectSlotBytes);
  CHECK(missing.sequence == 2);
}

TEST_CASE("threat: a key that was destroyed is brought back") {
  Target target;
  target.files.content(target.keys()) = target.before;
  const Finding undone = found(target.judge(), "erased_undone");
  CHECK(undone.verdict == Verdict::kTampered);
  CHECK(undone.chain == 0);
  CHECK(undone.sequence == target.erasure.sequence);
  CHECK(undone.file == "segments/" + segment_name(Class::kSecurity, 0));
  CHECK(undone.offset == target.place().first);
}

TEST_CASE("threat: the file of keys is taken away, cut, or damaged") {
  Target target;
  SECTION("taken away") {
    REQUIRE(target.files.remove(target.keys()).ok());
    const Finding gone = found(target.judge(), "subject_key_missing");  // bob's; ada's is recorded
    CHECK(gone.chain == static_cast<int>(index(Class::kAccess)));
    CHECK(gone.sequence == 2);
  }
  SECTION("cut") {
    target.files.content(target.keys()).resize(2 * kSubjectSlotBytes);
    CHECK(found(target.judge(), "subject_key_missing").sequence == 2);
  }
  SECTION("a slot damaged") {
    target.files.content(target.keys())[2 * kSubjectSlotBytes + 60] ^= 1;
    const Report report = target.judge();
    CHECK(found(report, "subjects_torn").offset == 2 * kSubjectSlotBytes);
    CHECK(found(report, "subject_key_missing").sequence == 2);
  }
  SECTION("the header damaged") {
    target.files.content(target.keys())[40] ^= 1;
    CHECK(found(target.judge(), "subjects_damaged").file == "keys/subjects");
  }
}
