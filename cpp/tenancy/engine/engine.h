// Engine: one request in, one decision out.
//
// A decision goes through the stages of the design in order: limits that need no identity,
// credential, tenant and status, limits of tenant / user / key, endpoint limits, permission and
// feature, quotas. `admit` is the first half (before a router knows the endpoint), `authorize` the
// second, `finish` settles what was reserved; `check` is both halves in one.
//
// Invariants:
//  1. A refusal by a rate limit gives back what this decision took from other rate limits, except
//  from those
//     before authentication. A refusal for another reason keeps the tokens spent and takes no
//     quota.
//  2. Several quotas are taken all or none.
//  3. When the tenant is unclear the answer is a refusal. Unknown and forbidden tenants take the
//  same path and
//     get the same answer.
//  4. A decision is made from one Definitions value, and only while that is the newest revision the
//  host
//     knows: otherwise `stale` is set and nothing was taken.
//
// Ownership: unique; owns the counters. Thread safety: all methods from any thread; `apply` calls
// are serialised inside.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "tenancy/base/clock.h"
#include "tenancy/base/status.h"
#include "tenancy/counters/table.h"
#include "tenancy/engine/definitions.h"
#include "tenancy/limits/limiter.h"
#include "tenancy/quotas/quotas.h"

namespace tenancy {

namespace log {
class Log;
}
class Facts;

enum class Reason : uint8_t {
  kAllowed = 0,
  kMissingTenant,
  kInvalidTenant,
  kInvalidCredential,
  kExpiredCredential,
  kSuspendedTenant,
  kTenantConflict,
  kPermissionDenied,
  kFeatureNotInPlan,
  kMfaRequired,
  kQuotaExceeded,
  kConcurrencyExceeded,
  kRateLimitExceeded,
  kStateUnavailable,
  kRequestInProgress,
  kIdempotencyKeyReused,
  kInvalidIdempotencyKey,
};
constexpr size_t kReasons = 17;
std::string_view reason_code(Reason reason);  // "ALLOWED", "MISSING_TENANT", …
int reason_http_status(Reason reason);        // 200, 400, 401, 403, 409, 422, 429, 503

struct QuotaAsk {
  uint32_t quota = kNoIndex;  // catalog index
  uint64_t amount = 0;
  // For quotas whose current value the application counts itself: judged as `base + amount <=
  // limit`, nothing is stored.
  bool gauge = false;
  uint64_t base = 0;
};

// Where a request came from, as far as it decides nothing.
struct RequestOrigin {
  std::string_view method;
  std::string_view path;  // without a query, where secrets travel
  std::string_view user_agent;
};
// Asked when a fact is written, and only then. What it answers lives as long as itself.
class OriginSource {
 public:
  virtual RequestOrigin origin() = 0;

 protected:
  ~OriginSource() = default;
};

// Views must outlive the call only.
struct Request {
  // Credential: at most one of the three.
  std::string_view api_key;
  std::string_view session;
  // The caller verified a credential of its own kind and found it right, but over: no guess.
  bool credential_expired = false;
  // An identity that the caller verified (a JWT): the tenants it may select (references), and its
  // user.
  bool has_identity = false;
  std::span<const std::string_view> identity_tenants;
  std::string_view identity_principal;
  std::span<const std::string> identity_scopes;  // permission claims, where configured to count
  bool identity_scoped = false;
  std::optional<std::span<const std::string>> identity_roles;  // to be active; absent: all

  std::string_view tenant;     // named by the program itself: trusted
  std::string_view principal;  // the user, by the program; with a credential only a hint
  // Named by the request (header, path, query, subdomain): they only select, never override.
  std::span<const std::string_view> hints;
  bool trust_hints = false;  // a trusted proxy is in front, or the route is anonymous

  // Roles to be active, some of those that the principal holds and its credential activates;
  // absent: all of them.
  std::optional<std::span<const std::string_view>> roles;

