// Answers: questions about a state that walk over it: listings, reports, and what a grant would
// need.
//
// Thread safety: pure functions over immutable states.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/access/access.h"
#include "tenancy/access/state.h"

namespace tenancy::access {

std::vector<std::string> known_permissions(const State& state, TenantIndex tenant,
                                           ScopeSetId scopes);
// `query.permission` is not read.
std::vector<std::string> allowed_permissions(const State& state, AccessQuery query);
// `query.principal` is not read.
std::vector<std::string> allowed_principals(const State& state, const AccessQuery& query);
std::vector<AccessModel::Assignment> list_assignments(const State& state, TenantIndex tenant,
                                                      std::string_view principal);
std::optional<std::string> missing_for(const State& state, const AccessQuery& holder,
                                       std::string_view role);
RoleReport report_roles(const State& state, TenantIndex tenant);
AccessStats count_state(const State& state);

}  // namespace tenancy::access
