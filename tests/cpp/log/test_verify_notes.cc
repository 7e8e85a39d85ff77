// Checkpoints, anchors, silence and repairs as verification sees them.
#include "catch.h"
#include "reports.h"
#include "sample.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

const Sample& original() {
  static const Sample sample = make_sample();
  return sample;
}

std::vector<std::string> notes_of(Sample& sample) {
  uint64_t end = 0;
  const std::vector<std::string_view> views = split_checkpoints(sample.file("checkpoints"), &end);
  return {views.begin(), views.end()};
}

void set_notes(Sample& sample, const std::vector<std::string>& notes) {
  std::string& file = sample.file("checkpoints");
  file.clear();
  for (const std::string& note : notes) file += frame_checkpoint(note);
}

Ed25519Seed seed_of(Sample& sample) {
  return *read_seed(sample.files, sample.root + "/keys/log.sign");
}

Checkpoint open(Sample& sample, const std::string& note) {
  const Ed25519Public key = ed25519_public(seed_of(sample));
  return *open_note(note, {log_origin(sample.key().log_id()), key});
}

std::string resign(Sample& sample, const Checkpoint& checkpoint) {
  const Ed25519Seed seed = seed_of(sample);
  return sign_note(checkpoint, seed, ed25519_public(seed));
}

const Finding& first_damage(const Report& report) {
  REQUIRE(report.verdict == Verdict::kTampered);
  return *report.first(Verdict::kTampered);
}

// The files of a log while its writer goes on: `then` runs before the log is closed.
struct Writer {
  TemporaryDirectory directory;
  std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>(kStartNs);
  std::unique_ptr<Log> log;

  Writer() { open(); }
  void open() {
    Options options;
    options.directory = directory.path();
    options.host = "host-1";
    options.shared = false;
    options.background = false;
    options.segment_bytes = 65536;
    options.ring_bytes = 1U << 20;
    options.clock = clock;
    auto opened = Log::open(options);
    REQUIRE(opened.ok());
    log = std::move(*opened);
  }
  void append(Class chain = Class::kAccess) {
    const Field fields[] = {{FieldId::kType, Value::text("login"), {}}};
    Entry entry;
    entry.chain = chain;
    entry.tenant = "ten_a";
    entry.fields = fields;
    REQUIRE(log->append(entry).ok());
  }
  void close() {
    REQUIRE(log->close().ok());
    log.reset();
  }
  Sample sample() const { return {directory.path(), MemoryFiles::load(directory.path())}; }
};

}  // namespace

