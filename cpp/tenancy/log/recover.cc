#include "tenancy/log/recover.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "tenancy/log/bytes.h"
#include "tenancy/log/segment_files.h"
#include "tenancy/log/segment_reader.h"
#include "tenancy/log/stub.h"
#include "tenancy/log/tenant_keys.h"

namespace tenancy::log {
namespace {

// How far files may be ahead of the stored key: one rotation that was broken off, and room. Nobody
// is led to derive a million keys by a number in a file.
constexpr uint32_t kEpochsAheadMax = 16;

using TenantMap = absl::flat_hash_map<TenantKey, TenantEntry, TenantKeyHash>;

Error damaged(const std::string& file, const std::string& what) {
  return {Code::kDamaged, file + ": " + what + "; run: tenancy audit verify"};
}

// Record keys of the epochs from the stored one on; what is older cannot be checked on this host.
class RecordKeys {
 public:
  explicit RecordKeys(const EpochKey& base) : base_(base) {}
  bool can_check(uint32_t epoch) const { return epoch >= base_.epoch(); }
  bool is_right(const RecordView& record) {
    if (!can_check(record.epoch())) return true;
    if (record.epoch() - base_.epoch() > kEpochsAheadMax) return false;
    const auto at = keys_.try_emplace({record.chain(), record.epoch()});
    if (at.second) at.first->second = base_.at(record.epoch()).record_key(record.chain());
    return equal_constant_time(as_view(at.first->second.mac(record.maced())),
                               as_view(record.tag()));
  }

 private:
  const EpochKey& base_;
  std::map<std::pair<Class, uint32_t>, HmacKey> keys_;
};

class ChainRecovery {
 public:
  ChainRecovery(Files& files, const Paths& paths, const EpochKey& key, Class chain,
                SegmentFiles found, const Manifest& manifest)
      : files_(files),
        paths_(paths),
        key_(key),
        keys_(key),
        chain_(chain),
        kept_from_(manifest.kept_from[index(chain)]),
        found_(std::move(found)),
        manifest_(manifest) {
    // What lies before was pruned, and is still there because somebody was killed.
    std::erase_if(found_.segments, [&](uint64_t first) { return first < kept_from_; });
    std::erase_if(found_.stubs, [&](uint64_t first) { return first >= kept_from_; });
  }

  Status run(const HeadChain& head, const TenantsFile& snapshot, bool accept_loss,
             RecoveredChain* out, std::vector<Repair>* repairs);

 private:
  std::string path(uint64_t first) const {
    return paths_.segments + "/" + segment_name(chain_, first);
  }
  Result<SegmentHeader> header(SegmentReader& reader, uint64_t first) const;
  // Tenants of what was pruned.
  Status pruned();
  // Tenants of a segment that is not the last.
  Status earlier(size_t which);
  Status last(const HeadChain& head, RecoveredChain* out, std::vector<Repair>* repairs);
  bool continues(const RecordView& record, const ChainMark& mark);
  void learn(const RecordView& record);
  Status torn(SegmentReader& reader, uint64_t offset, uint64_t end,
              std::vector<Repair>* repairs) const;

