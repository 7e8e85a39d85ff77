#include "tenancy/log/ring.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <new>

#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr uint64_t kMagic = 0x00474e5259434e54;  // "TNCYRNG\0"
constexpr uint64_t kVersion = uint64_t{3} << 32;
constexpr size_t kReserveBytes = size_t{16} << 30;  // addresses, not memory
constexpr unsigned kFirstTableLog2 = 10;
constexpr uint64_t kTableLog2Mask = 63;
constexpr unsigned kClassShift = 62;
constexpr uint64_t kSequenceMask = (uint64_t{1} << kClassShift) - 1;
constexpr auto kRelease = std::memory_order_release;
constexpr auto kRelaxed = std::memory_order_relaxed;  // under the mutex

uint64_t word_of(const uint8_t* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof word);
  return word;
}

void store_tag(Word* words, const Tag& tag) {
  for (size_t i = 0; i < kTagWords; ++i) words[i].store(word_of(tag.data() + 8 * i), kRelease);
}

Tag load_tag(const Word* words) {
  Tag tag;
  for (size_t i = 0; i < kTagWords; ++i) {
    const uint64_t word = words[i].load(kRelaxed);
    std::memcpy(tag.data() + 8 * i, &word, sizeof word);
  }
  return tag;
}

void copy_words(const Word* from, Word* to, size_t count) {
  for (size_t i = 0; i < count; ++i) to[i].store(from[i].load(kRelaxed), kRelease);
}

// `__builtin_prefetch` asks for a line that others may keep, unless told that the processor has the
// other instruction; where it has not, that is one without effect.
void prefetch_to_write(const void* address) {
#if defined(__x86_64__)
  asm volatile("prefetchw %0" : : "m"(*static_cast<const char*>(address)));
#else
  __builtin_prefetch(address, 1);
#endif
}

uint64_t table_offset(uint64_t table) { return table & ~kTableLog2Mask; }
uint64_t table_slots(uint64_t table) { return uint64_t{1} << (table & kTableLog2Mask); }

// The slot that holds the key, or the first empty one.
SlotWords* probe(SlotWords* slots, uint64_t count, const TenantKey& key) {
  const uint64_t first = word_of(key.data());
  for (uint64_t i = first & (count - 1);; i = (i + 1) & (count - 1)) {
    SlotWords* const slot = slots + i;
    const uint64_t found = slot->key[0].load(kRelaxed);
    if (found == 0) return slot;
    if (found == first && slot->key[1].load(kRelaxed) == word_of(key.data() + 8) &&
        slot->key[2].load(kRelaxed) == word_of(key.data() + 16)) {
      return slot;
    }
  }
}

}  // namespace

TenantHead tenant_head(const SlotWords& slot) {
  return {slot.sequence.load(kRelaxed) & kSequenceMask, load_tag(slot.tag)};
}

Ring::Ring(std::unique_ptr<MappedFile> file, uint64_t ring_bytes)
    : file_(std::move(file)),
      base_(reinterpret_cast<char*>(file_->data())),
      header_(std::launder(reinterpret_cast<RingHeader*>(base_))),
      ring_bytes_(ring_bytes) {}

Ring::~Ring() = default;

Result<std::unique_ptr<Ring>> Ring::initialise(std::unique_ptr<MappedFile> file,
                                               const Identity& identity, uint64_t ring_bytes) {
  new (file->data()) RingHeader{};
  std::unique_ptr<Ring> ring(new Ring(std::move(file), ring_bytes));
  RingHeader& header = ring->header();
  header.mutex.init();
  header.boot.store(identity.boot);
  header.pid_namespace.store(identity.pid_namespace);
  header.log_id[0].store(word_of(identity.log_id.data()));
  header.log_id[1].store(word_of(identity.log_id.data() + 8));
  header.ring_bytes.store(ring_bytes);
  header.table.store((kRingDataOffset + ring_bytes) | kFirstTableLog2);
  header.heap_end.store(kRingDataOffset + ring_bytes + (sizeof(SlotWords) << kFirstTableLog2));
  for (Progress& progress : header.progress) {
    for (ChainProgress& chain : progress.chains) chain.first.store(kNoSequence);
  }
  header.version.store(kVersion);
  header.magic.store(kMagic);
  return ring;
}

Result<std::unique_ptr<Ring>> Ring::make_private(const Identity& identity, uint64_t ring_bytes) {
  MappedFile::Options options;
  options.size_bytes = kRingDataOffset + ring_bytes + (sizeof(SlotWords) << kFirstTableLog2);
  options.reserve_bytes = kReserveBytes;
  Result<std::unique_ptr<MappedFile>> file = MappedFile::anonymous(options);
  if (!file) return file.status();
  return initialise(std::move(*file), identity, ring_bytes);
}

Result<std::unique_ptr<Ring>> Ring::make(const std::string& path, const Identity& identity,
                                         uint64_t ring_bytes) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return Error{Code::kPermission, path + ": cannot be replaced: errno " + std::to_string(errno)};
  }
  MappedFile::Options options;
  options.size_bytes = kRingDataOffset + ring_bytes + (sizeof(SlotWords) << kFirstTableLog2);
  options.reserve_bytes = kReserveBytes;
  Result<std::unique_ptr<MappedFile>> file = MappedFile::open(path, options, nullptr);
  if (!file) return file.status();
  return initialise(std::move(*file), identity, ring_bytes);
}

