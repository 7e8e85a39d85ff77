// What somebody who can write the files may try: each is found, under its own code, at its place.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>

#include "faulty_files.h"
#include "rig.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/segment.h"
#include "tenancy/log/store.h"

using namespace tenancy;
using namespace tenancy::log;
using namespace tenancy::log::test;

namespace {

// A log of two segments and a bit per chain, three epochs and two checkpoints, whole and closed.
class Target {
 public:
  explicit Target(std::string_view salt = "", int events = 720) {
    REQUIRE(files.make_directory(directory.path() + "/log").ok());
    std::filesystem::create_directories(directory.path() + "/log");
    Options options = options_in(directory.path());
    options.shared = false;
    options.files = &files;
    const auto log = open(options);
    for (int round = 0; round < 3; ++round) {
      for (int i = 0; i < events / 3; ++i) {
        const std::string text =
            std::string(salt) + std::to_string(round) + "." + std::to_string(i);
        append(*log, Class::kAccess, "ten_" + std::to_string(i % 3), text);
      }
      if (round < 2) {
        REQUIRE(log->rotate().ok());
        anchor = *log->checkpoint();
      }
    }
    REQUIRE(log->close().ok());
  }

  std::string path(const std::string& name) const { return directory.path() + "/log/" + name; }
  std::string& content(const std::string& name) { return files.content(path(name)); }
  std::vector<std::string> segments() const {
    std::vector<std::string> names;
    for (const std::string& name : files.paths()) {
      if (name.find("/segments/access-") != std::string::npos) {
        names.push_back(name.substr(path("").size()));
      }
    }
    return names;
  }
  // Where the records of a segment begin.
  std::vector<size_t> offsets(const std::string& segment) {
    std::vector<size_t> at;
    const std::string& bytes = content(segment);
    RecordView view;
    for (size_t i = kSegmentHeaderBytes;
         RecordView::parse(std::string_view(bytes).substr(i), &view) == Framing::kRecord;
         i += view.size()) {
      at.push_back(i);
    }
    return at;
  }
  Report check(bool anchored = true) {
    return checked(directory.path(), anchored ? std::vector{anchor} : std::vector<std::string>{}, 0,
                   files);
  }
  // As `check`, and the first finding of tampering is this one.
  void expect(std::string_view code, const std::string& file = "", size_t offset = 0) {
    const Report report = check();
    INFO(shown(report));
    REQUIRE(report.verdict == Verdict::kTampered);
    const Finding* const first = report.first(Verdict::kTampered);
    CHECK(first->code == code);
    if (!file.empty()) CHECK(first->file == file);
    if (offset != 0) CHECK(first->offset == offset);
  }

  TempDir directory;
  FaultyFiles files;
  std::string anchor;
};

void mend_crc(std::string& bytes, size_t record) {
  const auto length = get<uint32_t>(bytes.data() + record);
  put(bytes.data() + record + length - 4,
      crc32c(std::string_view(bytes).substr(record, length - 4)));
}

std::string record_at(const std::string& bytes, size_t at) {
  return bytes.substr(at, get<uint32_t>(bytes.data() + at));
}

EpochKey stolen_key(Target& target) {
  const Result<StoredKey> key = read_key(target.files, target.directory.path() + "/keys/log.key");
  REQUIRE(key.ok());
  return key->key;
}

void resign(std::string& bytes, size_t at, const HmacKey& key) {
  const auto length = get<uint32_t>(bytes.data() + at);
  const Digest256 tag = key.mac(std::string_view(bytes).substr(at, length - 36));
  std::memcpy(bytes.data() + at + length - 36, tag.data(), tag.size());
  mend_crc(bytes, at);
}

}  // namespace

TEST_CASE("the log that is going to be attacked is whole") {
  Target target;
  const Report report = target.check();
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kWhole);
  CHECK(target.segments().size() >= 3);
}

TEST_CASE("an edit of any part of a record is found at that record, checksum mended or not") {
  Target target;
  const std::string segment = target.segments()[0];
  std::string& bytes = target.content(segment);
  const std::string before = bytes;
  const size_t at = target.offsets(segment)[100];
  const size_t end = at + record_at(bytes, at).size();
  const auto edited = [&](size_t place, std::string_view code) {
    INFO("byte " << place - at << " of the record");
    bytes = before;
    bytes[place] = static_cast<char>(bytes[place] ^ 1);
    target.expect("record_damaged", segment, at);
    mend_crc(bytes, at);
    target.expect(code, segment, at);
    bytes = before;
  };
  edited(at + 4, "record_version");  // downgrade of the version
  edited(at + 5, "record_version");  // and of the algorithm
  edited(at + 6, "record_class");
  edited(at + 7, "record_mac");  // kind
  edited(at + 8, "record_epoch");
  edited(at + 14, "record_mac");  // number of fields
  edited(at + 16, "record_log");
  edited(at + 32, "record_mac");    // the clock
  edited(at + 41, "record_mac");    // the tenant
  edited(at + 50, "record_mac");    // a field
  edited(end - 116, "record_mac");  // sequence
  edited(end - 100, "record_mac");  // previous tag
  edited(end - 76, "record_mac");   // tenant's sequence
  edited(end - 60, "record_mac");   // tenant's previous tag
  edited(end - 30, "record_mac");   // the tag itself
}

