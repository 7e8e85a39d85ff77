// Generated histories: the engine and the reference take the same edits and must give the same
// answers.
#include <cstdlib>
#include <memory>
#include <random>

#include "access/reference.h"
#include "catch.h"
#include "tenancy/access/access.h"

namespace tenancy {
namespace {

using reference::Question;
using reference::Rows;

constexpr TenantIndex kTenants = 3;
const std::vector<std::string> kResources{"doc", "ticket", "user"};
const std::vector<std::string> kActions{"read", "write"};
const std::vector<std::string> kOwnNames{"own-a", "own-b", "own-c", "own-d"};
const std::vector<std::string> kSharedNames{"cat-a", "cat-b", "cat-c", "cat-d", "own-d"};
const std::vector<std::string> kPrincipals{"ann", "bob", "cat-a",
                                           "a-principal-whose-name-is-longer-than-a-slot"};
const std::vector<std::string> kInstances{"", "doc/1", "doc/2"};

class History {
 public:
  // What a run has met; a generator that never gets anywhere would agree with everything.
  struct Tally {
    std::map<int, int> reasons;
    int edits_done = 0;
    int edits_refused = 0;
    int missing = 0;
    int activations = 0;
    int activations_refused = 0;
    int grantable = 0;
  };

  History(uint64_t seed, Tally* tally)
      : tally_(tally), random_(seed), editor_(std::make_unique<AccessEditor>(nullptr)) {
    for (int i = 0; i < 4; ++i) set_shared();
    publish();
  }

  void step() {
    const Rows before = rows_;
    const std::shared_ptr<const AccessModel> old_model = model_;
    const TenantIndex touched = edit();
    publish();
    compare_answers();
    compare_with_past(before, *old_model, touched);
    if (chance(4)) compare_listings();
    if (chance(10)) reload();
  }

 private:
  template <class Items>
  const auto& pick(const Items& items) {
    return items[static_cast<size_t>(random_() % items.size())];
  }
  bool chance(uint64_t one_in) { return random_() % one_in == 0; }
  TenantIndex any_tenant() { return static_cast<TenantIndex>(random_() % kTenants); }

  std::string any_pattern(bool wild) {
    const std::string resource = wild && chance(4) ? "*" : pick(kResources);
    return resource + ":" + (wild && chance(4) ? "*" : pick(kActions));
  }

  RoleDef any_role(const std::string& name, const std::vector<std::string>& parents) {
    RoleDef def{name, {}, {}, {}};
    for (uint64_t n = random_() % 3; n > 0; --n) def.permissions.push_back(any_pattern(true));
    if (chance(4)) def.denies.push_back(any_pattern(true));
    std::set<std::string> chosen;
    for (uint64_t n = random_() % 3; n > 0; --n) chosen.insert(pick(parents));
    def.inherits.assign(chosen.begin(), chosen.end());
    return def;
  }

  std::vector<std::string> names_for(TenantIndex tenant) {
    std::vector<std::string> names = kSharedNames;
    if (tenant != kAllTenants) names.insert(names.end(), kOwnNames.begin(), kOwnNames.end());
    return names;
  }

  // Makes one edit on both sides, which must agree whether it is possible. Returns whose it was.
  TenantIndex edit() {
    const TenantIndex tenant = chance(6) ? kAllTenants : any_tenant();
    switch (random_() % 12) {
      case 0:
      case 1:
      case 2: put_roles(tenant, 1); return tenant;
      case 3: put_roles(tenant, 3); return tenant;
      case 4: remove_role(tenant); return tenant;
      case 5:
        if (chance(2)) {
          set_shared();
          return kAllTenants;
        }
        return unassign();
      case 6:
        if (chance(8)) return remove_tenant();
        return unassign();
      case 7: return unassign();
      default: return assign();
    }
  }

  void apply(const Rows& next, const Status& status) {
    INFO((status.ok() ? std::string("ok") : status.error().message));
    REQUIRE(status.ok() == next.valid());
    if (status.ok()) rows_ = next;
    ++(status.ok() ? tally_->edits_done : tally_->edits_refused);
  }

  void put_roles(TenantIndex tenant, size_t count) {
    Rows next = rows_;
    std::map<std::string, RoleDef> defs;
    bool possible = true;
    for (size_t i = 0; i < count; ++i) {
      const std::string name = pick(tenant == kAllTenants ? kSharedNames : kOwnNames);
      defs[name] = any_role(name, names_for(tenant));
    }
    std::vector<RoleDef> list;
    for (const auto& [name, def] : defs) {
      list.push_back(def);
      if (tenant != kAllTenants) {
        next.own[tenant][name] = def;
      } else if (next.shared.contains(name) && next.shared[name].from_catalog) {
        possible = false;
      } else {
        next.shared[name] = {def, false};
      }
    }
    std::ranges::shuffle(list, random_);
    const Status status =
        list.size() == 1 ? editor_->put_role(tenant, list[0]) : editor_->put_roles(tenant, list);
    if (!possible) {
      REQUIRE_FALSE(status.ok());
    } else {
      apply(next, status);
    }
  }

