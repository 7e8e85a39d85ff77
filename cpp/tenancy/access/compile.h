// Compile: closures of the roles that an edit touched, and of everything that inherits them.
//
// Work grows with the number of roles below the edited ones in the same table, and with nothing
// else: principals hold role codes, and a tenant's roles only name the shared ones above them.
// Where it would be more than `eager_cost`, all closures of the table are forgotten instead, and
// each is compiled when it is first asked for (late.h).
//
// Thread safety: one editor at a time on one state.
#pragma once

#include <map>
#include <vector>

#include "tenancy/access/state.h"

namespace tenancy::access {

// Positions of edited roles by the owner of their table; kAllTenants: the shared one.
using DirtyRoles = std::map<TenantIndex, std::vector<uint32_t>>;

// Of the roles below the edited ones, as RoleTable::closure_cost counts it: some 200 us.
constexpr size_t kEagerCost = 16'384;

void compile(State& state, const DirtyRoles& dirty, size_t eager_cost, EditToken token);

}  // namespace tenancy::access
