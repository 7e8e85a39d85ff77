// A small engine with two tenants, for the tests of the layer.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/base/ids.h"
#include "tenancy/engine/engine.h"

namespace tenancy::testing {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kStart = 1'700'000'000 * kSecond;

inline const char* const kCatalog = R"({
  "catalog": "test", "version": "1", "format": 1,
  "default_plan": "free", "default_action": "api_requests",
  "features": ["sso", "export"],
  "quotas": {
    "tokens": {"kind": "consumption", "period": "month"},
    "projects": {"kind": "count"},
    "rows": {"kind": "per_object"},
    "agents": {"kind": "concurrency", "lease": "60s"}
  },
  "limits": {
    "per_address": {"scope": "ip", "limit": "5/minute"},
    "per_user": {"scope": "tenant*user", "limit": "8/minute"}
  },
  "roles": {"support": {"permissions": ["ticket:*"], "inherits": ["readonly"]}},
  "plans": {
    "free": {
      "features": ["export"],
      "quotas": {"tokens": 100, "projects": 2, "rows": 10, "agents": 2},
      "rate_limits": {"api_requests": "10/minute", "agent_spawns": "3/minute"}
    },
    "pro": {
      "features": "all",
      "quotas": {"tokens": 1000, "projects": "unlimited", "rows": 100, "agents": 4},
      "rate_limits": {"api_requests": "100/minute", "agent_spawns": "30/minute"}
    }
  }
})";

inline std::shared_ptr<const Catalog> parse_catalog(const std::string& text = kCatalog) {
  const Result<Json> json = Json::parse(text);
  REQUIRE(json.ok());
  std::vector<CatalogError> errors;
  auto catalog = Catalog::parse(*json, &errors);
  for (const CatalogError& error : errors) UNSCOPED_INFO(error.path << ": " << error.message);
  REQUIRE(catalog != nullptr);
  return catalog;
}

struct TestKey {
  std::string text;
  KeyRow row;
};

inline TestKey make_key(const std::string& tenant, std::vector<std::string> scopes,
                        const std::string& principal = "") {
  const ApiKeyText text = make_api_key();
  TestKey key;
  key.text = text.full;
  key.row.id = text.public_id;
  key.row.tenant_id = tenant;
  key.row.digest = sha256(text.full);
  key.row.principal = principal;
  key.row.scoped = !scopes.empty();
  key.row.scopes = std::move(scopes);
  return key;
}

class TestEngine {
 public:
  explicit TestEngine(Engine::Options options = {})
      : clock(std::make_shared<FakeClock>(kStart)),
        acme(make_key("ten_acme", {"ticket:*", "agent:create"})),
        bob(make_key("ten_bob", {}, "bob")) {
    auto opened = Engine::open(options, clock);
    REQUIRE(opened.ok());
    engine = std::move(*opened);
    ChangeSet load;
    load.revision = 1;
    load.reset = true;
    load.catalog = parse_catalog();
    load.tenants.push_back(tenant("ten_acme", "acme", "free"));
    load.tenants.push_back(tenant("ten_bob", "bobco", "pro"));
    load.keys.push_back(acme.row);
    load.keys.push_back(bob.row);
    load.assignments.push_back({"ten_bob", "bob", "support", "", kForever});
    apply(std::move(load));
  }

  static TenantRow tenant(const std::string& id, const std::string& slug, const std::string& plan) {
    TenantRow row;
    row.id = id;
    row.slug = slug;
    row.plan = plan;
    return row;
  }

  // What the package does after a commit: apply, then the word.
  void apply(ChangeSet changes) {
    const uint64_t revision = changes.revision;
    const Status status = engine->apply(std::move(changes));
    if (!status.ok()) UNSCOPED_INFO(status.error().message);
    REQUIRE(status.ok());
    engine->counters().revision_word().store(2 * revision);
  }

  uint32_t quota(const char* name) const {
    return engine->definitions()->catalog->quota_index(name);
  }
  uint32_t action(const char* name) const {
    return engine->definitions()->catalog->action_index(name);
  }

  // A request as `check` makes it from an API key, with the default action.
  Request request(const TestKey& key) const {
    Request out;
    out.api_key = key.text;
    out.admit_action = engine->definitions()->catalog->default_action();
    return out;
  }
  Decision check(const Request& request) {
    Decision decision;
    engine->check(engine->definitions(), request, &decision);
    return decision;
  }

  std::shared_ptr<FakeClock> clock;
  TestKey acme;  // a service key with scopes
  TestKey bob;   // a user's key: that user's roles
  std::unique_ptr<Engine> engine;
};

}  // namespace tenancy::testing
