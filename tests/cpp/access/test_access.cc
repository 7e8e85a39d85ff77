// What access control promises, one promise a test. Generated histories are in test_history.cc.
#include <string>
#include <vector>

#include "access/world.h"
#include "tenancy/base/json.h"

namespace tenancy {
namespace {

TEST_CASE("a role gives its permissions and those of all its ancestors") {
  World world;
  world.assign("ann", "developer");
  CHECK(world.check("ann", "stamp:delete") == AccessReason::kAllowed);
  CHECK(world.check("ann", "stamp:create") == AccessReason::kAllowed);
  CHECK(world.check("ann", "system:read") == AccessReason::kAllowed);
  CHECK(world.check("ann", "system:admin") == AccessReason::kNotGranted);
}

TEST_CASE("a role may have several parents") {
  World world;
  world.role({"left", {"a:x"}, {}, {}});
  world.role({"right", {"b:y"}, {}, {"readonly"}});
  world.role({"both", {}, {}, {"left", "right"}});
  world.assign("ann", "both");
  for (const char* permission : {"a:x", "b:y", "stamp:read"}) {
    CHECK(world.check("ann", permission) == AccessReason::kAllowed);
  }
}

TEST_CASE("wildcards stand for whole sides and cover what nobody has named") {
  World world;
  world.role({"tickets", {"ticket:*"}, {}, {}});
  world.role({"reader", {"*:read"}, {}, {}});
  world.assign("tim", "tickets");
  world.assign("rea", "reader");
  world.assign("ada", "admin");
  CHECK(world.check("tim", "ticket:reopen") == AccessReason::kAllowed);
  CHECK(world.check("tim", "tickets:read") == AccessReason::kNotGranted);
  CHECK(world.check("rea", "nobody-named-this:read") == AccessReason::kAllowed);
  CHECK(world.check("rea", "ticket:readall") == AccessReason::kNotGranted);
  CHECK(world.check("ada", "system:admin") == AccessReason::kAllowed);
  CHECK(world.check("ada", "never:mentioned") == AccessReason::kAllowed);
  CHECK(world.check("tim", "TICKET:read") == AccessReason::kNotGranted);
}

TEST_CASE("malformed permissions are neither asked nor put into roles") {
  World world;
  world.assign("ada", "admin");
  const std::string huge(1 << 20, 'a');
  for (const std::string& text :
       {std::string(), std::string("ticket"), std::string(":"), std::string("a:"),
        std::string(":b"), std::string("a:b:c"), std::string("tick*:x"), std::string("a b:c"),
        huge + ":read", std::string("a\0b:c", 5)}) {
    CHECK(world.check("ada", text) == AccessReason::kMalformed);
    const Status status = world.editor.put_role(kAcme, {"r", {text}, {}, {}});
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code == Code::kInvalidArgument);
    CHECK_FALSE(world.editor.put_role(kAcme, {"r", {}, {text}, {}}).ok());
    CHECK_FALSE(world.editor.intern_scopes(std::vector<std::string>{text}).ok());
  }
  CHECK(world.check("ada", "ticket:*") == AccessReason::kMalformed);
}

TEST_CASE("a denial anywhere wins over everything that allows") {
  World world;
  world.role({"no-billing", {}, {"billing:*"}, {}});
  world.role({"trainee", {"billing:read"}, {}, {"no-billing"}});
  world.assign("ann", "admin");
  world.assign("ann", "trainee");
  CHECK(world.check("ann", "billing:read") == AccessReason::kDenied);
  CHECK(world.check("ann", "stamp:read") == AccessReason::kAllowed);
  REQUIRE(world.editor.unassign(kAcme, "ann", "trainee", ""));
  CHECK(world.check("ann", "billing:read") == AccessReason::kAllowed);
}

TEST_CASE("an assignment limited to a resource counts for that resource alone") {
  World world;
  world.role({"no-delete", {}, {"doc:delete"}, {}});
  world.role({"editor", {"doc:write", "doc:delete"}, {}, {}});
  world.assign("ann", "editor", "doc/1");
  CHECK(world.check("ann", "doc:write", "doc/1") == AccessReason::kAllowed);
  CHECK(world.check("ann", "doc:write", "doc/2") == AccessReason::kNoAssignment);
  CHECK(world.check("ann", "doc:write", "doc/11") == AccessReason::kNoAssignment);
  CHECK(world.check("ann", "doc:write", "") == AccessReason::kNoAssignment);
  world.assign("ann", "editor");
  world.assign("ann", "no-delete", "doc/2");
  CHECK(world.check("ann", "doc:delete", "doc/1") == AccessReason::kAllowed);
  CHECK(world.check("ann", "doc:delete", "doc/2") == AccessReason::kDenied);
  CHECK(world.check("ann", "doc:delete") == AccessReason::kAllowed);
}

TEST_CASE("an assignment ends the nanosecond its time is reached") {
  World world;
  world.assign("ann", "operator", "", 2'000);
  CHECK(world.check("ann", "stamp:create", "", 1'999) == AccessReason::kAllowed);
  CHECK(world.check("ann", "stamp:create", "", 2'000) == AccessReason::kNoAssignment);
  world.assign("ann", "operator", "", 3'000);  // the same assignment, moved
  CHECK(world.check("ann", "stamp:create", "", 2'000) == AccessReason::kAllowed);
  CHECK(world.editor.finish()->assignments(kAcme, "ann").size() == 1);
}

TEST_CASE("trap 9: what was taken away is gone from the next model") {
  World world;
  world.assign("ann", "developer");
  const Model before = world.editor.finish();
  REQUIRE(world.editor.unassign(kAcme, "ann", "developer", ""));
  CHECK(world.check("ann", "stamp:read") == AccessReason::kNoAssignment);
  world.assign("ann", "developer");
  REQUIRE(world.editor.set_shared(std::vector<RoleDef>{{"developer", {}, {}, {}}}, {}, {}).ok());
  CHECK(world.check("ann", "stamp:read") == AccessReason::kNotGranted);
  // A decision under way keeps the model it began with.
  CHECK(before->check({kAcme, "ann", "stamp:read", "", kNoScopes, kNow, {}}) ==
        AccessReason::kAllowed);
}

TEST_CASE("trap 10: an ended grant stays ended through reloads and further edits") {
  World world;
  world.assign("ann", "admin", "", 500);
  Model model = world.editor.finish();
  for (int reload = 0; reload < 3; ++reload) {
    AccessEditor editor(nullptr);
    REQUIRE(editor.set_shared(kReady, {}, {}).ok());
    for (const auto& row : model->assignments(kAcme, "")) {
      REQUIRE(editor.assign(kAcme, row.principal, row.role, row.resource, row.until_ns).ok());
    }
    REQUIRE(editor.assign(kAcme, "bob", "readonly", "", kForever).ok());
    model = editor.finish();
    CHECK(model->check({kAcme, "ann", "stamp:read", "", kNoScopes, kNow, {}}) ==
          AccessReason::kNoAssignment);
    CHECK_FALSE(model->is_member(kAcme, "ann", kNow));
  }
}

TEST_CASE("trap 11: inheritance of any depth is followed to its end") {
  constexpr int kDepth = 10'000;
  World world;
  std::vector<RoleDef> chain{{"r0", {"deep:down"}, {"deep:not"}, {}}};
  for (int i = 1; i <= kDepth; ++i) {
    chain.push_back({"r" + std::to_string(i), {}, {}, {"r" + std::to_string(i - 1)}});
  }
  std::swap(chain.front(), chain.back());  // children before parents
  REQUIRE(world.editor.put_roles(kAcme, chain).ok());
  const std::string deepest = "r" + std::to_string(kDepth);
  world.assign("ann", deepest);
  world.assign("ada", "admin");
  world.assign("ada", deepest);
  CHECK(world.check("ann", "deep:down") == AccessReason::kAllowed);
  CHECK(world.check("ada", "deep:not") == AccessReason::kDenied);
  const AccessPath path =
      world.editor.finish()->explain({kAcme, "ann", "deep:down", "", kNoScopes, kNow, {}});
  CHECK(path.roles.size() == kDepth + 1);
  const Status cycle = world.editor.put_role(kAcme, {"r0", {}, {}, {deepest}});
  REQUIRE_FALSE(cycle.ok());
  CHECK(cycle.error().code == Code::kConflict);
  world.role({"r0", {"deep:moved"}, {}, {}});
  CHECK(world.check("ann", "deep:moved") == AccessReason::kAllowed);
  CHECK(world.check("ann", "deep:down") == AccessReason::kNotGranted);
}

TEST_CASE("trap 12: a principal who is called like a role is not that role") {
  World world;
  world.assign("ann", "admin");
  world.role({"ann", {"secret:read"}, {}, {}});
  world.assign("admin", "readonly");
  CHECK(world.check("admin", "stamp:delete") == AccessReason::kNotGranted);
  CHECK(world.check("readonly", "stamp:read") == AccessReason::kNoAssignment);
  CHECK(world.editor.assign(kAcme, "bob", "nobody", "", kForever).error().code == Code::kNotFound);
  // A principal is no role to inherit from either.
  world.assign("carl", "readonly");
  CHECK_FALSE(world.editor.put_role(kAcme, {"r", {}, {}, {"carl"}}).ok());
}

TEST_CASE("trap 13: what nothing allows is refused") {
  World world;
  CHECK(world.check("ann", "stamp:read") == AccessReason::kNoAssignment);
  CHECK(world.check("", "stamp:read") == AccessReason::kNoAssignment);
  CHECK(world.check("ann", "stamp:read", "", kNow, 77'777) == AccessReason::kNoAssignment);
  CHECK(world.check("ann", "stamp:read", "", kNow, kAllTenants) == AccessReason::kNoAssignment);
  world.role({"empty", {}, {}, {}});
  world.assign("ann", "empty");
  CHECK(world.check("ann", "stamp:read") == AccessReason::kNotGranted);
  AccessEditor nothing(nullptr);
  CHECK(nothing.finish()->check({kAcme, "ann", "stamp:read", "", kNoScopes, kNow, {}}) ==
        AccessReason::kNoAssignment);
}

TEST_CASE("everything inside the tenant is nothing across tenants") {
  World world;
  world.assign("ann", "admin");
  CHECK(world.check("ann", "system:admin") == AccessReason::kAllowed);
  CHECK(world.check("ann", "system:admin", "", kNow, kBolt) == AccessReason::kNoAssignment);
  world.role({"secret-role", {"secret-thing:read"}, {}, {}}, kBolt);
  CHECK(world.editor.assign(kAcme, "ann", "secret-role", "", kForever).error().code ==
        Code::kNotFound);
  const Model model = world.editor.finish();
  CHECK(model->permissions({kAcme, "ann", {}, "", kNoScopes, kNow, {}}) ==
        std::vector<std::string>{"stamp:create", "stamp:delete", "stamp:read", "stamp:update",
                                 "system:read"});
}

TEST_CASE("a tenant's role may inherit a shared one but not take its name") {
  World world;
  world.role({"support", {"ticket:*"}, {}, {"readonly"}});
  world.role({"support", {"other:*"}, {}, {}}, kBolt);
  world.assign("ann", "support");
  CHECK(world.check("ann", "stamp:read") == AccessReason::kAllowed);
  CHECK(world.check("ann", "other:thing") == AccessReason::kNotGranted);
  const Status shadow = world.editor.put_role(kAcme, {"admin", {"a:b"}, {}, {}});
  CHECK(shadow.error().code == Code::kConflict);
  std::vector<RoleDef> more = kReady;
  more.push_back({"support", {}, {}, {}});
  CHECK(world.editor.set_shared(more, {}, {}).error().code == Code::kConflict);
  CHECK(world.check("ann", "ticket:read") == AccessReason::kAllowed);
}

TEST_CASE("a new catalog reaches the tenant roles that inherit from it") {
  World world;
  world.role({"support", {}, {}, {"readonly"}});
  world.role({"lead", {}, {}, {"support"}});
  world.assign("ann", "lead");
  std::vector<RoleDef> next = kReady;
  next[3].permissions = {"report:read"};
  REQUIRE(world.editor.set_shared(next, {}, {}).ok());
  CHECK(world.check("ann", "report:read") == AccessReason::kAllowed);
  CHECK(world.check("ann", "stamp:read") == AccessReason::kNotGranted);
}

TEST_CASE("a role in use is not removed, wherever it is used") {
  World world;
  world.role({"base", {}, {}, {}});
  world.role({"above", {}, {}, {"base"}});
  CHECK(world.editor.remove_role(kAcme, "base").error().code == Code::kConflict);
  world.assign("ann", "above", "doc/1", 1);  // ended long ago: still recorded
  CHECK(world.editor.remove_role(kAcme, "above").error().code == Code::kConflict);
  REQUIRE(world.editor.unassign(kAcme, "ann", "above", "doc/1"));
  CHECK(world.editor.remove_role(kAcme, "above").ok());
  CHECK(world.editor.remove_role(kAcme, "base").ok());
  CHECK(world.editor.remove_role(kAcme, "base").error().code == Code::kNotFound);
  CHECK(world.editor.remove_role(kAllTenants, "admin").error().code == Code::kConflict);
  world.assign("ann", "admin");
  std::vector<RoleDef> fewer(kReady.begin() + 1, kReady.end());
  CHECK(world.editor.set_shared(fewer, {}, {}).error().code == Code::kConflict);
  REQUIRE(world.editor.unassign(kAcme, "ann", "admin", ""));
  CHECK(world.editor.set_shared(fewer, {}, {}).ok());
  CHECK(world.editor.finish()->roles(kAcme) ==
        std::vector<std::string>{"developer", "operator", "readonly"});
}

TEST_CASE("a refused edit changes nothing and says what to do") {
  World world;
  world.role({"a", {"x:a"}, {}, {}});
  world.role({"b", {"x:b"}, {}, {"a"}});
  world.assign("ann", "b");
  const Status cycle = world.editor.put_role(kAcme, {"a", {"x:new"}, {}, {"b"}});
  CHECK(cycle.error().message.find("a → b → a") != std::string::npos);
  const Status unknown = world.editor.put_role(kAcme, {"a", {"x:new"}, {}, {"readonyl"}});
  CHECK(unknown.error().message.find("did you mean \"readonly\"") != std::string::npos);
  CHECK(world.editor.put_role(kAcme, {"a", {}, {}, {"a"}}).error().code == Code::kConflict);
  const std::vector<RoleDef> half{{"c", {"x:c"}, {}, {}}, {"a", {"x:new"}, {}, {"b"}}};
  CHECK_FALSE(world.editor.put_roles(kAcme, half).ok());
  CHECK(world.check("ann", "x:a") == AccessReason::kAllowed);
  CHECK(world.check("ann", "x:new") == AccessReason::kNotGranted);
  CHECK_FALSE(world.editor.finish()->role(kAcme, "c").has_value());
  for (const auto& [principal, resource] :
       std::vector<std::pair<std::string, std::string>>{{"", ""},
                                                        {std::string(513, 'p'), ""},
                                                        {"p", "no-slash"},
                                                        {"p", "/1"},
                                                        {"p", "doc/"},
                                                        {"p", "doc/" + std::string(600, 'x')}}) {
    const Status status = world.editor.assign(kAcme, principal, "b", resource, kForever);
    CHECK(status.error().code == Code::kInvalidArgument);
  }
  CHECK_FALSE(world.editor.assign(kAllTenants, "p", "b", "", kForever).ok());
}

TEST_CASE("roles of one batch may come in any order and change places") {
  World world;
  REQUIRE(world.editor
              .put_roles(kAcme, std::vector<RoleDef>{{"low", {"x:low"}, {}, {"top"}},
                                                     {"top", {"x:top"}, {}, {}}})
              .ok());
  world.assign("ann", "low");
  CHECK(world.check("ann", "x:top") == AccessReason::kAllowed);
  REQUIRE(world.editor
              .put_roles(kAcme, std::vector<RoleDef>{{"low", {"x:low"}, {}, {}},
                                                     {"top", {"x:top"}, {}, {"low"}}})
              .ok());
  CHECK(world.check("ann", "x:top") == AccessReason::kNotGranted);
}

TEST_CASE("scopes cut rights and never add any") {
  World world;
  world.assign("ann", "developer");
  world.role({"no-reads", {}, {"*:read"}, {}});
  world.assign("dee", "admin");
  world.assign("dee", "no-reads");
  const auto scopes = world.editor.intern_scopes(std::vector<std::string>{"stamp:*", "bill:read"});
  const auto again = world.editor.intern_scopes(std::vector<std::string>{"bill:read", "stamp:*"});
  const auto none = world.editor.intern_scopes(std::vector<std::string>{});
  REQUIRE(scopes.ok());
  CHECK(*scopes == *again);
  const Model model = world.editor.finish();
  const auto check = [&](std::string_view principal, std::string_view permission, ScopeSetId id) {
    return model->check({kAcme, principal, permission, "", id, kNow, {}});
  };
  CHECK(check("ann", "stamp:read", *scopes) == AccessReason::kAllowed);
  CHECK(check("ann", "system:read", *scopes) == AccessReason::kOutsideScopes);
  CHECK(check("ann", "bill:read", *scopes) == AccessReason::kNotGranted);
  CHECK(check("dee", "stamp:read", *scopes) == AccessReason::kDenied);
  CHECK(check("ann", "stamp:read", *none) == AccessReason::kOutsideScopes);
  CHECK(check("ann", "stamp:read", 12'345) == AccessReason::kOutsideScopes);
  CHECK(check("", "bill:read", *scopes) == AccessReason::kAllowed);
  CHECK(check("", "system:read", *scopes) == AccessReason::kOutsideScopes);
  CHECK(model->permissions({kAcme, "ann", {}, "", *scopes, kNow, {}}) ==
        std::vector<std::string>{"stamp:create", "stamp:delete", "stamp:read", "stamp:update"});
}

TEST_CASE("many permissions at once are the same as one by one") {
  World world;
  world.role({"no-delete", {}, {"stamp:delete"}, {}});
  world.assign("ann", "developer");
  world.assign("ann", "no-delete");
  const auto scopes = world.editor.intern_scopes(std::vector<std::string>{"stamp:*"});
  const Model model = world.editor.finish();
  const std::vector<std::string_view> asked{"stamp:read", "stamp:delete", "system:read", "stamp:*",
                                            "other:thing"};
  for (const std::string_view principal : {"ann", "bob", ""}) {
    for (const ScopeSetId id : {kNoScopes, *scopes}) {
      std::vector<AccessReason> out(asked.size());
      AccessQuery query{kAcme, principal, "", "", id, kNow, {}};
      model->check_many(query, asked, out);
      for (size_t i = 0; i < asked.size(); ++i) {
        query.permission = asked[i];
        CHECK(out[i] == model->check(query));
      }
    }
  }
}

TEST_CASE("static duty refuses the assignment that would break it and names rule and roles") {
  World world;
  const std::vector<RoleDef> roles{{"payer", {"bill:pay"}, {}, {}},
                                   {"approver", {"bill:approve"}, {}, {}},
                                   {"boss", {}, {}, {"approver"}}};
  const std::vector<DutyRule> rules{{"four-eyes", {"payer", "approver"}, 1, false}};
  REQUIRE(world.editor.set_shared(roles, {}, rules).ok());
  world.assign("ann", "payer");
  for (const char* role : {"approver", "boss"}) {  // inherited roles count
    const Status status = world.editor.assign(kAcme, "ann", role, "", kForever);
    REQUIRE_FALSE(status.ok());
    CHECK(status.error().code == Code::kConflict);
    for (const char* word : {"four-eyes", "payer", "approver"}) {
      CHECK(status.error().message.find(word) != std::string::npos);
    }
  }
  world.assign("bob", "boss");
  world.assign("ann", "boss", "", kForever, kBolt);  // per tenant
  // Roles that come to inherit it later count too.
  world.role({"clerk", {}, {}, {}});
  world.assign("ann", "clerk");
  CHECK(world.editor.put_role(kAcme, {"clerk", {}, {}, {"approver"}}).error().code ==
        Code::kConflict);
  CHECK(world.check("ann", "bill:approve") == AccessReason::kNotGranted);
  // A rule that is broken already is not taken.
  const std::vector<DutyRule> stricter{{"two", {"payer", "approver"}, 1, false},
                                       {"three", {"boss", "approver"}, 1, false}};
  CHECK(world.editor.set_shared(roles, {}, stricter).error().code == Code::kConflict);
}

TEST_CASE("dynamic duty: roles may be held together but not used together") {
  World world;
  const std::vector<RoleDef> roles{{"teller", {"cash:move"}, {}, {}},
                                   {"auditor", {"cash:audit"}, {"cash:hide"}, {}},
                                   {"guest", {"lobby:enter", "cash:hide"}, {}, {}}};
  const std::vector<DutyRule> rules{{"hands-off", {"teller", "auditor"}, 1, true}};
  REQUIRE(world.editor.set_shared(roles, {}, rules).ok());
  world.assign("ann", "teller");
  CHECK(world.check("ann", "cash:move") == AccessReason::kAllowed);
  world.assign("ann", "auditor");
  world.assign("ann", "guest");
  CHECK(world.check("ann", "cash:move") == AccessReason::kDuty);
  CHECK(world.check("ann", "lobby:enter") == AccessReason::kAllowed);  // through no such role
  const Model model = world.editor.finish();
  const auto as = [&](std::vector<std::string_view> active, std::string_view permission) {
    return model->check({kAcme, "ann", permission, "", kNoScopes, kNow, active});
  };
  CHECK(as({"teller"}, "cash:move") == AccessReason::kAllowed);
  CHECK(as({"teller"}, "cash:audit") == AccessReason::kNotGranted);
  CHECK(as({"auditor"}, "cash:audit") == AccessReason::kAllowed);
  CHECK(as({"teller", "auditor"}, "cash:audit") == AccessReason::kDuty);
  CHECK(as({"guest"}, "cash:hide") == AccessReason::kDenied);      // a denial is not put down
  CHECK(as({"admin"}, "cash:move") == AccessReason::kNotGranted);  // not held: gives nothing
  const AccessPath path = model->explain({kAcme, "ann", "cash:move", "", kNoScopes, kNow, {}});
  CHECK(path.nearest_miss.find("hands-off") != std::string::npos);
  CHECK(as({}, "lobby:enter") == AccessReason::kNotGranted);  // none active: no rights
}

TEST_CASE("nobody can grant what they do not have") {
  World world;
  world.role({"wide", {"stamp:*"}, {}, {}});
  world.role({"narrow", {"stamp:*"}, {"stamp:delete"}, {}});
  world.role({"denier", {}, {"*:*"}, {}});
  world.assign("dev", "developer");
  world.assign("own", "wide");
  world.assign("nar", "narrow");
  world.assign("ada", "admin");
  world.assign("doc", "wide", "stamp/1");
  world.assign("old", "admin", "", 10);
  const auto scopes = world.editor.intern_scopes(std::vector<std::string>{"*:read"});
  const Model model = world.editor.finish();
  const auto missing = [&](std::string_view holder, std::string_view role,
                           ScopeSetId id = kNoScopes, std::string_view resource = "") {
    return model->missing_for_grant(kAcme, holder, id, role, kNow, resource).value_or("");
  };
  CHECK(missing("dev", "operator").empty());
  CHECK(missing("dev", "admin") == "*:*");
  CHECK(missing("dev", "wide") == "stamp:*");  // actions nobody has named yet
  CHECK(missing("ada", "admin").empty());
  CHECK(missing("own", "narrow").empty());
  CHECK(missing("nar", "wide") == "stamp:delete");
  CHECK(missing("nar", "denier").empty());
  CHECK(missing("doc", "wide") == "stamp:*");
  CHECK(missing("doc", "wide", kNoScopes, "stamp/1").empty());
  CHECK(missing("old", "readonly") == "stamp:read");
  CHECK(missing("ada", "operator", *scopes) == "stamp:create");
  CHECK(missing("", "readonly", *scopes).empty());
  CHECK(missing("", "readonly") == "stamp:read");
  CHECK(missing("ada", "no-such-role") == "no-such-role");
}

TEST_CASE("explain gives the path of a yes and the nearest miss of a no") {
  World world;
  world.role({"support", {"ticket:*"}, {"ticket:purge"}, {"operator"}});
  world.assign("ann", "support", "", 9'000);
  world.assign("bob", "support", "", 500);
  world.assign("eve", "support", "ticket/7");
  const auto scopes = world.editor.intern_scopes(std::vector<std::string>{"ticket:read"});
  const Model model = world.editor.finish();
  const auto explain = [&](std::string_view principal, std::string_view permission,
                           ScopeSetId id = kNoScopes) {
    return model->explain({kAcme, principal, permission, "", id, kNow, {}});
  };
  const AccessPath yes = explain("ann", "stamp:read");
  CHECK(yes.allowed);
  CHECK(yes.pattern == "stamp:read");
  CHECK(yes.roles == std::vector<std::string>{"support", "operator", "readonly"});
  CHECK(yes.until_ns == 9'000);
  const AccessPath denied = explain("ann", "ticket:purge");
  CHECK(denied.reason == AccessReason::kDenied);
  CHECK(denied.pattern == "ticket:purge");
  CHECK(denied.nearest_miss.find("without the denial") != std::string::npos);
  const auto says = [](const AccessPath& path, const char* words) {
    INFO(path.nearest_miss);
    CHECK(path.nearest_miss.find(words) != std::string::npos);
  };
  says(explain("bob", "ticket:read"), "its assignment ended at 1970-01-01T00:00:00Z");
  says(explain("eve", "ticket:read"), "assigned for \"ticket/7\" only");
  says(explain("ann", "stamp:delete"), "role \"developer\" would");
  says(explain("zoe", "stamp:read"), "role \"readonly\" would");
  says(explain("ann", "stamp:read", *scopes), "\"ticket:read\"");
  says(explain("ann", "stamp"), "resource:action");
  CHECK(explain("", "ticket:read", *scopes).pattern == "ticket:read");
}

TEST_CASE("who may do it") {
  World world;
  world.assign("ann", "developer");
  world.assign("bob", "readonly");
  world.assign("cat", "admin", "stamp/1");
  world.assign("dan", "admin", "", 10);
  world.assign("eve", "admin", "", kForever, kBolt);
  const Model model = world.editor.finish();
  const auto who = [&](const char* permission, const char* resource) {
    return model->who_can(kAcme, permission, resource, kNow);
  };
  CHECK(who("stamp:delete", "") == std::vector<std::string>{"ann"});
  CHECK(who("stamp:delete", "stamp/1") == std::vector<std::string>{"ann", "cat"});
  CHECK(who("stamp:read", "") == std::vector<std::string>{"ann", "bob"});
  CHECK(who("nonsense", "").empty());
  CHECK(model->held_roles(kAcme, "cat", "stamp/1", kNow) == std::vector<std::string>{"admin"});
  CHECK(model->held_roles(kAcme, "cat", "", kNow).empty());
  CHECK(model->is_member(kAcme, "cat", kNow));
}

TEST_CASE("the report names unused, duplicate and over-broad roles") {
  World world;
  world.role({"used", {"a:x"}, {}, {}});
  world.role({"same-as-used", {}, {}, {"used"}});
  world.role({"like-readonly", {"system:read", "stamp:read"}, {}, {}});
  world.role({"reads-all", {"*:read"}, {}, {}});
  world.role({"god", {"x:y"}, {}, {"admin"}});
  world.assign("ann", "same-as-used", "", 1);
  const RoleReport report = world.editor.finish()->report(kAcme);
  CHECK(report.unused == std::vector<std::string>{"god", "like-readonly", "reads-all"});
  CHECK(report.duplicates == std::vector<std::vector<std::string>>{{"like-readonly", "readonly"},
                                                                   {"same-as-used", "used"}});
  REQUIRE(report.over_broad.size() == 2);
  CHECK(report.over_broad[0].role == "god");
  CHECK(report.over_broad[0].pattern == "*:*");
  CHECK(report.over_broad[1].pattern == "*:read");
  const RoleReport shared = world.editor.finish()->report(kAllTenants);
  CHECK(shared.unused == std::vector<std::string>{"developer"});
  CHECK(world.editor.finish()->report(kBolt).unused.empty());
}

TEST_CASE("a tenant that is removed leaves nothing behind") {
  World world;
  world.role({"r", {"a:b"}, {}, {}});
  world.assign("ann", "r");
  world.assign("ann", "admin", "", kForever, kBolt);
  world.editor.remove_tenant(kAcme);
  world.editor.remove_tenant(555);
  CHECK(world.check("ann", "a:b") == AccessReason::kNoAssignment);
  CHECK(world.check("ann", "a:b", "", kNow, kBolt) == AccessReason::kAllowed);
  CHECK(world.editor.finish()->stats().tenants == 1);
  CHECK(world.editor.finish()->roles(kAcme).size() == kReady.size());
}

TEST_CASE("the ready roles of a catalog") {
  auto document = Json::parse(R"({"version": "1", "catalog": "c", "plans": {"free": {}}})");
  REQUIRE(document.ok());
  std::vector<CatalogError> errors;
  const auto catalog = Catalog::parse(*document, &errors);
  for (const CatalogError& error : errors) UNSCOPED_INFO(error.path << ": " << error.message);
  REQUIRE(catalog != nullptr);
  AccessEditor editor(nullptr);
  REQUIRE(editor.set_catalog(*catalog).ok());
  REQUIRE(editor.assign(kAcme, "ann", "admin", "", kForever).ok());
  REQUIRE(editor.assign(kAcme, "dev", "developer", "", kForever).ok());
  const Model model = editor.finish();
  const auto check = [&](const char* principal, const char* permission) {
    return model->check({kAcme, principal, permission, "", kNoScopes, kNow, {}});
  };
  CHECK(check("ann", "system:admin") == AccessReason::kAllowed);
  CHECK(check("dev", "api_key:delete") == AccessReason::kAllowed);
  CHECK(check("dev", "metadata_stamp:read") == AccessReason::kAllowed);
  CHECK(check("dev", "system:admin") == AccessReason::kNotGranted);
}

}  // namespace
}  // namespace tenancy
