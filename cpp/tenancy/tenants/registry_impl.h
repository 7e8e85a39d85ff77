// What a Registry holds. Internal to this layer.
//
// Invariants:
//  1. `references` holds each tenant's id, external id and slug once; no name is held for two
//     tenants, so whatever a caller writes for a tenant is found in one look-up and names at most
//     one.
//  2. Keys, sessions and resources belong to tenants that are there: they go when theirs goes.
#pragma once

#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "tenancy/tenants/name_map.h"
#include "tenancy/tenants/paged.h"
#include "tenancy/tenants/pool.h"
#include "tenancy/tenants/registry.h"

namespace tenancy {

struct Registry::Impl {
  HashKey hash_key;
  std::shared_ptr<const Catalog> catalog;

  tenants::PagedVector<std::shared_ptr<const TenantEntry>> tenants;  // by index
  uint32_t next_tenant = 0;                                          // indexes are never reused
  size_t tenant_count = 0;
  tenants::NameMap references;

  tenants::Pool<KeyEntry> keys;
  tenants::NameMap key_digests;
  tenants::NameMap key_ids;

  tenants::Pool<SessionEntry> sessions;
  tenants::NameMap session_digests;

  tenants::Pool<ResourceEntry> resources;
  tenants::NameMap owned_resources;  // by (tenant, type, id)
  // By (type, id): the newest of the resources with that name, which are linked by `namesakes`.
  tenants::NameMap resource_names;
  tenants::PagedVector<tenants::Links> namesakes;
  std::map<std::string, size_t, std::less<>>
      resource_types;  // how many of each: there are few types

  const TenantEntry* tenant(uint32_t index) const { return tenants.get(index).get(); }
  const TenantEntry* by_reference(std::string_view name) const;
  const TenantEntry* by_id(std::string_view id) const;
  uint32_t key_place(std::string_view public_id) const;
  uint32_t key_place(const Digest256& digest) const;
  uint32_t session_place(const Digest256& digest) const;
  uint32_t resource_place(uint32_t tenant, std::string_view type, std::string_view id) const;
  uint32_t newest_namesake(std::string_view type, std::string_view id) const;
};

namespace tenants {

// Digests stand for secrets: how long the comparison takes must not tell how much of one was right.
inline bool same_digest(const Digest256& a, const Digest256& b) {
  return equal_constant_time({reinterpret_cast<const char*>(a.data()), a.size()},
                             {reinterpret_cast<const char*>(b.data()), b.size()});
}

// A digest is as random as a hash can be.
inline uint64_t digest_hash(const Digest256& digest) {
  uint64_t hash;
  std::memcpy(&hash, digest.data(), sizeof(hash));
  return hash;
}

// Of the parts' hashes, so that ("a", "bc") and ("ab", "c") differ.
inline uint64_t resource_hash(uint64_t tenant, std::string_view type, std::string_view id) {
  return absl::HashOf(tenant, name_hash(type), name_hash(id));
}
constexpr uint64_t kAnyTenant = UINT64_MAX;  // the `tenant` of names that no tenant qualifies

// True when one of the tenant's names is `name`.
inline bool answers_to(const TenantEntry& entry, std::string_view name) {
  return entry.id == name || entry.slug == name || entry.external_id == name;
}

}  // namespace tenants
}  // namespace tenancy