TEST_CASE("moving bytes over a border, and absent, null and empty for one another, is found") {
  Target target;
  const std::string segment = target.segments()[0];
  std::string& bytes = target.content(segment);
  const size_t at = target.offsets(segment)[50];
  const std::string before = bytes;
  // The type text loses its last character to the field behind it; the length stays.
  const size_t text = bytes.find("data_read", at);
  const size_t length = text - 4;
  put(bytes.data() + length, uint32_t{8});
  mend_crc(bytes, at);
  target.expect("record_mac", segment, at);
  // Text becomes bytes.
  bytes = before;
  bytes[length - 1] = 5;
  mend_crc(bytes, at);
  target.expect("record_mac", segment, at);
  // Null for text: the type says null, the value is still there.
  bytes = before;
  bytes[length - 1] = 0;
  mend_crc(bytes, at);
  target.expect("record_mac", segment, at);
  // A field goes absent: one less is counted.
  bytes = before;
  put(bytes.data() + at + 14, uint16_t{2});
  mend_crc(bytes, at);
  target.expect("record_mac", segment, at);
}

TEST_CASE("swapping, removing, repeating and importing records is found where it begins") {
  Target target;
  const std::string segment = target.segments()[0];
  std::string& bytes = target.content(segment);
  const std::string before = bytes;
  const std::vector<size_t> at = target.offsets(segment);
  const std::string a = record_at(bytes, at[110]);
  const std::string b = record_at(bytes, at[111]);
  const std::string c = record_at(bytes, at[113]);  // of the tenant of a
  SECTION("swap") {
    bytes.replace(at[110], a.size() + b.size(), b + a);
    target.expect("record_sequence", segment, at[110]);
  }
  SECTION("remove one in the middle") {
    bytes.erase(at[110], a.size());
    target.expect("record_sequence", segment, at[110]);
  }
  SECTION("remove the first") {
    bytes.erase(at[0], record_at(bytes, at[0]).size());
    target.expect("record_sequence", segment, at[0]);
  }
  SECTION("repeat one") {
    bytes.insert(at[111], a);
    target.expect("record_sequence", segment, at[111]);
  }
  SECTION("replay of the same tenant's record in another's place") {
    bytes.replace(at[111], b.size(), c);
    target.expect("record_sequence", segment, at[111]);
  }
  SECTION("a record of another log") {
    Target other("other ");
    const std::string& foreign = other.content(other.segments()[0]);
    bytes.insert(at[111], record_at(foreign, other.offsets(other.segments()[0])[111]));
    target.expect("record_log", segment, at[111]);
  }
}

TEST_CASE("cutting a tail, a segment or everything is found") {
  Target target;
  const std::vector<std::string> segments = target.segments();
  SECTION("records at the end, with zeros in their place") {
    std::string& bytes = target.content(segments.back());
    const std::vector<size_t> at = target.offsets(segments.back());
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(at[at.size() - 5]), bytes.end(), '\0');
    target.expect("tail_missing");
  }
  SECTION("the end of the file") {
    target.content(segments.back()).resize(target.offsets(segments.back())[3]);
    target.expect("tail_missing");
  }
  SECTION("the first segment") {
    REQUIRE(target.files.remove(target.path(segments[0])).ok());
    target.expect("segment_missing", segments[0]);
  }
  SECTION("a segment in the middle") {
    REQUIRE(target.files.remove(target.path(segments[1])).ok());
    target.expect("segment_missing", segments[1]);
  }
  SECTION("the last segment") {
    REQUIRE(target.files.remove(target.path(segments.back())).ok());
    target.expect("tail_missing");
  }
  SECTION("all segments of a chain") {
    for (const std::string& name : segments) REQUIRE(target.files.remove(target.path(name)).ok());
    target.expect("segment_missing");
  }
  SECTION("everything") {
    for (const std::string& name : target.files.paths()) {
      if (name.find("/log/") != std::string::npos) REQUIRE(target.files.remove(name).ok());
    }
    target.expect("manifest_missing");
  }
  SECTION("the manifest") {
    REQUIRE(target.files.remove(target.path("manifest")).ok());
    target.expect("manifest_missing");
  }
  SECTION("the head") {
    REQUIRE(target.files.remove(target.path("head")).ok());
    target.expect("head_missing");
  }
  SECTION("the checkpoints") {
    REQUIRE(target.files.remove(target.path("checkpoints")).ok());
    target.expect("checkpoint_missing");
  }
}

