// Core: finding and inserting keys, and growing. The counter table without its file. Internal.
//
// Thread safety: every method from any thread or process.
#pragma once

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>

#include "tenancy/base/clock.h"
#include "tenancy/base/mapped_file.h"
#include "tenancy/base/status.h"
#include "tenancy/counters/blocks.h"
#include "tenancy/counters/epochs.h"
#include "tenancy/counters/generation.h"
#include "tenancy/counters/layout.h"
#include "tenancy/counters/mover.h"
#include "tenancy/counters/table_time.h"

namespace tenancy::counters {

// How long one process is trusted to be building before others do the same.
constexpr int64_t kBuildNs = 20'000'000;
constexpr int kYields = 16;
// How soon and how late a full region is looked at again.
constexpr int64_t kFullMinNs = 20'000'000;
constexpr int64_t kFullMaxNs = 1'000'000'000;
// Slots of a generation that are looked at to judge how many are live.
constexpr uint64_t kSampleSlots = 256;
// Blocks of one size that an entry may have for generations of the same size: with a third one a
// process that stands in a retired generation holds nothing up; in the anonymous region the budget
// allows two. Doubling is not bounded by it, so a held up reclaim ends in growth.
constexpr uint64_t kSameBlocks = 3;
constexpr uint64_t kSameBlocksFixed = 2;
// Chunks one operation moves before it answers kFull in the anonymous region.
constexpr int kHelpMax = 64;

template <class Step>
class Core {
 public:
  struct Sizes {
    uint64_t max_bytes = 0;
    uint64_t initial_slots = 0;
    bool is_shared = false;
  };

  Core(MappedFile* file, const Clock* clock, const Sizes& sizes)
      : header_(reinterpret_cast<FileHeader*>(file->data())),
        time_(header_, clock),
        sizes_(sizes),
        epochs_(header_, sizes.is_shared),
        blocks_(file, &epochs_, sizes.max_bytes) {}

  FileHeader* header() const { return header_; }
  const TableTime& time() const { return time_; }
  Epochs<Step>& epochs() { return epochs_; }
  Blocks<Step>& blocks() { return blocks_; }
  const Blocks<Step>& blocks() const { return blocks_; }

  Result<SlotRef> find_or_insert(size_t entry, uint64_t group, uint64_t key) {
    const uint64_t stored = stored_key(group, key);
    if (outgrown_.load(std::memory_order_relaxed) != 0) [[unlikely]]
      tidy();
    SlotRef slot;
    uint64_t seen = 0;
    bool may_wait = false;
    for (;;) {
      // An attempt holds a pin; growing must not, because it would hold back its own reuse.
      switch (try_insert(entry, stored, may_wait, &slot, &seen)) {
        case Outcome::kDone: return slot;
        case Outcome::kShouldGrow:
          may_wait = true;  // done or not, there is room for this key
          (void)grow(entry, seen, /*is_needed=*/false);
          break;
        case Outcome::kMustGrow:
          if (Status status = grow(entry, seen, /*is_needed=*/true); !status) return status;
          break;
        case Outcome::kRefused: return full(entry);
        case Outcome::kUnreachable: return blocks_.unreachable();
      }
    }
  }

  SlotRef find(size_t entry, uint64_t group, uint64_t key) {
    const uint64_t stored = stored_key(group, key);
    SlotPin pin = epochs_.pin();
    Step::at(Point::kLoadCurrent);
    uint64_t ref = header_->entries[entry].current.load();
    Generation generation;
    while (ref != 0 && blocks_.generation(entry, ref, &generation)) {
      Step::at(Point::kLoadNext);
      ref = generation.head->next.load();
      if (ref == 0) {
        ProbeOrder order(generation, stored);
        const Seen seen = Mover<Step>::probe(generation, &order, stored);
        if (seen == Seen::kFound) return slot_at(generation, order.index(), std::move(pin));
        if (seen != Seen::kClosed) return {};
        ref = generation.head->next.load();
      }
      Generation next;
      if (!blocks_.generation(entry, ref, &next)) return {};
      help(entry, generation, next);
      Mover<Step>(generation, next, now()).settle(stored);
    }
    return {};
  }

