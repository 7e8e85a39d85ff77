// Grants: how one principal's assignments are written as the value of a NameMap.
//
// The usual case, one role for ever and everywhere, is a bare number: the role's code + 1. So are
// two or three such roles with small codes, ten bits each. Everything else is a record: [words,
// plain roles, their codes…, then per limited grant: code, until (2 words), bytes of the resource,
// the resource padded to words].
//
// Thread safety: pure functions over immutable shards.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/access/access.h"
#include "tenancy/access/closure.h"
#include "tenancy/access/name_map.h"

namespace tenancy::access {

// A number of several roles: ten bits each from the lowest, position + 1 and kPackedOwn; 0 ends.
constexpr uint32_t kPackedBit = uint32_t{1} << 30;
constexpr uint32_t kPackedRoles = 3;
constexpr uint32_t kPackedBits = 10;
constexpr uint32_t kPackedOwn = 512;
constexpr uint32_t kPackedIndexMax = 510;

struct Grant {
  RoleCode role = kNoRole;
  std::string resource;  // empty: everywhere
  int64_t until_ns = kForever;
};

// Calls fn(RoleCode, std::string_view resource, int64_t until_ns) for each grant; fn returns false
// to stop.
template <class Fn>
void for_each_grant(NameMap::Found holding, Fn&& fn) {
  if (!holding) return;
  if (!holding.is_record()) {
    if ((holding.value & kPackedBit) == 0) {
      fn(holding.value - 1, std::string_view(), kForever);
      return;
    }
    for (uint32_t left = holding.value & ~kPackedBit; left != 0; left >>= kPackedBits) {
      const uint32_t position = (left & (kPackedOwn - 1)) - 1;
      if (!fn((left & kPackedOwn) != 0 ? position | kOwnRole : position, std::string_view(),
              kForever)) {
        return;
      }
    }
    return;
  }
  const std::span<const uint32_t> words = holding.record();
  const uint32_t* word = words.data() + 1;
  const uint32_t* const end = words.data() + words.size();
  for (uint32_t plain = *word++; plain > 0; --plain) {
    if (!fn(*word++, std::string_view(), kForever)) return;
  }
  while (word != end) {
    const auto until =
        static_cast<int64_t>(static_cast<uint64_t>(word[1]) | static_cast<uint64_t>(word[2]) << 32);
    const uint32_t bytes = word[3];
    const std::string_view resource(reinterpret_cast<const char*>(word + 4), bytes);
    if (!fn(word[0], resource, until)) return;
    word += 4 + (bytes + 3) / 4;
  }
}

// Does a grant count in a query about `resource` at `wall_ns`? It ends the moment `until_ns` is
// reached.
inline bool counts(std::string_view limited_to, int64_t until_ns, std::string_view resource,
                   int64_t wall_ns) {
  return wall_ns < until_ns && (limited_to.empty() || limited_to == resource);
}

std::vector<Grant> read_grants(NameMap::Found holding);
// Writes all of a principal's grants; none: the principal is forgotten.
void write_grants(NameMap& principals, std::string_view principal, std::vector<Grant> grants,
                  EditToken token);

}  // namespace tenancy::access