  void remove_role(TenantIndex tenant) {
    Rows next = rows_;
    const std::string name = pick(tenant == kAllTenants ? kSharedNames : kOwnNames);
    bool possible = false;
    if (tenant == kAllTenants) {
      possible = next.shared.contains(name) && !next.shared[name].from_catalog;
      next.shared.erase(name);
    } else {
      possible = next.own[tenant].erase(name) > 0;
    }
    const Status status = editor_->remove_role(tenant, name);
    if (!possible) {
      REQUIRE_FALSE(status.ok());
    } else {
      apply(next, status);
    }
  }

  void set_shared() {
    Rows next = rows_;
    std::erase_if(next.shared, [](const auto& item) { return item.second.from_catalog; });
    std::vector<RoleDef> roles;
    bool possible = true;
    for (const std::string& name : kSharedNames) {
      if (chance(4)) continue;
      roles.push_back(any_role(name, kSharedNames));
      possible &= !next.shared.contains(name);
      next.shared[name] = {roles.back(), true};
    }
    next.declared = {any_pattern(false), any_pattern(false)};
    next.duties.clear();
    for (const bool dynamic : {false, true, true}) {
      if (chance(2)) continue;
      next.duties.push_back({"rule-" + std::to_string(next.duties.size()),
                             {pick(kSharedNames), pick(kSharedNames), pick(kSharedNames)},
                             static_cast<uint32_t>(1 + random_() % 2),
                             dynamic});
    }
    const Status status = editor_->set_shared(roles, next.declared, next.duties);
    if (!possible) {
      REQUIRE_FALSE(status.ok());
    } else {
      apply(next, status);
    }
  }

  TenantIndex assign() {
    const TenantIndex tenant = any_tenant();
    const std::string principal = pick(kPrincipals);
    const std::string role = pick(names_for(tenant));
    const std::string resource = chance(3) ? pick(kInstances) : "";
    const int64_t until = chance(3) ? static_cast<int64_t>(random_() % 10) : kForever;
    Rows next = rows_;
    next.assignments[tenant][{principal, role, resource}] = until;
    apply(next, editor_->assign(tenant, principal, role, resource, until));
    return tenant;
  }

  TenantIndex unassign() {
    const TenantIndex tenant = any_tenant();
    Rows::AssignmentKey key{pick(kPrincipals), pick(names_for(tenant)), pick(kInstances)};
    auto& rows = rows_.assignments[tenant];
    if (!rows.empty() && !chance(4)) {
      key = std::next(rows.begin(), static_cast<ptrdiff_t>(random_() % rows.size()))->first;
    }
    const auto& [principal, role, resource] = key;
    REQUIRE(editor_->unassign(tenant, principal, role, resource) == (rows.erase(key) > 0));
    return tenant;
  }

  TenantIndex remove_tenant() {
    const TenantIndex tenant = any_tenant();
    rows_.own.erase(tenant);
    rows_.assignments.erase(tenant);
    editor_->remove_tenant(tenant);
    return tenant;
  }

  void publish() {
    model_ = editor_->finish();
    if (chance(2)) editor_ = new_editor(model_.get());
  }

  // Some leave everything below an edited role to first use, some nothing, some a part.
  std::unique_ptr<AccessEditor> new_editor(const AccessModel* base) {
    auto editor = std::make_unique<AccessEditor>(base);
    if (!chance(3)) editor->set_eager_cost(chance(2) ? 0 : 40);
    return editor;
  }

  // A model built from nothing but the rows, in another order, is the same model.
  void reload() {
    AccessEditor editor(nullptr);
    std::vector<RoleDef> catalog;
    std::vector<RoleDef> others;
    for (const auto& [name, role] : rows_.shared) {
      (role.from_catalog ? catalog : others).push_back(role.def);
    }
    // Catalog and operator roles may inherit each other, so all of them are put as the catalog's
    // here: where a shared role comes from has no part in any answer.
    catalog.insert(catalog.end(), others.begin(), others.end());
    std::ranges::shuffle(catalog, random_);
    REQUIRE(editor.set_shared(catalog, rows_.declared, rows_.duties).ok());
    for (const auto& [tenant, roles] : rows_.own) {
      std::vector<RoleDef> list;
      for (const auto& [name, def] : roles) list.push_back(def);
      std::ranges::shuffle(list, random_);
      REQUIRE(editor.put_roles(tenant, list).ok());
    }
    std::vector<std::tuple<TenantIndex, Rows::AssignmentKey, int64_t>> grants;
    for (const auto& [tenant, rows] : rows_.assignments) {
      for (const auto& [key, until] : rows) grants.emplace_back(tenant, key, until);
    }
    std::ranges::shuffle(grants, random_);
    for (const auto& [tenant, key, until] : grants) {
      const auto& [principal, role, resource] = key;
      REQUIRE(editor.assign(tenant, principal, role, resource, until).ok());
    }
    const std::shared_ptr<const AccessModel> kept = std::exchange(model_, editor.finish());
    compare_answers();
    compare_listings();
    model_ = kept;
  }

