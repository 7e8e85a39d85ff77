#include <algorithm>
#include <functional>

#include "catch.h"
#include "reports.h"
#include "sample.h"
#include "tenancy/log/verify.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

const Sample& original() {
  static const Sample sample = make_sample();
  return sample;
}

std::string all_codes(const Report& report) {
  std::string out;
  for (const Finding& finding : report.findings) {
    out += finding.code + " " + finding.file + ":" + std::to_string(finding.offset) + " #" +
           std::to_string(finding.sequence) + " " + finding.text + "\n";
  }
  return out;
}

// What the first finding says, in one line.
std::string place(const Finding& finding) {
  return finding.code + " " +
         (finding.chain < 0 ? "-" : std::string(kClassNames[static_cast<size_t>(finding.chain)])) +
         " " +
         (finding.sequence == kNoSequence ? std::string("-") : std::to_string(finding.sequence)) +
         " " + finding.file + " " + std::to_string(finding.offset);
}

std::string at(const std::string& code, const std::string& file, const Place& place) {
  return code + " access " + std::to_string(place.sequence) + " " + file + " " +
         std::to_string(place.offset);
}

// The first damage, after checking that the verdict is that of damage.
std::string first_damage(Sample& sample, std::vector<std::string> anchors = {}) {
  const Report report = sample.verify(std::move(anchors));
  INFO(all_codes(report));
  CHECK(report.verdict == Verdict::kTampered);
  const Finding* const finding = report.first(Verdict::kTampered);
  return finding == nullptr ? "none" : place(*finding);
}

// The second segment of the chain `access`: sealed, in the middle.
struct Middle {
  Sample sample = original();
  std::string name = sample.segments(Class::kAccess)[1];
  std::vector<Place> places = sample.places(name);
  std::string& bytes = sample.file(name);
};

}  // namespace

TEST_CASE("a log as it was written is whole, and covered by its anchor") {
  Sample sample = original();
  const Report report = sample.verify({sample.note()});
  INFO(all_codes(report));
  CHECK(report.verdict == Verdict::kWhole);
  CHECK(report.findings.empty());
  CHECK(report.chains[1].segments == sample.segments(Class::kAccess).size());
  CHECK(report.chains[1].segments >= 4);
  CHECK(report.chains[1].events == 228);
  CHECK(report.chains[1].tenants == 4);  // three names and the empty one, which is not none
  CHECK(report.checkpoints == 4);
  CHECK(report.anchors == 1);
  CHECK(report.log_id == hex(sample.key().log_id()));
}

TEST_CASE("each byte range of a record's head names its own damage") {
  struct Edit {
    const char* what;
    size_t offset;
    char value;
    const char* code;
  };
  const Edit edits[] = {
      {"version", 4, 2, "record_version"}, {"algorithm", 5, 0, "record_version"},
      {"class", 6, 2, "record_class"},     {"kind", 7, 9, "record_mac"},
      {"epoch", 8, 0x7f, "record_epoch"},  {"fields", 14, 1, "record_mac"},
      {"log id", 16, 0x55, "record_log"},  {"time", 32, 0x11, "record_mac"},
      {"tenant", 40, 'X', "record_mac"},
  };
  for (const Edit& edit : edits) {
    Middle middle;
    const Place place = middle.places[7];
    char& byte = middle.bytes[place.offset + edit.offset];
    // The log's id is random: once in a while the byte is that one already.
    byte = byte == edit.value ? static_cast<char>(byte ^ 0x01) : edit.value;
    INFO(edit.what);
    // A slip is seen by the checksum; somebody who repairs the checksum by what the field means.
    CHECK(first_damage(middle.sample) == at("record_damaged", middle.name, place));
    middle.sample.fix_crc(middle.name, place.offset, place.bytes);
    CHECK(first_damage(middle.sample) == at(edit.code, middle.name, place));
  }
}

TEST_CASE("an edit of what the chain added to a record is found at the record") {
  for (const size_t from_end : {116, 108, 76, 68, 36}) {
    Middle middle;
    const Place place = middle.places[9];
    middle.bytes[place.offset + place.bytes - from_end] ^= 0x40;
    middle.sample.fix_crc(middle.name, place.offset, place.bytes);
    CHECK(first_damage(middle.sample) == at("record_mac", middle.name, place));
  }
}