  // `find` for several keys of one group, which share all but the probes.
  void find_group(size_t entry, uint64_t group, std::span<const uint64_t> keys,
                  std::span<SlotRef> slots) {
    const SlotPin pin = epochs_.pin();
    Step::at(Point::kLoadCurrent);
    const uint64_t ref = header_->entries[entry].current.load();
    Generation generation;
    if (ref == 0 || !blocks_.generation(entry, ref, &generation)) return;
    Step::at(Point::kLoadNext);
    const bool is_moving = generation.head->next.load() != 0;
    for (size_t i = 0; i < keys.size(); ++i) {
      const uint64_t stored = stored_key(group, keys[i]);
      ProbeOrder order(generation, stored);
      const Seen seen = is_moving ? Seen::kClosed : Mover<Step>::probe(generation, &order, stored);
      if (seen == Seen::kFound) {
        slots[i] = slot_at(generation, order.index(), pin);
      } else if (seen == Seen::kClosed) {
        slots[i] = find(entry, group, keys[i]);
      }
    }
  }

  void prefetch(size_t entry, uint64_t group, size_t slots) const {
    const uint64_t ref = header_->entries[entry].current.load(std::memory_order_relaxed);
    if (ref == 0) return;
    const GenerationRef at = GenerationRef::of(ref);
    const Shape& shape = kShapes[entry % kSlotClasses];
    const uint64_t slot = home_slot(shape, at.slots_log2, stored_key(group, 0));
    const char* const first = reinterpret_cast<const char*>(header_) + at.page * kPage +
                              sizeof(GenerationHead) + slot * shape.stride;
    for (size_t i = 0; i < slots; ++i) __builtin_prefetch(first + i * shape.stride);
  }

  CounterTable::ClassStats stats(size_t entry) {
    const SlotPin pin = epochs_.pin();
    const uint64_t ref = header_->entries[entry].current.load();
    if (ref == 0) return {};
    Generation generation;
    if (!blocks_.generation(entry, ref, &generation)) return {};
    return {.slots = generation.slots(),
            .used = generation.head->used.load(),
            .bytes = generation_pages(*generation.shape, generation.slots_log2) * kPage,
            .generation = generation.head->number.load()};
  }

 private:
  enum class Outcome : uint8_t {
    kDone,
    kShouldGrow,   // there is room, but not for long
    kMustGrow,     // no room
    kRefused,      // no room, and making some is going on
    kUnreachable,  // this process cannot map that far
  };
  // What a generation holds.
  struct Census {
    uint64_t used = 0;
    uint64_t dead = 0;
    uint64_t earliest = std::numeric_limits<uint64_t>::max();
  };

  uint64_t now() const { return static_cast<uint64_t>(time_.now_ns()); }

  static SlotRef slot_at(const Generation& generation, uint64_t index, SlotPin pin) {
    return {.key = generation.key(index),
            .expiry = generation.expiry(index),
            .state = generation.state(index),
            .pin = std::move(pin)};
  }

  // Fills in `*slot` when done, else `*seen`: the generation that should grow.
  Outcome try_insert(size_t entry, uint64_t stored, bool may_wait, SlotRef* slot, uint64_t* seen) {
    SlotPin pin = epochs_.pin();
    Step::at(Point::kLoadCurrent);
    *seen = header_->entries[entry].current.load();
    if (*seen == 0) return Outcome::kMustGrow;
    Generation generation;
    if (!blocks_.generation(entry, *seen, &generation)) return Outcome::kUnreachable;
    Generation source{};  // where `generation` is filled from
    for (;;) {
      Step::at(Point::kLoadNext);
      const uint64_t next_ref = generation.head->next.load();
      ProbeOrder order(generation, stored);
      if (next_ref == 0) {
        switch (Mover<Step>::probe(generation, &order, stored)) {
          case Seen::kFound:
            *slot = slot_at(generation, order.index(), std::move(pin));
            return Outcome::kDone;
          case Seen::kFull: *seen = generation.ref; return Outcome::kMustGrow;
          case Seen::kClosed: continue;  // a move has begun since
          case Seen::kEmpty: break;
        }
        *seen = generation.ref;
        const Outcome outcome = add(entry, source, generation, order.index(), stored, may_wait);
        if (outcome != Outcome::kDone) return outcome;
        continue;  // the slot is taken, by us or by another: look at it again
      }
      Generation next;
      if (!blocks_.generation(entry, next_ref, &next)) return Outcome::kUnreachable;
      help(entry, generation, next);
      Mover<Step>(generation, next, now()).settle(stored);
      source = generation;
      generation = next;
    }
  }