  Question any_question() {
    Question q;
    q.tenant = any_tenant();
    q.principal = chance(12) ? "" : pick(kPrincipals);
    q.permission = chance(8) ? "never:named" : any_pattern(false);
    if (chance(20)) q.permission = pick(std::vector<std::string>{"", "doc", "doc:*", "a:b:c", ":"});
    q.resource = pick(kInstances);
    if (chance(4)) {
      q.scopes.emplace();
      for (uint64_t n = random_() % 3; n > 0; --n) q.scopes->push_back(any_pattern(true));
    }
    q.now = static_cast<int64_t>(random_() % 10);  // also backwards
    if (chance(3)) q.active = {pick(names_for(q.tenant)), pick(names_for(q.tenant))};
    return q;
  }

  // Scopes must be interned before the model is made: an editor of its own adds them to a copy.
  AccessReason ask(const AccessModel& model, const Question& q, AccessPath* path = nullptr) {
    AccessQuery query{q.tenant, q.principal, q.permission, q.resource, kNoScopes, q.now, {}};
    const std::vector<std::string_view> active(q.active.begin(), q.active.end());
    if (!q.active.empty()) query.active_roles = active;
    if (!q.scopes) {
      if (path != nullptr) *path = model.explain(query);
      return model.check(query);
    }
    AccessEditor editor(&model);
    auto scopes = editor.intern_scopes(*q.scopes);
    REQUIRE(scopes.ok());
    query.scopes = *scopes;
    const auto with_scopes = editor.finish();
    if (path != nullptr) *path = with_scopes->explain(query);
    return with_scopes->check(query);
  }

  void compare_answers() {
    for (int i = 0; i < 12; ++i) {
      const Question q = any_question();
      AccessPath path;
      const AccessReason reason = ask(*model_, q, &path);
      ++tally_->reasons[static_cast<int>(reason)];
      CAPTURE(q.tenant, q.principal, q.permission, q.resource, q.now, q.active);
      REQUIRE(static_cast<int>(reason) == static_cast<int>(rows_.check(q)));
      check_path(q, reason, path);
      const std::vector<std::string_view> active(q.active.begin(), q.active.end());
      const Status status = model_->check_active(q.tenant, q.principal, active, q.now);
      const std::optional<Code> refused = rows_.check_active(q);
      REQUIRE(status.ok() == !refused.has_value());
      if (refused) REQUIRE(status.error().code == *refused);
      tally_->activations += q.active.empty() ? 0 : 1;
      tally_->activations_refused += refused ? 1 : 0;
    }
  }

  void check_path(const Question& q, AccessReason reason, const AccessPath& path) {
    REQUIRE(path.reason == reason);
    REQUIRE(path.allowed == (reason == AccessReason::kAllowed));
    REQUIRE((path.allowed || !path.nearest_miss.empty()));
    const bool decided = path.allowed || reason == AccessReason::kDenied;
    if (!decided) return;
    REQUIRE(permission_covers(path.pattern, q.permission));
    if (q.principal.empty()) return;
    REQUIRE(!path.roles.empty());
    const auto row =
        rows_.assignments.at(q.tenant).find({q.principal, path.roles[0], path.resource});
    REQUIRE(row != rows_.assignments.at(q.tenant).end());
    REQUIRE(row->second == path.until_ns);
    REQUIRE(q.now < path.until_ns);
    for (size_t i = 1; i < path.roles.size(); ++i) {
      const auto& parents = rows_.find(q.tenant, path.roles[i - 1])->inherits;
      REQUIRE(std::ranges::find(parents, path.roles[i]) != parents.end());
    }
    const RoleDef& last = *rows_.find(q.tenant, path.roles.back());
    const auto& list = path.allowed ? last.permissions : last.denies;
    REQUIRE(std::ranges::find(list, path.pattern) != list.end());
  }

  // What others' edits must not change, and what an older snapshot must go on answering.
  void compare_with_past(const Rows& before, const AccessModel& old_model, TenantIndex touched) {
    for (int i = 0; i < 6; ++i) {
      const Question q = any_question();
      const AccessReason then = before.check(q);
      REQUIRE(ask(old_model, q) == then);
      if (touched != kAllTenants && q.tenant != touched) REQUIRE(ask(*model_, q) == then);
    }
  }

