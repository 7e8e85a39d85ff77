// Decide: the answer to one AccessQuery from a State. The hot path: no allocation, no lock.
//
// Thread safety: pure functions over immutable states.
#pragma once

#include <span>
#include <string_view>

#include "tenancy/access/access.h"
#include "tenancy/access/state.h"

namespace tenancy::access {

constexpr size_t kPrincipalBytesMax = 512;

// A permission asked for. Known ones carry one identifier, and its parts are read only when a
// closure with wildcards is met.
class Question {
 public:
  static bool ask(const State& state, std::string_view permission, Question* out);

  Verdict judge(const Closure& closure) const {
    Verdict verdict = closure.exact(exact_);
    if (closure.flags().wildcards) verdict |= closure.wildcard(parts());
    return verdict;
  }
  // What the role gives, with all that it inherits.
  Verdict judge(const TenantAccess* owner, RoleCode role) const {
    Verdict verdict;
    state_->for_each_part(owner, role, [&](const Closure& part) { verdict |= judge(part); });
    return verdict;
  }
  Permission parts() const { return exact_ == kNoId ? unknown_ : state_->symbols.parts(exact_); }
  bool covers(PatternKey key) const;

 private:
  const State* state_ = nullptr;
  uint32_t exact_ = kNoId;
  Permission unknown_;
};

AccessReason decide(const State& state, const AccessQuery& query);

// The same in steps, for many permissions of one principal or many principals of one tenant.
AccessReason within_scopes(const State& state, ScopeSetId scopes, const Question& question);
NameMap::Found find_principal(const TenantAccess* tenant, std::string_view principal);
AccessReason judge_holding(const State& state, const TenantAccess& tenant, NameMap::Found holding,
                           const Question& question, const AccessQuery& query);

}  // namespace tenancy::access
