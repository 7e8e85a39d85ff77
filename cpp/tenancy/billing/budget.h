// How much usage a budget buys.
//
// Thread safety: pure functions.
#pragma once

#include <optional>

#include "tenancy/base/decimal.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/price.h"

namespace tenancy {

// The largest multiple of `step` (> 0) whose amount is at most `budget`; nothing when every
// quantity is. A volume price may cost more for a smaller quantity than for a larger one: smaller
// quantities than the answer are not all within the budget then. kInvalidArgument: the step is not
// above zero, or the budget does not even pay for no usage.
Result<std::optional<Decimal>> quantity_for(const Price& price, Decimal budget, Decimal step);

}  // namespace tenancy
