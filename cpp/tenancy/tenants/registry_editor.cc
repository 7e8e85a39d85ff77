#include <algorithm>
#include <array>
#include <utility>

#include "tenancy/tenants/entries.h"
#include "tenancy/tenants/registry.h"
#include "tenancy/tenants/registry_impl.h"

namespace tenancy {

using tenants::kNothing;
using tenants::name_hash;

namespace {

// A tenant's distinct names.
class Names {
 public:
  explicit Names(const TenantEntry& entry) {
    for (const std::string_view name : {std::string_view(entry.id), std::string_view(entry.slug),
                                        std::string_view(entry.external_id)}) {
      if (!name.empty() && !has(name)) names_[count_++] = name;
    }
  }

  const std::string_view* begin() const { return names_.data(); }
  const std::string_view* end() const { return names_.data() + count_; }
  bool has(std::string_view name) const { return std::find(begin(), end(), name) != end(); }

 private:
  std::array<std::string_view, 3> names_;
  size_t count_ = 0;
};

constexpr size_t kCatalogErrorsMax = 100;

}  // namespace

struct RegistryEditor::Impl {
  Impl(std::shared_ptr<const Registry::Impl> base_impl, const HashKey& hash_key)
      : base(std::move(base_impl)),
        next(base == nullptr ? std::make_shared<Registry::Impl>()
                             : std::make_shared<Registry::Impl>(*base)),
        entitler(next->catalog) {
    next->hash_key = hash_key;
  }

  // Kept to the end, so that a page with one owner is one this editor made.
  std::shared_ptr<const Registry::Impl> base;
  std::shared_ptr<Registry::Impl> next;
  tenants::Entitler entitler;

