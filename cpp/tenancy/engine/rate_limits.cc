// The stages that count: which limits a request meets, and taking from them.
#include <algorithm>

#include "tenancy/base/hash.h"
#include "tenancy/engine/engine.h"
#include "tenancy/engine/scope.h"

namespace tenancy {
namespace {

constexpr uint8_t kIdentityBits = kScopeTenant | kScopeUser | kScopeKey;

bool before_identity(const LimitRule& rule) {
  return (rule.scope & (kIdentityBits | kScopeEndpoint)) == 0;
}
bool of_identity(const LimitRule& rule) {
  return (rule.scope & kIdentityBits) != 0 && (rule.scope & kScopeEndpoint) == 0;
}
bool of_endpoint(const LimitRule& rule) { return (rule.scope & kScopeEndpoint) != 0; }

LimitHit hit_of(const LimitEntry& entry) {
  return {entry.policy, entry.group, entry.key, entry.cost, entry.region};
}

int64_t longer_wait(int64_t a, int64_t b) {
  return a == kNever || b == kNever ? kNever : std::max(a, b);
}

}  // namespace

Engine::Scope Engine::scope_of(const Request& request, const Decision& decision) const {
  const HashKey& key = counters_->hash_key();
  Scope scope;
  if (!request.endpoint.empty()) scope.endpoint = siphash(key, request.endpoint);
  if (!decision.ip.empty()) scope.ip = siphash(key, decision.ip);
  add_identity(decision, &scope);
  return scope;
}

void Engine::add_identity(const Decision& decision, Scope* scope) const {
  if (decision.tenant != nullptr) scope->tenant = decision.tenant->seed;
  if (decision.key != nullptr) scope->key = decision.key->seed;
  if (!decision.principal.empty()) {
    scope->user = siphash(counters_->hash_key(), decision.principal);
  } else {
    scope->user = scope->key;  // a service key without a user is its own user
  }
}

// Adds the windows of a rule to the decision, addressed by the parts of its scope. A rule whose
// part is absent does not apply. False when there is no room, which `apply` has made impossible.
bool Engine::add_rule(const LimitRule& rule, uint64_t rule_hash, const Scope& scope, uint64_t cost,
                      bool before, Decision* decision) const {
  const HashKey& key = counters_->hash_key();
  uint64_t group = rule_hash;
  const auto join = [&](uint8_t bit, const std::optional<uint64_t>& part) {
    if ((rule.scope & bit) == 0) return true;
    if (!part) return false;
    group = siphash_join(key, group, *part);
    return true;
  };
  const bool applies = join(kScopeTenant, scope.tenant) && join(kScopeUser, scope.user) &&
                       join(kScopeKey, scope.key) && join(kScopeEndpoint, scope.endpoint) &&
                       join(kScopeIp, scope.ip);
  if (!applies) return true;
  LimitEntry entry;
  entry.rule = &rule;
  entry.group = group;
  entry.cost = cost;
  entry.before_identity = before;
  // What a stranger can name without a credential must not fill the tenants' region.
  entry.region = before && (rule.scope & kScopeIp) != 0 ? Region::kAnonymous : Region::kTenant;
  for (const LimitPolicy& policy : rule.windows) {
    entry.policy = &policy;
    entry.key = limit_key(key, group, policy);
    if (!decision->limits.push(entry)) return false;
  }
  return true;
}

bool Engine::add_action(uint32_t action, const Scope& scope, uint64_t cost,
                        Decision* decision) const {
  if (action == kNoIndex) return true;
  const LimitRule& rule = decision->tenant->entitlements->limits[action];
  return add_rule(rule, decision->definitions->action_hashes[action], scope, cost, false, decision);
}

bool Engine::limits_before_identity(const Request& request, const Scope& scope,
                                    Decision* decision) {
  const Definitions& definitions = *decision->definitions;
  const std::vector<LimitRule>& rules = definitions.catalog->limits();
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!before_identity(rules[i])) continue;
    add_rule(rules[i], definitions.limit_hashes[i], scope, request.cost, true, decision);
  }
  return take_limits(decision, 0, request.dry_run);
}

