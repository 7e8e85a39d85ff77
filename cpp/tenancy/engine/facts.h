// Facts: what decisions leave in the log, as the catalog's audit policy says.
//
// A fact is appended before its decision is given away, at the level of the ring: it survives the
// death of the process. Secrets never get into one; the principal and the address have fields of
// their own. Types, classes and fields are in docs/catalog.md.
//
// Invariants:
//  1. A dry run and a decision on stale definitions leave nothing.
//  2. What the policy holds back and what the log has no room for is counted.
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
  explicit Facts(std::shared_ptr<log::Log> log);

  // Whether there is anything to look at: all that a decision without a fact costs. `opening`: the
  // first half of a request, or the whole of it.
  static bool any(const Decision& decision, bool opening) {
    if (decision.stale) return false;
    if (decision.reason != Reason::kAllowed || decision.alerts) return true;
    return opening && decision.key != nullptr &&
           decision.definitions->catalog->audit().rule(AuditClass::kKeyUse).mode !=
               AuditRule::Mode::kNever;
  }
  // False: a fact found no place in the log, and the policy wants its decision refused.
  bool record(const Request& request, bool opening, const Decision& decision);

  FactCounts counts() const;

 private:
  bool refused(const Request& request, const Decision& decision);
  bool key_used(const Request& request, const Decision& decision);
  bool thresholds(const Request& request, const Decision& decision);
  bool threshold(const Decision& decision, const QuotaEntry& entry, size_t place);
  // What the rule says now; what it holds back is counted.
  bool wanted(AuditClass of, const Decision& decision);
  bool append(log::Class chain, const TenantEntry* tenant, std::span<const log::Field> fields,
              const Decision& decision);

  std::shared_ptr<log::Log> log_;
  uint64_t seed_;  // nobody outside can tell what will be sampled
  std::atomic<uint64_t> drawn_{0};
  // Per class: the second and how many facts it has had.
  std::array<std::atomic<uint64_t>, kAuditClasses> seconds_{};
  // Thresholds that were recorded lately: they are reported until somebody acknowledges them.
  std::array<std::atomic<uint64_t>, 1024> told_{};
  std::atomic<uint64_t> recorded_{0};
  std::atomic<uint64_t> suppressed_{0};
  std::atomic<uint64_t> lost_{0};
};

}  // namespace tenancy
