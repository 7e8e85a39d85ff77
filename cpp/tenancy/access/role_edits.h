// RoleEdits: roles put into and taken out of a state under edit, with every rule about them.
//
// Thread safety: one editor at a time on one state.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "tenancy/access/compile.h"
#include "tenancy/access/state.h"
#include "tenancy/base/status.h"

namespace tenancy::access {

// A state under edit. Closures are behind until `flush`.
struct Edit {
  State state;
  EditToken token = 0;
  DirtyRoles dirty;
  size_t eager_cost = kEagerCost;

  void flush();
  // Puts everything back to where it was when the object was made, unless told to keep it.
  class Savepoint;
};

class Edit::Savepoint {
 public:
  explicit Savepoint(Edit& edit) : edit_(edit), state_(edit.state), dirty_(edit.dirty) {
    edit.token = next_edit_token();  // nodes are shared with the saved state from here on
  }
  Savepoint(const Savepoint&) = delete;
  Savepoint& operator=(const Savepoint&) = delete;
  Status rollback(Status why);

 private:
  Edit& edit_;
  State state_;
  DirtyRoles dirty_;
};

Status put_role(Edit& edit, TenantIndex owner, const RoleDef& def, bool from_catalog);
// All or none, in any order; a role may name another of the list as its parent.
Status put_roles(Edit& edit, TenantIndex owner, std::span<const RoleDef> defs, bool from_catalog);
Status remove_role(Edit& edit, TenantIndex owner, std::string_view name, bool from_catalog);
// kNotFound for a role the tenant does not see, with what was probably meant.
Status unknown_role(const State& state, const TenantAccess* tenant, std::string_view name,
                    const std::string& where);
// Looks at every principal of the tenant (kAllTenants: of all). kConflict names the first that
// breaks a rule.
Status check_static_duty(Edit& edit, TenantIndex owner);

}  // namespace tenancy::access