Result<std::unique_ptr<Ring>> Ring::join(const std::string& path, const Identity& identity) {
  MappedFile::Options options;
  options.size_bytes = kRingDataOffset;
  options.reserve_bytes = kReserveBytes;
  options.magic = std::string_view("TNCYRNG\0", 8);
  bool created = false;
  Result<std::unique_ptr<MappedFile>> file = MappedFile::open(path, options, &created);
  if (!file) return file.status();
  const auto* const header = std::launder(reinterpret_cast<RingHeader*>((*file)->data()));
  const auto conflict = [&](const char* what) {
    return Error{Code::kConflict, path + ": " + what};
  };
  if (created || header->ready.load(std::memory_order_acquire) != 1) {
    return conflict("was never finished");
  }
  if (header->version.load() >> 32 != kVersion >> 32) return conflict("is of another version");
  if (header->boot.load() != identity.boot) return conflict("is of another boot");
  if (header->pid_namespace.load() != identity.pid_namespace) {
    return conflict("is of another PID namespace");
  }
  if (header->log_id[0].load() != word_of(identity.log_id.data()) ||
      header->log_id[1].load() != word_of(identity.log_id.data() + 8)) {
    return conflict("is of another log");
  }
  const uint64_t bytes = header->ring_bytes.load();
  if (!std::has_single_bit(bytes) || kRingDataOffset + bytes > (*file)->size_bytes() ||
      header->heap_end.load() > (*file)->size_bytes()) {
    return conflict("contradicts itself");
  }
  return std::unique_ptr<Ring>(new Ring(std::move(*file), bytes));
}

bool Ring::lock(int64_t wait_ns) {
  const RobustMutex::Taken taken = header().mutex.lock(wait_ns);
  if (taken == RobustMutex::Taken::kFromTheDead) {
    undo();
    header().mutex.mended();
  }
  return taken != RobustMutex::Taken::kBusy;
}

void Ring::undo() {
  RingHeader& header = this->header();
  Journal& journal = header.journal;
  if (journal.position.load() > header.tail.load()) {
    ChainWords& chain = header.chains[journal.chain.load() % kClasses];
    chain.next_sequence.store(journal.next_sequence.load(), kRelease);
    copy_words(journal.tag, chain.tag, kTagWords);
    chain.epoch.store(journal.epoch.load(), kRelease);
    if (journal.slot.load() != 0) {
      auto* const slot = std::launder(reinterpret_cast<SlotWords*>(base_ + journal.slot.load()));
      slot->sequence.store(journal.slot_sequence.load(), kRelease);
      copy_words(journal.slot_tag, slot->tag, kTagWords);
    }
  }
  // Before the journal is written again, so that nobody undoes half an entry.
  journal.position.store(0, kRelease);
}

ChainState Ring::chain(Class chain) const {
  const ChainWords& words = header().chains[index(chain)];
  return {words.next_sequence.load(kRelaxed), load_tag(words.tag),
          static_cast<uint32_t>(words.epoch.load(kRelaxed))};
}

void Ring::set_chain(Class chain, const ChainState& state) {
  ChainWords& words = header().chains[index(chain)];
  words.next_sequence.store(state.next_sequence, kRelease);
  store_tag(words.tag, state.tag);
  words.epoch.store(state.epoch, kRelease);
}

SlotWords* Ring::slots(uint64_t table) const {
  return std::launder(reinterpret_cast<SlotWords*>(base_ + table_offset(table)));
}

Status Ring::grow_table() {
  RingHeader& header = this->header();
  const uint64_t old_table = header.table.load(kRelaxed);
  const uint64_t old_count = table_slots(old_table);
  const uint64_t count = old_count * 2;
  const uint64_t offset = header.heap_end.load(kRelaxed);
  if (Status status = file_->grow(offset + count * sizeof(SlotWords)); !status) return status;
  header.heap_end.store(offset + count * sizeof(SlotWords), kRelease);
  const uint64_t table = offset | static_cast<uint64_t>(std::countr_zero(count));
  SlotWords* const to = slots(table);
  uint64_t used = 0;
  for (SlotWords* from = slots(old_table); from != slots(old_table) + old_count; ++from) {
    if (from->sequence.load(kRelaxed) == 0) continue;
    TenantKey key;
    for (size_t i = 0; i < kKeyWords; ++i) {
      const uint64_t word = from->key[i].load(kRelaxed);
      std::memcpy(key.data() + 8 * i, &word, sizeof word);
    }
    SlotWords* const slot = probe(to, count, key);
    copy_words(from->key, slot->key, kKeyWords);
    slot->sequence.store(from->sequence.load(kRelaxed), kRelease);
    copy_words(from->tag, slot->tag, kTagWords);
    ++used;
  }
  header.table_used.store(used, kRelease);
  header.table.store(table, kRelease);
  return {};
}

