// Which slots belong to a quota of a tenant. Internal.
//
// Everything is derived from the tenant's seed, the quota's name, its kind and its unit of time;
// plan, limit, time zone and anchor are no part of it, so changing those keeps what was used.
#pragma once

#include <cstdint>

#include "tenancy/base/hash.h"
#include "tenancy/quotas/cells.h"
#include "tenancy/quotas/quotas.h"

namespace tenancy::quotas {

inline uint64_t quota_root(const HashKey& hash_key, const QuotaTarget& target) {
  const uint64_t name_hash =
      target.name_hash != 0 ? target.name_hash : siphash(hash_key, target.def->name);
  const uint64_t name = siphash_join(hash_key, target.tenant_seed, name_hash);
  const auto unit = target.def->kind == QuotaKind::kConsumption
                        ? static_cast<uint64_t>(target.def->period) + 1
                        : 0;
  return siphash_join(hash_key, name, static_cast<uint64_t>(target.def->kind) << 8 | unit);
}

// The counters of one period. Periods are told apart by their start; quotas without periods use 0.
inline uint64_t usage_key(const HashKey& hash_key, uint64_t root, int64_t start_wall_ns) {
  return usable_key(siphash_join(hash_key, root, static_cast<uint64_t>(start_wall_ns)));
}

// Starts of periods are whole seconds, so these cannot be one of them.
inline uint64_t period_key(const HashKey& hash_key, uint64_t root) {
  return usable_key(siphash_join(hash_key, root, 1));
}
inline uint64_t lease_key(const HashKey& hash_key, uint64_t root) {
  return usable_key(siphash_join(hash_key, root, 2));
}

}  // namespace tenancy::quotas