  // Puts the key into an empty slot, if there is room for one more and nobody was faster.
  Outcome add(size_t entry, const Generation& source, const Generation& generation, uint64_t index,
              uint64_t stored, bool may_wait) {
    for (int helped = 0;; ++helped) {
      // Read before counting in: what is moved meanwhile is counted twice, never not at all.
      const uint64_t unmoved = source.head == nullptr ? 0 : unmoved_slots(source);
      if (!may_wait && unmoved == 0 && generation.head->used.load() >= generation.grow_at() &&
          worth_growing(entry)) {
        return Outcome::kShouldGrow;
      }
      // While it is being filled, every slot that may still come has room beside this one.
      const uint64_t room = unmoved == 0 ? generation.cap() : generation.slots() - 1;
      Step::at(Point::kCountIn);
      if (generation.head->used.fetch_add(1) + 1 + unmoved <= room) {
        uint64_t empty = 0;
        Step::at(Point::kInsertKey);
        if (!generation.key(index)->compare_exchange_strong(empty, stored)) {
          generation.head->used.fetch_sub(1);
        }
        return Outcome::kDone;
      }
      generation.head->used.fetch_sub(1);
      if (unmoved == 0) return Outcome::kMustGrow;
      if (entry >= kSlotClasses && helped == kHelpMax) return Outcome::kRefused;
      help(entry, source, generation);
    }
  }

  static uint64_t unmoved_slots(const Generation& from) {
    const uint64_t moved = from.head->migrated.load() * from.shape->chunk;
    return moved < from.slots() ? from.slots() - moved : 0;
  }

  // A little of the common work.
  void help(size_t entry, const Generation& from, const Generation& to) {
    if (Mover<Step>(from, to, now()).help() != 0) return;
    uint64_t expected = from.ref;
    Step::at(Point::kSwitch);
    if (header_->entries[entry].current.compare_exchange_strong(expected, to.ref)) {
      outgrown_.store(entry + 1, std::memory_order_relaxed);
    }
  }

  // After a switch, at the beginning of the next operation: without a pin of its own.
  void tidy() {
    const uint64_t entry = outgrown_.exchange(0);
    if (entry == 0 || sizes_.is_shared) return;
    for (int round = 0; round < 2; ++round) {
      epochs_.advance_by_grace();
      const SlotPin pin = epochs_.pin();
      blocks_.shed(entry - 1);
    }
  }

  // Whether a time in the directory still lies ahead. One too far ahead is from a clock that went
  // back, and counts for nothing.
  static bool is_ahead(const Word& until, uint64_t now_ns) {
    const uint64_t at = until.load(std::memory_order_relaxed);
    return at > now_ns && at - now_ns <= static_cast<uint64_t>(kFullMaxNs);
  }

  bool worth_growing(size_t entry) const {
    const Entry& at = header_->entries[entry];
    const uint64_t now_ns = now();
    return !is_ahead(at.build_until, now_ns) && !is_ahead(at.full_until, now_ns);
  }

