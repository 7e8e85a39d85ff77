#include "tenancy/catalog/audit_reader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <string>
#include <string_view>

namespace tenancy {
namespace {

constexpr size_t kShareDigits = 6;
constexpr int64_t kPerSecondMax = 1'000'000;
constexpr int64_t kDaysMax = 36'500;  // a century
constexpr size_t kNameBytesMax = 255;

// A share of 0.000001 to 1 in millionths.
std::optional<uint32_t> read_share(const Field& field) {
  const Json& json = field.json();
  if (json.is_integer() && json.as_integer() == 1) return 1'000'000;
  if (json.kind() == Json::Kind::kDecimal) {
    const std::string& text = json.as_decimal_text();
    const bool below_one = text.starts_with("0.") || text.starts_with("1.");
    if (below_one && text.size() <= 2 + kShareDigits) {
      uint32_t millionths = text[0] == '1' ? 1 : 0;
      bool digits = true;
      for (size_t i = 2; i < 2 + kShareDigits; ++i) {
        const char c = i < text.size() ? text[i] : '0';
        digits &= c >= '0' && c <= '9';
        millionths = millionths * 10 + static_cast<uint32_t>(c - '0');
      }
      if (digits && millionths >= 1 && millionths <= 1'000'000) return millionths;
    }
  }
  field.expected("a number above 0 and not above 1 with at most 6 digits after the point");
  return std::nullopt;
}

void read_rule(const Field& field, AuditRule* rule) {
  if (!field.json().is_object()) {
    if (!field.json().is_string()) {
      field.expected("\"always\", \"never\", \"refusals\", {sampled: 0.01} or {per_second: 10}");
      return;
    }
    const std::optional<size_t> mode = field.choice({"always", "never", "refusals"});
    if (mode) *rule = {static_cast<AuditRule::Mode>(*mode), 0, 0};
    return;
  }
  if (!field.is_mapping_of({"sampled", "per_second"})) return;
  const Field sampled = field.member("sampled");
  const Field bounded = field.member("per_second");
  if (sampled.present() == bounded.present()) {
    field.error("expected either \"sampled\" or \"per_second\"");
  } else if (sampled.present()) {
    const std::optional<uint32_t> share = read_share(sampled);
    if (share) *rule = {AuditRule::Mode::kSampled, *share, 0};
  } else {
    const std::optional<int64_t> most = bounded.integer(1, kPerSecondMax);
    if (most) *rule = {AuditRule::Mode::kBounded, 0, static_cast<uint32_t>(*most)};
  }
}

void read_retention(const Field& field, RetentionPolicy* policy) {
  if (!field.is_mapping_of({"security", "access", "other", "usage"})) return;
  for (size_t i = 0; i < kRetentionClasses; ++i) {
    const Field member = field.member(kRetentionClassNames[i]);
    if (!member.present()) continue;
    if (const auto days = member.integer(1, kDaysMax)) {
      policy->days[i] = static_cast<uint32_t>(*days);
    }
  }
}

void read_archive(const Field& field, RetentionPolicy* policy) {
  constexpr std::string_view kWhat =
      "\"none\" or where the archive is, such as \"s3://bucket/audit\" or \"/mnt/archive\"";
  const std::optional<std::string> place = field.text(kWhat);
  if (!place) return;
  if (*place != "none" && !place->starts_with('/') && place->find("://") == std::string::npos) {
    field.expected(kWhat);
    return;
  }
  policy->archive = *place;
}

// What the log itself, retention and reports go by.
constexpr std::array<std::string_view, 10> kNeverSealed = {
    "event_id", "type",   "action",          "resource", "result",
    "reason",   "source", "policy_revision", "metric",   "quantity"};

bool may_be_sealed(std::string_view name) {
  return !name.empty() && name.size() <= kNameBytesMax &&
         std::ranges::find(kNeverSealed, name) == kNeverSealed.end();
}

PersonalFields read_personal(const Field& field) {
  PersonalFields out{field.texts(&may_be_sealed,
                                 "the name of a field that may be sealed: principal, ip, "
                                 "user_agent, request_id, session_id, resource_id, key_id, or a "
                                 "member of the context")};
  std::ranges::sort(out.names);
  return out;
}

}  // namespace

AuditPolicy read_audit_policy(const Field& field) {
  AuditPolicy policy;
  if (!field.present()) return policy;
  if (!field.is_mapping_of({"refusals", "anonymous", "key_use", "cross_tenant", "thresholds",
                            "questions", "on_full", "retention", "archive", "personal"})) {
    return policy;
  }
  for (size_t i = 0; i < kAuditClasses; ++i) {
    const Field member = field.member(kAuditClassNames[i]);
    if (member.present()) read_rule(member, &policy.rules[i]);
  }
  if (const Field kept = field.member("retention"); kept.present()) {
    read_retention(kept, &policy.retention);
  }
  if (const Field archive = field.member("archive"); archive.present()) {
    read_archive(archive, &policy.retention);
  }
  if (const Field full = field.member("on_full"); full.present()) {
    const std::optional<size_t> chosen = full.choice({"refuse", "count"});
    if (chosen) policy.count_when_full = *chosen == 1;
  }
  if (const Field personal = field.member("personal"); personal.present()) {
    policy.personal = read_personal(personal);
  }
  return policy;
}

}  // namespace tenancy
