#include "tenancy/catalog/metric_reader.h"

#include <algorithm>
#include <optional>
#include <string>
#include <string_view>

#include "tenancy/catalog/amounts.h"
#include "tenancy/catalog/names.h"

namespace tenancy {
namespace {

constexpr size_t kMetricDefsMax = 256;
constexpr size_t kGroupByMax = 16;
constexpr int64_t kDayNs = 86'400 * int64_t{1'000'000'000};
constexpr int64_t kGraceMaxNs = 366 * kDayNs;
constexpr int64_t kAheadMaxNs = kDayNs;

void read_quota(const Field& field, const std::vector<QuotaDef>& quotas, MetricDef* metric) {
  const std::string name = field.name().value_or("");
  if (name.empty()) return;
  std::vector<std::string_view> known;
  for (const QuotaDef& quota : quotas) known.emplace_back(quota.name);
  const auto found = std::ranges::find(known, std::string_view(name));
  if (found == known.end()) return field.unknown("quota", name, known);
  const QuotaKind kind = quotas[static_cast<size_t>(found - known.begin())].kind;
  if (kind != QuotaKind::kConsumption && kind != QuotaKind::kCount && kind != QuotaKind::kSize) {
    return field.expected("a quota of kind \"consumption\", \"count\" or \"size\"");
  }
  metric->quota = name;
}

void read_unique_by(const Field& metric, MetricDef* out) {
  const Field property = metric.member("unique_by");
  const bool unique = out->aggregation == Aggregation::kUnique;
  if (property.present() && !unique) {
    property.error("only metrics with the aggregation \"unique\" have it; remove it");
  } else if (property.present()) {
    out->unique_by = property.name().value_or("");
  } else if (unique) {
    metric.error("\"unique_by\" is missing: the property whose different values are counted");
  }
}

MetricDef read_metric_def(const std::string& name, const Field& field,
                          const std::vector<QuotaDef>& quotas) {
  MetricDef metric;
  metric.name = name;
  if (!field.is_mapping_of(
          {"aggregation", "unit", "description", "unique_by", "group_by", "quota"})) {
    return metric;
  }
  if (const Field how = field.member("aggregation"); how.present()) {
    const std::optional<size_t> chosen =
        how.choice({kAggregationNames[0], kAggregationNames[1], kAggregationNames[2],
                    kAggregationNames[3], kAggregationNames[4], kAggregationNames[5]});
    if (!chosen) return metric;
    metric.aggregation = static_cast<Aggregation>(*chosen);
  }
  read_unique_by(field, &metric);
  if (const Field unit = field.member("unit"); unit.present()) {
    metric.unit = unit.text("the name of a unit").value_or("");
  }
  if (const Field text = field.member("description"); text.present()) {
    metric.description = text.text("a description").value_or("");
  }
  if (const Field groups = field.member("group_by"); groups.present()) {
    metric.group_by = groups.texts(is_name, kNameRule);
    if (metric.group_by.size() > kGroupByMax) {
      groups.error("expected at most " + std::to_string(kGroupByMax) + " properties");
    }
  }
  if (const Field quota = field.member("quota"); quota.present()) {
    read_quota(quota, quotas, &metric);
  }
  return metric;
}

}  // namespace

std::vector<MetricDef> read_metric_defs(const Field& field, const std::vector<QuotaDef>& quotas) {
  std::vector<MetricDef> metrics;
  if (!field.present() || !field.is_mapping()) return metrics;
  const size_t count = field.json().as_object().size();
  if (count > kMetricDefsMax) {
    field.error("expected at most " + std::to_string(kMetricDefsMax) + " members, got " +
                std::to_string(count));
    return metrics;
  }
  for (const auto& [name, value] : field.members()) {
    if (is_name(name)) {
      metrics.push_back(read_metric_def(name, value, quotas));
    } else {
      value.error("the name of a metric must be " + std::string(kNameRule));
    }
  }
  return metrics;
}

MeteringPolicy read_metering_policy(const Field& field) {
  MeteringPolicy policy;
  if (!field.present() || !field.is_mapping_of({"grace", "ahead"})) return policy;
  read_length(field.member("grace"), kGraceMaxNs, "3 days", "at most 366 days", &policy.grace_ns);
  read_length(field.member("ahead"), kAheadMaxNs, "5 minutes", "at most a day", &policy.ahead_ns);
  return policy;
}

}  // namespace tenancy
