// AccessModel: who may do what, as an immutable snapshot; AccessEditor makes the next one.
//
// A permission is "resource:action". Roles hold permission patterns ('*' stands for one whole
// side), denials and parents; assignments give a principal a role inside one tenant, perhaps until
// a time, perhaps for one resource instance. Everything not allowed is refused.
//
// Invariants:
//  1. A denial in any role that counts, or in what it inherits, wins over everything that allows.
//  2. An assignment counts while `wall_ns < until_ns`; one limited to a resource counts only in
//  queries that
//     name exactly that resource. Expiry is data, compared at each check: nothing sweeps it, and a
//     model built again from the same rows, in any order, gives the same answers.
//  3. Nothing in one tenant changes an answer in another. Principals and roles are separate name
//  spaces.
//  4. Scopes only take away: what a key may do is what its principal may do and its scopes cover.
//  5. `check` never locks. It allocates in one case: when it is the first to meet a role below one
//  that was edited and that very many roles inherit.
//
// A role is compiled, with all it inherits in the same table, into one sparse bitset; a principal
// holds role codes. So a check is one look-up of the permission, one of the principal, and one bit
// per role held and per shared role that a tenant's role inherits. An edit of a role costs what
// lies below that role, up to a bound beyond which closures are compiled at first use, whatever the
// number of principals and tenants; an assignment costs one shard.
//
// Separation of duty: see duty.h for the exact meaning of "held" and "in use".
//
// Ownership: std::shared_ptr<const AccessModel>; a tenant is named by the registry's index, which
// is never reused inside a process. Thread safety: models are immutable; an editor belongs to one
// thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/catalog/catalog.h"

namespace tenancy {

using TenantIndex = uint32_t;
// Owner of roles that every tenant has (the catalog's).
constexpr TenantIndex kAllTenants = UINT32_MAX;

constexpr int64_t kForever = INT64_MAX;

// A set of permission patterns that caps what a key may do, compiled once.
using ScopeSetId = uint32_t;
constexpr ScopeSetId kNoScopes = UINT32_MAX;  // no cap

enum class AccessReason : uint8_t {
  kAllowed = 0,
  kNoAssignment,   // the principal holds no (live) role in this tenant
  kNotGranted,     // no role grants it
  kDenied,         // a role denies it
  kOutsideScopes,  // the key's scopes do not cover it
  kMalformed,      // not "resource:action"
  kDuty,           // granted only by roles that a dynamic rule lets nobody use at once
};

struct AccessQuery {
  TenantIndex tenant = 0;
  std::string_view principal;   // empty: the key itself, judged by `scopes` alone
  std::string_view permission;  // "resource:action"
  std::string_view resource;    // instance "type/id", or empty
  ScopeSetId scopes = kNoScopes;
  int64_t wall_ns = 0;
  // Roles in use for this request, by name, held or inherited; others allow nothing (denials of all
  // held roles stay). Absent: all that are held. What a dynamic duty rule counts. `check_active`
  // says whether they may be in use at all.
  std::optional<std::span<const std::string_view>> active_roles = {};
};

struct AccessPath {
  bool allowed = false;
  AccessReason reason = AccessReason::kNotGranted;
  std::string pattern;             // the pattern that decided
  std::vector<std::string> roles;  // from the assigned role to the one that holds the pattern
  std::string resource;            // the instance the assignment is limited to, or empty
  int64_t until_ns = kForever;
  std::string nearest_miss;  // for a refusal: what would have been closest, in a sentence
};

// What somebody reviewing a tenant's own roles should look at. Everything is sorted by name.
struct RoleReport {
  struct OverBroad {
    std::string role;
    std::string pattern;  // "*:*" or "*:action": also covers resources nobody has thought of yet
  };
  std::vector<std::string> unused;  // neither assigned, however ended, nor inherited
  std::vector<std::vector<std::string>> duplicates;  // groups with the same rights and denials
  std::vector<OverBroad> over_broad;
};

struct AccessStats {
  size_t tenants = 0;  // with roles or assignments
  size_t principals = 0;
  size_t roles = 0;
  size_t permissions = 0;   // names known to roles, scopes and the catalog
  size_t memory_bytes = 0;  // an estimate
};

class AccessModel {
 public:
  // The hot call. No allocation. Looked at in this order: form, scopes, assignments, denials, duty,
  // grants.
  AccessReason check(const AccessQuery& query) const;
  // Many permissions of one query; `query.permission` is not read. `out` is as long as
  // `permissions`.
  void check_many(const AccessQuery& query, std::span<const std::string_view> permissions,
                  std::span<AccessReason> out) const;
  AccessPath explain(const AccessQuery& query) const;

  // May the principal use these roles at once? kInvalidArgument names one that it does not hold,
  // for whatever resource, and does not inherit; kConflict a dynamic rule that forbids them
  // together.
  Status check_active(TenantIndex tenant, std::string_view principal,
                      std::span<const std::string_view> active, int64_t wall_ns) const;

