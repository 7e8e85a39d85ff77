// Facts: what decisions leave in the log, as the catalog's audit policy says.
//
// A fact is appended before its decision is given away, at the level of the ring: it survives the
// death of the process. Secrets never get into one; the principal and the address have fields of
// their own. Types, classes and fields are in docs/catalog.md.
//
// Invariants:
//  1. A dry run leaves nothing.
//  2. What the policy holds back and what the log has no room for is counted.
//  3. A log without room holds a decision up once, for kWaitNs; until it has room again, the next
//     ones hardly wait.
//
// Thresholds of quotas are told once over all processes, so not from here: whoever writes them asks
// `threshold_wanted`.
//
// Ownership: shares the log. Thread safety: all methods from any thread.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "tenancy/engine/engine.h"
#include "tenancy/log/log.h"

namespace tenancy {

class Facts {
 public:
  static constexpr int64_t kWaitNs = 5'000'000;
  static constexpr int64_t kWaitWhileFullNs = 100'000;

  explicit Facts(std::shared_ptr<log::Log> log);

  // Whether there is anything to look at: all that a decision without a fact costs. `opening`: the
  // first half of a request, or the whole of it.
  static bool any(const Decision& decision, bool opening) {
    if (decision.reason != Reason::kAllowed) return true;
    return opening && decision.key != nullptr &&
           decision.definitions->catalog->audit().rule(AuditClass::kKeyUse).mode !=
               AuditRule::Mode::kNever;
  }
  // False: a fact found no place in the log, and the policy wants its decision refused.
  bool record(const Request& request, bool opening, const Decision& decision);
  // The fact of a refusal that is no decision; `told` says what one would.
  void note(const Request& request, bool question, const Decision& told);

  // What the rule of thresholds says of one that was reached just now.
  bool threshold_wanted(const AuditPolicy& policy, bool refused, int64_t now_wall_ns);
  FactCounts counts() const;

 private:
  bool refused(AuditClass of, const Request& request, const Decision& decision);
  bool key_used(const Request& request, const Decision& decision);
  // What the rule says now; what it holds back is counted.
  bool wanted(AuditClass of, const Decision& decision);
  bool wanted(const AuditPolicy& policy, AuditClass of, bool refused, int64_t now_wall_ns);
  bool append(const TenantEntry* tenant, std::span<const log::Field> fields,
              const Decision& decision);

  std::shared_ptr<log::Log> log_;
  uint64_t seed_;  // nobody outside can tell what will be sampled
  std::atomic<uint64_t> drawn_{0};
  // Per class: the second and how many facts it has had.
  std::array<std::atomic<uint64_t>, kAuditClasses> seconds_{};
  std::atomic<bool> full_{false};  // the log took the last fact not
  std::atomic<uint64_t> recorded_{0};
  std::atomic<uint64_t> suppressed_{0};
  std::atomic<uint64_t> lost_{0};
};

}  // namespace tenancy
