// Blocks: ranges of the file for generations, taken and reused. Internal.
//
// A block belongs to one entry and one size for ever. Its stamp says fresh, busy or dirty, with an
// epoch; whether a busy block is in use is not written anywhere but follows from the directory, so
// nothing is lost when a process dies between taking a block and publishing it:
//   fresh -> busy(e)       taken; its memory is zero
//   busy(e) -> dirty(e')   it is not in the directory, and e + 3 <= e' = now, so whoever took it in
//                          epoch e has published it and it is retired, or never will
//   dirty(e) -> busy(e')   e + 3 <= e' = now: nobody can be in it any more; the taker zeroes it
//   dirty(e) -> gone       the same, and the entry has outgrown it: private memory is given back
//
// Invariant of the tenant region: what its blocks take and what it owes (below) is at most what it
// may take, so a region that is full of expired slots has a block to be moved to.
//
// Thread safety: every method from any thread or process that holds a pin.
#pragma once

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <cstdint>

#include "tenancy/base/mapped_file.h"
#include "tenancy/base/status.h"
#include "tenancy/counters/epochs.h"
#include "tenancy/counters/generation.h"
#include "tenancy/counters/layout.h"
#include "tenancy/counters/step.h"

namespace tenancy::counters {

// Slots of each generation that a class has in the anonymous region.
unsigned anonymous_slots_log2(const Shape& shape, uint64_t anonymous_bytes);
// What the anonymous region can come to in the file, rounding included.
uint64_t anonymous_file_bytes(uint64_t anonymous_bytes);

// What may be done to get a block.
struct BlockRules {
  bool may_append = false;
  uint64_t same_max = 0;  // blocks of this entry and size that there may be
};

// What the tenant region owes: to each entry that has only one block of its largest size a second
// one. Such an entry either stands in that block and will be moved to the second, or it stands in
// a smaller one and can be moved to the largest.
class Owed {
 public:
  void add(const Extent& block) {
    Largest& largest = largest_[block.entry];
    if (block.pages > largest.pages) largest = {.pages = block.pages, .blocks = 0};
    if (block.pages == largest.pages) ++largest.blocks;
  }
  uint64_t pages() const {
    uint64_t pages = 0;
    for (const Largest& largest : largest_) pages += largest.blocks == 1 ? largest.pages : 0;
    return pages;
  }

 private:
  struct Largest {
    uint64_t pages = 0;
    uint64_t blocks = 0;
  };
  std::array<Largest, kSlotClasses> largest_{};
};

template <class Step>
class Blocks {
 public:
  Blocks(MappedFile* file, Epochs<Step>* epochs, uint64_t max_bytes)
      : file_(file), epochs_(epochs), max_bytes_(max_bytes) {}

  FileHeader* header() const { return reinterpret_cast<FileHeader*>(file_->data()); }
  Extent extent(uint64_t block) const { return Extent::of(header()->blocks[block].extent.load()); }

  // Only with a pin, and only for a reference read while that pin was held. False when this process
  // cannot map that far.
  bool generation(size_t entry, uint64_t ref_word, Generation* generation) {
    const GenerationRef ref = GenerationRef::of(ref_word);
    const Shape& shape = kShapes[entry % kSlotClasses];
    const uint64_t begin = ref.page * kPage;
    const uint64_t end = begin + generation_bytes(shape, ref.slots_log2);
    if (end > file_->size_bytes()) [[unlikely]] {
      if (!file_->grow(end)) return false;
    }
    std::byte* const at = file_->data() + begin;
    *generation = {.head = reinterpret_cast<GenerationHead*>(at),
                   .slots_begin = at + sizeof(GenerationHead),
                   .shape = &shape,
                   .ref = ref_word,
                   .slots_log2 = ref.slots_log2};
    return true;
  }
  static Status unreachable() {
    return {Code::kOutOfRange,
            "the counter table was grown by another process beyond what this one may map; open it "
            "with the same max_bytes everywhere"};
  }

