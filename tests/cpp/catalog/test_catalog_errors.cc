// Every way a catalog can be wrong, and what is said about it.
#include <algorithm>

#include "catalogs.h"
#include "tenancy/catalog/fields.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

struct Case {
  std::string document;
  std::string error;  // part of what is said; path and message
};

void check(const std::vector<Case>& cases) {
  for (const Case& each : cases) {
    const std::string got = errors_of(each.document);
    INFO(each.document << "\n-> " << got);
    CHECK(got.find(each.error) != got.npos);
    CHECK(std::count(got.begin(), got.end(), '\n') == 1);  // one mistake, one error
  }
}

TEST_CASE("the document itself") {
  check({
      {"[]", ": expected a mapping, got a list"},
      {"null", ": expected a mapping, got nothing"},
      {"3", ": expected a mapping, got 3"},
      {R"({"catalog": "c"})", ": \"plans\" is missing"},
      {R"({"plans": {"p": {}}})", ": \"catalog\" is missing"},
      {R"({"catalog": "c", "plans": {}})", "plans: expected at least one plan"},
      {R"({"catalog": "c", "plans": []})", "plans: expected a mapping, got a list"},
      {R"({"catalog": "no spaces", "plans": {"p": {}}})", "catalog: expected a name"},
      {with(R"("format": 2)"), "format: expected 1, the format this release reads, got 2"},
      {with(R"("version": [])"), "version: expected a version"},
      {with(R"("currency": "usd")"), "currency: expected a currency of ISO 4217"},
      {with(R"("plan": {})"), "plan: unknown key \"plan\"; did you mean \"plans\"?"},
      {with(R"("default_plan": "fre")"),
       "default_plan: unknown plan \"fre\"; did you mean \"free\"?"},
      {with(R"("default_plan": 1)"), "default_plan: expected the name of a plan, got 1"},
      {with(R"("default_action": "api")"),
       "default_action: unknown action \"api\"; none is defined"},
      {with(R"("builtin_roles": "no")"), "builtin_roles: expected true or false, got \"no\""},
  });
}

