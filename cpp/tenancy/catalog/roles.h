// Roles, permissions and separation of duty of a catalog.
//
// Thread safety: pure functions.
#pragma once

#include <string>
#include <vector>

#include "tenancy/catalog/catalog.h"
#include "tenancy/catalog/fields.h"

namespace tenancy {

// admin, developer, operator and readonly (requirement A1).
std::vector<RoleDef> ready_roles();

// A list of "resource:action" without '*'. Absent: empty.
std::vector<std::string> read_permissions(const Field& field);

// The ready roles (when `ready`), then those of `field`, one of which may replace a ready one.
// Parents resolve and form no cycle. Where `permissions` is not empty, what a role names in full is
// in it.
std::vector<RoleDef> read_roles(const Field& field, bool ready,
                                const std::vector<std::string>& permissions);

std::vector<DutyRule> read_duties(const Field& field, const std::vector<RoleDef>& roles);

}  // namespace tenancy