TEST_CASE("fields cannot be changed, retyped, emptied, removed or shifted unseen") {
  // The fields of the sample's events: 2, 3, 5, 7, 13 (null), 14 (empty text), cached, filler.
  const auto field = [](Middle& middle, const Place& place, FieldId id) {
    FieldCursor cursor = middle.sample.view(middle.name, place).fields();
    const char* const base = middle.bytes.data();
    Field found;
    while (cursor.next(&found)) {
      if (found.id == id) break;
    }
    return static_cast<size_t>(found.value.bytes.data() - base);  // its value; 7 before: its id
  };
  using Change = std::function<void(std::string&, size_t)>;
  struct Edit {
    const char* what;
    FieldId id;
    Change change;
  };
  const Edit edits[] = {
      {"value", FieldId::kResult, [](std::string& b, size_t v) { b[v] = 'S'; }},
      {"null becomes empty text", FieldId::kReason, [](std::string& b, size_t v) { b[v - 5] = 4; }},
      {"empty text becomes null", FieldId::kSource, [](std::string& b, size_t v) { b[v - 5] = 0; }},
      {"text becomes bytes", FieldId::kAction, [](std::string& b, size_t v) { b[v - 5] = 5; }},
      {"another field", FieldId::kReason, [](std::string& b, size_t v) { b[v - 7] = 12; }},
      {"bytes across a boundary", FieldId::kType,
       // "data_read" | "doc:read" becomes "data_rea" | "ddoc:read": the same bytes in a row.
       [](std::string& b, size_t v) {
         b[v - 4] = 8;
         const std::string header = b.substr(v + 9, 7);
         b.replace(v + 8, 8, header + "d");
         b[v + 8 + 3] = 9;
       }},
      {"field removed", FieldId::kReason,
       [](std::string& b, size_t v) { b.erase(v - 7, 7).insert(v + 20, 7, '\0'); }},
  };
  for (const Edit& edit : edits) {
    Middle middle;
    const Place place = middle.places[3];
    const std::string before = middle.bytes;
    edit.change(middle.bytes, field(middle, place, edit.id));
    INFO(edit.what);
    REQUIRE(middle.bytes != before);
    middle.sample.fix_crc(middle.name, place.offset, place.bytes);
    CHECK(first_damage(middle.sample) == at("record_mac", middle.name, place));
  }
}

TEST_CASE("a tenant with an empty name cannot become no tenant") {
  Middle middle;
  for (const Place& place : middle.places) {
    const auto tenant = middle.sample.view(middle.name, place).tenant();
    if (!tenant || !tenant->empty()) continue;
    put(middle.bytes.data() + place.offset + 12, kNoTenant);
    middle.sample.fix_crc(middle.name, place.offset, place.bytes);
    CHECK(first_damage(middle.sample) == at("record_mac", middle.name, place));
    return;
  }
  FAIL("the sample has no such record");
}

TEST_CASE("records cannot be swapped, duplicated, inserted or deleted") {
  Middle middle;
  const auto cut = [&](size_t i) {
    return middle.bytes.substr(middle.places[i].offset, middle.places[i].bytes);
  };
  const Place second = middle.places[1];
  SECTION("swap") {
    const std::string joined = cut(2) + cut(1);
    middle.bytes.replace(second.offset, joined.size(), joined);
    CHECK(first_damage(middle.sample) == at("record_sequence", middle.name, second));
  }
  SECTION("duplicate") {
    middle.bytes.insert(middle.places[2].offset, cut(1));
    CHECK(first_damage(middle.sample) == at("record_sequence", middle.name, middle.places[2]));
  }
  SECTION("delete the first") {
    middle.bytes.erase(middle.places[0].offset, middle.places[0].bytes);
    CHECK(first_damage(middle.sample) == at("record_sequence", middle.name, middle.places[0]));
  }
  SECTION("delete one in the middle") {
    middle.bytes.erase(second.offset, second.bytes);
    CHECK(first_damage(middle.sample) == at("record_sequence", middle.name, second));
  }
  SECTION("delete the last of a sealed segment") {
    const Place last = middle.places.back();
    middle.bytes.erase(last.offset, last.bytes);
    CHECK(first_damage(middle.sample) == at("seal_content", middle.name, last));
  }
  SECTION("a sealed segment is cut off") {
    middle.bytes.resize(middle.places[5].offset);
    CHECK(first_damage(middle.sample) == at("tail_missing", middle.name, middle.places[5]));
  }
  SECTION("a record is overwritten with zeros") {
    middle.bytes.replace(second.offset, second.bytes, second.bytes, '\0');
    CHECK(first_damage(middle.sample) == at("record_damaged", middle.name, second));
  }
}