TEST_CASE("plans") {
  const auto plan = [](const std::string& members) {
    return with(R"("features": ["sso"], "quotas": {"users": {"kind": "count"}}, "plans": {"p": {)" +
                members + "}}");
  };
  check({
      {with(R"("plans": {"p q": {}})"), "plans.p q: the name of a plan must be a name"},
      {with(R"("plans": {"p": null})"), "plans.p: expected a mapping, got nothing"},
      {plan(R"("prize": 3)"), "plans.p.prize: unknown key \"prize\"; did you mean \"price\"?"},
      {plan(R"("price": -1)"), "plans.p.price: expected a price such as 29 or 29.90"},
      {plan(R"("price": "free")"), "plans.p.price: expected a price"},
      {plan(R"("price": true)"), "plans.p.price: expected a price"},
      {plan(R"("price": 1e3)"), "plans.p.price: expected a price"},
      {plan(R"("period": "fortnight")"), "plans.p.period: expected \"minute\", \"hour\""},
      {plan(R"("currency": "EURO")"), "plans.p.currency: expected a currency of ISO 4217"},
      {plan(R"("title": "")"), "plans.p.title: expected a title, got \"\""},
      {plan(R"("isolation": "row")"),
       "plans.p.isolation: expected \"shared\", \"schema\", \"database\" or \"instance\", got "
       "\"row\""},
      {plan(R"("retention_days": 0)"), "plans.p.retention_days: expected a number of days from 1"},
      {plan(R"("retention_days": 1.5)"), "plans.p.retention_days: expected a number of days"},
      {plan(R"("features": ["ss0"])"),
       "plans.p.features[0]: unknown feature \"ss0\"; did you mean \"sso\"?"},
      {plan(R"("features": [3])"), "plans.p.features[0]: expected the name of a feature, got 3"},
      {plan(R"("features": "some")"), "plans.p.features: expected a list of features"},
      {plan(R"("features": {"sso": 1})"), "plans.p.features.sso: expected true or false, got 1"},
      {plan(R"("quotas": {"user": 1})"),
       "plans.p.quotas.user: unknown quota \"user\"; did you mean \"users\"?"},
      {plan(R"("quotas": {"users": -5})"),
       "plans.p.quotas.users: expected a whole number or \"unlimited\", got -5"},
      {plan(R"("quotas": {"users": 1.5})"), "plans.p.quotas.users: expected a whole number"},
      {plan(R"("quotas": {"users": "5"})"), "plans.p.quotas.users: expected a whole number"},
      {plan(R"("quotas": {"users": "5 GB"})"), "plans.p.quotas.users: expected a whole number"},
      {plan(R"("quotas": {"users": null})"),
       "plans.p.quotas.users: expected a whole number or \"unlimited\", got nothing"},
      {plan(R"("quotas": {"users": 2000000000000000000})"), "(at most 10^18)"},
      {plan(R"("quotas": {"users": 99999999999999999999})"), "plans.p.quotas.users: expected"},
      {plan(R"("quotas": {"users": {"soft": true}})"),
       "plans.p.quotas.users: \"limit\" is missing"},
      {plan(R"("quotas": {"users": {"limit": 1, "soft": 1}})"),
       "plans.p.quotas.users.soft: expected true or false, got 1"},
      {plan(R"("quotas": {"users": {"limit": 1, "grace": -1}})"),
       "plans.p.quotas.users.grace: expected a whole number, got \"unlimited\""},
      {plan(R"("quotas": [])"), "plans.p.quotas: expected a mapping, got a list"},
      {plan(R"("extends": "q")"), "plans.p.extends: unknown plan \"q\"; none is defined"},
      {plan(R"("extends": ["q"])"), "plans.p.extends: expected the name of a plan, got a list"},
      {plan(R"("extends": "p")"), "plans.p.extends: plans may not extend themselves: p → p"},
      {with(R"("plans": {"a": {"extends": "b"}, "b": {"extends": "c"}, "c": {"extends": "b"}})"),
       "plans.b.extends: plans may not extend themselves: b → c → b"},
  });
  CHECK(errors_of(plan(R"("quotas": {"users": 0})")).empty());  // none is a legal amount
}

