// AuditPolicy: which facts of decisions go into the log, as the catalog says it.
//
// Thread safety: plain values.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenancy {

// Events are told apart by what proves them: a stranger can cause refusals without end, a tenant
// cannot.
enum class AuditClass : uint8_t {
  kRefusals = 0,     // of callers that proved, or were given by the program, a tenant
  kAnonymous = 1,    // of all others
  kKeyUse = 2,       // an API key was presented and is right
  kCrossTenant = 3,  // a proven caller named a tenant that is not its own
  kThresholds = 4,   // a quota reached one of its alert percentages
  kQuestions = 5,    // a program asked whether somebody may do something, and the answer was no
};
constexpr size_t kAuditClasses = 6;
constexpr std::array<std::string_view, kAuditClasses> kAuditClassNames = {
    "refusals", "anonymous", "key_use", "cross_tenant", "thresholds", "questions"};

struct AuditRule {
  enum class Mode : uint8_t { kAlways = 0, kNever, kRefusals, kSampled, kBounded };
  Mode mode = Mode::kAlways;
  uint32_t per_million = 0;  // kSampled: the share that is recorded
  uint32_t per_second = 0;   // kBounded: the most that one process records
  bool operator==(const AuditRule&) const = default;
};

// How long records of the log are kept, by retention class, and where they go before they end.
constexpr size_t kRetentionClasses = 4;
constexpr std::array<std::string_view, kRetentionClasses> kRetentionClassNames = {
    "security", "access", "other", "usage"};

struct RetentionPolicy {
  // Seven, three and one year; usage as long as the invoices that stand on it.
  std::array<uint32_t, kRetentionClasses> days = {2555, 1095, 365, 2555};
  // The archive's URL; "none": records end without one; empty: none ends, for want of an archive.
  std::string archive{};
};

// Which fields of facts are sealed with the key of the person they are about. None unless said: a
// sealed field is lost with its key, and the log is kept as evidence.
struct PersonalFields {
  std::vector<std::string> names;  // ascending
  bool contains(std::string_view name) const {
    return std::ranges::binary_search(names, name, {},
                                      [](const auto& n) { return std::string_view(n); });
  }
  bool operator==(const PersonalFields&) const = default;
};

struct AuditPolicy {
  std::array<AuditRule, kAuditClasses> rules = {{
      {},
      {AuditRule::Mode::kBounded, 0, 10},
      {AuditRule::Mode::kNever, 0, 0},
      {},
      {},
      {AuditRule::Mode::kNever, 0, 0},
  }};
  // A fact that the log has no room for refuses its decision, unless this is set: then it is only
  // counted.
  bool count_when_full = false;
  RetentionPolicy retention{};
  PersonalFields personal{};

  const AuditRule& rule(AuditClass of) const { return rules[static_cast<size_t>(of)]; }
};

}  // namespace tenancy
