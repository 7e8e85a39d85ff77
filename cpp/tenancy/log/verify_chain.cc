#include "tenancy/log/verify_chain.h"

#include <absl/container/flat_hash_map.h>

#include <algorithm>
#include <cstring>

#include "tenancy/log/bytes.h"
#include "tenancy/log/tenant_keys.h"

namespace tenancy::log {
namespace {

constexpr uint32_t kEpochsMax = 1 << 20;  // more than a century of hours
constexpr int kSilencesMax = 16;          // findings per chain; the rest is counted in the last

struct KeyHash {
  size_t operator()(const TenantKey& key) const {
    size_t word;
    std::memcpy(&word, key.data(), sizeof word);  // a hash already
    return word;
  }
};

std::string number(uint64_t value) { return std::to_string(value); }

}  // namespace

const EpochKey* KeySchedule::at(uint32_t epoch) {
  if (epoch > kEpochsMax) return nullptr;
  while (keys_.size() <= epoch) {
    keys_.push_back(keys_.back());
    keys_.back().advance();
  }
  return &keys_[epoch];
}

const HmacKey* KeySchedule::record_key(Class chain, uint32_t epoch) {
  const auto found = record_keys_.find({index(chain), epoch});
  if (found != record_keys_.end()) return &found->second;
  const EpochKey* const key = at(epoch);
  if (key == nullptr) return nullptr;
  return &record_keys_.emplace(std::pair(index(chain), epoch), key->record_key(chain))
              .first->second;
}

const HmacKey* KeySchedule::file_key(uint32_t epoch) {
  const auto found = file_keys_.find(epoch);
  if (found != file_keys_.end()) return &found->second;
  const EpochKey* const key = at(epoch);
  if (key == nullptr) return nullptr;
  return &file_keys_.emplace(epoch, key->file_key()).first->second;
}

struct ChainVerifier::State {
  std::string file;  // below the log's directory
  uint64_t next = 0;
  Tag tag{};
  uint32_t epoch = 0;
  const HmacKey* key = nullptr;  // of `epoch`
  CompactRange tree;             // over the records of the segments before
  CompactRange range;            // over those of this one
  absl::flat_hash_map<TenantKey, TenantEntry, KeyHash> tenants;
  absl::flat_hash_map<TenantKey, TenantEntry, KeyHash> changed;  // in this segment
  TenantKeyCache tenant_keys;
  Kind last_kind = Kind::kEvent;
  int64_t last_time = 0;
  uint64_t interval_ns = 0;
  int silences = 0;
  bool head_seen = false;
  size_t manifest_next = 0;
  std::multimap<uint64_t, Milestone>::const_iterator milestone;
  uint64_t milestone_at = kNoSequence;
};

ChainVerifier::ChainVerifier(Files& files, const Paths& paths, KeySchedule& keys,
                             const ChainInput& input, Report* report)
    : files_(files),
      paths_(paths),
      keys_(keys),
      input_(input),
      report_(report),
      state_(std::make_unique<State>()) {}

ChainVerifier::~ChainVerifier() = default;

void ChainVerifier::find(Verdict verdict, std::string code, std::string text, uint64_t offset) {
  Finding finding;
  finding.verdict = verdict;
  finding.code = std::move(code);
  finding.text = std::move(text);
  finding.chain = static_cast<int>(index(input_.chain));
  finding.sequence = state_->next;
  finding.file = state_->file;
  finding.offset = offset;
  report_->findings.push_back(std::move(finding));
}

bool ChainVerifier::fail(std::string code, std::string text, uint64_t offset) {
  find(Verdict::kTampered, std::move(code), std::move(text), offset);
  return false;
}

// Whether what comes at `next` has been promised to be there.
bool ChainVerifier::durable(uint64_t next) const {
  if (input_.head && next < input_.head->next_sequence) return true;
  const auto& milestones = input_.milestones;
  return !milestones.empty() && next < milestones.rbegin()->first;
}

bool ChainVerifier::open(size_t which, Segment* segment) {
  segment->first = input_.segments[which];
  segment->name = "segments/" + segment_name(input_.chain, segment->first);
  segment->last = which + 1 == input_.segments.size();
  const std::string file = std::exchange(state_->file, segment->name);
  Result<SegmentReader> reader = SegmentReader::open(files_, paths_.log + "/" + segment->name);
  if (!reader) {
    find(Verdict::kCannotVerify, "io_error", reader.error().message, 0);
    return false;
  }
  segment->reader.emplace(std::move(*reader));
  const Result<BlockView> block = segment->reader->header();
  if (!block && block.error().code == Code::kVersion) {
    find(Verdict::kCannotVerify, "version", block.error().message, 0);
    return false;
  }
  if (!block) return fail("segment_header", block.error().message, 0);
  if (block->log_id != keys_.log_id()) {
    return fail("segment_foreign", "the segment is of another log", 0);
  }
  const HmacKey* const key = keys_.file_key(block->epoch);
  if (key == nullptr || !block->mac_is(*key)) {
    return fail("segment_mac", "the header is not authentic", 0);
  }
  Result<SegmentHeader> header = SegmentHeader::parse(block->content);
  if (!header) return fail("segment_header", header.error().message, 0);
  if (header->chain != input_.chain) {
    return fail("segment_foreign",
                "the segment is of the chain " + std::string(class_name(header->chain)), 0);
  }
  if (header->first != segment->first) {
    return fail("segment_name",
                "the segment begins at " + number(header->first) + ", its name says otherwise", 0);
  }
  segment->header = std::move(*header);
  state_->file = file;
  return true;
}

bool ChainVerifier::links(const Segment& segment, const Segment* before) {
  State& state = *state_;
  const SegmentHeader& header = segment.header;
  state.file = segment.name;
  if (before == nullptr) {
    const uint64_t kept =
        input_.manifest != nullptr ? input_.manifest->kept_from[index(input_.chain)] : 0;
    state.next = kept;
    if (header.first != kept) {
      return fail("segment_missing",
                  "the chain begins at " + number(header.first) + ", records from " + number(kept) +
                      " on are expected",
                  0);
    }
    state.tag = header.previous;
    state.epoch = header.epoch;
    if (kept == 0 && (header.previous != Tag{} || header.epoch != 0)) {
      return fail("segment_link", "the first segment continues something", 0);
    }
    const Result<CompactRange> tree = CompactRange::frontier(header.first, header.frontier);
    if (!tree) return fail("segment_link", tree.error().message, 0);
    state.tree = *tree;
    return true;
  }
  if (header.first > state.next) {
    return fail(
        "segment_missing",
        "records " + number(state.next) + " to " + number(header.first - 1) + " are missing", 0);
  }
  std::vector<Digest256> frontier;
  for (const Subtree& subtree : state.tree.subtrees()) frontier.push_back(subtree.hash);
  if (header.first != state.next || header.previous != state.tag ||
      header.previous_first != before->first || header.epoch != state.epoch ||
      header.frontier != frontier) {
    return fail("segment_link", "the segment does not continue the one before", 0);
  }
  return true;
}

void ChainVerifier::run() {
  State& state = *state_;
  state.milestone = input_.milestones.begin();
  if (state.milestone != input_.milestones.end()) state.milestone_at = state.milestone->first;
  std::optional<Segment> before;
  std::optional<Segment> current;
  bool whole = true;
  for (size_t i = 0; i < input_.segments.size() && whole; ++i) {
    if (!current) {
      current.emplace();
      whole = open(i, &*current) && links(*current, nullptr);
      if (!whole) break;
    }
    std::optional<Segment> following;
    if (!current->last) {
      following.emplace();
      whole = open(i + 1, &*following);
      if (!whole) break;
      if (following->header.previous_cut && following->header.previous_first == current->first) {
        current->cut_at = following->header.previous_cut_at;
      }
    }
    ++report_->chains[index(input_.chain)].segments;
    state.file = current->name;
    state.range = CompactRange(current->first);
    state.changed.clear();
    milestones();
    whole = records(*current);
    state.tree.append(state.range);
    if (whole && following) whole = links(*following, &*current);
    before = std::move(current);
    current = std::move(following);
  }
  ChainCounts& counts = report_->chains[index(input_.chain)];
  counts.next_sequence = state.next;
  counts.tenants = state.tenants.size();
  if (whole) finish();
}

bool ChainVerifier::records(Segment& segment) {
  SegmentReader::Item item;
  const Result<uint64_t> size = segment.reader->size();
  if (size) report_->bytes += *size;
  state_->key = keys_.record_key(input_.chain, state_->epoch);
  while (true) {
    if (Status status = segment.reader->next(&item); !status) {
      find(Verdict::kCannotVerify, "io_error", status.error().message, item.offset);
      return false;
    }
    if (segment.cut_at && item.offset >= *segment.cut_at) return cut(segment, item);
    if (item.step == SegmentReader::Step::kFooter) return footer(segment, item.offset);
    if (item.step != SegmentReader::Step::kRecord) return end_of(segment, item);
    if (!record(item.record, item.offset)) return false;
  }
}

bool ChainVerifier::record(const RecordView& view, uint64_t offset) {
  State& state = *state_;
  if (!authentic(view, offset) || !follows(view, offset) || !tenant(view, offset)) return false;
  if (const std::string fault = view.encoding_fault(); !fault.empty()) {
    return fail("record_encoding", "not in the one form that a record has: " + fault, offset);
  }
  silence(view, offset);
  if (view.kind() != Kind::kEvent) control(view, offset);
  state.range.append(leaf_hash(view.leaf()));
  state.tag = view.tag();
  state.last_time = view.time_ns();
  state.last_kind = view.kind();
  ++state.next;
  ChainCounts& counts = report_->chains[index(input_.chain)];
  ++counts.records;
  ++report_->records;
  if (view.kind() == Kind::kEvent) ++counts.events;
  milestones();
  return true;
}

bool ChainVerifier::authentic(const RecordView& view, uint64_t offset) {
  State& state = *state_;
  if (view.version() != kRecordVersion || view.algorithm() != kRecordAlgorithm) {
    return fail("record_version",
                "version " + number(view.version()) + ", algorithm " + number(view.algorithm()) +
                    ", expected 1 and 1",
                offset);
  }
  if (view.log_id() != keys_.log_id()) {
    return fail("record_log", "the record is of another log", offset);
  }
  if (view.chain_code() != index(input_.chain)) {
    return fail("record_class", "the record is of another chain", offset);
  }
  const HmacKey* const key =
      view.epoch() == state.epoch ? state.key : keys_.record_key(input_.chain, view.epoch());
  const auto signed_by = [&](const HmacKey* candidate) {
    return candidate != nullptr && equal_constant_time(as_view(candidate->mac(view.maced())),
                                                       view.bytes().substr(view.size() - 36, 32));
  };
  if (!signed_by(key)) {
    for (uint32_t epoch = 0; epoch <= keys_.newest(); ++epoch) {
      if (epoch != view.epoch() && signed_by(keys_.record_key(input_.chain, epoch))) {
        return fail("record_resigned",
                    "the record says epoch " + number(view.epoch()) + " and has a tag of epoch " +
                        number(epoch),
                    offset);
      }
    }
    return fail("record_mac", "the record is not what was written", offset);
  }
  if (view.epoch() != state.epoch) {
    return fail("record_epoch",
                "the record is of epoch " + number(view.epoch()) + ", the chain is in epoch " +
                    number(state.epoch),
                offset);
  }
  return true;
}

bool ChainVerifier::follows(const RecordView& view, uint64_t offset) {
  const State& state = *state_;
  if (view.sequence() != state.next) {
    return fail("record_sequence",
                "expected record " + number(state.next) + ", found " + number(view.sequence()),
                offset);
  }
  if (view.previous() != state.tag) {
    return fail("record_previous", "the record follows another one", offset);
  }
  return true;
}

bool ChainVerifier::tenant(const RecordView& view, uint64_t offset) {
  State& state = *state_;
  const auto id = view.tenant();
  if (!id) {
    if (view.tenant_sequence() == 0 && view.tenant_previous() == Tag{}) return true;
    return fail("tenant_sequence", "a record without a tenant is in a tenant's chain", offset);
  }
  const TenantKey& key = state.tenant_keys.get(keys_.log_id(), input_.chain, *id);
  TenantEntry& entry = state.tenants[key];
  if (view.tenant_sequence() != entry.sequence + 1) {
    return fail("tenant_sequence",
                "expected the tenant's record " + number(entry.sequence + 1) + ", found " +
                    number(view.tenant_sequence()),
                offset);
  }
  if (view.tenant_previous() != entry.tag) {
    return fail("tenant_previous", "the record follows another one of its tenant", offset);
  }
  entry = {key, view.tenant_sequence(), view.tag()};
  state.changed[key] = entry;
  return true;
}

void ChainVerifier::silence(const RecordView& view, uint64_t offset) {
  State& state = *state_;
  if (state.interval_ns == 0 || state.last_kind == Kind::kClosed) return;
  const int64_t gap = view.time_ns() - state.last_time;
  if (gap <= 0 || static_cast<uint64_t>(gap) / 2 < state.interval_ns) return;
  if (++state.silences > kSilencesMax) return;
  find(Verdict::kQualified, "silent",
       "nothing for " + number(static_cast<uint64_t>(gap) / 1'000'000'000) +
           " s before this record, at least every " + number(state.interval_ns / 1'000'000'000) +
           " s was promised",
       offset);
}

void ChainVerifier::control(const RecordView& view, uint64_t offset) {
  State& state = *state_;
  if (const auto interval = view.find(FieldId::kHeartbeatNs)) state.interval_ns = interval->number;
  switch (view.kind()) {
    case Kind::kEpoch:
      ++state.epoch;
      state.key = keys_.record_key(input_.chain, state.epoch);
      break;
    case Kind::kRepair: repair(view, offset); break;
    case Kind::kCheckpoint: checkpoint(view, offset); break;
    default: break;
  }
}

void ChainVerifier::repair(const RecordView& view, uint64_t offset) {
  ++report_->chains[index(input_.chain)].repairs;
  const auto reason = view.find(FieldId::kRepairReason);
  if (reason && reason->bytes == "lost") {
    find(Verdict::kTampered, "lost", "records that had been confirmed were lost before this one",
         offset);
    return;
  }
  const auto segment = view.find(FieldId::kCutSegment);
  const auto at = view.find(FieldId::kCutOffset);
  const auto count = view.find(FieldId::kDiscardedBytes);
  const auto hash = view.find(FieldId::kDiscardedHash);
  if (!segment || !at || !count || !hash) return;
  const std::string name = "segments/" + segment_name(input_.chain, segment->number);
  Result<SegmentReader> reader = SegmentReader::open(files_, paths_.log + "/" + name);
  const Result<uint64_t> end =
      reader ? reader->data_end(at->number) : Result<uint64_t>(reader.status());
  const Result<std::string> bytes =
      end ? reader->bytes(at->number, *end) : Result<std::string>(end.status());
  if (!bytes || bytes->size() != count->number || as_view(sha256(*bytes)) != hash->bytes) {
    find(Verdict::kTampered, "repair_content",
         name + ": behind offset " + number(at->number) + " are not the bytes that were discarded",
         offset);
  }
}

void ChainVerifier::checkpoint(const RecordView& view, uint64_t offset) {
  const auto which = view.find(FieldId::kCheckpointNumber);
  const auto hash = view.find(FieldId::kCheckpointHash);
  if (!which || !hash) return;
  if (which->number >= input_.notes->size()) {
    find(Verdict::kTampered, "checkpoint_missing",
         "checkpoint " + number(which->number) + " is not in the file", offset);
  } else if (as_view(sha256((*input_.notes)[which->number])) != hash->bytes) {
    find(Verdict::kTampered, "checkpoint_content",
         "checkpoint " + number(which->number) + " is another one in the file", offset);
  }
}

Digest256 ChainVerifier::tenants_root() const {
  std::vector<TenantEntry> entries;
  entries.reserve(state_->tenants.size());
  for (const auto& [key, entry] : state_->tenants) entries.push_back(entry);
  std::sort(entries.begin(), entries.end(),
            [](const TenantEntry& a, const TenantEntry& b) { return a.key < b.key; });
  CompactRange tree;
  std::string leaf;
  for (const TenantEntry& entry : entries) {
    leaf.clear();
    put_entry(&leaf, entry);
    tree.append(leaf_hash(leaf));
  }
  return tree.root();
}

// What heads, checkpoints and anchors say of the chain when it had this many records.
void ChainVerifier::milestones() {
  State& state = *state_;
  if (input_.head && !state.head_seen && state.next == input_.head->next_sequence) {
    state.head_seen = true;
    if (state.tag != input_.head->tag) {
      find(Verdict::kTampered, "head_content", "the head names another record at this place", 0);
    }
  }
  while (state.next == state.milestone_at) {
    const Milestone& milestone = state.milestone->second;
    CompactRange tree = state.tree;
    tree.append(state.range);
    const std::string kind = milestone.anchor ? "anchor_mismatch" : "checkpoint_root";
    if (tree.root() != milestone.head.root) {
      find(Verdict::kTampered, kind,
           milestone.file + " has another root of the first " + number(state.next) + " records", 0);
    } else if (milestone.head.tenants != state.tenants.size() ||
               milestone.head.tenants_root != tenants_root()) {
      find(Verdict::kTampered, milestone.anchor ? kind : "checkpoint_tenants",
           milestone.file + " has another root of the tenants", 0);
    }
    ++state.milestone;
    state.milestone_at =
        state.milestone == input_.milestones.end() ? kNoSequence : state.milestone->first;
  }
}

bool ChainVerifier::footer(Segment& segment, uint64_t offset) {
  State& state = *state_;
  const Result<BlockView> block = segment.reader->footer(offset);
  const bool may_be_torn = segment.last && !durable(state.next);
  if (!block) {
    if (may_be_torn && block.error().code == Code::kDamaged) {
      find(Verdict::kQualified, "torn_tail", "a seal that was not finished", offset);
      return true;
    }
    return fail("seal_damaged", block.error().message, offset);
  }
  const HmacKey* const key = keys_.file_key(block->epoch);
  if (block->log_id != keys_.log_id() || key == nullptr || !block->mac_is(*key)) {
    return fail("seal_mac", "the seal is not authentic", offset);
  }
  const Tag mac = block->mac();
  const uint64_t end = offset + block->bytes.size();
  const Result<SegmentFooter> footer = SegmentFooter::parse(block->content);
  if (!footer) return fail("seal_damaged", footer.error().message, offset);
  std::vector<Digest256> range;
  for (const Subtree& subtree : state.range.subtrees()) range.push_back(subtree.hash);
  bool right = footer->chain == input_.chain && footer->first == segment.first &&
               footer->count == state.next - segment.first && footer->offset == offset &&
               footer->last == state.tag && footer->range == range &&
               footer->tenants.size() == state.changed.size() && block->epoch >= state.epoch;
  for (size_t i = 0; right && i < footer->tenants.size(); ++i) {
    const TenantEntry& entry = footer->tenants[i];
    const auto found = state.changed.find(entry.key);
    right = found != state.changed.end() && found->second.sequence == entry.sequence &&
            found->second.tag == entry.tag && (i == 0 || footer->tenants[i - 1].key < entry.key);
  }
  if (!right) return fail("seal_content", "the seal is of another segment", offset);
  const Result<uint64_t> data_end = segment.reader->data_end(end);
  const Result<uint64_t> size = segment.reader->size();
  // Zeros behind a seal are left when a crash came before the file was cut.
  if (!data_end || !size || *data_end != end || (*size != end && !segment.last)) {
    return fail("trailing_bytes", "there are bytes behind the seal", end);
  }
  manifest_entry(segment, offset, false, mac);
  return true;
}

bool ChainVerifier::end_of(Segment& segment, const SegmentReader::Item& item) {
  State& state = *state_;
  const bool nothing = item.step == SegmentReader::Step::kEnd;
  if (!segment.last) {
    return nothing ? fail("seal_missing", "the segment ends without its seal", item.offset)
                   : fail("record_damaged", "neither a record nor a seal", item.offset);
  }
  if (!nothing && durable(state.next)) {
    return fail("record_damaged", "a record that was durable is damaged", item.offset);
  }
  const Result<uint64_t> end = segment.reader->data_end(item.offset);
  if (end && *end > item.offset && !durable(state.next)) {
    find(Verdict::kQualified, "torn_tail",
         number(*end - item.offset) +
             " bytes behind the last record, which nothing has "
             "confirmed: a write that a crash broke off, or a change of "
             "records newer than the last head",
         item.offset);
  }
  return true;
}

bool ChainVerifier::cut(Segment& segment, const SegmentReader::Item& item) {
  if (item.offset != *segment.cut_at) {
    return fail("record_damaged", "a record crosses the place where the segment was cut",
                item.offset);
  }
  find(Verdict::kQualified, "repaired",
       "the segment was cut here after a crash or a failure of the disk; its chain goes on in the "
       "next one",
       item.offset);
  manifest_entry(segment, item.offset, true, Tag{});
  return true;
}

void ChainVerifier::manifest_entry(const Segment& segment, uint64_t offset, bool cut,
                                   const Tag& mac) {
  State& state = *state_;
  if (input_.manifest == nullptr) return;
  const auto& entries = input_.manifest->segments[index(input_.chain)];
  if (state.manifest_next >= entries.size()) return;  // it lags behind
  const ManifestEntry& entry = entries[state.manifest_next++];
  if (entry.first != segment.first || entry.end != state.next || entry.offset != offset ||
      entry.cut != cut || entry.mac != mac) {
    find(Verdict::kTampered, "manifest_content", "the manifest says otherwise of this segment",
         offset);
  }
}

void ChainVerifier::finish() {
  State& state = *state_;
  if (input_.segments.empty()) state.file = "segments";
  const uint64_t next = state.next;
  if (input_.head && next < input_.head->next_sequence) {
    fail("tail_missing",
         "the head promises " + number(input_.head->next_sequence) + " records, there are " +
             number(next),
         0);
    return;
  }
  if (input_.manifest != nullptr) {
    const auto& entries = input_.manifest->segments[index(input_.chain)];
    if (!entries.empty() && next < entries.back().end) {
      fail("tail_missing",
           "the manifest names records up to " + number(entries.back().end) + ", there are " +
               number(next),
           0);
      return;
    }
  }
  for (; state.milestone != input_.milestones.end(); ++state.milestone) {
    const Milestone& milestone = state.milestone->second;
    fail(milestone.anchor ? "rolled_back" : "tail_missing",
         milestone.file + " covers " + number(state.milestone->first) + " records, there are " +
             number(next),
         0);
    return;
  }
  if (input_.now_ns != 0 && state.interval_ns != 0 && state.last_kind != Kind::kClosed &&
      input_.now_ns > state.last_time &&
      static_cast<uint64_t>(input_.now_ns - state.last_time) / 2 >= state.interval_ns) {
    find(Verdict::kQualified, "silent", "nothing since the last record", 0);
  }
}

}  // namespace tenancy::log
