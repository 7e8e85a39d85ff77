// TenantKeyCache: tenant keys of the tenants seen last, because computing one costs a hash.
// Internal.
//
// Thread safety: one thread at a time.
#pragma once

#include <array>
#include <cstring>
#include <functional>
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
    Entry& entry = entries_[(std::hash<std::string_view>{}(tenant) ^ index(chain)) % kEntries];
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
  static constexpr size_t kEntries = 256;
  struct Entry {
    bool used = false;
    Class chain = Class::kSecurity;
    LogId log_id{};
    std::string tenant;
    TenantKey key{};
  };
  std::array<Entry, kEntries> entries_;
};

}  // namespace tenancy::log
