#include "tenancy/tenants/registry.h"

#include <utility>

#include "tenancy/tenants/registry_impl.h"

namespace tenancy {

using tenants::kNothing;

const TenantEntry* Registry::Impl::by_reference(std::string_view name) const {
  if (name.empty()) return nullptr;
  const uint32_t index = references.find(
      tenants::name_hash(name),
      [this, name](uint32_t candidate) { return tenants::answers_to(*tenant(candidate), name); });
  return index == kNothing ? nullptr : tenant(index);
}

const TenantEntry* Registry::Impl::by_id(std::string_view id) const {
  const TenantEntry* entry = by_reference(id);
  return entry != nullptr && entry->id == id ? entry : nullptr;
}

uint32_t Registry::Impl::key_place(std::string_view public_id) const {
  return key_ids.find(tenants::name_hash(public_id), [this, public_id](uint32_t place) {
    return keys.get(place)->id == public_id;
  });
}

uint32_t Registry::Impl::key_place(const Digest256& digest) const {
  return key_digests.find(tenants::digest_hash(digest), [this, &digest](uint32_t place) {
    return tenants::same_digest(keys.get(place)->digest, digest);
  });
}

uint32_t Registry::Impl::session_place(const Digest256& digest) const {
  return session_digests.find(tenants::digest_hash(digest), [this, &digest](uint32_t place) {
    return tenants::same_digest(sessions.get(place)->digest, digest);
  });
}

uint32_t Registry::Impl::resource_place(uint32_t tenant_index, std::string_view type,
                                        std::string_view id) const {
  return owned_resources.find(tenants::resource_hash(tenant_index, type, id), [&](uint32_t place) {
    const ResourceEntry& entry = *resources.get(place);
    return entry.tenant == tenant_index && entry.type == type && entry.id == id;
  });
}

uint32_t Registry::Impl::newest_namesake(std::string_view type, std::string_view id) const {
  return resource_names.find(tenants::resource_hash(tenants::kAnyTenant, type, id),
                             [&](uint32_t place) {
                               const ResourceEntry& entry = *resources.get(place);
                               return entry.type == type && entry.id == id;
                             });
}

Registry::Registry(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Registry::~Registry() = default;

const TenantEntry* Registry::tenant(uint32_t index) const { return impl_->tenant(index); }

const TenantEntry* Registry::by_id(std::string_view id) const { return impl_->by_id(id); }

const TenantEntry* Registry::by_external_id(std::string_view external_id) const {
  const TenantEntry* entry = impl_->by_reference(external_id);
  return entry != nullptr && entry->external_id == external_id ? entry : nullptr;
}

const TenantEntry* Registry::by_slug(std::string_view slug) const {
  const TenantEntry* entry = impl_->by_reference(slug);
  return entry != nullptr && entry->slug == slug ? entry : nullptr;
}

const TenantEntry* Registry::by_reference(std::string_view reference) const {
  return impl_->by_reference(reference);
}

const KeyEntry* Registry::key(const Digest256& digest) const {
  const uint32_t place = impl_->key_place(digest);
  return place == kNothing ? nullptr : impl_->keys.get(place);
}

void Registry::prefetch_key(std::string_view public_id) const {
  impl_->key_ids.prefetch(tenants::name_hash(public_id));
}

uint32_t Registry::locate_key(std::string_view public_id) const {
  // The first with the same 44 bits of hash: whether it is the one, the digest shows.
  const uint32_t place =
      impl_->key_ids.find(tenants::name_hash(public_id), [](uint32_t) { return true; });
  if (place != kNothing) impl_->keys.prefetch(place);
  return place;
}

const KeyEntry* Registry::key(const Digest256& digest, uint32_t located) const {
  const KeyEntry* entry = impl_->keys.get(located);
  if (entry != nullptr && tenants::same_digest(entry->digest, digest)) {
    impl_->tenants.prefetch(entry->tenant);
    return entry;
  }
  return key(digest);
}

const KeyEntry* Registry::key_by_id(std::string_view public_id) const {
  const uint32_t place = impl_->key_place(public_id);
  return place == kNothing ? nullptr : impl_->keys.get(place);
}

const SessionEntry* Registry::session(const Digest256& digest) const {
  const uint32_t place = impl_->session_place(digest);
  return place == kNothing ? nullptr : impl_->sessions.get(place);
}

uint32_t Registry::resource_owner(std::string_view type, std::string_view id) const {
  const uint32_t place = impl_->newest_namesake(type, id);
  return place == kNothing ? kNoIndex : impl_->resources.get(place)->tenant;
}

bool Registry::governs(std::string_view type) const {
  return impl_->resource_types.find(type) != impl_->resource_types.end();
}

bool Registry::owns(uint32_t tenant, std::string_view type, std::string_view id) const {
  return impl_->resource_place(tenant, type, id) != kNothing;
}

const ResourceEntry* Registry::resource(uint32_t tenant, std::string_view type,
                                        std::string_view id) const {
  const uint32_t place = impl_->resource_place(tenant, type, id);
  return place == kNothing ? nullptr : impl_->resources.get(place);
}

std::shared_ptr<const Catalog> Registry::catalog() const { return impl_->catalog; }

size_t Registry::tenants() const { return impl_->tenant_count; }
size_t Registry::keys() const { return impl_->keys.size(); }
size_t Registry::sessions() const { return impl_->sessions.size(); }
size_t Registry::resources() const { return impl_->resources.size(); }

namespace {

// What a general-purpose allocator spends beside the bytes asked for, and the counters of a
// shared_ptr.
constexpr size_t kAllocation = 16;
constexpr size_t kShared = 16 + kAllocation;

size_t heap_bytes(const std::string& text) {
  constexpr size_t kInside = 15;  // characters that need no allocation
  return text.capacity() > kInside ? text.capacity() + 1 + kAllocation : 0;
}

size_t heap_bytes(const std::unique_ptr<const std::string>& text) {
  return text == nullptr ? 0 : sizeof(std::string) + kAllocation + heap_bytes(*text);
}

size_t bytes_of(const TenantEntry& entry) {
  return sizeof(entry) + kShared + heap_bytes(entry.id) + heap_bytes(entry.external_id) +
         heap_bytes(entry.slug) + heap_bytes(entry.overrides) + heap_bytes(entry.settings);
}

size_t bytes_of(const KeyEntry& entry) {
  return sizeof(entry) + kShared + heap_bytes(entry.id) + heap_bytes(entry.principal) +
         (entry.limit == nullptr ? 0 : sizeof(LimitRule) + sizeof(LimitPolicy) + 2 * kAllocation);
}

size_t bytes_of(const SessionEntry& entry) {
  size_t roles = 0;
  if (entry.roles != nullptr) {
    roles = sizeof(std::vector<std::string>) + entry.roles->capacity() * sizeof(std::string) +
            2 * kAllocation;
    for (const std::string& role : *entry.roles) roles += heap_bytes(role);
  }
  return sizeof(entry) + kShared + heap_bytes(entry.principal) + heap_bytes(entry.platform) + roles;
}

size_t bytes_of(const ResourceEntry& entry) {
  return sizeof(entry) + kShared + heap_bytes(entry.type) + heap_bytes(entry.id) +
         heap_bytes(entry.creator);
}

template <class Entry>
size_t pool_bytes(const tenants::Pool<Entry>& pool) {
  size_t bytes = 0;
  for (uint32_t place = 0; place < pool.places(); ++place) {
    bytes += sizeof(std::shared_ptr<Entry>) + sizeof(tenants::Links) + sizeof(uint32_t);
    if (const Entry* entry = pool.get(place)) bytes += bytes_of(*entry);
  }
  return bytes;
}

}  // namespace

size_t Registry::memory_bytes() const {
  size_t bytes = sizeof(Impl);
  for (uint32_t index = 0; index < impl_->next_tenant; ++index) {
    bytes += sizeof(std::shared_ptr<TenantEntry>);
    if (const TenantEntry* entry = impl_->tenant(index)) bytes += bytes_of(*entry);
  }
  bytes += pool_bytes(impl_->keys) + pool_bytes(impl_->sessions) + pool_bytes(impl_->resources);
  for (const tenants::NameMap* map :
       {&impl_->references, &impl_->key_digests, &impl_->key_ids, &impl_->session_digests,
        &impl_->owned_resources, &impl_->resource_names}) {
    bytes += map->memory_bytes();
  }
  return bytes;
}

}  // namespace tenancy
