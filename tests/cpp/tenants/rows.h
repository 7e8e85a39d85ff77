// Helpers of the registry's tests: rows, catalogs, digests.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "catch.h"
#include "tenancy/base/json.h"
#include "tenancy/tenants/registry.h"

namespace tenancy::test {

constexpr HashKey kHashKey{1, 2};

// Two plans, free (the default) and pro, with one quota `users`: 1 and 5.
inline std::shared_ptr<const Catalog> small_catalog(
    std::string_view plans =
        R"({"free": {"quotas": {"users": 1}}, "pro": {"quotas": {"users": 5}}})",
    std::string_view more = R"("default_plan": "free", )") {
  const std::string text = R"({"catalog": "c", )" + std::string(more) +
                           R"("quotas": {"users": {"kind": "count"}}, "plans": )" +
                           std::string(plans) + "}";
  const Result<Json> json = Json::parse(text);
  REQUIRE(json.ok());
  std::vector<CatalogError> errors;
  auto catalog = Catalog::parse(*json, &errors);
  INFO(text << (errors.empty() ? "" : errors.front().path + ": " + errors.front().message));
  REQUIRE(catalog != nullptr);
  return catalog;
}

inline TenantRow tenant_row(std::string id, std::string slug = "", std::string plan = "free",
                            std::string external_id = "") {
  TenantRow row;
  row.id = std::move(id);
  row.slug = std::move(slug);
  row.plan = std::move(plan);
  row.external_id = std::move(external_id);
  return row;
}

inline KeyRow key_row(std::string id, std::string tenant_id) {
  KeyRow row;
  row.digest = sha256(id);
  row.id = std::move(id);
  row.tenant_id = std::move(tenant_id);
  return row;
}

inline SessionRow session_row(std::string_view id, std::string tenant_id) {
  SessionRow row;
  row.digest = sha256(id);
  row.tenant_id = std::move(tenant_id);
  row.principal = "u";
  return row;
}

inline uint64_t users_of(const TenantEntry* entry) {
  return entry == nullptr ? UINT64_MAX : entry->entitlements->quotas[0].limit;
}

// An editor with the small catalog and nothing else.
inline std::unique_ptr<RegistryEditor> fresh_editor() {
  auto editor = std::make_unique<RegistryEditor>(nullptr, kHashKey);
  REQUIRE(editor->set_catalog(small_catalog(), nullptr).ok());
  return editor;
}

inline bool mentions(const Error& error, std::string_view text) {
  return error.message.find(text) != std::string::npos;
}

}  // namespace tenancy::test
