// Destroying the key of a subject. (LOG_FORMAT.md, 3.2)
#include <array>
#include <optional>
#include <utility>

#include "tenancy/log/bytes.h"
#include "tenancy/log/event_id.h"
#include "tenancy/log/log_impl.h"
#include "tenancy/log/reader.h"

namespace tenancy::log {
namespace {

constexpr std::string_view kErasingName = "subjects.erasing";
constexpr uint64_t kErasingBytesMax = 1 << 16;
constexpr size_t kTextBytesMax = 1024;

Status check_text(std::string_view name, std::string_view text) {
  if (!text.empty() && text.size() <= kTextBytesMax) return {};
  return {Code::kInvalidArgument,
          std::string(name) + ": expected 1 to 1024 bytes, got " + std::to_string(text.size())};
}

}  // namespace

Result<Erasure> LogImpl::erase(std::optional<std::string_view> tenant, std::string_view subject,
                               std::string_view by, std::string_view reason) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  SubjectKeys& subjects = (*found)->subjects;
  for (const auto& [name, text] :
       {std::pair{"subject", subject}, std::pair{"by", by}, std::pair{"reason", reason}}) {
    if (Status status = check_text(name, text); !status) return status;
  }
  const Result<HeldLock> lock = HeldLock::exclusive(paths_.keys + "/subjects.erase");
  if (!lock) return lock.status();
  if (Status status = finish_broken_off(subjects); !status) return status;
  const Result<SubjectSlot> slot = subjects.find(tenant, subject);
  if (!slot) return slot.status();
  // What is durable keeps its sequence: the record is looked for from here on.
  if (Status status = flush(Ack::kDisk, std::nullopt); !status) return status;
  Erasing erasing;
  erasing.id = slot->id;
  erasing.from = position(Class::kSecurity);
  erasing.time_ns = clock_->wall_ns();
  if (tenant) erasing.tenant = std::string(*tenant);
  erasing.by = by;
  erasing.reason = reason;
  // From here on it is going to be finished, whoever dies.
  if (Status status = replace_file(files_, paths_.keys, std::string(kErasingName), erasing.bytes());
      !status) {
    return status;
  }
  return finish(subjects, erasing, false);
}

Result<SubjectKeyId> LogImpl::subject_key(std::optional<std::string_view> tenant,
                                          std::string_view subject) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  Result<SubjectSlot> slot = (*found)->subjects.find(tenant, subject);
  if (!slot) return slot.status();
  cleanse(slot->key);
  return slot->id;
}

Status LogImpl::finish_erasure() {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  const std::string path = paths_.keys + "/" + std::string(kErasingName);
  if (!files_.open(path, OpenMode::kRead)) return {};
  Result<LockFile> lock = LockFile::open(paths_.keys + "/subjects.erase");
  if (!lock) return lock.status();
  if (!lock->try_exclusive()) return {};  // whoever holds it is at it
  const HeldLock held(std::move(*lock));
  return finish_broken_off((*found)->subjects);
}

Status LogImpl::finish_broken_off(SubjectKeys& subjects) {
  const std::string path = paths_.keys + "/" + std::string(kErasingName);
  const Result<std::string> bytes = read_file(files_, path, kErasingBytesMax);
  if (!bytes) return bytes.error().code == Code::kNotFound ? Status() : bytes.status();
  const Result<Erasing> erasing = Erasing::parse(*bytes);
  if (!erasing) return {erasing.error().code, path + ": " + erasing.error().message};
  const Result<Erasure> done = finish(subjects, *erasing, true);
  return done ? Status() : done.status();
}

// A key that is not there any more, of a file that was put back to an older one, is recorded as
// well.
Result<Erasure> LogImpl::finish(SubjectKeys& subjects, const Erasing& erasing,
                                bool maybe_recorded) {
  Result<SubjectSlot> slot = subjects.find(erasing.id);
  if (!slot && slot.error().code != Code::kNotFound) return slot.status();
  SubjectSlot erased;
  erased.id = erasing.id;
  erased.state = SubjectState::kErased;
  if (slot && slot->state == SubjectState::kErased) {
    erased.sequence = slot->sequence;
  } else {
    // First of all: nothing more is sealed with it, nor opened by who sees the record.
    if (slot) {
      slot->state = SubjectState::kErasing;
      if (Status status = subjects.set(*slot); !status) return status;
    }
    Result<uint64_t> at = maybe_recorded ? recorded(erasing) : Result<uint64_t>(kNoSequence);
    if (at && *at == kNoSequence) at = record_erasure(erasing);
    if (!at) return at.status();
    erased.sequence = *at;
  }
  if (slot) {
    cleanse(slot->key);
    // Also if it says so already: who wrote it may have died before it was durable.
    if (Status status = subjects.set(erased); !status) return status;
  }
  if (Status status = files_.remove(paths_.keys + "/" + std::string(kErasingName)); !status) {
    return status;
  }
  if (Status status = files_.sync_directory(paths_.keys); !status) return status;
  return Erasure{erasing.id, erased.sequence, erasing.time_ns};
}

// Where the record of that erasure is, or kNoSequence.
Result<uint64_t> LogImpl::recorded(const Erasing& erasing) {
  if (Status status = flush(Ack::kDisk, std::nullopt); !status) return status;
  Result<std::unique_ptr<Reader>> reader =
      Reader::open(files_, paths_.log, Class::kSecurity, erasing.from);
  if (!reader) return reader.status();
  RecordView record;
  while (true) {
    const Result<bool> more = (*reader)->next(&record);
    if (!more) return more.status();
    if (!*more) return kNoSequence;
    const std::optional<Value> id = record.find(FieldId::kSubjectKey);
    if (record.kind() == Kind::kErased && id && id->bytes == view_of(erasing.id)) {
      return record.sequence();
    }
  }
}

Result<uint64_t> LogImpl::record_erasure(const Erasing& erasing) {
  const std::array<uint8_t, 16> event_id = new_event_id(erasing.time_ns);
  const Field fields[] = {{FieldId::kEventId, Value::uuid(view_of(event_id)), {}},
                          {FieldId::kPrincipal, Value::text(erasing.by), {}},
                          {FieldId::kSubjectKey, Value::blob(view_of(erasing.id)), {}},
                          {FieldId::kNamed, Value::text(erasing.reason), "reason"}};
  RecordDraft draft;
  draft.chain = Class::kSecurity;
  draft.kind = Kind::kErased;
  draft.time_ns = erasing.time_ns;
  draft.tenant = erasing.tenant;
  draft.fields = fields;
  Committed committed;
  if (Status status = commit(draft, options_.full_wait_ns, &committed); !status) return status;
  if (Status status = wait_for(committed.end, Ack::kDisk, options_.ack_wait_ns); !status)
    return status;
  return committed.position.sequence;
}

}  // namespace tenancy::log
