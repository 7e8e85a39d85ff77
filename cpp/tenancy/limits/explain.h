// limit_explain: what a policy promises, in sentences for the people who set it.
//
// Thread safety: a pure function.
#pragma once

#include <string>

#include "tenancy/catalog/limit_policy.h"

namespace tenancy {

// Worst case, exactness, when capacity returns, what a change at run time keeps, memory per key.
std::string limit_explain(const LimitPolicy& policy);

}  // namespace tenancy