TEST_CASE("the end of a chain cannot be cut off") {
  Sample sample = original();
  const std::string name = sample.segments(Class::kAccess).back();
  const std::vector<Place> places = sample.places(name);
  SECTION("zeros instead of the last records") {
    const Place place = places[places.size() - 2];
    std::string& bytes = sample.file(name);
    bytes.replace(place.offset, bytes.size() - place.offset, bytes.size() - place.offset, '\0');
    CHECK(first_damage(sample) == at("tail_missing", name, place));
  }
  SECTION("the file ends before them") {
    sample.file(name).resize(places[1].offset);
    CHECK(first_damage(sample) == at("tail_missing", name, places[1]));
  }
  SECTION("the file ends inside one") {
    sample.file(name).resize(places[1].offset + 50);
    CHECK(first_damage(sample) == at("record_damaged", name, places[1]));
  }
  SECTION("the last segment is gone") {
    sample.remove(name);
    const std::string before = sample.segments(Class::kAccess).back();
    const Place end{sample.places(before).back().offset + sample.places(before).back().bytes, 0,
                    places[0].sequence};
    CHECK(first_damage(sample) == at("tail_missing", before, end));
  }
}

TEST_CASE("segments cannot be removed, exchanged or renamed") {
  Sample sample = original();
  const std::vector<std::string> names = sample.segments(Class::kAccess);
  const auto first_of = [&](size_t i) { return sample.places(names[i])[0].sequence; };
  SECTION("the first is gone") {
    sample.remove(names[0]);
    CHECK(first_damage(sample) == at("segment_missing", names[0], {0, 0, 0}));
  }
  SECTION("one in the middle is gone") {
    const uint64_t sequence = first_of(1);
    sample.remove(names[1]);
    CHECK(first_damage(sample) == at("segment_missing", names[1], {0, 0, sequence}));
  }
  SECTION("all of a chain are gone") {
    for (const std::string& name : names) sample.remove(name);
    CHECK(first_damage(sample) == at("segment_missing", names[0], {0, 0, 0}));
  }
  SECTION("everything is gone") {
    std::erase_if(sample.files.content, [&](const auto& file) {
      return file.first.compare(0, sample.root.size() + 5, sample.root + "/log/") == 0;
    });
    sample.files.content[sample.path("lock")] = "";
    CHECK(first_damage(sample) == "manifest_missing - - manifest 0");
    sample.remove("lock");
    const Report report = sample.verify();
    CHECK(report.verdict == Verdict::kCannotVerify);
    CHECK(codes(report) == std::vector<std::string>{"not_a_log"});
  }
  SECTION("two are exchanged") {
    const uint64_t sequence = first_of(1);
    std::swap(sample.file(names[1]), sample.file(names[2]));
    CHECK(first_damage(sample) == at("segment_name", names[1], {0, 0, sequence}));
  }
  SECTION("one is copied to another place") {
    const std::string name = "segments/" + segment_name(Class::kAccess, first_of(1) + 1);
    sample.files.content[sample.path(name)] = sample.file(names[2]);
    CHECK(first_damage(sample) == at("segment_name", name, {0, 0, first_of(2)}));
  }
  SECTION("one of another chain takes its place") {
    sample.file(names[0]) = sample.file(sample.segments(Class::kOther)[0]);
    CHECK(first_damage(sample) == at("segment_foreign", names[0], {0, 0, 0}));
  }
  SECTION("two are joined to one") {
    sample.file(names[0]) += sample.file(names[1]);
    const Place last = sample.places(names[0]).back();
    const uint64_t end = last.offset + last.bytes;
    const auto footer =
        parse_block(kFooterMagic, std::string_view(sample.file(names[0])).substr(end));
    REQUIRE(footer.ok());
    CHECK(first_damage(sample) ==
          at("trailing_bytes", names[0], {end + footer->bytes.size(), 0, last.sequence + 1}));
  }
  SECTION("a name that no segment has") {
    sample.files.content[sample.path("segments/access-1.seg")] = "x";
    sample.files.content[sample.path(names[0] + ".new")] = "left by a crash";
    const Report report = sample.verify();
    CHECK(report.verdict == Verdict::kQualified);
    CHECK(codes(report) == std::vector<std::string>{"unexpected_file", "unanchored"});
  }
}