  // Publishes a generation after `seen`. Ok also when somebody else did, or when it can wait.
  Status grow(size_t entry, uint64_t seen, bool is_needed) {
    Entry& at = header_->entries[entry];
    const uint64_t now_ns = now();
    if (is_needed && is_ahead(at.full_until, now_ns)) return full(entry);
    if (!claim_building(&at, now_ns) && (!is_needed || is_built_soon(entry, seen))) return {};
    // First what can be reused after the grace, then, once more with a new grace, new room.
    for (const bool append : {false, true}) {
      epochs_.advance_by_grace();
      const SlotPin pin = epochs_.pin();
      uint64_t earliest = 0;
      const Status status = publish(entry, seen, is_needed, append, &earliest);
      if (changed(entry, seen)) {
        at.build_until.store(0, std::memory_order_relaxed);
        at.full_until.store(0, std::memory_order_relaxed);
        return {};
      }
      if (status.ok()) return status;  // it can wait
      if (append && is_needed) {
        const uint64_t soonest = now_ns + kFullMinNs;
        const uint64_t latest = now_ns + kFullMaxNs;
        at.full_until.store(std::clamp(earliest, soonest, latest), std::memory_order_relaxed);
        return status;
      }
    }
    return {};
  }

  // Only saves work: whoever must build does so without it.
  static bool claim_building(Entry* at, uint64_t now_ns) {
    if (is_ahead(at->build_until, now_ns)) return false;
    uint64_t until = at->build_until.load();
    return at->build_until.compare_exchange_strong(until, now_ns + kBuildNs);
  }

  // Lets the one who builds go first, so that many who need room at once do not all make some.
  bool is_built_soon(size_t entry, uint64_t seen) {
    for (int i = 0; i < kYields; ++i) {
      {
        const SlotPin pin = epochs_.pin();
        if (changed(entry, seen)) return true;
      }
      Step::yield();
    }
    return false;
  }

  static Status full(size_t entry) {
    return {Code::kFull, entry < kSlotClasses
                             ? "the tenant region of the counter table is full"
                             : "the anonymous region of the counter table is full"};
  }

  // Whether the entry has moved on from the generation `seen`. With a pin.
  bool changed(size_t entry, uint64_t seen) {
    if (header_->entries[entry].current.load() != seen) return true;
    if (seen == 0) return false;
    Generation generation;
    return blocks_.generation(entry, seen, &generation) && generation.head->next.load() != 0;
  }

  Status publish(size_t entry, uint64_t seen, bool is_needed, bool append, uint64_t* earliest) {
    if (seen == 0) return publish_first(entry, append);
    // `seen` was read under another pin: only as the current one it is known to be still there.
    // It may also be the next one after a current that is moved but for the switch.
    if (header_->entries[entry].current.load() != seen) return {};
    Generation from;
    if (!blocks_.generation(entry, seen, &from)) return blocks_.unreachable();
    if (from.head->next.load() != 0) return {};
    return entry < kSlotClasses ? publish_growing(entry, from, is_needed, append, earliest)
                                : publish_fixed(entry, from, is_needed, append, earliest);
  }

  // The same size when at least half would be left behind, else twice the size; without room for
  // that, a larger one that is there already, or the same size as long as anything is left behind.
  // `*earliest`: when to look again if this fails; 0 is as soon as may be.
  Status publish_growing(size_t entry, const Generation& from, bool is_needed, bool append,
                         uint64_t* earliest) {
    const Census sample = census(from, sample_step(from));
    const BlockRules same{.may_append = append, .same_max = kSameBlocks};
    if (sample.dead * 2 >= sample.used && publish_next(entry, from, from.slots_log2, same)) {
      return {};
    }
    Status status =
        publish_next(entry, from, from.slots_log2 + 1, {.may_append = append, .same_max = kBlocks});
    if (status.ok() || !is_needed || !append) return status;
    if (publish_larger(entry, from)) return {};
    if (!is_worth_moving(from, earliest)) return status;
    *earliest = 0;  // what is missing is not an expiry but a block, and that may be soon
    return publish_next(entry, from, from.slots_log2, same);
  }

  // A block that several first users of different sizes left behind: the region owes it no second
  // one of the size that is current (see Owed), so it must be put to use.
  bool publish_larger(size_t entry, const Generation& from) {
    const uint64_t largest = blocks_.largest_pages(entry);
    for (unsigned slots_log2 = from.slots_log2 + 2;
         generation_pages(*from.shape, slots_log2) <= largest; ++slots_log2) {
      if (publish_next(entry, from, slots_log2, BlockRules{})) return true;
    }
    return false;
  }