bool Engine::limits_of_identity(const Request& request, const Scope& scope, Decision* decision) {
  const Definitions& definitions = *decision->definitions;
  const size_t first = decision->limits.size();
  const std::vector<LimitRule>& rules = definitions.catalog->limits();
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!of_identity(rules[i])) continue;
    add_rule(rules[i], definitions.limit_hashes[i], scope, request.cost, false, decision);
  }
  if (decision->key != nullptr && decision->key->limit != nullptr) {
    add_rule(*decision->key->limit, decision->key->seed, scope, request.cost, false, decision);
  }
  add_action(request.admit_action, scope, request.cost, decision);
  return take_limits(decision, first, request.dry_run);
}

bool Engine::limits_of_endpoint(const Request& request, const Scope& scope, Decision* decision) {
  const Definitions& definitions = *decision->definitions;
  const size_t first = decision->limits.size();
  const std::vector<LimitRule>& rules = definitions.catalog->limits();
  for (size_t i = 0; i < rules.size(); ++i) {
    if (!of_endpoint(rules[i])) continue;
    add_rule(rules[i], definitions.limit_hashes[i], scope, request.cost, false, decision);
  }
  add_action(request.action, scope, request.cost, decision);
  return take_limits(decision, first, request.dry_run);
}

bool Engine::take_limits(Decision* decision, size_t first, bool dry_run) {
  const size_t count = decision->limits.size() - first;
  if (count == 0) return true;
  FixedVector<LimitHit, kLimitsMax> hits;
  FixedVector<LimitState, kLimitsMax> states;
  for (size_t i = 0; i < count; ++i) {
    hits.push(hit_of(decision->limits[first + i]));
    states.push(LimitState{});
  }
  bool allowed = true;
  if (dry_run) {
    for (size_t i = 0; i < count; ++i) {
      states[i] = limit_peek(*counters_, hits[i], decision->taken_ns);
      allowed &= states[i].allowed;
    }
  } else {
    allowed = limit_take_all(*counters_, {hits.begin(), count}, {states.begin(), count},
                             decision->taken_ns);
  }
  int64_t wait = 0;
  const LimitEntry* refused = nullptr;
  bool full = false;
  for (size_t i = 0; i < count; ++i) {
    LimitEntry& entry = decision->limits[first + i];
    entry.state = states[i];
    entry.taken = allowed && !dry_run;
    if (states[i].allowed) continue;
    full |= states[i].full;
    wait =
        refused == nullptr ? states[i].retry_after_ns : longer_wait(wait, states[i].retry_after_ns);
    if (refused == nullptr) refused = &entry;
  }
  if (allowed) return true;
  give_back_limits(decision, first);
  decision->reason = full ? Reason::kStateUnavailable : Reason::kRateLimitExceeded;
  decision->retry_after_ns = wait;
  if (refused != nullptr) decision->detail = refused->rule->name;
  return false;
}

// A refusal by one limit returns what this decision took from the others; those before
// authentication stay spent, or a stranger could try credentials for nothing.
void Engine::give_back_limits(Decision* decision, size_t end) {
  const int64_t now = counters_->now_ns();
  for (size_t i = 0; i < end; ++i) {
    LimitEntry& entry = decision->limits[i];
    if (!entry.taken || entry.before_identity) continue;
    limit_refund(*counters_, hit_of(entry), decision->taken_ns, now);
    entry.taken = false;
    entry.state.remaining = std::min(entry.state.limit, entry.state.remaining + entry.cost);
  }
}

void Engine::limit_entries(const std::shared_ptr<const Definitions>& definitions,
                           const TenantEntry& tenant, std::string_view principal, uint32_t action,
                           Decision* out) const {
  out->definitions = definitions;
  out->tenant = &tenant;
  out->principal.assign(principal);
  out->taken_ns = counters_->now_ns();
  const Scope scope = scope_of(Request{}, *out);
  const std::vector<LimitRule>& rules = definitions->catalog->limits();
  for (size_t i = 0; i < rules.size(); ++i) {
    if ((rules[i].scope & kScopeTenant) == 0 || !of_identity(rules[i])) continue;
    add_rule(rules[i], definitions->limit_hashes[i], scope, 1, false, out);
  }
  add_action(action, scope, 1, out);
}

}  // namespace tenancy
