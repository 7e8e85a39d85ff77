// The catalog as Python sees it: parsing, and what it holds as plain lists and dictionaries, from
// which tenancy.catalog makes its read-only views.
#include "bind_catalog.h"

#include <memory>
#include <vector>

#include "pybind.h"
#include "tenancy/catalog/catalog.h"
#include "tenancy/catalog/limit_patch.h"

namespace tenancy {
namespace {

// In the order of the enums.
constexpr const char* kKinds[] = {"count", "consumption", "size", "per_object", "concurrency"};
constexpr const char* kIsolations[] = {"shared", "schema", "database", "instance"};
constexpr const char* kOrigins[] = {"absent", "default", "plan", "override"};

template <class Enum, size_t N>
py::str name_of(const char* const (&names)[N], Enum value) {
  return to_str(names[static_cast<size_t>(value)]);
}

py::tuple text_tuple(const std::vector<std::string>& texts) {
  py::tuple result(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) result[i] = to_str(texts[i]);
  return result;
}

py::object text_or_none(std::string_view text) {
  return text.empty() ? py::object(py::none()) : to_str(text);
}

py::list error_list(const std::vector<CatalogError>& errors) {
  py::list result;
  for (const CatalogError& each : errors) result.append(py::make_tuple(each.path, each.message));
  return result;
}

py::dict rule_dict(const LimitRule& rule) {
  py::list windows;
  for (const LimitPolicy& policy : rule.windows) {
    py::dict window;
    window["text"] = policy.text();
    window["limit"] = policy.limit;
    window["window_ns"] = policy.window_ns;
    window["burst"] = policy.burst == 0 ? py::object(py::none()) : py::int_(policy.burst);
    window["algorithm"] = to_str(algorithm_name(policy.algorithm));
    window["anchor"] = policy.anchor_first ? "first" : "clock";
    window["shadow"] = policy.shadow;
    window["on_full"] = policy.on_full == OnFull::kAllow ? "allow" : "refuse";
    window["worst_case"] = policy.worst_case();
    windows.append(window);
  }
  py::dict result;
  result["name"] = rule.name;
  result["scope"] = scope_text(rule.scope);
  result["windows"] = windows;
  return result;
}

}  // namespace

py::dict entitlements_dict(const Catalog& catalog, const Entitlements& own) {
  py::dict quotas;
  for (size_t i = 0; i < own.quotas.size(); ++i) {
    const QuotaGrant& grant = own.quotas[i];
    if (!grant.defined) continue;
    const py::object limit = grant.unlimited ? py::object(py::none()) : py::int_(grant.limit);
    quotas[to_str(catalog.quotas()[i].name)] =
        py::make_tuple(limit, grant.soft, grant.grace, name_of(kOrigins, own.quota_origins[i]));
  }
  py::dict limits;
  for (size_t i = 0; i < own.limits.size(); ++i) {
    limits[to_str(catalog.actions()[i])] =
        py::make_tuple(rule_dict(own.limits[i]), name_of(kOrigins, own.limit_origins[i]));
  }
  py::dict features;
  for (size_t i = 0; i < own.features.size(); ++i) {
    features[to_str(catalog.features()[i])] = py::make_tuple(
        static_cast<bool>(own.features[i]), name_of(kOrigins, own.feature_origins[i]));
  }
  py::dict result;
  result["plan"] = own.plan;
  result["quotas"] = quotas;
  result["rate_limits"] = limits;
  result["default_limit"] =
      py::make_tuple(rule_dict(own.default_limit), name_of(kOrigins, own.default_limit_origin));
  result["features"] = features;
  result["isolation"] =
      py::make_tuple(name_of(kIsolations, own.isolation), name_of(kOrigins, own.isolation_origin));
  const py::object days =
      own.retention_days == 0 ? py::object(py::none()) : py::int_(own.retention_days);
  result["retention_days"] = py::make_tuple(days, name_of(kOrigins, own.retention_origin));
  return result;
}

namespace {

py::dict quota_dict(const QuotaDef& quota) {
  py::dict result;
  result["kind"] = name_of(kKinds, quota.kind);
  const bool periodic = quota.kind == QuotaKind::kConsumption;
  result["period"] = text_or_none(periodic ? period_unit_name(quota.period) : "");
  result["anchored"] = quota.anchored;
  result["unit"] = text_or_none(quota.unit);
  py::tuple alerts(quota.alert_percents.size());
  for (size_t i = 0; i < alerts.size(); ++i) alerts[i] = py::int_(quota.alert_percents[i]);
  result["alerts"] = alerts;
  result["lease_ns"] = quota.lease_ns == 0 ? py::object(py::none()) : py::int_(quota.lease_ns);
  return result;
}

py::dict plan_dict(const Catalog& catalog, const Plan& plan) {
  py::dict result;
  result["title"] = plan.title;
  switch (plan.price.kind) {
    case PlanPrice::Kind::kAbsent: result["price"] = py::none(); break;
    case PlanPrice::Kind::kAmount: result["price"] = plan.price.amount; break;
    case PlanPrice::Kind::kCustom: result["price"] = "custom"; break;
  }
  result["currency"] = plan.currency;
  result["period"] = to_str(period_unit_name(plan.price_period));
  result["all_features"] = plan.all_features;
  result["price_book"] = text_or_none(plan.price_book);
  result["entitlements"] = entitlements_dict(catalog, plan.entitlements);
  return result;
}

// By class (mode, share as text, most per second); what happens when the log is full; fields that
// are sealed.
py::dict audit_dict(const AuditPolicy& policy) {
  static constexpr const char* kModes[] = {"always", "never", "refusals", "sampled", "per_second"};
  py::dict result;
  for (size_t i = 0; i < kAuditClasses; ++i) {
    const AuditRule& rule = policy.rules[i];
    py::object share = py::none();
    if (rule.mode == AuditRule::Mode::kSampled) {
      std::string digits = std::to_string(rule.per_million + 10'000'000).substr(1);
      share = to_str(digits.insert(1, "."));
    }
    py::object most = py::none();
    if (rule.mode == AuditRule::Mode::kBounded) most = py::int_(rule.per_second);
    result[to_str(kAuditClassNames[i])] = py::make_tuple(name_of(kModes, rule.mode), share, most);
  }
  result["on_full"] = policy.count_when_full ? "count" : "refuse";
  py::dict days;
  for (size_t i = 0; i < kRetentionClasses; ++i) {
    days[to_str(kRetentionClassNames[i])] = policy.retention.days[i];
  }
  result["retention"] = days;
  result["archive"] = policy.retention.archive.empty()
                          ? py::object(py::none())
                          : py::object(to_str(policy.retention.archive));
  py::list personal;
  for (const std::string& name : policy.personal.names) personal.append(to_str(name));
  result["personal"] = personal;
  return result;
}

py::dict metric_dict(const MetricDef& metric) {
  py::dict result;
  result["aggregation"] = to_str(kAggregationNames[static_cast<size_t>(metric.aggregation)]);
  result["unit"] = text_or_none(metric.unit);
  result["description"] = metric.description;
  result["unique_by"] = text_or_none(metric.unique_by);
  result["group_by"] = text_tuple(metric.group_by);
  result["quota"] = text_or_none(metric.quota);
  return result;
}

py::dict describe(const Catalog& catalog) {
  py::dict quotas;
  for (const QuotaDef& quota : catalog.quotas()) quotas[to_str(quota.name)] = quota_dict(quota);
  py::dict plans;
  for (const Plan& plan : catalog.plans()) plans[to_str(plan.name)] = plan_dict(catalog, plan);
  py::dict roles;
  for (const RoleDef& role : catalog.roles()) {
    roles[to_str(role.name)] = py::make_tuple(text_tuple(role.permissions), text_tuple(role.denies),
                                              text_tuple(role.inherits));
  }
  py::list duties;
  for (const DutyRule& duty : catalog.duties()) {
    duties.append(py::make_tuple(duty.name, text_tuple(duty.roles), duty.at_most, duty.dynamic));
  }
  py::list limits;
  for (const LimitRule& rule : catalog.limits()) limits.append(rule_dict(rule));
  const uint32_t plan = catalog.default_plan();
  const uint32_t action = catalog.default_action();
  py::dict result;
  result["name"] = catalog.name();
  result["version"] = catalog.version();
  result["currency"] = catalog.currency();
  result["default_plan"] =
      plan == kNoIndex ? py::object(py::none()) : to_str(catalog.plans()[plan].name);
  result["default_action"] =
      action == kNoIndex ? py::object(py::none()) : to_str(catalog.actions()[action]);
  result["features"] = text_tuple(catalog.features());
  result["actions"] = text_tuple(catalog.actions());
  result["permissions"] = text_tuple(catalog.permissions());
  result["quotas"] = quotas;
  result["roles"] = roles;
  result["duties"] = duties;
  result["audit"] = audit_dict(catalog.audit());
  result["limits"] = limits;
  py::dict metrics;
  for (const MetricDef& each : catalog.metrics()) metrics[to_str(each.name)] = metric_dict(each);
  result["metrics"] = metrics;
  result["metering"] = py::make_tuple(catalog.metering().grace_ns, catalog.metering().ahead_ns);
  const BillingPolicy& billing = catalog.billing();
  result["billing"] = py::make_tuple(
      to_str(period_unit_name(billing.period)), billing.anchored,
      to_str(kFeesNames[static_cast<size_t>(billing.fees)]),
      to_str(kPriceChangesNames[static_cast<size_t>(billing.price_changes)]), billing.dispute_ns);
  py::list books;
  for (const auto& book : catalog.price_books()) books.append(to_str(book->name));
  result["price_books"] = py::tuple(books);
  result["plans"] = plans;
  return result;
}

// The catalog, or what is wrong with it.
py::object parse(const py::str& text) {
  const Json document = value_or_raise(Json::parse(utf8_view(text)));
  std::vector<CatalogError> errors;
  const std::shared_ptr<const Catalog> catalog = Catalog::parse(document, &errors);
  if (catalog == nullptr) return error_list(errors);
  // pybind11 holders cannot be const; nothing bound here changes it.
  return py::cast(std::const_pointer_cast<Catalog>(catalog));
}

py::object effective(const Catalog& catalog, const py::str& plan, const py::str& overrides) {
  const uint32_t index = catalog.plan_index(utf8_view(plan));
  if (index == kNoIndex) {
    raise_error({Code::kNotFound, "unknown plan \"" + std::string(utf8_view(plan)) + "\""});
  }
  std::vector<CatalogError> errors;
  const auto own =
      catalog.effective(index, value_or_raise(Json::parse(utf8_view(overrides))), &errors);
  if (own == nullptr) return error_list(errors);
  return entitlements_dict(catalog, *own);
}

}  // namespace

void bind_catalog(py::module_& module) {
  py::class_<Catalog, std::shared_ptr<Catalog>>(module, "Catalog")
      .def_static("parse", &parse, py::arg("json"))
      .def("describe", &describe)
      .def("effective", &effective, py::arg("plan"), py::arg("overrides"));
}

}  // namespace tenancy
