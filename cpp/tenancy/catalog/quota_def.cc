#include "tenancy/catalog/quota_def.h"

#include <optional>

#include "tenancy/catalog/amounts.h"

namespace tenancy {

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kLeaseDefaultNs = 60 * kSecondNs;
constexpr int64_t kLeaseMinNs = kSecondNs;
constexpr int64_t kLeaseMaxNs = 7 * 86'400 * kSecondNs;
constexpr size_t kAlertsMax = 8;
constexpr int64_t kAlertPercentMax = 200;  // soft quotas go beyond 100

// Members that mean something for one kind only.
void refuse_for_other_kinds(const Field& field, const QuotaDef& quota) {
  const bool consumption = quota.kind == QuotaKind::kConsumption;
  if (!consumption && field.member("period").present()) {
    field.member("period").error("only quotas of kind \"consumption\" have a period; remove it");
  }
  if (!consumption && field.member("anchor").present()) {
    field.member("anchor").error("only quotas of kind \"consumption\" have an anchor; remove it");
  }
  if (quota.kind != QuotaKind::kConcurrency && field.member("lease").present()) {
    field.member("lease").error("only quotas of kind \"concurrency\" have a lease; remove it");
  }
  if (quota.kind == QuotaKind::kPerObject && field.member("alerts").present()) {
    field.member("alerts").error(
        "quotas of kind \"per_object\" count nothing to alert about; remove it");
  }
}

void read_alerts(const Field& field, QuotaDef* quota) {
  if (!field.is_list()) return;
  quota->alert_percents.clear();
  const size_t count = field.json().as_array().size();
  if (count > kAlertsMax) {
    field.error("expected at most " + std::to_string(kAlertsMax) + " thresholds, got " +
                std::to_string(count));
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    const Field item = field.element(i);
    const std::optional<int64_t> percent = item.integer(1, kAlertPercentMax);
    if (!percent) continue;
    const auto value = static_cast<uint8_t>(*percent);
    if (!quota->alert_percents.empty() && value <= quota->alert_percents.back()) {
      item.expected("thresholds in ascending order, each once");
      continue;
    }
    quota->alert_percents.push_back(value);
  }
}

void read_period(const Field& field, QuotaDef* quota) {
  const std::optional<size_t> unit =
      field.choice({"minute", "hour", "day", "week", "month", "quarter", "year"});
  if (unit) quota->period = static_cast<PeriodUnit>(*unit);
}

void read_lease(const Field& field, QuotaDef* quota) {
  const std::optional<int64_t> lease_ns = read_duration(field, "60s");
  if (!lease_ns) return;
  if (*lease_ns < kLeaseMinNs || *lease_ns > kLeaseMaxNs) {
    field.expected("a lease from 1 second to 7 days");
    return;
  }
  quota->lease_ns = *lease_ns;
}

}  // namespace

QuotaDef read_quota_def(const std::string& name, const Field& field) {
  QuotaDef quota;
  quota.name = name;
  quota.alert_percents = {80, 100};
  if (!field.is_mapping_of({"kind", "period", "anchor", "unit", "alerts", "lease"})) return quota;
  const Field kind = field.member("kind");
  if (!kind.present()) {
    field.error(
        "\"kind\" is missing: \"count\", \"consumption\", \"size\", \"per_object\" or "
        "\"concurrency\"");
    return quota;
  }
  const std::optional<size_t> chosen =
      kind.choice({"count", "consumption", "size", "per_object", "concurrency"});
  if (!chosen) return quota;
  quota.kind = static_cast<QuotaKind>(*chosen);
  refuse_for_other_kinds(field, quota);
  if (quota.kind == QuotaKind::kSize) quota.unit = "bytes";
  if (quota.kind == QuotaKind::kConcurrency) quota.lease_ns = kLeaseDefaultNs;
  if (quota.kind == QuotaKind::kPerObject) quota.alert_percents.clear();
  if (const Field unit = field.member("unit"); unit.present()) {
    quota.unit = unit.text("the name of a unit").value_or("");
  }
  if (const Field alerts = field.member("alerts"); alerts.present()) read_alerts(alerts, &quota);
  if (const Field period = field.member("period"); period.present()) read_period(period, &quota);
  if (const Field lease = field.member("lease"); lease.present()) read_lease(lease, &quota);
  if (const Field anchor = field.member("anchor"); anchor.present()) {
    quota.anchored = anchor.choice({"calendar", "subscription"}) == size_t{1};
  }
  return quota;
}

}  // namespace tenancy
