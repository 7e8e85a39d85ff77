// Idempotency keys: what a decision consumes is charged once for all attempts that carry the same
// key. Each quota of a request is a charge of its own, addressed by tenant, caller, key and quota,
// and bound to its amount: a key that was charged little does not pay for much.
#include <algorithm>

#include "tenancy/engine/engine.h"

namespace tenancy {
namespace {

constexpr size_t kKeyBytesMax = 255;
constexpr int64_t kInProgressRetryNs = 1'000'000'000;
// What a repeat holds: nothing that could be settled.
constexpr QuotaHandle kNothingHeld{.value = UINT64_MAX, .quota_key = 0};

bool refuse(Decision* decision, Reason reason, int64_t retry_after_ns) {
  decision->reason = reason;
  decision->detail = "idempotency_key";
  decision->retry_after_ns = retry_after_ns;
  return false;
}

bool can_be_key(std::string_view text) {
  return !text.empty() && text.size() <= kKeyBytesMax &&
         std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

}  // namespace

// The limits of the engine's own. They count like those of a catalog, but belong to no plan.
Status Engine::make_own_rules() {
  if (options_.failed_credentials.limit != 0) {
    LimitPolicy policy = options_.failed_credentials;
    policy.on_full = OnFull::kAllow;  // a flood of addresses is no reason to stop listening to all
    if (const Status status = policy.validate(); !status.ok()) return status;
    failed_credentials_ = {"failed_credentials", kScopeIp, {policy}};
  }
  if (options_.idempotency_keys_max != 0) {
    LimitPolicy policy;
    policy.limit = options_.idempotency_keys_max;
    policy.window_ns = options_.idempotency_window_ns;
    if (const Status status = policy.validate(); !status.ok()) return status;
    idempotency_keys_ = {"idempotency_keys", kScopeTenant, {policy}};
  }
  return Status();
}

ChargeTerms Engine::charge_terms() const {
  return {.pending_ns = options_.reservation_ns,
          .window_ns = options_.idempotency_window_ns,
          .repeats_max = options_.idempotency_repeats};
}

void Engine::note_idempotency_key(const Request& request, Decision* decision) const {
  const HashKey& secret = counters_->hash_key();
  decision->idempotency_invalid = !can_be_key(request.idempotency_key);
  decision->idempotency = std::max<uint64_t>(siphash(secret, request.idempotency_key), 1);
  decision->fingerprint = siphash(secret, request.fingerprint);
}

uint64_t Engine::charge_key(const QuotaTarget& target, const QuotaEntry& entry,
                            const Decision& decision) const {
  const HashKey& secret = counters_->hash_key();
  uint64_t user = 0;
  if (!decision.principal.empty()) {
    user = siphash(secret, decision.principal);
  } else if (decision.key != nullptr) {
    user = decision.key->seed;
  }
  // A request may consume a quota in several steps.
  const auto before = std::count_if(
      decision.quotas.begin(), decision.quotas.end(),
      [&](const QuotaEntry& other) { return other.quota == entry.quota && !other.lease; });
  uint64_t key = siphash_join(secret, siphash(secret, "tenancy.charge"), target.tenant_seed);
  key = siphash_join(secret, key, user);
  key = siphash_join(secret, key, decision.idempotency);
  key = siphash_join(secret, key, siphash(secret, target.def->name));
  return siphash_join(secret, key, static_cast<uint64_t>(before));
}

// Keys are the client's to invent: how many a tenant may add is bounded. False when it has.
bool Engine::may_add_charge(uint64_t key, Decision* decision) {
  if (idempotency_keys_.windows.empty() || quotas_->charges().known(key)) return true;
  const HashKey& secret = counters_->hash_key();
  LimitEntry entry;
  entry.rule = &idempotency_keys_;
  entry.policy = &idempotency_keys_.windows.front();
  entry.group =
      siphash_join(secret, siphash(secret, idempotency_keys_.name), decision->tenant->seed);
  entry.key = limit_key(secret, entry.group, *entry.policy);
  entry.cost = 1;
  entry.state =
      limit_take(*counters_, LimitHit{entry.policy, entry.group, entry.key, 1}, decision->taken_ns);
  if (entry.state.allowed) return true;
  decision->limits.push(entry);
  decision->reason = entry.state.full ? Reason::kStateUnavailable : Reason::kRateLimitExceeded;
  decision->retry_after_ns = entry.state.retry_after_ns;
  decision->detail = idempotency_keys_.name;
  return false;
}

// Before a quota is taken. A repeat comes back settled; an empty charge means that there is no key.
bool Engine::claim_charge(const QuotaTarget& target, QuotaEntry* entry, Decision* decision) {
  if (decision->idempotency == 0 || entry->amount == 0) return true;
  if (decision->idempotency_invalid) {
    return refuse(decision, Reason::kInvalidIdempotencyKey, kNever);
  }
  const uint64_t key = charge_key(target, *entry, *decision);
  if (!may_add_charge(key, decision)) return false;
  const uint64_t print = siphash_join(counters_->hash_key(), decision->fingerprint, entry->amount);
  switch (quotas_->charges().claim(key, print, charge_terms(), &entry->charge)) {
    case Charge::kMine: return true;
    case Charge::kBefore:
      entry->state = quotas_->check(target, 0);
      entry->state.allowed = true;
      entry->handle = kNothingHeld;
      entry->settled = true;
      decision->repeated = true;
      return true;
    case Charge::kInProgress:
      return refuse(decision, Reason::kRequestInProgress, kInProgressRetryNs);
    case Charge::kReused: return refuse(decision, Reason::kIdempotencyKeyReused, kNever);
    case Charge::kFull: break;
  }
  return refuse(decision, Reason::kStateUnavailable, kInProgressRetryNs);
}

bool Engine::settle(const QuotaTarget& target, QuotaEntry* entry, bool keep,
                    std::optional<uint64_t> amount) {
  if (entry->settled) return false;
  entry->settled = true;
  if (entry->lease) return quotas_->end_lease(target, entry->handle);
  if (!entry->charge) {
    return keep ? quotas_->commit(target, entry->handle, amount)
                : quotas_->release(target, entry->handle);
  }
  if (!keep) {
    const bool released = quotas_->release(target, entry->handle);
    quotas_->charges().drop(entry->charge);
    return released;
  }
  // Booked first: whoever dies in between leaves the charge out, never doubled.
  if (quotas_->charges().book(entry->charge, charge_terms())) {
    return quotas_->commit(target, entry->handle, amount);
  }
  quotas_->release(target, entry->handle);
  return true;  // this took so long that another attempt took over, and is charged
}

// Outside of a web request consumption is final at once; here that is a reservation, kept when the
// decision stands and its fact is in the log.
void Engine::keep_charged(const Request& request, Decision* decision) {
  if (request.reserve || decision->idempotency == 0 || !decision->allowed()) return;
  const CounterTable::Hold hold(*counters_);
  for (QuotaEntry& entry : decision->quotas) {
    if (entry.lease) continue;
    if (entry.charge && !entry.settled) {
      const QuotaTarget target =
          quota_target(*decision->definitions, *decision->tenant, entry.quota);
      settle(target, &entry, true, std::nullopt);
      const QuotaState after = quotas_->check(target, 0);
      entry.state.used = after.used;
      entry.state.reserved = after.reserved;
    }
    entry.handle = {};
  }
}

}  // namespace tenancy
