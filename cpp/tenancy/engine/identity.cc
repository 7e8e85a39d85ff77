// The stages that find out who asks: credential, then tenant, then whether the tenant is served.
#include <algorithm>

#include "tenancy/base/crypto.h"
#include "tenancy/base/ids.h"
#include "tenancy/engine/engine.h"

namespace tenancy {
namespace {

bool refuse(Decision* decision, Reason reason) {
  decision->reason = reason;
  decision->retry_after_ns = kNever;
  return false;
}

// A request that names a tenant its credential does not reach. Unknown and foreign tenants end here
// alike, after the same look-up, and the body of the answer names neither.
bool refuse_crossing(Decision* decision) {
  decision->suspected_crossing = true;
  return refuse(decision, Reason::kTenantConflict);
}

Reason judge_key(const KeyEntry* key, int64_t now) {
  if (key == nullptr) return Reason::kInvalidCredential;
  if (key->revoked_wall_ns != 0 && key->revoked_wall_ns <= now) return Reason::kInvalidCredential;
  if (key->expires_wall_ns != 0 && key->expires_wall_ns <= now) return Reason::kExpiredCredential;
  if (key->grace_until_wall_ns != 0 && key->grace_until_wall_ns <= now) {
    return Reason::kExpiredCredential;
  }
  return Reason::kAllowed;
}

// The caller's credential belongs to `tenant`; whatever else the request names has to be the same
// one.
bool names_only(const Request& request, const Registry& registry, const TenantEntry* tenant) {
  bool same = true;
  if (!request.tenant.empty()) same &= registry.by_reference(request.tenant) == tenant;
  for (std::string_view hint : request.hints) same &= registry.by_reference(hint) == tenant;
  return same;
}

// All names together, which have to mean one tenant. Null when they do not, or when it is unknown.
const TenantEntry* common_tenant(const Request& request, const Registry& registry, bool* agree) {
  const TenantEntry* found = nullptr;
  bool first = true;
  *agree = true;
  const auto add = [&](std::string_view name) {
    const TenantEntry* tenant = registry.by_reference(name);
    if (!first && tenant != found) *agree = false;
    found = tenant;
    first = false;
  };
  if (!request.tenant.empty()) add(request.tenant);
  for (std::string_view hint : request.hints) add(hint);
  return *agree ? found : nullptr;
}

}  // namespace

bool Engine::authenticate(const Request& request, Decision* decision) const {
  const Registry& registry = *decision->definitions->registry;
  const int64_t now = decision->now_wall_ns;
  if (request.credential_expired) return refuse(decision, Reason::kExpiredCredential);
  if (!request.api_key.empty()) {
    registry.prefetch_key(request.api_key.substr(0, kApiKeyPublicChars));
    const auto public_id = api_key_public_id(request.api_key);
    if (!public_id) return refuse(decision, Reason::kInvalidCredential);
    const uint32_t located = registry.locate_key(*public_id);
    const KeyEntry* key = registry.key(sha256(request.api_key), located);
    if (const Reason reason = judge_key(key, now); reason != Reason::kAllowed) {
      return refuse(decision, reason);
    }
    decision->key = key;
    decision->scopes = key->scopes;
    decision->principal = key->principal;
  }
  if (!request.session.empty()) {
    const SessionEntry* session = registry.session(sha256(request.session));
    const bool alive =
        session != nullptr && (session->expires_wall_ns == 0 || session->expires_wall_ns > now);
    if (alive) {
      decision->session = session;
      if (decision->key == nullptr && !request.has_identity) {
        decision->principal = session->principal;
        if (session->roles != nullptr) decision->active_roles = *session->roles;
      }
    } else if (decision->key == nullptr && !request.has_identity) {
      return refuse(decision,
                    session == nullptr ? Reason::kInvalidCredential : Reason::kExpiredCredential);
    }
  }
  if (request.has_identity) {
    decision->principal.assign(request.identity_principal);
    decision->identity_scoped = request.identity_scoped;
    decision->identity_scopes.assign(request.identity_scopes.begin(),
                                     request.identity_scopes.end());
    if (request.identity_roles) {
      decision->active_roles.emplace(request.identity_roles->begin(),
                                     request.identity_roles->end());
    }
  }
  if (decision->principal.empty() && !request.principal.empty()) {
    decision->principal.assign(request.principal);
    decision->principal_is_hint = decision->key != nullptr;
  }
  return true;
}

bool Engine::select_tenant(const Request& request, Decision* decision) const {
  const Registry& registry = *decision->definitions->registry;
  const bool from_key = decision->key != nullptr;
  const bool from_session = !from_key && !request.has_identity && decision->session != nullptr;
  if (from_key || from_session) {
    const TenantEntry* tenant =
        registry.tenant(from_key ? decision->key->tenant : decision->session->tenant);
    if (tenant == nullptr) return refuse(decision, Reason::kInvalidTenant);
    const bool same_session =
        decision->session == nullptr || decision->session->tenant == tenant->index;
    if (!names_only(request, registry, tenant) || !same_session) return refuse_crossing(decision);
    decision->tenant = tenant;
    decision->belongs = true;
    return true;
  }

  bool agree = true;
  const bool named = !request.tenant.empty() || !request.hints.empty();
  const TenantEntry* tenant = common_tenant(request, registry, &agree);
  if (request.has_identity) {
    if (request.identity_tenants.empty()) {
      // The token proves a user, not a tenant: the user has to be a member of the one that is
      // named.
      if (!named) return refuse(decision, Reason::kMissingTenant);
      const bool member = tenant != nullptr && !decision->principal.empty() &&
                          decision->definitions->access->is_member(
                              tenant->index, decision->principal, decision->now_wall_ns);
      if (!member) return refuse_crossing(decision);
    } else {
      if (!named && request.identity_tenants.size() > 1) {
        return refuse(decision, Reason::kMissingTenant);
      }
      if (!named) tenant = registry.by_reference(request.identity_tenants.front());
      bool possible = false;
      for (std::string_view name : request.identity_tenants) {
        const TenantEntry* candidate = registry.by_reference(name);
        possible |= candidate != nullptr && candidate == tenant;
      }
      if (named && !possible) return refuse_crossing(decision);
      if (!possible) return refuse(decision, Reason::kInvalidTenant);
    }
    if (decision->session != nullptr && decision->session->tenant != tenant->index) {
      return refuse_crossing(decision);
    }
    decision->tenant = tenant;
    decision->belongs = true;
    return true;
  }

  if (!agree) return refuse_crossing(decision);
  if (!request.tenant.empty() || (request.trust_hints && !request.hints.empty())) {
    if (tenant == nullptr) return refuse(decision, Reason::kInvalidTenant);
    decision->tenant = tenant;
    decision->belongs = !request.tenant.empty();
    return true;
  }
  if (!request.hints.empty()) return refuse(decision, Reason::kMissingTenant);
  if (decision->definitions->default_tenant != kNoIndex) {
    decision->tenant = registry.tenant(decision->definitions->default_tenant);
    decision->belongs = true;
  }
  if (decision->tenant == nullptr) return refuse(decision, Reason::kMissingTenant);
  return true;
}

bool Engine::serve_tenant(Decision* decision) const {
  const TenantStatus status = decision->tenant->status;
  if (status_served(status)) return true;
  const bool tell = decision->belongs && status == TenantStatus::kSuspended;
  if (!decision->belongs) decision->tenant = nullptr;
  return refuse(decision, tell ? Reason::kSuspendedTenant : Reason::kInvalidTenant);
}

}  // namespace tenancy