TEST_CASE("headers and seals of segments are bound to their records") {
  Middle middle;
  const uint64_t end = middle.places.back().offset + middle.places.back().bytes;
  const size_t footer_bytes = middle.bytes.size() - end;
  const uint64_t next = middle.places.back().sequence + 1;
  const Place begin{0, 0, middle.places[0].sequence};
  const Place seal{end, 0, next};
  const HmacKey file_key = middle.sample.key().at(1).file_key();
  SECTION("header: a flipped bit") {
    middle.bytes[100] ^= 1;
    CHECK(first_damage(middle.sample) == at("segment_header", middle.name, begin));
  }
  SECTION("header: edited") {
    middle.bytes[100] ^= 1;
    middle.sample.fix_crc(middle.name, 0, kSegmentHeaderBytes);
    CHECK(first_damage(middle.sample) == at("segment_mac", middle.name, begin));
  }
  SECTION("header: of another log") {
    middle.bytes[24] ^= 1;
    middle.sample.fix_crc(middle.name, 0, kSegmentHeaderBytes);
    CHECK(first_damage(middle.sample) == at("segment_foreign", middle.name, begin));
  }
  SECTION("header: rewritten by somebody with a key") {
    put(middle.bytes.data() + 20, uint32_t{1});
    middle.bytes[80] ^= 1;  // the previous tag
    middle.sample.seal_block(middle.name, 0, kSegmentHeaderBytes, file_key);
    CHECK(first_damage(middle.sample) == at("segment_link", middle.name, begin));
  }
  SECTION("seal: stripped") {
    middle.bytes.resize(end);
    CHECK(first_damage(middle.sample) == at("seal_missing", middle.name, seal));
  }
  SECTION("seal: a flipped bit of its magic") {
    middle.bytes[end] ^= 1;
    CHECK(first_damage(middle.sample) == at("seal_damaged", middle.name, seal));
  }
  SECTION("seal: a flipped bit") {
    middle.bytes[end + 60] ^= 1;
    CHECK(first_damage(middle.sample) == at("seal_damaged", middle.name, seal));
  }
  SECTION("seal: edited") {
    middle.bytes[end + 60] ^= 1;
    middle.sample.fix_crc(middle.name, end, footer_bytes);
    CHECK(first_damage(middle.sample) == at("seal_mac", middle.name, seal));
  }
  SECTION("seal: rewritten by somebody with a key") {
    put(middle.bytes.data() + end + 20, uint32_t{1});
    middle.bytes[end + 72] ^= 1;
    middle.sample.seal_block(middle.name, end, footer_bytes, file_key);
    CHECK(first_damage(middle.sample) == at("seal_content", middle.name, seal));
  }
  SECTION("seal: another right one than the manifest knows") {
    put(middle.bytes.data() + end + 20, uint32_t{3});
    middle.sample.seal_block(middle.name, end, footer_bytes, middle.sample.key().at(3).file_key());
    CHECK(first_damage(middle.sample) ==
          "manifest_content access " + std::to_string(next) + " manifest 0");
  }
  SECTION("bytes behind the seal") {
    middle.bytes += '\0';
    CHECK(first_damage(middle.sample) ==
          at("trailing_bytes", middle.name, {end + footer_bytes, 0, next}));
  }
}

TEST_CASE("records of another tenant, time, chain or log cannot be played again") {
  Middle middle;
  const Place target = middle.places[4];
  SECTION("an older record of the same size in the place of a newer one") {
    const std::string older = middle.sample.segments(Class::kAccess)[0];
    for (const Place& place : middle.sample.places(older)) {
      if (place.bytes != target.bytes) continue;
      middle.bytes.replace(target.offset, target.bytes, middle.sample.file(older), place.offset,
                           place.bytes);
      // The key of another epoch made it, or that of the same one for another place.
      const uint32_t epoch = middle.sample.view(middle.name, middle.places[3]).epoch();
      const bool same = middle.sample.view(older, place).epoch() == epoch;
      CHECK(first_damage(middle.sample) ==
            at(same ? "record_sequence" : "record_epoch", middle.name, target));
      return;
    }
    FAIL("no such record");
  }
  SECTION("a record of another log") {
    SampleOptions options;
    options.events = 90;
    Sample other = make_sample(options);
    const std::string name = other.segments(Class::kAccess)[1];
    const Place place = other.places(name)[4];
    REQUIRE(place.bytes == target.bytes);
    middle.bytes.replace(target.offset, target.bytes, other.file(name), place.offset, place.bytes);
    CHECK(first_damage(middle.sample) == at("record_log", middle.name, target));
  }
}

