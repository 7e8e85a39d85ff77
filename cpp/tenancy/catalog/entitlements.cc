#include "tenancy/catalog/entitlements.h"

#include <algorithm>

#include "tenancy/catalog/amounts.h"
#include "tenancy/catalog/limit_patch.h"
#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

constexpr int64_t kRetentionDaysMax = 36'500;

std::vector<std::string_view> names_of(const std::vector<QuotaDef>& quotas) {
  std::vector<std::string_view> names;
  names.reserve(quotas.size());
  for (const QuotaDef& quota : quotas) names.emplace_back(quota.name);
  return names;
}

class Merger {
 public:
  Merger(const Catalog& catalog, Origin origin, Entitlements* out)
      : catalog_(catalog), origin_(origin), out_(out) {}

  void merge(const Field& field) {
    if (const Field member = field.member("quotas"); member.present()) quotas(member);
    if (const Field member = field.member("rate_limits"); member.present()) limits(member);
    if (const Field member = field.member("features"); member.present()) features(member);
    if (const Field member = field.member("isolation"); member.present()) isolation(member);
    if (const Field member = field.member("retention_days"); member.present()) retention(member);
  }

 private:
  void quotas(const Field& field) {
    if (!field.is_mapping()) return;
    for (const auto& [name, value] : field.members()) {
      const uint32_t index = catalog_.quota_index(name);
      if (index == kNoIndex) {
        value.unknown("quota", name, names_of(catalog_.quotas()));
      } else if (const std::optional<QuotaGrant> grant =
                     this->grant(value, catalog_.quotas()[index])) {
        out_->quotas[index] = *grant;
        out_->quota_origins[index] = origin_;
      }
    }
  }

  static std::optional<Amount> quota_amount(const Field& field, const QuotaDef& quota) {
    return quota.kind == QuotaKind::kSize ? read_size(field) : read_amount(field, Lowest::kZero);
  }

  static std::optional<QuotaGrant> grant(const Field& field, const QuotaDef& quota) {
    QuotaGrant result;
    result.defined = true;
    if (!field.json().is_object()) {
      const std::optional<Amount> amount = quota_amount(field, quota);
      if (!amount) return std::nullopt;
      result.unlimited = amount->unlimited;
      result.limit = amount->value;
      return result;
    }
    bool good = field.is_mapping_of({"limit", "soft", "grace"});
    if (const Field limit = field.member("limit"); limit.present()) {
      const std::optional<Amount> amount = quota_amount(limit, quota);
      good = good && amount.has_value();
      result.unlimited = amount.value_or(Amount{}).unlimited;
      result.limit = amount.value_or(Amount{}).value;
    } else {
      field.error("\"limit\" is missing: a whole number or \"unlimited\"");
      good = false;
    }
    if (const Field soft = field.member("soft"); soft.present()) {
      const std::optional<bool> value = soft.boolean();
      good = good && value.has_value();
      result.soft = value.value_or(false);
    }
    if (const Field grace = field.member("grace"); grace.present()) {
      const std::optional<Amount> amount = quota_amount(grace, quota);
      good = good && amount.has_value();
      if (amount && amount->unlimited) {
        grace.error("expected a whole number, got \"unlimited\"; \"soft: true\" refuses nothing");
        good = false;
      }
      result.grace = amount.value_or(Amount{}).value;
    }
    if (!good) return std::nullopt;
    return result;
  }

  void limits(const Field& field) {
    if (!field.is_mapping()) return;
    // The default first: what it says is below what the actions say, wherever it is written.
    if (const Field value = field.member(kDefaultLimit); value.present()) {
      if (limit(value, &out_->default_limit)) spread_default();
    }
    const std::vector<std::string_view> known(catalog_.actions().begin(), catalog_.actions().end());
    for (const auto& [name, value] : field.members()) {
      if (name == kDefaultLimit) continue;
      const uint32_t index = catalog_.action_index(name);
      if (!is_name(name)) {
        value.error("the name of an action must be " + std::string(kNameRule));
      } else if (index == kNoIndex) {
        value.unknown("action", name, known);
      } else if (limit(value, &out_->limits[index])) {
        out_->limit_origins[index] = origin_;
      }
    }
  }