  // Takes a block and makes an empty, unpublished generation in it. kFull when there is no room or
  // nothing to reuse.
  Result<Generation> make(size_t entry, unsigned slots_log2, uint64_t number, BlockRules rules) {
    const uint64_t pages = generation_pages(kShapes[entry % kSlotClasses], slots_log2);
    for (;;) {
      uint64_t block = 0;
      bool is_fresh = false;
      if (take(entry, pages, &block, &is_fresh)) {
        return prepare(entry, slots_log2, number, block, is_fresh);
      }
      if (!rules.may_append) return Error{Code::kFull, "no block to reuse"};
      if (Status status = append_block(entry, pages, rules.same_max); !status) return status;
    }
  }

  // Gives back a generation that was made and never published.
  void give_back(const Generation& generation) {
    Word& stamp = header()->blocks[GenerationRef::of(generation.ref).block].stamp;
    const Stamp now = Stamp::of(stamp.load());
    const uint64_t long_ago = now.epoch < kGraceEpochs ? 0 : now.epoch - kGraceEpochs;
    stamp.store(Stamp{.state = Stamp::kDirty, .epoch = long_ago}.word());
  }

  // Gives back the memory of blocks that are too small for what the entry holds now. In a file they
  // stay as they are: their pages need no memory, and a hole would have to be filled first of all
  // when the file is opened again.
  void shed(size_t entry) {
    const uint64_t current = header()->entries[entry].current.load();
    if (current == 0 || !file_->path().empty()) return;
    const uint64_t pages = extent(GenerationRef::of(current).block).pages;
    for (uint64_t i = 0; i < kBlocks; ++i) {
      const uint64_t word = header()->blocks[i].extent.load();
      if (word == 0) return;
      const Extent outgrown = Extent::of(word);
      if (outgrown.entry == entry && outgrown.pages < pages) give_memory_back(entry, i, outgrown);
    }
  }

  // Of the largest block that the entry has; 0 without any.
  uint64_t largest_pages(size_t entry) const {
    uint64_t pages = 0;
    for (const Block& block : header()->blocks) {
      const uint64_t word = block.extent.load();
      if (word == 0) break;
      const Extent extent = Extent::of(word);
      if (extent.entry == entry) pages = std::max(pages, extent.pages);
    }
    return pages;
  }

  // The header and all blocks that were not given back.
  uint64_t used_bytes() const {
    uint64_t bytes = header()->header_bytes.load();
    for (const Block& block : header()->blocks) {
      const uint64_t extent = block.extent.load();
      if (extent == 0) break;
      if (Stamp::of(block.stamp.load()).state == Stamp::kGone) continue;
      bytes += Extent::of(extent).pages * kPage;
    }
    return bytes;
  }

 private:
  bool take(size_t entry, uint64_t pages, uint64_t* taken, bool* is_fresh) {
    for (uint64_t i = 0; i < kBlocks; ++i) {
      const uint64_t word = header()->blocks[i].extent.load();
      if (word == 0) return false;
      const Extent candidate = Extent::of(word);
      if (candidate.entry != entry || candidate.pages != pages) continue;
      if (take_block(entry, i, is_fresh)) {
        *taken = i;
        return true;
      }
    }
    return false;
  }

  bool take_block(size_t entry, uint64_t block, bool* is_fresh) {
    Word& word = header()->blocks[block].stamp;
    uint64_t seen = 0;
    if (!is_free(entry, block, &seen)) return false;
    *is_fresh = Stamp::of(seen).state == Stamp::kFresh;
    Step::at(Point::kReserveBlock);
    return word.compare_exchange_strong(
        seen, Stamp{.state = Stamp::kBusy, .epoch = epochs_->now()}.word());
  }

