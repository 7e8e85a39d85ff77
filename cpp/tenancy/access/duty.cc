#include "tenancy/access/duty.h"

#include <algorithm>

#include "tenancy/catalog/names.h"

namespace tenancy::access {

namespace {

bool involves(const State& state, const TenantAccess& tenant, const DutyCodes& rule,
              RoleCode role) {
  return std::ranges::any_of(rule.roles,
                             [&](RoleCode named) { return state.includes(&tenant, role, named); });
}

bool is_broken(const State& state, const TenantAccess& tenant, NameMap::Found holding,
               const AccessQuery& query, const DutyCodes& rule) {
  uint32_t in_use = 0;
  for (const RoleCode named : rule.roles) {
    for_each_used_role(state, tenant, holding, query, [&](const UsedRole& used) {
      if (!state.includes(&tenant, used.role, named)) return true;
      ++in_use;
      return false;
    });
  }
  return in_use > rule.at_most;
}

}  // namespace

const DutyCodes* broken_dynamic_rule(const State& state, const TenantAccess& tenant,
                                     NameMap::Found holding, const AccessQuery& query,
                                     RoleCode role) {
  bool ruled = false;
  state.for_each_part(&tenant, role,
                      [&](const Closure& part) { ruled |= part.flags().dynamic_duty; });
  if (!ruled) return nullptr;
  for (const DutyCodes& rule : state.duties->dynamic) {
    if (involves(state, tenant, rule, role) && is_broken(state, tenant, holding, query, rule)) {
      return &rule;
    }
  }
  return nullptr;
}

AccessReason judge_under_duty(const State& state, const TenantAccess& tenant,
                              NameMap::Found holding, const Question& question,
                              const AccessQuery& query) {
  AccessReason reason = AccessReason::kNotGranted;
  for_each_used_role(state, tenant, holding, query, [&](const UsedRole& used) {
    if (!question.judge(&tenant, used.role).allow) return true;
    if (broken_dynamic_rule(state, tenant, holding, query, used.role) != nullptr) {
      reason = AccessReason::kDuty;
      return true;
    }
    reason = AccessReason::kAllowed;
    return false;
  });
  return reason;
}

Status check_active_roles(const State& state, const TenantAccess* tenant, NameMap::Found holding,
                          const ActiveRoles& active) {
  std::vector<RoleCode> codes;
  for (const std::string_view name : active.names) {
    const RoleCode code = state.find_role(tenant, name);
    bool held = false;
    for_each_grant(holding, [&](RoleCode role, std::string_view, int64_t until_ns) {
      held = active.wall_ns < until_ns && code != kNoRole && state.includes(tenant, role, code);
      return !held;
    });
    if (!held) {
      return {Code::kInvalidArgument, "role " + in_quotes(name) + " is not held by " +
                                          in_quotes(active.principal) +
                                          ": active roles are some of those that it holds"};
    }
    codes.push_back(code);
  }
  for (const DutyCodes& rule : state.duties->dynamic) {
    uint32_t in_use = 0;
    for (const RoleCode named : rule.roles) {
      in_use += std::ranges::any_of(
          codes, [&](RoleCode code) { return state.includes(tenant, code, named); });
    }
    if (in_use > rule.at_most) {
      std::string names;
      for (const RoleCode code : rule.roles) {
        names += (names.empty() ? "" : ", ") + in_quotes(state.role(tenant, code).name);
      }
      return {Code::kConflict, "separation of duty " + in_quotes(rule.name) + ": at most " +
                                   std::to_string(rule.at_most) + " of " + names +
                                   " may be active at once"};
    }
  }
  return {};
}

std::optional<BrokenRule> broken_static_rule(const State& state, const TenantAccess& tenant,
                                             const std::vector<Grant>& grants) {
  for (const DutyCodes& rule : state.duties->fixed) {
    BrokenRule broken{rule.name, {}, rule.at_most};
    for (const RoleCode named : rule.roles) {
      const bool held = std::ranges::any_of(
          grants, [&](const Grant& grant) { return state.includes(&tenant, grant.role, named); });
      if (held) broken.roles.push_back(state.role(&tenant, named).name);
    }
    if (broken.roles.size() > rule.at_most) return broken;
  }
  return std::nullopt;
}

}  // namespace tenancy::access
