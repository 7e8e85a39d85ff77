#include "fixture.h"

namespace tenancy::testing {
namespace {

TEST_CASE("a valid key names its tenant") {
  TestEngine t;
  const Decision d = t.check(t.request(t.acme));
  REQUIRE(d.allowed());
  CHECK(d.tenant->id == "ten_acme");
  CHECK(d.definitions->revision == 1);
}

TEST_CASE("a request that names nobody is refused") {
  TestEngine t;
  CHECK(t.check(Request{}).reason == Reason::kMissingTenant);
}

TEST_CASE("a key of the right form that nobody has is invalid, and nothing else is tried") {
  TestEngine t;
  Request r;
  const std::string stranger = make_api_key().full;
  r.api_key = stranger;
  r.tenant = "acme";
  CHECK(t.check(r).reason == Reason::kInvalidCredential);
}

TEST_CASE("malformed keys are invalid credentials") {
  TestEngine t;
  for (std::string text :
       {std::string("x"), std::string("tk_"), std::string(100'000, 'a'),
        std::string("\xff\xfe\0tk_", 6), t.acme.text + "x", t.acme.text.substr(1)}) {
    Request r;
    r.api_key = text;
    CHECK(t.check(r).reason == Reason::kInvalidCredential);
  }
}

TEST_CASE("expired, revoked and rotated-out keys") {
  TestEngine t;
  const auto with = [&](auto change) {
    TestKey key = make_key("ten_acme", {"ticket:*"});
    change(key.row);
    ChangeSet set;
    set.revision = t.engine->revision() + 1;
    set.keys.push_back(key.row);
    t.apply(std::move(set));
    return t.check(t.request(key)).reason;
  };
  const int64_t now = t.clock->wall_ns();
  CHECK(with([&](KeyRow& row) { row.expires_wall_ns = now; }) == Reason::kExpiredCredential);
  CHECK(with([&](KeyRow& row) { row.expires_wall_ns = now + 1; }) == Reason::kAllowed);
  CHECK(with([&](KeyRow& row) { row.revoked_wall_ns = now; }) == Reason::kInvalidCredential);
  CHECK(with([&](KeyRow& row) { row.grace_until_wall_ns = now + 1; }) == Reason::kAllowed);
  CHECK(with([&](KeyRow& row) { row.grace_until_wall_ns = now; }) == Reason::kExpiredCredential);
}

TEST_CASE("a hint selects only what the credential allows; unknown and foreign are the same") {
  TestEngine t;
  for (const char* own : {"ten_acme", "acme"}) {
    Request r = t.request(t.acme);
    const std::string_view hints[] = {own};
    r.hints = hints;
    CHECK(t.check(r).allowed());
  }
  for (const char* other : {"ten_bob", "bobco", "nobody", ""}) {
    Request r = t.request(t.acme);
    const std::string_view hints[] = {other};
    r.hints = hints;
    const Decision d = t.check(r);
    CHECK(d.reason == Reason::kTenantConflict);
    CHECK(d.suspected_crossing);
    CHECK(d.tenant == nullptr);
  }
}

TEST_CASE("a hint alone names a tenant only where hints are trusted") {
  TestEngine t;
  const std::string_view hints[] = {"acme"};
  Request r;
  r.hints = hints;
  CHECK(t.check(r).reason == Reason::kMissingTenant);
  r.trust_hints = true;
  const Decision d = t.check(r);
  REQUIRE(d.allowed());
  CHECK(d.tenant->slug == "acme");
}

TEST_CASE("trusted hints have to agree") {
  TestEngine t;
  const std::string_view hints[] = {"acme", "bobco"};
  Request r;
  r.hints = hints;
  r.trust_hints = true;
  CHECK(t.check(r).reason == Reason::kTenantConflict);
  const std::string_view same[] = {"acme", "ten_acme"};
  r.hints = same;
  CHECK(t.check(r).allowed());
}

TEST_CASE("a verified identity selects among its tenants") {
  TestEngine t;
  Request r;
  r.has_identity = true;
  r.identity_principal = "bob";
  const std::string_view both[] = {"ten_acme", "ten_bob"};
  r.identity_tenants = both;
  CHECK(t.check(r).reason == Reason::kMissingTenant);  // two are possible and none is named
  const std::string_view hint[] = {"bobco"};
  r.hints = hint;
  CHECK(t.check(r).tenant->id == "ten_bob");
  const std::string_view only[] = {"ten_acme"};
  r.identity_tenants = only;
  CHECK(t.check(r).reason == Reason::kTenantConflict);
}

TEST_CASE("a token without a tenant needs membership in the one that is named") {
  TestEngine t;
  Request r;
  r.has_identity = true;
  r.identity_principal = "bob";
  CHECK(t.check(r).reason == Reason::kMissingTenant);
  const std::string_view member[] = {"bobco"};
  r.hints = member;
  CHECK(t.check(r).allowed());
  const std::string_view stranger[] = {"acme"};
  r.hints = stranger;
  CHECK(t.check(r).reason == Reason::kTenantConflict);
}

TEST_CASE("only active and trial tenants are served; suspended is said to those who belong") {
  TestEngine t;
  const auto reason_for = [&](TenantStatus status, bool hint) {
    ChangeSet set;
    set.revision = t.engine->revision() + 1;
    set.tenants.push_back(TestEngine::tenant("ten_acme", "acme", "free"));
    set.tenants.back().status = status;
    t.apply(std::move(set));
    const std::string_view hints[] = {"acme"};
    Request r = hint ? Request{} : t.request(t.acme);
    if (hint) {
      r.hints = hints;
      r.trust_hints = true;
    }
    return t.check(r).reason;
  };
  CHECK(reason_for(TenantStatus::kTrial, false) == Reason::kAllowed);
  CHECK(reason_for(TenantStatus::kSuspended, false) == Reason::kSuspendedTenant);
  CHECK(reason_for(TenantStatus::kSuspended, true) == Reason::kInvalidTenant);
  for (TenantStatus status :
       {TenantStatus::kPending, TenantStatus::kChurned, TenantStatus::kDeleted}) {
    CHECK(reason_for(status, false) == Reason::kInvalidTenant);
  }
  CHECK(reason_for(TenantStatus::kActive, false) == Reason::kAllowed);
}

TEST_CASE("the default tenant serves those who name nobody, where it is configured") {
  Engine::Options options;
  options.default_tenant = "acme";
  TestEngine t(options);
  const Decision d = t.check(Request{});
  REQUIRE(d.allowed());
  CHECK(d.tenant->id == "ten_acme");
  Request wrong;
  wrong.api_key = "tk_wrong";
  CHECK(t.check(wrong).reason == Reason::kInvalidCredential);  // never falls through
}

TEST_CASE("a session belongs to its tenant and to nobody else") {
  TestEngine t;
  SessionRow row;
  row.digest = sha256("sess_one");
  row.tenant_id = "ten_bob";
  row.principal = "bob";
  row.platform = "web";
  row.expires_wall_ns = t.clock->wall_ns() + kSecond;
  ChangeSet set;
  set.revision = 2;
  set.sessions.push_back(row);
  t.apply(std::move(set));
  Request r;
  r.session = "sess_one";
  const Decision d = t.check(r);
  REQUIRE(d.allowed());
  CHECK(d.tenant->id == "ten_bob");
  CHECK(d.principal == "bob");
  Request foreign = t.request(t.acme);
  foreign.session = "sess_one";
  CHECK(t.check(foreign).reason == Reason::kTenantConflict);
  t.clock->advance(kSecond);
  CHECK(t.check(r).reason == Reason::kExpiredCredential);
  r.session = "sess_none";
  CHECK(t.check(r).reason == Reason::kInvalidCredential);
}

TEST_CASE("a decision is not made from definitions that the host knows to be old") {
  TestEngine t;
  t.engine->counters().revision_word().store(4);
  Decision d = t.check(t.request(t.acme));
  CHECK(d.stale);
  CHECK_FALSE(d.allowed());
  t.engine->counters().revision_word().store(3);  // a writer is committing
  CHECK(t.check(t.request(t.acme)).stale);
  ChangeSet set;
  set.revision = 2;
  t.apply(std::move(set));
  CHECK(t.check(t.request(t.acme)).allowed());
}

}  // namespace
}  // namespace tenancy::testing
