#include "tenancy/metering/id_table.h"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <new>

#include "tenancy/log/bytes.h"

namespace tenancy::metering {
namespace {

constexpr std::string_view kIdsMagic{"TNCYIDS\0", 8};
constexpr uint64_t kIdsVersion = uint64_t{1} << 32;
constexpr uint64_t kForgotten = 3;  // in the place of an action
constexpr auto kRelaxed = std::memory_order_relaxed;

uint64_t low_of(const Hash128& id) { return id.low == 0 ? 1 : id.low; }

// Ids fall anywhere, so a table's pages are all touched when a twentieth of it is full. Of a larger
// one they come one by one: others wait while a table is made.
constexpr size_t kPopulateBytesMax = size_t{64} << 20;

size_t table_bytes(unsigned slots_log2) { return kTableHeadBytes + (size_t{32} << slots_log2); }

}  // namespace

IdTable::IdTable(std::unique_ptr<MappedFile> file)
    : file_(std::move(file)),
      head_(std::launder(reinterpret_cast<Head*>(file_->data()))),
      slots_(std::launder(reinterpret_cast<Slot*>(file_->data() + kTableHeadBytes))) {}

Result<std::unique_ptr<IdTable>> IdTable::make(const std::string& path, const Identity& identity,
                                               uint64_t number, unsigned slots_log2) {
  // What a process left that died before it could make it known.
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Error{Code::kPermission, path + ": cannot be replaced: errno " + std::to_string(errno)};
  }
  MappedFile::Options options;
  options.size_bytes = table_bytes(slots_log2);
  Result<std::unique_ptr<MappedFile>> file = MappedFile::open(path, options, nullptr);
  if (!file) {
    unlink(path.c_str());
    return file.status();
  }
  if (options.size_bytes <= kPopulateBytesMax) (*file)->populate();
  std::unique_ptr<IdTable> table(new IdTable(std::move(*file)));
  Head& head = *table->head_;
  head.log_id[0].store(log::get<uint64_t>(log::view_of(identity.log_id).data()));
  head.log_id[1].store(log::get<uint64_t>(log::view_of(identity.log_id).data() + 8));
  head.key_check.store(identity.key_check);
  head.number.store(number);
  head.slots_log2.store(slots_log2);
  head.version.store(kIdsVersion);
  head.magic.store(log::get<uint64_t>(kIdsMagic.data()));
  table->mask_ = (uint64_t{1} << slots_log2) - 1;
  return table;
}

Result<std::unique_ptr<IdTable>> IdTable::open(const std::string& path, const Identity& identity,
                                               uint64_t number, unsigned slots_log2) {
  if (access(path.c_str(), F_OK) != 0) return Error{Code::kNotFound, path + ": is not there"};
  MappedFile::Options options;
  options.magic = kIdsMagic;
  options.size_bytes = kTableHeadBytes;
  options.reserve_bytes = table_bytes(slots_log2);
  Result<std::unique_ptr<MappedFile>> file = MappedFile::open(path, options, nullptr);
  if (!file) return file.status();
  const auto* const head = std::launder(reinterpret_cast<const Head*>((*file)->data()));
  if (head->version.load() >> 32 != kIdsVersion >> 32) {
    return Error{Code::kVersion, path + ": of another major version"};
  }
  const char* const log_id = log::view_of(identity.log_id).data();
  const bool ours = head->log_id[0].load() == log::get<uint64_t>(log_id) &&
                    head->log_id[1].load() == log::get<uint64_t>(log_id + 8) &&
                    head->key_check.load() == identity.key_check;
  if (!ours) return Error{Code::kForeign, path + ": of another log"};
  if (head->number.load() != number || head->slots_log2.load() != slots_log2 ||
      (*file)->size_bytes() < table_bytes(slots_log2) ||
      head->used.load() > (uint64_t{1} << slots_log2) / 2) {
    return Error{Code::kDamaged, path + ": contradicts its name, its length or itself"};
  }
  std::unique_ptr<IdTable> table(new IdTable(std::move(*file)));
  table->mask_ = (uint64_t{1} << slots_log2) - 1;
  return table;
}

void IdTable::find(const Hash128& id, std::vector<IdEntry>* out) const {
  const uint64_t low = low_of(id);
  for (uint64_t i = id.high & mask_;; i = (i + 1) & mask_) {
    const Slot& slot = slots_[i];
    const uint64_t found = slot.low.load(std::memory_order_acquire);
    if (found == 0) return;
    if (found != low || slot.high.load(kRelaxed) != id.high) continue;
    const uint64_t place = slot.place.load(kRelaxed);
    if ((place & 3) != kForgotten) out->push_back({slot.digest.load(kRelaxed), Place::of(place)});
  }
}

bool IdTable::contains(const Hash128& id, Place place) const {
  const uint64_t low = low_of(id);
  for (uint64_t i = id.high & mask_;; i = (i + 1) & mask_) {
    const Slot& slot = slots_[i];
    const uint64_t found = slot.low.load(std::memory_order_acquire);
    if (found == 0) return false;
    if (found == low && slot.high.load(kRelaxed) == id.high &&
        slot.place.load(kRelaxed) == place.word()) {
      return true;
    }
  }
}

void IdTable::add(const Hash128& id, const IdEntry& entry, int64_t now_ns) {
  if (used() == 0) head_->first_ns.store(static_cast<uint64_t>(now_ns), kRelaxed);
  head_->last_ns.store(static_cast<uint64_t>(now_ns), kRelaxed);
  // Counted first: after a death in between there is rather too little room than too much.
  head_->used.store(used() + 1, std::memory_order_release);
  uint64_t i = id.high & mask_;
  while (slots_[i].low.load(kRelaxed) != 0) i = (i + 1) & mask_;
  Slot& slot = slots_[i];
  slot.high.store(id.high, kRelaxed);
  slot.digest.store(entry.digest, kRelaxed);
  slot.place.store(entry.place.word(), kRelaxed);
  slot.low.store(low_of(id), std::memory_order_release);
}

void IdTable::forget_from(uint64_t sequence) {
  uint64_t used = 0;
  for (uint64_t i = 0; i <= mask_; ++i) {
    Slot& slot = slots_[i];
    if (slot.low.load(kRelaxed) == 0) continue;
    ++used;
    if (Place::of(slot.place.load(kRelaxed)).sequence >= sequence) {
      slot.place.store(kForgotten, kRelaxed);
    }
  }
  head_->used.store(used, std::memory_order_release);
}

}  // namespace tenancy::metering
