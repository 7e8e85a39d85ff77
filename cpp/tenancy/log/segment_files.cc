#include "tenancy/log/segment_files.h"

#include <algorithm>

#include "tenancy/log/segment_reader.h"
#include "tenancy/log/store.h"
#include "tenancy/log/stub.h"

namespace tenancy::log {

Result<std::array<SegmentFiles, kClasses>> list_segment_files(Files& files,
                                                              const std::string& segments) {
  const Result<std::vector<std::string>> names = files.list(segments);
  if (!names) return names.status();
  std::array<SegmentFiles, kClasses> out;
  for (const std::string& name : *names) {
    if (const auto segment = parse_segment_name(name)) {
      out[index(segment->chain)].segments.push_back(segment->first);
    } else if (const auto stub = parse_stub_name(name)) {
      out[index(stub->chain)].stubs.push_back(stub->first);
    }
  }
  return out;
}

Result<std::array<uint64_t, kClasses>> kept_from(Files& files, const std::string& log_directory) {
  const Result<Manifest> manifest = read_manifest(files, Paths::of_log(log_directory));
  if (!manifest) return manifest.status();
  return manifest->kept_from;
}

Result<std::vector<SegmentSpan>> segments_of(Files& files, const std::string& log_directory,
                                             Class chain) {
  const std::string directory = log_directory + "/segments";
  const Result<std::array<uint64_t, kClasses>> from = kept_from(files, log_directory);
  if (!from) return from.status();
  const uint64_t kept = (*from)[index(chain)];
  const Result<std::array<SegmentFiles, kClasses>> all = list_segment_files(files, directory);
  if (!all) return all.status();
  std::vector<SegmentSpan> out;
  // Beyond `kept` and before it lies what a prune left that was broken off.
  for (const uint64_t first : (*all)[index(chain)].stubs) {
    if (first >= kept) break;
    const Result<Stub> stub = read_stub(files, directory, chain, first);
    if (!stub) return stub.status();
    out.push_back({first, stub->end(), true, stub->segment_bytes, stub->hash});
  }
  for (const uint64_t first : (*all)[index(chain)].segments) {
    if (first < kept) continue;
    if (!out.empty() && !out.back().pruned) out.back().end = first;
    out.push_back({first, kNoSequence, false, 0, {}});
  }
  return out;
}

Result<SegmentContent> segment_content(Files& files, const std::string& log_directory, Class chain,
                                       const SegmentSpan& segment,
                                       const std::set<std::string, std::less<>>& tenants) {
  Result<SegmentReader> reader =
      SegmentReader::open(files, log_directory + "/segments/" + segment_name(chain, segment.first));
  if (!reader) return reader.status();
  SegmentContent out;
  std::set<std::string, std::less<>> found;
  SegmentReader::Item item;
  while (true) {
    if (Status status = reader->next(&item); !status) return status;
    // Behind a cut lies what was written again in the next segment.
    if (item.step != SegmentReader::Step::kRecord || item.record.sequence() >= segment.end) break;
    const int64_t time = item.record.time_ns();
    out.first_time_ns = out.records == 0 ? time : std::min(out.first_time_ns, time);
    out.last_time_ns = out.records == 0 ? time : std::max(out.last_time_ns, time);
    ++out.records;
    out.events += item.record.kind() == Kind::kEvent ? 1 : 0;
    const auto tenant = item.record.tenant();
    if (tenant && tenants.find(*tenant) != tenants.end()) found.emplace(*tenant);
  }
  out.tenants.assign(found.begin(), found.end());
  return out;
}

}  // namespace tenancy::log
