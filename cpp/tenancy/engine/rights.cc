// The stages after the limits: permission, feature, quotas.
#include <algorithm>

#include "tenancy/engine/engine.h"

namespace tenancy {
namespace {

bool refuse(Decision* decision, Reason reason, std::string_view detail, int64_t retry_after_ns) {
  decision->reason = reason;
  decision->detail.assign(detail);
  decision->retry_after_ns = retry_after_ns;
  return false;
}

// A resource instance is written "type/id". Types that tenants register are answered by their
// owner: an unknown instance and another tenant's get the same refusal.
bool owns_resource(const Registry& registry, uint32_t tenant, std::string_view resource) {
  const size_t slash = resource.find('/');
  if (slash == std::string_view::npos) return true;
  const std::string_view type = resource.substr(0, slash);
  return !registry.governs(type) || registry.owns(tenant, type, resource.substr(slash + 1));
}

// Roles decide, then the claims of a verified token where those count: claims add, a role's denial
// stands.
bool permitted(const AccessModel& access, const AccessQuery& query, const Decision& decision) {
  // A key that is its own principal has exactly its scopes; without any it may do nothing.
  const bool nobody = query.principal.empty() && query.scopes == kNoScopes;
  const AccessReason reason = nobody ? AccessReason::kNoAssignment : access.check(query);
  if (reason == AccessReason::kAllowed) return true;
  if (!decision.identity_scoped || reason == AccessReason::kDenied ||
      !valid_permission(query.permission, false)) {
    return false;
  }
  return std::any_of(
      decision.identity_scopes.begin(), decision.identity_scopes.end(),
      [&](const std::string& claim) { return permission_covers(claim, query.permission); });
}

int64_t wait_for_quota(const QuotaState& state, uint64_t amount, int64_t now_wall_ns) {
  const bool comes_back = state.period_end_wall_ns > now_wall_ns && amount <= state.limit;
  return comes_back ? state.period_end_wall_ns - now_wall_ns : kNever;
}

// Concurrency frees itself when somebody is done, which nobody can foresee: a second is a civil
// pause.
constexpr int64_t kConcurrencyRetryNs = 1'000'000'000;

}  // namespace

AccessQuery Engine::access_query(const Decision& decision, std::vector<std::string_view>* active) {
  AccessQuery query;
  query.tenant = decision.tenant->index;
  if (!decision.principal_is_hint) query.principal = decision.principal;
  query.scopes = decision.scopes;
  query.wall_ns = decision.now_wall_ns;
  if (decision.active_roles) {
    active->assign(decision.active_roles->begin(), decision.active_roles->end());
    query.active_roles = *active;
  }
  return query;
}

std::vector<std::string> Engine::permissions_of(const Decision& decision) {
  if (decision.tenant == nullptr || decision.roles_refused) return {};
  const AccessModel& access = *decision.definitions->access;
  std::vector<std::string_view> active;
  AccessQuery query = access_query(decision, &active);
  std::vector<std::string> names = access.known_permissions(query.tenant, query.scopes);
  for (const std::string& claim : decision.identity_scopes) {
    if (valid_permission(claim, false)) names.push_back(claim);
  }
  std::ranges::sort(names);
  names.erase(std::unique(names.begin(), names.end()), names.end());
  std::erase_if(names, [&](const std::string& name) {
    query.permission = name;
    return !permitted(access, query, decision);
  });
  return names;
}

// Roles are judged anew by each half of a request: definitions may have changed in between. The
// second half may name fewer.
bool Engine::activate_roles(const Request& request, Decision* decision) const {
  if (request.roles) {
    std::vector<std::string> named(request.roles->begin(), request.roles->end());
    if (decision->active_roles) {
      for (const std::string& name : named) {
        if (std::ranges::find(*decision->active_roles, name) != decision->active_roles->end()) {
          continue;
        }
        decision->roles_refused = true;
        return refuse(decision, Reason::kPermissionDenied,
                      "role \"" + name + "\" is not among the roles that are active", kNever);
      }
    }
    decision->active_roles = std::move(named);
  }
  if (!decision->active_roles) return true;
  std::vector<std::string_view> active;
  const AccessQuery query = access_query(*decision, &active);
  const Status status = decision->definitions->access->check_active(query.tenant, query.principal,
                                                                    active, query.wall_ns);
  if (status.ok()) return true;
  decision->roles_refused = true;
  return refuse(decision, Reason::kPermissionDenied, status.error().message, kNever);
}

bool Engine::permissions(const Request& request, Decision* decision) const {
  const Definitions& definitions = *decision->definitions;
  if (!request.permission.empty()) {
    std::vector<std::string_view> active;
    AccessQuery query = access_query(*decision, &active);
    query.permission = request.permission;
    query.resource = request.resource;
    if (!permitted(*definitions.access, query, *decision)) {
      return refuse(decision, Reason::kPermissionDenied, request.permission, kNever);
    }
  }
  if (!request.resource.empty() &&
      !owns_resource(*definitions.registry, decision->tenant->index, request.resource)) {
    return refuse(decision, Reason::kPermissionDenied,
                  request.permission.empty() ? request.resource : request.permission, kNever);
  }
  if (request.feature != kNoIndex && !decision->tenant->entitlements->features[request.feature]) {
    return refuse(decision, Reason::kFeatureNotInPlan,
                  definitions.catalog->features()[request.feature], kNever);
  }
  return true;
}

bool Engine::take_quotas(const Request& request, Decision* decision) {
  const size_t first = decision->quotas.size();
  for (const QuotaAsk& ask : request.consume) {
    const QuotaTarget target = quota_target(*decision->definitions, *decision->tenant, ask.quota);
    bool taken;
    if (request.dry_run) {
      QuotaEntry entry;
      entry.quota = ask.quota;
      entry.amount = ask.amount;
      entry.state = quotas_->check(target, ask.amount);
      entry.settled = true;
      taken = decision->quotas.push(entry) && entry.state.allowed;
      if (!taken) {
        refuse(decision, Reason::kQuotaExceeded, target.def->name,
               wait_for_quota(entry.state, ask.amount, decision->now_wall_ns));
      }
    } else {
      taken = take_quota(ask, target, request.reserve, decision);
    }
    if (!taken) {
      if (!request.dry_run) give_back_quotas(decision, first);
      return false;
    }
  }
  return true;
}

// One quota of the request. On a refusal the entry with its state stays in the decision, settled.
bool Engine::take_quota(const QuotaAsk& ask, const QuotaTarget& target, bool reserve,
                        Decision* decision) {
  QuotaEntry entry;
  entry.quota = ask.quota;
  entry.amount = ask.amount;
  const QuotaMoment now{.wall_ns = decision->now_wall_ns, .table_ns = decision->taken_ns};
  const QuotaKind kind = target.def->kind;
  const bool concurrency = kind == QuotaKind::kConcurrency && !ask.gauge;
  uint64_t units = 1;
  if (ask.gauge || kind == QuotaKind::kPerObject) {
    uint64_t total = 0;
    const bool overflow = __builtin_add_overflow(ask.base, ask.amount, &total);
    QuotaDef stateless = *target.def;
    stateless.kind = QuotaKind::kPerObject;
    QuotaTarget by_value = target;
    by_value.def = &stateless;
    entry.state = quotas_->check(by_value, overflow ? UINT64_MAX : total);
    if (ask.gauge) entry.state.used = ask.base;
    entry.settled = true;
  } else if (concurrency) {
    entry.lease = true;
    entry.amount = 1;
    units = ask.amount;
    if (units > kQuotasMax - decision->quotas.size()) {
      return refuse(decision, Reason::kConcurrencyExceeded, target.def->name, kNever);
    }
  } else if (!claim_charge(target, &entry, decision)) {
    return false;
  } else if (entry.settled) {
    // A repeat: an earlier attempt was charged for it.
  } else if (reserve || entry.charge) {
    entry.state = quotas_->reserve(target, ask.amount, options_.reservation_ns, now, &entry.handle);
  } else {
    entry.state = quotas_->consume(target, ask.amount, now);
  }
  for (uint64_t unit = 0; unit < units; ++unit) {
    if (concurrency) {
      entry.handle = {};
      entry.state = quotas_->acquire(target, target.def->lease_ns, &entry.handle);
    }
    if (!entry.state.allowed) {
      entry.settled = true;
      if (entry.charge) quotas_->charges().drop(entry.charge);
    }
    if (!decision->quotas.push(entry)) {
      return refuse(decision, Reason::kStateUnavailable, target.def->name, kNever);
    }
    decision->alerts |= entry.state.crossed != 0;
    if (entry.state.allowed) continue;
    if (entry.state.full) {
      return refuse(decision, Reason::kStateUnavailable, target.def->name, kConcurrencyRetryNs);
    }
    if (concurrency) {
      return refuse(decision, Reason::kConcurrencyExceeded, target.def->name, kConcurrencyRetryNs);
    }
    return refuse(decision, Reason::kQuotaExceeded, target.def->name,
                  wait_for_quota(entry.state, ask.amount, decision->now_wall_ns));
  }
  return true;
}

// All or nothing: what this call took before one of its quotas refused goes back.
void Engine::give_back_quotas(Decision* decision, size_t first) {
  for (size_t i = first; i < decision->quotas.size(); ++i) {
    QuotaEntry& entry = decision->quotas[i];
    if (entry.settled) continue;
    const QuotaTarget target = quota_target(*decision->definitions, *decision->tenant, entry.quota);
    if (entry.lease || entry.handle) {
      settle(target, &entry, false, std::nullopt);
    } else {
      quotas_->decrement(target, entry.amount);
    }
    entry.settled = true;
  }
  decision->alerts = false;
}

}  // namespace tenancy