  std::string_view ip;  // canonical text or bytes of the address (IPv6 by /64)
  std::string_view endpoint;
  std::string_view request_id;       // for the record alone, as the request had it
  OriginSource* origin = nullptr;    // for the record alone; null: nothing is known
  uint32_t admit_action = kNoIndex;  // counted by the first half: the catalog's default action
  uint32_t action = kNoIndex;        // counted by the second half
  std::string_view permission;
  std::string_view resource;  // "type/id"
  uint32_t feature = kNoIndex;
  uint64_t cost = 1;
  std::span<const QuotaAsk> consume;
  // What is consumed is charged once for all requests of the caller that carry this key, and stand
  // for the same thing (`fingerprint`: method and path, say). One that cannot be a key refuses what
  // consumes.
  bool has_idempotency_key = false;
  std::string_view idempotency_key;
  std::string_view fingerprint;
  bool reserve = false;  // web: reserve until `finish`; otherwise consumption is final at once
  bool dry_run = false;  // explain: look, take nothing
};

struct LimitEntry {
  const LimitRule* rule = nullptr;  // lives in the decision's definitions
  const LimitPolicy* policy = nullptr;
  LimitState state;
  uint64_t group = 0;
  uint64_t key = 0;
  uint64_t cost = 0;
  Region region = Region::kTenant;
  bool before_identity = false;
  bool taken = false;
};

struct QuotaEntry {
  uint32_t quota = kNoIndex;
  uint64_t amount = 0;
  QuotaState state;
  QuotaHandle handle;   // reservation or lease; 0 when final or none
  ChargeHandle charge;  // to be booked before, where there is an idempotency key
  bool lease = false;
  bool settled = false;
};

// A vector inside its owner: decisions allocate nothing on the hot path, and items that are not
// used cost nothing, not even clearing.
template <class T, size_t N>
class FixedVector {
  static_assert(std::is_trivially_copyable_v<T> && std::is_trivially_destructible_v<T>);

 public:
  bool push(const T& value) {
    if (size_ == N) return false;
    new (storage_ + size_ * sizeof(T)) T(value);
    ++size_;
    return true;
  }
  void truncate(size_t size) { size_ = size < size_ ? size : size_; }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T& operator[](size_t i) { return begin()[i]; }
  const T& operator[](size_t i) const { return begin()[i]; }
  T* begin() { return std::launder(reinterpret_cast<T*>(storage_)); }
  T* end() { return begin() + size_; }
  const T* begin() const { return std::launder(reinterpret_cast<const T*>(storage_)); }
  const T* end() const { return begin() + size_; }

 private:
  size_t size_ = 0;
  alignas(T) std::byte storage_[N * sizeof(T)];
};

constexpr size_t kLimitsMax = 24;  // windows in one decision
constexpr size_t kQuotasMax = 16;  // quotas in one decision; each lease counts

struct Decision {
  bool stale = false;
  bool reserve = false;
  bool belongs = false;  // the caller proved that it belongs to `tenant`, or the program named it
  bool suspected_crossing = false;  // TENANT_CONFLICT: to be audited
  bool alerts = false;              // some quota crossed a threshold
  bool repeated = false;            // something was charged to an earlier attempt with the same key
  bool finished = false;
  Reason reason = Reason::kAllowed;
  std::shared_ptr<const Definitions> definitions;
  // Definitions of earlier stages of this request, when they changed in between: `limits` point
  // into them.
  std::vector<std::shared_ptr<const Definitions>> earlier;
  const TenantEntry* tenant = nullptr;
  const KeyEntry* key = nullptr;
  const SessionEntry* session = nullptr;
  std::string principal;           // who acts, for limits and the record
  bool principal_is_hint = false;  // named beside a credential that has no user: gives no rights
  ScopeSetId scopes = kNoScopes;
  std::vector<std::string> identity_scopes;  // of a verified identity whose claims count
  bool identity_scoped = false;
  // As the request named them. What is not held, or not allowed together, was refused by then.
  std::optional<std::vector<std::string>> active_roles;
  bool roles_refused = false;  // kPermissionDenied because of them; `detail` is a sentence
  std::string ip;
  std::string request_id;
  std::string endpoint;        // the last that the request's stages named
  std::string detail;          // the permission, feature, quota or limit that refused
  int64_t retry_after_ns = 0;  // kNever: waiting does not help
  int64_t now_wall_ns = 0;
  int64_t started_ns = 0;    // table time
  int64_t taken_ns = 0;      // table time of the takes
  uint64_t idempotency = 0;  // hash of the key; 0: none
  uint64_t fingerprint = 0;
  bool idempotency_invalid = false;
  FixedVector<LimitEntry, kLimitsMax> limits;
  FixedVector<QuotaEntry, kQuotasMax> quotas;
  bool allowed() const { return reason == Reason::kAllowed && !stale; }
};

struct Refusal {
  Reason reason = Reason::kPermissionDenied;
  std::string_view detail;  // as `Decision::detail`
  bool question = false;    // nothing was refused by the answer: of class kQuestions
};

constexpr size_t kLatencyBuckets = 32;

// What became of facts since the engine was opened, in this process.
struct FactCounts {
  uint64_t recorded = 0;
  uint64_t suppressed = 0;  // sampled out, or beyond a bound per second
  uint64_t lost = 0;        // the log could not take them
};

class Engine {
 public:
  struct Options {
    CounterTable::Options counters;
    std::string default_tenant;  // reference; empty: none
    int64_t reservation_ns = Quotas::kReservationNs;
    // Wrong credentials of one address, after which it is not listened to. Limit 0: no bound.
    LimitPolicy failed_credentials;
    // Idempotency keys: how long a charge is remembered, how often it may be repeated for nothing,
    // and how many one tenant may add in that time (0: no bound).
    int64_t idempotency_window_ns = int64_t{86'400} * 1'000'000'000;
    uint32_t idempotency_repeats = 5;
    uint64_t idempotency_keys_max = 100'000;
  };
  static Result<std::unique_ptr<Engine>> open(const Options& options,
                                              std::shared_ptr<const Clock> clock);
  ~Engine();

