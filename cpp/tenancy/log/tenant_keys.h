// TenantKeyCache: tenant keys of the tenants seen last, because computing one costs a hash.
// Internal.
//
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

#include "tenancy/log/types.h"

namespace tenancy::log {

struct TenantKeyHash {
  size_t operator()(const TenantKey& key) const {
    size_t word;
    std::memcpy(&word, key.data(), sizeof word);  // a hash already
    return word;
  }
};

class TenantKeyCache {
 public:
  const TenantKey& get(const LogId& log_id, Class chain, std::string_view tenant) {
    Entry& entry = entries_[place(chain, tenant)];
    if (!entry.used || entry.chain != chain || entry.tenant != tenant || entry.log_id != log_id) {
      entry.key = tenant_key(log_id, chain, tenant);
      entry.tenant = tenant;
      entry.chain = chain;
      entry.log_id = log_id;
      entry.used = true;
    }
    return entry.key;
  }

 private:
  static constexpr unsigned kEntriesLog2 = 8;
  static constexpr size_t kEntries = size_t{1} << kEntriesLog2;
  struct Entry {
    bool used = false;
    Class chain = Class::kSecurity;
    LogId log_id{};
    std::string tenant;
    TenantKey key{};
  };
  // Ids differ in their last characters; those that meet in a place only take turns in it.
  static size_t place(Class chain, std::string_view tenant) {
    uint64_t last = 0;
    if (tenant.size() >= sizeof last) {
      std::memcpy(&last, tenant.data() + tenant.size() - sizeof last, sizeof last);
    } else if (!tenant.empty()) {
      std::memcpy(&last, tenant.data(), tenant.size());
    }
    return ((last ^ index(chain)) * 0x9e3779b97f4a7c15) >> (64 - kEntriesLog2);
  }

  std::array<Entry, kEntries> entries_;
};

}  // namespace tenancy::log
