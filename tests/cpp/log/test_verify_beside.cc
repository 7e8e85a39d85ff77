// Verification beside a log that is written to: whatever happens between two of its reads, nobody
// is told of tampering.
#include <algorithm>
#include <filesystem>
#include <functional>
#include <utility>

#include "faulty_files.h"
#include "rig.h"
#include "tenancy/log/store.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

// Files of which each look calls a function first.
class BusyFiles final : public Files {
 public:
  explicit BusyFiles(Files& files) : files_(files) {}
  std::function<void(size_t look)> before{};
  size_t looks() const { return looks_; }

  Result<std::unique_ptr<File>> open(const std::string& path, OpenMode mode) override {
    look();
    Result<std::unique_ptr<File>> file = files_.open(path, mode);
    if (!file) return file.status();
    return std::unique_ptr<File>(std::make_unique<Watched>(*this, std::move(*file)));
  }
  Status rename(const std::string& from, const std::string& to) override {
    return files_.rename(from, to);
  }
  Status remove(const std::string& path) override { return files_.remove(path); }
  Status make_directory(const std::string& path) override { return files_.make_directory(path); }
  Status sync_directory(const std::string& path) override { return files_.sync_directory(path); }
  Result<std::vector<std::string>> list(const std::string& path) override {
    look();
    return files_.list(path);
  }

 private:
  class Watched final : public File {
   public:
    Watched(BusyFiles& files, std::unique_ptr<File> file) : files_(files), file_(std::move(file)) {}
    Status read_at(uint64_t offset, size_t bytes, std::string* out) override {
      files_.look();
      return file_->read_at(offset, bytes, out);
    }
    Status write_at(uint64_t offset, std::string_view data) override {
      return file_->write_at(offset, data);
    }
    Status sync() override { return file_->sync(); }
    Status allocate(uint64_t bytes) override { return file_->allocate(bytes); }
    Status truncate(uint64_t bytes) override { return file_->truncate(bytes); }
    Result<uint64_t> size() override {
      files_.look();
      return file_->size();
    }

   private:
    BusyFiles& files_;
    std::unique_ptr<File> file_;
  };
  void look() {
    const size_t now = looks_++;
    if (before) before(now);
  }

  Files& files_;
  size_t looks_ = 0;
};

// A log of some segments, with a checkpoint and a sealed field.
struct Subject {
  Subject() {
    for (const char* name : {"/log", "/keys"}) {
      REQUIRE(files.make_directory(directory.path() + name).ok());
      std::filesystem::create_directories(directory.path() + name);
    }
    Options options = options_in(directory.path());
    options.shared = false;
    options.files = &files;
    log = open(options);
    fill(11);  // a segment and a bit
    const Field about[] = {{FieldId::kPrincipal, Value::text("ada"), {}, true}};
    REQUIRE(log->append({Class::kAccess, "ten_1", about, 0, "ada"}, Ack::kDisk).ok());
    REQUIRE(log->checkpoint().ok());
  }
  void fill(int records) {
    const std::string filler(7000, '.');
    for (int i = 0; i < records; ++i) append(*log, Class::kAccess, "ten_1", filler, Ack::kDisk);
  }
  Report judged(Files& through) {
    VerifyOptions options;
    options.log_directory = directory.path() + "/log";
    options.key_path = directory.path() + "/keys/log.verify";
    options.subjects_path = directory.path() + "/keys/subjects";
    return verify(through, options);
  }

  TempDir directory;
  FaultyFiles files;
  std::unique_ptr<Log> log;
};

struct Event {
  const char* name;
  size_t step;  // of the looks, each or some
  std::function<void(Subject&)> run;
};

const std::vector<Event> kEvents = {
    {"a segment is rolled", 3, [](Subject& s) { s.fill(10); }},
    {"a checkpoint is made", 3, [](Subject& s) { REQUIRE(s.log->checkpoint().ok()); }},
    {"keys are rotated", 3, [](Subject& s) { REQUIRE(s.log->rotate().ok()); }},
    {"segments are pruned", 1,
     [](Subject& s) {
       const auto done = s.log->prune(Class::kAccess, s.log->position(Class::kAccess));
       REQUIRE(done.ok());
       REQUIRE_FALSE(done->segments.empty());
     }},
    {"a person is erased", 3,
     [](Subject& s) { REQUIRE(s.log->erase("ten_1", "ada", "dpo", "asked").ok()); }},
    {"a person comes and is erased", 3,
     [](Subject& s) {
       const Field about[] = {{FieldId::kPrincipal, Value::text("eve"), {}, true}};
       REQUIRE(s.log->append({Class::kAccess, "ten_1", about, 0, "eve"}, Ack::kDisk).ok());
       REQUIRE(s.log->erase("ten_1", "eve", "dpo", "asked").ok());
     }},
    {"all of it", 1,
     [](Subject& s) {
       s.fill(10);
       REQUIRE(s.log->rotate().ok());
       REQUIRE(s.log->checkpoint().ok());
       REQUIRE(s.log->prune(Class::kAccess, s.log->position(Class::kAccess)).ok());
       REQUIRE(s.log->erase("ten_1", "ada", "dpo", "asked").ok());
     }},
};

}  // namespace

TEST_CASE("verification beside a log is not misled by what happens between two of its reads") {
  for (const Event& event : kEvents) {
    size_t looks = 1;
    for (size_t at = 0; at < looks; at += event.step) {
      Subject subject;
      BusyFiles watched(subject.files);
      bool done = false;
      watched.before = [&](size_t look) {
        if (look == at && !std::exchange(done, true)) event.run(subject);
      };
      const Report report = subject.judged(watched);
      INFO(event.name << " before look " << at << ": " << shown(report));
      REQUIRE(done);
      REQUIRE(report.verdict == Verdict::kQualified);
      for (const Finding& finding : report.findings) {
        const bool expected =
            finding.code == "unanchored" || finding.code == "pruned" || finding.code == "erasing";
        REQUIRE(expected);
      }
      looks = watched.looks();
    }
    CHECK(looks > 20);
  }
}

TEST_CASE("a log that is pruned whenever it is read is busy, and not tampered with") {
  Subject subject;
  subject.fill(80);
  BusyFiles watched(subject.files);
  uint64_t before = 9;
  bool inside = false;
  watched.before = [&](size_t look) {
    if (inside || look % 8 != 7) return;
    inside = true;
    // One segment each time, as the log reads on.
    const auto pruned = subject.log->prune(Class::kAccess, before);
    REQUIRE(pruned.ok());
    before += 9;
    subject.fill(9);
    inside = false;
  };
  const Report report = subject.judged(watched);
  INFO(shown(report));
  REQUIRE(report.verdict == Verdict::kCannotVerify);
  REQUIRE(report.findings.size() == 1);
  CHECK(report.findings[0].code == "busy");
  watched.before = nullptr;
  CHECK(subject.judged(watched).verdict == Verdict::kQualified);
}

TEST_CASE("what is tampered with stays so beside a log that is written to") {
  Subject subject;
  const std::string segment =
      subject.directory.path() + "/log/segments/" + segment_name(Class::kAccess, 0);
  subject.files.content(segment)[5000] ^= 1;
  BusyFiles watched(subject.files);
  bool inside = false;
  watched.before = [&](size_t) {
    if (std::exchange(inside, true)) return;
    subject.fill(1);
    REQUIRE(subject.log->checkpoint().ok());
    inside = false;
  };
  const Report report = subject.judged(watched);
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kTampered);
  CHECK(has(report, "record_damaged"));
}
