#include "tenancy/engine/facts.h"

#include <algorithm>
#include <string>
#include <utility>

#include "tenancy/base/crypto.h"
#include "tenancy/base/hash.h"
#include "tenancy/base/ids.h"
#include "tenancy/engine/fact_fields.h"

namespace tenancy {
namespace {

using log::FieldId;

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr unsigned kCountBits = 24;
constexpr std::string_view kSystem = "system";  // a program that acts for nobody

std::string_view fact_type(const Decision& decision) {
  if (decision.suspected_crossing) return "cross_tenant";
  switch (decision.reason) {
    case Reason::kPermissionDenied:
    case Reason::kFeatureNotInPlan:
    case Reason::kMfaRequired: return "permission_denied";
    case Reason::kRateLimitExceeded: return "limit_exceeded";
    case Reason::kQuotaExceeded:
    case Reason::kConcurrencyExceeded: return "quota_exceeded";
    case Reason::kInvalidCredential:
    case Reason::kExpiredCredential: return "credential_refused";
    case Reason::kMissingTenant:
    case Reason::kInvalidTenant:
    case Reason::kSuspendedTenant:
    case Reason::kTenantConflict: return "tenant_refused";
    case Reason::kStateUnavailable: return "state_unavailable";
    case Reason::kAllowed:
    case Reason::kRequestInProgress:
    case Reason::kIdempotencyKeyReused:
    case Reason::kInvalidIdempotencyKey: break;
  }
  return "request_refused";
}

// Whoever it is, it is not just anybody.
bool proven(const Request& request, const Decision& decision) {
  return decision.belongs || decision.key != nullptr || decision.session != nullptr ||
         request.has_identity;
}

AuditClass class_of(const Request& request, const Decision& decision) {
  if (!proven(request, decision)) return AuditClass::kAnonymous;
  return decision.suspected_crossing ? AuditClass::kCrossTenant : AuditClass::kRefusals;
}

// The tenant that a fact belongs to: the one that was found, else the one of the credential.
const TenantEntry* owner(const Decision& decision) {
  if (decision.tenant != nullptr) return decision.tenant;
  const Registry& registry = *decision.definitions->registry;
  if (decision.key != nullptr) return registry.tenant(decision.key->tenant);
  if (decision.session != nullptr) return registry.tenant(decision.session->tenant);
  return nullptr;
}

std::string_view action_of(const Request& request, const Decision& decision) {
  if (!request.permission.empty()) return request.permission;
  const uint32_t index = request.action != kNoIndex ? request.action : request.admit_action;
  if (index == kNoIndex) return {};
  return decision.definitions->catalog->actions()[index];
}

std::string_view named_tenant(const Request& request) {
  if (!request.tenant.empty()) return request.tenant;
  return request.hints.empty() ? std::string_view() : request.hints.front();
}

// The public part of a key; its secret never leaves the request.
std::string_view key_id(const Request& request, const Decision& decision) {
  if (decision.key != nullptr) return decision.key->id;
  return api_key_public_id(request.api_key).value_or(std::string_view());
}

// A key that stands for nobody is its own principal.
std::string_view who(const Decision& decision) {
  if (!decision.principal.empty() && !decision.principal_is_hint) return decision.principal;
  return decision.key != nullptr ? std::string_view(decision.key->id) : "anonymous";
}

RequestOrigin origin_of(const Request& request) {
  return request.origin == nullptr ? RequestOrigin() : request.origin->origin();
}

void put_request(std::string_view type, std::string_view result, const Request& request,
                 const RequestOrigin& origin, const Decision& decision, FactFields* fields) {
  fields->known(FieldId::kType, type);
  fields->text(FieldId::kAction, action_of(request, decision));
  const size_t slash = request.resource.find('/');
  fields->text(FieldId::kResource, request.resource.substr(0, slash));
  if (slash != std::string_view::npos) {
    fields->text(FieldId::kResourceId, request.resource.substr(slash + 1));
  }
  fields->text(FieldId::kPrincipal, who(decision));
  fields->known(FieldId::kResult, result);
  fields->address(decision.ip);
  fields->foreign(FieldId::kUserAgent, {}, origin.user_agent);
  fields->text(FieldId::kRequestId, decision.request_id);
  fields->number(FieldId::kPolicyRevision, decision.definitions->revision);
  fields->known(FieldId::kReason, reason_code(decision.reason));
  fields->text(FieldId::kKeyId, key_id(request, decision));
  if (decision.principal_is_hint) fields->named("claimed_principal", decision.principal);
}

uint64_t mixed(uint64_t value) {
  value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
  value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
  return value ^ (value >> 31);
}

// True for the first `most` of each second.
bool within(std::atomic<uint64_t>& word, uint64_t second, uint32_t most) {
  uint64_t seen = word.load(std::memory_order_relaxed);
  while (true) {
    const bool same = seen >> kCountBits == second;
    if (same && (seen & ((uint64_t{1} << kCountBits) - 1)) >= most) return false;
    const uint64_t next = same ? seen + 1 : second << kCountBits | 1;
    if (word.compare_exchange_weak(seen, next, std::memory_order_relaxed)) return true;
  }
}

}  // namespace

Facts::Facts(std::shared_ptr<log::Log> log) : log_(std::move(log)), seed_(0) {
  std::array<uint8_t, 8> bytes{};
  random_bytes(bytes);
  for (const uint8_t byte : bytes) seed_ = seed_ << 8 | byte;
}

FactCounts Facts::counts() const {
  return {recorded_.load(std::memory_order_relaxed), suppressed_.load(std::memory_order_relaxed),
          lost_.load(std::memory_order_relaxed)};
}

bool Facts::record(const Request& request, bool opening, const Decision& decision) {
  bool kept = true;
  if (opening && decision.key != nullptr) kept &= key_used(request, decision);
  if (decision.reason != Reason::kAllowed) {
    kept &= refused(class_of(request, decision), request, decision);
  }
  return kept;
}

void Facts::note(const Request& request, bool question, const Decision& told) {
  (void)refused(question ? AuditClass::kQuestions : class_of(request, told), request, told);
}

bool Facts::wanted(AuditClass of, const Decision& decision) {
  return wanted(decision.definitions->catalog->audit(), of, decision.reason != Reason::kAllowed,
                decision.now_wall_ns);
}

bool Facts::threshold_wanted(const AuditPolicy& policy, bool refused, int64_t now_wall_ns) {
  return wanted(policy, AuditClass::kThresholds, refused, now_wall_ns);
}

bool Facts::wanted(const AuditPolicy& policy, AuditClass of, bool refused, int64_t now_wall_ns) {
  const AuditRule& rule = policy.rule(of);
  bool yes = false;
  switch (rule.mode) {
    case AuditRule::Mode::kAlways: return true;
    case AuditRule::Mode::kNever: return false;
    case AuditRule::Mode::kRefusals: return refused;
    case AuditRule::Mode::kSampled:
      yes = mixed(seed_ + drawn_.fetch_add(1, std::memory_order_relaxed) * 0x9e3779b97f4a7c15) %
                1'000'000 <
            rule.per_million;
      break;
    case AuditRule::Mode::kBounded:
      yes = within(seconds_[static_cast<size_t>(of)],
                   static_cast<uint64_t>(std::max<int64_t>(now_wall_ns, 0) / kSecondNs),
                   rule.per_second);
      break;
  }
  if (!yes) suppressed_.fetch_add(1, std::memory_order_relaxed);
  return yes;
}

bool Facts::append(const TenantEntry* tenant, std::span<const log::Field> fields,
                   const Decision& decision) {
  log::Entry entry;
  entry.chain = log::Class::kSecurity;
  if (tenant != nullptr) entry.tenant = tenant->id;
  entry.fields = fields;
  PersonalMarks marks;
  const PersonalFields& personal = decision.definitions->catalog->audit().personal;
  if (!personal.names.empty() && !decision.principal_is_hint && !decision.principal.empty() &&
      decision.principal != kSystem) {
    entry.subject = decision.principal;
    entry.fields = marks.marked(fields, personal);
  }
  entry.time_ns = decision.now_wall_ns;
  const bool full = full_.load(std::memory_order_relaxed);
  entry.wait_ns = full ? kWaitWhileFullNs : kWaitNs;
  const bool taken = log_->append(entry, log::Ack::kRing).ok();
  if (full == taken) full_.store(!taken, std::memory_order_relaxed);
  if (taken) {
    recorded_.fetch_add(1, std::memory_order_relaxed);
    return true;
  }
  lost_.fetch_add(1, std::memory_order_relaxed);
  return decision.definitions->catalog->audit().count_when_full;
}

bool Facts::refused(AuditClass of, const Request& request, const Decision& decision) {
  if (!wanted(of, decision)) return true;
  const RequestOrigin origin = origin_of(request);
  FactFields fields;
  put_request(fact_type(decision), "denied", request, origin, decision, &fields);
  fields.named("detail", decision.detail);
  fields.named("endpoint", decision.endpoint);
  fields.named("method", origin.method);
  if (decision.suspected_crossing || decision.tenant == nullptr) {
    fields.named("named_tenant", named_tenant(request));
  }
  fields.foreign(FieldId::kNamed, "path", origin.path);
  return append(owner(decision), fields.fields(), decision);
}

bool Facts::key_used(const Request& request, const Decision& decision) {
  if (!wanted(AuditClass::kKeyUse, decision)) return true;
  const RequestOrigin origin = origin_of(request);
  FactFields fields;
  const bool allowed = decision.reason == Reason::kAllowed;
  put_request("key_used", allowed ? "success" : "denied", request, origin, decision, &fields);
  fields.named("endpoint", decision.endpoint);
  fields.named("method", origin.method);
  fields.foreign(FieldId::kNamed, "path", origin.path);
  return append(owner(decision), fields.fields(), decision);
}

// ------------------------------------------------------------------------------ of the engine

void Engine::set_log(std::shared_ptr<log::Log> log) {
  const std::lock_guard<std::mutex> lock(publish_mutex_);
  // Decisions under way may still use those before.
  Facts* next = nullptr;
  if (log != nullptr) {
    all_facts_.push_back(std::make_unique<Facts>(std::move(log)));
    next = all_facts_.back().get();
  }
  facts_.store(next, std::memory_order_release);
}

FactCounts Engine::facts() const {
  const std::lock_guard<std::mutex> lock(publish_mutex_);
  FactCounts sum;
  for (const auto& facts : all_facts_) {
    const FactCounts counts = facts->counts();
    sum.recorded += counts.recorded;
    sum.suppressed += counts.suppressed;
    sum.lost += counts.lost;
  }
  return sum;
}

bool Engine::threshold_wanted(bool refused) const {
  const std::shared_ptr<const Definitions> definitions = this->definitions();
  Facts* const facts = facts_.load(std::memory_order_acquire);
  if (facts == nullptr || definitions == nullptr) return true;
  return facts->threshold_wanted(definitions->catalog->audit(), refused, clock_->wall_ns());
}

// What is told is put together as if it had been decided by the newest definitions.
void Engine::note_refusal(const Request& request, const Refusal& refusal, const Decision* within) {
  Facts* const facts = facts_.load(std::memory_order_acquire);
  Decision told;
  told.definitions = definitions();
  if (facts == nullptr || told.definitions == nullptr) return;
  const Registry& registry = *told.definitions->registry;
  told.reason = refusal.reason;
  told.detail.assign(refusal.detail);
  told.now_wall_ns = clock_->wall_ns();
  told.ip.assign(request.ip);
  told.request_id.assign(request.request_id);
  told.endpoint.assign(request.endpoint);
  if (within != nullptr && within->tenant != nullptr) {
    // Of definitions that `within` keeps, where the newest have it no longer.
    const TenantEntry* const tenant = registry.by_id(within->tenant->id);
    told.tenant = tenant != nullptr ? tenant : within->tenant;
    told.key = within->key;
    told.session = within->session;
    told.principal = within->principal;
    told.principal_is_hint = within->principal_is_hint;
    told.ip = within->ip;
    told.request_id = within->request_id;
    if (told.endpoint.empty()) told.endpoint = within->endpoint;
  } else if (!request.tenant.empty()) {
    told.tenant = registry.by_reference(request.tenant);
  }
  told.belongs = told.tenant != nullptr;
  if (!request.principal.empty()) {
    told.principal.assign(request.principal);
    told.principal_is_hint = false;
  }
  facts->note(request, refusal.question, told);
}

// What was decided goes into the log, or is taken back.
void Engine::tell(Facts* facts, const Request& request, bool opening, Decision* decision) {
  if (!Facts::any(*decision, opening) || request.dry_run) return;
  if (facts->record(request, opening, *decision)) return;
  give_back_quotas(decision, 0);
  decision->reason = Reason::kStateUnavailable;
  decision->detail = "the audit log";
  decision->retry_after_ns = kSecondNs;
}

}  // namespace tenancy
