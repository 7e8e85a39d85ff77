#include "tenancy/log/subject_keys.h"

#include <algorithm>

#include "tenancy/log/bytes.h"
#include "tenancy/log/lock_file.h"

namespace tenancy::log {
namespace {

constexpr uint64_t kSlotsAtOnce = 8192;

uint64_t offset_of(uint64_t number) { return (number + 1) * kSubjectSlotBytes; }

Error nobody() { return {Code::kNotFound, "nothing is sealed under a key of that subject"}; }

// Held while slots are written.
Result<HeldLock> locked(const std::string& keys) {
  return HeldLock::exclusive(keys + "/subjects.lock");
}

}  // namespace

Status SubjectKeys::open(bool make) {
  if (file_ != nullptr) return {};
  const OpenMode mode = log_id_ ? OpenMode::kReadWrite : OpenMode::kRead;
  Result<std::unique_ptr<File>> file = files_.open(path(), mode);
  if (!file && file.error().code == Code::kNotFound && make) {
    if (Status status = make_file(); !status) return status;
    file = files_.open(path(), mode);
  }
  if (!file) return file.status();
  std::string bytes;
  if (Status status = (*file)->read_at(0, kSubjectSlotBytes, &bytes); !status) return status;
  const Result<SubjectsHeader> header = SubjectsHeader::parse(bytes);
  if (!header) return {header.error().code, path() + ": " + header.error().message};
  if (log_id_ && header->log_id != *log_id_) {
    return {Code::kForeign, path() + ": holds the keys of another log; restore the right one"};
  }
  header_ = *header;
  file_ = std::move(*file);
  return {};
}

Status SubjectKeys::make_file() {
  const Result<HeldLock> lock = locked(keys_);
  if (!lock) return lock.status();
  if (files_.open(path(), OpenMode::kRead)) return {};  // somebody was quicker
  SubjectsHeader header;
  header.log_id = *log_id_;
  random_bytes(header.secret);
  return replace_file(files_, keys_, "subjects", header.bytes());
}

Result<std::optional<SubjectSlot>> SubjectKeys::read(uint64_t number) {
  std::string bytes;
  Status status = file_->read_at(offset_of(number), kSubjectSlotBytes, &bytes);
  if (!status) return status;
  std::optional<SubjectSlot> slot = SubjectSlot::parse(bytes);
  cleanse({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  return slot;
}

void SubjectKeys::index(uint64_t number, const SubjectSlot& slot) {
  by_id_[slot.id] = number;
  if (slot.state == SubjectState::kLive) by_name_[slot.name] = number;
}

// Takes in the slots that others have added.
Status SubjectKeys::refresh() {
  std::vector<uint64_t> torn;
  for (const uint64_t number : torn_) {
    const Result<std::optional<SubjectSlot>> slot = read(number);
    if (!slot) return slot.status();
    if (*slot) {
      index(number, **slot);
    } else {
      torn.push_back(number);
    }
  }
  torn_ = std::move(torn);
  const Result<uint64_t> size = file_->size();
  if (!size) return size.status();
  const uint64_t slots = *size / kSubjectSlotBytes - (*size < kSubjectSlotBytes ? 0 : 1);
  while (seen_ < slots) {
    const uint64_t count = std::min(slots - seen_, kSlotsAtOnce);
    std::string bytes;
    Status status = file_->read_at(offset_of(seen_), count * kSubjectSlotBytes, &bytes);
    if (!status) return status;
    for (size_t at = 0; at + kSubjectSlotBytes <= bytes.size(); at += kSubjectSlotBytes) {
      const auto slot = SubjectSlot::parse(std::string_view(bytes).substr(at, kSubjectSlotBytes));
      if (slot) {
        index(seen_, *slot);
      } else {
        torn_.push_back(seen_);
      }
      ++seen_;
    }
    const bool ended = bytes.size() < count * kSubjectSlotBytes;
    cleanse({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
    if (ended) break;
  }
  return {};
}

Result<SubjectSlot> SubjectKeys::find_name(const Digest256& name) {
  for (const bool again : {false, true}) {
    if (again) {
      if (Status status = refresh(); !status) return status;
    }
    const auto found = by_name_.find(name);
    if (found == by_name_.end()) continue;
    const Result<std::optional<SubjectSlot>> slot = read(found->second);
    if (!slot) return slot.status();
    if (*slot && (*slot)->state == SubjectState::kLive && (*slot)->name == name) return **slot;
    by_name_.erase(found);  // erased since
  }
  return nobody();
}

Result<SubjectSlot> SubjectKeys::find_id(const SubjectKeyId& id, uint64_t* number) {
  for (const bool again : {false, true}) {
    if (again) {
      if (Status status = refresh(); !status) return status;
    }
    const auto found = by_id_.find(id);
    if (found == by_id_.end()) continue;
    const Result<std::optional<SubjectSlot>> slot = read(found->second);
    if (!slot) return slot.status();
    if (!*slot || (*slot)->id != id) {
      return Error{Code::kDamaged, path() + ": slot " + std::to_string(found->second) +
                                       " is damaged; run: tenancy audit verify"};
    }
    if (number != nullptr) *number = found->second;
    return **slot;
  }
  return Error{Code::kNotFound, path() + ": has no key " + hex(id)};
}

Result<SubjectSlot> SubjectKeys::add(const Digest256& name) {
  const Result<HeldLock> lock = locked(keys_);
  if (!lock) return lock.status();
  if (Result<SubjectSlot> found = find_name(name); found || found.error().code != Code::kNotFound) {
    return found;
  }
  SubjectSlot slot;
  random_bytes(slot.id);
  random_bytes(slot.key);
  slot.name = name;
  // A part of a slot at the end is of a writer that was killed, or had no room: it is written over.
  const uint64_t number = seen_;
  std::string bytes = slot.bytes();
  Status status = file_->write_at(offset_of(number), bytes);
  cleanse({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  if (!status) return status;
  index(number, slot);
  seen_ = number + 1;
  return slot;
}

Result<SubjectSlot> SubjectKeys::live(std::optional<std::string_view> tenant,
                                      std::string_view subject) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (Status status = open(true); !status) return status;
  const Digest256 name = header_.name(tenant, subject);
  Result<SubjectSlot> found = find_name(name);
  if (found || found.error().code != Code::kNotFound) return found;
  return add(name);
}

Result<SubjectSlot> SubjectKeys::find(std::optional<std::string_view> tenant,
                                      std::string_view subject) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (Status status = open(false); !status) {
    return status.error().code == Code::kNotFound ? Result<SubjectSlot>(nobody())
                                                  : Result<SubjectSlot>(status);
  }
  return find_name(header_.name(tenant, subject));
}

Result<SubjectSlot> SubjectKeys::find(const SubjectKeyId& id) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (Status status = open(false); !status) return status;
  return find_id(id, nullptr);
}

Result<LogId> SubjectKeys::log_id() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (Status status = open(false); !status) return status;
  return header_.log_id;
}

Status SubjectKeys::set(const SubjectSlot& slot) {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (Status status = open(false); !status) return status;
  const Result<HeldLock> lock = locked(keys_);
  if (!lock) return lock.status();
  uint64_t number = 0;
  if (Result<SubjectSlot> found = find_id(slot.id, &number); !found) return found.status();
  std::string bytes = slot.bytes();
  Status status = file_->write_at(offset_of(number), bytes);
  cleanse({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  if (!status) return status;
  status = file_->sync();
  if (!status) {
    file_.reset();  // never synced again: it might say yes without having written
    sync_failed_ = true;
    synced_bytes_ = 0;
  }
  return status;
}

Status SubjectKeys::sync() {
  const std::lock_guard<std::mutex> guard(mutex_);
  if (Status status = open(false); !status) {
    // With a file that is not there or not ours nobody seals, so no record waits for it.
    const Code code = status.error().code;
    const bool unused = code == Code::kNotFound || code == Code::kForeign ||
                        code == Code::kDamaged || code == Code::kVersion;
    return unused ? Status() : status;
  }
  const Result<uint64_t> size = file_->size();
  if (!size) return size.status();
  if (*size <= synced_bytes_ && !sync_failed_) return {};
  if (sync_failed_) {
    if (Status status = write_again(); !status) return status;
  }
  if (Status status = file_->sync(); !status) {
    file_.reset();
    sync_failed_ = true;
    return status;
  }
  sync_failed_ = false;
  synced_bytes_ = *size;
  return {};
}

// After a sync that failed the kernel may take for written what is not: it is written again, while
// nobody can erase a key meanwhile.
Status SubjectKeys::write_again() {
  const Result<HeldLock> lock = locked(keys_);
  if (!lock) return lock.status();
  const Result<uint64_t> size = file_->size();
  if (!size) return size.status();
  const uint64_t from = synced_bytes_ / kSubjectSlotBytes * kSubjectSlotBytes;
  std::string bytes;
  Status status = file_->read_at(from, *size - std::min(from, *size), &bytes);
  if (status) status = file_->write_at(from, bytes);
  cleanse({reinterpret_cast<uint8_t*>(bytes.data()), bytes.size()});
  return status;
}

}  // namespace tenancy::log
