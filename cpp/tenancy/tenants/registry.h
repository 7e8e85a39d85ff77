// Registry: tenants, API keys, sessions and owned resources as decisions read them, an immutable
// snapshot.
//
// The full records live in the store; here is what a decision needs, at most a few hundred bytes a
// tenant. RegistryEditor makes the next snapshot from rows; unchanged shards are shared between
// snapshots.
//
// Invariants:
//  1. A tenant keeps its index for the life of the process, through every change; purged indexes
//     are not used again.
//  2. id, external id and slug are one name space, unique over all tenants that are not purged: no
//     tenant can be named by another's id, external id or slug.
//  3. Secrets are held as SHA-256 digests only.
//
// Ownership: std::shared_ptr<const Registry>. Thread safety: registries are immutable; an editor
// belongs to one thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/civil.h"
#include "tenancy/base/crypto.h"
#include "tenancy/base/hash.h"
#include "tenancy/base/status.h"
#include "tenancy/catalog/catalog.h"

namespace tenancy {

enum class TenantStatus : uint8_t {
  kPending = 0,
  kTrial,
  kActive,
  kSuspended,
  kChurned,
  kDeleted,
  kPurged,
};
constexpr size_t kTenantStatuses = 7;
std::string_view status_name(TenantStatus status);
Result<TenantStatus> status_from_name(std::string_view name);
// The transitions of the design's status machine.
bool status_may_become(TenantStatus from, TenantStatus to);
inline bool status_served(TenantStatus status) {
  return status == TenantStatus::kActive || status == TenantStatus::kTrial;
}

struct TenantRow {
  std::string id;
  std::string external_id;  // empty: none
  std::string slug;
  TenantStatus status = TenantStatus::kActive;
  std::string plan;
  std::string time_zone;       // IANA name; empty: UTC
  int64_t anchor_wall_ns = 0;  // subscription start; 0: calendar periods
  std::string overrides;       // JSON object, or empty
  std::string settings;        // JSON object of settings that decisions enforce, or empty
};

// What decisions read of an entry comes first: among a million of them each cache line is a miss.
struct TenantEntry {
  uint32_t index = 0;
  TenantStatus status = TenantStatus::kActive;
  uint64_t seed = 0;  // keyed hash of the id: the root of all its counters
  std::shared_ptr<const Entitlements> entitlements;
  TimeZone time_zone;
  Anchor anchor;
  std::string id;
  std::string external_id;
  std::string slug;
  // Kept only when not empty: most tenants have neither.
  std::unique_ptr<const std::string> overrides;
  std::unique_ptr<const std::string> settings;
};

struct KeyRow {
  std::string id;  // public id: "tk_" + 8 characters
  std::string tenant_id;
  Digest256 digest{};     // SHA-256 of the whole key text
  std::string principal;  // empty: the key is its own principal
  std::vector<std::string> scopes;
  bool scoped = false;              // false: no cap beyond the principal's rights
  int64_t expires_wall_ns = 0;      // 0: never
  int64_t revoked_wall_ns = 0;      // 0: no
  int64_t grace_until_wall_ns = 0;  // rotated: valid until then; 0: not rotated
  std::string limit;                // own rate limit "100/minute", or empty
};

struct KeyEntry {
  uint32_t tenant = 0;
  uint32_t scopes = UINT32_MAX;  // ScopeSetId of the access layer, or kNoScopes
  Digest256 digest{};
  int64_t expires_wall_ns = 0;
  int64_t revoked_wall_ns = 0;
  int64_t grace_until_wall_ns = 0;
  uint64_t seed = 0;
  std::unique_ptr<const LimitRule> limit;  // null: none
  std::string principal;
  std::string id;
};

struct SessionRow {
  Digest256 digest{};  // SHA-256 of the session id: the id itself is a credential
  std::string tenant_id;
  std::string principal;
  std::string platform;
  int64_t expires_wall_ns = 0;                    // 0: never
  std::optional<std::vector<std::string>> roles;  // to be active; absent: all that are held
};

struct SessionEntry {
  uint32_t tenant = 0;
  Digest256 digest{};
  std::string principal;
  std::string platform;
  int64_t expires_wall_ns = 0;
  std::unique_ptr<const std::vector<std::string>> roles;  // to be active; null: all that are held
};

struct ResourceRow {
  std::string tenant_id;
  std::string type;
  std::string id;
  std::string creator;
};

struct ResourceEntry {
  uint32_t tenant = 0;
  std::string type;
  std::string id;
  std::string creator;
};

class Registry {
 public:
  // Look-ups return null when unknown. Pointers live as long as this snapshot.
  const TenantEntry* tenant(uint32_t index) const;
  const TenantEntry* by_id(std::string_view id) const;
  const TenantEntry* by_external_id(std::string_view external_id) const;
  const TenantEntry* by_slug(std::string_view slug) const;
  // Any of the three, in one look-up whatever the outcome.
  const TenantEntry* by_reference(std::string_view reference) const;
  const KeyEntry* key(const Digest256& digest) const;
  // The same in steps, so that the memory is at work while the digest is computed: ask for it, say
  // where it probably is (any number where there is no such key), compare.
  void prefetch_key(std::string_view public_id) const;
  uint32_t locate_key(std::string_view public_id) const;
  const KeyEntry* key(const Digest256& digest, uint32_t located) const;
  const KeyEntry* key_by_id(std::string_view public_id) const;
  const SessionEntry* session(const Digest256& digest) const;
  // Is (type, id) registered, and to whom? The newest owner when several have one; kNoIndex when
  // unknown.
  uint32_t resource_owner(std::string_view type, std::string_view id) const;
  // Has any resource of this type ever been registered in this snapshot? Then unknown ids are
  // refused like foreign ones.
  bool governs(std::string_view type) const;
  // True when this tenant owns it: ids are scoped to tenants, so two tenants may own one (type,
  // id).
  bool owns(uint32_t tenant, std::string_view type, std::string_view id) const;
  const ResourceEntry* resource(uint32_t tenant, std::string_view type, std::string_view id) const;