TEST_CASE("rate limits") {
  check({
      {with_limit(R"({"limit": -5, "window": "60s"})"),
       "plans.p.rate_limits.a.limit: expected a positive integer or \"unlimited\", got -5"},
      {with_limit(R"({"limit": 0, "window": "60s"})"),
       "plans.p.rate_limits.a.limit: expected a positive integer or \"unlimited\", got 0"},
      {with_limit(R"({"limit": 1.5, "window": "60s"})"),
       "plans.p.rate_limits.a.limit: expected a positive integer or \"unlimited\", got 1.5"},
      {with_limit(R"({"limit": 5})"),
       "plans.p.rate_limits.a.limit: \"window\" is missing: write \"5/minute\""},
      {with_limit(R"({"window": "5s"})"), "plans.p.rate_limits.a: \"limit\" is missing"},
      {with_limit(R"({"limit": 5, "window": 60})"),
       "plans.p.rate_limits.a.window: expected a duration with its unit, such as \"60s\", got 60"},
      {with_limit(R"({"limit": 5, "window": "60 parsecs"})"),
       "plans.p.rate_limits.a.window: expected"},
      {with_limit(R"({"limit": 5, "window": "1 month"})"),
       "plans.p.rate_limits.a.window: expected"},
      {with_limit(R"({"limit": "5/s", "window": "1s"})"),
       "plans.p.rate_limits.a.limit: expected a positive integer or \"unlimited\", got \"5/s\""},
      {with_limit("0"), "plans.p.rate_limits.a: expected a limit such as \"500/minute\""},
      {with_limit("null"), "plans.p.rate_limits.a: expected a limit such as"},
      {with_limit("true"), "plans.p.rate_limits.a: expected a limit such as"},
      {with_limit(R"("0/minute")"), "plans.p.rate_limits.a: "},
      {with_limit(R"("-5/minute")"), "plans.p.rate_limits.a: "},
      {with_limit(R"("100/minit")"), "plans.p.rate_limits.a: "},
      {with_limit("[]"), "plans.p.rate_limits.a: expected 1 to 8 windows, got 0"},
      {with_limit(R"(["1/s", 5])"), "plans.p.rate_limits.a[1]: expected a window such as"},
      {with_limit(R"(["1/s", "unlimited"])"), "plans.p.rate_limits.a[1]: "},
      {with_limit(R"(["10/minute", "20/60s"])"),
       "plans.p.rate_limits.a[1]: a window of this length was given before"},
      {with_limit(R"({"windows": ["1/s"], "limit": 3})"),
       "plans.p.rate_limits.a.limit: unknown key \"limit\""},
      {with_limit(R"({"windows": "1/s"})"), "plans.p.rate_limits.a.windows: expected a list"},
      {with_limit(R"({"limit": "1/s", "algorthm": "x"})"),
       "plans.p.rate_limits.a.algorthm: unknown key \"algorthm\"; did you mean \"algorithm\"?"},
      {with_limit(R"({"limit": "1/s", "algorithm": "bucket"})"),
       "plans.p.rate_limits.a.algorithm: expected \"sliding_window\""},
      {with_limit(R"({"limit": "1/s", "burst": 0})"), "plans.p.rate_limits.a.burst: expected"},
      {with_limit(R"({"limit": "9/s", "burst": 5, "algorithm": "fixed_window"})"),
       "plans.p.rate_limits.a.burst: fixed_window has none"},
      {with_limit(R"({"limit": "9/s", "anchor": "first"})"), "plans.p.rate_limits.a.anchor: only"},
      {with_limit(R"({"limit": 5000, "window": "1s", "algorithm": "sliding_log"})"),
       "plans.p.rate_limits.a.limit: "},
      {with_limit(R"({"limit": "1/s", "shadow": 1})"),
       "plans.p.rate_limits.a.shadow: expected true or false, got 1"},
      {with_limit(R"({"limit": "1/s", "on_full": "open"})"),
       "plans.p.rate_limits.a.on_full: expected \"refuse\" or \"allow\", got \"open\""},
      {with_limit(R"({"limit": "1/s", "scope": "planet"})"),
       "plans.p.rate_limits.a.scope: expected \"global\""},
      {with_limit(R"({"limit": "1/s", "scope": "tenant*tenant"})"),
       "plans.p.rate_limits.a.scope: "},
      {with_limit(R"({"limit": "1/s", "scope": "tenant*"})"), "plans.p.rate_limits.a.scope: "},
      {with_limit(R"({"limit": "1/s", "scope": "global"})"),
       "plans.p.rate_limits.a.scope: a plan's limit counts per tenant"},
      {with_limit(R"([{"limit": "1/s", "scope": "user"}, {"limit": "9/m", "scope": "ip"}])"),
       "plans.p.rate_limits.a[1].scope: all windows of one limit have one scope"},
      {with(R"("plans": {"p": {"rate_limits": {"bad name": "1/s"}}})"),
       "plans.p.rate_limits.bad name: "},
      {with(R"("actions": ["api"], "plans": {"p": {"rate_limits": {"apo": "1/s"}}})"),
       "plans.p.rate_limits.apo: unknown action \"apo\"; did you mean \"api\"?"},
      {with(R"("actions": ["default"])"), "actions: no action may be named \"default\""},
      {with(R"("limits": {"x": "5/s"})"), "limits.x: \"scope\" is missing"},
      {with(R"("limits": {"x": {"scope": "global*ip", "limit": "5/s"}})"),
       "limits.x.scope: expected"},
      {with(R"("limits": {"1": {"scope": "ip", "limit": "5/s"}})"),
       "limits.1: the name of a limit"},
  });
}

