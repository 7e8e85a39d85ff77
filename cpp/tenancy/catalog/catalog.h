// Catalog: plans, features, quotas, limits, permissions and roles as one validated, immutable
// value.
//
// Made from a JSON document (YAML is turned into JSON in Python). Names become positions
// ("indexes") in the vectors below; an index means something only together with its catalog.
//
// Invariants:
//  1. A Catalog that exists is valid: every reference inside it resolves, every number is in range.
//  2. Parsing reports all errors at once, each with the path of the value it is about.
//
// Ownership: std::shared_ptr<const Catalog>. Thread safety: immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/civil.h"
#include "tenancy/base/json.h"
#include "tenancy/base/status.h"
#include "tenancy/catalog/audit_policy.h"
#include "tenancy/catalog/billing_policy.h"
#include "tenancy/catalog/limit_policy.h"
#include "tenancy/catalog/metric_def.h"
#include "tenancy/catalog/price_def.h"

namespace tenancy {

constexpr uint32_t kNoIndex = UINT32_MAX;

enum class QuotaKind : uint8_t { kCount = 0, kConsumption, kSize, kPerObject, kConcurrency };

// What a quota is, the same in every plan.
struct QuotaDef {
  std::string name;
  QuotaKind kind = QuotaKind::kCount;
  PeriodUnit period = PeriodUnit::kMonth;  // kConsumption only
  bool anchored = false;  // periods begin on the subscription's day, not the calendar's
  std::string unit;       // for people: "bytes", "tokens"
  std::vector<uint8_t> alert_percents;  // ascending, at most 8; default 80, 100
  int64_t lease_ns = 0;                 // kConcurrency: time a lease lives without renewal
};

// What a plan or an override grants of one quota.
struct QuotaGrant {
  bool defined = false;  // the plan says something about this quota
  bool unlimited = false;
  bool soft = false;  // over the limit is allowed and reported as overage
  uint64_t limit = 0;
  uint64_t grace = 0;  // allowed beyond the limit before refusing, in units
  bool operator==(const QuotaGrant&) const = default;
};

// Bits of LimitRule::scope. No bit: one counter for all (global).
enum ScopeBit : uint8_t {
  kScopeTenant = 1,
  kScopeUser = 2,
  kScopeKey = 4,
  kScopeEndpoint = 8,
  kScopeIp = 16,
  kScopeAction = 32,
};

// A named limit: one or several windows counted per scope.
struct LimitRule {
  std::string name;
  uint8_t scope = 0;
  std::vector<LimitPolicy> windows;  // empty = unlimited
  bool operator==(const LimitRule&) const = default;
};

enum class Isolation : uint8_t { kShared = 0, kSchema, kDatabase, kInstance };

// Where an effective value came from.
enum class Origin : uint8_t { kAbsent = 0, kDefault, kPlan, kOverride };

// What a tenant has: a plan's values, or a plan's with the tenant's overrides merged in. Vectors
// are indexed by the catalog's quota, action and feature indexes.
struct Entitlements {
  std::string plan;
  uint32_t plan_index = kNoIndex;
  std::vector<QuotaGrant> quotas;
  std::vector<Origin> quota_origins;
  std::vector<LimitRule> limits;  // per action; actions not named carry the plan's default limit
  LimitRule default_limit;        // for actions the catalog does not know, counted per action
  std::vector<Origin> limit_origins;
  std::vector<bool> features;
  std::vector<Origin> feature_origins;
  Origin default_limit_origin = Origin::kAbsent;
  Isolation isolation = Isolation::kShared;
  Origin isolation_origin = Origin::kAbsent;
  uint32_t retention_days = 0;  // 0 = not stated: nothing is purged
  Origin retention_origin = Origin::kAbsent;
};

struct PlanPrice {
  enum class Kind : uint8_t { kAbsent = 0, kAmount, kCustom };
  Kind kind = Kind::kAbsent;
  std::string amount;  // decimal digits as written
};

struct Plan {
  std::string name;
  std::string title;
  PlanPrice price;
  std::string currency;  // ISO 4217; "USD" unless set
  PeriodUnit price_period = PeriodUnit::kMonth;
  bool all_features = false;
  std::string price_book;
  Entitlements entitlements;
};

struct RoleDef {
  std::string name;
  std::vector<std::string> permissions;  // "resource:action", '*' on either side
  std::vector<std::string> denies;
  std::vector<std::string> inherits;
};

// Sets of roles of which one principal may hold (static) or use at once (dynamic) at most
// `at_most`.
struct DutyRule {
  std::string name;
  std::vector<std::string> roles;
  uint32_t at_most = 1;
  bool dynamic = false;
};

struct CatalogError {
  std::string path;     // "plans.starter.rate_limits.api_requests.limit"
  std::string message;  // "expected a positive integer or "unlimited", got -5"
};

class Catalog {
 public:
  // Null when there were errors.
  static std::shared_ptr<const Catalog> parse(const Json& document,
                                              std::vector<CatalogError>* errors);