  // The catalog that all entitlements were resolved against.
  std::shared_ptr<const Catalog> catalog() const;
  size_t tenants() const;
  size_t keys() const;
  size_t sessions() const;
  size_t resources() const;
  size_t memory_bytes() const;  // an estimate, for benchmarks and `stats`
  ~Registry();

 private:
  friend class RegistryEditor;
  struct Impl;
  explicit Registry(std::shared_ptr<const Impl> impl);
  std::shared_ptr<const Impl> impl_;
};

class RegistryEditor {
 public:
  // Starts from `base` (null: empty) and keeps it alive. Tenants' and keys' seeds are made with
  // `hash_key`.
  RegistryEditor(const Registry* base, const HashKey& hash_key);
  ~RegistryEditor();

  // Resolves every tenant's plan and overrides against a new catalog. All errors, none applied on
  // error.
  Status set_catalog(std::shared_ptr<const Catalog> catalog, std::vector<CatalogError>* errors);

  // Inserts or replaces by id; returns the index. Errors begin with the field they are about, and
  // an error changes nothing. An empty plan means the catalog's default plan. A purged tenant is
  // removed, which returns kNoIndex.
  Result<uint32_t> put_tenant(TenantRow row);
  // Forgets the slug and external id of a tenant that is about to be put again. Done for all rows
  // of a batch first, it lets tenants exchange names whatever the order of the rows.
  void release_names(std::string_view id);
  void remove_tenant(std::string_view id);  // purged: with its keys, sessions and resources

  // Insert or replace: keys by public id, sessions by digest, resources by (tenant, type, id). A
  // key stays with its tenant: moving one to another is kConflict.
  Status put_key(KeyRow row, uint32_t scopes);
  void remove_key(std::string_view public_id);
  Status put_session(SessionRow row);
  void remove_session(const Digest256& digest);
  Status put_resource(const ResourceRow& row);
  void remove_resource(std::string_view tenant_id, std::string_view type, std::string_view id);

  // The snapshot under construction, for look-ups while applying.
  const TenantEntry* find_tenant(std::string_view id) const;
  // The editor is empty afterwards and must not be used again.
  std::shared_ptr<const Registry> finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenancy
