#include "tenancy/access/role_edits.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tenancy/access/duty.h"
#include "tenancy/catalog/names.h"

namespace tenancy::access {

namespace {

constexpr size_t kPatternsPerRoleMax = 65'536;
constexpr size_t kParentsPerRoleMax = 4'096;
constexpr uint32_t kRolesPerTableMax = uint32_t{1} << 24;

const TenantAccess* owner_of(const State& state, TenantIndex owner) {
  return owner == kAllTenants ? nullptr : state.tenant(owner);
}

const RoleTable* find_table(const State& state, TenantIndex owner) {
  if (owner == kAllTenants) return state.shared.get();
  const TenantAccess* tenant = state.tenant(owner);
  return tenant == nullptr ? nullptr : tenant->roles.get();
}

RoleTable& edit_table(Edit& edit, TenantIndex owner) {
  if (owner == kAllTenants) return own(edit.state.shared, edit.token);
  RoleTable& table = own(edit.state.edit_tenant(owner, edit.token).roles, edit.token);
  table.of_tenant = true;
  return table;
}

// The role's position in the owner's own table, or kNoRole.
uint32_t find_position(const State& state, TenantIndex owner, std::string_view name) {
  const RoleTable* table = find_table(state, owner);
  const uint32_t value = table == nullptr ? 0 : table->names.find(name).value;
  return value == 0 ? kNoRole : value - 1;
}

std::string role_text(std::string_view name) { return "role " + in_quotes(name); }

Status check_form(const RoleDef& def) {
  if (!is_name(def.name)) {
    return {Code::kInvalidArgument,
            role_text(def.name) + ": the name of a role is " + std::string(kNameRule)};
  }
  for (const auto* patterns : {&def.permissions, &def.denies}) {
    if (patterns->size() > kPatternsPerRoleMax) {
      return {Code::kOutOfRange, role_text(def.name) + ": at most " +
                                     std::to_string(kPatternsPerRoleMax) + " permissions"};
    }
    for (const std::string& pattern : *patterns) {
      if (valid_permission(pattern, true)) continue;
      return {Code::kInvalidArgument,
              role_text(def.name) + ": " + in_quotes(pattern) +
                  " is not \"resource:action\" with '*' allowed for a whole side"};
    }
  }
  if (def.inherits.size() > kParentsPerRoleMax) {
    return {Code::kOutOfRange,
            role_text(def.name) + ": at most " + std::to_string(kParentsPerRoleMax) + " parents"};
  }
  return {};
}

// A tenant's role and a shared one of the same name would make assignments ambiguous.
Status check_not_shadowed(const State& state, TenantIndex owner, const RoleDef& def,
                          bool from_catalog) {
  if (owner != kAllTenants) {
    if (!state.shared->names.find(def.name)) return {};
    return {Code::kConflict,
            role_text(def.name) + ": every tenant has a role of this name already; choose another"};
  }
  const uint32_t position = find_position(state, owner, def.name);
  if (position != kNoRole) {
    if (state.shared->roles[position]->from_catalog == from_catalog) return {};
    return {Code::kConflict, role_text(def.name) +
                                 (from_catalog ? ": defined for all tenants outside the catalog too"
                                               : ": defined by the catalog; change it there")};
  }
  Status status;
  state.for_each_tenant([&](TenantIndex index, const TenantAccess& tenant) {
    if (status.ok() && tenant.roles != nullptr && tenant.roles->names.find(def.name)) {
      status = {Code::kConflict, role_text(def.name) + ": tenant #" + std::to_string(index) +
                                     " has a role of its own by this name; rename one of them"};
    }
  });
  return status;
}

Result<std::vector<RoleCode>> find_parents(const State& state, TenantIndex owner,
                                           const RoleDef& def) {
  const TenantAccess* tenant = owner_of(state, owner);
  std::vector<RoleCode> parents;
  for (const std::string& name : def.inherits) {
    if (name == def.name) {
      return {Code::kConflict, role_text(def.name) + " would inherit itself"};
    }
    const RoleCode code = state.find_role(tenant, name);
    if (code == kNoRole)
      return unknown_role(state, tenant, name, role_text(def.name) + ": parent ");
    if (std::ranges::find(parents, code) == parents.end()) parents.push_back(code);
  }
  return parents;
}

// The way from one of `parents` up to `position` inside the table, by names, or empty.
std::string find_cycle(const RoleTable& table, uint32_t position,
                       const std::vector<RoleCode>& parents, bool own_table) {
  constexpr uint32_t kUnseen = UINT32_MAX;
  std::vector<uint32_t> came_from(table.roles.size(), kUnseen);
  std::vector<uint32_t> queue;
  const auto visit = [&](RoleCode code, uint32_t from) {
    if (is_own(code) != own_table || came_from[role_index(code)] != kUnseen) return;
    came_from[role_index(code)] = from;
    queue.push_back(role_index(code));
  };
  for (const RoleCode parent : parents) visit(parent, position);
  for (size_t i = 0; i < queue.size() && came_from[position] == kUnseen; ++i) {
    for (const RoleCode parent : table.roles[queue[i]]->parents) visit(parent, queue[i]);
  }
  if (came_from[position] == kUnseen) return {};
  constexpr size_t kNamesShown = 16;
  std::string way = table.roles[position]->name;
  size_t shown = 0;
  for (uint32_t at = came_from[position]; at != position; at = came_from[at]) {
    if (++shown > kNamesShown) continue;
    way.insert(0, shown == kNamesShown ? "… → " : table.roles[at]->name + " → ");
  }
  return table.roles[position]->name + " → " + way;
}

uint32_t new_position(RoleTable& table, const std::string& name, EditToken token) {
  uint32_t position;
  if (table.free.empty()) {
    position = table.roles.push_back(nullptr, token);
  } else {
    position = table.free.back();
    table.free.pop_back();
  }
  own(table.roles.edit(position, token), token).name = name;
  table.names.put(name, position + 1, token);
  return position;
}

void link_parents(RoleTable& table, RoleCode self, const std::vector<RoleCode>& parents, bool link,
                  EditToken token) {
  for (const RoleCode parent : parents) {
    if (is_own(parent) != is_own(self)) continue;
    std::vector<RoleCode>& children =
        own(table.roles.edit(role_index(parent), token), token).children;
    if (link) {
      children.push_back(self);
    } else {
      std::erase(children, self);
    }
  }
}

// Writes a definition that has passed every check. Returns the position.
uint32_t install(Edit& edit, TenantIndex owner, const RoleDef& def, std::vector<RoleCode> parents,
                 bool from_catalog) {
  RoleTable& table = edit_table(edit, owner);
  const uint32_t known = find_position(edit.state, owner, def.name);
  const uint32_t position = known != kNoRole ? known : new_position(table, def.name, edit.token);
  const RoleCode self = owner == kAllTenants ? position : position | kOwnRole;
  Role& role = own(table.roles.edit(position, edit.token), edit.token);
  if (role.parents != parents) {
    link_parents(table, self, role.parents, false, edit.token);
    link_parents(table, self, parents, true, edit.token);
  }
  role.parents = std::move(parents);
  role.from_catalog = from_catalog;
  role.allow.clear();
  role.deny.clear();
  for (const std::string& pattern : def.permissions) {
    role.allow.push_back(edit.state.symbols.intern(pattern, edit.token));
  }
  for (const std::string& pattern : def.denies) {
    role.deny.push_back(edit.state.symbols.intern(pattern, edit.token));
  }
  edit.dirty[owner].push_back(position);
  return position;
}

bool same_definition(const State& state, TenantIndex owner, uint32_t position, const RoleDef& def) {
  const TenantAccess* tenant = owner_of(state, owner);
  const RoleCode code = owner == kAllTenants ? position : position | kOwnRole;
  const RoleDef held = state.definition(tenant, code);
  return held.permissions == def.permissions && held.denies == def.denies &&
         held.inherits == def.inherits;
}

bool is_assigned(const State& state, TenantIndex owner, RoleCode code) {
  bool assigned = false;
  const auto look = [&](const TenantAccess& tenant) {
    tenant.principals.for_each([&](std::string_view, NameMap::Found holding) {
      if (assigned) return;
      for_each_grant(holding, [&](RoleCode role, std::string_view, int64_t) {
        assigned |= role == code;
        return !assigned;
      });
    });
  };
  if (owner != kAllTenants) {
    look(*state.tenant(owner));
  } else {
    state.for_each_tenant([&](TenantIndex, const TenantAccess& tenant) { look(tenant); });
  }
  return assigned;
}

std::string find_heir(const State& state, TenantIndex owner, uint32_t position) {
  const RoleTable& table = *find_table(state, owner);
  if (!table.roles[position]->children.empty()) {
    return table.roles[role_index(table.roles[position]->children[0])]->name;
  }
  if (owner != kAllTenants) return {};
  std::string heir;
  state.for_each_tenant([&](TenantIndex, const TenantAccess& tenant) {
    if (tenant.roles == nullptr || !heir.empty()) return;
    for_each_role(*tenant.roles, [&](uint32_t, const Role& role) {
      if (std::ranges::find(role.parents, position) != role.parents.end()) heir = role.name;
    });
  });
  return heir;
}

Status check_static_duty_of(const State& state, const TenantAccess& tenant) {
  Status status;
  tenant.principals.for_each([&](std::string_view principal, NameMap::Found holding) {
    if (!status.ok()) return;
    if (const auto broken = broken_static_rule(state, tenant, read_grants(holding))) {
      status = {Code::kConflict, "separation of duty " + in_quotes(broken->rule) + ": " +
                                     in_quotes(principal) + " would hold " +
                                     in_quotes(broken->roles[0]) + " and " +
                                     in_quotes(broken->roles[1]) + "; unassign one first"};
    }
  });
  return status;
}

}  // namespace

Status unknown_role(const State& state, const TenantAccess* owner, std::string_view name,
                    const std::string& where) {
  std::vector<std::string_view> known;
  for (const RoleCode code : state.visible_roles(owner))
    known.emplace_back(state.role(owner, code).name);
  const std::string_view near = nearest_name(name, known);
  return {Code::kNotFound,
          where + role_text(name) + " is unknown" +
              (near.empty() ? std::string() : "; did you mean " + in_quotes(near) + "?")};
}

void Edit::flush() {
  if (dirty.empty()) return;
  compile(state, std::exchange(dirty, {}), eager_cost, token);
}

Status Edit::Savepoint::rollback(Status why) {
  edit_.state = std::move(state_);
  edit_.dirty = std::move(dirty_);
  return why;
}

Status check_static_duty(Edit& edit, TenantIndex owner) {
  if (edit.state.duties->fixed.empty()) return {};
  edit.flush();
  if (owner != kAllTenants) return check_static_duty_of(edit.state, *edit.state.tenant(owner));
  Status status;
  edit.state.for_each_tenant([&](TenantIndex, const TenantAccess& tenant) {
    if (status.ok()) status = check_static_duty_of(edit.state, tenant);
  });
  return status;
}

Status put_role(Edit& edit, TenantIndex owner, const RoleDef& def, bool from_catalog) {
  if (Status status = check_form(def); !status.ok()) return status;
  if (Status status = check_not_shadowed(edit.state, owner, def, from_catalog); !status.ok()) {
    return status;
  }
  auto parents = find_parents(edit.state, owner, def);
  if (!parents.ok()) return parents.status();
  const uint32_t known = find_position(edit.state, owner, def.name);
  if (known == kNoRole) {
    if (find_table(edit.state, owner) != nullptr &&
        find_table(edit.state, owner)->names.size() >= kRolesPerTableMax) {
      return {Code::kFull, role_text(def.name) + ": too many roles"};
    }
    install(edit, owner, def, std::move(*parents), from_catalog);
    return {};
  }
  if (same_definition(edit.state, owner, known, def)) return {};
  const RoleTable& table = *find_table(edit.state, owner);
  const bool new_parents = table.roles[known]->parents != *parents;
  if (new_parents && !table.roles[known]->children.empty()) {
    const std::string cycle = find_cycle(table, known, *parents, owner != kAllTenants);
    if (!cycle.empty()) {
      return {Code::kConflict,
              role_text(def.name) + ": roles may not inherit in a circle: " + cycle};
    }
  }
  if (!new_parents || edit.state.duties->fixed.empty()) {
    install(edit, owner, def, std::move(*parents), from_catalog);
    return {};
  }
  Edit::Savepoint before(edit);
  install(edit, owner, def, std::move(*parents), from_catalog);
  Status status = check_static_duty(edit, owner);
  return status.ok() ? status : before.rollback(std::move(status));
}

Status put_roles(Edit& edit, TenantIndex owner, std::span<const RoleDef> defs, bool from_catalog) {
  Edit::Savepoint before(edit);
  // Names first, without old parents, so that neither order nor what is replaced gets in the way.
  for (const RoleDef& def : defs) {
    Status status = check_form(def);
    if (status.ok()) status = check_not_shadowed(edit.state, owner, def, from_catalog);
    if (!status.ok()) return before.rollback(std::move(status));
    const uint32_t known = find_position(edit.state, owner, def.name);
    if (known != kNoRole && same_definition(edit.state, owner, known, def)) continue;
    install(edit, owner, {def.name, {}, {}, {}}, {}, from_catalog);
  }
  for (const RoleDef& def : defs) {
    Status status = put_role(edit, owner, def, from_catalog);
    if (!status.ok()) return before.rollback(std::move(status));
  }
  return {};
}

Status remove_role(Edit& edit, TenantIndex owner, std::string_view name, bool from_catalog) {
  const State& state = edit.state;
  const uint32_t position = find_position(state, owner, name);
  if (position == kNoRole) return unknown_role(state, owner_of(state, owner), name, "");
  if (find_table(state, owner)->roles[position]->from_catalog != from_catalog) {
    return {Code::kConflict, role_text(name) + ": defined by the catalog; take it out there"};
  }
  const RoleCode code = owner == kAllTenants ? position : position | kOwnRole;
  if (const std::string heir = find_heir(state, owner, position); !heir.empty()) {
    return {Code::kConflict, role_text(name) + ": " + role_text(heir) + " inherits it"};
  }
  if (is_assigned(state, owner, code)) {
    return {Code::kConflict, role_text(name) + ": still assigned; unassign it first"};
  }
  for (const auto* rules : {&state.duties->fixed, &state.duties->dynamic}) {
    for (const DutyCodes& rule : *rules) {
      if (std::ranges::find(rule.roles, code) != rule.roles.end()) {
        return {Code::kConflict,
                role_text(name) + ": separation of duty " + in_quotes(rule.name) + " names it"};
      }
    }
  }
  RoleTable& table = edit_table(edit, owner);
  link_parents(table, code, std::vector<RoleCode>(table.roles[position]->parents), false,
               edit.token);
  table.names.erase(name, edit.token);
  table.roles.edit(position, edit.token) = nullptr;
  table.set_closure(position, {}, edit.token);
  table.free.push_back(position);
  return {};
}

}  // namespace tenancy::access
