// Symbols: the resources, actions and permissions that roles and scopes mention, as small numbers.
//
// Numbers are given once and never again, so closures of older snapshots stay right. Names are
// shared by all tenants, but only as numbers: which permissions a tenant *knows* is answered from
// its own roles.
//
// Ownership: a value; copies share. Thread safety: as in cow.h.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "tenancy/access/closure.h"
#include "tenancy/access/cow.h"
#include "tenancy/access/name_map.h"

namespace tenancy::access {

class Symbols {
 public:
  // The identifiers of a permission. False when it is not "resource:action".
  bool resolve(std::string_view permission, Permission* out) const;
  // The hot path's halves: the identifier of a known permission or kNoId, and the rest of it.
  uint32_t find_exact(std::string_view permission) const {
    const uint32_t value = permissions_.find(permission).value;
    return value == 0 ? kNoId : value - 1;
  }
  Permission parts(uint32_t exact) const { return exact_[exact]; }

  // `pattern` must be well-formed. Makes identifiers for names that are new.
  PatternKey intern(std::string_view pattern, EditToken token);
  // The text of a key that is not an ancestor.
  std::string text(PatternKey key) const;
  const std::string& resource_name(uint32_t id) const { return resource_names_[id]; }
  const std::string& action_name(uint32_t id) const { return action_names_[id]; }

  size_t permission_count() const { return exact_.size(); }
  size_t memory_bytes() const;

 private:
  static constexpr uint32_t kChunk = 256;

  uint32_t intern_side(NameMap& names, CowVector<std::string, kChunk>& texts, std::string_view name,
                       EditToken token);

  NameMap permissions_;  // identifiers + 1
  NameMap resources_;    // identifiers, from 1
  NameMap actions_;      // identifiers, from 1
  CowVector<Permission, kChunk> exact_;
  CowVector<std::string, kChunk> resource_names_;
  CowVector<std::string, kChunk> action_names_;
};

}  // namespace tenancy::access