  // Makes the next Definitions and publishes it. On error nothing changed.
  Status apply(ChangeSet changes);
  std::shared_ptr<const Definitions> definitions() const;
  uint64_t revision() const { return revision_.load(std::memory_order_acquire); }
  // Counts the publications of this process: a reader that keeps definitions asks whether they are
  // still the ones in force.
  uint64_t published() const { return published_.load(std::memory_order_acquire); }
  // True when the host's revision word says that this engine's definitions are the newest.
  bool current() const;

  void check(const std::shared_ptr<const Definitions>& definitions, const Request& request,
             Decision* decision);
  void admit(const std::shared_ptr<const Definitions>& definitions, const Request& request,
             Decision* decision);
  // Continues an admitted decision with what the router found.
  void authorize(const Request& request, Decision* decision);
  // Refuses what cannot be decided: STATE_UNAVAILABLE, with its fact. The definitions at hand are
  // not the newest, so nothing is looked up in them.
  void give_up(const Request& request, std::string_view detail, Decision* decision);
  // Leaves the fact of a refusal that is no decision: a limit written at an endpoint, a quota or a
  // right asked for by itself. `within`: the decision of the request in which it was made, which
  // says who asked and from where; null: tenant and principal are those that `request` names.
  void note_refusal(const Request& request, const Refusal& refusal, const Decision* within);
  // Settles reservations and leases once: commit below 500, release from 500 on.
  void finish(Decision* decision, int http_status);

  CounterTable& counters() { return *counters_; }
  Quotas& quotas() { return *quotas_; }
  const Clock& clock() const { return *clock_; }
  const std::shared_ptr<const Clock>& clock_ptr() const { return clock_; }
  struct KeyUsage {
    uint64_t uses = 0;              // while in grace after a rotation
    int64_t last_used_wall_ns = 0;  // to the minute; 0 = never
  };
  KeyUsage key_usage(const KeyEntry& key);

  // Facts of decisions go there from now on, as the catalog's audit policy says; null: nowhere. A
  // log that is replaced stays open as long as the engine.
  void set_log(std::shared_ptr<log::Log> log);
  FactCounts facts() const;
  // Whether that policy wants the fact of a threshold which a decision, or a call about a quota,
  // has reached. Asked once for each: samples are drawn, and what is held back is counted.
  bool threshold_wanted(bool refused) const;

  // Decisions of this process by reason, and how long requests took from admit to finish: bucket i
  // counts durations below 2^i microseconds (and not below 2^(i-1)).
  const std::array<std::atomic<uint64_t>, kReasons>& decided() const { return decided_; }
  const std::array<std::atomic<uint64_t>, kLatencyBuckets>& latency() const { return latency_; }

  // Settles one quota of a decision: keeps it (or `amount` of it) or gives it back. False when it
  // was settled before or had expired. Where it belongs to an idempotency key, only the attempt
  // that is charged keeps it.
  bool settle(const QuotaTarget& target, QuotaEntry* entry, bool keep,
              std::optional<uint64_t> amount);

