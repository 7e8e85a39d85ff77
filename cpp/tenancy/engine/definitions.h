// Definitions: everything slow-changing that a decision reads, as one immutable value with a
// revision.
//
// Ownership: std::shared_ptr<const Definitions>; a decision keeps the one it was made from, so
// pointers into it stay valid as long as the decision lives. Thread safety: immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tenancy/access/access.h"
#include "tenancy/catalog/catalog.h"
#include "tenancy/tenants/registry.h"

namespace tenancy {

struct Definitions {
  uint64_t revision = 0;
  std::shared_ptr<const Catalog> catalog;
  std::shared_ptr<const Registry> registry;
  std::shared_ptr<const AccessModel> access;
  // Keyed hashes of names, by catalog index: of quotas alone, of actions and limits with their
  // kind.
  std::vector<uint64_t> quota_hashes;
  std::vector<uint64_t> action_hashes;
  std::vector<uint64_t> limit_hashes;  // of Catalog::limits()
  uint32_t default_tenant = kNoIndex;  // index in the registry, where one is configured
};

struct RoleRow {
  std::string tenant_id;  // empty: every tenant
  RoleDef role;
};

struct AssignmentRow {
  std::string tenant_id;
  std::string principal;
  std::string role;
  std::string resource;
  int64_t until_ns = kForever;
};

// What the store read since the revision in force. Removals are applied before insertions of the
// same kind, parents (tenants, roles) before what hangs on them.
struct ChangeSet {
  uint64_t revision = 0;
  bool reset = false;                      // a full load: forget everything first
  std::shared_ptr<const Catalog> catalog;  // null: unchanged
  std::vector<TenantRow> tenants;
  std::vector<KeyRow> keys;
  std::vector<SessionRow> sessions;
  std::vector<ResourceRow> resources;
  std::vector<RoleRow> roles;
  std::vector<AssignmentRow> assignments;
  std::vector<std::string> removed_tenants;  // ids
  std::vector<std::string> removed_keys;     // public ids
  std::vector<Digest256> removed_sessions;
  std::vector<ResourceRow> removed_resources;
  std::vector<std::pair<std::string, std::string>> removed_roles;  // tenant id, name
  std::vector<AssignmentRow> removed_assignments;
};

}  // namespace tenancy