  // Whether the block may be taken while its stamp is `*seen`. One that has become unused is
  // marked.
  bool is_free(size_t entry, uint64_t block, uint64_t* seen) {
    Word& word = header()->blocks[block].stamp;
    // The epoch is read before the directory: see the proof.
    const uint64_t epoch = epochs_->now();
    *seen = word.load();
    const Stamp stamp = Stamp::of(*seen);
    if (stamp.state == Stamp::kFresh) return true;
    if (stamp.state == Stamp::kGone || epoch < stamp.epoch + kGraceEpochs) return false;
    if (stamp.state == Stamp::kDirty) return true;
    if (!is_published(entry, block)) {
      Step::at(Point::kReleaseBlock);
      uint64_t busy = *seen;
      word.compare_exchange_strong(busy,
                                   Stamp{.state = Stamp::kDirty, .epoch = epochs_->now()}.word());
    }
    return false;
  }

  void give_memory_back(size_t entry, uint64_t block, const Extent& extent) {
    uint64_t seen = 0;
    if (!is_free(entry, block, &seen)) return;
    if (!header()->blocks[block].stamp.compare_exchange_strong(
            seen, Stamp{.state = Stamp::kGone, .epoch = 0}.word())) {
      return;
    }
    madvise(file_->data() + extent.page * kPage, extent.pages * kPage, MADV_DONTNEED);
  }

  bool is_published(size_t entry, uint64_t block) {
    const uint64_t current = header()->entries[entry].current.load();
    if (current == 0) return false;
    if (GenerationRef::of(current).block == block) return true;
    Generation generation;
    if (!this->generation(entry, current, &generation)) return true;  // leave it alone
    const uint64_t next = generation.head->next.load();
    return next != 0 && GenerationRef::of(next).block == block;
  }

  Status append_block(size_t entry, uint64_t pages, uint64_t same_max) {
    uint64_t page = header()->header_bytes.load() / kPage;
    uint64_t tenant_pages = 0;
    uint64_t same = 0;
    uint64_t block = 0;
    Owed owed;
    for (; block < kBlocks; ++block) {
      const uint64_t word = header()->blocks[block].extent.load();
      if (word == 0) break;
      const Extent other = Extent::of(word);
      page = other.page + other.pages;
      if (other.entry < kSlotClasses) {
        tenant_pages += other.pages;
        owed.add(other);
      }
      if (other.entry == entry && other.pages == pages) ++same;
    }
    if (block == kBlocks) return {Code::kFull, "the counter table has no block left"};
    if (same >= same_max) return {Code::kFull, "all blocks of this size are in use"};
    const Extent wanted{.page = page, .pages = pages, .entry = entry};
    if (entry < kSlotClasses) {
      // Right for the block table as it was read; should it have changed, the swap below fails.
      owed.add(wanted);
      if ((tenant_pages + pages + owed.pages()) * kPage > tenant_bytes_max()) {
        return {Code::kFull, "the counter table has reached max_bytes"};
      }
    }
    if (Status status = file_->grow((page + pages) * kPage); !status) return status;
    Step::at(Point::kAppendBlock);
    uint64_t none = 0;
    header()->blocks[block].extent.compare_exchange_strong(none, wanted.word());
    return {};  // whoever won, there is a new block to look at
  }

  uint64_t tenant_bytes_max() const {
    const uint64_t taken =
        sizeof(FileHeader) + anonymous_file_bytes(header()->anonymous_bytes.load());
    return max_bytes_ > taken ? max_bytes_ - taken : 0;
  }

  Result<Generation> prepare(size_t entry, unsigned slots_log2, uint64_t number, uint64_t block,
                             bool is_fresh) {
    const GenerationRef ref{
        .page = extent(block).page, .slots_log2 = slots_log2, .block = block, .number = number};
    Generation made;
    if (!generation(entry, ref.word(), &made)) return unreachable();
    if (!is_fresh) {
      auto* const words = reinterpret_cast<Word*>(made.head);
      const uint64_t count = generation_bytes(*made.shape, slots_log2) / sizeof(Word);
      for (uint64_t i = 0; i < count; ++i) words[i].store(0, std::memory_order_relaxed);
    }
    made.head->mark.store(kGenerationMark ^ (entry << 8 | slots_log2));
    made.head->number.store(number);
    return made;
  }

  MappedFile* const file_;
  Epochs<Step>* const epochs_;
  const uint64_t max_bytes_;
};

}  // namespace tenancy::counters