TEST_CASE("a record that was sealed again with a newer key is told from one with none") {
  Middle middle;
  const Place place = middle.places[6];
  const uint32_t epoch = middle.sample.view(middle.name, place).epoch();
  middle.bytes[place.offset + 34] ^= 1;  // the time
  middle.sample.seal_record(middle.name, place,
                            middle.sample.key().at(epoch + 1).record_key(Class::kAccess));
  CHECK(first_damage(middle.sample) == at("record_resigned", middle.name, place));
  SECTION("and with its epoch changed as well") {
    put(middle.bytes.data() + place.offset + 8, epoch + 1);
    middle.sample.seal_record(middle.name, place,
                              middle.sample.key().at(epoch + 1).record_key(Class::kAccess));
    CHECK(first_damage(middle.sample) == at("record_epoch", middle.name, place));
  }
}

TEST_CASE("with the key of its epoch a record can be changed, but not its place in the chain") {
  struct Edit {
    size_t from_end;
    const char* code;
    size_t which;  // the record at which it is seen
  };
  const size_t record_bytes = Middle().places[6].bytes;
  const Edit edits[] = {{record_bytes - 34, "record_previous", 7},  // the time
                        {116, "record_sequence", 6},
                        {108, "record_previous", 6},
                        {76, "tenant_sequence", 6},
                        {68, "tenant_previous", 6},
                        {record_bytes - 14, "record_encoding", 6}};  // the number of fields
  for (const Edit& edit : edits) {
    Middle middle;
    const Place place = middle.places[6];
    const uint32_t epoch = middle.sample.view(middle.name, place).epoch();
    middle.bytes[place.offset + place.bytes - edit.from_end] ^= 1;
    middle.sample.seal_record(middle.name, place,
                              middle.sample.key().at(epoch).record_key(Class::kAccess));
    CHECK(first_damage(middle.sample) == at(edit.code, middle.name, middle.places[edit.which]));
  }
}

TEST_CASE("a wrong key cannot verify, and says so") {
  Sample sample = original();
  SampleOptions small;
  small.events = 3;
  Sample other = make_sample(small);
  VerifyOptions options = sample.options();
  const auto cannot = [&](const char* code) {
    const Report report = log::verify(sample.files, options);
    INFO(all_codes(report));
    CHECK(report.verdict == Verdict::kCannotVerify);
    CHECK(codes(report) == std::vector<std::string>{code});
  };
  SECTION("of another log") {
    sample.files.content["other.key"] = other.files.content[other.root + "/keys/log.verify"];
    options.key_path = "other.key";
    cannot("wrong_key");
  }
  SECTION("of a later epoch") {
    options.key_path = sample.root + "/keys/log.key";
    cannot("wrong_key");
  }
  SECTION("not a key") {
    sample.files.content["text"] = "secret";
    options.key_path = "text";
    cannot("wrong_key");
  }
  SECTION("not there") {
    options.key_path = "nowhere";
    cannot("io_error");
  }
  SECTION("no log") {
    options.log_directory = "nowhere";
    cannot("not_a_log");
  }
}

TEST_CASE("the manifest is checked by itself and against the chains") {
  Sample sample = original();
  std::string& bytes = sample.file("manifest");
  const auto damage = [&] { return first_damage(sample); };
  SECTION("gone") {
    sample.remove("manifest");
    CHECK(damage() == "manifest_missing - - manifest 0");
  }
  SECTION("a flipped bit") {
    bytes[50] ^= 1;
    CHECK(damage() == "manifest_damaged - - manifest 0");
  }
  SECTION("longer") {
    bytes += 'x';
    CHECK(damage() == "manifest_damaged - - manifest 0");
  }
  SECTION("edited") {
    bytes[50] ^= 1;
    sample.fix_crc("manifest", 0, bytes.size());
    CHECK(damage() == "manifest_mac - - manifest 0");
  }
  SECTION("another signing key, by somebody with the file key") {
    bytes[60] ^= 1;
    sample.seal_block("manifest", 0, bytes.size(), sample.key().at(3).file_key());
    CHECK(damage() == "checkpoint_signature - - checkpoints 0");
    const std::vector<std::string> all = codes(sample.verify());
    CHECK(std::count(all.begin(), all.end(), "manifest_content") == 4);  // by each chain's genesis
  }
  SECTION("records declared pruned that nobody pruned") {
    put(bytes.data() + 40 + 72, uint64_t{0});
    uint64_t at = 40 + 72;  // the first class; then its entries
    at += 16 + 64 * get<uint32_t>(bytes.data() + at + 8);
    const std::vector<std::string> names = sample.segments(Class::kAccess);
    put(bytes.data() + at, sample.places(names[1])[0].sequence);
    sample.seal_block("manifest", 0, bytes.size(), sample.key().at(3).file_key());
    sample.remove(names[0]);
    const Report report = sample.verify();
    INFO(all_codes(report));
    CHECK(report.verdict == Verdict::kTampered);
    CHECK(place(*report.first(Verdict::kTampered)) ==
          "stub_missing access 0 segments/" + stub_name(Class::kAccess, 0) + " 0");
  }
  SECTION("of another version") {
    put(bytes.data() + 8, uint32_t{2});
    sample.fix_crc("manifest", 0, bytes.size());
    const Report report = sample.verify();
    CHECK(report.verdict == Verdict::kCannotVerify);
    CHECK(codes(report) == std::vector<std::string>{"version"});
  }
}

