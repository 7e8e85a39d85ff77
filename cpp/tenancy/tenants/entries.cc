#include "tenancy/tenants/entries.h"

#include <algorithm>
#include <utility>

#include "tenancy/base/json.h"
#include "tenancy/tenants/slabs.h"

namespace tenancy::tenants {
namespace {

constexpr size_t kReferenceMax = 255;
constexpr size_t kSlugMax = 50;
constexpr size_t kErrorsShown = 5;

// What came, short enough for a message.
std::string in_quotes(std::string_view text) {
  constexpr size_t kShown = 60;
  std::string out = "\"";
  for (const char c : text.substr(0, kShown)) {
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  }
  return out + (text.size() > kShown ? "…\"" : "\"");
}

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

Status check_reference(const char* field, std::string_view text) {
  if (text.size() > kReferenceMax) {
    return {Code::kInvalidArgument, std::string(field) + ": expected at most 255 bytes, got " +
                                        std::to_string(text.size())};
  }
  if (has_control(text)) {
    return {Code::kInvalidArgument,
            std::string(field) + ": expected no control characters, got " + in_quotes(text)};
  }
  return {};
}

bool slug_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
}

bool valid_slug(std::string_view slug) {
  return slug.size() <= kSlugMax && std::all_of(slug.begin(), slug.end(), slug_character) &&
         slug.front() != '-' && slug.front() != '_' && slug.back() != '-';
}

std::string join_errors(const std::vector<CatalogError>& errors) {
  std::string text;
  for (size_t i = 0; i < errors.size() && i < kErrorsShown; ++i) {
    if (i > 0) text += "; ";
    text += errors[i].path + ": " + errors[i].message;
  }
  if (errors.size() > kErrorsShown) {
    text += "; and " + std::to_string(errors.size() - kErrorsShown) + " more";
  }
  return text;
}

std::string known_plans(const Catalog& catalog) {
  std::string names;
  for (const Plan& plan : catalog.plans()) {
    if (!names.empty()) names += ", ";
    names += plan.name;
  }
  return names;
}

std::unique_ptr<const std::string> keep(std::string text) {
  if (text.empty()) return nullptr;
  return std::make_unique<const std::string>(std::move(text));
}

std::unique_ptr<const std::string> copy(const std::unique_ptr<const std::string>& text) {
  return text == nullptr ? nullptr : std::make_unique<const std::string>(*text);
}

Result<Json> parse_object(const char* field, const std::string& text) {
  Result<Json> json = Json::parse(text);
  if (!json.ok()) {
    return {Code::kInvalidArgument, std::string(field) + ": " + json.error().message};
  }
  if (!json->is_object()) {
    return {Code::kInvalidArgument,
            std::string(field) + ": expected a JSON object, " + json->describe()};
  }
  return json;
}

bool same_text(const std::unique_ptr<const std::string>& kept, const std::string& text) {
  return kept == nullptr ? text.empty() : *kept == text;
}

}  // namespace

Result<std::shared_ptr<const Entitlements>> Entitler::resolve(std::string_view plan,
                                                              const std::string& overrides,
                                                              std::vector<CatalogError>* errors) {
  if (catalog_ == nullptr) {
    return {Code::kInvalidArgument, "plan: no catalog is set, so no plan can be looked up"};
  }
  const uint32_t index = plan.empty() ? catalog_->default_plan() : catalog_->plan_index(plan);
  if (index == kNoIndex) {
    return {Code::kNotFound,
            plan.empty()
                ? "plan: none is named and the catalog has no default plan; expected one of " +
                      known_plans(*catalog_)
                : "plan: expected one of " + known_plans(*catalog_) + ", got " + in_quotes(plan)};
  }
  std::string key = std::to_string(index) + ' ' + overrides;
  if (auto found = resolved_.find(key); found != resolved_.end()) return found->second;

  Json document;
  if (!overrides.empty()) {
    Result<Json> parsed = parse_object("overrides", overrides);
    if (!parsed.ok()) {
      if (errors != nullptr) errors->push_back({"overrides", parsed.error().message});
      return parsed.error();
    }
    document = *parsed;
  }
  std::vector<CatalogError> found_errors;
  std::shared_ptr<const Entitlements> entitlements =
      catalog_->effective(index, document, &found_errors);
  if (entitlements == nullptr) {
    for (CatalogError& error : found_errors) {
      error.path = error.path.empty() ? "overrides" : "overrides." + error.path;
    }
    if (errors != nullptr) errors->insert(errors->end(), found_errors.begin(), found_errors.end());
    return {Code::kInvalidArgument, join_errors(found_errors)};
  }
  resolved_.emplace(std::move(key), entitlements);
  return entitlements;
}

