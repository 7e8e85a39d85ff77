#include "tenancy/engine/engine.h"

#include <bit>
#include <utility>

#include "tenancy/engine/facts.h"
#include "tenancy/engine/scope.h"

namespace tenancy {

Engine::Engine(const Options& options, std::shared_ptr<const Clock> clock)
    : options_(options), clock_(std::move(clock)) {}

Engine::~Engine() = default;

Result<std::unique_ptr<Engine>> Engine::open(const Options& options,
                                             std::shared_ptr<const Clock> clock) {
  std::unique_ptr<Engine> engine(new Engine(options, clock));
  auto counters = CounterTable::open(options.counters, clock);
  if (!counters.ok()) return counters.error();
  engine->counters_ = std::move(*counters);
  engine->quotas_ = std::make_unique<Quotas>(engine->counters_.get(), std::move(clock));
  if (const Status status = engine->make_own_rules(); !status.ok()) return status.error();
  return engine;
}

std::shared_ptr<const Definitions> Engine::definitions() const {
  std::lock_guard<std::mutex> lock(publish_mutex_);
  return definitions_;
}

bool Engine::current() const {
  return counters_->revision_word().load(std::memory_order_acquire) == 2 * revision();
}

// Everything a decision needs before its first stage. False when the definitions are not the
// newest: then nothing was looked at.
bool Engine::begin(const std::shared_ptr<const Definitions>& definitions, const Request& request,
                   Decision* decision) const {
  const uint64_t word = counters_->revision_word().load(std::memory_order_acquire);
  if (definitions == nullptr || word != 2 * definitions->revision) {
    decision->stale = true;
    return false;
  }
  decision->definitions = definitions;
  decision->reserve = request.reserve;
  decision->now_wall_ns = clock_->wall_ns();
  decision->taken_ns = counters_->now_ns();
  decision->started_ns = decision->taken_ns;
  decision->ip.assign(request.ip);
  decision->request_id.assign(request.request_id);
  decision->endpoint.assign(request.endpoint);
  if (request.has_idempotency_key) note_idempotency_key(request, decision);
  return true;
}

void Engine::check(const std::shared_ptr<const Definitions>& definitions, const Request& request,
                   Decision* decision) {
  if (!begin(definitions, request, decision)) return;
  Scope scope = scope_of(request, *decision);
  if (identify(request, scope, decision)) {
    const CounterTable::Hold hold(*counters_);
    if (admit_stages(request, &scope, decision)) authorize_stages(request, scope, decision);
  }
  decided(request, true, decision);
  keep_charged(request, decision);
}

void Engine::admit(const std::shared_ptr<const Definitions>& definitions, const Request& request,
                   Decision* decision) {
  if (!begin(definitions, request, decision)) return;
  Scope scope = scope_of(request, *decision);
  if (identify(request, scope, decision)) {
    const CounterTable::Hold hold(*counters_);
    admit_stages(request, &scope, decision);
  }
  decided(request, true, decision);
}

void Engine::authorize(const Request& request, Decision* decision) {
  if (decision->finished || decision->reason != Reason::kAllowed) return;
  if (!request.endpoint.empty()) decision->endpoint.assign(request.endpoint);
  if (!rebind(decision)) {
    if (!decision->stale) decided(request, false, decision);
    return;
  }
  if (request.has_idempotency_key) note_idempotency_key(request, decision);
  decision->taken_ns = counters_->now_ns();
  decision->now_wall_ns = clock_->wall_ns();
  const Scope scope = scope_of(request, *decision);
  bool allowed = false;
  {
    const CounterTable::Hold hold(*counters_);
    allowed = activate_roles(request, decision) && authorize_stages(request, scope, decision);
  }
  if (!allowed) decided(request, false, decision);  // what the first half allowed was counted there
  keep_charged(request, decision);
}

void Engine::give_up(const Request& request, std::string_view detail, Decision* decision) {
  decision->stale = false;
  decision->reason = Reason::kStateUnavailable;
  decision->detail.assign(detail);
  decision->now_wall_ns = clock_->wall_ns();
  if (decision->definitions == nullptr) {
    decision->definitions = definitions();
    decision->ip.assign(request.ip);
    decision->request_id.assign(request.request_id);
    decision->endpoint.assign(request.endpoint);
  }
  if (decision->definitions != nullptr) decided(request, false, decision);
}

// A decision is made: it is counted, and leaves its fact. Without a Hold, because the log may make
// it wait.
void Engine::decided(const Request& request, bool opening, Decision* decision) {
  if (Facts* const facts = facts_.load(std::memory_order_acquire); facts != nullptr) {
    tell(facts, request, opening, decision);
  }
  decided_[static_cast<size_t>(decision->reason)].fetch_add(1, std::memory_order_relaxed);
}

// The stages that anybody can reach. They count without a Hold: it would keep a full anonymous
// region full.
bool Engine::identify(const Request& request, const Scope& scope, Decision* decision) {
  if (!limits_before_identity(request, scope, decision)) return false;
  if (!may_try_credential(request, scope, decision)) return false;
  if (!authenticate(request, decision)) {
    note_failed_credential(request, scope, decision);
    return false;
  }
  return select_tenant(request, decision) && serve_tenant(decision);
}

bool Engine::admit_stages(const Request& request, Scope* scope, Decision* decision) {
  if (decision->key != nullptr && !request.dry_run) {
    note_key_use(*decision->key, decision->now_wall_ns);
  }
  add_identity(*decision, scope);
  return limits_of_identity(request, *scope, decision) && activate_roles(request, decision);
}

bool Engine::authorize_stages(const Request& request, const Scope& scope, Decision* decision) {
  return limits_of_endpoint(request, scope, decision) && permissions(request, decision) &&
         take_quotas(request, decision);
}

// Definitions may have changed since this request was admitted (a suspension, a revoked key): the
// newest count. False when the request may not go on, or when the newest are not here yet (stale).
bool Engine::rebind(Decision* decision) const {
  const uint64_t word = counters_->revision_word().load(std::memory_order_acquire);
  if (word == 2 * decision->definitions->revision) {
    decision->stale = false;
    return true;
  }
  std::shared_ptr<const Definitions> newest = definitions();
  if (word != 2 * newest->revision) {
    decision->stale = true;
    return false;
  }
  decision->stale = false;
  const TenantEntry* tenant = newest->registry->by_id(decision->tenant->id);
  const KeyEntry* key = nullptr;
  if (decision->key != nullptr) {
    key = newest->registry->key(decision->key->digest);
    const int64_t now = clock_->wall_ns();
    if (key == nullptr || (key->revoked_wall_ns != 0 && key->revoked_wall_ns <= now)) {
      decision->reason = Reason::kInvalidCredential;
    }
  }
  const SessionEntry* session = nullptr;
  if (decision->session != nullptr) {
    session = newest->registry->session(decision->session->digest);
    if (session == nullptr && decision->key == nullptr)
      decision->reason = Reason::kInvalidCredential;
  }
  if (tenant == nullptr) decision->reason = Reason::kInvalidTenant;
  if (decision->reason != Reason::kAllowed) {
    // The old entries stay referenced by `definitions`, so what is in the decision remains
    // readable.
    return false;
  }
  decision->earlier.push_back(std::move(decision->definitions));
  decision->definitions = std::move(newest);
  decision->tenant = tenant;
  decision->key = key;
  decision->session = session;
  if (key != nullptr) decision->scopes = key->scopes;
  return serve_tenant(decision);
}

void Engine::finish(Decision* decision, int http_status) {
  if (decision->finished || decision->definitions == nullptr) return;
  decision->finished = true;
  const bool keep = http_status < 500;
  for (QuotaEntry& entry : decision->quotas) {
    if (entry.settled || !entry.handle) continue;
    const QuotaTarget target = quota_target(*decision->definitions, *decision->tenant, entry.quota);
    settle(target, &entry, keep, std::nullopt);
  }
  const int64_t spent_us = (counters_->now_ns() - decision->started_ns) / 1000;
  const auto bucket =
      static_cast<size_t>(std::bit_width(static_cast<uint64_t>(std::max<int64_t>(spent_us, 0))));
  latency_[std::min(bucket, kLatencyBuckets - 1)].fetch_add(1, std::memory_order_relaxed);
}

QuotaTarget Engine::quota_target(const Definitions& definitions, const TenantEntry& tenant,
                                 uint32_t quota) {
  QuotaTarget target;
  target.tenant_seed = tenant.seed;
  target.def = &definitions.catalog->quotas()[quota];
  target.grant = &tenant.entitlements->quotas[quota];
  target.time_zone = &tenant.time_zone;
  target.anchor = &tenant.anchor;
  target.name_hash = definitions.quota_hashes[quota];
  return target;
}

}  // namespace tenancy
