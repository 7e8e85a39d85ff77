// Mover: how slots go from one generation to the next. Internal.
//
// Everything here may be done by several processes at once, be repeated, or be left half-way by one
// that dies: each step is a compare-and-swap that can succeed only while it still means the same.
// (Proofs: FORMATS.md, "Moving a slot".)
//
// Thread safety: every function from any thread or process that holds a pin.
#pragma once

#include <cassert>
#include <cstdint>

#include "tenancy/counters/generation.h"
#include "tenancy/counters/layout.h"
#include "tenancy/counters/step.h"

namespace tenancy::counters {

template <class Step>
class Mover {
 public:
  Mover(const Generation& from, const Generation& to, uint64_t now_ns)
      : from_(from), to_(to), now_ns_(now_ns) {}

  // Walks `order` to the key's slot or to the first empty one.
  static Seen probe(const Generation& generation, ProbeOrder* order, uint64_t stored) {
    for (; !order->done(); order->advance()) {
      Step::at(Point::kProbe);
      const uint64_t found = generation.key(order->index())->load(std::memory_order_acquire);
      if (found == stored) return Seen::kFound;
      if (found == 0) return Seen::kEmpty;
      if (found == kDeadKey) return Seen::kClosed;
    }
    return Seen::kFull;
  }

  // After this the key can no longer appear in `from`, and its slot there, if any, is moved.
  void settle(uint64_t stored) {
    ProbeOrder order(from_, stored);
    for (;;) {
      switch (probe(from_, &order, stored)) {
        case Seen::kFound: return move_slot(order.index());
        case Seen::kEmpty:
          if (close(order.index())) return;
          break;  // somebody took it: look again
        case Seen::kClosed:
        case Seen::kFull: return;
      }
    }
  }

  // Moves the first chunk that is not moved yet. Returns how many slots are still to be moved; with
  // 0 the next generation may become current.
  uint64_t help() {
    uint64_t chunk = from_.head->migrated.load();
    if (chunk < from_.chunks()) {
      const uint64_t begin = chunk * from_.shape->chunk;
      for (uint64_t i = begin; i < begin + from_.shape->chunk; ++i) {
        if (!close(i)) move_slot(i);
      }
      Step::at(Point::kNextChunk);
      from_.head->migrated.compare_exchange_strong(chunk, chunk + 1);
      chunk = from_.head->migrated.load();
    }
    return chunk < from_.chunks() ? (from_.chunks() - chunk) * from_.shape->chunk : 0;
  }

 private:
  // True when the slot is empty for ever.
  bool close(uint64_t index) {
    Word* const key = from_.key(index);
    uint64_t found = key->load(std::memory_order_acquire);
    if (found == 0) {
      Step::at(Point::kCloseKey);
      if (key->compare_exchange_strong(found, kDeadKey)) return true;
    }
    return found == kDeadKey;
  }

  void move_slot(uint64_t index) {
    if ((from_.status(index)->load() & kMoved) != 0) return;
    const bool is_live = from_.shape->has_expiry ? decide(index) : freeze_single(index);
    if (is_live) copy(index);
    Step::at(Point::kMarkMoved);
    from_.status(index)->fetch_or(kMoved);
  }

  // A single word is its own expiry: copying one that has passed changes nothing, so helpers need
  // not agree.
  bool freeze_single(uint64_t index) {
    Step::at(Point::kFreeze);
    const uint64_t word = from_.state(index)->fetch_or(kFrozen);
    return (word & kMoved) == 0 && (word & kStateMask) > now_ns_;
  }

  // Several words: all are frozen first, then one compare-and-swap on the expiry decides for
  // everybody.
  bool decide(uint64_t index) {
    Word* const expiry = from_.expiry(index);
    uint64_t seen = expiry->load();
    if ((seen & kFrozen) == 0) {
      bool is_written = false;
      for (uint64_t i = 0; i < from_.shape->words; ++i) {
        Step::at(Point::kFreeze);
        is_written |= (from_.state(index)[i].fetch_or(kFrozen) & kStateMask) != 0;
      }
      while ((seen & kFrozen) == 0) {
        const uint64_t drop = is_written && seen > now_ns_ ? 0 : kMoved;
        Step::at(Point::kDecide);
        if (expiry->compare_exchange_strong(seen, seen | kFrozen | drop)) {
          seen |= kFrozen | drop;
        }
      }
    }
    return (seen & kMoved) == 0;
  }

  void copy(uint64_t index) {
    uint64_t target = 0;
    if (!place_copy(from_.key(index)->load(), &target)) {
      // Somebody else has finished this slot and the target has filled or gone on since.
      assert((from_.status(index)->load() & kMoved) != 0);
      return;
    }
    for (uint64_t i = 0; i < from_.shape->words; ++i) {
      copy_word(from_.state(index)[i], &to_.state(target)[i]);
    }
    if (from_.shape->has_expiry) copy_word(*from_.expiry(index), to_.expiry(target));
  }

  static void copy_word(const Word& from, Word* to) {
    const uint64_t value = from.load() & kStateMask;
    if (value == 0) return;
    uint64_t untouched = 0;
    Step::at(Point::kCopyWord);
    to->compare_exchange_strong(untouched, value);
  }

  // The slot for a copy. None when the slot was moved by others and the target, too, has gone on.
  bool place_copy(uint64_t stored, uint64_t* index) {
    ProbeOrder order(to_, stored);
    for (;;) {
      switch (probe(to_, &order, stored)) {
        case Seen::kFound: *index = order.index(); return true;
        case Seen::kEmpty:
          if (insert(to_, order.index(), stored)) {
            *index = order.index();
            return true;
          }
          break;
        case Seen::kClosed:
        case Seen::kFull: return false;
      }
    }
  }

  static bool insert(const Generation& generation, uint64_t index, uint64_t stored) {
    Step::at(Point::kCountIn);
    generation.head->used.fetch_add(1);
    uint64_t empty = 0;
    Step::at(Point::kInsertKey);
    if (generation.key(index)->compare_exchange_strong(empty, stored)) return true;
    generation.head->used.fetch_sub(1);
    return false;
  }

  const Generation& from_;
  const Generation& to_;
  const uint64_t now_ns_;
};

}  // namespace tenancy::counters
