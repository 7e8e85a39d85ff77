#include "catalogs.h"
#include "tenancy/catalog/catalog.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

const char* const kShop = R"({
  "catalog": "shop", "version": "7", "format": 1, "default_plan": "free", "default_action": "api",
  "currency": "EUR", "permissions": ["agent:create"], "features": ["basic", "sso", "audit"],
  "quotas": {
    "users": {"kind": "count"},
    "tokens": {"kind": "consumption", "period": "month", "anchor": "subscription", "alerts": [50, 100]},
    "storage": {"kind": "size"},
    "rows": {"kind": "per_object"},
    "agents": {"kind": "concurrency", "lease": "90s"}
  },
  "limits": {"per_address": {"scope": "ip", "limit": "600/minute"}},
  "plans": {
    "free": {"price": 0, "features": ["basic"],
      "quotas": {"users": 1, "tokens": 1000, "storage": "1 GB", "agents": {"limit": 2, "soft": true, "grace": 1}},
      "rate_limits": {"api": ["10/s", "100/minute"], "spawn": {"limit": 5, "window": "60s", "burst": 9},
                      "default": "50/minute"}},
    "team": {"extends": "free", "price": "29.90", "features": {"sso": true, "basic": false},
      "quotas": {"users": "unlimited"}, "rate_limits": {"api": "500/minute", "export": "1/hour"},
      "isolation": "schema", "retention_days": 30, "title": "Team"},
    "custom": {"price": "custom", "features": "all", "rate_limits": {"api": -1}}
  }
})";

TEST_CASE("a whole catalog is read") {
  const auto catalog = valid(kShop);
  CHECK(catalog->name() == "shop");
  CHECK(catalog->version() == "7");
  CHECK(catalog->currency() == "EUR");
  REQUIRE(catalog->plans().size() == 3);
  CHECK(catalog->default_plan() == catalog->plan_index("free"));
  CHECK(catalog->actions() == std::vector<std::string>{"api", "spawn", "export"});
  CHECK(catalog->default_action() == 0);
  CHECK(catalog->permissions() == std::vector<std::string>{"agent:create"});

  const QuotaDef& tokens = catalog->quotas()[catalog->quota_index("tokens")];
  CHECK(tokens.kind == QuotaKind::kConsumption);
  CHECK(tokens.anchored);
  CHECK(tokens.alert_percents == std::vector<uint8_t>{50, 100});
  CHECK(catalog->quotas()[0].alert_percents == std::vector<uint8_t>{80, 100});
  CHECK(catalog->quotas()[catalog->quota_index("agents")].lease_ns == 90 * kSecond);
  CHECK(catalog->quotas()[catalog->quota_index("storage")].unit == "bytes");

  REQUIRE(catalog->limits().size() == 1);
  CHECK(catalog->limits()[0].name == "per_address");
  CHECK(catalog->limits()[0].scope == kScopeIp);
  CHECK(catalog->limits()[0].windows[0].text() == "600/minute");
}

TEST_CASE("an absent price, 0 and custom are three things") {
  const auto catalog =
      valid(with(R"("plans": {"none": {}, "zero": {"price": 0}, "cents": {"price": 29.90},
                                     "ask": {"price": "custom"}})"));
  CHECK(catalog->plans()[0].price.kind == PlanPrice::Kind::kAbsent);
  CHECK(catalog->plans()[1].price.kind == PlanPrice::Kind::kAmount);
  CHECK(catalog->plans()[1].price.amount == "0");
  CHECK(catalog->plans()[2].price.amount == "29.90");
  CHECK(catalog->plans()[3].price.kind == PlanPrice::Kind::kCustom);
}