TEST_CASE("segments that are joined, exchanged, renamed or of another log are found") {
  Target target;
  const std::vector<std::string> segments = target.segments();
  SECTION("one behind the other") {
    const std::string second = target.content(segments[1]);
    const size_t end = target.content(segments[0]).size();
    target.content(segments[0]) += second;
    target.expect("trailing_bytes", segments[0], end);
  }
  SECTION("garbage behind the seal") {
    const size_t end = target.content(segments[0]).size();
    target.content(segments[0]) += std::string(100, '\0') + "x";
    target.expect("trailing_bytes", segments[0], end);
  }
  SECTION("under another's name") {
    target.content(segments[1]) = std::string(target.content(segments[0]));
    target.expect("segment_name", segments[1]);
  }
  SECTION("of another log") {
    Target other;
    target.content(segments[0]) = other.content(segments[0]);
    target.expect("segment_foreign", segments[0]);
  }
  SECTION("of another class") {
    const std::string usage = "segments/usage-00000000000000000000.seg";
    target.content(segments[0]) = std::string(target.content(usage));
    target.expect("segment_foreign", segments[0]);
  }
  SECTION("without its seal") {
    std::string& bytes = target.content(segments[0]);
    const size_t last = target.offsets(segments[0]).back();
    const size_t end = last + record_at(bytes, last).size();
    bytes.resize(end);
    target.expect("seal_missing", segments[0], end);
  }
  SECTION("with a damaged seal") {
    std::string& bytes = target.content(segments[0]);
    bytes[bytes.size() - 50] ^= 1;
    target.expect("seal_damaged", segments[0]);
    put(bytes.data() + bytes.size() - 4, uint32_t{0});
    const size_t last = target.offsets(segments[0]).back();
    const size_t footer = last + record_at(bytes, last).size();
    put(bytes.data() + bytes.size() - 4,
        crc32c(std::string_view(bytes).substr(footer, bytes.size() - 4 - footer)));
    target.expect("seal_mac", segments[0], footer);
  }
  SECTION("with a changed header") {
    std::string& bytes = target.content(segments[1]);
    bytes[72] ^= 1;
    target.expect("segment_header", segments[1]);
    put(bytes.data() + kSegmentHeaderBytes - 4,
        crc32c(std::string_view(bytes).substr(0, kSegmentHeaderBytes - 4)));
    target.expect("segment_mac", segments[1]);
  }
}

TEST_CASE("a stolen key of today changes nothing of yesterday") {
  Target target;
  const EpochKey key = stolen_key(target);
  REQUIRE(key.epoch() == 2);
  const std::string segment = target.segments()[0];
  std::string& bytes = target.content(segment);
  const size_t at = target.offsets(segment)[60];
  bytes[bytes.find("data_read", at)] = 'D';
  SECTION("the record keeps its epoch") {
    resign(bytes, at, key.record_key(Class::kAccess));
    target.expect("record_resigned", segment, at);
  }
  SECTION("the record takes the key's epoch") {
    put(bytes.data() + at + 8, uint32_t{2});
    resign(bytes, at, key.record_key(Class::kAccess));
    target.expect("record_epoch", segment, at);
  }
}

TEST_CASE("the small files are authentic or found") {
  Target target;
  const auto mend = [](std::string& block, size_t from, size_t bytes) {
    put(block.data() + from + bytes - 4, crc32c(std::string_view(block).substr(from, bytes - 4)));
  };
  SECTION("manifest") {
    std::string& bytes = target.content("manifest");
    bytes[60] ^= 1;
    target.expect("manifest_damaged", "manifest");
    mend(bytes, 0, bytes.size());
    target.expect("manifest_mac", "manifest");
  }
  SECTION("head") {
    std::string& bytes = target.content("head");
    for (size_t slot = 0; slot < 4; ++slot) {
      if (bytes[slot * 4096] == '\0') continue;
      bytes[slot * 4096 + 100] ^= 1;
      mend(bytes, slot * 4096, 4096);
    }
    target.expect("head_mac", "head");
  }
  SECTION("all slots of the head") {
    std::string& bytes = target.content("head");
    for (size_t slot = 0; slot < 4; ++slot) bytes[slot * 4096 + 100] ^= 1;
    target.expect("head_damaged", "head");
  }
  SECTION("tenants") {
    std::string& bytes = target.content("tenants");
    bytes[bytes.size() / 2] ^= 1;
    target.expect("tenants_damaged", "tenants");
  }
  SECTION("a checkpoint") {
    std::string& bytes = target.content("checkpoints");
    const auto length = get<uint32_t>(bytes.data());
    bytes[bytes.find("chain access ") + 13] ^= 1;
    target.expect("checkpoint_damaged", "checkpoints");
    mend(bytes, 0, length + 8);
    target.expect("checkpoint_signature", "checkpoints");
  }
  SECTION("a checkpoint left out") {
    std::string& bytes = target.content("checkpoints");
    bytes.erase(0, get<uint32_t>(bytes.data()) + 8);
    target.expect("checkpoint_missing", "checkpoints");
  }
}