TEST_CASE("checkpoints cannot be edited, exchanged, removed or made up") {
  Sample sample = original();
  std::vector<std::string> notes = notes_of(sample);
  REQUIRE(notes.size() == 4);
  const uint64_t second = 8 + notes[0].size();
  const auto damage = [&] {
    set_notes(sample, notes);
    const Report report = sample.verify();
    const Finding& finding = first_damage(report);
    CHECK(finding.file == "checkpoints");
    return finding.code + " " + std::to_string(finding.offset);
  };
  SECTION("a flipped bit before others") {
    sample.file("checkpoints")[second + 30] ^= 1;
    const Report report = sample.verify();
    CHECK(first_damage(report).code == "checkpoint_damaged");
    CHECK(first_damage(report).offset == second);
  }
  SECTION("edited") {
    const size_t at = notes[1].find("chain access ") + 13;
    notes[1][at] = notes[1][at] == '9' ? '8' : '9';
    CHECK(damage() == "checkpoint_signature " + std::to_string(second));
    const std::vector<std::string> all = codes(sample.verify());
    CHECK(std::count(all.begin(), all.end(), "checkpoint_content") == 1);  // its record says so
  }
  SECTION("exchanged") {
    std::swap(notes[1], notes[2]);
    CHECK(damage() == "checkpoint_content " + std::to_string(second));
  }
  SECTION("the last is gone") {
    notes.pop_back();
    const std::string first = damage();
    CHECK(first == "checkpoint_missing " + std::to_string(sample.file("checkpoints").size()));
  }
  SECTION("all are gone") {
    sample.remove("checkpoints");
    CHECK(first_damage(sample.verify()).code == "checkpoint_missing");
  }
  SECTION("with the signing key: another root of a chain") {
    Checkpoint changed = open(sample, notes[3]);
    changed.chains[1].root[0] ^= 1;
    notes[3] = resign(sample, changed);
    set_notes(sample, notes);
    const std::vector<std::string> all = codes(sample.verify());
    CHECK(std::count(all.begin(), all.end(), "checkpoint_tree") == 1);
  }
  SECTION("with the signing key: consistent in itself, and not with the records") {
    std::vector<Digest256> leaves;
    for (size_t i = 0; i < 4; ++i) {
      Checkpoint changed = open(sample, notes[i]);
      if (i == 2) changed.chains[1].root[0] ^= 1;
      if (i == 3) changed.chains[0].tenants += 1;
      leaves.push_back(leaf_hash(changed.leaf()));
      changed.root = merkle_root(leaves);
      notes[i] = resign(sample, changed);
    }
    set_notes(sample, notes);
    const Report report = sample.verify();
    const auto find = [&](const char* code) {
      return std::find_if(report.findings.begin(), report.findings.end(),
                          [&](const Finding& finding) { return finding.code == code; });
    };
    REQUIRE(find("checkpoint_root") != report.findings.end());
    CHECK(find("checkpoint_root")->chain == 1);
    CHECK(find("checkpoint_root")->sequence == open(sample, notes[2]).chains[1].size);
    REQUIRE(find("checkpoint_tenants") != report.findings.end());
    CHECK(find("checkpoint_tenants")->chain == 0);
  }
  SECTION("a torn one at the end") {
    sample.file("checkpoints") += frame_checkpoint(notes[3]).substr(0, 100);
    const Report report = sample.verify({notes[3]});
    CHECK(report.verdict == Verdict::kQualified);
    CHECK(codes(report) == std::vector<std::string>{"checkpoint_torn"});
  }
}

TEST_CASE("an anchor shows that the whole directory was replaced by an older copy") {
  Writer writer;
  writer.append();
  REQUIRE(writer.log->checkpoint().ok());
  REQUIRE(writer.log->flush().ok());
  Sample old = writer.sample();
  writer.append();
  const std::string anchor = *writer.log->checkpoint();
  writer.close();
  CHECK(writer.sample().verify({anchor}).verdict == Verdict::kWhole);

  const Report report = old.verify({anchor});
  CHECK(report.verdict == Verdict::kTampered);
  CHECK(codes(report) == std::vector<std::string>{"rolled_back"});
  // Without one nobody can see it, and verification says that.
  CHECK(old.verify().verdict == Verdict::kQualified);
  CHECK(codes(old.verify()) == std::vector<std::string>{"unanchored"});
}

TEST_CASE("anchors are of this log, signed by its key, and agree with it") {
  Sample sample = original();
  const std::vector<std::string> notes = notes_of(sample);
  CHECK(sample.verify({notes[0], notes[3]}).verdict == Verdict::kWhole);
  SampleOptions small;
  small.events = 3;
  Sample other = make_sample(small);
  const auto refused = [&](const std::string& anchor) {
    const Report report = sample.verify({notes[0], anchor});
    const Finding& finding = first_damage(report);
    return finding.code;
  };
  CHECK(refused(other.note()) == "anchor_signature");
  CHECK(refused("") == "anchor_signature");
  CHECK(refused(notes[1].substr(0, 300)) == "anchor_signature");
  Checkpoint changed = open(sample, notes[2]);
  changed.chains[1].root[3] ^= 1;
  CHECK(refused(resign(sample, changed)) == "anchor_mismatch");
  changed = open(sample, notes[2]);
  changed.time_ns += 1;
  CHECK(refused(resign(sample, changed)) == "anchor_mismatch");
  changed = open(sample, notes[3]);
  changed.number += 1;
  CHECK(refused(resign(sample, changed)) == "checkpoint_missing");
  changed.chains[2].size += 1000;
  CHECK(refused(resign(sample, changed)) == "rolled_back");
}

