#include "tenancy/catalog/catalog.h"

#include <cassert>
#include <functional>
#include <map>
#include <utility>

#include "tenancy/catalog/catalog_parser.h"
#include "tenancy/catalog/entitlements.h"
#include "tenancy/catalog/fields.h"

namespace tenancy {

struct Catalog::Names {
  using Index = std::map<std::string, uint32_t, std::less<>>;

  static uint32_t find(const Index& index, std::string_view name) {
    const auto found = index.find(name);
    return found == index.end() ? kNoIndex : found->second;
  }

  Index quotas;
  Index actions;
  Index features;
  Index plans;
};

Catalog::Catalog() : names_(std::make_unique<Names>()) {}
Catalog::~Catalog() = default;

void Catalog::index_names() {
  const auto add = [](Names::Index* index, const std::string& name) {
    index->emplace(name, static_cast<uint32_t>(index->size()));
  };
  *names_ = {};
  for (const QuotaDef& quota : quotas_) add(&names_->quotas, quota.name);
  for (const std::string& action : actions_) add(&names_->actions, action);
  for (const std::string& feature : features_) add(&names_->features, feature);
  for (const Plan& plan : plans_) add(&names_->plans, plan.name);
}

uint32_t Catalog::quota_index(std::string_view name) const {
  return Names::find(names_->quotas, name);
}
uint32_t Catalog::action_index(std::string_view name) const {
  return Names::find(names_->actions, name);
}
uint32_t Catalog::feature_index(std::string_view name) const {
  return Names::find(names_->features, name);
}
uint32_t Catalog::plan_index(std::string_view name) const {
  return Names::find(names_->plans, name);
}

std::shared_ptr<const Catalog> Catalog::parse(const Json& document,
                                              std::vector<CatalogError>* errors) {
  ErrorList list;
  std::shared_ptr<const Catalog> catalog = CatalogParser(Field(&document, "", &list)).parse();
  if (list.empty()) return catalog;
  list.move_to(errors);
  return nullptr;
}

std::shared_ptr<const Entitlements> Catalog::effective(uint32_t plan_index, const Json& overrides,
                                                       std::vector<CatalogError>* errors) const {
  assert(plan_index < plans_.size());
  const std::shared_ptr<const Entitlements>& base = plan_entitlements_[plan_index];
  if (overrides.is_null() || (overrides.is_object() && overrides.as_object().empty())) return base;
  ErrorList list;
  const Field field(&overrides, "", &list);
  Entitlements merged = *base;
  if (field.is_mapping_of({"quotas", "rate_limits", "features", "isolation", "retention_days"})) {
    merge_entitlements(field, *this, Origin::kOverride, &merged);
  }
  if (!list.empty()) {
    list.move_to(errors);
    return nullptr;
  }
  return std::make_shared<const Entitlements>(std::move(merged));
}

}  // namespace tenancy
