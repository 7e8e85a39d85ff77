// From rows of the store to entries of the registry: what is parsed, resolved and refused.
// Internal.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "tenancy/tenants/registry.h"

namespace tenancy::tenants {

// Plans and overrides resolved against one catalog. Equal overrides on one plan share one result,
// so a million tenants with the same few overrides cost no more than those.
//
// Thread safety: belongs to one thread.
class Entitler {
 public:
  explicit Entitler(std::shared_ptr<const Catalog> catalog) : catalog_(std::move(catalog)) {}

  // `errors` (may be null) gets paths below "overrides"; the returned error holds the same as text.
  Result<std::shared_ptr<const Entitlements>> resolve(std::string_view plan,
                                                      const std::string& overrides,
                                                      std::vector<CatalogError>* errors);

 private:
  std::shared_ptr<const Catalog> catalog_;
  absl::flat_hash_map<std::string, std::shared_ptr<const Entitlements>> resolved_;
};

// Checks the form of the row's fields alone.
Status check_tenant_row(const TenantRow& row);
// `previous` (may be null) is the entry that this one replaces; what did not change is taken from
// it.
Result<std::shared_ptr<TenantEntry>> make_tenant_entry(TenantRow row, uint32_t index,
                                                       const HashKey& hash_key,
                                                       const TenantEntry* previous,
                                                       Entitler* entitler);
// The same tenant with other entitlements.
std::shared_ptr<TenantEntry> with_entitlements(const TenantEntry& entry,
                                               std::shared_ptr<const Entitlements> entitlements);

Result<std::shared_ptr<KeyEntry>> make_key_entry(KeyRow row, uint32_t tenant, uint32_t scopes,
                                                 const HashKey& hash_key);

}  // namespace tenancy::tenants
