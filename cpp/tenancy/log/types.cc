#include "tenancy/log/types.h"

#include <algorithm>

#include "tenancy/log/bytes.h"

namespace tenancy::log {

std::optional<Class> class_from_name(std::string_view name) {
  for (size_t i = 0; i < kClasses; ++i) {
    if (kClassNames[i] == name) return static_cast<Class>(i);
  }
  return std::nullopt;
}

TenantKey tenant_key(const LogId& log_id, Class chain, std::string_view tenant) {
  const char code = static_cast<char>(chain);
  Sha256 hash;
  hash.add("tenancy log tenant");
  hash.add(view_of(log_id));
  hash.add({&code, 1});
  hash.add(tenant);
  const Digest256 digest = hash.finish();
  TenantKey key;
  std::copy_n(digest.begin(), key.size(), key.begin());
  return key;
}

}  // namespace tenancy::log
