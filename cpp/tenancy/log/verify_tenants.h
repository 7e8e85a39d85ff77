// TenantStates: the heads of all tenants of one chain while it is read. Internal.
//
// Thread safety: one thread at a time. A plain value.
#pragma once

#include <absl/container/flat_hash_map.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/log/tenant_keys.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

class TenantStates {
 public:
  TenantStates(const LogId& log_id, Class chain) : log_id_(log_id), chain_(chain) {}

  // What a stub says of a tenant whose name it does not know; false unless the sequence rises.
  bool learn(const TenantEntry& entry);
  // The head of that tenant; its sequence is 0 before the first record.
  TenantEntry& of(std::string_view tenant);
  // It got a record; it belongs to the open segment from here on.
  void touch(TenantEntry& entry, uint64_t sequence, const Tag& tag);
  // A new segment begins.
  void begin_segment();

  uint64_t size() const { return entries_.size(); }
  std::vector<TenantEntry> of_segment() const;  // ascending by key
  std::vector<TenantEntry> all() const;         // ascending by key

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };

  uint32_t add(const TenantEntry& entry);

  LogId log_id_;
  Class chain_;
  absl::flat_hash_map<std::string, uint32_t, Hash, std::equal_to<>> names_;
  absl::flat_hash_map<TenantKey, uint32_t, TenantKeyHash> learnt_;
  std::vector<TenantEntry> entries_;
  std::vector<uint32_t> segments_;  // by entry: the segment it was touched in last
  std::vector<uint32_t> touched_;
  uint32_t segment_ = 0;
};

// The root of the tenant tree over entries that ascend by key. (LOG_FORMAT.md, 8.3)
Digest256 tenants_root(const std::vector<TenantEntry>& entries);

}  // namespace tenancy::log
