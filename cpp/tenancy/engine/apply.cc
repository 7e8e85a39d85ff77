// How a ChangeSet becomes the next Definitions.
#include <algorithm>
#include <map>
#include <utility>

#include "tenancy/engine/engine.h"

namespace tenancy {
namespace {

std::string join_errors(const std::vector<CatalogError>& errors) {
  std::string text;
  for (const CatalogError& error : errors) {
    if (!text.empty()) text += "; ";
    text += error.path + ": " + error.message;
  }
  return text;
}

// The most windows one decision can meet: every limit of the catalog, an action and the default
// action, and three windows of the key's own.
Status check_window_count(const Catalog& catalog) {
  size_t common = 3;
  for (const LimitRule& rule : catalog.limits()) common += rule.windows.size();
  for (const Plan& plan : catalog.plans()) {
    size_t largest = 0;
    for (const LimitRule& rule : plan.entitlements.limits) {
      largest = std::max(largest, rule.windows.size());
    }
    if (common + 2 * largest > kLimitsMax) {
      return {Code::kOutOfRange, "plan \"" + plan.name + "\": one request could meet " +
                                     std::to_string(common + 2 * largest) +
                                     " rate-limit windows; at most " + std::to_string(kLimitsMax) +
                                     " are possible: drop some windows"};
    }
  }
  return {};
}

// Works on both editors; the first error stops it, and nothing has been published by then.
class Applier {
 public:
  Applier(const Definitions* base, const HashKey& hash_key)
      : registry_(base == nullptr ? nullptr : base->registry.get(), hash_key),
        access_(base == nullptr ? nullptr : base->access.get()) {}

  Status apply(ChangeSet& changes) {
    if (changes.catalog != nullptr) {
      if (Status status = set_catalog(changes.catalog); !status.ok()) return status;
    }
    remove(changes);
    // Tenants may have exchanged names since, in an order that the rows no longer show.
    for (const TenantRow& row : changes.tenants) registry_.release_names(row.id);
    for (TenantRow& row : changes.tenants) {
      if (auto index = registry_.put_tenant(std::move(row)); !index.ok()) return index.status();
    }
    if (Status status = put_roles(changes.roles); !status.ok()) return status;
    for (const AssignmentRow& row : changes.assignments) {
      const TenantEntry* tenant = registry_.find_tenant(row.tenant_id);
      if (tenant == nullptr) return unknown_tenant("assignment", row.tenant_id);
      Status status =
          access_.assign(tenant->index, row.principal, row.role, row.resource, row.until_ns);
      if (!status.ok()) return status;
    }
    for (KeyRow& row : changes.keys) {
      if (Status status = put_key(std::move(row)); !status.ok()) return status;
    }
    for (SessionRow& row : changes.sessions) {
      if (Status status = registry_.put_session(std::move(row)); !status.ok()) return status;
    }
    for (const ResourceRow& row : changes.resources) {
      if (Status status = registry_.put_resource(row); !status.ok()) return status;
    }
    return {};
  }

  std::shared_ptr<const Registry> finish_registry() { return registry_.finish(); }
  std::shared_ptr<const AccessModel> finish_access() { return access_.finish(); }

 private:
  static Status unknown_tenant(const char* what, const std::string& id) {
    return {Code::kNotFound, std::string(what) + " names tenant \"" + id + "\", which is unknown"};
  }

  Status set_catalog(const std::shared_ptr<const Catalog>& catalog) {
    if (Status status = check_window_count(*catalog); !status.ok()) return status;
    std::vector<CatalogError> errors;
    if (Status status = registry_.set_catalog(catalog, &errors); !status.ok()) {
      if (errors.empty()) return status;
      return {status.error().code, join_errors(errors)};
    }
    return access_.set_catalog(*catalog);
  }

  // What is gone already is no error: a removal may be read twice.
  void remove(const ChangeSet& changes) {
    for (const Digest256& digest : changes.removed_sessions) registry_.remove_session(digest);
    for (const std::string& id : changes.removed_keys) registry_.remove_key(id);
    for (const ResourceRow& row : changes.removed_resources) {
      registry_.remove_resource(row.tenant_id, row.type, row.id);
    }
    for (const AssignmentRow& row : changes.removed_assignments) {
      const TenantEntry* tenant = registry_.find_tenant(row.tenant_id);
      if (tenant != nullptr) {
        access_.unassign(tenant->index, row.principal, row.role, row.resource);
      }
    }
    remove_roles(changes.removed_roles);
    for (const std::string& id : changes.removed_tenants) {
      const TenantEntry* tenant = registry_.find_tenant(id);
      if (tenant == nullptr) continue;
      access_.remove_tenant(tenant->index);
      registry_.remove_tenant(id);
    }
  }

