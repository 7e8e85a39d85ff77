// LimitPatch: what one place of a document says about a limit, and how that changes the limit below
// it.
//
// A plan that extends another and a tenant's overrides work the same way: a window replaces the
// window of the same length, other windows stay. `unlimited` and `replace: true` clear what was
// there before.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/catalog/catalog.h"
#include "tenancy/catalog/fields.h"

namespace tenancy {

struct LimitPatch {
  std::optional<uint8_t> scope;
  bool replace = false;
  std::vector<LimitPolicy> windows;   // ascending, no two of one length
  std::vector<int64_t> unlimited_ns;  // lengths of windows that are taken away
};

// Where a limit stands decides which scopes make sense: a plan's always counts per tenant and
// action.
enum class LimitPlace : uint8_t { kPlan, kOutsidePlans };

constexpr uint8_t kPlanScope = kScopeTenant | kScopeAction;
constexpr size_t kWindowsMax = 8;

// Any of the written forms; reports everything that is wrong and then returns nothing.
std::optional<LimitPatch> read_limit(const Field& field, LimitPlace place);

void apply(const LimitPatch& patch, LimitRule* rule);

// "tenant*action"; "global" for no bit. Bits in the order of ScopeBit.
std::string scope_text(uint8_t scope);

}  // namespace tenancy
