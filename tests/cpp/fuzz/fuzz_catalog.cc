// Any JSON as a catalog, and what follows a zero byte as overrides of its plans: a catalog or
// errors, never both, and a catalog that exists keeps its promises.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/catalog/catalog.h"

namespace {

using tenancy::Catalog;
using tenancy::CatalogError;
using tenancy::Entitlements;
using tenancy::Json;
using tenancy::LimitRule;

constexpr size_t kErrorsMax = 101;
constexpr size_t kWindowsMax = 8;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_errors(const std::vector<CatalogError>& errors, bool refused) {
  require(refused == !errors.empty());
  require(errors.size() <= kErrorsMax);
  for (const CatalogError& error : errors) require(!error.message.empty());
}

void check_rule(const LimitRule& rule) {
  require(rule.windows.size() <= kWindowsMax);
  int64_t last_ns = 0;
  for (const tenancy::LimitPolicy& window : rule.windows) {
    require(window.validate().ok());
    require(window.window_ns > last_ns);
    last_ns = window.window_ns;
  }
}

void check_entitlements(const Catalog& catalog, const Entitlements& own) {
  require(own.quotas.size() == catalog.quotas().size());
  require(own.quota_origins.size() == catalog.quotas().size());
  require(own.limits.size() == catalog.actions().size());
  require(own.limit_origins.size() == catalog.actions().size());
  require(own.features.size() == catalog.features().size());
  require(own.feature_origins.size() == catalog.features().size());
  for (const LimitRule& rule : own.limits) {
    check_rule(rule);
    require((rule.scope & tenancy::kScopeTenant) != 0);
  }
  check_rule(own.default_limit);
}

void check_catalog(const Catalog& catalog, const Json& overrides) {
  require(!catalog.plans().empty());
  for (size_t i = 0; i < catalog.plans().size(); ++i) {
    const auto index = static_cast<uint32_t>(i);
    require(catalog.plan_index(catalog.plans()[i].name) == index);
    require(catalog.plans()[i].entitlements.plan_index == index);
    check_entitlements(catalog, catalog.plans()[i].entitlements);
    std::vector<CatalogError> errors;
    const auto own = catalog.effective(index, overrides, &errors);
    check_errors(errors, own == nullptr);
    if (own != nullptr) check_entitlements(catalog, *own);
  }
  for (const LimitRule& rule : catalog.limits()) check_rule(rule);
  for (size_t i = 0; i < catalog.actions().size(); ++i) {
    require(catalog.action_index(catalog.actions()[i]) == i);
  }
}

const Catalog& example() {
  static const std::shared_ptr<const Catalog> catalog = Catalog::parse(
      *Json::parse(R"({"catalog": "c", "features": ["f"], "quotas": {"q": {"kind": "size"}},
                       "plans": {"p": {"rate_limits": {"a": "5/s", "default": "9/m"}}}})"),
      nullptr);
  return *catalog;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const size_t zero = text.find('\0');
  const auto document = Json::parse(text.substr(0, zero));
  const auto overrides = Json::parse(zero == text.npos ? "{}" : text.substr(zero + 1));
  if (!document.ok()) return 0;
  std::vector<CatalogError> errors;
  const auto catalog = Catalog::parse(*document, &errors);
  check_errors(errors, catalog == nullptr);
  if (catalog != nullptr) check_catalog(*catalog, overrides.ok() ? *overrides : Json());
  check_catalog(example(), *document);
  return 0;
}
