// Guessing of credentials: bounded per address, looked at before a credential is, counted only when
// one was wrong.
//
// The good path must not pay for it. A word shared by the host says until when some address may
// have spent its attempts; while that is in the past, which is nearly always, nobody's counter is
// looked at.
#include <algorithm>

#include "tenancy/engine/engine.h"
#include "tenancy/engine/scope.h"

namespace tenancy {
namespace {

// Of the table's shared words; 14 and 15 belong to the quotas.
constexpr size_t kGuessingWord = 13;

// Addresses are a stranger's to choose: their counters have the region of strangers.
LimitEntry entry_of(const CounterTable& table, const LimitRule& rule, uint64_t address) {
  LimitEntry entry;
  entry.rule = &rule;
  entry.policy = &rule.windows.front();
  entry.group = siphash_join(table.hash_key(), siphash(table.hash_key(), rule.name), address);
  entry.key = limit_key(table.hash_key(), entry.group, *entry.policy);
  entry.cost = 1;
  entry.region = Region::kAnonymous;
  entry.before_identity = true;
  return entry;
}

LimitHit hit_of(const LimitEntry& entry) {
  return LimitHit{entry.policy, entry.group, entry.key, entry.cost, entry.region};
}

void refuse(const LimitEntry& entry, Decision* decision) {
  decision->limits.push(entry);
  decision->reason = Reason::kRateLimitExceeded;
  decision->retry_after_ns = entry.state.retry_after_ns;
  decision->detail = entry.rule->name;
}

bool brings_credential(const Request& request) {
  return !request.api_key.empty() || !request.session.empty();
}

}  // namespace

// An identity was verified before it came here: its caller has asked with `dry_run` first.
bool Engine::may_try_credential(const Request& request, const Scope& scope, Decision* decision) {
  if (failed_credentials_.windows.empty() || !scope.ip || !brings_credential(request)) return true;
  const auto until =
      static_cast<int64_t>(counters_->shared_word(kGuessingWord).load(std::memory_order_relaxed));
  if (decision->taken_ns >= until) return true;
  LimitEntry entry = entry_of(*counters_, failed_credentials_, *scope.ip);
  entry.state = limit_peek(*counters_, hit_of(entry), decision->taken_ns);
  if (entry.state.allowed) return true;
  refuse(entry, decision);
  return false;
}

void Engine::note_failed_credential(const Request& request, const Scope& scope,
                                    Decision* decision) {
  if (failed_credentials_.windows.empty() || !scope.ip || request.dry_run) return;
  if (decision->reason != Reason::kInvalidCredential) return;
  LimitEntry entry = entry_of(*counters_, failed_credentials_, *scope.ip);
  entry.state = limit_take(*counters_, hit_of(entry), decision->taken_ns);
  if (entry.state.allowed && (entry.state.remaining > 0 || entry.state.full)) return;
  // Until this address has attempts again at the latest, everybody's counter is looked at.
  const auto until =
      static_cast<uint64_t>(decision->taken_ns + std::max<int64_t>(entry.state.reset_after_ns, 0));
  std::atomic<uint64_t>& word = counters_->shared_word(kGuessingWord);
  uint64_t seen = word.load(std::memory_order_relaxed);
  while (seen < until && !word.compare_exchange_weak(seen, until, std::memory_order_relaxed)) {
  }
  // Attempts made at the same moment may have got in before the word was raised: they are counted
  // here, so none beyond the limit learns whether its credential was right.
  if (!entry.state.allowed) refuse(entry, decision);
}

}  // namespace tenancy