Result<SlotWords*> Ring::tenant_slot(const TenantKey& key) {
  RingHeader& header = this->header();
  uint64_t table = header.table.load(kRelaxed);
  // Another process may have made the table longer than what is mapped here.
  const uint64_t end = table_offset(table) + table_slots(table) * sizeof(SlotWords);
  if (end > file_->size_bytes()) {
    if (Status status = file_->grow(end); !status) return status;
  }
  SlotWords* slot = probe(slots(table), table_slots(table), key);
  if (slot->key[0].load(kRelaxed) != 0) return slot;
  if ((header.table_used.load(kRelaxed) + 1) * 4 > table_slots(table) * 3) {
    if (Status status = grow_table(); !status) return status;
    table = header.table.load(kRelaxed);
    slot = probe(slots(table), table_slots(table), key);
  }
  header.table_used.store(header.table_used.load(kRelaxed) + 1, kRelease);
  for (size_t i = kKeyWords; i-- > 0;) slot->key[i].store(word_of(key.data() + 8 * i), kRelease);
  return slot;
}

void Ring::commit(std::string_view record, Class chain, const ChainState& state, SlotWords* slot,
                  uint64_t tenant_sequence, int64_t time_ns) {
  RingHeader& header = this->header();
  const uint64_t from = header.tail.load(kRelaxed);
  const uint64_t at = from & (ring_bytes_ - 1);
  const size_t first = std::min<size_t>(record.size(), ring_bytes_ - at);
  std::memcpy(data() + at, record.data(), first);
  std::memcpy(data(), record.data() + first, record.size() - first);

  ChainWords& words = header.chains[index(chain)];
  Journal& journal = header.journal;
  journal.chain.store(index(chain), kRelease);
  journal.next_sequence.store(words.next_sequence.load(kRelaxed), kRelease);
  copy_words(words.tag, journal.tag, kTagWords);
  journal.epoch.store(words.epoch.load(kRelaxed), kRelease);
  journal.slot.store(
      slot == nullptr ? 0 : static_cast<uint64_t>(reinterpret_cast<char*>(slot) - base_), kRelease);
  if (slot != nullptr) {
    journal.slot_sequence.store(slot->sequence.load(kRelaxed), kRelease);
    copy_words(slot->tag, journal.slot_tag, kTagWords);
  }
  journal.position.store(from + record.size(), kRelease);

  if (slot != nullptr) {
    slot->sequence.store(tenant_sequence | uint64_t{index(chain)} << kClassShift, kRelease);
    store_tag(slot->tag, state.tag);
  }
  words.next_sequence.store(state.next_sequence, kRelease);
  store_tag(words.tag, state.tag);
  words.epoch.store(state.epoch, kRelease);
  words.last_time.store(static_cast<uint64_t>(time_ns), kRelease);
  header.tail.store(from + record.size(), std::memory_order_seq_cst);
}

void Ring::expect(size_t bytes) const {
  constexpr size_t kLineBytes = 64;
  constexpr size_t kBytesMax = 1024;  // more than are waited for at once
  const uint64_t from = header().tail.load(kRelaxed) & (ring_bytes_ - 1);
  const uint64_t to = std::min(from + std::min(bytes, kBytesMax), ring_bytes_);
  for (uint64_t at = from & ~(kLineBytes - 1); at < to; at += kLineBytes) {
    prefetch_to_write(data() + at);
  }
}

Status Ring::set_tenant(Class chain, const TenantEntry& entry) {
  const Result<SlotWords*> slot = tenant_slot(entry.key);
  if (!slot) return slot.status();
  (*slot)->sequence.store(entry.sequence | uint64_t{index(chain)} << kClassShift, kRelease);
  store_tag((*slot)->tag, entry.tag);
  return {};
}

std::array<std::vector<TenantEntry>, kClasses> Ring::tenants() const {
  std::array<std::vector<TenantEntry>, kClasses> entries;
  const uint64_t table = header().table.load(kRelaxed);
  const uint64_t count = table_slots(table);
  const uint64_t end = table_offset(table) + count * sizeof(SlotWords);
  if (end > file_->size_bytes() && !file_->grow(end)) return entries;
  for (const SlotWords* slot = slots(table); slot != slots(table) + count; ++slot) {
    const uint64_t sequence = slot->sequence.load(kRelaxed);
    if (sequence == 0) continue;
    TenantEntry entry;
    for (size_t i = 0; i < kKeyWords; ++i) {
      const uint64_t word = slot->key[i].load(kRelaxed);
      std::memcpy(entry.key.data() + 8 * i, &word, sizeof word);
    }
    const TenantHead head = tenant_head(*slot);
    entry.sequence = head.sequence;
    entry.tag = head.tag;
    entries[sequence >> kClassShift].push_back(entry);
  }
  return entries;
}

void Ring::read(uint64_t from, size_t bytes, char* out) const {
  const uint64_t at = from & (ring_bytes_ - 1);
  const size_t first = std::min<size_t>(bytes, ring_bytes_ - at);
  std::memcpy(out, data() + at, first);
  std::memcpy(out + first, data(), bytes - first);
}

}  // namespace tenancy::log