TEST_CASE("a source that falls silent is told, one that was closed is not") {
  Writer writer;
  writer.append();
  SECTION("between two records") {
    writer.clock->advance(601 * kSecond);  // twice the heartbeat interval of 300 s, and one
    writer.append();
    writer.close();
    Sample sample = writer.sample();
    const Report report = sample.verify();
    CHECK(report.verdict == Verdict::kQualified);
    CHECK(report.findings[0].code == "silent");
    CHECK(report.findings[0].chain == 0);
    CHECK(report.findings[1].chain == 1);
    CHECK(report.findings[1].sequence == 2);
  }
  SECTION("the clock stepped back") {
    writer.clock->step_wall(-7200 * kSecond);
    writer.append();
    REQUIRE(writer.log->flush().ok());
    CHECK(codes(writer.sample().verify()) == std::vector<std::string>{"unanchored"});
  }
  SECTION("heartbeats") {
    for (int i = 0; i < 4; ++i) {
      writer.clock->advance(300 * kSecond);
      REQUIRE(writer.log->tend().ok());
    }
    writer.close();
    CHECK(codes(writer.sample().verify()) == std::vector<std::string>{"unanchored"});
  }
  SECTION("up to the time of verification") {
    REQUIRE(writer.log->flush().ok());
    Sample sample = writer.sample();
    VerifyOptions options = sample.options();
    options.now_ns = kStartNs + 600 * kSecond;
    CHECK(codes(verify(sample.files, options)) == std::vector<std::string>{"unanchored"});
    options.now_ns += 1;
    const Report report = verify(sample.files, options);
    CHECK(report.verdict == Verdict::kQualified);
    CHECK(report.findings[0].code == "silent");
    writer.close();
    Sample closed = writer.sample();
    options.now_ns += 86400 * kSecond;
    CHECK(codes(verify(closed.files, options)) == std::vector<std::string>{"unanchored"});
  }
}

TEST_CASE("a torn tail is told from tampering, and its repair is checked for ever") {
  Writer writer;
  for (int i = 0; i < 30; ++i) writer.append();
  REQUIRE(writer.log->flush().ok());
  Sample sample = writer.sample();
  const std::string name = sample.segments(Class::kAccess)[0];
  const Place last = sample.places(name).back();
  const uint64_t end = last.offset + last.bytes;
  const auto qualified = [&](const char* code, uint64_t offset) {
    const Report report = sample.verify();
    CHECK(report.verdict == Verdict::kQualified);
    CHECK(codes(report) == std::vector<std::string>{code, "unanchored"});
    CHECK(report.findings[0].file == name);
    CHECK(report.findings[0].offset == offset);
  };
  SECTION("part of a record") {
    sample.file(name).replace(end, 100, sample.file(name), last.offset, 100);
    qualified("torn_tail", end);
  }
  SECTION("garbage after zeros") {
    sample.file(name)[end + 5000] = 'x';
    qualified("torn_tail", end);
  }
  SECTION("repaired when it is opened again") {
    sample.file(name).replace(end, 100, sample.file(name), last.offset, 100);
    writer.log.reset();
    Writer again;
    for (const auto& [path, bytes] : sample.files.content) {
      const std::string to = again.directory.path() + path.substr(sample.root.size());
      std::ofstream(to, std::ios::binary) << bytes;
    }
    again.log.reset();
    for (const auto& entry :
         std::filesystem::recursive_directory_iterator(again.directory.path())) {
      const std::string to = entry.path().string();
      const std::string from = sample.root + to.substr(again.directory.path().size());
      if (!entry.is_regular_file()) continue;
      if (!sample.files.content.contains(from)) {
        std::filesystem::remove(to);
      } else {
        std::ofstream(to, std::ios::binary) << sample.files.content[from];
      }
    }
    again.open();
    again.append();
    again.close();
    sample = again.sample();
    qualified("repaired", end);
    CHECK(sample.verify().chains[1].repairs == 1);
    sample.file(name)[end + 50] ^= 1;
    const Report report = sample.verify();
    const Finding& finding = first_damage(report);
    CHECK(finding.code == "repair_content");
    CHECK(finding.file == name);
    CHECK(finding.offset == end);
  }
}

TEST_CASE("a key that is still on the host is pointed out") {
  Sample sample = original();
  VerifyOptions options = sample.options({sample.note()});
  options.host_key_path = sample.root + "/keys/log.verify";
  const Report report = verify(sample.files, options);
  CHECK(report.verdict == Verdict::kWhole);
  CHECK(codes(report) == std::vector<std::string>{"key_on_host"});
}
