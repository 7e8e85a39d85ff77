#include "tenancy/log/verify_subjects.h"

#include <set>

#include "tenancy/log/bytes.h"
#include "tenancy/log/sealing.h"

namespace tenancy::log {
namespace {

constexpr std::string_view kFile = "keys/subjects";

Finding at_slot(Verdict verdict, std::string code, uint64_t offset, std::string text) {
  Finding out;
  out.verdict = verdict;
  out.code = std::move(code);
  out.file = kFile;
  out.offset = offset;
  out.text = std::move(text);
  return out;
}

Finding at_record(std::string code, const RecordPlace& place, std::string text) {
  Finding out;
  out.code = std::move(code);
  out.chain = static_cast<int>(index(place.chain));
  out.sequence = place.sequence;
  out.file = place.file;
  out.offset = place.offset;
  out.text = std::move(text);
  return out;
}

class Judge {
 public:
  Judge(const SubjectMentions& mentions, const ErasedChain& chain)
      : mentions_(mentions), chain_(chain) {}

  void slots(const SubjectFiles& files);
  void missing_keys();
  std::vector<Finding> take() { return std::move(findings_); }

 private:
  void slot(const SubjectSlot& slot, uint64_t offset);
  void erased(const SubjectSlot& slot, uint64_t offset);

  const SubjectMentions& mentions_;
  const ErasedChain& chain_;
  std::set<SubjectKeyId> there_;
  std::vector<Finding> findings_;
};

// Slots never move. One that is erased now and was not before: the chains were read up to where the
// record of it may not have been yet.
bool erased_meanwhile(const SubjectFiles& files, const SubjectSlot& slot, uint64_t at) {
  if (slot.state != SubjectState::kErased || files.before == files.now) return false;
  if (at >= files.before.size()) return true;
  const auto before = SubjectSlot::parse(files.before.substr(at, kSubjectSlotBytes));
  return before && before->state != SubjectState::kErased;
}

void Judge::slots(const SubjectFiles& files) {
  const std::string_view file = files.now;
  for (uint64_t at = kSubjectSlotBytes; at < file.size(); at += kSubjectSlotBytes) {
    const auto found = SubjectSlot::parse(file.substr(at, kSubjectSlotBytes));
    if (found && erased_meanwhile(files, *found, at)) {
      there_.insert(found->id);
    } else if (found) {
      slot(*found, at);
    } else {
      findings_.push_back(
          at_slot(Verdict::kQualified, "subjects_torn", at, "a key that is not whole"));
    }
  }
}

void Judge::slot(const SubjectSlot& slot, uint64_t offset) {
  there_.insert(slot.id);
  if (slot.state == SubjectState::kErased) return erased(slot, offset);
  if (slot.state == SubjectState::kErasing) {
    return findings_.push_back(at_slot(
        Verdict::kQualified, "erasing", offset,
        "the erasure of key " + hex(slot.id) + " was begun; whoever opens the log finishes it"));
  }
  if (const auto record = mentions_.erased.find(slot.id); record != mentions_.erased.end()) {
    findings_.push_back(at_record("erased_undone", record->second,
                                  "the record says that key " + hex(slot.id) +
                                      " was destroyed, and it is there: it was brought back"));
  }
}

void Judge::erased(const SubjectSlot& slot, uint64_t offset) {
  if (mentions_.erased.contains(slot.id) || slot.sequence < chain_.first) return;
  if (chain_.damaged && slot.sequence > chain_.next) return;
  Finding finding = at_slot(Verdict::kTampered, "erased_missing", offset,
                            "key " + hex(slot.id) + " was destroyed, and record " +
                                std::to_string(slot.sequence) + ", which said so, is not there");
  finding.chain = static_cast<int>(index(Class::kSecurity));
  finding.sequence = slot.sequence;
  findings_.push_back(std::move(finding));
}

void Judge::missing_keys() {
  for (const auto& [id, place] : mentions_.sealed) {
    if (there_.contains(id) || mentions_.erased.contains(id) || chain_.damaged) continue;
    findings_.push_back(at_record("subject_key_missing", place,
                                  "key " + hex(id) +
                                      ", which sealed fields of this record, is "
                                      "gone, and no record says so"));
  }
}

}  // namespace

void SubjectMentions::add(const RecordView& record, const RecordPlace& place) {
  FieldCursor cursor = record.fields();
  Field field;
  while (cursor.next(&field)) {
    if (field.value.type == ValueType::kSealed) {
      sealed.try_emplace(sealed_under(field.value), place);
    } else if (field.id == FieldId::kSubjectKey && record.kind() == Kind::kErased) {
      erased.try_emplace(get_bytes<SubjectKeyId>(field.value.bytes.data()), place);
    }
  }
}

void SubjectMentions::add(const SubjectMentions& others) {
  sealed.insert(others.sealed.begin(), others.sealed.end());
  erased.insert(others.erased.begin(), others.erased.end());
}

std::vector<Finding> judge_subjects(const SubjectFiles& files, const LogId& log_id,
                                    const SubjectMentions& mentions, const ErasedChain& chain) {
  Judge judge(mentions, chain);
  if (!files.now.empty()) {
    const Result<SubjectsHeader> header = SubjectsHeader::parse(files.now);
    if (!header || header->log_id != log_id) {
      return {at_slot(Verdict::kTampered, "subjects_damaged", 0,
                      header ? "it holds the keys of another log" : header.error().message)};
    }
    judge.slots(files);
  }
  judge.missing_keys();
  return judge.take();
}

}  // namespace tenancy::log