TEST_CASE("what a plan grants") {
  const auto catalog = valid(kShop);
  const Entitlements& free = catalog->plans()[0].entitlements;
  CHECK(free.plan == "free");
  CHECK(free.quotas[0] == QuotaGrant{true, false, false, 1, 0});
  CHECK(free.quotas[2].limit == 1'000'000'000);
  CHECK_FALSE(free.quotas[3].defined);
  CHECK(free.quota_origins[3] == Origin::kAbsent);
  CHECK(free.quotas[4] == QuotaGrant{true, false, true, 2, 1});
  CHECK(free.features == std::vector<bool>{true, false, false});

  const LimitRule& api = free.limits[0];
  CHECK(api.scope == (kScopeTenant | kScopeAction));
  REQUIRE(api.windows.size() == 2);
  CHECK(api.windows[0].text() == "10/second");
  CHECK(api.windows[1].text() == "100/minute");
  CHECK(api.windows[0].algorithm == Algorithm::kSlidingWindow);
  CHECK(free.limits[1].windows[0].algorithm == Algorithm::kTokenBucket);
  CHECK(free.limits[1].windows[0].burst == 9);
}

TEST_CASE("actions a plan does not name carry its default limit") {
  const auto catalog = valid(kShop);
  const Entitlements& free = catalog->plans()[0].entitlements;
  const uint32_t exports = catalog->action_index("export");
  CHECK(free.limits[exports].name == "export");
  CHECK(free.limits[exports].windows[0].text() == "50/minute");
  CHECK(free.limit_origins[exports] == Origin::kDefault);
  CHECK(free.default_limit.windows[0].text() == "50/minute");
  CHECK(free.default_limit_origin == Origin::kPlan);
  const Entitlements& custom = catalog->plans()[2].entitlements;
  CHECK(custom.limits[exports].windows.empty());
  CHECK(custom.limit_origins[exports] == Origin::kAbsent);
  CHECK(custom.limit_origins[0] == Origin::kPlan);  // said to be unlimited
}

TEST_CASE("a plan that extends another is that plan with its own values merged in") {
  const auto catalog = valid(kShop);
  const Plan& team = catalog->plans()[1];
  CHECK(team.title == "Team");
  CHECK(team.price.amount == "29.90");
  CHECK(team.currency == "EUR");
  const Entitlements& own = team.entitlements;
  CHECK(own.plan == "team");
  CHECK(own.plan_index == 1);
  CHECK(own.quotas[0].unlimited);
  CHECK(own.quotas[1].limit == 1000);
  CHECK(own.features == std::vector<bool>{false, true, false});
  CHECK(own.limits[0].windows[0].text() == "10/second");
  CHECK(own.limits[0].windows[1].text() == "500/minute");
  CHECK(own.limits[2].windows.size() == 2);  // its own hour beside the default's minute
  CHECK(own.isolation == Isolation::kSchema);
  CHECK(own.retention_days == 30);
  CHECK(catalog->plans()[2].all_features);
  // Price and title are never inherited: a copy of a free plan is not free by accident.
  const auto two =
      valid(with(R"("plans": {"b": {"extends": "a"}, "a": {"price": 0, "title": "A"}})"));
  CHECK(two->plans()[0].price.kind == PlanPrice::Kind::kAbsent);
  CHECK(two->plans()[0].title == "b");
}

TEST_CASE("overrides win per window, quota and feature, and say so") {
  const auto catalog = valid(kShop);
  std::vector<CatalogError> errors;
  const auto got = catalog->effective(0, json(R"({
    "quotas": {"tokens": 5000}, "features": ["audit"], "isolation": "database", "retention_days": 90,
    "rate_limits": {"api": {"limit": 200, "window": "1m"}, "default": "60/minute"}})"),
                                      &errors);
  INFO(lines(errors));
  REQUIRE(got != nullptr);
  CHECK(got->quotas[0].limit == 1);
  CHECK(got->quota_origins[0] == Origin::kPlan);
  CHECK(got->quotas[1].limit == 5000);
  CHECK(got->quota_origins[1] == Origin::kOverride);
  CHECK(got->limits[0].windows[0].text() == "10/second");
  CHECK(got->limits[0].windows[1].text() == "200/minute");
  CHECK(got->limit_origins[0] == Origin::kOverride);
  CHECK(got->limits[1].windows[0].text() == "5/minute");
  CHECK(got->limit_origins[1] == Origin::kPlan);
  CHECK(got->limits[2].windows[0].text() == "60/minute");
  CHECK(got->limit_origins[2] == Origin::kOverride);
  CHECK(got->features == std::vector<bool>{true, false, true});
  CHECK(got->feature_origins[1] == Origin::kAbsent);
  CHECK(got->feature_origins[2] == Origin::kOverride);
  CHECK(got->isolation == Isolation::kDatabase);
  CHECK(got->isolation_origin == Origin::kOverride);
  CHECK(got->retention_days == 90);
}

TEST_CASE("no overrides share the plan's entitlements") {
  const auto catalog = valid(kShop);
  CHECK(catalog->effective(0, Json(), nullptr) == catalog->effective(0, json("{}"), nullptr));
}

TEST_CASE("windows are taken away by unlimited, all of them by replace") {
  const auto catalog = valid(kShop);
  const auto effective = [&](const char* limit) {
    std::vector<CatalogError> errors;
    const auto got = catalog->effective(
        0, json(R"({"rate_limits": {"api": )" + std::string(limit) + "}}"), &errors);
    INFO(lines(errors));
    REQUIRE(got != nullptr);
    std::string text;
    for (const LimitPolicy& window : got->limits[0].windows) text += window.text() + " ";
    return text;
  };
  CHECK(effective(R"("1/hour")") == "10/second 100/minute 1/hour ");
  CHECK(effective(R"({"limit": "unlimited", "window": "1s"})") == "100/minute ");
  CHECK(effective(R"("unlimited")").empty());
  CHECK(effective("-1").empty());
  CHECK(effective(R"({"limit": "1/hour", "replace": true})") == "1/hour ");
  CHECK(effective(R"({"windows": ["1/hour", "9/day"], "replace": true, "scope": "user"})") ==
        "1/hour 9/day ");
  CHECK(effective(R"({"windows": ["1/hour", {"limit": "unlimited", "window": "60s"}]})") ==
        "10/second 1/hour ");
}

