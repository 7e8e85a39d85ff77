// Generation: a view of one array of slots, and the order in which a key looks for its place.
// Internal.
//
// A stored key is 24 bits of its group, then 40 bits of its key. The home line is its top bits, so
// a slot can be moved without knowing its group, slots of one group are neighbours, and a
// generation twice as large keeps the order: moving is a walk through both.
//
// Thread safety: a view; the slots are atomic words.
#pragma once

#include <atomic>
#include <cstdint>

#include "tenancy/counters/layout.h"

namespace tenancy::counters {

// A bijection that spreads every bit over all others (the finalizer of MurmurHash3 by A. Appleby).
inline uint64_t spread(uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccd;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53;
  x ^= x >> 33;
  return x;
}

constexpr unsigned kKeyBits = 40;

inline uint64_t stored_key(uint64_t group, uint64_t key) {
  constexpr uint64_t kKeyMask = (uint64_t{1} << kKeyBits) - 1;
  const uint64_t stored = (spread(group) & ~kKeyMask) | (spread(key) & kKeyMask);
  if (stored == 0) return 1;
  if (stored == kDeadKey) return kDeadKey - 1;
  return stored;
}

struct Generation {
  GenerationHead* head = nullptr;
  std::byte* slots_begin = nullptr;
  const Shape* shape = nullptr;
  uint64_t ref = 0;
  unsigned slots_log2 = 0;

  uint64_t slots() const { return uint64_t{1} << slots_log2; }
  uint64_t chunks() const { return slots() / shape->chunk; }
  // From here on the next generation is prepared, …
  uint64_t grow_at() const { return slots_log2 < 2 ? 1 : slots() / 4 * 25 / 8; }
  // … and here is the end for new keys.
  uint64_t cap() const { return slots() - (slots() < 16 ? 1 : slots() / 16); }

  Word* key(uint64_t index) const {
    return reinterpret_cast<Word*>(slots_begin + index * shape->stride);
  }
  Word* expiry(uint64_t index) const { return shape->has_expiry ? key(index) + 1 : nullptr; }
  Word* state(uint64_t index) const { return key(index) + (shape->has_expiry ? 2 : 1); }
  // The word that says whether the slot is decided and moved.
  Word* status(uint64_t index) const { return key(index) + 1; }
};

constexpr uint64_t generation_bytes(const Shape& shape, unsigned slots_log2) {
  return sizeof(GenerationHead) + (uint64_t{shape.stride} << slots_log2);
}
constexpr uint64_t generation_pages(const Shape& shape, unsigned slots_log2) {
  return (generation_bytes(shape, slots_log2) + kPage - 1) / kPage;
}

// First slot of the line at which a group begins.
inline uint64_t home_slot(const Shape& shape, unsigned slots_log2, uint64_t stored) {
  const unsigned line_log2 = shape.line_slots == 4 ? 2 : shape.line_slots == 2 ? 1 : 0;
  const unsigned lines_log2 = slots_log2 > line_log2 ? slots_log2 - line_log2 : 0;
  return lines_log2 == 0 ? 0 : stored >> (64 - lines_log2) << line_log2;
}

// The slots in the order in which a key tries them: a few from its group's home on, then all from a
// place of its own, so that a group of thousands does not make one long run.
class ProbeOrder {
 public:
  ProbeOrder(const Generation& generation, uint64_t stored)
      : mask_(generation.slots() - 1),
        stored_(stored),
        slots_log2_(generation.slots_log2),
        index_(home_slot(*generation.shape, generation.slots_log2, stored)),
        near_left_(generation.shape->near),
        left_(generation.shape->near + generation.slots()) {}

  uint64_t index() const { return index_; }
  bool done() const { return left_ == 0; }
  void advance() {
    --left_;
    index_ = --near_left_ == 0 ? spread(stored_) >> (64 - slots_log2_) : (index_ + 1) & mask_;
  }

 private:
  uint64_t mask_;
  uint64_t stored_;
  unsigned slots_log2_;
  uint64_t index_;
  uint64_t near_left_;  // wraps below zero and never meets it again
  uint64_t left_;
};

enum class Seen : uint8_t {
  kFound,   // the slot holds the key
  kEmpty,   // the key is not there, and this slot is where it would go
  kClosed,  // the key is not there and can no longer come
  kFull,    // no slot is left for it
};

}  // namespace tenancy::counters