  Status check_names(const TenantRow& row, const TenantEntry* own) const;
  void set_names(const TenantEntry* before, const TenantEntry* after);
  void drop_key(uint32_t place);
  void drop_session(uint32_t place);
  void drop_resource(uint32_t place);
  Result<uint32_t> tenant_of(std::string_view tenant_id) const;
};

RegistryEditor::RegistryEditor(const Registry* base, const HashKey& hash_key)
    : impl_(std::make_unique<Impl>(base == nullptr ? nullptr : base->impl_, hash_key)) {}

RegistryEditor::~RegistryEditor() = default;

Status RegistryEditor::set_catalog(std::shared_ptr<const Catalog> catalog,
                                   std::vector<CatalogError>* errors) {
  Registry::Impl& next = *impl_->next;
  tenants::Entitler entitler(catalog);
  std::vector<std::pair<uint32_t, std::shared_ptr<const Entitlements>>> resolved;
  resolved.reserve(next.tenant_count);
  std::vector<CatalogError> found;
  for (uint32_t index = 0; index < next.next_tenant && found.size() < kCatalogErrorsMax; ++index) {
    const TenantEntry* entry = next.tenant(index);
    if (entry == nullptr) continue;
    const std::string prefix = "tenants." + entry->id;
    std::vector<CatalogError> own;
    auto entitlements =
        entitler.resolve(entry->entitlements->plan,
                         entry->overrides == nullptr ? std::string() : *entry->overrides, &own);
    if (entitlements.ok()) {
      resolved.emplace_back(index, std::move(*entitlements));
    } else if (own.empty()) {
      found.push_back({prefix, entitlements.error().message});
    } else {
      for (CatalogError& error : own) {
        found.push_back({prefix + "." + error.path, std::move(error.message)});
      }
    }
  }
  if (!found.empty()) {
    Status status(Code::kConflict, "the catalog does not fit the tenants: " + found.front().path +
                                       ": " + found.front().message);
    if (errors != nullptr) errors->insert(errors->end(), found.begin(), found.end());
    return status;
  }
  for (auto& [index, entitlements] : resolved) {
    const TenantEntry& entry = *next.tenant(index);
    next.tenants.edit(index) = tenants::with_entitlements(entry, std::move(entitlements));
  }
  next.catalog = std::move(catalog);
  impl_->entitler = std::move(entitler);
  return {};
}

// Every name of the row must be free or the tenant's own.
Status RegistryEditor::Impl::check_names(const TenantRow& row, const TenantEntry* own) const {
  const std::pair<const char*, const std::string&> fields[] = {
      {"id", row.id}, {"slug", row.slug}, {"external_id", row.external_id}};
  for (const auto& [field, name] : fields) {
    const TenantEntry* holder = next->by_reference(name);
    if (holder == nullptr || holder == own) continue;
    return {Code::kAlreadyExists, std::string(field) + ": \"" + name + "\" already names tenant " +
                                      holder->id + " (by id, slug or external id); choose another"};
  }
  return {};
}

// Makes the names of `after` (null: none) the only ones that lead where those of `before` did.
void RegistryEditor::Impl::set_names(const TenantEntry* before, const TenantEntry* after) {
  if (before != nullptr) {
    for (const std::string_view name : Names(*before)) {
      if (after == nullptr || !Names(*after).has(name)) {
        next->references.erase(name_hash(name), before->index);
      }
    }
  }
  if (after == nullptr) return;
  for (const std::string_view name : Names(*after)) {
    const uint64_t hash = name_hash(name);
    const uint32_t held = next->references.find(hash, [this, name, after](uint32_t index) {
      return index == after->index && tenants::answers_to(*next->tenant(index), name);
    });
    if (held == kNothing) next->references.insert(hash, after->index);
  }
}

Result<uint32_t> RegistryEditor::put_tenant(TenantRow row) {
  Registry::Impl& next = *impl_->next;
  if (Status status = tenants::check_tenant_row(row); !status.ok()) return status.error();
  if (row.status == TenantStatus::kPurged) {
    remove_tenant(row.id);
    return kNoIndex;
  }
  const TenantEntry* previous = next.by_id(row.id);
  if (Status status = impl_->check_names(row, previous); !status.ok()) return status.error();
  const uint32_t index = previous != nullptr ? previous->index : next.next_tenant;
  if (index == kNoIndex)
    return {Code::kFull, "id: this process has no tenant index left; restart it"};

  auto entry =
      tenants::make_tenant_entry(std::move(row), index, next.hash_key, previous, &impl_->entitler);
  if (!entry.ok()) return entry.error();
  impl_->set_names(previous, entry->get());
  if (previous == nullptr) {
    ++next.next_tenant;
    ++next.tenant_count;
  }
  next.tenants.edit(index) = std::move(*entry);  // frees `previous` when nobody else holds it
  return index;
}

void RegistryEditor::release_names(std::string_view id) {
  Registry::Impl& next = *impl_->next;
  const TenantEntry* entry = next.by_id(id);
  if (entry == nullptr) return;
  for (const std::string_view name : Names(*entry)) {
    if (name != entry->id) next.references.erase(name_hash(name), entry->index);
  }
}

void RegistryEditor::remove_tenant(std::string_view id) {
  Registry::Impl& next = *impl_->next;
  const TenantEntry* entry = next.by_id(id);
  if (entry == nullptr) return;
  const uint32_t index = entry->index;
  while (next.keys.head(index) != kNothing) impl_->drop_key(next.keys.head(index));
  while (next.sessions.head(index) != kNothing) impl_->drop_session(next.sessions.head(index));
  while (next.resources.head(index) != kNothing) impl_->drop_resource(next.resources.head(index));
  impl_->set_names(entry, nullptr);
  next.tenants.edit(index) = nullptr;
  --next.tenant_count;
}

Result<uint32_t> RegistryEditor::Impl::tenant_of(std::string_view tenant_id) const {
  const TenantEntry* tenant = next->by_id(tenant_id);
  if (tenant == nullptr) {
    return {Code::kNotFound, "tenant_id: expected the id of a tenant, got \"" +
                                 std::string(tenant_id) + "\", which is unknown"};
  }
  return tenant->index;
}

Status RegistryEditor::put_key(KeyRow row, uint32_t scopes) {
  Registry::Impl& next = *impl_->next;
  const Result<uint32_t> tenant = impl_->tenant_of(row.tenant_id);
  if (!tenant.ok()) return tenant.status();
  const uint32_t place = next.key_place(row.id);
  const KeyEntry* previous = place == kNothing ? nullptr : next.keys.get(place);
  if (previous != nullptr && previous->tenant != *tenant) {
    return {Code::kConflict, "tenant_id: key " + row.id + " belongs to tenant " +
                                 next.tenant(previous->tenant)->id + " and cannot move to " +
                                 row.tenant_id};
  }
  const uint32_t same_digest = next.key_place(row.digest);
  if (same_digest != kNothing && same_digest != place) {
    return {Code::kAlreadyExists,
            "digest: key " + next.keys.get(same_digest)->id + " has the same secret as " + row.id};
  }
  auto made = tenants::make_key_entry(std::move(row), *tenant, scopes, next.hash_key);
  if (!made.ok()) return made.status();
  const std::shared_ptr<const KeyEntry> entry = std::move(*made);
  if (previous == nullptr) {
    const uint32_t added = next.keys.add(*tenant, entry);
    next.key_ids.insert(name_hash(entry->id), added);
    next.key_digests.insert(tenants::digest_hash(entry->digest), added);
    return {};
  }
  if (previous->digest != entry->digest) {
    next.key_digests.erase(tenants::digest_hash(previous->digest), place);
    next.key_digests.insert(tenants::digest_hash(entry->digest), place);
  }
  next.keys.replace(place, entry);
  return {};
}

void RegistryEditor::Impl::drop_key(uint32_t place) {
  const KeyEntry& entry = *next->keys.get(place);
  next->key_ids.erase(name_hash(entry.id), place);
  next->key_digests.erase(tenants::digest_hash(entry.digest), place);
  next->keys.remove(entry.tenant, place);
}

void RegistryEditor::remove_key(std::string_view public_id) {
  const uint32_t place = impl_->next->key_place(public_id);
  if (place != kNothing) impl_->drop_key(place);
}

Status RegistryEditor::put_session(SessionRow row) {
  Registry::Impl& next = *impl_->next;
  const Result<uint32_t> tenant = impl_->tenant_of(row.tenant_id);
  if (!tenant.ok()) return tenant.status();
  const uint32_t place = next.session_place(row.digest);
  if (place != kNothing && next.sessions.get(place)->tenant != *tenant) {
    return {Code::kConflict,
            "tenant_id: this session belongs to another tenant than " + row.tenant_id};
  }
  auto entry = tenants::make_in_slab<SessionEntry>();
  entry->tenant = *tenant;
  entry->digest = row.digest;
  entry->principal = std::move(row.principal);
  entry->platform = std::move(row.platform);
  entry->expires_wall_ns = row.expires_wall_ns;
  if (row.roles) {
    entry->roles = std::make_unique<const std::vector<std::string>>(std::move(*row.roles));
  }
  if (place != kNothing) {
    next.sessions.replace(place, std::move(entry));
  } else {
    const uint32_t added = next.sessions.add(*tenant, std::move(entry));
    next.session_digests.insert(tenants::digest_hash(row.digest), added);
  }
  return {};
}

void RegistryEditor::Impl::drop_session(uint32_t place) {
  const SessionEntry& entry = *next->sessions.get(place);
  next->session_digests.erase(tenants::digest_hash(entry.digest), place);
  next->sessions.remove(entry.tenant, place);
}

void RegistryEditor::remove_session(const Digest256& digest) {
  const uint32_t place = impl_->next->session_place(digest);
  if (place != kNothing) impl_->drop_session(place);
}

Status RegistryEditor::put_resource(const ResourceRow& row) {
  Registry::Impl& next = *impl_->next;
  const Result<uint32_t> tenant = impl_->tenant_of(row.tenant_id);
  if (!tenant.ok()) return tenant.status();
  if (row.type.empty() || row.id.empty()) {
    return {Code::kInvalidArgument, std::string(row.type.empty() ? "type" : "id") +
                                        ": expected the name of a resource, got an empty one"};
  }
  auto entry = tenants::make_in_slab<ResourceEntry>();
  entry->tenant = *tenant;
  entry->type = row.type;
  entry->id = row.id;
  entry->creator = row.creator;
  const uint32_t place = next.resource_place(*tenant, row.type, row.id);
  if (place != kNothing) {
    next.resources.replace(place, std::move(entry));
    return {};
  }
  const uint32_t added = next.resources.add(*tenant, std::move(entry));
  next.owned_resources.insert(tenants::resource_hash(*tenant, row.type, row.id), added);
  const uint64_t name = tenants::resource_hash(tenants::kAnyTenant, row.type, row.id);
  const uint32_t newest = next.newest_namesake(row.type, row.id);
  if (newest != kNothing) next.resource_names.erase(name, newest);
  next.resource_names.insert(name, added);
  tenants::link_front(&next.namesakes, newest, added);
  ++next.resource_types[row.type];
  return {};
}

void RegistryEditor::Impl::drop_resource(uint32_t place) {
  const ResourceEntry& entry = *next->resources.get(place);
  next->owned_resources.erase(tenants::resource_hash(entry.tenant, entry.type, entry.id), place);
  const uint64_t name = tenants::resource_hash(tenants::kAnyTenant, entry.type, entry.id);
  const uint32_t newest = next->newest_namesake(entry.type, entry.id);
  const uint32_t still_newest = tenants::unlink(&next->namesakes, newest, place);
  if (still_newest != newest) {
    next->resource_names.erase(name, newest);
    if (still_newest != kNothing) next->resource_names.insert(name, still_newest);
  }
  const auto type = next->resource_types.find(entry.type);
  if (--type->second == 0) next->resource_types.erase(type);
  next->resources.remove(entry.tenant, place);
}

void RegistryEditor::remove_resource(std::string_view tenant_id, std::string_view type,
                                     std::string_view id) {
  const TenantEntry* tenant = impl_->next->by_id(tenant_id);
  if (tenant == nullptr) return;
  const uint32_t place = impl_->next->resource_place(tenant->index, type, id);
  if (place != kNothing) impl_->drop_resource(place);
}

const TenantEntry* RegistryEditor::find_tenant(std::string_view id) const {
  return impl_->next->by_id(id);
}

std::shared_ptr<const Registry> RegistryEditor::finish() {
  std::shared_ptr<Registry::Impl> next = std::move(impl_->next);
  impl_.reset();
  return std::shared_ptr<const Registry>(new Registry(std::move(next)));
}

}  // namespace tenancy
