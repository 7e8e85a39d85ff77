// State: what an AccessModel holds, as nodes that snapshots share. Internal to this layer.
//
// Invariants of a finished state:
//  1. Every role has a compiled closure, unless its table has `late` ones; parents form no cycle;
//  `children` mirrors `parents` inside a table.
//  2. A tenant's table holds no name that the shared table holds.
//  3. Every grant names a role that exists.
//  4. No principal breaks a static separation-of-duty rule.
//
// Ownership: a value; copies share nodes. Thread safety: as in cow.h.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/access/access.h"
#include "tenancy/access/closure.h"
#include "tenancy/access/cow.h"
#include "tenancy/access/grants.h"
#include "tenancy/access/late.h"
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

struct DutyCodes {
  std::string name;
  std::vector<RoleCode> roles;
  uint32_t at_most = 1;
};

struct Duties {
  std::vector<DutyCodes> fixed;    // static: at most so many held
  std::vector<DutyCodes> dynamic;  // at most so many used at once
};

// The roles of one owner. Positions are used again once their role is removed.
struct RoleTable {
  static constexpr uint32_t kChunk = 16;

  EditToken token = 0;
  bool of_tenant = false;
  std::shared_ptr<ClosureChunk> first;              // closures of the first positions,
  std::vector<std::shared_ptr<ClosureChunk>> more;  // and of all others;
  std::shared_ptr<LateClosures> late;               // of those that neither has, if it is there
  NameMap names;                                    // position + 1
  CowVector<std::shared_ptr<Role>, kChunk> roles;   // null: free
  std::vector<uint32_t> free;

  // Any thread, unless an edit has changed roles and not compiled them yet.
  Closure closure(uint32_t position, const Duties& duties) const {
    constexpr uint32_t kClosures = ClosureChunk::kClosures;
    if (late != nullptr) [[unlikely]]
      return closure_late(position, duties);
    if (position < kClosures) return first->get(position);
    return more[position / kClosures - 1]->get(position % kClosures);
  }
  void set_closure(uint32_t position, const Closure& closure, EditToken edit);
  // Makes the closure from the role's parents as far as they have theirs, from their parents
  // otherwise.
  void build_closure(uint32_t position, const Duties& duties, ClosureBuilder* out) const;
  // What making it again would cost, in blocks; too much rather than too little.
  size_t closure_cost(uint32_t position) const;
  // Forgets all closures: each is compiled when it is next asked for.
  void forget_closures();

 private:
  Closure closure_late(uint32_t position, const Duties& duties) const;
  // Null: not compiled yet.
  std::optional<Closure> find_closure(uint32_t position) const;
};

struct TenantAccess {
  EditToken token = 0;
  std::shared_ptr<RoleTable> roles;  // null: none of its own
  NameMap principals;                // see grants.h
};

// Tenants by their index: 64 neighbours to a leaf, 64 leaves to a branch.
struct TenantTree {
  static constexpr uint32_t kFan = 64;
  struct Leaf {
    EditToken token = 0;
    std::array<std::shared_ptr<TenantAccess>, kFan> tenants;
  };
  struct Branch {
    EditToken token = 0;
    std::array<std::shared_ptr<Leaf>, kFan> leaves;
  };
  EditToken token = 0;
  std::vector<std::shared_ptr<Branch>> branches;
};

struct State {
  Symbols symbols;
  std::shared_ptr<RoleTable> shared;                        // never null
  std::shared_ptr<const Duties> duties;                     // never null
  std::shared_ptr<const std::vector<PatternKey>> declared;  // the catalog's permissions; never null
  std::shared_ptr<TenantTree> tenants;                      // never null
  CowVector<std::shared_ptr<ClosureChunk>, 64> scopes;
  uint32_t scope_count = 0;
  NameMap scope_ids;  // sorted patterns joined by ' ', to ScopeSetId + 1

  State();

  const TenantAccess* tenant(TenantIndex index) const {
    constexpr uint32_t kFan = TenantTree::kFan;
    const size_t branch_at = index / (kFan * kFan);
    if (branch_at >= tenants->branches.size()) return nullptr;
    const TenantTree::Branch* branch = tenants->branches[branch_at].get();
    if (branch == nullptr) return nullptr;
    const TenantTree::Leaf* leaf = branch->leaves[index / kFan % kFan].get();
    return leaf == nullptr ? nullptr : leaf->tenants[index % kFan].get();
  }
  // The tenant's node, made private to the edit; made when there is none.
  TenantAccess& edit_tenant(TenantIndex index, EditToken token);
  void drop_tenant(TenantIndex index, EditToken token);
  // Calls fn(TenantIndex, const TenantAccess&) for each tenant that has roles or assignments.
  template <class Fn>
  void for_each_tenant(Fn&& fn) const {
    TenantIndex first = 0;
    for (const auto& branch : tenants->branches) {
      for (uint32_t i = 0; i < TenantTree::kFan; ++i, first += TenantTree::kFan) {
        if (branch == nullptr || branch->leaves[i] == nullptr) continue;
        for (uint32_t k = 0; k < TenantTree::kFan; ++k) {
          if (const auto& tenant = branch->leaves[i]->tenants[k]) fn(first + k, *tenant);
        }
      }
    }
  }

  // `owner` may be null: a tenant nobody has written anything about.
  const RoleTable& table_of(const TenantAccess* owner, RoleCode code) const {
    return is_own(code) ? *owner->roles : *shared;
  }
  // Without the shared roles that a tenant's role inherits.
  Closure closure(const TenantAccess* owner, RoleCode code) const {
    return table_of(owner, code).closure(role_index(code), *duties);
  }
  // Calls fn(const Closure&) for the parts that make up what a role gives and denies.
  template <class Fn>
  void for_each_part(const TenantAccess* owner, RoleCode code, Fn&& fn) const {
    const Closure first = closure(owner, code);
    fn(first);
    first.for_each_shared([&](RoleCode above) { fn(shared->closure(above, *duties)); });
  }
  // The parts as one, in `memory`.
  Closure whole(const TenantAccess* owner, RoleCode code, ClosureBuilder* memory) const {
    memory->clear();
    for_each_part(owner, code, [memory](const Closure& part) { memory->add(part); });
    return memory->view();
  }
  // Is `role` the role `code` or one that inherits it?
  bool includes(const TenantAccess* owner, RoleCode role, RoleCode code) const {
    bool found = role == code;
    if (found) return true;
    for_each_part(owner, role, [&](const Closure& part) {
      found |= part.probe(make_key(KeyKind::kAncestor, code)).allow;
    });
    return found;
  }
  // `id` is below `scope_count`.
  Closure scope(ScopeSetId id) const {
    return scopes[id / ClosureChunk::kClosures]->get(id % ClosureChunk::kClosures);
  }
  ScopeSetId add_scope(const Closure& closure, EditToken token);
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

}  // namespace tenancy::access
