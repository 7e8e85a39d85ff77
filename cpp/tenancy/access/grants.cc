#include "tenancy/access/grants.h"

#include <algorithm>
#include <cstring>
#include <tuple>

namespace tenancy::access {

namespace {

bool is_plain(const Grant& grant) { return grant.resource.empty() && grant.until_ns == kForever; }

// Two or three plain roles as one number, or 0 where that cannot be.
uint32_t pack(const std::vector<Grant>& grants) {
  if (grants.size() > kPackedRoles) return 0;
  uint32_t packed = 0;
  for (size_t i = grants.size(); i-- > 0;) {
    if (!is_plain(grants[i]) || role_index(grants[i].role) > kPackedIndexMax) return 0;
    packed = packed << kPackedBits | (is_own(grants[i].role) ? kPackedOwn : 0) |
             (role_index(grants[i].role) + 1);
  }
  return packed | kPackedBit;
}

void append_limited(const Grant& grant, std::vector<uint32_t>* words) {
  const auto until = static_cast<uint64_t>(grant.until_ns);
  words->push_back(grant.role);
  words->push_back(static_cast<uint32_t>(until));
  words->push_back(static_cast<uint32_t>(until >> 32));
  words->push_back(static_cast<uint32_t>(grant.resource.size()));
  const size_t begin = words->size();
  words->resize(begin + (grant.resource.size() + 3) / 4);
  if (!grant.resource.empty()) {
    std::memcpy(words->data() + begin, grant.resource.data(), grant.resource.size());
  }
}

}  // namespace

std::vector<Grant> read_grants(NameMap::Found holding) {
  std::vector<Grant> grants;
  for_each_grant(holding, [&](RoleCode role, std::string_view resource, int64_t until_ns) {
    grants.push_back({role, std::string(resource), until_ns});
    return true;
  });
  return grants;
}

void write_grants(NameMap& principals, std::string_view principal, std::vector<Grant> grants,
                  EditToken token) {
  if (grants.empty()) {
    principals.erase(principal, token);
    return;
  }
  if (grants.size() == 1 && is_plain(grants[0])) {
    principals.put(principal, grants[0].role + 1, token);
    return;
  }
  std::ranges::sort(grants, [](const Grant& a, const Grant& b) {
    return std::make_tuple(!is_plain(a), a.role, std::string_view(a.resource)) <
           std::make_tuple(!is_plain(b), b.role, std::string_view(b.resource));
  });
  if (const uint32_t packed = pack(grants); packed != 0) {
    principals.put(principal, packed, token);
    return;
  }
  std::vector<uint32_t> words{0, 0};
  for (const Grant& grant : grants) {
    if (is_plain(grant)) {
      words.push_back(grant.role);
      ++words[1];
    } else {
      append_limited(grant, &words);
    }
  }
  principals.put_record(principal, words, token);
}

}  // namespace tenancy::access