TEST_CASE("errors of overrides have paths of their own and change nothing") {
  const auto catalog = valid(kShop);
  std::vector<CatalogError> errors;
  const Json bad = json(R"({"quotas": {"user": 1}, "rate_limits": {"api": "5/fortnite"}, "price": 3,
                            "features": {"sso": "yes"}})");
  CHECK(catalog->effective(0, bad, &errors) == nullptr);
  CHECK(catalog->effective(0, bad, nullptr) == nullptr);
  const std::string text = lines(errors);
  INFO(text);
  CHECK(errors.size() == 4);
  CHECK(text.find("quotas.user: unknown quota \"user\"; did you mean \"users\"?") != text.npos);
  CHECK(text.find("rate_limits.api: ") != text.npos);
  CHECK(text.find("price: unknown key \"price\"") != text.npos);
  CHECK(text.find("features.sso: expected true or false, got \"yes\"") != text.npos);
  CHECK(catalog->effective(0, json("[]"), nullptr) == nullptr);
}

TEST_CASE("merged limits keep a bound on their windows") {
  const auto catalog =
      valid(with_limit(R"(["1/s", "2/2s", "3/3s", "4/4s", "5/5s", "6/6s", "7/7s", "8/8s"])"));
  std::vector<CatalogError> errors;
  CHECK(catalog->effective(0, json(R"({"rate_limits": {"a": "9/9s"}})"), &errors) == nullptr);
  CHECK(lines(errors).find("at most 8") != std::string::npos);
  CHECK(catalog->effective(0, json(R"({"rate_limits": {"a": "9/8s"}})"), nullptr) != nullptr);
}

TEST_CASE("ready roles are there unless refused, and may be replaced") {
  const auto roles = [](const std::string& members) {
    std::string text;
    const auto catalog = valid(with(members));
    for (const RoleDef& role : catalog->roles()) text += role.name + " ";
    return text;
  };
  CHECK(roles("") == "admin developer operator readonly ");
  CHECK(roles(R"("builtin_roles": false)").empty());
  CHECK(roles(R"("roles": {"support": {"permissions": ["ticket:*"], "inherits": ["readonly"]}})") ==
        "admin developer operator readonly support ");
  const auto catalog = valid(with(R"("roles": {"readonly": ["page:read"]})"));
  CHECK(catalog->roles()[3].permissions == std::vector<std::string>{"page:read"});
  CHECK(catalog->roles()[0].permissions == std::vector<std::string>{"*:*"});
  CHECK(catalog->roles()[1].inherits == std::vector<std::string>{"operator"});
  CHECK(catalog->roles()[2].inherits == std::vector<std::string>{"readonly"});
}

TEST_CASE("a user or key scope is one inside its tenant") {
  const auto catalog = valid(with(R"("limits": {
    "u": {"scope": "user", "limit": "5/s"}, "g": {"scope": "global", "limit": "9/s"},
    "p": {"scope": "tenant*endpoint", "windows": ["1/s", "30/minute"]}})"));
  CHECK(catalog->limits()[0].scope == (kScopeTenant | kScopeUser));
  CHECK(catalog->limits()[1].scope == 0);
  CHECK(catalog->limits()[2].scope == (kScopeTenant | kScopeEndpoint));
  const auto plan = valid(with_limit(R"({"limit": "5/s", "scope": "user"})"));
  CHECK(plan->plans()[0].entitlements.limits[0].scope ==
        (kScopeTenant | kScopeUser | kScopeAction));
}

TEST_CASE("algorithms are known by the names the policy gives them") {
  for (const Algorithm algorithm :
       {Algorithm::kSlidingWindow, Algorithm::kTokenBucket, Algorithm::kLeakyBucket,
        Algorithm::kLeakyQueue, Algorithm::kFixedWindow, Algorithm::kSlidingCounter,
        Algorithm::kSlidingLog}) {
    const std::string name(algorithm_name(algorithm));
    const auto catalog =
        valid(with_limit(R"({"limit": 5, "window": "1s", "algorithm": ")" + name + "\"}"));
    CHECK(catalog->plans()[0].entitlements.limits[0].windows[0].algorithm == algorithm);
  }
}

}  // namespace
