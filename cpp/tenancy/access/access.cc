#include "tenancy/access/access.h"

#include <algorithm>
#include <utility>

#include "tenancy/access/answers.h"
#include "tenancy/access/assign.h"
#include "tenancy/access/decide.h"
#include "tenancy/access/duty.h"
#include "tenancy/access/explain.h"
#include "tenancy/access/role_edits.h"
#include "tenancy/catalog/names.h"

namespace tenancy {

struct AccessModel::Impl {
  access::State state;
};

AccessModel::AccessModel(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
AccessModel::~AccessModel() = default;

AccessReason AccessModel::check(const AccessQuery& query) const {
  return access::decide(impl_->state, query);
}

void AccessModel::check_many(const AccessQuery& query,
                             std::span<const std::string_view> permissions,
                             std::span<AccessReason> out) const {
  const access::State& state = impl_->state;
  const access::TenantAccess* tenant = state.tenant(query.tenant);
  const access::NameMap::Found holding = access::find_principal(tenant, query.principal);
  for (size_t i = 0; i < permissions.size(); ++i) {
    access::Question question;
    if (!access::Question::ask(state, permissions[i], &question)) {
      out[i] = AccessReason::kMalformed;
      continue;
    }
    out[i] = access::within_scopes(state, query.scopes, question);
    if (out[i] != AccessReason::kAllowed) continue;
    if (query.principal.empty() && query.scopes != kNoScopes) continue;
    out[i] = holding ? access::judge_holding(state, *tenant, holding, question, query)
                     : AccessReason::kNoAssignment;
  }
}

AccessPath AccessModel::explain(const AccessQuery& query) const {
  return access::explain_decision(impl_->state, query);
}

Status AccessModel::check_active(TenantIndex index, std::string_view principal,
                                 std::span<const std::string_view> active, int64_t wall_ns) const {
  const access::State& state = impl_->state;
  const access::TenantAccess* tenant = state.tenant(index);
  return access::check_active_roles(state, tenant, access::find_principal(tenant, principal),
                                    {active, principal, wall_ns});
}

std::vector<std::string> AccessModel::known_permissions(TenantIndex tenant,
                                                        ScopeSetId scopes) const {
  return access::known_permissions(impl_->state, tenant, scopes);
}

std::vector<std::string> AccessModel::permissions(const AccessQuery& query) const {
  return access::allowed_permissions(impl_->state, query);
}

std::vector<std::string> AccessModel::who_can(TenantIndex tenant, std::string_view permission,
                                              std::string_view resource, int64_t wall_ns) const {
  return access::allowed_principals(impl_->state,
                                    {tenant, {}, permission, resource, kNoScopes, wall_ns, {}});
}

std::vector<AccessModel::Assignment> AccessModel::assignments(TenantIndex tenant,
                                                              std::string_view principal) const {
  return access::list_assignments(impl_->state, tenant, principal);
}

std::vector<std::string> AccessModel::held_roles(TenantIndex index, std::string_view principal,
                                                 std::string_view resource, int64_t wall_ns) const {
  const access::State& state = impl_->state;
  const access::TenantAccess* tenant = state.tenant(index);
  std::vector<std::string> names;
  access::for_each_grant(access::find_principal(tenant, principal),
                         [&](access::RoleCode code, std::string_view limited_to, int64_t until_ns) {
                           if (access::counts(limited_to, until_ns, resource, wall_ns)) {
                             names.push_back(state.role(tenant, code).name);
                           }
                           return true;
                         });
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

bool AccessModel::is_member(TenantIndex index, std::string_view principal, int64_t wall_ns) const {
  bool member = false;
  access::for_each_grant(access::find_principal(impl_->state.tenant(index), principal),
                         [&](access::RoleCode, std::string_view, int64_t until_ns) {
                           member = wall_ns < until_ns;
                           return !member;
                         });
  return member;
}

std::vector<std::string> AccessModel::roles(TenantIndex index) const {
  const access::State& state = impl_->state;
  const access::TenantAccess* tenant = state.tenant(index);
  std::vector<std::string> names;
  for (const access::RoleCode code : state.visible_roles(tenant)) {
    names.push_back(state.role(tenant, code).name);
  }
  return names;
}

std::optional<RoleDef> AccessModel::role(TenantIndex index, std::string_view name) const {
  const access::State& state = impl_->state;
  const access::TenantAccess* tenant = state.tenant(index);
  const access::RoleCode code = state.find_role(tenant, name);
  if (code == access::kNoRole) return std::nullopt;
  return state.definition(tenant, code);
}

RoleReport AccessModel::report(TenantIndex tenant) const {
  return access::report_roles(impl_->state, tenant);
}

AccessStats AccessModel::stats() const { return access::count_state(impl_->state); }

std::optional<std::string> AccessModel::missing_for_grant(TenantIndex tenant,
                                                          std::string_view holder,
                                                          ScopeSetId scopes, std::string_view role,
                                                          int64_t wall_ns,
                                                          std::string_view resource) const {
  return access::missing_for(impl_->state, {tenant, holder, {}, resource, scopes, wall_ns, {}},
                             role);
}

struct AccessEditor::Impl {
  access::Edit edit;

  Status set_duties(std::span<const DutyRule> duties);
  void mark_dynamic_roles();
  void declare(std::span<const std::string> permissions);
};

AccessEditor::AccessEditor(const AccessModel* base) : impl_(std::make_unique<Impl>()) {
  if (base != nullptr) impl_->edit.state = base->impl_->state;
  impl_->edit.token = access::next_edit_token();
}

AccessEditor::~AccessEditor() = default;

void AccessEditor::set_eager_cost(size_t cost) { impl_->edit.eager_cost = cost; }

Status AccessEditor::set_catalog(const Catalog& catalog) {
  return set_shared(catalog.roles(), catalog.permissions(), catalog.duties());
}

Status AccessEditor::set_shared(std::span<const RoleDef> roles,
                                std::span<const std::string> permissions,
                                std::span<const DutyRule> duties) {
  for (const std::string& permission : permissions) {
    if (valid_permission(permission, false)) continue;
    return {Code::kInvalidArgument,
            "permission " + in_quotes(permission) + " is not \"resource:action\" without '*'"};
  }
  access::Edit& edit = impl_->edit;
  access::Edit::Savepoint before(edit);
  impl_->mark_dynamic_roles();
  edit.state.duties = std::make_shared<access::Duties>();
  std::vector<std::string> gone;
  access::for_each_role(*edit.state.shared, [&](uint32_t, const access::Role& role) {
    const bool stays = std::ranges::find(roles, role.name, &RoleDef::name) != roles.end();
    if (role.from_catalog && !stays) gone.push_back(role.name);
  });
  // What goes loses its parents first, so that it can go in any order.
  std::vector<RoleDef> all(roles.begin(), roles.end());
  for (const std::string& name : gone) all.push_back({name, {}, {}, {}});
  Status status = access::put_roles(edit, kAllTenants, all, true);
  for (size_t i = 0; status.ok() && i < gone.size(); ++i) {
    status = access::remove_role(edit, kAllTenants, gone[i], true);
  }
  if (status.ok()) status = impl_->set_duties(duties);
  if (!status.ok()) return before.rollback(std::move(status));
  impl_->declare(permissions);
  return {};
}

void AccessEditor::Impl::declare(std::span<const std::string> permissions) {
  auto declared = std::make_shared<std::vector<access::PatternKey>>();
  for (const std::string& permission : permissions) {
    declared->push_back(edit.state.symbols.intern(permission, edit.token));
  }
  edit.state.declared = std::move(declared);
}

// Whether a dynamic rule names a role is part of its closure.
void AccessEditor::Impl::mark_dynamic_roles() {
  for (const access::DutyCodes& rule : edit.state.duties->dynamic) {
    for (const access::RoleCode code : rule.roles) edit.dirty[kAllTenants].push_back(code);
  }
}

Status AccessEditor::Impl::set_duties(std::span<const DutyRule> rules) {
  auto duties = std::make_shared<access::Duties>();
  for (const DutyRule& rule : rules) {
    const std::string where = "separation of duty " + in_quotes(rule.name) + ": ";
    if (rule.at_most == 0) return {Code::kInvalidArgument, where + "at_most must be at least 1"};
    access::DutyCodes codes{rule.name, {}, rule.at_most};
    for (const std::string& name : rule.roles) {
      const access::RoleCode code = edit.state.find_role(nullptr, name);
      if (code == access::kNoRole) {
        return {Code::kNotFound, where + "role " + in_quotes(name) + " is unknown"};
      }
      if (std::ranges::find(codes.roles, code) == codes.roles.end()) codes.roles.push_back(code);
    }
    (rule.dynamic ? duties->dynamic : duties->fixed).push_back(std::move(codes));
  }
  edit.state.duties = std::move(duties);
  mark_dynamic_roles();
  return access::check_static_duty(edit, kAllTenants);
}

Status AccessEditor::put_role(TenantIndex tenant, const RoleDef& role) {
  return access::put_role(impl_->edit, tenant, role, false);
}

Status AccessEditor::put_roles(TenantIndex tenant, std::span<const RoleDef> roles) {
  return access::put_roles(impl_->edit, tenant, roles, false);
}

Status AccessEditor::remove_role(TenantIndex tenant, std::string_view role) {
  return access::remove_role(impl_->edit, tenant, role, false);
}

Status AccessEditor::assign(TenantIndex tenant, std::string_view principal, std::string_view role,
                            std::string_view resource, int64_t until_ns) {
  return access::assign(impl_->edit, tenant, principal,
                        {std::string(role), std::string(resource), until_ns});
}

bool AccessEditor::unassign(TenantIndex tenant, std::string_view principal, std::string_view role,
                            std::string_view resource) {
  return access::unassign(impl_->edit, tenant, principal, role, resource);
}

void AccessEditor::remove_tenant(TenantIndex tenant) {
  impl_->edit.state.drop_tenant(tenant, impl_->edit.token);
  impl_->edit.dirty.erase(tenant);
}

Result<ScopeSetId> AccessEditor::intern_scopes(std::span<const std::string> patterns) {
  std::vector<std::string_view> sorted(patterns.begin(), patterns.end());
  std::ranges::sort(sorted);
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  std::string text;
  for (const std::string_view pattern : sorted) {
    if (!valid_permission(pattern, true)) {
      return {Code::kInvalidArgument, "scope " + in_quotes(pattern) +
                                          " is not \"resource:action\" with '*' for a whole side"};
    }
    text.append(pattern).push_back(' ');
  }
  access::State& state = impl_->edit.state;
  const access::EditToken token = impl_->edit.token;
  if (const uint32_t known = state.scope_ids.find(text).value; known != 0) return known - 1;
  std::vector<access::PatternKey> keys;
  for (const std::string_view pattern : sorted)
    keys.push_back(state.symbols.intern(pattern, token));
  access::ClosureBuilder closure;
  closure.add(keys, {});
  const ScopeSetId id = state.add_scope(closure.view(), token);
  state.scope_ids.put(text, id + 1, token);
  return id;
}

std::shared_ptr<const AccessModel> AccessEditor::finish() {
  access::Edit& edit = impl_->edit;
  edit.flush();
  auto impl = std::make_shared<AccessModel::Impl>();
  impl->state = edit.state;
  edit.token = access::next_edit_token();
  return std::shared_ptr<const AccessModel>(new AccessModel(std::move(impl)));
}

bool valid_permission(std::string_view text, bool pattern) {
  return pattern ? is_permission_pattern(text) : is_permission(text);
}

bool permission_covers(std::string_view pattern, std::string_view permission) {
  const size_t colon = pattern.find(':');
  const size_t asked = permission.find(':');
  const auto side = [](std::string_view a, std::string_view b) { return a == "*" || a == b; };
  return side(pattern.substr(0, colon), permission.substr(0, asked)) &&
         side(pattern.substr(colon + 1), permission.substr(asked + 1));
}

}  // namespace tenancy