TEST_CASE("quotas") {
  const auto quota = [](const std::string& members) {
    return with(R"("quotas": {"q": {)" + members + "}}");
  };
  check({
      {quota(""), "quotas.q: \"kind\" is missing"},
      {quota(R"("kind": "sum")"), "quotas.q.kind: expected \"count\""},
      {quota(R"("kind": "count", "period": "day")"),
       "quotas.q.period: only quotas of kind \"consumption\""},
      {quota(R"("kind": "count", "anchor": "calendar")"), "quotas.q.anchor: only quotas of kind"},
      {quota(R"("kind": "count", "lease": "60s")"),
       "quotas.q.lease: only quotas of kind \"concurrency\""},
      {quota(R"("kind": "per_object", "alerts": [80])"), "quotas.q.alerts: "},
      {quota(R"("kind": "consumption", "period": "moon")"), "quotas.q.period: expected \"minute\""},
      {quota(R"("kind": "consumption", "anchor": "monday")"),
       "quotas.q.anchor: expected \"calendar\" or \"subscription\", got \"monday\""},
      {quota(R"("kind": "concurrency", "lease": 60)"), "quotas.q.lease: expected a duration"},
      {quota(R"("kind": "concurrency", "lease": "8 days")"),
       "quotas.q.lease: expected a lease from 1 second to 7 days"},
      {quota(R"("kind": "count", "alerts": [100, 80])"),
       "quotas.q.alerts[1]: expected thresholds in"},
      {quota(R"("kind": "count", "alerts": [0])"),
       "quotas.q.alerts[0]: expected a whole number from 1 to 200"},
      {quota(R"("kind": "count", "alerts": [1,2,3,4,5,6,7,8,9])"),
       "quotas.q.alerts: expected at most 8"},
      {quota(R"("kind": "count", "alerts": 80)"), "quotas.q.alerts: expected a list, got 80"},
      {quota(R"("kind": "count", "units": "x")"),
       "quotas.q.units: unknown key \"units\"; did you mean \"unit\"?"},
      {with(R"("quotas": {"q": "count"})"), "quotas.q: expected a mapping, got \"count\""},
      {with(R"("quotas": {"s": {"kind": "size"}}, "plans": {"p": {"quotas": {"s": "10 gigs"}}})"),
       "plans.p.quotas.s: expected whole bytes, a size such as \"10 GB\" or \"100 MiB\", or "
       "\"unlimited\", got \"10 gigs\""},
      {with(R"("quotas": {"s": {"kind": "size"}}, "plans": {"p": {"quotas": {"s": "0.3 B"}}})"),
       "plans.p.quotas.s: expected whole bytes"},
  });
}

