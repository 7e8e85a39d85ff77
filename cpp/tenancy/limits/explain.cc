#include "tenancy/limits/explain.h"

#include <array>

#include "tenancy/limits/limiter.h"

namespace tenancy {

namespace {

// Tenths of the largest unit that is not longer than `ns`: "15 s", "2.5 min".
std::string length_text(int64_t ns) {
  struct Unit {
    int64_t ns;
    const char* name;
  };
  static constexpr std::array<Unit, 7> kUnits{{{86'400'000'000'000, " d"},
                                               {3'600'000'000'000, " h"},
                                               {60'000'000'000, " min"},
                                               {1'000'000'000, " s"},
                                               {1'000'000, " ms"},
                                               {1'000, " us"},
                                               {1, " ns"}}};
  for (const Unit& unit : kUnits) {
    if (ns < unit.ns) continue;
    const int64_t tenths = ns / (unit.ns / 10 == 0 ? 1 : unit.ns / 10);
    if (unit.ns == 1) return std::to_string(ns) + unit.name;
    const std::string fraction = tenths % 10 == 0 ? "" : "." + std::to_string(tenths % 10);
    return std::to_string(tenths / 10) + fraction + unit.name;
  }
  return "0 s";
}

size_t bytes_per_key(const LimitPolicy& policy) {
  const SlotClass slot_class = limit_slot_class(policy);
  const size_t words = state_words(slot_class) + (slot_class == SlotClass::kWords2 ? 1 : 2);
  return words * sizeof(uint64_t);
}

std::string worst_case_text(const LimitPolicy& policy) {
  return "at most " + std::to_string(policy.worst_case()) + " in any " +
         length_text(policy.window_ns);
}

std::string gcra_text(const LimitPolicy& policy) {
  const std::string burst = std::to_string(policy.capacity());
  const std::string interval = length_text(policy.interval_ns());
  const bool queue = policy.algorithm == Algorithm::kLeakyQueue;
  const std::string how =
      queue
          ? "up to " + burst + " may wait; each answer says how long, one leaves every " + interval
          : "up to " + burst + " at once, one more comes back every " + interval;
  return how + " (rounded up to whole nanoseconds, so the long-run rate never passes the limit); " +
         worst_case_text(policy) +
         ". A change of limit or burst keeps the time until the bucket is " +
         (queue ? "empty" : "full") + " again, cut to the new capacity";
}

std::string window_text(const LimitPolicy& policy) {
  switch (policy.algorithm) {
    case Algorithm::kSlidingWindow:
      return worst_case_text(policy) +
             "; a burst comes back exactly one window later, steady traffic at "
             "most " +
             length_text((policy.window_ns + 3) / 4) +
             " after that. A change of the limit keeps what was counted";
    case Algorithm::kSlidingLog:
      return worst_case_text(policy) +
             ", exactly: each hit comes back one window later; a look costs "
             "time in proportion to the hits remembered. A change of the limit keeps what was "
             "counted "
             "unless it crosses 64 or 512, where counting starts afresh";
    case Algorithm::kFixedWindow:
      return std::string(policy.anchor_first ? "windows begin at the first request"
                                             : "windows begin at whole multiples of their length") +
             " and everything comes back at their end; " + worst_case_text(policy) +
             ", around the border of two windows. A change of the limit keeps what was counted";
    default:
      return "counts this window in full and the last one by the share that a sliding window still "
             "covers; " +
             worst_case_text(policy) +
             " when traffic is uneven. Capacity returns evenly over the next window. A change of "
             "the "
             "limit keeps what was counted";
  }
}

}  // namespace

std::string limit_explain(const LimitPolicy& policy) {
  std::string text = policy.text() + ", " + std::string(algorithm_name(policy.algorithm)) + ": ";
  text += policy.is_gcra() ? gcra_text(policy) : window_text(policy);
  text +=
      "; a change of window or algorithm starts afresh. Exact over all processes that share the "
      "counters; " +
      std::to_string(bytes_per_key(policy)) + " bytes per key";
  if (policy.shadow) text += "; shadow: counts and reports, refuses nothing";
  text += policy.on_full == OnFull::kAllow ? "; allows when the counters are full"
                                           : "; refuses when the counters are full";
  return text + ".";
}

}  // namespace tenancy
