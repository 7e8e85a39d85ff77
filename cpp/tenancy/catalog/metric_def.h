// MetricDef: what is metered and how events become one number. MeteringPolicy: until when events
// are taken.
//
// Thread safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tenancy {

// What the events of a period come to.
enum class Aggregation : uint8_t {
  kSum = 0,
  kCount,         // how many events
  kMax,           // the largest quantity
  kLast,          // the quantity of the newest event
  kUnique,        // how many different values of one property
  kTimeWeighted,  // the mean over time of a level that each event sets
};
constexpr std::array<std::string_view, 6> kAggregationNames = {"sum",  "count",  "max",
                                                               "last", "unique", "time_weighted"};

struct MetricDef {
  std::string name;
  Aggregation aggregation = Aggregation::kSum;
  std::string unit;                   // for people: "tokens", "GB"
  std::string description;            // for people
  std::string unique_by;              // kUnique only: the property
  std::vector<std::string> group_by;  // properties by which sums may be split
  std::string quota;  // of kind kConsumption or kCount, charged with each recording; or empty
};

struct MeteringPolicy {
  int64_t grace_ns = 3 * 86'400 * int64_t{1'000'000'000};  // late events after a period's end
  int64_t ahead_ns = 300 * int64_t{1'000'000'000};         // how far clocks of senders may be ahead
};

}  // namespace tenancy
