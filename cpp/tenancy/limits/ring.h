// Ring: the words of one slot as a ring of (time, count) entries that only grows at its newest end.
//
// A word holds, from bit 61 down: used 1, lap 1, sealed 1, genesis 1, time kTimeBits, count
// kCountBits. There is no head word: `lap` flips each time round, so the newest entry is the last
// one whose lap equals that of entry 0.
//
// Invariants (proved in cpp/FORMATS.md, "Limits on slots"):
//  1. At any instant the entries form one sequence k-R+1 … k. Only entry k may be unsealed. Entry
//  k+1 is
//     written only after k was sealed, by one swap of the word that holds k-R+1.
//  2. A sealed entry never changes except that a refund lowers its count: whoever adds up entries
//  that were
//     read after the newest one gets at least the true sum.
//  3. A genesis entry makes everything before it forgotten.
//  4. Times do not decrease from a genesis entry on.
//
// Ownership: borrows the slot for one operation. Thread safety: any thread or process.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "tenancy/limits/attempt.h"

namespace tenancy {

template <size_t kSizeOf, int kCountBits>
class Ring {
 public:
  static constexpr size_t kSize = kSizeOf;
  static constexpr int kTimeBits = 58 - kCountBits;
  static constexpr uint64_t kCountMax = (uint64_t{1} << kCountBits) - 1;
  static constexpr uint64_t kTimeMask = (uint64_t{1} << kTimeBits) - 1;

  static constexpr uint64_t kUsed = uint64_t{1} << 61;
  static constexpr uint64_t kLap = uint64_t{1} << 60;
  static constexpr uint64_t kSealed = uint64_t{1} << 59;
  static constexpr uint64_t kGenesis = uint64_t{1} << 58;

  static uint64_t count_of(uint64_t word) { return word & kCountMax; }
  static uint64_t time_of(uint64_t word) { return (word >> kCountBits) & kTimeMask; }
  // Ticks since the entry's time; negative when it is ahead of `tick`.
  static int64_t age(int64_t tick, uint64_t word) {
    return signed_difference<kTimeBits>(static_cast<uint64_t>(tick) - time_of(word));
  }

  // The newest entry and the place after it, as they were together at one instant.
  struct View {
    size_t newest = 0;
    size_t next = 0;
    uint64_t newest_word = 0;  // 0: nothing was ever counted here
    uint64_t next_word = 0;
    bool empty() const { return newest_word == 0; }
    bool sealed() const { return (newest_word & kSealed) != 0; }
    bool genesis() const { return (newest_word & kGenesis) != 0; }
  };

  explicit Ring(const SlotRef& slot) : words_(slot.state) {}

  Outcome locate(View* view) const {
    while (true) {
      const uint64_t first = load(0);
      if (is_moved(first)) return Outcome::kElsewhere;
      if ((first & kUsed) == 0) {
        *view = View{};
        return Outcome::kDone;
      }
      view->newest = last_of_lap(first & kLap);
      view->next = view->newest + 1 == kSize ? 0 : view->newest + 1;
      view->newest_word = load(view->newest);
      view->next_word = load(view->next);
      if (is_moved(view->newest_word | view->next_word)) return Outcome::kElsewhere;
      const bool laps_differ = ((view->newest_word ^ view->next_word) & kLap) != 0;
      if (laps_differ != (view->next == 0)) return Outcome::kDone;
    }
  }

  // Whether nothing changed since `locate`.
  bool current(const View& view) const {
    return load(view.newest) == view.newest_word && load(view.next) == view.next_word;
  }

  // The entry `back` places before the newest; 0 when there is none. It may be frozen.
  uint64_t entry(const View& view, size_t back) const {
    return back == 0 ? view.newest_word : load(index(view, back));
  }

  // The newest entry with another time and count.
  static uint64_t rewritten(const View& view, int64_t tick, uint64_t count) {
    const uint64_t flags = view.newest_word & (kUsed | kLap | kSealed | kGenesis);
    return flags | body(tick, count);
  }
  std::atomic<uint64_t>* newest_place(const View& view) const { return &words_[view.newest]; }

  // Gives the newest entry another time and count. False: look again.
  bool rewrite(const View& view, int64_t tick, uint64_t count) {
    return swap_word(*newest_place(view), view.newest_word, rewritten(view, tick, count));
  }

  // Freezes the newest entry: no slow process can add to it any more.
  bool seal(View* view) {
    if (view->empty() || view->sealed()) return true;
    if (!swap_word(words_[view->newest], view->newest_word, view->newest_word | kSealed))
      return false;
    view->newest_word |= kSealed;
    return true;
  }

  // Begins the next entry; the newest one is sealed. False: somebody else did, look again.
  bool open(const View& view, bool genesis, int64_t tick, uint64_t count) {
    // `next_word` is known to precede the newest entry only if that entry was still the newest
    // after it was read.
    if (!view.empty() && load(view.newest) != view.newest_word) return false;
    uint64_t lap = view.empty() ? kLap : view.newest_word & kLap;
    if (!view.empty() && view.next == 0) lap ^= kLap;
    const uint64_t flags = kUsed | lap | (genesis ? kGenesis : 0);
    return swap_word(words_[view.next], view.next_word, flags | body(tick, count));
  }

  // Lowers the count of an entry that holds `word`.
  bool give_back(const View& view, size_t back, uint64_t word, uint64_t count) {
    return swap_word(words_[index(view, back)], word, word - std::min(count, count_of(word)));
  }

 private:
  static uint64_t body(int64_t tick, uint64_t count) {
    return ((static_cast<uint64_t>(tick) & kTimeMask) << kCountBits) | count;
  }

  uint64_t load(size_t at) const { return words_[at].load(std::memory_order_acquire); }

  static size_t index(const View& view, size_t back) {
    return view.newest >= back ? view.newest - back : view.newest + kSize - back;
  }

  // Entries 0 … p have the lap of entry 0, the others the one before it (0 where nothing was
  // written).
  size_t last_of_lap(uint64_t lap) const {
    if constexpr (kSize <= 8) {
      size_t at = 0;
      while (at + 1 < kSize && (load(at + 1) & kLap) == lap && (load(at + 1) & kUsed) != 0) ++at;
      return at;
    }
    size_t low = 0;
    size_t high = kSize;  // low has the lap, high has not
    while (high - low > 1) {
      const size_t middle = low + (high - low) / 2;
      const uint64_t word = load(middle);
      ((word & kLap) == lap && (word & kUsed) != 0 ? low : high) = middle;
    }
    return low;
  }

  std::atomic<uint64_t>* words_;
};

}  // namespace tenancy