  // Always the same size: ahead of need when a quarter would be left behind, at the end when
  // anything would.
  Status publish_fixed(size_t entry, const Generation& from, bool is_needed, bool append,
                       uint64_t* earliest) {
    const unsigned slots_log2 = std::max(from.slots_log2, fixed_slots_log2(entry));
    const Census sample = census(from, sample_step(from));
    if (sample.dead * 4 >= sample.used || slots_log2 > from.slots_log2 ||
        (is_needed && append && is_worth_moving(from, earliest))) {
      *earliest = 0;
      return publish_next(entry, from, slots_log2,
                          {.may_append = append, .same_max = kSameBlocksFixed});
    }
    return is_needed ? full(entry) : Status();
  }

  static uint64_t sample_step(const Generation& generation) {
    return std::max<uint64_t>(1, generation.slots() / kSampleSlots);
  }

  // Whether moving would leave any slot behind, or mend a count that killed processes left too
  // high.
  bool is_worth_moving(const Generation& from, uint64_t* earliest) const {
    const Census all = census(from, 1);
    *earliest = all.earliest;
    return all.dead > 0 || all.used < from.cap();
  }

  Status publish_first(size_t entry, bool append) {
    const BlockRules rules{.may_append = append,
                           .same_max = entry < kSlotClasses ? kBlocks : kSameBlocksFixed};
    unsigned slots_log2 = first_slots_log2(entry);
    Result<Generation> first = blocks_.make(entry, slots_log2, 1, rules);
    // A smaller one rather than none.
    while (!first && append && slots_log2 > least_slots_log2(entry)) {
      first = blocks_.make(entry, --slots_log2, 1, rules);
    }
    if (!first) return first.status();
    uint64_t none = 0;
    Step::at(Point::kLink);
    if (!header_->entries[entry].current.compare_exchange_strong(none, first->ref)) {
      blocks_.give_back(*first);
    }
    return {};
  }

  Status publish_next(size_t entry, const Generation& from, unsigned slots_log2, BlockRules rules) {
    if (slots_log2 > 40) return {Code::kFull, "a generation has at most 2^40 slots"};
    Result<Generation> next = blocks_.make(entry, slots_log2, from.head->number.load() + 1, rules);
    if (!next) return next.status();
    uint64_t none = 0;
    Step::at(Point::kLink);
    if (!from.head->next.compare_exchange_strong(none, next->ref)) blocks_.give_back(*next);
    return {};
  }

  // Slots of a first generation: as many as asked for, and the fewest of the class.
  unsigned first_slots_log2(size_t entry) const {
    if (entry >= kSlotClasses) return fixed_slots_log2(entry);
    const uint64_t slots = std::clamp<uint64_t>(
        sizes_.initial_slots, uint64_t{1} << least_slots_log2(entry), kShapes[entry].first_slots);
    return static_cast<unsigned>(std::bit_width(slots - 1));
  }
  unsigned least_slots_log2(size_t entry) const {
    if (entry >= kSlotClasses) return fixed_slots_log2(entry);
    return kShapes[entry].chunk < 4 ? 2 : 4;
  }

  // Slots of every generation of an anonymous entry; 0 for those that grow.
  unsigned fixed_slots_log2(size_t entry) const {
    if (entry < kSlotClasses) return 0;
    return anonymous_slots_log2(kShapes[entry % kSlotClasses], header_->anonymous_bytes.load());
  }

  Census census(const Generation& generation, uint64_t step) const {
    const uint64_t now_ns = now();
    Census result;
    for (uint64_t i = 0; i < generation.slots(); i += step) {
      if (generation.key(i)->load(std::memory_order_relaxed) == 0) continue;
      ++result.used;
      const uint64_t until = generation.status(i)->load(std::memory_order_relaxed) & kStateMask;
      if (until <= now_ns) {
        ++result.dead;
      } else {
        result.earliest = std::min(result.earliest, until);
      }
    }
    return result;
  }

  FileHeader* const header_;
  const TableTime time_;
  const Sizes sizes_;
  Epochs<Step> epochs_;
  Blocks<Step> blocks_;
  std::atomic<uint64_t> outgrown_{0};  // 1 + the entry that was switched last, until tidied
};

}  // namespace tenancy::counters