  void compare_listings() {
    Question q = any_question();
    q.active.clear();
    q.scopes.reset();
    std::vector<std::string> allowed;
    for (const std::string& permission : rows_.known_permissions(q.tenant)) {
      q.permission = permission;
      if (rows_.check(q) == AccessReason::kAllowed) allowed.push_back(permission);
    }
    CHECK(model_->permissions({q.tenant, q.principal, {}, q.resource, kNoScopes, q.now, {}}) ==
          allowed);

    q.permission = any_pattern(false);
    std::vector<std::string> principals;
    for (const std::string& principal : kPrincipals) {
      q.principal = principal;
      if (rows_.check(q) == AccessReason::kAllowed) principals.push_back(principal);
    }
    std::ranges::sort(principals);
    CHECK(model_->who_can(q.tenant, q.permission, q.resource, q.now) == principals);
    CHECK(model_->roles(q.tenant) == rows_.visible(q.tenant));
    compare_rows(q.tenant);
    compare_missing(q);
  }

  void compare_rows(TenantIndex tenant) {
    std::map<Rows::AssignmentKey, int64_t> rows;
    for (const auto& row : model_->assignments(tenant, "")) {
      rows[{row.principal, row.role, row.resource}] = row.until_ns;
    }
    CHECK(rows == rows_.assignments[tenant]);
    for (const std::string& name : rows_.visible(tenant)) {
      const std::optional<RoleDef> def = model_->role(tenant, name);
      REQUIRE(def.has_value());
      CHECK(def->permissions == rows_.find(tenant, name)->permissions);
      CHECK(def->denies == rows_.find(tenant, name)->denies);
      CHECK(def->inherits == rows_.find(tenant, name)->inherits);
    }
  }

  // Every permission over the names in use and one nobody uses, which stands for all others.
  void compare_missing(Question q) {
    for (const std::string& role : rows_.visible(q.tenant)) {
      std::optional<std::string> first;
      for (std::string resource : {"doc", "ticket", "user", "zz"}) {
        for (std::string action : {"read", "write", "zz"}) {
          q.permission = resource + ":" + action;
          const bool given = rows_.gives(q.tenant, role, q.permission, &RoleDef::permissions) &&
                             !rows_.gives(q.tenant, role, q.permission, &RoleDef::denies);
          if (!given || held_for_grant(q)) continue;
          const auto shown = [](const std::string& side) { return side == "zz" ? "*" : side; };
          const std::string text = shown(resource) + ":" + shown(action);
          if (!first || text < *first) first = text;
        }
      }
      ++(first ? tally_->missing : tally_->grantable);
      CAPTURE(q.principal, role, q.resource);
      CHECK(model_->missing_for_grant(q.tenant, q.principal, kNoScopes, role, q.now, q.resource) ==
            first);
    }
  }

  // Duty limits what is used together, not what may be passed on.
  bool held_for_grant(const Question& q) {
    Rows without = rows_;
    std::erase_if(without.duties, [](const DutyRule& rule) { return rule.dynamic; });
    return without.check(q) == AccessReason::kAllowed;
  }

  Tally* tally_;
  std::mt19937_64 random_;
  Rows rows_;
  std::unique_ptr<AccessEditor> editor_;
  std::shared_ptr<const AccessModel> model_;
};

TEST_CASE("generated histories agree with the reference") {
  const char* text = std::getenv("TENANCY_TEST_HISTORIES");
  const uint64_t histories = text == nullptr ? 40 : std::strtoull(text, nullptr, 10);
  History::Tally tally;
  for (uint64_t seed = 1; seed <= histories; ++seed) {
    INFO("seed " << seed);
    History history(seed, &tally);
    for (int i = 0; i < 150; ++i) history.step();
  }
  CAPTURE(tally.reasons, tally.edits_done, tally.edits_refused, tally.missing, tally.grantable);
  const int floor = static_cast<int>(histories) / 4;
  for (const auto reason :
       {AccessReason::kAllowed, AccessReason::kNoAssignment, AccessReason::kNotGranted,
        AccessReason::kDenied, AccessReason::kOutsideScopes, AccessReason::kMalformed,
        AccessReason::kDuty}) {
    CHECK(tally.reasons[static_cast<int>(reason)] >= floor);
  }
  CHECK(tally.edits_done >= 10 * floor);
  CHECK(tally.edits_refused >= 10 * floor);
  CHECK(tally.missing >= floor);
  CHECK(tally.grantable >= floor);
  CHECK(tally.activations_refused >= floor);
  CHECK(tally.activations - tally.activations_refused >= floor);
}

}  // namespace
}  // namespace tenancy