  std::optional<TenantIndex> tenant_index(const std::string& id) const {
    if (id.empty()) return kAllTenants;
    const TenantEntry* tenant = registry_.find_tenant(id);
    if (tenant == nullptr) return std::nullopt;
    return tenant->index;
  }

  // Rows come in any order, of any tenants; the editor takes a tenant's roles all at once. The
  // shared ones come first, because tenants' roles may inherit them.
  Status put_roles(const std::vector<RoleRow>& rows) {
    std::map<std::string_view, std::vector<RoleDef>> by_tenant;  // "" (shared) sorts first
    for (const RoleRow& row : rows) by_tenant[row.tenant_id].push_back(row.role);
    for (const auto& [tenant_id, roles] : by_tenant) {
      const auto index = tenant_index(std::string(tenant_id));
      if (!index) return unknown_tenant("role", std::string(tenant_id));
      if (Status status = access_.put_roles(*index, roles); !status.ok()) return status;
    }
    return {};
  }

  // A role goes only after those that inherit it: go round until nothing more can. What stays is in
  // use, which the store has ruled out, or gone already.
  void remove_roles(std::vector<std::pair<std::string, std::string>> waiting) {
    for (bool removed = true; removed && !waiting.empty();) {
      removed = false;
      std::erase_if(waiting, [&](const auto& row) {
        const auto index = tenant_index(row.first);
        const bool gone = !index || access_.remove_role(*index, row.second).ok();
        removed |= gone;
        return gone;
      });
    }
  }

  Status put_key(KeyRow row) {
    ScopeSetId scopes = kNoScopes;
    if (row.scoped) {
      auto interned = access_.intern_scopes(row.scopes);
      if (!interned.ok()) return interned.status();
      scopes = *interned;
    }
    return registry_.put_key(std::move(row), scopes);
  }

  RegistryEditor registry_;
  AccessEditor access_;
};

template <class Items, class Name>
std::vector<uint64_t> hash_names(const HashKey& key, std::string_view kind, const Items& items,
                                 Name&& name) {
  std::vector<uint64_t> hashes;
  hashes.reserve(items.size());
  const uint64_t seed = siphash(key, kind);
  for (const auto& item : items)
    hashes.push_back(siphash_join(key, seed, siphash(key, name(item))));
  return hashes;
}

void hash_catalog_names(const HashKey& key, Definitions* definitions) {
  const Catalog& catalog = *definitions->catalog;
  definitions->quota_hashes.clear();
  for (const QuotaDef& def : catalog.quotas()) {
    definitions->quota_hashes.push_back(siphash(key, def.name));
  }
  definitions->action_hashes =
      hash_names(key, "action", catalog.actions(), [](const std::string& name) { return name; });
  definitions->limit_hashes =
      hash_names(key, "limit", catalog.limits(), [](const LimitRule& rule) { return rule.name; });
}

}  // namespace

Status Engine::apply(ChangeSet changes) {
  std::lock_guard<std::mutex> lock(apply_mutex_);
  const std::shared_ptr<const Definitions> base = changes.reset ? nullptr : definitions();
  const bool has_base = base != nullptr && base->catalog != nullptr;
  if (!has_base && changes.catalog == nullptr) {
    return {Code::kInvalidArgument, "the first definitions need a catalog"};
  }
  Applier applier(has_base ? base.get() : nullptr, counters_->hash_key());
  const uint64_t revision = changes.revision;
  std::shared_ptr<const Catalog> catalog =
      changes.catalog != nullptr ? changes.catalog : base->catalog;
  if (Status status = applier.apply(changes); !status.ok()) return status;

  auto next = std::make_shared<Definitions>();
  next->revision = revision;
  next->catalog = std::move(catalog);
  next->registry = applier.finish_registry();
  next->access = applier.finish_access();
  hash_catalog_names(counters_->hash_key(), next.get());
  if (!options_.default_tenant.empty()) {
    const TenantEntry* tenant = next->registry->by_reference(options_.default_tenant);
    if (tenant != nullptr) next->default_tenant = tenant->index;
  }
  std::lock_guard<std::mutex> publish(publish_mutex_);
  definitions_ = std::move(next);
  revision_.store(revision, std::memory_order_release);
  published_.fetch_add(1, std::memory_order_release);
  return {};
}

}  // namespace tenancy