  Files& files_;
  const Paths& paths_;
  const EpochKey& key_;
  RecordKeys keys_;
  const Class chain_;
  const uint64_t kept_from_;
  SegmentFiles found_;
  const std::vector<uint64_t>& firsts_ = found_.segments;
  const Manifest& manifest_;
  uint64_t known_ = 0;  // records whose tenants the snapshot knows
  TenantMap tenants_;
  TenantKeyCache tenant_keys_;
  bool head_contradicted_ = false;
};

Result<SegmentHeader> ChainRecovery::header(SegmentReader& reader, uint64_t first) const {
  const Result<BlockView> block = reader.header();
  if (!block) return Error{block.error().code, path(first) + ": " + block.error().message};
  if (block->log_id != key_.log_id()) return damaged(path(first), "is of another log");
  if (keys_.can_check(block->epoch) && (block->epoch - key_.epoch() > kEpochsAheadMax ||
                                        !block->mac_is(key_.at(block->epoch).file_key()))) {
    return damaged(path(first), "its header is not authentic");
  }
  Result<SegmentHeader> header = SegmentHeader::parse(block->content);
  if (!header || header->chain != chain_ || header->first != first) {
    return damaged(path(first), "its header is not that of this segment");
  }
  return header;
}

void ChainRecovery::learn(const RecordView& record) {
  const auto tenant = record.tenant();
  if (!tenant || record.sequence() < known_) return;
  const TenantKey& key = tenant_keys_.get(key_.log_id(), chain_, *tenant);
  tenants_[key] = {key, record.tenant_sequence(), record.tag()};
}

bool ChainRecovery::continues(const RecordView& record, const ChainMark& mark) {
  return record.version() == kRecordVersion && record.algorithm() == kRecordAlgorithm &&
         record.log_id() == key_.log_id() && record.chain_code() == index(chain_) &&
         record.sequence() == mark.next_sequence && record.previous() == mark.tag &&
         record.epoch() == mark.epoch && keys_.is_right(record);
}

Status ChainRecovery::pruned() {
  if (known_ >= kept_from_) return {};
  uint64_t next = 0;
  for (const uint64_t first : found_.stubs) {
    if (first != next) break;
    const Result<Stub> stub = read_stub(files_, paths_.segments, chain_, first);
    if (!stub) return stub.status();
    next = stub->end();
    if (next <= known_) continue;
    for (const TenantEntry& tenant : stub->footer.tenants) tenants_[tenant.key] = tenant;
  }
  if (next != kept_from_) {
    return damaged(paths_.segments + "/" + stub_name(chain_, next),
                   "is missing, and with it what is known of the tenants of a pruned segment");
  }
  return {};
}

Status ChainRecovery::earlier(size_t which) {
  const uint64_t first = firsts_[which];
  const uint64_t end = firsts_[which + 1];
  if (end <= known_) return {};
  Result<SegmentReader> reader = SegmentReader::open(files_, path(first));
  if (!reader) return reader.status();
  const auto& entries = manifest_.segments[index(chain_)];
  const auto entry = std::find_if(entries.begin(), entries.end(),
                                  [&](const ManifestEntry& e) { return e.first == first; });
  if (entry != entries.end() && !entry->cut && first >= known_) {
    // The footer says at once what the records would.
    const Result<BlockView> block = reader->footer(entry->offset);
    if (!block) return damaged(path(first), block.error().message);
    const Result<SegmentFooter> footer = SegmentFooter::parse(block->content);
    if (!footer) return damaged(path(first), footer.error().message);
    for (const TenantEntry& tenant : footer->tenants) tenants_[tenant.key] = tenant;
    return {};
  }
  SegmentReader::Item item;
  while (true) {
    if (Status status = reader->next(&item); !status) return status;
    if (item.step != SegmentReader::Step::kRecord || item.record.sequence() >= end) return {};
    learn(item.record);
  }
}

Status ChainRecovery::torn(SegmentReader& reader, uint64_t offset, uint64_t end,
                           std::vector<Repair>* repairs) const {
  const Result<std::string> bytes = reader.bytes(offset, end);
  if (!bytes) return bytes.status();
  repairs->push_back({chain_, firsts_.back(), offset, end - offset, sha256(*bytes), "torn"});
  return {};
}

Status ChainRecovery::last(const HeadChain& head, RecoveredChain* out,
                           std::vector<Repair>* repairs) {
  const uint64_t first = firsts_.back();
  Result<SegmentReader> reader = SegmentReader::open(files_, path(first));
  if (!reader) return reader.status();
  const Result<SegmentHeader> header = this->header(*reader, first);
  if (!header) return header.status();
  ChainMark& mark = out->mark;
  mark.first = first;
  mark.offset = kSegmentHeaderBytes;
  mark.next_sequence = first;
  mark.tag = header->previous;
  mark.epoch = header->epoch;
  mark.needs_segment = false;
  SegmentReader::Item item;
  while (true) {
    if (mark.next_sequence == head.next_sequence && mark.tag != head.tag) {
      head_contradicted_ = true;
    }
    if (Status status = reader->next(&item); !status) return status;
    if (item.step != SegmentReader::Step::kRecord || !continues(item.record, mark)) break;
    learn(item.record);
    mark.offset += item.record.size();
    ++mark.next_sequence;
    mark.tag = item.record.tag();
    if (item.record.kind() == Kind::kEpoch) ++mark.epoch;
    out->last_time_ns = item.record.time_ns();
  }
  if (header->previous_cut && mark.next_sequence == first) {
    // A recovery before this one made the segment and was killed before it told of the cut.
    Result<SegmentReader> cut = SegmentReader::open(files_, path(header->previous_first));
    if (!cut) return cut.status();
    const Result<uint64_t> end = cut->data_end(header->previous_cut_at);
    if (!end) return end.status();
    const Result<std::string> bytes = cut->bytes(header->previous_cut_at, *end);
    if (!bytes) return bytes.status();
    repairs->push_back({chain_, header->previous_first, header->previous_cut_at,
                        *end - header->previous_cut_at, sha256(*bytes), "torn"});
  }
  if (item.step == SegmentReader::Step::kFooter) {
    const Result<BlockView> block = reader->footer(mark.offset);
    if (block) return {};  // sealed: the flusher goes on with a new segment
  }
  const Result<uint64_t> end = reader->data_end(mark.offset);
  if (!end) return end.status();
  if (*end == mark.offset) return {};
  mark.needs_segment = true;
  mark.repair_told = true;
  if (mark.next_sequence > first) return torn(*reader, mark.offset, *end, repairs);
  // The whole segment is replaced; its bytes will be gone, so there is no hash to check.
  repairs->push_back({chain_, first, mark.offset, *end - mark.offset, std::nullopt, "torn"});
  return {};
}

Status ChainRecovery::run(const HeadChain& head, const TenantsFile& snapshot, bool accept_loss,
                          RecoveredChain* out, std::vector<Repair>* repairs) {
  for (const TenantEntry& entry : snapshot.entries[index(chain_)]) tenants_[entry.key] = entry;
  known_ = snapshot.next_sequence[index(chain_)];
  out->mark.epoch = key_.epoch();
  if (Status status = pruned(); !status) return status;
  if (!firsts_.empty()) {
    for (size_t i = 0; i + 1 < firsts_.size(); ++i) {
      if (Status status = earlier(i); !status) return status;
    }
    if (Status status = last(head, out, repairs); !status) return status;
  }
  const ChainMark& mark = out->mark;
  if (known_ > mark.next_sequence) {
    // The snapshot knows records that are lost: without it, then.
    ChainRecovery again(files_, paths_, key_, chain_, found_, manifest_);
    *out = RecoveredChain();
    std::erase_if(*repairs, [&](const Repair& repair) { return repair.chain == chain_; });
    return again.run(head, TenantsFile{}, accept_loss, out, repairs);
  }
  if (mark.epoch < key_.epoch()) {
    return damaged(path(firsts_.back()), "ends in key epoch " + std::to_string(mark.epoch) +
                                             ", whose key is gone: it was cut");
  }
  if (mark.next_sequence < head.next_sequence || head_contradicted_) {
    if (!accept_loss) {
      return damaged(
          firsts_.empty() ? paths_.segments : path(firsts_.back()),
          "the chain " + std::string(class_name(chain_)) + " has records up to " +
              std::to_string(mark.next_sequence) + ", its head promises " +
              std::to_string(head.next_sequence) +
              (head_contradicted_ ? " and another one among them" : "") +
              ": it was cut or the disk lost what it had confirmed. To go on nevertheless open "
              "it with accept_loss, which is recorded for ever");
    }
    repairs->push_back(
        {chain_, mark.first == kNoSequence ? 0 : mark.first, mark.offset, 0, std::nullopt, "lost"});
  }
  out->state = {mark.next_sequence, mark.tag, mark.epoch};
  out->tenants.reserve(tenants_.size());
  for (const auto& [key, entry] : tenants_) out->tenants.push_back(entry);
  return {};
}

TenantsFile read_snapshot(Files& files, const Paths& paths, const EpochKey& key) {
  const Result<std::string> bytes = read_file(files, paths.log + "/tenants", kStateFileBytesMax);
  if (!bytes) return {};
  const Result<BlockView> block = parse_block(kTenantsMagic, *bytes);
  // One that cannot be checked is not used: footers and records say the same, only slower.
  if (!block || block->log_id != key.log_id() || block->epoch < key.epoch() ||
      block->epoch - key.epoch() > kEpochsAheadMax ||
      !block->mac_is(key.at(block->epoch).file_key())) {
    return {};
  }
  Result<TenantsFile> snapshot = TenantsFile::parse(block->content);
  return snapshot ? std::move(*snapshot) : TenantsFile{};
}

}  // namespace

Result<Recovered> recover(Files& files, const Paths& paths, const EpochKey& key, bool accept_loss) {
  Result<Manifest> manifest = read_manifest(files, paths);
  if (!manifest) return manifest.status();
  if (manifest->log_id != key.log_id()) {
    return damaged(paths.log + "/manifest", "is of another log than keys/log.key");
  }
  const Result<HeadSlots> slots = read_head(files, paths);
  if (!slots) return slots.status();
  const HeadSlots::Slot* const slot = slots->best();
  if (slot == nullptr) return damaged(paths.log + "/head", "has no whole slot");
  const Result<BlockView> block = parse_block(kHeadMagic, slot->bytes);
  if (block->log_id != key.log_id() ||
      (block->epoch >= key.epoch() && block->epoch - key.epoch() <= kEpochsAheadMax &&
       !block->mac_is(key.at(block->epoch).file_key()))) {
    return damaged(paths.log + "/head", "is not authentic");
  }
  Result<std::array<SegmentFiles, kClasses>> found = list_segment_files(files, paths.segments);
  if (!found) return found.status();
  const TenantsFile snapshot = read_snapshot(files, paths, key);
  Recovered out{key, *manifest};
  for (size_t i = 0; i < kClasses; ++i) {
    const auto chain = static_cast<Class>(i);
    ChainRecovery recovery(files, paths, key, chain, std::move((*found)[i]), *manifest);
    if (Status status =
            recovery.run(slot->head.chains[i], snapshot, accept_loss, &out.chains[i], &out.repairs);
        !status) {
      return status;
    }
  }
  uint32_t oldest = ~uint32_t{0};
  for (const RecoveredChain& chain : out.chains) {
    oldest = std::min(oldest, std::max(chain.state.epoch, key.epoch()));
  }
  while (out.key.epoch() < oldest) out.key.advance();
  return out;
}

}  // namespace tenancy::log
