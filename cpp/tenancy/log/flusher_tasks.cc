// What the leader does beside writing groups: taking over, heartbeats, rotation, checkpoints.
#include <algorithm>

#include "tenancy/log/bytes.h"
#include "tenancy/log/flusher.h"
#include "tenancy/log/segment_reader.h"

namespace tenancy::log {
namespace {

constexpr size_t kRoomForEpochs = kClasses * 256;
constexpr int kTriesForRoom = 100;  // while others fill the ring at full speed
constexpr uint64_t kTenantsEveryMin = 4096;

Digest256 tenants_root(std::vector<TenantEntry>* entries) {
  std::sort(entries->begin(), entries->end(),
            [](const TenantEntry& a, const TenantEntry& b) { return a.key < b.key; });
  CompactRange tree;
  std::string leaf;
  for (const TenantEntry& entry : *entries) {
    leaf.clear();
    put_entry(&leaf, entry);
    tree.append(leaf_hash(leaf));
  }
  return tree.root();
}

bool is_due(int64_t last, int64_t interval, int64_t now) {
  // A clock that was set back does not put off what is due for ever.
  return interval > 0 && (now - last >= interval || last - now >= interval);
}

}  // namespace

Appender::Outcome append_repair(Appender& appender, const Repair& repair, int64_t time_ns,
                                int64_t wait_ns, Status* error) {
  std::vector<Field> fields = {
      {FieldId::kCutSegment, Value::unsigned_integer(repair.segment), {}},
      {FieldId::kCutOffset, Value::unsigned_integer(repair.offset), {}},
      {FieldId::kDiscardedBytes, Value::unsigned_integer(repair.discarded_bytes), {}}};
  if (repair.discarded_hash) {
    fields.push_back({FieldId::kDiscardedHash, Value::blob(as_view(*repair.discarded_hash)), {}});
  }
  fields.push_back({FieldId::kRepairReason, Value::text(repair.reason), {}});
  RecordDraft draft;
  draft.chain = repair.chain;
  draft.kind = Kind::kRepair;
  draft.time_ns = time_ns;
  draft.fields = fields;
  Committed committed;
  return appender.append(draft, wait_ns, &committed, error);
}

Status Flusher::load() {
  RingHeader& header = ring_.header();
  const std::array<ChainMark, kClasses> marks = load_progress(header, &synced_);
  header.synced.store(synced_);
  header.written.store(synced_);
  written_ = synced_;
  unsynced_since_ = 0;
  groups_.begin();
  chains_.clear();
  for (size_t i = 0; i < kClasses; ++i) {
    chains_.push_back(std::make_unique<ChainFile>(files_, paths_, log_id_, static_cast<Class>(i)));
    if (Status status = chains_[i]->load(marks[i]); !status) return status;
  }
  const Result<Manifest> manifest = read_manifest(files_, paths_);
  if (!manifest) return manifest.status();
  manifest_ = *manifest;
  manifest_due_ = false;
  for (size_t i = 0; i < kClasses; ++i) {
    if (marks[i].first == kNoSequence) continue;
    if (Status status = complete_manifest(static_cast<Class>(i), marks[i].first); !status) {
      return status;
    }
  }
  if (Status status = head_file_.load(); !status) return status;
  const Result<StoredKey> key = read_key(files_, paths_.keys + "/log.key");
  if (!key) return key.status();
  stored_epoch_ = key->key.epoch();
  const Result<Ed25519Seed> seed = read_seed(files_, paths_.keys + "/log.sign");
  if (!seed) return seed.status();
  if (ed25519_public(*seed) != manifest_.public_key) {
    return {Code::kDamaged, paths_.keys + "/log.sign: is not the key that the manifest names"};
  }
  seed_ = *seed;
  {
    const RingLock lock(ring_, options_.full_wait_ns);
    if (!lock.held()) return {Code::kFull, "the ring's mutex is held by a process that stopped"};
    for (size_t i = 0; i < kClasses; ++i) {
      keys_.follow(static_cast<Class>(i), ring_.chain(static_cast<Class>(i)).epoch);
    }
    file_key_ = keys_.file_key();
  }
  if (Status status = load_checkpoints(); !status) return status;
  leftovers_due_ = true;
  (void)clear_leftovers();  // what could not be removed is in nobody's way; `tend` tries again
  return {};
}

// The manifest may lag behind by what the leader before did last.
Status Flusher::complete_manifest(Class chain, uint64_t active_first) {
  std::vector<ManifestEntry>& entries = manifest_.segments[index(chain)];
  uint64_t next = entries.empty() ? manifest_.kept_from[index(chain)] : entries.back().end;
  while (next < active_first) {
    const std::string name = paths_.segments + "/" + segment_name(chain, next);
    Result<SegmentReader> reader = SegmentReader::open(files_, name);
    if (!reader) return reader.status();
    ManifestEntry entry;
    entry.first = next;
    SegmentReader::Item item;
    do {
      if (Status status = reader->next(&item); !status) return status;
      if (item.step == SegmentReader::Step::kRecord) entry.end = item.record.sequence() + 1;
    } while (item.step == SegmentReader::Step::kRecord);
    entry.offset = item.offset;
    const Result<BlockView> footer = item.step == SegmentReader::Step::kFooter
                                         ? reader->footer(item.offset)
                                         : Result<BlockView>(Code::kDamaged, "no footer");
    entry.cut = !footer;
    if (footer) entry.mac = footer->mac();
    if (entry.cut) {
      // Where it was cut is said by the header of the segment that replaced its tail.
      const Result<std::vector<std::string>> names = files_.list(paths_.segments);
      if (!names) return names.status();
      bool found = false;
      for (const std::string& other : *names) {
        const auto parsed = parse_segment_name(other);
        if (!parsed || parsed->chain != chain || parsed->first <= next) continue;
        Result<SegmentReader> following =
            SegmentReader::open(files_, paths_.segments + "/" + other);
        if (!following) return following.status();
        const Result<BlockView> block = following->header();
        if (!block) return block.status();
        const Result<SegmentHeader> header = SegmentHeader::parse(block->content);
        if (!header) return header.status();
        found = header->previous_cut && header->previous_first == next;
        entry.end = header->first;
        entry.offset = header->previous_cut_at;
        break;
      }
      if (!found) return {Code::kDamaged, name + ": has no footer; run: tenancy audit verify"};
    }
    if (entry.end <= next) return {Code::kDamaged, name + ": has no records"};
    entries.push_back(entry);
    manifest_due_ = true;
    next = entry.end;
  }
  return {};
}

Status Flusher::load_checkpoints() {
  checkpoint_tree_ = CompactRange();
  checkpoints_end_ = 0;
  const std::string path = paths_.log + "/checkpoints";
  const Result<std::string> bytes = read_file(files_, path, kCheckpointsBytesMax);
  if (!bytes && bytes.error().code != Code::kNotFound) return bytes.status();
  if (bytes) {
    const VerifierKey key{log_origin(log_id_), manifest_.public_key};
    for (const std::string_view note : split_checkpoints(*bytes, &checkpoints_end_)) {
      const Result<Checkpoint> checkpoint = open_note(note, key);
      if (!checkpoint) return {checkpoint.error().code, path + ": " + checkpoint.error().message};
      checkpoint_tree_.append(leaf_hash(checkpoint->leaf()));
    }
    if (checkpoints_end_ != bytes->size()) {
      // A frame that a crash broke off. It was never acknowledged.
      Result<std::unique_ptr<File>> file = files_.open(path, OpenMode::kReadWrite);
      if (!file) return file.status();
      if (Status status = (*file)->truncate(checkpoints_end_); !status) return status;
      if (Status status = (*file)->sync(); !status) return status;
    }
  }
  ring_.header().checkpoints.store(checkpoint_tree_.end());
  return {};
}

Status Flusher::append(const RecordDraft& draft, Committed* committed) {
  Status error;
  for (int tries = 0; tries < 2; ++tries) {
    switch (appender_.append(draft, options_.full_wait_ns, committed, &error)) {
      case Appender::Outcome::kDone: return {};
      case Appender::Outcome::kRefused: return error;
      case Appender::Outcome::kBusy:
        return {Code::kFull, "the ring's mutex is held by a process that stopped"};
      case Appender::Outcome::kNoRoom:
        if (Status status = pump(ring_.tail(), true); !status) return status;
    }
  }
  return {Code::kFull, "the ring is full"};
}

Status Flusher::tend() {
  if (!leading_ || (failing() && real_ns() < retry_at_)) return {};
  const int64_t now = clock_.wall_ns();
  if (Status status = tell_repairs(now); !status) return status;
  if (Status status = beat(now); !status) return status;
  if (manifest_due_) {
    if (Status status = write_manifest(); !status) return status;
  }
  if (head_failed_) {
    // Over the slot that the failed write may have torn.
    Status status = head_file_.write(log_id_, file_key(), head(), false);
    if (!status) return status;
  }
  if (head_due_) {
    if (Status status = save_head(); !status) return status;
    recovered();
  }
  RingHeader& header = ring_.header();
  bool behind = stored_epoch_ != keys_.base_epoch();
  for (size_t i = 0; i < kClasses; ++i) behind |= header.chains[i].epoch.load() != stored_epoch_;
  const auto began = static_cast<int64_t>(header.epoch_began.load());
  if (behind || is_due(began, options_.epoch_interval_ns, now)) {
    if (Status status = rotate(); !status) return status;
  }
  const auto last = static_cast<int64_t>(header.last_checkpoint_time.load());
  if (checkpoint_due_ || is_due(last, options_.checkpoint_interval_ns, now)) {
    if (const Result<std::string> note = checkpoint(); !note) return note.status();
  }
  if (Status status = serve(Request::kRotate); !status) return status;
  if (Status status = serve(Request::kCheckpoint); !status) return status;
  if (Status status = serve(Request::kPrune); !status) return status;
  if (Status status = clear_leftovers(); !status) return status;
  if (!failing()) recovered();  // nothing is left of what was told
  return {};
}

Status Flusher::serve(Request request) {
  RingHeader& header = ring_.header();
  const auto which = static_cast<size_t>(request);
  const uint64_t asked = header.asked[which].load();
  if (header.served[which].load() >= asked) return {};
  if (request == Request::kRotate) {
    if (Status status = rotate(); !status) return status;
  } else if (request == Request::kPrune) {
    if (Status status = serve_prunes(); !status) return status;
  } else if (const Result<std::string> note = checkpoint(); !note) {
    return note.status();
  }
  header.served[which].store(asked);
  header.done.fetch_add(1);
  futex_wake_all(header.done);
  return {};
}

Status Flusher::tell_repairs(int64_t now) {
  while (!repairs_.empty()) {
    Status error;
    const auto outcome =
        append_repair(appender_, repairs_.front(), now, options_.full_wait_ns, &error);
    if (outcome == Appender::Outcome::kRefused) return error;
    if (outcome != Appender::Outcome::kDone) return {};  // when there is room
    repairs_.pop_front();
  }
  return {};
}

Status Flusher::beat(int64_t now) {
  RingHeader& header = ring_.header();
  const Field interval[] = {
      {FieldId::kHeartbeatNs,
       Value::unsigned_integer(static_cast<uint64_t>(options_.heartbeat_interval_ns)),
       {}}};
  for (size_t i = 0; i < kClasses; ++i) {
    const auto last = static_cast<int64_t>(header.chains[i].last_time.load());
    if (!is_due(last, options_.heartbeat_interval_ns, now)) continue;
    RecordDraft draft;
    draft.chain = static_cast<Class>(i);
    draft.kind = Kind::kHeartbeat;
    draft.time_ns = now;
    draft.fields = interval;
    Committed committed;
    if (Status status = append(draft, &committed); !status) return status;
  }
  return {};
}

Result<Flusher::Tenants> Flusher::append_epochs(uint32_t* target, uint64_t* end) {
  const RingLock lock(ring_, options_.full_wait_ns);
  if (!lock.held()) {
    return Error{Code::kFull, "the ring's mutex is held by a process that stopped"};
  }
  uint32_t oldest = ~uint32_t{0};
  uint32_t newest = 0;
  for (size_t i = 0; i < kClasses; ++i) {
    const uint32_t epoch = ring_.chain(static_cast<Class>(i)).epoch;
    oldest = std::min(oldest, epoch);
    newest = std::max(newest, epoch);
  }
  // A rotation that was broken off is finished, not begun again.
  const bool unfinished = oldest != newest || stored_epoch_ < oldest;
  *target = unfinished ? newest : newest + 1;
  if (!ring_.has_room(kRoomForEpochs)) return Error{Code::kFull, "the ring is full"};
  for (size_t i = 0; i < kClasses; ++i) {
    const auto chain = static_cast<Class>(i);
    const uint32_t epoch = ring_.chain(chain).epoch;
    if (epoch == *target) continue;
    const Field fields[] = {{FieldId::kNextEpoch, Value::unsigned_integer(epoch + 1), {}}};
    RecordDraft draft;
    draft.chain = chain;
    draft.kind = Kind::kEpoch;
    draft.time_ns = clock_.wall_ns();
    draft.fields = fields;
    Committed committed;
    Status error;
    if (appender_.append_locked(draft, &committed, &error) != Appender::Outcome::kDone) {
      return error ? Error{Code::kFull, "the ring is full"} : error.error();
    }
  }
  *end = ring_.tail();
  for (size_t i = 0; i < kClasses; ++i) keys_.follow(static_cast<Class>(i), *target);
  return ring_.tenants();
}

Status Flusher::rotate() {
  uint32_t target = 0;
  uint64_t end = 0;
  Result<Tenants> tenants{Tenants{}};
  for (int tries = 0; tries < kTriesForRoom; ++tries) {
    if (Status status = pump(ring_.tail(), true); !status) return status;
    tenants = append_epochs(&target, &end);
    if (tenants || tenants.error().code != Code::kFull) break;
  }
  if (!tenants) return tenants.status();
  if (Status status = pump(end, true); !status) return status;
  // Durable in all chains: now the files, and the key last.
  std::array<uint64_t, kClasses> next{};
  for (size_t i = 0; i < kClasses; ++i) next[i] = chains_[i]->durable().next_sequence;
  if (Status status = save_tenants(checkpoint_tree_.end(), next, std::move(*tenants)); !status) {
    return status;
  }
  if (Status status = save_head(); !status) return status;
  manifest_due_ = true;
  if (Status status = write_manifest(); !status) return status;
  EpochKey key = keys_.base();
  if (Status status = write_key(files_, paths_.keys, "log.key", key, KeyState::kInForce); !status) {
    return status;
  }
  stored_epoch_ = key.epoch();
  ring_.header().epoch_began.store(static_cast<uint64_t>(clock_.wall_ns()));
  return {};
}

Status Flusher::save_tenants(uint64_t checkpoint, const std::array<uint64_t, kClasses>& next,
                             Tenants tenants) {
  TenantsFile file;
  file.checkpoint = checkpoint;
  file.next_sequence = next;
  file.entries = std::move(tenants);
  const FileKey key = file_key();
  Status status =
      replace_file(files_, paths_.log, "tenants",
                   make_block(kTenantsMagic, log_id_, key.epoch, key.key, file.content()));
  if (status) records_since_tenants_ = 0;
  return status;
}

Status Flusher::append_checkpoint(const std::string& note) {
  const std::string path = paths_.log + "/checkpoints";
  Result<std::unique_ptr<File>> file = files_.open(path, OpenMode::kReadWrite);
  const bool absent = !file && file.error().code == Code::kNotFound;
  if (absent) file = files_.open(path, OpenMode::kCreate);
  if (!file) return file.status();
  const std::string frame = frame_checkpoint(note);
  // What a try before left behind the end is written over or cut off.
  if (Status status = (*file)->truncate(checkpoints_end_); !status) return status;
  if (Status status = (*file)->write_at(checkpoints_end_, frame); !status) return status;
  if (Status status = (*file)->sync(); !status) return status;
  if (absent) {
    if (Status status = files_.sync_directory(paths_.log); !status) return status;
  }
  checkpoints_end_ += frame.size();
  return {};
}

Result<std::string> Flusher::checkpoint() {
  Checkpoint checkpoint;
  Tenants tenants;
  uint64_t end = 0;
  if (Status status = pump(ring_.tail(), true); !status) return status;
  {
    const RingLock lock(ring_, options_.full_wait_ns);
    if (!lock.held()) {
      return Error{Code::kFull, "the ring's mutex is held by a process that stopped"};
    }
    end = ring_.tail();
    tenants = ring_.tenants();
    checkpoint.epoch = ring_.chain(Class::kSecurity).epoch;
  }
  if (Status status = pump(end, true); !status) return status;
  checkpoint.origin = log_origin(log_id_);
  checkpoint.number = checkpoint_tree_.end();
  checkpoint.time_ns = clock_.wall_ns();
  std::array<uint64_t, kClasses> next{};
  size_t tenants_count = 0;
  for (size_t i = 0; i < kClasses; ++i) {
    ChainHead& chain = checkpoint.chains[i];
    const CompactRange tree = chains_[i]->tree();
    chain.size = next[i] = tree.end();
    chain.root = tree.root();
    chain.tenants = tenants[i].size();
    chain.tenants_root = tenants_root(&tenants[i]);
    tenants_count += tenants[i].size();
  }
  CompactRange tree = checkpoint_tree_;
  tree.append(leaf_hash(checkpoint.leaf()));
  checkpoint.root = tree.root();
  std::string note = sign_note(checkpoint, seed_, manifest_.public_key);
  checkpoint_due_ = true;
  if (Status status = append_checkpoint(note); !status) return status;
  checkpoint_due_ = false;
  checkpoint_tree_ = std::move(tree);

  const Digest256 hash = sha256(note);
  const Field fields[] = {
      {FieldId::kCheckpointNumber, Value::unsigned_integer(checkpoint.number), {}},
      {FieldId::kCheckpointHash, Value::blob(as_view(hash)), {}}};
  RecordDraft draft;
  draft.chain = Class::kSecurity;
  draft.kind = Kind::kCheckpoint;
  draft.time_ns = checkpoint.time_ns;
  draft.fields = fields;
  Committed committed;
  if (Status status = append(draft, &committed); !status) return status;
  if (Status status = pump(ring_.tail(), true); !status) return status;
  if (records_since_tenants_ >= std::max<uint64_t>(kTenantsEveryMin, tenants_count)) {
    if (Status status = save_tenants(checkpoint.number + 1, next, std::move(tenants)); !status) {
      return status;
    }
  }
  if (Status status = save_head(); !status) return status;
  ring_.header().checkpoints.store(checkpoint_tree_.end());
  ring_.header().last_checkpoint_time.store(static_cast<uint64_t>(checkpoint.time_ns));
  return note;
}

}  // namespace tenancy::log
