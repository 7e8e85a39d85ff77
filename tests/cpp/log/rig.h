// What the tests of the log share: a log in a directory of its own, and looks at what is in it.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/process.h"
#include "catch.h"
#include "tenancy/log/log.h"
#include "tenancy/log/reader.h"
#include "tenancy/log/segment_files.h"
#include "tenancy/log/verify.h"

namespace tenancy::log::test {

using tenancy::test::Child;
using tenancy::test::TempDir;

constexpr int64_t kStartNs = 1'750'000'000'000'000'000;

inline Options options_in(const std::string& directory) {
  Options options;
  options.directory = directory;
  options.host = "host-1";
  options.background = false;
  options.ring_bytes = 256 << 10;
  options.segment_bytes = 64 << 10;
  options.epoch_interval_ns = 0;
  options.checkpoint_interval_ns = 0;
  options.clock = std::make_shared<FakeClock>(kStartNs);
  return options;
}

inline std::unique_ptr<Log> open(const Options& options) {
  Result<std::unique_ptr<Log>> log = Log::open(options);
  if (!log) FAIL(log.error().message);
  return std::move(*log);
}

inline Position append(Log& log, Class chain, std::optional<std::string_view> tenant,
                       std::string_view text, Ack ack = Ack::kRing) {
  const Field fields[] = {{FieldId::kType, Value::text("data_read"), {}},
                          {FieldId::kResourceId, Value::text(text), {}}};
  const Result<Position> at = log.append({chain, tenant, fields, 0}, ack);
  if (!at) FAIL(at.error().message);
  return *at;
}

inline Report checked(const std::string& directory, std::vector<std::string> anchors = {},
                      int64_t now_ns = 0, Files& files = Files::system()) {
  VerifyOptions options;
  options.log_directory = directory + "/log";
  options.key_path = directory + "/keys/log.verify";
  options.anchors = std::move(anchors);
  options.now_ns = now_ns;
  return verify(files, options);
}

inline std::string shown(const Report& report) {
  std::string text = "verdict " + std::to_string(static_cast<int>(report.verdict));
  for (const Finding& finding : report.findings) {
    text += "\n  " + std::to_string(static_cast<int>(finding.verdict)) + " " + finding.code +
            " chain " + std::to_string(finding.chain) + " sequence " +
            std::to_string(finding.sequence) + " " + finding.file + "@" +
            std::to_string(finding.offset) + ": " + finding.text;
  }
  return text;
}

inline bool has(const Report& report, std::string_view code) {
  for (const Finding& finding : report.findings) {
    if (finding.code == code) return true;
  }
  return false;
}

// Where the kept records of a chain begin.
inline uint64_t kept_in(const std::string& directory, Class chain, Files& files = Files::system()) {
  const auto kept = kept_from(files, directory + "/log");
  if (!kept) FAIL(kept.error().message);
  return (*kept)[index(chain)];
}

// The resource ids of a chain's kept events in order, by what is durable.
inline std::vector<std::string> events_of(const std::string& directory, Class chain,
                                          Files& files = Files::system()) {
  Result<std::unique_ptr<Reader>> reader =
      Reader::open(files, directory + "/log", chain, kept_in(directory, chain, files));
  if (!reader) FAIL(reader.error().message);
  std::vector<std::string> events;
  RecordView view;
  while (true) {
    const Result<bool> more = (*reader)->next(&view);
    if (!more) FAIL(more.error().message);
    if (!*more) return events;
    if (view.kind() != Kind::kEvent) continue;
    const auto id = view.find(FieldId::kResourceId);
    events.emplace_back(id ? id->bytes : "");
  }
}

}  // namespace tenancy::log::test
