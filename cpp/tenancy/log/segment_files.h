// The segments of a log as they lie in its directory: which there are, and what is in one.
//
// Thread safety: free functions without state.
#pragma once

#include <array>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/io.h"
#include "tenancy/log/types.h"

namespace tenancy::log {

// First sequences, ascending.
struct SegmentFiles {
  std::vector<uint64_t> segments;
  std::vector<uint64_t> stubs;
};
// By class. kNotFound: there is no such directory.
Result<std::array<SegmentFiles, kClasses>> list_segment_files(Files& files,
                                                              const std::string& segments);

// Where the kept records of each chain begin.
Result<std::array<uint64_t, kClasses>> kept_from(Files& files, const std::string& log_directory);

// One segment of a chain, from its files.
struct SegmentSpan {
  uint64_t first = 0;
  uint64_t end = 0;     // kNoSequence of the one that is written to
  bool pruned = false;  // its stub is left
  // Of a stub:
  uint64_t bytes = 0;  // of the segment that it stands for
  Digest256 stub_hash{};
};
// Ascending, without gaps: stubs, then segments.
Result<std::vector<SegmentSpan>> segments_of(Files& files, const std::string& log_directory,
                                             Class chain);

// What the records of one segment are.
struct SegmentContent {
  uint64_t records = 0;
  uint64_t events = 0;
  int64_t first_time_ns = 0;           // the earliest; 0 without records
  int64_t last_time_ns = 0;            // the latest: a clock may have been set back in between
  std::vector<std::string> tenants{};  // of those asked for, who has a record here; ascending
};
// Reads it from end to end. kNotFound: no such segment, or it was pruned.
Result<SegmentContent> segment_content(Files& files, const std::string& log_directory, Class chain,
                                       const SegmentSpan& segment,
                                       const std::set<std::string, std::less<>>& tenants);

}  // namespace tenancy::log
