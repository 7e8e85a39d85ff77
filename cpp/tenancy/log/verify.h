// Offline verification of a log directory with its key. (LOG_FORMAT.md, 11)
//
// Thread safety: free functions without state. Nothing is ever written.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

enum class Verdict : uint8_t {
  kWhole = 0,
  kTampered = 1,
  kCannotVerify = 3,
  kQualified = 4,  // whole, but unanchored, repaired, torn behind the last head, or silent
};

struct Finding {
  Verdict verdict = Verdict::kTampered;  // kWhole: a note
  std::string code;                      // of the table in LOG_FORMAT.md, 11
  std::string text;
  int chain = -1;                   // index of the class, or -1
  uint64_t sequence = kNoSequence;  // of the record, or the one expected at that place
  std::string file;                 // below the log's directory
  uint64_t offset = 0;
};

struct ChainCounts {
  uint64_t records = 0;
  uint64_t events = 0;
  uint64_t segments = 0;
  uint64_t stubs = 0;
  uint64_t not_comparable = 0;  // checkpoints and anchors whose size lies inside a stub
  uint64_t repairs = 0;
  uint64_t first_sequence = 0;
  uint64_t next_sequence = 0;
  uint64_t tenants = 0;
  uint64_t sealed = 0;  // fields
};

struct Report {
  Verdict verdict = Verdict::kWhole;
  std::vector<Finding> findings;  // in the order found; the worst is not necessarily the first
  std::string log_id;             // hex; empty when unknown
  std::array<ChainCounts, kClasses> chains{};
  uint64_t records = 0;
  uint64_t checkpoints = 0;
  uint64_t anchors = 0;
  uint64_t bytes = 0;

  // The first finding of that verdict, or null.
  const Finding* first(Verdict wanted) const;
  bool has(std::string_view code) const;
};

struct VerifyOptions {
  std::string log_directory;
  std::string key_path;                // a block of `log.verify`
  std::vector<std::string> anchors{};  // notes kept elsewhere
  int64_t now_ns = 0;                  // 0: silence up to now is not judged
  std::string host_key_path{};         // where `key_on_host` is looked for; empty: nowhere
  std::string subjects_path{};         // `keys/subjects`; empty: erasures are not judged
};

Report verify(Files& files, const VerifyOptions& options);

// The report as one JSON text (RFC 8785): status, log, records, bytes, checkpoints, anchors, chains
// by class, and findings with status, code, class, sequence, segment, offset and text. What does
// not apply is null.
std::string report_json(const Report& report);

}  // namespace tenancy::log
