// What is checked of each record of a chain.
#include <algorithm>

#include "tenancy/log/bytes.h"
#include "tenancy/log/verify_chain.h"

namespace tenancy::log {
namespace {

constexpr size_t kSilencesMax = 100;
// Records sealed again are looked for under so many keys.
constexpr uint32_t kResignedEpochsMax = 4096;

bool tag_is(const Digest256& mac, const RecordView& record) {
  return equal_constant_time(as_view(mac), record.bytes().substr(record.size() - 36, 32));
}

bool made_with(const HmacKey* key, const RecordView& record) {
  return key != nullptr && tag_is(key->mac(record.maced()), record);
}

std::optional<uint64_t> number(const RecordView& record, FieldId id) {
  const std::optional<Value> value = record.find(id);
  if (!value || value->type != ValueType::kUint) return std::nullopt;
  return value->number;
}

std::string_view bytes_of(const RecordView& record, FieldId id) {
  const std::optional<Value> value = record.find(id);
  return value ? value->bytes : std::string_view();
}

bool has_no_tenant(Kind kind) {
  return (kind >= Kind::kGenesis && kind <= Kind::kClosed) || kind == Kind::kCheckpoint;
}

}  // namespace

bool ChainVerifier::check_mac(const RecordView& record, Digest256* leaf) {
  if (record_key_ != nullptr) {
    const MacAndHash both = mac_and_leaf_hash(*record_key_, record.maced(), record.leaf());
    *leaf = both.hash;
    if (tag_is(both.mac, record)) return true;
  }
  const uint32_t newest = std::min(std::max(claims_->epoch_max, epoch_ + 1), kResignedEpochsMax);
  for (uint32_t epoch = 0; epoch <= newest; ++epoch) {
    if (epoch != epoch_ && made_with(keys_->record_key(claims_->chain, epoch), record)) {
      return bad("record_resigned", "the record is of key epoch " + std::to_string(epoch_) +
                                        " and was sealed with the key of epoch " +
                                        std::to_string(epoch));
    }
  }
  return bad("record_mac", "the record is not what the log wrote");
}

bool ChainVerifier::check_record(const RecordView& record) {
  if (record.version() != kRecordVersion || record.algorithm() != kRecordAlgorithm) {
    return bad("record_version", "expected version 1, algorithm 1; got version " +
                                     std::to_string(record.version()) + ", algorithm " +
                                     std::to_string(record.algorithm()));
  }
  if (record.log_id() != keys_->log_id()) {
    return bad("record_log", "the record is of log " + hex(record.log_id()));
  }
  if (record.chain_code() != index(claims_->chain)) {
    return bad("record_class", "the record is of class " + std::to_string(record.chain_code()));
  }
  if (record.epoch() != epoch_) {
    return bad("record_epoch", "expected key epoch " + std::to_string(epoch_) + ", got " +
                                   std::to_string(record.epoch()));
  }
  Digest256 leaf;
  if (!check_mac(record, &leaf)) return false;
  if (record.sequence() != next_) {
    return bad("record_sequence", "expected record " + std::to_string(next_) + ", found record " +
                                      std::to_string(record.sequence()));
  }
  if (record.previous() != tag_) {
    return bad("record_previous", "the record does not continue the one before it");
  }
  TenantEntry* tenant = nullptr;
  if (!check_tenant(record, &tenant)) return false;
  uint64_t sealed = 0;
  if (const std::string fault = record.encoding_fault(&sealed); !fault.empty()) {
    return bad("record_encoding", fault + " has no valid form");
  }
  if (!check_kind(record)) return false;

  check_silence(record);
  last_time_ = record.time_ns();
  quiet_by_right_ = record.kind() == Kind::kClosed;
  const bool names_interval = record.kind() == Kind::kGenesis ||
                              record.kind() == Kind::kHeartbeat || record.kind() == Kind::kOpened;
  if (names_interval) interval_ = number(record, FieldId::kHeartbeatNs).value_or(interval_);

  tag_ = record.tag();
  if (tenant != nullptr) tenants_.touch(*tenant, record.tenant_sequence(), tag_);
  range_.append(leaf);
  ++next_;
  counts_.next_sequence = next_;
  ++counts_.records;
  if (record.kind() == Kind::kEvent) ++counts_.events;
  counts_.sealed += sealed;
  if (sealed != 0 || record.kind() == Kind::kErased) {
    subjects_.add(record, {claims_->chain, record.sequence(), file_, offset_});
  }
  counts_.tenants = tenants_.size();
  if (record.kind() == Kind::kEpoch) record_key_ = keys_->record_key(claims_->chain, ++epoch_);
  return true;
}

bool ChainVerifier::check_tenant(const RecordView& record, TenantEntry** entry) {
  const auto tenant = record.tenant();
  if (!tenant) {
    if (record.tenant_sequence() != 0) {
      return bad("tenant_sequence", "a record without a tenant has a tenant sequence");
    }
    if (record.tenant_previous() != Tag{}) {
      return bad("tenant_previous", "a record without a tenant has a tenant's tag");
    }
    return true;
  }
  TenantEntry& head = tenants_.of(*tenant);
  if (record.tenant_sequence() != head.sequence + 1) {
    return bad("tenant_sequence", "expected the tenant's record " +
                                      std::to_string(head.sequence + 1) + ", found " +
                                      std::to_string(record.tenant_sequence()));
  }
  if (record.tenant_previous() != head.tag) {
    return bad("tenant_previous", "the record does not continue the tenant's one before it");
  }
  *entry = &head;
  return true;
}

bool ChainVerifier::check_kind(const RecordView& record) {
  if ((next_ == 0) != (record.kind() == Kind::kGenesis)) {
    return bad("record_encoding",
               next_ == 0 ? "the first record of a chain is not its genesis" : "a second genesis");
  }
  if (has_no_tenant(record.kind()) && record.tenant()) {
    return bad("record_encoding", "a record of the log itself names a tenant");
  }
  switch (record.kind()) {
    case Kind::kGenesis: return check_genesis(record);
    case Kind::kEpoch:
      if (number(record, FieldId::kNextEpoch) != uint64_t{epoch_} + 1) {
        return bad("record_epoch", "the record does not lead to the next key epoch");
      }
      return true;
    case Kind::kRepair: return check_repair(record);
    case Kind::kCheckpoint: return check_checkpoint_record(record);
    case Kind::kPruned:
      if (const auto kept = number(record, FieldId::kKeptFrom)) {
        pruned_.push_back({*kept, std::string(bytes_of(record, FieldId::kStubsHash))});
      }
      return true;
    case Kind::kErased:
      if (bytes_of(record, FieldId::kSubjectKey).size() != sizeof(SubjectKeyId)) {
        return bad("record_encoding", "the record of an erasure names no key");
      }
      return true;
    default: return true;
  }
}

bool ChainVerifier::check_genesis(const RecordView& record) {
  const std::string_view key = bytes_of(record, FieldId::kPublicKey);
  const bool key_agrees = !claims_->public_key || key == view_of(*claims_->public_key);
  const bool check_agrees = bytes_of(record, FieldId::kKeyCheck) == view_of(keys_->check());
  if (key_agrees && check_agrees) return true;
  Finding found = finding(Verdict::kTampered, "manifest_content",
                          "the manifest names another key than the first record of the chain");
  found.file = "manifest";
  found.offset = 0;
  return note(std::move(found));
}

bool ChainVerifier::check_repair(const RecordView& record) {
  ++counts_.repairs;
  const std::string_view reason = bytes_of(record, FieldId::kRepairReason);
  if (reason == "lost") {
    return note(finding(Verdict::kTampered, "lost",
                        "records that were durable were lost, and the log was opened without"));
  }
  const uint64_t segment = number(record, FieldId::kCutSegment).value_or(kNoSequence);
  const auto cut = cuts_.find(segment);
  if (cut != cuts_.end() && number(record, FieldId::kCutOffset) == cut->second.offset) {
    return check_discarded(record, segment, &cut->second);
  }
  if (record.find(FieldId::kDiscardedHash)) {
    return bad("repair_content", "the record tells of a cut that is not there");
  }
  return note(finding(Verdict::kQualified, "repaired",
                      "a segment was replaced before anything in it was durable"));
}

bool ChainVerifier::check_discarded(const RecordView& record, uint64_t segment, Cut* cut) {
  Finding found =
      finding(Verdict::kQualified, "repaired",
              "the segment was cut here; record " + std::to_string(next_) + " tells of it");
  found.file = "segments/" + segment_name(claims_->chain, segment);
  found.offset = cut->offset;
  cut->told = true;
  const std::string_view hash = bytes_of(record, FieldId::kDiscardedHash);
  if (cut->pruned) {
    found.file = "segments/" + stub_name(claims_->chain, segment);
    return note(std::move(found));
  }
  if (hash.empty()) return note(std::move(found));
  Result<SegmentReader> reader =
      SegmentReader::open(*files_, claims_->segments + "/" + segment_name(claims_->chain, segment));
  const Result<uint64_t> end =
      reader ? reader->data_end(cut->offset) : Result<uint64_t>(reader.error());
  const Result<std::string> bytes =
      end ? reader->bytes(cut->offset, *end) : Result<std::string>(end.error());
  if (!bytes) {
    return stop(finding(Verdict::kCannotVerify, "io_error", bytes.error().message));
  }
  if (number(record, FieldId::kDiscardedBytes) == bytes->size() &&
      hash == as_view(sha256(*bytes))) {
    return note(std::move(found));
  }
  found.verdict = Verdict::kTampered;
  found.code = "repair_content";
  found.text =
      "the bytes behind the cut are not those that record " + std::to_string(next_) + " tells of";
  return stop(std::move(found));
}

// A checkpoint that the log made after its notes were read: the file has it by now.
bool ChainVerifier::made_meanwhile(uint64_t which, std::string_view hash) const {
  const Result<std::string> file = read_file(*files_, claims_->checkpoints, kCheckpointsBytesMax);
  if (!file) return false;
  uint64_t end = 0;
  const std::vector<std::string_view> notes = split_checkpoints(*file, &end);
  return which < notes.size() && as_view(sha256(notes[which])) == hash;
}

bool ChainVerifier::check_checkpoint_record(const RecordView& record) {
  const uint64_t which = number(record, FieldId::kCheckpointNumber).value_or(kNoSequence);
  const std::vector<Digest256>& notes = claims_->note_hashes;
  if (which < notes.size() && bytes_of(record, FieldId::kCheckpointHash) == as_view(notes[which])) {
    return true;
  }
  const bool missing = which >= notes.size();
  if (missing && made_meanwhile(which, bytes_of(record, FieldId::kCheckpointHash))) return true;
  Finding found =
      finding(Verdict::kTampered, missing ? "checkpoint_missing" : "checkpoint_content",
              "record " + std::to_string(next_) + " tells of checkpoint " + std::to_string(which) +
                  (missing ? ", which is not there" : ", and of another note"));
  found.file = "checkpoints";
  found.offset = missing ? 0 : claims_->note_offsets[which];
  return note(std::move(found));
}

void ChainVerifier::check_silence(const RecordView& record) {
  if (quiet_by_right_ || interval_ == 0 || silences_ == kSilencesMax) return;
  // A clock that was set back is no silence: the record says when its host thought it was.
  if (record.time_ns() <= last_time_) return;
  const uint64_t apart =
      static_cast<uint64_t>(record.time_ns()) - static_cast<uint64_t>(last_time_);
  if (apart / 2 < interval_ || apart <= 2 * interval_) return;
  ++silences_;
  note(finding(Verdict::kQualified, "silent",
               "the time of the record is " + std::to_string(apart / 1'000'000) +
                   " ms after that of the one before it"));
}

}  // namespace tenancy::log
