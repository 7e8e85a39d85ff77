// BillingPolicy: by which periods tenants are billed, and when fees and new prices count. It is
// read from the member "billing" of a catalog.
//
// Thread safety: plain values; reading is a pure function.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "tenancy/base/civil.h"

namespace tenancy {

class Field;

// When base fees and seats are charged; usage is always charged when its period has ended.
enum class Fees : uint8_t { kInArrears = 0, kInAdvance };
constexpr std::array<std::string_view, 2> kFeesNames = {"in_arrears", "in_advance"};

// From when a new price of a plan counts: from the next period on, or from its own time.
enum class PriceChanges : uint8_t { kNextPeriod = 0, kAtOnce };
constexpr std::array<std::string_view, 2> kPriceChangesNames = {"next_period", "at_once"};

struct BillingPolicy {
  PeriodUnit period = PeriodUnit::kMonth;  // of plans that name none; kDay or longer
  bool anchored = true;  // periods begin on the subscription's day, not the calendar's
  Fees fees = Fees::kInArrears;
  PriceChanges price_changes = PriceChanges::kNextPeriod;
  // How long the usage of a tenant that was purged is kept after its last document.
  int64_t dispute_ns = 90 * 86'400 * int64_t{1'000'000'000};
};

// What could be read; the rest was reported.
BillingPolicy read_billing_policy(const Field& field);

}  // namespace tenancy