  const std::string& name() const { return name_; }
  const std::string& version() const { return version_; }
  const std::string& currency() const { return currency_; }  // of plans that name none
  const std::vector<QuotaDef>& quotas() const { return quotas_; }
  const std::vector<std::string>& actions() const { return actions_; }
  const std::vector<std::string>& features() const { return features_; }
  const std::vector<Plan>& plans() const { return plans_; }
  const std::vector<RoleDef>& roles() const { return roles_; }
  const std::vector<std::string>& permissions() const { return permissions_; }
  const std::vector<DutyRule>& duties() const { return duties_; }
  const AuditPolicy& audit() const { return audit_; }
  // Those it defines; metrics that a price book prices need no definition.
  const std::vector<MetricDef>& metrics() const { return metrics_; }
  const MeteringPolicy& metering() const { return metering_; }
  const BillingPolicy& billing() const { return billing_; }
  // The price books it defines; plans may also name those that come with the package.
  const std::vector<std::shared_ptr<const PriceBookDef>>& price_books() const {
    return price_books_;
  }
  // Limits outside plans: by scope, for every request.
  const std::vector<LimitRule>& limits() const { return limits_; }
  // The action counted when a request names none; kNoIndex when the catalog names none.
  uint32_t default_action() const { return default_action_; }
  // The plan a tenant gets when none is named; kNoIndex when there is no such.
  uint32_t default_plan() const { return default_plan_; }

  // Look-ups; kNoIndex when unknown.
  uint32_t quota_index(std::string_view name) const;
  uint32_t action_index(std::string_view name) const;
  uint32_t feature_index(std::string_view name) const;
  uint32_t plan_index(std::string_view name) const;

  // The plan's entitlements with a tenant's overrides merged per window, quota and feature.
  // `overrides` is an object with the members "quotas", "rate_limits", "features", "isolation",
  // "retention_days", written as in a plan; null or empty gives the plan's own (shared)
  // entitlements.
  std::shared_ptr<const Entitlements> effective(uint32_t plan_index, const Json& overrides,
                                                std::vector<CatalogError>* errors) const;

 private:
  friend class CatalogParser;
  struct Names;
  Catalog();
  // Makes the look-ups answer; again after quotas, actions, features or plans were added.
  void index_names();

 public:
  ~Catalog();

 private:
  std::string name_;
  std::string version_;
  std::string currency_;
  std::vector<QuotaDef> quotas_;
  std::vector<std::string> actions_;
  std::vector<std::string> features_;
  std::vector<Plan> plans_;
  std::vector<std::shared_ptr<const Entitlements>> plan_entitlements_;
  std::vector<RoleDef> roles_;
  std::vector<std::string> permissions_;
  std::vector<DutyRule> duties_;
  AuditPolicy audit_;
  std::vector<MetricDef> metrics_;
  MeteringPolicy metering_;
  BillingPolicy billing_;
  std::vector<LimitRule> limits_;
  std::vector<std::shared_ptr<const PriceBookDef>> price_books_;
  uint32_t default_action_ = kNoIndex;
  uint32_t default_plan_ = kNoIndex;
  std::unique_ptr<Names> names_;
};

}  // namespace tenancy