  // What the caller of a decision may do, of all permissions known by name: its roles, scopes and
  // claims. Exactly those that a decision about it would find permitted. Sorted.
  static std::vector<std::string> permissions_of(const Decision& decision);
  // The question about one permission, as decisions put it; `active` keeps the names it refers to.
  static AccessQuery access_query(const Decision& decision, std::vector<std::string_view>* active);

  // What `quotas()` wants, for a tenant of these definitions.
  static QuotaTarget quota_target(const Definitions& definitions, const TenantEntry& tenant,
                                  uint32_t quota);
  // The counters of a tenant's action (and of its user, when named), as decisions address them: for
  // peek, reset and refund.
  void limit_entries(const std::shared_ptr<const Definitions>& definitions,
                     const TenantEntry& tenant, std::string_view principal, uint32_t action,
                     Decision* out) const;

 private:
  struct Scope;  // the hashed parts of one request that counters are keyed by
  Engine(const Options& options, std::shared_ptr<const Clock> clock);

  Status make_own_rules();
  bool begin(const std::shared_ptr<const Definitions>& definitions, const Request& request,
             Decision* decision) const;
  bool identify(const Request& request, const Scope& scope, Decision* decision);
  bool admit_stages(const Request& request, Scope* scope, Decision* decision);
  bool authorize_stages(const Request& request, const Scope& scope, Decision* decision);
  Scope scope_of(const Request& request, const Decision& decision) const;
  void add_identity(const Decision& decision, Scope* scope) const;
  bool rebind(Decision* decision) const;

  bool limits_before_identity(const Request& request, const Scope& scope, Decision* decision);
  bool limits_of_identity(const Request& request, const Scope& scope, Decision* decision);
  bool limits_of_endpoint(const Request& request, const Scope& scope, Decision* decision);
  bool add_action(uint32_t action, const Scope& scope, uint64_t cost, Decision* decision) const;
  bool add_rule(const LimitRule& rule, uint64_t rule_hash, const Scope& scope, uint64_t cost,
                bool before_identity, Decision* decision) const;
  bool take_limits(Decision* decision, size_t first, bool dry_run);
  void give_back_limits(Decision* decision, size_t end);

  bool may_try_credential(const Request& request, const Scope& scope, Decision* decision);
  void note_failed_credential(const Request& request, const Scope& scope, Decision* decision);
  bool authenticate(const Request& request, Decision* decision) const;
  bool select_tenant(const Request& request, Decision* decision) const;
  bool serve_tenant(Decision* decision) const;
  bool activate_roles(const Request& request, Decision* decision) const;
  void note_key_use(const KeyEntry& key, int64_t wall_ns);
  void decided(const Request& request, bool opening, Decision* decision);
  void tell(Facts* facts, const Request& request, bool opening, Decision* decision);

  bool permissions(const Request& request, Decision* decision) const;
  bool take_quotas(const Request& request, Decision* decision);
  bool take_quota(const QuotaAsk& ask, const QuotaTarget& target, bool reserve, Decision* decision);
  void give_back_quotas(Decision* decision, size_t first);

  void note_idempotency_key(const Request& request, Decision* decision) const;
  bool claim_charge(const QuotaTarget& target, QuotaEntry* entry, Decision* decision);
  bool may_add_charge(uint64_t key, Decision* decision);
  uint64_t charge_key(const QuotaTarget& target, const QuotaEntry& entry,
                      const Decision& decision) const;
  ChargeTerms charge_terms() const;
  void keep_charged(const Request& request, Decision* decision);

  Options options_;
  std::shared_ptr<const Clock> clock_;
  std::unique_ptr<CounterTable> counters_;
  std::unique_ptr<Quotas> quotas_;
  LimitRule failed_credentials_;  // no window: off
  LimitRule idempotency_keys_;
  std::mutex apply_mutex_;
  mutable std::mutex publish_mutex_;
  std::shared_ptr<const Definitions> definitions_;
  std::vector<std::unique_ptr<Facts>> all_facts_;
  std::atomic<Facts*> facts_{nullptr};  // the last of these, or null
  std::atomic<uint64_t> revision_{0};
  std::atomic<uint64_t> published_{0};
  // Keys that this process has noted as used, with the minute: most requests come from one of few.
  std::array<std::atomic<uint64_t>, 1024> noted_keys_{};
  std::array<std::atomic<uint64_t>, kReasons> decided_{};
  std::array<std::atomic<uint64_t>, kLatencyBuckets> latency_{};
};

}  // namespace tenancy