TEST_CASE(
    "an older copy of everything is found with an anchor; without one it is said that it is not") {
  TempDir directory;
  FaultyFiles files;
  REQUIRE(files.make_directory(directory.path() + "/log").ok());
  std::filesystem::create_directories(directory.path() + "/log");
  Options options = options_in(directory.path());
  options.shared = false;
  options.files = &files;
  auto log = open(options);
  append(*log, Class::kOther, "ten_1", "early");
  REQUIRE(log->close().ok());
  const auto copy = files.after_power_cut(files.operations(), FaultyFiles::Keep::kAll, 0);
  log = open(options);
  append(*log, Class::kOther, "ten_1", "late");
  const std::string anchor = *log->checkpoint();
  REQUIRE(log->close().ok());
  const Report without = checked(directory.path(), {}, 0, *copy);
  INFO(shown(without));
  CHECK(without.verdict == Verdict::kQualified);
  CHECK(without.findings.size() == 1);
  CHECK(has(without, "unanchored"));
  const Report with = checked(directory.path(), {anchor}, 0, *copy);
  INFO(shown(with));
  CHECK(with.verdict == Verdict::kTampered);
  CHECK(has(with, "rolled_back"));
}

TEST_CASE("anchors of another log or with another text are refused") {
  Target target;
  Target other;
  const Report foreign = checked(target.directory.path(), {other.anchor}, 0, target.files);
  CHECK(has(foreign, "anchor_signature"));
  std::string changed = target.anchor;
  changed[changed.find("chain access ") + 13] ^= 1;
  const Report edited = checked(target.directory.path(), {changed}, 0, target.files);
  CHECK(has(edited, "anchor_signature"));
  CHECK(edited.verdict == Verdict::kTampered);
}

TEST_CASE("a wrong key is told from tampering") {
  Target target;
  Target other;
  VerifyOptions options;
  options.log_directory = target.directory.path() + "/log";
  options.key_path = target.directory.path() + "/keys/log.verify";
  target.files.content(options.key_path) =
      other.files.content(other.directory.path() + "/keys/log.verify");
  const Report report = verify(target.files, options);
  INFO(shown(report));
  CHECK(report.verdict == Verdict::kCannotVerify);
  CHECK(report.findings.size() == 1);
  CHECK(has(report, "wrong_key"));
  REQUIRE(target.files.remove(options.key_path).ok());
  CHECK(verify(target.files, options).verdict == Verdict::kCannotVerify);
  options.log_directory = target.directory.path() + "/elsewhere";
  CHECK(verify(target.files, options).verdict == Verdict::kCannotVerify);
}

// Thousands of records. Every byte of every file when TENANCY_EVERY_FLIP is set (minutes), else
// every byte of the small files and a share of the others.
TEST_CASE("every flipped byte is found") {
  const bool all = std::getenv("TENANCY_EVERY_FLIP") != nullptr;
  Target target("", all ? 2100 : 720);
  size_t flips = 0;
  for (const std::string& path : target.files.paths()) {
    if (path.find("/log/") == std::string::npos) continue;
    std::string& bytes = target.files.content(path);
    const size_t step = all ? 1 : std::max<size_t>(1, bytes.size() / 61);
    for (size_t i = 0; i < bytes.size(); i += step) {
      const char before = bytes[i];
      bytes[i] = static_cast<char>(before ^ (1 << (i * 7 + flips) % 8));
      const Report report = target.check();
      if (report.verdict == Verdict::kWhole) {
        INFO(path << " byte " << i);
        INFO(shown(report));
        REQUIRE(report.verdict != Verdict::kWhole);
      }
      bytes[i] = before;
      ++flips;
    }
  }
  CHECK(flips > 400);
  CHECK(target.check().verdict == Verdict::kWhole);
}
