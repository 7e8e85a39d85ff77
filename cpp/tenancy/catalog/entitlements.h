// Reading what a plan grants, or what overrides change, into Entitlements.
//
// Both are written the same way and merged by the same rules: per quota, per window of a limit, per
// feature. Thread safety: pure functions.
#pragma once

#include <string_view>

#include "tenancy/catalog/catalog.h"
#include "tenancy/catalog/fields.h"

namespace tenancy {

// Words that stand where the name of a feature or of an action could: all features, and the limit
// of actions that have none of their own.
constexpr std::string_view kAllFeatures = "all";
constexpr std::string_view kDefaultLimit = "default";

// Nothing granted: every quota undefined, every limit unlimited, no feature.
Entitlements no_entitlements(const Catalog& catalog);

// Merges the members "quotas", "rate_limits", "features", "isolation" and "retention_days" of
// `field`, a mapping, into `entitlements` and marks what was said with `origin`. Other members are
// not looked at.
void merge_entitlements(const Field& field, const Catalog& catalog, Origin origin,
                        Entitlements* entitlements);

}  // namespace tenancy