Status check_tenant_row(const TenantRow& row) {
  if (row.id.empty()) return {Code::kInvalidArgument, "id: expected an id, got an empty one"};
  if (Status status = check_reference("id", row.id); !status.ok()) return status;
  if (Status status = check_reference("external_id", row.external_id); !status.ok()) return status;
  if (!row.slug.empty() && !valid_slug(row.slug)) {
    return {Code::kInvalidArgument,
            "slug: expected 1 to 50 of a-z 0-9 - _, beginning with a letter or digit, got " +
                in_quotes(row.slug)};
  }
  if (!row.settings.empty()) {
    if (Result<Json> json = parse_object("settings", row.settings); !json.ok()) return json.error();
  }
  return {};
}

Result<std::shared_ptr<TenantEntry>> make_tenant_entry(TenantRow row, uint32_t index,
                                                       const HashKey& hash_key,
                                                       const TenantEntry* previous,
                                                       Entitler* entitler) {
  auto entry = make_in_slab<TenantEntry>();
  const bool same_grants = previous != nullptr && previous->entitlements->plan == row.plan &&
                           same_text(previous->overrides, row.overrides);
  if (same_grants) {
    entry->entitlements = previous->entitlements;
  } else {
    auto entitlements = entitler->resolve(row.plan, row.overrides, nullptr);
    if (!entitlements.ok()) return entitlements.error();
    entry->entitlements = std::move(*entitlements);
  }
  if (!row.time_zone.empty()) {
    Result<TimeZone> zone = TimeZone::load(row.time_zone);
    if (!zone.ok()) return {zone.error().code, "time_zone: " + zone.error().message};
    entry->time_zone = *zone;
  }
  if (row.anchor_wall_ns != 0) entry->anchor = anchor_of(row.anchor_wall_ns, entry->time_zone);
  entry->index = index;
  entry->status = row.status;
  entry->seed = previous != nullptr ? previous->seed : siphash(hash_key, row.id);
  entry->id = std::move(row.id);
  entry->external_id = std::move(row.external_id);
  entry->slug = std::move(row.slug);
  entry->overrides = keep(std::move(row.overrides));
  entry->settings = keep(std::move(row.settings));
  return entry;
}

std::shared_ptr<TenantEntry> with_entitlements(const TenantEntry& entry,
                                               std::shared_ptr<const Entitlements> entitlements) {
  auto next = make_in_slab<TenantEntry>();
  next->index = entry.index;
  next->status = entry.status;
  next->seed = entry.seed;
  next->id = entry.id;
  next->external_id = entry.external_id;
  next->slug = entry.slug;
  next->entitlements = std::move(entitlements);
  next->time_zone = entry.time_zone;
  next->anchor = entry.anchor;
  next->overrides = copy(entry.overrides);
  next->settings = copy(entry.settings);
  return next;
}

Result<std::shared_ptr<KeyEntry>> make_key_entry(KeyRow row, uint32_t tenant, uint32_t scopes,
                                                 const HashKey& hash_key) {
  if (row.id.empty())
    return {Code::kInvalidArgument, "id: expected a key's public id, got an empty one"};
  if (Status status = check_reference("id", row.id); !status.ok()) return status.error();
  auto entry = make_in_slab<KeyEntry>();
  if (!row.limit.empty()) {
    Result<LimitPolicy> policy = LimitPolicy::parse(row.limit);
    if (!policy.ok()) return {policy.error().code, "limit: " + policy.error().message};
    if (Status status = policy->validate(); !status.ok()) {
      return {status.error().code, "limit: " + status.error().message};
    }
    auto rule = std::make_unique<LimitRule>();
    rule->name = "key";
    rule->scope = kScopeKey;
    rule->windows.push_back(*policy);
    entry->limit = std::move(rule);
  }
  entry->tenant = tenant;
  entry->scopes = scopes;
  entry->digest = row.digest;
  entry->seed = siphash(hash_key, row.id);
  entry->id = std::move(row.id);
  entry->principal = std::move(row.principal);
  entry->expires_wall_ns = row.expires_wall_ns;
  entry->revoked_wall_ns = row.revoked_wall_ns;
  entry->grace_until_wall_ns = row.grace_until_wall_ns;
  return entry;
}

}  // namespace tenancy::tenants