  // The permissions that are known by name: of the catalog, its roles, the tenant's own roles and
  // the scopes. Sorted.
  std::vector<std::string> known_permissions(TenantIndex tenant, ScopeSetId scopes) const;
  // What the principal may do: all known permissions that `check` allows. `query.permission` is not
  // read. Sorted.
  std::vector<std::string> permissions(const AccessQuery& query) const;
  // Principals of the tenant whom `check` allows. Sorted.
  std::vector<std::string> who_can(TenantIndex tenant, std::string_view permission,
                                   std::string_view resource, int64_t wall_ns) const;

  struct Assignment {
    std::string principal;
    std::string role;
    std::string resource;
    int64_t until_ns = kForever;
  };
  // All that are recorded, ended ones too, sorted; an empty principal asks for the whole tenant's.
  std::vector<Assignment> assignments(TenantIndex tenant, std::string_view principal) const;
  // Does the principal hold any live role in the tenant, for whatever resource? (One look-up, no
  // allocation.)
  bool is_member(TenantIndex tenant, std::string_view principal, int64_t wall_ns) const;
  // The assigned roles that count in a query about `resource` ("" = none) at `wall_ns`, sorted.
  std::vector<std::string> held_roles(TenantIndex tenant, std::string_view principal,
                                      std::string_view resource, int64_t wall_ns) const;
  // Roles visible in the tenant: its own and the catalog's. Sorted.
  std::vector<std::string> roles(TenantIndex tenant) const;
  // A role the tenant sees, as it was put.
  std::optional<RoleDef> role(TenantIndex tenant, std::string_view name) const;
  // The tenant's own roles; kAllTenants: the shared ones.
  RoleReport report(TenantIndex tenant) const;
  AccessStats stats() const;
  // Does `holder` (or the scopes alone when empty) hold everything `role` would give, also of
  // permissions nobody has named yet? Null when yes, else the first that is missing ('*' on a side:
  // any other name), or the role's name when there is no such role: nobody may grant what they do
  // not have. `resource`: the instance the grant would be limited to.
  std::optional<std::string> missing_for_grant(TenantIndex tenant, std::string_view holder,
                                               ScopeSetId scopes, std::string_view role,
                                               int64_t wall_ns,
                                               std::string_view resource = {}) const;

  ~AccessModel();

 private:
  friend class AccessEditor;
  struct Impl;
  explicit AccessModel(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

class AccessEditor {
 public:
  // Starts from a model (null: empty). Nothing is visible to readers until `finish`.
  explicit AccessEditor(const AccessModel* base);
  ~AccessEditor();
  // How much an edit may compile of what lies below the edited roles before it leaves all of that
  // table to first use; 0: nothing. The usual bound is some 200 us.
  void set_eager_cost(size_t cost);

  // Replaces the catalog's roles, permissions and duty rules (tenant roles stay). All or nothing:
  // kConflict where a role that goes is still assigned or inherited, a tenant has a role of a new
  // one's name, or a principal breaks a new static rule.
  Status set_catalog(const Catalog& catalog);
  // The same from its parts.
  Status set_shared(std::span<const RoleDef> roles, std::span<const std::string> permissions,
                    std::span<const DutyRule> duties);
  // Defines or replaces a role (kAllTenants: one that every tenant sees, beside the catalog's).
  // Cycles, unknown parents, malformed patterns and the name of a shared role are errors, and
  // change nothing.
  Status put_role(TenantIndex tenant, const RoleDef& role);
  // All or none, in any order: a role may inherit another of the list.
  Status put_roles(TenantIndex tenant, std::span<const RoleDef> roles);
  // kConflict while assigned (however ended) or inherited.
  Status remove_role(TenantIndex tenant, std::string_view role);
  // Assigning the same (principal, role, resource) again moves `until_ns`. A static duty rule that
  // would be broken is kConflict and names the rule and the roles. Principals are 1..512 bytes; a
  // resource is "type/id" of at most 512 bytes, or empty.
  Status assign(TenantIndex tenant, std::string_view principal, std::string_view role,
                std::string_view resource, int64_t until_ns);
  // False when there was no such assignment.
  bool unassign(TenantIndex tenant, std::string_view principal, std::string_view role,
                std::string_view resource);
  void remove_tenant(TenantIndex tenant);
  // Patterns of a key, interned; kInvalidArgument for malformed ones. The number stays good in
  // every later model made from this one; no patterns: a cap that covers nothing.
  Result<ScopeSetId> intern_scopes(std::span<const std::string> patterns);

  // The editor may go on from there to make a further model.
  std::shared_ptr<const AccessModel> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// "resource:action" with '*' allowed on either side when `pattern`; names are 1..64 of
// [A-Za-z0-9_.-].
bool valid_permission(std::string_view text, bool pattern);
// Does a valid pattern cover a valid permission? Wildcards stand for whole sides.
bool permission_covers(std::string_view pattern, std::string_view permission);

}  // namespace tenancy
