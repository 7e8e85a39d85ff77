#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/catalog/catalog.h"

namespace tenancy {
namespace {

struct Read {
  std::shared_ptr<const Catalog> catalog;
  std::vector<CatalogError> errors;
};

Read read(const std::string& audit) {
  const Result<Json> json =
      Json::parse(R"({"catalog": "c", "plans": {"p": {}}, "audit": )" + audit + "}");
  REQUIRE(json.ok());
  Read out;
  out.catalog = Catalog::parse(*json, &out.errors);
  return out;
}

AuditRule rule(const std::string& text, AuditClass of = AuditClass::kRefusals) {
  const Read found = read(R"({")" + std::string(kAuditClassNames[static_cast<size_t>(of)]) +
                          R"(": )" + text + "}");
  REQUIRE(found.catalog != nullptr);
  return found.catalog->audit().rule(of);
}

TEST_CASE("without a policy refusals are recorded, strangers in bounds, and no use of keys") {
  const AuditPolicy policy = read("{}").catalog->audit();
  CHECK(policy.rule(AuditClass::kRefusals).mode == AuditRule::Mode::kAlways);
  CHECK(policy.rule(AuditClass::kAnonymous) == AuditRule{AuditRule::Mode::kBounded, 0, 10});
  CHECK(policy.rule(AuditClass::kKeyUse).mode == AuditRule::Mode::kNever);
  CHECK(policy.rule(AuditClass::kCrossTenant).mode == AuditRule::Mode::kAlways);
  CHECK(policy.rule(AuditClass::kThresholds).mode == AuditRule::Mode::kAlways);
  CHECK(policy.rule(AuditClass::kQuestions).mode == AuditRule::Mode::kNever);
  CHECK_FALSE(policy.count_when_full);
}

TEST_CASE("every class takes every rule") {
  for (size_t i = 0; i < kAuditClasses; ++i) {
    const auto of = static_cast<AuditClass>(i);
    CHECK(rule("\"always\"", of) == AuditRule{});
    CHECK(rule("\"never\"", of).mode == AuditRule::Mode::kNever);
    CHECK(rule("\"refusals\"", of).mode == AuditRule::Mode::kRefusals);
    CHECK(rule(R"({"sampled": 0.01})", of) == AuditRule{AuditRule::Mode::kSampled, 10'000, 0});
    CHECK(rule(R"({"per_second": 5})", of) == AuditRule{AuditRule::Mode::kBounded, 0, 5});
  }
  CHECK(rule(R"({"sampled": 0.000001})").per_million == 1);
  CHECK(rule(R"({"sampled": 1})").per_million == 1'000'000);
  CHECK(rule(R"({"sampled": 1.0})").per_million == 1'000'000);
  CHECK(read(R"({"on_full": "count"})").catalog->audit().count_when_full);
}

TEST_CASE("retention is by class, and nothing ends before somebody says where it goes") {
  const RetentionPolicy unsaid = read("{}").catalog->audit().retention;
  CHECK(unsaid.days == std::array<uint32_t, 4>{2555, 1095, 365, 2555});
  CHECK(unsaid.archive.empty());
  const RetentionPolicy said =
      read(R"({"retention": {"other": 30, "usage": 3650}, "archive": "s3://bucket/audit"})")
          .catalog->audit()
          .retention;
  CHECK(said.days == std::array<uint32_t, 4>{2555, 1095, 30, 3650});
  CHECK(said.archive == "s3://bucket/audit");
  CHECK(read(R"({"archive": "none"})").catalog->audit().retention.archive == "none");
  CHECK(read(R"({"archive": "/mnt/a"})").catalog->audit().retention.archive == "/mnt/a");
}

TEST_CASE("personal fields are those that are named, and none without") {
  CHECK(read("{}").catalog->audit().personal.names.empty());
  const PersonalFields named =
      read(R"({"personal": ["user_agent", "ip", "customer name"]})").catalog->audit().personal;
  CHECK(named.names == std::vector<std::string>{"customer name", "ip", "user_agent"});
  CHECK(named.contains("ip"));
  CHECK_FALSE(named.contains("principal"));
}

TEST_CASE("what is wrong with a policy is told by path") {
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"3", "audit"},
      {R"({"logins": "always"})", "audit.logins"},
      {R"({"refusals": "sometimes"})", "audit.refusals"},
      {R"({"refusals": true})", "audit.refusals"},
      {R"({"refusals": {}})", "audit.refusals"},
      {R"({"refusals": {"sampled": 0.1, "per_second": 1}})", "audit.refusals"},
      {R"({"refusals": {"often": 1}})", "audit.refusals.often"},
      {R"({"key_use": {"sampled": 0}})", "audit.key_use.sampled"},
      {R"({"key_use": {"sampled": 1.01}})", "audit.key_use.sampled"},
      {R"({"key_use": {"sampled": 0.0000001}})", "audit.key_use.sampled"},
      {R"({"key_use": {"sampled": 1e-3}})", "audit.key_use.sampled"},
      {R"({"key_use": {"sampled": "0.5"}})", "audit.key_use.sampled"},
      {R"({"anonymous": {"per_second": 0}})", "audit.anonymous.per_second"},
      {R"({"on_full": "drop"})", "audit.on_full"},
      {R"({"retention": 365})", "audit.retention"},
      {R"({"retention": {"billing": 365}})", "audit.retention.billing"},
      {R"({"retention": {"other": 0}})", "audit.retention.other"},
      {R"({"retention": {"other": 1.5}})", "audit.retention.other"},
      {R"({"retention": {"usage": "7 years"}})", "audit.retention.usage"},
      {R"({"retention": {"access": 36501}})", "audit.retention.access"},
      {R"({"archive": ""})", "audit.archive"},
      {R"({"archive": "bucket"})", "audit.archive"},
      {R"({"archive": null})", "audit.archive"},
      {R"({"personal": "ip"})", "audit.personal"},
      {R"({"personal": ["ip", "type"]})", "audit.personal[1]"},
      {R"({"personal": ["ip", "ip"]})", "audit.personal[1]"},
      {R"({"personal": [""]})", "audit.personal[0]"},
  };
  for (const auto& [text, path] : wrong) {
    INFO(text);
    const Read found = read(text);
    CHECK(found.catalog == nullptr);
    REQUIRE_FALSE(found.errors.empty());
    CHECK(found.errors.front().path == path);
  }
}

}  // namespace
}  // namespace tenancy