TEST_CASE("roles, permissions and duties") {
  const auto role = [](const std::string& members) {
    return with(R"("permissions": ["ticket:read"], "roles": {"r": {)" + members + "}}");
  };
  check({
      {with(R"("permissions": ["ticket:*"])"),
       "permissions[0]: expected \"resource:action\" without '*'"},
      {with(R"("permissions": "a:b")"), "permissions: expected a list"},
      {with(R"("permissions": ["a:b", "a:b"])"), "permissions[1]: \"a:b\" is listed twice"},
      {role(R"("permissions": ["ticket"])"),
       "roles.r.permissions[0]: expected \"resource:action\""},
      {role(R"("permissions": ["ticket:raed"])"),
       "roles.r.permissions: unknown permission \"ticket:raed\"; did you mean \"ticket:read\"?"},
      {role(R"("denies": [":"])"), "roles.r.denies[0]: expected \"resource:action\""},
      {role(R"("inherits": ["read-only"])"),
       "roles.r.inherits: unknown role \"read-only\"; did you mean \"readonly\"?"},
      {role(R"("inherit": [])"),
       "roles.r.inherit: unknown key \"inherit\"; did you mean \"inherits\"?"},
      {role(R"("inherits": ["r"])"),
       "roles.r.inherits: roles may not inherit from themselves: r → r"},
      {with(R"("roles": {"a": {"inherits": ["b"]}, "b": {"inherits": ["c", "readonly"]},
                         "c": {"inherits": ["a"]}})"),
       "roles.a.inherits: roles may not inherit from themselves: a → b → c → a"},
      {with(R"("roles": {"operator": {"inherits": ["developer"]}})"),
       "roles.operator.inherits: roles may not inherit from themselves: operator → developer → "
       "operator"},
      {with(R"("builtin_roles": false, "roles": {"r": {"inherits": ["readonly"]}})"),
       "roles.r.inherits: unknown role \"readonly\""},
      {with(R"("roles": {"*": []})"), "roles.*: the name of a role must be"},
      {with(R"("roles": {"r": "x:y"})"), "roles.r: expected a mapping, got \"x:y\""},
      {with(R"("duties": {})"), "duties: expected a list, got a mapping"},
      {with(R"("duties": [{"name": "d", "roles": ["admin"]}])"),
       "duties[0].roles: expected at least two"},
      {with(R"("duties": [{"name": "d", "roles": ["admin", "admni"]}])"),
       "duties[0].roles: unknown role \"admni\"; did you mean \"admin\"?"},
      {with(R"("duties": [{"roles": ["admin", "readonly"]}])"), "duties[0]: \"name\" is missing"},
      {with(R"("duties": [{"name": "d"}])"), "duties[0]: \"roles\" is missing"},
      {with(R"("duties": [{"name": "d", "roles": ["admin", "readonly"], "at_most": 2}])"),
       "duties[0].at_most: expected a whole number from 1 to 1, got 2"},
      {with(R"("duties": [{"name": "d", "roles": ["admin", "readonly"]},
                          {"name": "d", "roles": ["admin", "operator"]}])"),
       "duties[1].name: another rule has this name"},
  });
}

TEST_CASE("all errors come at once, up to a bound") {
  const std::string all = errors_of(with(
      R"("format": 9, "quotas": {"q": {"kind": "x"}}, "plans": {"a": {"price": -1, "quotas": {"z": 1}},
         "b": {"rate_limits": {"api": {"limit": -5, "window": "5"}}}})"));
  INFO(all);
  CHECK(std::count(all.begin(), all.end(), '\n') == 6);

  std::string many = R"("plans": {"p": {)";
  for (int i = 0; i < 500; ++i) many += (i == 0 ? "\"x" : ", \"x") + std::to_string(i) + "\": 1";
  std::vector<CatalogError> errors;
  CHECK(Catalog::parse(json(with(many + "}}")), &errors) == nullptr);
  CHECK(errors.size() == ErrorList::kErrorsMax + 1);
  CHECK(errors.back().message == "400 more errors are not shown");
  CHECK(Catalog::parse(json("[]"), nullptr) == nullptr);
}

TEST_CASE("a long chain of roles or plans needs no deep stack") {
  std::string roles = "\"roles\": {";
  std::string plans = "\"plans\": {";
  for (int i = 0; i < 1000; ++i) {
    const std::string name = "r" + std::to_string(i);
    const std::string next = "r" + std::to_string(i + 1);
    roles += (i == 0 ? "\"" : ", \"") + name + "\": {\"inherits\": [\"" + next + "\"]}";
  }
  for (int i = 0; i < 255; ++i) {
    const std::string name = "p" + std::to_string(i);
    const std::string next = "p" + std::to_string(i + 1);
    plans += (i == 0 ? "\"" : ", \"") + name + "\": {\"extends\": \"" + next + "\"}";
  }
  const std::string document = with(roles + R"(, "r1000": []}, "features": ["f"], )" + plans +
                                    R"(, "p255": {"features": ["f"]}})");
  const auto catalog = valid(document);
  CHECK(catalog->plans()[0].entitlements.features[0]);
}

}  // namespace
