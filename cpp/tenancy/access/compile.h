// Compile: closures of the roles that an edit touched, and of everything that inherits them.
//
// Work grows with the number of roles below the edited ones, and with nothing else: principals hold
// role codes, so their number does not matter.
//
// Thread safety: one editor at a time on one state.
#pragma once

#include <map>
#include <vector>

#include "tenancy/access/state.h"

namespace tenancy::access {

// Positions of edited roles by the owner of their table; kAllTenants: the shared one.
using DirtyRoles = std::map<TenantIndex, std::vector<uint32_t>>;

void compile(State& state, DirtyRoles dirty, EditToken token);

}  // namespace tenancy::access
