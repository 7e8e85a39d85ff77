// State: what an AccessModel holds, as nodes that snapshots share. Internal to this layer.
//
// Invariants of a finished state:
//  1. Every role has a compiled closure; parents form no cycle; `children` mirrors `parents` inside
//  a table.
//  2. A tenant's table holds no name that the shared table holds.
//  3. Every grant names a role that exists.
//  4. No principal breaks a static separation-of-duty rule.
//
// Ownership: a value; copies share nodes. Thread safety: as in cow.h.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/access/access.h"
#include "tenancy/access/closure.h"
#include "tenancy/access/cow.h"
#include "tenancy/access/grants.h"
#include "tenancy/access/name_map.h"
#include "tenancy/access/symbols.h"

namespace tenancy::access {

struct Role {
  EditToken token = 0;
  bool from_catalog = false;
  std::string name;
  std::vector<PatternKey> allow;  // as written, in order
  std::vector<PatternKey> deny;
  std::vector<RoleCode> parents;
  std::vector<RoleCode> children;  // of the same table
};

// The roles of one owner. Positions are used again once their role is removed.
struct RoleTable {
  static constexpr uint32_t kChunk = 16;

  EditToken token = 0;
  NameMap names;                                   // position + 1
  CowVector<std::shared_ptr<Role>, kChunk> roles;  // null: free
  CowVector<std::shared_ptr<const Closure>, kChunk> closures;
  std::vector<uint32_t> free;
};

struct TenantAccess {
  EditToken token = 0;
  std::shared_ptr<RoleTable> roles;  // null: none of its own
  NameMap principals;                // see grants.h
};

struct TenantLeaf {
  EditToken token = 0;
  std::vector<std::shared_ptr<TenantAccess>> tenants;
};

struct DutyCodes {
  std::string name;
  std::vector<RoleCode> roles;
  uint32_t at_most = 1;
};

struct Duties {
  std::vector<DutyCodes> fixed;    // static: at most so many held
  std::vector<DutyCodes> dynamic;  // at most so many used at once
};

struct State {
  Symbols symbols;
  std::shared_ptr<RoleTable> shared;                        // never null
  std::shared_ptr<const Duties> duties;                     // never null
  std::shared_ptr<const std::vector<PatternKey>> declared;  // the catalog's permissions; never null
  CowVector<std::shared_ptr<const Closure>, 64> scopes;
  NameMap scope_ids;  // sorted patterns joined by ' ', to ScopeSetId + 1
  CowPages<TenantLeaf> tenants;

  State();

  const TenantAccess* tenant(TenantIndex index) const {
    const TenantLeaf* leaf = tenants.find(index % CowPages<TenantLeaf>::kLeaves);
    const size_t at = index / CowPages<TenantLeaf>::kLeaves;
    return leaf == nullptr || at >= leaf->tenants.size() ? nullptr : leaf->tenants[at].get();
  }
  // The tenant's node, made private to the edit; made when there is none.
  TenantAccess& edit_tenant(TenantIndex index, EditToken token);
  void drop_tenant(TenantIndex index, EditToken token);
  // Calls fn(TenantIndex, const TenantAccess&) for each tenant that has roles or assignments.
  template <class Fn>
  void for_each_tenant(Fn&& fn) const {
    for (uint32_t low = 0; low < CowPages<TenantLeaf>::kLeaves; ++low) {
      const TenantLeaf* leaf = tenants.find(low);
      if (leaf == nullptr) continue;
      for (size_t high = 0; high < leaf->tenants.size(); ++high) {
        if (leaf->tenants[high] == nullptr) continue;
        fn(static_cast<TenantIndex>(high * CowPages<TenantLeaf>::kLeaves + low),
           *leaf->tenants[high]);
      }
    }
  }

  // `owner` may be null: a tenant nobody has written anything about.
  const RoleTable& table_of(const TenantAccess* owner, RoleCode code) const {
    return is_own(code) ? *owner->roles : *shared;
  }
  const Closure& closure(const TenantAccess* owner, RoleCode code) const {
    return *table_of(owner, code).closures[role_index(code)];
  }
  const Role& role(const TenantAccess* owner, RoleCode code) const {
    return *table_of(owner, code).roles[role_index(code)];
  }
  // The role of that name that the tenant sees, or kNoRole.
  RoleCode find_role(const TenantAccess* owner, std::string_view name) const;
  // Codes of all roles the tenant sees, sorted by name.
  std::vector<RoleCode> visible_roles(const TenantAccess* owner) const;
  RoleDef definition(const TenantAccess* owner, RoleCode code) const;
};

// The positions in use of a table; fn(uint32_t position, const Role&).
template <class Fn>
void for_each_role(const RoleTable& table, Fn&& fn) {
  for (uint32_t i = 0; i < table.roles.size(); ++i) {
    if (table.roles[i] != nullptr) fn(i, *table.roles[i]);
  }
}

// Is `role`, whose closure that is, the role `code` or one that inherits it?
inline bool includes(RoleCode role, const Closure& closure, RoleCode code) {
  return role == code || closure.probe(make_key(KeyKind::kAncestor, code)).allow;
}

}  // namespace tenancy::access
