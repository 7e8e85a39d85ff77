#include <map>
#include <optional>

#include "base/process.h"
#include "fixture.h"
#include "tenancy/log/log.h"
#include "tenancy/log/reader.h"

namespace tenancy::testing {
namespace {

using log::FieldId;
using tenancy::test::TempDir;

// The test catalog with an "audit" member.
std::string catalog_with(const std::string& audit) {
  std::string text = kCatalog;
  const std::string before = "\"plans\":";
  return text.insert(text.find(before), "\"audit\": " + audit + ", ");
}

struct Fact {
  log::Kind kind;
  std::optional<std::string> tenant;
  std::map<std::string, std::string> fields;
  std::string operator[](const std::string& name) const {
    const auto found = fields.find(name);
    return found == fields.end() ? "" : found->second;
  }
};

std::string name_of(const log::Field& field) {
  switch (field.id) {
    case FieldId::kEventId: return "event_id";
    case FieldId::kType: return "type";
    case FieldId::kAction: return "action";
    case FieldId::kResource: return "resource";
    case FieldId::kResourceId: return "resource_id";
    case FieldId::kPrincipal: return "principal";
    case FieldId::kResult: return "result";
    case FieldId::kIp: return "ip";
    case FieldId::kUserAgent: return "user_agent";
    case FieldId::kRequestId: return "request_id";
    case FieldId::kPolicyRevision: return "policy_revision";
    case FieldId::kReason: return "reason";
    case FieldId::kKeyId: return "key_id";
    default: return std::string(field.name);
  }
}

// An engine whose facts go into a log of its own.
class AuditedEngine : public TestEngine {
 public:
  explicit AuditedEngine(const std::string& audit = "{}", Engine::Options options = {})
      : TestEngine(std::move(options)) {
    log::Options own;
    own.directory = directory_.path();
    own.background = false;
    own.shared = false;
    own.ring_bytes = 1 << 20;
    own.segment_bytes = 1 << 20;
    own.full_wait_ns = 0;
    own.clock = clock;
    auto opened = log::Log::open(own);
    REQUIRE(opened.ok());
    log = std::move(*opened);
    put(audit);
    engine->set_log(log);
  }

  void put(const std::string& audit) {
    ChangeSet change;
    change.revision = ++revision_;
    change.catalog = parse_catalog(catalog_with(audit));
    apply(std::move(change));
  }

  std::vector<Fact> facts(log::Class chain = log::Class::kSecurity) {
    REQUIRE(log->flush().ok());
    auto reader = log::Reader::open(log::Files::system(), log->log_directory(), chain, 0);
    REQUIRE(reader.ok());
    std::vector<Fact> out;
    log::RecordView record;
    while (true) {
      const Result<bool> more = (*reader)->next(&record);
      REQUIRE(more.ok());
      if (!*more) return out;
      if (record.kind() != log::Kind::kEvent) continue;
      Fact fact{record.kind(), std::nullopt, {}};
      if (const auto tenant = record.tenant()) fact.tenant = std::string(*tenant);
      log::FieldCursor cursor = record.fields();
      log::Field field;
      while (cursor.next(&field)) {
        const bool number = field.value.type == log::ValueType::kUint;
        fact.fields[name_of(field)] =
            number ? std::to_string(field.value.number) : std::string(field.value.bytes);
      }
      out.push_back(std::move(fact));
    }
  }

  std::shared_ptr<log::Log> log;
  uint64_t revision_ = 1;

