// What a verification found, as JSON (LOG_FORMAT.md, 11).
#include <algorithm>
#include <string>

#include "tenancy/log/json_text.h"
#include "tenancy/log/verify.h"

namespace tenancy::log {

const Finding* Report::first(Verdict wanted) const {
  for (const Finding& finding : findings) {
    if (finding.verdict == wanted) return &finding;
  }
  return nullptr;
}

bool Report::has(std::string_view code) const {
  return std::ranges::any_of(findings,
                             [code](const Finding& finding) { return finding.code == code; });
}

std::string report_json(const Report& report) {
  JsonObject out;
  out.number("status", static_cast<uint64_t>(report.verdict));
  if (report.log_id.empty()) {
    out.null("log");
  } else {
    out.text("log", report.log_id);
  }
  out.number("records", report.records);
  out.number("bytes", report.bytes);
  out.number("checkpoints", report.checkpoints);
  out.number("anchors", report.anchors);
  JsonObject chains;
  for (size_t i = 0; i < kClasses; ++i) {
    const ChainCounts& counts = report.chains[i];
    JsonObject chain;
    chain.number("records", counts.records);
    chain.number("events", counts.events);
    chain.number("segments", counts.segments);
    chain.number("stubs", counts.stubs);
    chain.number("not_comparable", counts.not_comparable);
    chain.number("repairs", counts.repairs);
    chain.number("tenants", counts.tenants);
    chain.number("sealed", counts.sealed);
    chain.number("first_sequence", counts.first_sequence);
    chain.number("next_sequence", counts.next_sequence);
    chains.raw(kClassNames[i], chain.str());
  }
  out.raw("chains", chains.str());
  std::string findings;
  for (const Finding& finding : report.findings) {
    JsonObject item;
    item.number("status", static_cast<uint64_t>(finding.verdict));
    item.text("code", finding.code);
    if (finding.chain < 0) {
      item.null("class");
    } else {
      item.text("class", kClassNames[static_cast<size_t>(finding.chain)]);
    }
    if (finding.sequence == kNoSequence) {
      item.null("sequence");
    } else {
      item.number("sequence", finding.sequence);
    }
    item.text("segment", finding.file);
    item.number("offset", finding.offset);
    item.text("text", finding.text);
    findings += (findings.empty() ? "" : ",") + item.str();
  }
  out.raw("findings", "[" + findings + "]");
  return out.str();
}

}  // namespace tenancy::log
