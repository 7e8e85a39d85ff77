#include "tenancy/access/decide.h"

#include "tenancy/access/duty.h"
#include "tenancy/catalog/names.h"

namespace tenancy::access {

namespace {

constexpr size_t kPermissionBytesMax = 2 * kNameCharsMax + 1;

}  // namespace

bool Question::ask(const State& state, std::string_view permission, Question* out) {
  out->state_ = &state;
  if (permission.size() > kPermissionBytesMax) return false;
  out->exact_ = state.symbols.find_exact(permission);
  return out->exact_ != kNoId || state.symbols.resolve(permission, &out->unknown_);
}

bool Question::covers(PatternKey key) const {
  const Permission asked = parts();
  switch (key_kind(key)) {
    case KeyKind::kExact: return key_id(key) == asked.exact;
    case KeyKind::kAnyAction: return key == kEverything || key_id(key) == asked.resource;
    case KeyKind::kAnyResource: return key_id(key) == asked.action;
    case KeyKind::kAncestor: break;
  }
  return false;
}

AccessReason within_scopes(const State& state, ScopeSetId scopes, const Question& question) {
  if (scopes == kNoScopes) return AccessReason::kAllowed;
  // A number this model does not know covers nothing.
  if (scopes >= state.scope_count || !question.judge(state.scope(scopes)).allow) {
    return AccessReason::kOutsideScopes;
  }
  return AccessReason::kAllowed;
}

NameMap::Found find_principal(const TenantAccess* tenant, std::string_view principal) {
  if (tenant == nullptr || principal.size() > kPrincipalBytesMax) return {};
  return tenant->principals.find(principal);
}

AccessReason judge_holding(const State& state, const TenantAccess& tenant, NameMap::Found holding,
                           const Question& question, const AccessQuery& query) {
  Verdict verdict;
  bool any = false;
  bool duty = query.active_roles.has_value();
  for_each_grant(holding, [&](RoleCode role, std::string_view resource, int64_t until_ns) {
    if (!counts(resource, until_ns, query.resource, query.wall_ns)) return true;
    any = true;
    state.for_each_part(&tenant, role, [&](const Closure& part) {
      duty |= part.flags().dynamic_duty;
      verdict |= question.judge(part);
    });
    return true;
  });
  if (!any) return AccessReason::kNoAssignment;
  if (verdict.deny) return AccessReason::kDenied;
  if (duty) return judge_under_duty(state, tenant, holding, question, query);
  return verdict.allow ? AccessReason::kAllowed : AccessReason::kNotGranted;
}

AccessReason decide(const State& state, const AccessQuery& query) {
  // The principal's slot and the tenant's closures are the likeliest to be in no cache: they are
  // fetched while the permission is looked up.
  const TenantAccess* tenant = state.tenant(query.tenant);
  const bool nameable =
      tenant != nullptr && !query.principal.empty() && query.principal.size() <= kPrincipalBytesMax;
  const uint64_t hash = nameable ? hash_name(query.principal) : 0;
  if (nameable) {
    tenant->principals.prefetch(hash);
    if (tenant->roles != nullptr && tenant->roles->first != nullptr)
      tenant->roles->first->prefetch();
  }

  Question question;
  if (!Question::ask(state, query.permission, &question)) return AccessReason::kMalformed;
  const AccessReason scoped = within_scopes(state, query.scopes, question);
  if (scoped != AccessReason::kAllowed) return scoped;
  if (query.principal.empty()) {
    return query.scopes == kNoScopes ? AccessReason::kNoAssignment : AccessReason::kAllowed;
  }
  if (!nameable) return AccessReason::kNoAssignment;
  const NameMap::Found holding = tenant->principals.find(query.principal, hash);
  if (!holding) return AccessReason::kNoAssignment;
  return judge_holding(state, *tenant, holding, question, query);
}

}  // namespace tenancy::access
