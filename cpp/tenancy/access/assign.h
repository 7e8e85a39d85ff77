// Assign: grants given to and taken from principals of a state under edit.
//
// Thread safety: one editor at a time on one state.
#pragma once

#include <string>
#include <string_view>

#include "tenancy/access/role_edits.h"
#include "tenancy/base/status.h"

namespace tenancy::access {

struct NewGrant {
  std::string role;
  std::string resource;
  int64_t until_ns = kForever;
};

Status assign(Edit& edit, TenantIndex tenant, std::string_view principal, const NewGrant& grant);
bool unassign(Edit& edit, TenantIndex tenant, std::string_view principal, std::string_view role,
              std::string_view resource);

}  // namespace tenancy::access
