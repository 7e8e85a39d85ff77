#include "fixture.h"

namespace tenancy::testing {
namespace {

uint64_t remaining(Decision& d, std::string_view rule) {
  for (const LimitEntry& entry : d.limits) {
    if (entry.rule->name == rule) return entry.state.remaining;
  }
  FAIL("no limit " << rule);
  return 0;
}

TEST_CASE("the plan's limit admits exactly its number and tells when to come back") {
  TestEngine t;
  for (int i = 0; i < 8; ++i) REQUIRE(t.check(t.request(t.acme)).allowed());
  Decision d = t.check(t.request(t.acme));
  CHECK(d.reason == Reason::kRateLimitExceeded);  // per_user is 8 and the key is its own user
  CHECK(d.detail == "per_user");
  CHECK(d.retry_after_ns > 0);
  t.clock->advance(d.retry_after_ns);
  CHECK(t.check(t.request(t.acme)).allowed());
}

TEST_CASE("trap 1: a refusal by one limit gives back what was taken from the others") {
  TestEngine t;
  Request spawn = t.request(t.acme);
  spawn.action = t.action("agent_spawns");
  for (int i = 0; i < 3; ++i) REQUIRE(t.check(spawn).allowed());
  for (int i = 0; i < 20; ++i) {
    const Decision d = t.check(spawn);
    REQUIRE(d.reason == Reason::kRateLimitExceeded);
    CHECK(d.detail == "agent_spawns");
  }
  Decision d = t.check(t.request(t.acme));
  REQUIRE(d.allowed());
  CHECK(remaining(d, "api_requests") == 10 - 4);
  CHECK(remaining(d, "per_user") == 8 - 4);
}

TEST_CASE("limits before authentication stay spent by refusals that come later") {
  TestEngine t;
  Request wrong;
  wrong.api_key = "tk_wrong";
  wrong.ip = "192.0.2.1";
  for (int i = 0; i < 5; ++i) CHECK(t.check(wrong).reason == Reason::kInvalidCredential);
  const Decision d = t.check(wrong);
  CHECK(d.reason == Reason::kRateLimitExceeded);
  CHECK(d.detail == "per_address");
  wrong.ip = "192.0.2.2";
  CHECK(t.check(wrong).reason == Reason::kInvalidCredential);
}

TEST_CASE("a refusal for want of permission keeps the tokens spent and takes no quota") {
  TestEngine t;
  const QuotaAsk ask[] = {{t.quota("tokens"), 5, false, 0}};
  Request r = t.request(t.acme);
  r.permission = "billing:read";
  r.consume = ask;
  Decision d = t.check(r);
  CHECK(d.reason == Reason::kPermissionDenied);
  CHECK(d.detail == "billing:read");
  CHECK(remaining(d, "api_requests") == 9);
  r.permission = "ticket:read";
  r.consume = {};
  d = t.check(r);
  REQUIRE(d.allowed());
  CHECK(remaining(d, "api_requests") == 8);
  const auto defs = t.engine->definitions();
  const QuotaTarget target =
      Engine::quota_target(*defs, *defs->registry->by_slug("acme"), t.quota("tokens"));
  CHECK(t.engine->quotas().status(target).used == 0);
}

TEST_CASE("several quotas are taken all or none") {
  TestEngine t;
  const QuotaAsk both[] = {{t.quota("projects"), 1, false, 0}, {t.quota("tokens"), 60, false, 0}};
  Request r = t.request(t.acme);
  r.consume = both;
  REQUIRE(t.check(r).allowed());
  const Decision d = t.check(r);
  CHECK(d.reason == Reason::kQuotaExceeded);
  CHECK(d.detail == "tokens");
  CHECK(d.retry_after_ns > 0);
  const QuotaAsk one[] = {{t.quota("projects"), 1, false, 0}};
  r.consume = one;
  CHECK(t.check(r).allowed());  // the second of two, so the refused call took none
  CHECK(t.check(r).reason == Reason::kQuotaExceeded);
}

TEST_CASE("a per-object maximum and a gauge are judged by value") {
  TestEngine t;
  Request r = t.request(t.acme);
  QuotaAsk ask[] = {{t.quota("rows"), 10, false, 0}};
  r.consume = ask;
  CHECK(t.check(r).allowed());
  ask[0].amount = 11;
  CHECK(t.check(r).reason == Reason::kQuotaExceeded);
  QuotaAsk gauge[] = {{t.quota("projects"), 1, true, 1}};
  r.consume = gauge;
  CHECK(t.check(r).allowed());
  gauge[0].base = 2;
  CHECK(t.check(r).reason == Reason::kQuotaExceeded);
  gauge[0].base = UINT64_MAX;
  CHECK(t.check(r).reason == Reason::kQuotaExceeded);
}

TEST_CASE("leases are taken, told and ended by finish") {
  TestEngine t;
  const QuotaAsk ask[] = {{t.quota("agents"), 2, false, 0}};
  Request r = t.request(t.acme);
  r.consume = ask;
  Decision first = t.check(r);
  REQUIRE(first.allowed());
  CHECK(first.quotas.size() == 2);
  CHECK(t.check(r).reason == Reason::kConcurrencyExceeded);
  t.engine->finish(&first, 200);
  CHECK(t.check(r).allowed());
}

TEST_CASE("finish commits below 500 and releases from 500 on, once") {
  TestEngine t;
  const QuotaAsk ask[] = {{t.quota("tokens"), 40, false, 0}};
  Request r = t.request(t.bob);
  r.consume = ask;
  r.reserve = true;
  const auto used = [&] {
    const auto defs = t.engine->definitions();
    const QuotaTarget target =
        Engine::quota_target(*defs, *defs->registry->by_slug("bobco"), t.quota("tokens"));
    const QuotaState state = t.engine->quotas().status(target);
    return std::pair(state.used, state.reserved);
  };
  Decision good = t.check(r);
  REQUIRE(good.allowed());
  CHECK(used() == std::pair<uint64_t, uint64_t>(0, 40));
  t.engine->finish(&good, 404);
  CHECK(used() == std::pair<uint64_t, uint64_t>(40, 0));
  t.engine->finish(&good, 500);
  CHECK(used() == std::pair<uint64_t, uint64_t>(40, 0));
  Decision bad = t.check(r);
  t.engine->finish(&bad, 500);
  CHECK(used() == std::pair<uint64_t, uint64_t>(40, 0));
}

TEST_CASE("features come with the plan") {
  TestEngine t;
  Request r = t.request(t.acme);
  r.feature = t.engine->definitions()->catalog->feature_index("sso");
  const Decision d = t.check(r);
  CHECK(d.reason == Reason::kFeatureNotInPlan);
  CHECK(d.detail == "sso");
  r.api_key = t.bob.text;
  CHECK(t.check(r).allowed());
}

TEST_CASE("a key is cut to its scopes; a user's key has the user's roles") {
  TestEngine t;
  Request r = t.request(t.acme);
  r.permission = "agent:create";
  CHECK(t.check(r).allowed());
  r.permission = "agent:delete";
  CHECK(t.check(r).reason == Reason::kPermissionDenied);
  r.principal = "bob";  // a hint beside a service key gives no rights
  CHECK(t.check(r).reason == Reason::kPermissionDenied);
  Request user = t.request(t.bob);
  user.permission = "ticket:close";
  CHECK(t.check(user).allowed());
  user.permission = "agent:create";
  CHECK(t.check(user).reason == Reason::kPermissionDenied);
}

TEST_CASE("trap 13: without a principal and without scopes nothing is permitted") {
  TestEngine t;
  Request r;
  r.tenant = "acme";
  r.permission = "ticket:read";
  CHECK(t.check(r).reason == Reason::kPermissionDenied);
}

TEST_CASE("resources of governed types are answered by their owner") {
  TestEngine t;
  ChangeSet set;
  set.revision = 2;
  set.resources.push_back({"ten_acme", "doc", "1", "bob"});
  set.resources.push_back({"ten_bob", "doc", "2", "bob"});
  t.apply(std::move(set));
  Request r = t.request(t.acme);
  r.resource = "doc/1";
  CHECK(t.check(r).allowed());
  r.resource = "doc/2";
  CHECK(t.check(r).reason == Reason::kPermissionDenied);
  r.resource = "doc/3";
  CHECK(t.check(r).reason == Reason::kPermissionDenied);
  r.resource = "free/3";
  CHECK(t.check(r).allowed());
}

TEST_CASE("admit and authorize together take what check takes") {
  TestEngine t;
  Request r = t.request(t.acme);
  Decision d;
  t.engine->admit(t.engine->definitions(), r, &d);
  REQUIRE(d.allowed());
  CHECK(remaining(d, "api_requests") == 9);
  Request second;
  second.action = t.action("agent_spawns");
  second.permission = "ticket:read";
  t.engine->authorize(second, &d);
  REQUIRE(d.allowed());
  CHECK(remaining(d, "agent_spawns") == 2);
  CHECK(remaining(d, "api_requests") == 9);
}

TEST_CASE("a suspension between admit and authorize is obeyed") {
  TestEngine t;
  Decision d;
  t.engine->admit(t.engine->definitions(), t.request(t.acme), &d);
  REQUIRE(d.allowed());
  ChangeSet set;
  set.revision = 2;
  set.tenants.push_back(TestEngine::tenant("ten_acme", "acme", "free"));
  set.tenants.back().status = TenantStatus::kSuspended;
  t.apply(std::move(set));
  t.engine->authorize(Request{}, &d);
  CHECK(d.reason == Reason::kSuspendedTenant);
  CHECK(remaining(d, "api_requests") == 9);  // still readable
}

TEST_CASE("a dry run takes nothing") {
  TestEngine t;
  const QuotaAsk ask[] = {{t.quota("tokens"), 100, false, 0}};
  Request r = t.request(t.acme);
  r.consume = ask;
  r.dry_run = true;
  for (int i = 0; i < 50; ++i) REQUIRE(t.check(r).allowed());
  r.dry_run = false;
  CHECK(t.check(r).allowed());
  r.dry_run = true;
  CHECK(t.check(r).reason == Reason::kQuotaExceeded);
}

TEST_CASE("a plan change keeps what was counted") {
  TestEngine t;
  for (int i = 0; i < 6; ++i) REQUIRE(t.check(t.request(t.acme)).allowed());
  ChangeSet set;
  set.revision = 2;
  set.tenants.push_back(TestEngine::tenant("ten_acme", "acme", "pro"));
  t.apply(std::move(set));
  Decision d = t.check(t.request(t.acme));
  REQUIRE(d.allowed());
  CHECK(remaining(d, "api_requests") == 100 - 7);
}

TEST_CASE("a failed change publishes nothing") {
  TestEngine t;
  ChangeSet set;
  set.revision = 2;
  set.tenants.push_back(TestEngine::tenant("ten_new", "new", "free"));
  set.tenants.push_back(TestEngine::tenant("ten_bad", "bad", "no-such-plan"));
  const Status status = t.engine->apply(std::move(set));
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().message.find("no-such-plan") != std::string::npos);
  CHECK(t.engine->revision() == 1);
  CHECK(t.engine->definitions()->registry->by_slug("new") == nullptr);
}

TEST_CASE("roles and their removal come in any order, shared ones and tenants' own") {
  TestEngine t;
  const auto role = [](const char* tenant, const char* name, std::vector<std::string> inherits) {
    RoleRow row;
    row.tenant_id = tenant;
    row.role.name = name;
    row.role.permissions = {"doc:read"};
    row.role.inherits = std::move(inherits);
    return row;
  };
  ChangeSet set;
  set.revision = 2;
  for (int i = 0; i < 50; ++i) {
    const std::string child = "r" + std::to_string(i);
    set.roles.push_back(role("ten_acme", child.c_str(), {"r" + std::to_string(i + 1)}));
  }
  set.roles.push_back(role("ten_acme", "r50", {"everybody"}));
  set.roles.push_back(role("", "everybody", {}));
  t.apply(std::move(set));
  const auto count = [&] {
    const auto defs = t.engine->definitions();
    return defs->access->roles(defs->registry->by_slug("acme")->index).size();
  };
  const size_t with_all = count();
  ChangeSet gone;
  gone.revision = 3;
  gone.removed_roles.emplace_back("", "everybody");
  for (int i = 50; i >= 0; --i) {
    gone.removed_roles.emplace_back("ten_acme", "r" + std::to_string(i));
  }
  t.apply(std::move(gone));
  CHECK(count() == with_all - 52);
}

TEST_CASE("tenants may exchange slugs in one change") {
  TestEngine t;
  ChangeSet set;
  set.revision = 2;
  set.tenants.push_back(TestEngine::tenant("ten_acme", "bobco", "free"));
  set.tenants.push_back(TestEngine::tenant("ten_bob", "acme", "pro"));
  t.apply(std::move(set));
  const auto defs = t.engine->definitions();
  CHECK(defs->registry->by_slug("acme")->id == "ten_bob");
  CHECK(defs->registry->by_slug("bobco")->id == "ten_acme");
}

TEST_CASE("a catalog whose requests could meet too many windows is refused") {
  TestEngine t;
  std::string text = kCatalog;
  const std::string limits = R"("per_address")";
  std::string many;
  for (int i = 0; i < 24; ++i) {
    many += "\"l" + std::to_string(i) + R"(": {"scope": "global", "limit": "5/minute"}, )";
  }
  text.insert(text.find(limits), many);
  ChangeSet set;
  set.revision = 2;
  set.catalog = parse_catalog(text);
  const Status status = t.engine->apply(std::move(set));
  REQUIRE_FALSE(status.ok());
  CHECK(status.error().code == Code::kOutOfRange);
}

TEST_CASE("the use of a key in its grace is counted, and when it was last used") {
  TestEngine t;
  TestKey old = make_key("ten_acme", {"ticket:*"});
  old.row.grace_until_wall_ns = t.clock->wall_ns() + 3600 * kSecond;
  ChangeSet set;
  set.revision = 2;
  set.keys.push_back(old.row);
  t.apply(std::move(set));
  for (int i = 0; i < 3; ++i) REQUIRE(t.check(t.request(old)).allowed());
  const auto defs = t.engine->definitions();
  const Engine::KeyUsage usage = t.engine->key_usage(*defs->registry->key_by_id(old.row.id));
  CHECK(usage.uses == 3);
  CHECK(usage.last_used_wall_ns <= t.clock->wall_ns());
  CHECK(usage.last_used_wall_ns > t.clock->wall_ns() - 60 * kSecond);
  CHECK(t.engine->key_usage(*defs->registry->key_by_id(t.acme.row.id)).last_used_wall_ns == 0);
}

}  // namespace
}  // namespace tenancy::testing
