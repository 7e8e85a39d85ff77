#include "tenancy/access/assign.h"

#include <algorithm>
#include <utility>

#include "tenancy/access/decide.h"
#include "tenancy/access/duty.h"
#include "tenancy/catalog/names.h"

namespace tenancy::access {

namespace {

constexpr size_t kResourceBytesMax = 512;
constexpr size_t kGrantsPerPrincipalMax = 4'096;

Status check_names(std::string_view principal, std::string_view resource) {
  if (principal.empty() || principal.size() > kPrincipalBytesMax) {
    return {Code::kInvalidArgument, "a principal's name has 1 to " +
                                        std::to_string(kPrincipalBytesMax) + " bytes, got " +
                                        std::to_string(principal.size())};
  }
  if (resource.empty()) return {};
  const size_t slash = resource.find('/');
  const bool good = resource.size() <= kResourceBytesMax && slash != resource.npos &&
                    is_name(resource.substr(0, slash)) && slash + 1 < resource.size();
  if (good) return {};
  return {Code::kInvalidArgument, "resource " + in_quotes(resource) +
                                      ": expected \"type/id\" of at most " +
                                      std::to_string(kResourceBytesMax) + " bytes"};
}

}  // namespace

Status assign(Edit& edit, TenantIndex index, std::string_view principal, const NewGrant& grant) {
  if (index == kAllTenants) {
    return {Code::kInvalidArgument, "an assignment belongs to one tenant"};
  }
  if (Status status = check_names(principal, grant.resource); !status.ok()) return status;
  const TenantAccess* before = edit.state.tenant(index);
  const RoleCode role = edit.state.find_role(before, grant.role);
  if (role == kNoRole) return unknown_role(edit.state, before, grant.role, "");
  std::vector<Grant> grants = read_grants(find_principal(before, principal));
  const auto same = std::ranges::find_if(
      grants, [&](const Grant& g) { return g.role == role && g.resource == grant.resource; });
  if (same != grants.end()) {
    same->until_ns = grant.until_ns;
  } else if (grants.size() == kGrantsPerPrincipalMax) {
    return {Code::kFull, in_quotes(principal) + " holds " + std::to_string(kGrantsPerPrincipalMax) +
                             " assignments already; unassign some first"};
  } else {
    grants.push_back({role, grant.resource, grant.until_ns});
    if (!edit.state.duties->fixed.empty()) {
      edit.flush();
      static const TenantAccess kNobody;
      const TenantAccess* tenant = edit.state.tenant(index);
      const auto broken =
          broken_static_rule(edit.state, tenant == nullptr ? kNobody : *tenant, grants);
      if (broken) {
        return {Code::kConflict, "separation of duty " + in_quotes(broken->rule) + ": " +
                                     in_quotes(principal) + " may hold at most " +
                                     std::to_string(broken->at_most) + " of " +
                                     in_quotes(broken->roles) + "; unassign one first"};
      }
    }
  }
  TenantAccess& tenant = edit.state.edit_tenant(index, edit.token);
  write_grants(tenant.principals, principal, std::move(grants), edit.token);
  return {};
}

bool unassign(Edit& edit, TenantIndex index, std::string_view principal, std::string_view role,
              std::string_view resource) {
  const TenantAccess* before = edit.state.tenant(index);
  const RoleCode code = edit.state.find_role(before, role);
  const NameMap::Found holding = find_principal(before, principal);
  if (code == kNoRole || !holding) return false;
  std::vector<Grant> grants = read_grants(holding);
  const size_t erased = std::erase_if(
      grants, [&](const Grant& g) { return g.role == code && g.resource == resource; });
  if (erased == 0) return false;
  TenantAccess& tenant = edit.state.edit_tenant(index, edit.token);
  write_grants(tenant.principals, principal, std::move(grants), edit.token);
  if (tenant.principals.size() == 0 && tenant.roles == nullptr) {
    edit.state.drop_tenant(index, edit.token);
  }
  return true;
}

}  // namespace tenancy::access
