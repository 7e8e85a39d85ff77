// The states of a tenant and the ways between them.
#include <array>

#include "tenancy/tenants/registry.h"

namespace tenancy {
namespace {

constexpr std::array<std::string_view, kTenantStatuses> kNames{
    "pending", "trial", "active", "suspended", "churned", "deleted", "purged"};

constexpr uint8_t bit(TenantStatus status) {
  return static_cast<uint8_t>(1U << static_cast<unsigned>(status));
}

// By `from`: the states that may follow. Deleted → suspended is the restore.
constexpr std::array<uint8_t, kTenantStatuses> kNext{
    bit(TenantStatus::kTrial) | bit(TenantStatus::kActive) | bit(TenantStatus::kDeleted),
    bit(TenantStatus::kActive) | bit(TenantStatus::kSuspended) | bit(TenantStatus::kChurned) |
        bit(TenantStatus::kDeleted),
    bit(TenantStatus::kSuspended) | bit(TenantStatus::kChurned) | bit(TenantStatus::kDeleted),
    bit(TenantStatus::kActive) | bit(TenantStatus::kChurned) | bit(TenantStatus::kDeleted),
    bit(TenantStatus::kActive) | bit(TenantStatus::kDeleted),
    bit(TenantStatus::kSuspended) | bit(TenantStatus::kPurged),
    0,
};

}  // namespace

std::string_view status_name(TenantStatus status) { return kNames[static_cast<size_t>(status)]; }

Result<TenantStatus> status_from_name(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == name) return static_cast<TenantStatus>(i);
  }
  return {Code::kInvalidArgument,
          "status: expected pending, trial, active, suspended, churned, deleted or purged, got \"" +
              std::string(name) + "\""};
}

bool status_may_become(TenantStatus from, TenantStatus to) {
  return (kNext[static_cast<size_t>(from)] & bit(to)) != 0;
}

}  // namespace tenancy
