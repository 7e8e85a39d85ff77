// What a verifier reported, as tests compare it.
#pragma once

#include <string>
#include <vector>

#include "tenancy/log/verify.h"

namespace tenancy::log {

// The codes of all findings, in their order.
inline std::vector<std::string> codes(const Report& report) {
  std::vector<std::string> out;
  out.reserve(report.findings.size());
  for (const Finding& finding : report.findings) out.push_back(finding.code);
  return out;
}

}  // namespace tenancy::log
