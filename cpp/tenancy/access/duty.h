// Duty: separation of duty, static over what is assigned and dynamic over what is in use.
//
// Static: of a rule's roles, a principal may hold at most so many in a tenant, counted over
// everything its assigned roles inherit, whatever the assignments are limited to and whether or not
// they have ended (there is no clock here; an ended one is taken back first).
//
// Dynamic: of a rule's roles, a request may use at most so many at once. It uses the roles it names
// as active (the active role set of a session in ANSI INCITS 359), or, without naming any, all that
// count. A named set that breaks a rule is refused as a whole, by `check_active_roles`. Where they
// are too many, whatever involves a role of the rule gives nothing, and what is given by nothing
// else is refused as kDuty. Denials of a role count whether it is active or not.
//
// Thread safety: pure functions over immutable states.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "tenancy/access/decide.h"
#include "tenancy/access/state.h"

namespace tenancy::access {

// Nothing of the holding denies the permission; is it given, by roles that may be used together?
AccessReason judge_under_duty(const State& state, const TenantAccess& tenant,
                              NameMap::Found holding, const Question& question,
                              const AccessQuery& query);

// A role a request uses, by the assignment it comes from.
struct UsedRole {
  RoleCode role = kNoRole;      // the active one
  RoleCode assigned = kNoRole;  // the assigned one, which is it or inherits it
  std::string_view resource;
  int64_t until_ns = kForever;
};

// Calls fn(const UsedRole&) for each role in use; fn returns false to stop.
template <class Fn>
void for_each_used_role(const State& state, const TenantAccess& tenant, NameMap::Found holding,
                        const AccessQuery& query, Fn&& fn) {
  const auto each_counting = [&](auto&& visit) {
    for_each_grant(holding, [&](RoleCode role, std::string_view resource, int64_t until_ns) {
      if (!counts(resource, until_ns, query.resource, query.wall_ns)) return true;
      return visit(UsedRole{role, role, resource, until_ns});
    });
  };
  if (!query.active_roles) {
    each_counting(fn);
    return;
  }
  bool go_on = true;
  for (const std::string_view name : *query.active_roles) {
    const RoleCode active = state.find_role(&tenant, name);
    if (active == kNoRole || !go_on) continue;
    each_counting([&](UsedRole used) {
      if (!state.includes(&tenant, used.role, active)) return true;
      used.role = active;
      go_on = fn(used);
      return false;
    });
  }
}

// The first dynamic rule that is broken and that involves `role`; null: none.
const DutyCodes* broken_dynamic_rule(const State& state, const TenantAccess& tenant,
                                     NameMap::Found holding, const AccessQuery& query,
                                     RoleCode role);

struct ActiveRoles {
  std::span<const std::string_view> names;
  std::string_view principal;
  int64_t wall_ns = 0;
};
// See AccessModel::check_active. `tenant` may be null.
Status check_active_roles(const State& state, const TenantAccess* tenant, NameMap::Found holding,
                          const ActiveRoles& active);

struct BrokenRule {
  std::string rule;
  std::vector<std::string> roles;  // those of the rule that are held
  uint32_t at_most = 1;
};
// Would these grants together break a static rule? Closures must be compiled.
std::optional<BrokenRule> broken_static_rule(const State& state, const TenantAccess& tenant,
                                             const std::vector<Grant>& grants);

}  // namespace tenancy::access