 private:
  TempDir directory_;
};

TEST_CASE("a refusal is in the log with tenant, principal, code and the policy's revision") {
  AuditedEngine t;
  Request r = t.request(t.bob);
  r.permission = "billing:read";
  r.resource = "invoice/7";
  r.ip = "192.0.2.7";
  r.endpoint = "/bills";
  REQUIRE(t.check(r).reason == Reason::kPermissionDenied);
  const auto facts = t.facts();
  REQUIRE(facts.size() == 1);
  const Fact& fact = facts[0];
  CHECK(fact.tenant == "ten_bob");
  CHECK(fact["event_id"].size() == 16);
  CHECK(fact["type"] == "permission_denied");
  CHECK(fact["action"] == "billing:read");
  CHECK(fact["resource"] == "invoice");
  CHECK(fact["resource_id"] == "7");
  CHECK(fact["principal"] == "bob");
  CHECK(fact["result"] == "denied");
  CHECK(fact["ip"] == "192.0.2.7");
  CHECK(fact["policy_revision"] == "2");
  CHECK(fact["reason"] == "PERMISSION_DENIED");
  CHECK(fact["key_id"] == t.bob.row.id);
  CHECK(fact["detail"] == "billing:read");
  CHECK(fact["endpoint"] == "/bills");
  CHECK(t.engine->facts().recorded == 1);
}

TEST_CASE("personal fields of a fact about somebody are sealed, of a stranger's not") {
  AuditedEngine t(R"({"personal": ["principal", "ip", "endpoint"], "anonymous": "always"})");
  Request r = t.request(t.bob);
  r.permission = "billing:read";
  r.ip = "192.0.2.7";
  r.endpoint = "/bills";
  REQUIRE(t.check(r).reason == Reason::kPermissionDenied);
  Request stranger;
  stranger.ip = "192.0.2.8";
  CHECK(t.check(stranger).reason == Reason::kMissingTenant);
  const auto facts = t.facts();
  REQUIRE(facts.size() == 2);
  for (const char* name : {"principal", "ip", "endpoint"}) {
    CHECK(facts[0][name].size() > 45);  // key, nonce, tag
    CHECK(facts[0][name].find("192.0.2.7") == std::string::npos);
  }
  CHECK(facts[0]["type"] == "permission_denied");
  CHECK(facts[0]["action"] == "billing:read");
  CHECK(facts[1]["ip"] == "192.0.2.8");
  REQUIRE(t.log->erase("ten_bob", "bob", "op", "asked").ok());
}

struct AskedOrigin final : OriginSource {
  RequestOrigin origin() override {
    ++asked;
    return from;
  }
  RequestOrigin from{"GET", "/bills/7", "curl/8.5"};
  int asked = 0;
};

TEST_CASE("method, path and user agent are asked for where a fact is written, and only there") {
  AuditedEngine t(R"({"personal": ["user_agent", "path"], "anonymous": "never"})");
  AskedOrigin origin;
  Request r = t.request(t.bob);
  r.origin = &origin;
  REQUIRE(t.check(r).allowed());
  Request stranger;
  stranger.origin = &origin;
  REQUIRE_FALSE(t.check(stranger).allowed());
  CHECK(origin.asked == 0);
  r.permission = "billing:read";
  REQUIRE_FALSE(t.check(r).allowed());
  CHECK(origin.asked == 1);
  t.put(R"({"key_use": "always"})");
  r.permission = {};
  REQUIRE(t.check(r).allowed());
  const auto facts = t.facts();
  REQUIRE(facts.size() == 2);
  CHECK(facts[0]["method"] == "GET");
  CHECK(facts[0]["path"].size() > 45);  // sealed: key, nonce, tag
  CHECK(facts[0]["user_agent"].size() > 45);
  CHECK(facts[1]["type"] == "key_used");
  CHECK(facts[1]["path"] == "/bills/7");
  CHECK(facts[1]["user_agent"] == "curl/8.5");
}

TEST_CASE("what a stranger wrote is bounded, made text, and has no secrets in it") {
  AuditedEngine t;
  AskedOrigin origin;
  const std::string path = "/hooks/" + t.acme.text + "/sess_0123456789/send";
  const std::string agent = "\xff" + std::string(100'000, 'x');
  origin.from = {"BREW", path, agent};
  Request r = t.request(t.bob);
  r.permission = "billing:read";
  r.origin = &origin;
  REQUIRE_FALSE(t.check(r).allowed());
  const Fact fact = t.facts().at(0);
  CHECK(fact["path"] == "/hooks/" + t.acme.text.substr(0, kApiKeyPublicChars) + "/sess_/send");
  CHECK(fact["user_agent"] == "?" + std::string(511, 'x'));
}

TEST_CASE("a refusal that is no decision is told like one, with who asked in which request") {
  AuditedEngine t;
  AskedOrigin origin;
  Request r = t.request(t.bob);
  r.ip = "192.0.2.7";
  r.request_id = "q1";
  const Decision within = t.check(r);
  REQUIRE(within.allowed());
  t.put("{}");  // newer definitions
  Request asked;
  asked.origin = &origin;
  asked.endpoint = "/export";
  t.engine->note_refusal(asked, {Reason::kRateLimitExceeded, "exports", false}, &within);
  Request named;
  named.tenant = "ten_acme";
  named.principal = "system";
  named.permission = "quota:consume";
  t.engine->note_refusal(named, {Reason::kQuotaExceeded, "tokens", false}, nullptr);
  const auto facts = t.facts();
  REQUIRE(facts.size() == 2);
  CHECK(facts[0].tenant == "ten_bob");
  CHECK(facts[0]["type"] == "limit_exceeded");
  CHECK(facts[0]["reason"] == "RATE_LIMIT_EXCEEDED");
  CHECK(facts[0]["result"] == "denied");
  CHECK(facts[0]["detail"] == "exports");
  CHECK(facts[0]["endpoint"] == "/export");
  CHECK(facts[0]["principal"] == "bob");
  CHECK(facts[0]["key_id"] == t.bob.row.id);
  CHECK(facts[0]["ip"] == "192.0.2.7");
  CHECK(facts[0]["request_id"] == "q1");
  CHECK(facts[0]["path"] == "/bills/7");
  CHECK(facts[0]["policy_revision"] == "3");
  CHECK(facts[1].tenant == "ten_acme");
  CHECK(facts[1]["type"] == "quota_exceeded");
  CHECK(facts[1]["principal"] == "system");
  CHECK(facts[1]["action"] == "quota:consume");
  CHECK_FALSE(facts[1].fields.contains("ip"));
  CHECK(t.engine->facts().recorded == 2);
}

TEST_CASE("a question is told only where the catalog says so, and the program is nobody to seal") {
  AuditedEngine t(R"({"personal": ["principal"]})");
  Request asked;
  asked.tenant = "ten_bob";
  asked.principal = "ann";
  asked.permission = "billing:read";
  const Refusal question{Reason::kPermissionDenied, "billing:read", true};
  t.engine->note_refusal(asked, question, nullptr);
  CHECK(t.facts().empty());
  CHECK(t.engine->facts().suppressed == 0);
  t.put(R"({"questions": "always", "refusals": "never", "personal": ["principal"]})");
  t.engine->note_refusal(asked, question, nullptr);
  asked.principal = "system";
  t.engine->note_refusal(asked, question, nullptr);
  t.engine->note_refusal(asked, {Reason::kPermissionDenied, "billing:read", false}, nullptr);
  const auto facts = t.facts();
  REQUIRE(facts.size() == 2);
  CHECK(facts[0]["principal"].size() > 45);
  CHECK(facts[1]["principal"] == "system");
  CHECK(facts[1]["type"] == "permission_denied");
  t.engine->set_log(nullptr);
  t.engine->note_refusal(asked, question, nullptr);
}

TEST_CASE("what is allowed leaves nothing, and so do dry runs and an engine without a log") {
  AuditedEngine t;
  REQUIRE(t.check(t.request(t.bob)).allowed());
  Request r = t.request(t.bob);
  r.permission = "billing:read";
  r.dry_run = true;
  CHECK_FALSE(t.check(r).allowed());
  t.engine->set_log(nullptr);
  r.dry_run = false;
  CHECK_FALSE(t.check(r).allowed());
  CHECK(t.facts().empty());
}

TEST_CASE("each kind of refusal has its type") {
  AuditedEngine t(R"({"anonymous": "always"})");
  const TestKey stranger = make_key("ten_acme", {});
  Request wrong;
  wrong.api_key = stranger.text;
  CHECK(t.check(wrong).reason == Reason::kInvalidCredential);
  Request nowhere;
  CHECK(t.check(nowhere).reason == Reason::kMissingTenant);
  Request unknown;
  unknown.tenant = "ten_none";
  CHECK(t.check(unknown).reason == Reason::kInvalidTenant);
  Request feature = t.request(t.acme);
  feature.feature = t.engine->definitions()->catalog->feature_index("sso");
  CHECK(t.check(feature).reason == Reason::kFeatureNotInPlan);
  const QuotaAsk ask[] = {{t.quota("projects"), 3, false, 0}};
  Request quota = t.request(t.acme);
  quota.consume = ask;
  CHECK(t.check(quota).reason == Reason::kQuotaExceeded);
  Request spawn = t.request(t.acme);
  spawn.admit_action = kNoIndex;
  spawn.action = t.action("agent_spawns");
  while (t.check(spawn).allowed()) {
  }
  const auto facts = t.facts();
  REQUIRE(facts.size() == 6);
  CHECK(facts[0]["type"] == "credential_refused");
  CHECK(facts[0]["key_id"] == wrong.api_key.substr(0, kApiKeyPublicChars));
  CHECK_FALSE(facts[0].tenant);
  CHECK(facts[0]["principal"] == "anonymous");
  CHECK(facts[1]["type"] == "tenant_refused");
  CHECK(facts[1]["reason"] == "MISSING_TENANT");
  CHECK(facts[2]["named_tenant"] == "ten_none");
  CHECK(facts[3]["type"] == "permission_denied");
  CHECK(facts[3]["detail"] == "sso");
  CHECK(facts[4]["type"] == "quota_exceeded");
  CHECK(facts[4]["detail"] == "projects");
  CHECK(facts[5]["type"] == "limit_exceeded");
  CHECK(facts[5]["action"] == "agent_spawns");
  for (const Fact& fact : facts) {
    for (const auto& [name, value] : fact.fields) {
      INFO(name);
      CHECK(value.find(wrong.api_key.substr(kApiKeyPublicChars)) == std::string::npos);
      CHECK(value.find(t.acme.text.substr(kApiKeyPublicChars)) == std::string::npos);
    }
  }
}

TEST_CASE("of credentials that stand where names should, only what is public is recorded") {
  AuditedEngine t(R"({"anonymous": "always"})");
  Request r;
  r.tenant = t.acme.text;
  r.request_id = t.bob.text;
  r.endpoint = "sess_abc";
  REQUIRE_FALSE(t.check(r).allowed());
  const auto facts = t.facts();
  REQUIRE(facts.size() == 1);
  CHECK(facts[0]["named_tenant"] == t.acme.row.id);
  CHECK(facts[0]["request_id"] == t.bob.row.id);
  CHECK(facts[0]["endpoint"] == "sess_");
}

TEST_CASE("request and endpoint of the first stages are known to the later ones") {
  AuditedEngine t;
  Decision d;
  Request r = t.request(t.bob);
  r.request_id = "q1";
  r.endpoint = "/tickets";
  t.engine->admit(t.engine->definitions(), r, &d);
  Request second;
  second.permission = "billing:read";
  t.engine->authorize(second, &d);
  const auto facts = t.facts();
  REQUIRE(facts.size() == 1);
  CHECK(facts[0]["request_id"] == "q1");
  CHECK(facts[0]["endpoint"] == "/tickets");
}

TEST_CASE("a crossing belongs to the tenant whose credential was used") {
  AuditedEngine t(R"({"refusals": "never"})");
  Request r = t.request(t.acme);
  const std::string_view hint[] = {"bobco"};
  r.hints = hint;
  REQUIRE(t.check(r).suspected_crossing);
  const auto facts = t.facts();
  REQUIRE(facts.size() == 1);
  CHECK(facts[0]["type"] == "cross_tenant");
  CHECK(facts[0].tenant == "ten_acme");
  CHECK(facts[0]["named_tenant"] == "bobco");
  CHECK(facts[0]["principal"] == t.acme.row.id);
}

TEST_CASE("strangers are bounded per second, also when their names contradict each other") {
  AuditedEngine t;
  const std::string_view hints[] = {"acme", "bobco"};
  for (int second = 0; second < 3; ++second) {
    for (int i = 0; i < 50; ++i) {
      Request r;
      r.api_key = "tk_wrong";
      if (i % 2 == 0) {
        r.api_key = {};
        r.hints = hints;
      }
      REQUIRE_FALSE(t.check(r).allowed());
    }
    t.clock->advance(kSecond);
  }
  CHECK(t.facts().size() == 30);
  CHECK(t.engine->facts().recorded == 30);
  CHECK(t.engine->facts().suppressed == 120);
}

TEST_CASE("a sampled class leaves about its share") {
  AuditedEngine t(R"({"refusals": {"sampled": 0.25}})");
  Request r;
  r.tenant = "ten_bob";
  r.permission = "billing:read";
  for (int i = 0; i < 4000; ++i) REQUIRE_FALSE(t.check(r).allowed());
  const FactCounts counts = t.engine->facts();
  CHECK(counts.recorded + counts.suppressed == 4000);
  CHECK(counts.recorded > 800);
  CHECK(counts.recorded < 1200);
}

TEST_CASE("use of keys is told where the policy asks for it, once per request") {
  AuditedEngine t(R"({"key_use": "always"})");
  Decision d;
  Request r = t.request(t.bob);
  t.engine->admit(t.engine->definitions(), r, &d);
  REQUIRE(d.allowed());
  r.permission = "ticket:read";
  t.engine->authorize(r, &d);
  REQUIRE(d.allowed());
  t.engine->finish(&d, 200);
  auto facts = t.facts();
  REQUIRE(facts.size() == 1);
  CHECK(facts[0]["type"] == "key_used");
  CHECK(facts[0]["result"] == "success");
  CHECK(facts[0]["principal"] == "bob");
  t.put(R"({"key_use": "refusals"})");
  REQUIRE(t.check(t.request(t.bob)).allowed());
  r = t.request(t.bob);
  r.permission = "billing:read";
  REQUIRE_FALSE(t.check(r).allowed());
  facts = t.facts();
  REQUIRE(facts.size() == 3);
  CHECK(facts[1]["type"] == "key_used");
  CHECK(facts[1]["result"] == "denied");
  CHECK(facts[2]["type"] == "permission_denied");
}

TEST_CASE("the second half of a request leaves its refusal too") {
  AuditedEngine t;
  Decision d;
  Request r = t.request(t.bob);
  t.engine->admit(t.engine->definitions(), r, &d);
  r.permission = "billing:read";
  t.engine->authorize(r, &d);
  CHECK(d.reason == Reason::kPermissionDenied);
  t.engine->authorize(r, &d);  // does nothing
  CHECK(t.facts().size() == 1);
}

TEST_CASE("thresholds are for others to write, as their rule says") {
  AuditedEngine t;
  const QuotaAsk ask[] = {{t.quota("tokens"), 85, false, 0}};
  Request r = t.request(t.acme);
  r.consume = ask;
  REQUIRE(t.check(r).alerts);
  CHECK(t.facts(log::Class::kOther).empty());
  CHECK(t.facts().empty());
  CHECK(t.engine->threshold_wanted(false));
  t.put(R"({"thresholds": "refusals"})");
  CHECK(t.engine->threshold_wanted(true));
  CHECK_FALSE(t.engine->threshold_wanted(false));
  t.put(R"({"thresholds": "never"})");
  CHECK_FALSE(t.engine->threshold_wanted(true));
  CHECK(t.engine->facts().suppressed == 0);
  t.put(R"({"thresholds": {"per_second": 2}})");
  int wanted = 0;
  for (int i = 0; i < 5; ++i) wanted += t.engine->threshold_wanted(false) ? 1 : 0;
  CHECK(wanted == 2);
  CHECK(t.engine->facts().suppressed == 3);
  t.engine->set_log(nullptr);
  CHECK(t.engine->threshold_wanted(false));
}

TEST_CASE("what cannot be decided leaves a fact too, among those of strangers") {
  AuditedEngine t(R"({"anonymous": "always"})");
  Request r = t.request(t.acme);
  r.ip = "192.0.2.7";
  Decision d;
  t.engine->give_up(r, "definitions", &d);
  CHECK(d.reason == Reason::kStateUnavailable);
  const auto facts = t.facts();
  REQUIRE(facts.size() == 1);
  CHECK(facts[0]["type"] == "state_unavailable");
  CHECK(facts[0]["detail"] == "definitions");
  CHECK(facts[0]["ip"] == "192.0.2.7");
  CHECK(facts[0]["policy_revision"] == "2");
  CHECK_FALSE(facts[0].tenant);
  r.dry_run = true;
  t.engine->give_up(r, "definitions", &d);
  CHECK(t.facts().size() == 1);
}

TEST_CASE("a decision that is refused because of the log leaves its idempotency key free") {
  const bool reserve = GENERATE(false, true);
  AuditedEngine t(R"({"key_use": "always"})");
  const QuotaAsk ask[] = {{t.quota("tokens"), 10, false, 0}};
  Request r = t.request(t.acme);
  r.consume = ask;
  r.has_idempotency_key = true;
  r.idempotency_key = "7f0c-1";
  r.reserve = reserve;
  const std::shared_ptr<log::Log> open = t.log;
  REQUIRE(open->close().ok());
  Decision refused = t.check(r);
  REQUIRE(refused.reason == Reason::kStateUnavailable);
  t.engine->finish(&refused, 503);
  t.engine->set_log(nullptr);
  Decision first = t.check(r);
  REQUIRE(first.allowed());
  CHECK_FALSE(first.repeated);
  t.engine->finish(&first, 200);
  Decision second = t.check(r);
  REQUIRE(second.allowed());
  CHECK(second.repeated);
  CHECK(second.quotas[0].state.used == 10);
}

TEST_CASE("where the log has no room, the decision is refused and takes no quota") {
  AuditedEngine t(R"({"key_use": "always"})");
  const QuotaAsk ask[] = {{t.quota("projects"), 1, false, 0}};
  Request r = t.request(t.acme);
  r.consume = ask;
  REQUIRE(t.log->close().ok());
  Decision d = t.check(r);
  CHECK(d.reason == Reason::kStateUnavailable);
  CHECK(d.detail == "the audit log");
  CHECK(d.retry_after_ns == kSecond);
  CHECK(t.engine->facts().lost == 1);
  Decision denied = t.check(t.request(t.acme));
  CHECK(denied.reason == Reason::kStateUnavailable);
  // The policy that counts lets it through.
  t.put(R"({"key_use": "always", "on_full": "count"})");
  CHECK(t.check(r).allowed());
  CHECK(t.check(r).allowed());
  CHECK(t.check(r).reason == Reason::kQuotaExceeded);
  CHECK(t.engine->facts().recorded == 0);
  CHECK(t.engine->facts().lost > 5);
}

TEST_CASE("addresses and names are recorded whatever bytes they are") {
  AuditedEngine t;
  Request r;
  r.tenant = "ten_bob";
  r.permission = "billing:read";
  const std::string network("\x20\x01\x0d\xb8\x00\x00\x00\x01", 8);
  r.ip = network;
  const std::string endpoint = "/\xff" + std::string(2000, 'x');
  r.endpoint = endpoint;
  REQUIRE_FALSE(t.check(r).allowed());
  std::string cut(600, 'x');
  cut.replace(511, 2, "\xc3\xa9");
  r.endpoint = cut;
  r.ip = "10.0.0.1";
  REQUIRE_FALSE(t.check(r).allowed());
  const auto facts = t.facts();
  REQUIRE(facts.size() == 2);
  CHECK(facts[0]["ip"] == "2001:db8:0:1::/64");
  CHECK(facts[0]["endpoint"] == "/?" + std::string(510, 'x'));
  CHECK(facts[1]["endpoint"] == std::string(511, 'x'));
  CHECK(facts[1]["ip"] == "10.0.0.1");
}

}  // namespace
}  // namespace tenancy::testing