TEST_CASE("the head is checked by itself and against the chains") {
  Sample sample = original();
  std::string& bytes = sample.file("head");
  const HmacKey key = sample.key().at(3).file_key();
  size_t best = 0;
  for (size_t slot = 0; slot < kHeadSlots; ++slot) {
    const char* const at = bytes.data() + 4096 * slot + 40;
    if (get<uint64_t>(at) > get<uint64_t>(bytes.data() + 4096 * best + 40)) best = slot;
  }
  SECTION("gone") {
    sample.remove("head");
    CHECK(first_damage(sample) == "head_missing - - head 0");
  }
  SECTION("one slot torn") {
    bytes[4096 * best + 100] ^= 1;
    const Report report = sample.verify();
    INFO(all_codes(report));
    CHECK(report.verdict == Verdict::kQualified);
    CHECK(place(report.findings[0]) == "head_torn - - head " + std::to_string(4096 * best));
  }
  SECTION("all slots torn") {
    for (size_t slot = 0; slot < kHeadSlots; ++slot) bytes[4096 * slot + 100] ^= 1;
    CHECK(first_damage(sample) == "head_damaged - - head 0");
  }
  SECTION("cut off") {
    bytes.resize(4096);
    CHECK(first_damage(sample) == "head_damaged - - head 0");
  }
  SECTION("edited") {
    bytes[4096 * best + 100] ^= 1;
    sample.fix_crc("head", 4096 * best, 4096);
    CHECK(first_damage(sample) == "head_mac - - head " + std::to_string(4096 * best));
  }
  SECTION("by somebody with the file key: another last tag") {
    bytes[4096 * best + 40 + 32 + 64 + 32] ^= 1;  // of the chain `access`
    sample.seal_block("head", 4096 * best, 4096, key);
    const Report report = sample.verify();
    CHECK(place(*report.first(Verdict::kTampered)) ==
          "head_content access " + std::to_string(report.chains[1].next_sequence) + " head 0");
  }
}

TEST_CASE("the file of tenants is checked by itself and against the chains") {
  Sample sample = original();
  std::string& bytes = sample.file("tenants");
  SECTION("a flipped bit") {
    bytes[50] ^= 1;
    CHECK(first_damage(sample) == "tenants_damaged - - tenants 0");
  }
  SECTION("edited") {
    bytes[50] ^= 1;
    sample.fix_crc("tenants", 0, bytes.size());
    CHECK(first_damage(sample) == "tenants_mac - - tenants 0");
  }
  SECTION("by somebody with the file key") {
    bytes[bytes.size() - 40] ^= 1;
    sample.seal_block("tenants", 0, bytes.size(), sample.key().at(3).file_key());
    CHECK(first_damage(sample).starts_with("tenants_content "));
  }
}

TEST_CASE("JSON names the first damage and the counts") {
  Middle middle;
  const Place place = middle.places[2];
  middle.bytes[place.offset + 70] ^= 1;
  const std::string json = report_json(middle.sample.verify());
  INFO(json);
  CHECK(json.find(R"({"class":"access","code":"record_damaged","offset":)" +
                  std::to_string(place.offset) + R"(,"segment":")" + middle.name +
                  R"(","sequence":)" + std::to_string(place.sequence) + R"(,"status":1,)") !=
        std::string::npos);
  CHECK(json.starts_with(R"({"anchors":0,"bytes":)"));
  CHECK(json.ends_with(R"("status":1})"));
}
