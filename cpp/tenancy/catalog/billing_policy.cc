#include "tenancy/catalog/billing_policy.h"

#include <optional>

#include "tenancy/catalog/amounts.h"

namespace tenancy {
namespace {

constexpr int64_t kDisputeMaxNs = 366 * 86'400 * int64_t{1'000'000'000};

}  // namespace

BillingPolicy read_billing_policy(const Field& field) {
  BillingPolicy policy;
  if (!field.present() ||
      !field.is_mapping_of({"period", "anchor", "fees", "price_changes", "dispute"})) {
    return policy;
  }
  if (const Field period = field.member("period"); period.present()) {
    const std::optional<size_t> unit = period.choice({"day", "week", "month", "quarter", "year"});
    if (unit)
      policy.period = static_cast<PeriodUnit>(*unit + static_cast<size_t>(PeriodUnit::kDay));
  }
  if (const Field anchor = field.member("anchor"); anchor.present()) {
    policy.anchored = anchor.choice({"calendar", "subscription"}).value_or(1) == 1;
  }
  if (const Field fees = field.member("fees"); fees.present()) {
    policy.fees = static_cast<Fees>(fees.choice({kFeesNames[0], kFeesNames[1]}).value_or(0));
  }
  if (const Field changes = field.member("price_changes"); changes.present()) {
    policy.price_changes = static_cast<PriceChanges>(
        changes.choice({kPriceChangesNames[0], kPriceChangesNames[1]}).value_or(0));
  }
  read_length(field.member("dispute"), kDisputeMaxNs, "90 days", "at most 366 days",
              &policy.dispute_ns);
  return policy;
}

}  // namespace tenancy
