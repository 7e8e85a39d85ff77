// Pruning: whole segments of a chain become stubs, in an order that may be broken off anywhere.
// (LOG_FORMAT.md, 6.4)
#include <algorithm>
#include <set>
#include <utility>

#include "tenancy/log/flusher.h"
#include "tenancy/log/segment_files.h"
#include "tenancy/log/stub.h"

namespace tenancy::log {
namespace {

constexpr std::string_view kTemporarySuffix = ".new";

}  // namespace

Result<uint64_t> Flusher::prune(Class chain, uint64_t before) {
  if (Status status = tell_repairs(clock_.wall_ns()); !status) return status;
  if (Status status = pump(ring_.tail(), true); !status) return status;
  // What a prune before this one left: its stubs might be taken for ours.
  if (Status status = clear_leftovers(); !status) return status;
  std::vector<ManifestEntry> going;
  for (const ManifestEntry& entry : manifest_.segments[index(chain)]) {
    if (entry.end > before) break;
    going.push_back(entry);
  }
  if (going.empty()) return kNoSequence;
  leftovers_due_ = true;
  const Result<uint64_t> record = prune_segments(chain, going);
  // What could not be removed now is removed when there is time.
  if (Status status = clear_leftovers(); !status) report(status);
  return record;
}

Result<uint64_t> Flusher::prune_segments(Class chain, const std::vector<ManifestEntry>& going) {
  const uint64_t kept = going.back().end;
  if (Status status = write_stubs(chain, going); !status) return status;
  Result<uint64_t> record = append_pruned(chain, kept);
  if (!record) return record;
  // A head from before would promise records that are gone.
  if (Status status = save_head(); !status) return status;
  const Manifest before = manifest_;
  auto& entries = manifest_.segments[index(chain)];
  std::erase_if(entries, [&](const ManifestEntry& entry) { return entry.end <= kept; });
  manifest_.kept_from[index(chain)] = kept;
  manifest_due_ = true;
  if (Status status = write_manifest(); !status) {
    // Which of the two the disk has is not known: the old one is written over whatever is there,
    // and only then stubs are removed.
    manifest_ = before;
    return status;
  }
  return record;
}

Status Flusher::write_stubs(Class chain, const std::vector<ManifestEntry>& going) {
  for (const ManifestEntry& entry : going) {
    const Result<std::string> stub =
        make_stub(files_, paths_.segments, log_id_, chain, entry, file_key());
    if (!stub) return stub.status();
    if (Status status = replace_file(files_, paths_.segments, stub_name(chain, entry.first), *stub);
        !status) {
      return status;
    }
    // Reading a segment takes a while: nobody is to wait for room in the ring meanwhile.
    if (const Result<bool> pumped = pump_due(); !pumped) return pumped.status();
  }
  return {};
}

Result<uint64_t> Flusher::append_pruned(Class chain, uint64_t kept) {
  const auto all = list_segment_files(files_, paths_.segments);
  if (!all) return all.status();
  std::vector<Digest256> hashes;
  uint64_t next = 0;
  for (const uint64_t first : (*all)[index(chain)].stubs) {
    if (first >= kept) break;
    const Result<Stub> stub = read_stub(files_, paths_.segments, chain, first);
    if (!stub) return stub.status();
    if (first != next) break;
    next = stub->end();
    hashes.push_back(stub->hash);
  }
  if (next != kept) {
    return Error{Code::kDamaged, paths_.segments + ": the stub of record " + std::to_string(next) +
                                     " is missing; run: tenancy audit verify"};
  }
  const Digest256 hash = stubs_hash(hashes);
  const Field fields[] = {{FieldId::kKeptFrom, Value::unsigned_integer(kept), {}},
                          {FieldId::kStubsHash, Value::blob(as_view(hash)), {}}};
  RecordDraft draft;
  draft.chain = chain;
  draft.kind = Kind::kPruned;
  draft.time_ns = clock_.wall_ns();
  draft.fields = fields;
  Committed committed;
  if (Status status = append(draft, &committed); !status) return status;
  if (Status status = pump(ring_.tail(), true); !status) return status;
  return committed.position.sequence;
}

// From the names of files and the manifest alone: segments that were pruned and are still there,
// and stubs of those that were not.
Status Flusher::clear_leftovers() {
  if (!leftovers_due_) return {};
  if (Status status = write_manifest(); !status) return status;
  const Result<std::vector<std::string>> names = files_.list(paths_.segments);
  if (!names) return names.status();
  const std::set<std::string> there(names->begin(), names->end());
  bool removed = false;
  for (const std::string& name : *names) {
    std::string_view plain = name;
    const bool temporary = plain.ends_with(kTemporarySuffix);
    if (temporary) plain.remove_suffix(kTemporarySuffix.size());
    bool leftover = false;
    if (const auto segment = parse_segment_name(plain)) {
      leftover = segment->first < manifest_.kept_from[index(segment->chain)] &&
                 there.count(stub_name(segment->chain, segment->first)) != 0;
    } else if (const auto stub = parse_stub_name(plain)) {
      leftover = temporary || (stub->first >= manifest_.kept_from[index(stub->chain)] &&
                               there.count(segment_name(stub->chain, stub->first)) != 0);
    }
    if (!leftover) continue;
    if (Status status = files_.remove(paths_.segments + "/" + name); !status) return status;
    removed = true;
  }
  if (removed) {
    if (Status status = files_.sync_directory(paths_.segments); !status) return status;
  }
  leftovers_due_ = false;
  return {};
}

// A prune that fails is not tried again by itself: whoever asked hears of it.
Status Flusher::serve_prunes() {
  RingHeader& header = ring_.header();
  for (size_t i = 0; i < kClasses; ++i) {
    const uint64_t before = header.prune_before[i].exchange(0);
    if (before == 0) continue;
    const Result<uint64_t> record = prune(static_cast<Class>(i), before);
    if (!record) report(record.status());
    header.pruned_at[i].store(record ? *record : kNoSequence);
    header.prune_code[i].store(record ? 0 : static_cast<uint64_t>(record.error().code));
  }
  return {};
}

}  // namespace tenancy::log
