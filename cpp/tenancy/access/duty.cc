#include "tenancy/access/duty.h"

#include <algorithm>

namespace tenancy::access {

namespace {

bool involves(const State& state, const TenantAccess& tenant, const DutyCodes& rule,
              RoleCode role) {
  const Closure closure = state.closure(&tenant, role);
  return std::ranges::any_of(rule.roles,
                             [&](RoleCode named) { return includes(role, closure, named); });
}

bool is_broken(const State& state, const TenantAccess& tenant, NameMap::Found holding,
               const AccessQuery& query, const DutyCodes& rule) {
  uint32_t in_use = 0;
  for (const RoleCode named : rule.roles) {
    for_each_used_role(state, tenant, holding, query, [&](const UsedRole& used) {
      if (!includes(used.role, state.closure(&tenant, used.role), named)) return true;
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
  if (!state.closure(&tenant, role).flags().dynamic_duty) return nullptr;
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
    if (!question.judge(state.closure(&tenant, used.role)).allow) return true;
    if (broken_dynamic_rule(state, tenant, holding, query, used.role) != nullptr) {
      reason = AccessReason::kDuty;
      return true;
    }
    reason = AccessReason::kAllowed;
    return false;
  });
  return reason;
}

std::optional<BrokenRule> broken_static_rule(const State& state, const TenantAccess& tenant,
                                             const std::vector<Grant>& grants) {
  for (const DutyCodes& rule : state.duties->fixed) {
    BrokenRule broken{rule.name, {}, rule.at_most};
    for (const RoleCode named : rule.roles) {
      const bool held = std::ranges::any_of(grants, [&](const Grant& grant) {
        return includes(grant.role, state.closure(&tenant, grant.role), named);
      });
      if (held) broken.roles.push_back(state.role(&tenant, named).name);
    }
    if (broken.roles.size() > rule.at_most) return broken;
  }
  return std::nullopt;
}

}  // namespace tenancy::access
