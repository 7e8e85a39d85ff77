// The byte layout of the counter table: what cpp/FORMATS.md describes, as types. Internal.
//
// Thread safety: every field is an atomic word; see FORMATS.md for who changes what when.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tenancy/counters/table.h"

namespace tenancy::counters {

using Word = std::atomic<uint64_t>;
static_assert(sizeof(Word) == 8 && Word::is_always_lock_free, "words are shared by processes");

constexpr uint64_t kMagic = 0x00544e4359434e54;  // "TNCYCNT\0" in a little-endian file
constexpr uint64_t kMajor = 1;
constexpr uint64_t kMinor = 0;
constexpr uint64_t kByteOrder = 0x0102030405060708;
constexpr uint64_t kMaking = 0x474e494b414d2121;  // in byte_order until the header is complete

constexpr uint64_t kPage = 4096;
constexpr size_t kRegions = 2;
constexpr size_t kEntries = kRegions * kSlotClasses;
constexpr size_t kBlocks = 512;
constexpr size_t kProcesses = 512;
constexpr size_t kSharedWords = 16;
constexpr uint64_t kBytesMax = uint64_t{1} << 40;  // 28 bits of pages

// One (region, class).
struct Entry {
  Word current;      // GenerationRef, 0 before first use
  Word build_until;  // table time: until then one process is trusted to be building the next one
  Word full_until;   // table time: until then a refused insert is not worth another look
  std::array<Word, 5> reserved;
};

// A range of the file that holds, held or will hold a generation of one entry. Never unmade.
struct Block {
  Word extent;  // Extent, written once
  Word stamp;   // Stamp
};

struct ProcessSlot {
  Word owner;  // ProcessId, 0 when never used
  std::array<Word, 2> holders;
  std::array<Word, 5> reserved;
};

struct FileHeader {
  Word magic;
  Word version;  // major << 32 | minor
  Word byte_order;
  Word header_bytes;
  Word hash_key0;
  Word hash_key1;
  Word created_wall_ns;
  Word identity_check;  // over the six words before it and the version

  Word anonymous_bytes;
  Word boot_digest;
  Word clock_offset_ns;
  Word high_water_ns;
  std::array<Word, 4> reserved_clock;

  Word epoch;
  Word process_slots_used;
  std::array<Word, 6> reserved_epoch;

  Word revision;
  std::array<Word, 7> reserved_revision;

  std::array<Word, kSharedWords> shared;
  std::array<Word, 80> reserved_head;

  std::array<Entry, kEntries> entries;
  std::array<Word, 288> reserved_entries;

  std::array<Block, kBlocks> blocks;
  std::array<Word, 512> reserved_blocks;

  std::array<ProcessSlot, kProcesses> processes;
  std::array<Word, 2048> reserved_processes;
};
static_assert(offsetof(FileHeader, anonymous_bytes) == 64);
static_assert(offsetof(FileHeader, epoch) == 128);
static_assert(offsetof(FileHeader, revision) == 192);
static_assert(offsetof(FileHeader, shared) == 256);
static_assert(offsetof(FileHeader, entries) == 1024);
static_assert(offsetof(FileHeader, blocks) == 4096);
static_assert(offsetof(FileHeader, processes) == 16384);
static_assert(sizeof(FileHeader) == 65536);

// In front of the slots of a generation.
struct GenerationHead {
  Word mark;      // kGenerationMark ^ (entry << 8 | log2 of slots): tells a generation from noise
  Word number;    // 1, 2, … within the entry
  Word next;      // GenerationRef of the one this is moving to, 0 while it stays
  Word migrated;  // chunks that are moved completely
  std::array<Word, 4> reserved;
  Word used;  // at least the number of slots whose key is set
  std::array<Word, 7> reserved_used;
};
static_assert(sizeof(GenerationHead) == 128);
constexpr uint64_t kGenerationMark = 0x6e6f697461720000;

// Where a generation lies, in one word, so that it can be published by one compare-and-swap.
struct GenerationRef {
  uint64_t page = 0;
  unsigned slots_log2 = 0;
  uint64_t block = 0;
  uint64_t number = 0;  // low 20 bits

  uint64_t word() const {
    return page | uint64_t{slots_log2} << 28 | block << 34 | (number & 0xfffff) << 44;
  }
  static GenerationRef of(uint64_t word) {
    return {.page = word & 0xfffffff,
            .slots_log2 = static_cast<unsigned>(word >> 28 & 0x3f),
            .block = word >> 34 & 0x3ff,
            .number = word >> 44};
  }
};

struct Extent {
  uint64_t page = 0;
  uint64_t pages = 0;
  uint64_t entry = 0;

  uint64_t word() const { return uint64_t{1} << 63 | entry << 56 | pages << 28 | page; }
  static Extent of(uint64_t word) {
    return {.page = word & 0xfffffff, .pages = word >> 28 & 0xfffffff, .entry = word >> 56 & 0xf};
  }
  uint64_t end_bytes() const { return (page + pages) * kPage; }
};

// What a block is used for, and the epoch in which that was last known.
struct Stamp {
  enum State : uint64_t { kFresh = 0, kBusy = 1, kDirty = 2, kGone = 3 };
  State state = kFresh;
  uint64_t epoch = 0;

  uint64_t word() const { return uint64_t{state} << 62 | epoch; }
  static Stamp of(uint64_t word) {
    return {.state = static_cast<State>(word >> 62), .epoch = word & ((uint64_t{1} << 62) - 1)};
  }
};

constexpr size_t entry_index(Region region, SlotClass slot_class) {
  return static_cast<size_t>(region) * kSlotClasses + static_cast<size_t>(slot_class);
}

// What is fixed for a class.
struct Shape {
  uint32_t words;        // state words
  uint32_t stride;       // bytes from slot to slot
  uint32_t line_slots;   // slots in a cache line
  uint32_t near;         // slots tried beside the group before the key's own place
  uint32_t chunk;        // slots that one operation moves
  uint32_t first_slots;  // the most a first generation has
  uint32_t share_64ths;  // of anonymous_bytes, for one generation of the class
  bool has_expiry;
};
constexpr std::array<Shape, kSlotClasses> kShapes{{
    {1, 16, 4, 8, 16, 1U << 30, 8, false},
    {2, 32, 2, 4, 16, 1U << 30, 4, true},
    {6, 64, 1, 4, 8, 1U << 30, 16, true},
    {64, 576, 1, 2, 1, 64, 2, true},
    {512, 4160, 1, 2, 1, 16, 1, true},
    {4096, 32832, 1, 2, 1, 4, 1, true},
}};

constexpr uint64_t kDeadKey = ~uint64_t{0};  // an empty slot that can no longer be taken

}  // namespace tenancy::counters
