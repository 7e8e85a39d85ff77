// Explain: why `check` says what it says, and what would have been closest to a yes.
//
// Thread safety: pure functions over immutable states.
#pragma once

#include "tenancy/access/access.h"
#include "tenancy/access/state.h"

namespace tenancy::access {

AccessPath explain_decision(const State& state, const AccessQuery& query);

}  // namespace tenancy::access
