// Pruning, as any process asks for it: the leader does it.
#include <utility>

#include "tenancy/log/log_impl.h"
#include "tenancy/log/segment_files.h"

namespace tenancy::log {

Result<uint64_t> LogImpl::prune_chain(Class chain, uint64_t before) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  {
    const auto turn = (*found)->wait_turn();
    const Result<bool> leads = (*found)->flusher.lead();
    if (!leads) return leads.status();
    if (*leads) return (*found)->flusher.prune(chain, before);
  }
  RingHeader& header = ring_->header();
  const size_t i = index(chain);
  header.prune_before[i].store(before);
  if (Status status = ask(Request::kPrune); !status) {
    // Nobody is to prune later what may be held by then.
    header.prune_before[i].store(0);
    return status;
  }
  if (const uint64_t code = header.prune_code[i].load(); code != 0) {
    const RingLock lock(*ring_, options_.full_wait_ns);
    return Error{static_cast<Code>(code), lock.held() ? header.failure_text : "see the log"};
  }
  return header.pruned_at[i].load();
}

Result<PruneResult> LogImpl::prune(Class chain, uint64_t before) {
  const auto from = kept_from(files_, paths_.log);
  if (!from) return from.status();
  const uint64_t kept_before = (*from)[index(chain)];
  const Result<uint64_t> record = prune_chain(chain, before);
  if (!record) return record.status();
  const Result<std::vector<SegmentSpan>> spans = segments_of(files_, paths_.log, chain);
  if (!spans) return spans.status();
  PruneResult out;
  out.record = *record;
  for (const SegmentSpan& span : *spans) {
    if (!span.pruned) break;
    out.kept_from = span.end;
    if (span.first >= kept_before) {
      out.segments.push_back({span.first, span.end, span.bytes, span.stub_hash});
    }
  }
  return out;
}

}  // namespace tenancy::log