  bool limit(const Field& field, LimitRule* rule) const {
    const std::optional<LimitPatch> patch = read_limit(field, LimitPlace::kPlan);
    if (!patch) return false;
    LimitRule changed = *rule;
    apply(*patch, &changed);
    if (changed.windows.size() > kWindowsMax) {
      field.error("together with the windows it is merged with these are " +
                  std::to_string(changed.windows.size()) + ", expected at most " +
                  std::to_string(kWindowsMax) + "; \"replace: true\" drops the others");
      return false;
    }
    *rule = std::move(changed);
    return true;
  }

  // Gives the default limit to every action that nothing names.
  void spread_default() {
    out_->default_limit_origin = origin_;
    for (size_t i = 0; i < out_->limits.size(); ++i) {
      Origin& origin = out_->limit_origins[i];
      if (origin != Origin::kAbsent && origin != Origin::kDefault) continue;
      out_->limits[i].scope = out_->default_limit.scope;
      out_->limits[i].windows = out_->default_limit.windows;
      origin = origin_ == Origin::kOverride ? Origin::kOverride : Origin::kDefault;
    }
  }

  void features(const Field& field) {
    if (field.json().is_string() && field.json().as_string() == kAllFeatures) return all_features();
    if (field.json().is_array()) return feature_list(field);
    if (field.json().is_object()) return feature_switches(field);
    field.expected("a list of features, a mapping of features to true or false, or \"all\"");
  }

  void feature_list(const Field& field) {
    for (size_t i = 0; i < field.json().as_array().size(); ++i) {
      const Field item = field.element(i);
      if (!item.json().is_string()) {
        item.expected("the name of a feature");
      } else if (item.json().as_string() == kAllFeatures) {
        all_features();
      } else {
        feature(item, item.json().as_string(), true);
      }
    }
  }

  void feature_switches(const Field& field) {
    for (const auto& [name, value] : field.members()) {
      if (const std::optional<bool> on = value.boolean()) feature(value, name, *on);
    }
  }

  void feature(const Field& field, const std::string& name, bool on) {
    const uint32_t index = catalog_.feature_index(name);
    if (index == kNoIndex) {
      const std::vector<std::string_view> known(catalog_.features().begin(),
                                                catalog_.features().end());
      field.unknown("feature", name, known);
      return;
    }
    out_->features[index] = on;
    out_->feature_origins[index] = origin_;
  }

  void all_features() {
    out_->features.assign(out_->features.size(), true);
    out_->feature_origins.assign(out_->features.size(), origin_);
  }

  void isolation(const Field& field) {
    const std::optional<size_t> chosen = field.choice({"shared", "schema", "database", "instance"});
    if (!chosen) return;
    out_->isolation = static_cast<Isolation>(*chosen);
    out_->isolation_origin = origin_;
  }

  void retention(const Field& field) {
    const bool forever = field.json().is_string() && field.json().as_string() == "unlimited";
    const bool minus_one = field.json().is_integer() && field.json().as_integer() == -1;
    const bool in_range = field.json().is_integer() && field.json().as_integer() >= 1 &&
                          field.json().as_integer() <= kRetentionDaysMax;
    if (!forever && !minus_one && !in_range) {
      field.expected("a number of days from 1 to " + std::to_string(kRetentionDaysMax) +
                     " or \"unlimited\"");
      return;
    }
    out_->retention_days = in_range ? static_cast<uint32_t>(field.json().as_integer()) : 0;
    out_->retention_origin = origin_;
  }

  const Catalog& catalog_;
  const Origin origin_;
  Entitlements* out_;
};

}  // namespace

Entitlements no_entitlements(const Catalog& catalog) {
  Entitlements result;
  result.quotas.resize(catalog.quotas().size());
  result.quota_origins.resize(catalog.quotas().size(), Origin::kAbsent);
  for (const std::string& action : catalog.actions()) {
    result.limits.push_back({action, kPlanScope, {}});
  }
  result.limit_origins.resize(catalog.actions().size(), Origin::kAbsent);
  result.default_limit = {std::string(kDefaultLimit), kPlanScope, {}};
  result.features.resize(catalog.features().size(), false);
  result.feature_origins.resize(catalog.features().size(), Origin::kAbsent);
  return result;
}

void merge_entitlements(const Field& field, const Catalog& catalog, Origin origin,
                        Entitlements* entitlements) {
  Merger(catalog, origin, entitlements).merge(field);
}

}  // namespace tenancy
