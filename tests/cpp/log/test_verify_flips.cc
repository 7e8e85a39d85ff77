// Every byte of a log of thousands of records, changed one at a time.
#include <algorithm>
#include <map>
#include <random>

#include "catch.h"
#include "sample.h"
#include "tenancy/log/verify_chain.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

// The space that is allocated ahead is all alike: a little of it stands for the rest.
void trim(Sample& sample) {
  for (const std::string_view name : kClassNames) {
    std::string& bytes = sample.file(sample.segments(*class_from_name(name)).back());
    bytes.resize(std::min(bytes.size(), bytes.find_last_not_of('\0') + 300));
  }
}

// What `verify` prepares for the chain, without what is not of interest here.
ChainClaims claims_of(Sample& sample, const Manifest& manifest, const Head& head) {
  ChainClaims claims;
  claims.chain = Class::kAccess;
  claims.segments = sample.path("segments");
  claims.manifest = &manifest;
  claims.head = &head;
  claims.public_key = manifest.public_key;
  claims.promised = head.chains[1].next_sequence;
  claims.epoch_max = 8;
  for (const std::string& name : sample.segments(Class::kAccess)) {
    claims.firsts.push_back(sample.places(name)[0].sequence);
  }
  return claims;
}

std::string first_code(ChainVerifier verifier) {
  while (verifier.step()) {
  }
  return verifier.findings().empty() ? "" : verifier.findings()[0].code;
}

}  // namespace

TEST_CASE("every single changed byte of the segments of thousands of records is found",
          "[exhaustive]") {
  SampleOptions options;
  options.events = 2600;
  options.filler_bytes = 3;
  options.checkpoint_every = 1000;
  options.rotate_every = 900;
  Sample sample = make_sample(options);
  trim(sample);
  const Paths paths = Paths::of_log(sample.root + "/log");
  const Manifest manifest = *read_manifest(sample.files, paths);
  // A head of a while ago: what follows it is promised by nobody.
  Head head = read_head(sample.files, paths)->best()->head;
  const std::string last = sample.segments(Class::kAccess).back();
  const std::vector<Place> tail = sample.places(last);
  const size_t promised = tail.size() - 20;
  head.chains[1].next_sequence = tail[promised].sequence;
  head.chains[1].first = tail[0].sequence;
  head.chains[1].offset = tail[promised].offset;
  head.chains[1].tag = sample.view(last, tail[promised]).previous();
  const ChainClaims claims = claims_of(sample, manifest, head);
  VerifyKeys keys(sample.key());

  // The state before each record, each seal and each segment, by where its bytes begin.
  std::map<std::pair<std::string, uint64_t>, ChainVerifier> states;
  ChainVerifier verifier(sample.files, keys, claims);
  const std::vector<std::string> names = sample.segments(Class::kAccess);
  size_t next_segment = 0;
  while (true) {
    const ChainVerifier before = verifier.resume();
    if (!verifier.step()) break;
    if (verifier.offset() == kSegmentHeaderBytes) {
      states.emplace(std::pair(names[next_segment++], 0), before);
    } else {
      states.emplace(std::pair(before.file(), before.offset()), before);
    }
  }
  REQUIRE(verifier.findings().empty());
  REQUIRE(verifier.counts().records > 2500);
  REQUIRE(names.size() > 7);

  std::mt19937 random(20260101);
  size_t changed = 0;
  size_t qualified = 0;
  for (const std::string& name : names) {
    std::string& bytes = sample.file(name);
    for (uint64_t at = 0; at < bytes.size(); ++at) {
      const auto state = std::prev(states.upper_bound({name, at}));
      REQUIRE(state->first.first == name);
      const char before = bytes[at];
      bytes[at] = static_cast<char>(before ^ static_cast<char>(1 + random() % 255));
      ChainVerifier damaged = state->second.resume();
      while (damaged.step()) {
      }
      bytes[at] = before;
      ++changed;
      if (damaged.findings().empty()) FAIL(name << ": byte " << at << " was not missed");
      const Finding& finding = damaged.findings()[0];
      const bool unpromised = name == last && at >= tail[promised].offset;
      const bool right = unpromised ? finding.verdict == Verdict::kQualified
                                    : finding.verdict == Verdict::kTampered;
      const bool exact = finding.file == name && finding.offset <= at;
      if (!right || !exact) {
        FAIL(name << ": byte " << at << " gave " << finding.code << " in " << finding.file << " at "
                  << finding.offset);
      }
      qualified += unpromised ? 1 : 0;
    }
  }
  CHECK(changed > 500'000);
  CHECK(qualified > 20 * kRecordBytesMin);

  // The short way gives what the long one gives.
  for (int i = 0; i < 40; ++i) {
    const std::string& name = names[random() % names.size()];
    std::string& bytes = sample.file(name);
    const uint64_t at = random() % bytes.size();
    const char before = bytes[at];
    bytes[at] = static_cast<char>(before ^ 0x20);
    const auto state = std::prev(states.upper_bound({name, at}));
    CHECK(first_code(state->second.resume()) ==
          first_code(ChainVerifier(sample.files, keys, claims)));
    bytes[at] = before;
  }
}

TEST_CASE("every single changed byte of the other files of a log is found") {
  SampleOptions options;
  options.events = 2;
  options.filler_bytes = 3;
  options.checkpoint_every = 2;
  options.rotate_every = 2;
  options.tail = 1;
  Sample sample = make_sample(options);
  trim(sample);
  REQUIRE(sample.verify({sample.note()}).verdict == Verdict::kWhole);
  for (const char* name : {"manifest", "checkpoints", "tenants"}) {
    std::string& bytes = sample.file(name);
    for (size_t at = 0; at < bytes.size(); ++at) {
      bytes[at] ^= 4;
      const Report report = sample.verify();
      bytes[at] ^= 4;
      const Finding& finding = report.findings[0];
      if (report.verdict != Verdict::kTampered || finding.file != name) {
        FAIL(name << ": byte " << at << " gave " << finding.code << " in " << finding.file);
      }
    }
  }
  // Of the head's four slots one may always be torn by a power cut.
  std::string& head = sample.file("head");
  for (size_t at = 0; at < head.size(); ++at) {
    head[at] ^= 4;
    const auto slots = read_head(sample.files, Paths::of_log(sample.root + "/log"));
    REQUIRE(slots->slots[at / kHeadSlotBytes].torn);
    if (at % 61 == 0) {
      const Report report = sample.verify();
      REQUIRE(report.verdict == Verdict::kQualified);
      REQUIRE(report.findings[0].code == "head_torn");
      REQUIRE(report.findings[0].offset == at / kHeadSlotBytes * kHeadSlotBytes);
    }
    head[at] ^= 4;
  }
}
