// Interners: give ids their positions 0, 1, 2, … in the order in which they first come. Internal:
// of this layer and the bindings. Whole numbers have one of their own, `number_interner.h`.
//
// Columns are interned block by block: the hashes of all ids first, then the places where they
// ought to be, then whether they are there. None of these steps jumps, so the memory of many ids is
// waited for at once. Two ids with one hash are still two: the id itself is compared.
//
// Ids mostly come again in the order in which they came first: what a year of days holds of each
// tenant. While they do, each is compared with the one that is next, and nothing is hashed.
//
// Ownership: texts are borrowed. Thread safety: one thread.
#pragma once

#include <absl/hash/hash.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "tenancy/base/int128.h"

namespace tenancy {

// Another number in every process, so that nobody can prepare ids that collide.
inline const uint64_t kHashSalt = absl::HashOf(uint64_t{0x9e3779b97f4a7c15});

// Positions by hash, in buckets of one cache line.
//
// An id lies in the first bucket, from that of its hash on, that has room for it and does not hold
// its tag yet. Nothing is ever taken out, so the search for an id may end where it would be put.
class HashIndex {
 public:
  HashIndex() : buckets_(kBucketsMin) {}

  // The position + 1 of the only id that may have this hash in the first bucket, or 0.
  uint32_t first_guess(uint64_t hash) const { return buckets_[hash & mask()].find(tag_of(hash)); }

  void prefetch(uint64_t hash) const { __builtin_prefetch(&buckets_[hash & mask()]); }

  // The position for which same(position) holds, or `next`, which is then the position of this
  // hash.
  template <class Same>
  uint32_t find_or_add(uint64_t hash, uint32_t next, Same same) {
    const uint32_t tag = tag_of(hash);
    size_t at = hash & mask();
    while (true) {
      Bucket& bucket = buckets_[at];
      const uint32_t found = bucket.find(tag);
      if (found != 0 && same(found - 1)) return found - 1;
      if (found == 0 && bucket.next.back() == 0) break;
      at = (at + 1) & mask();
    }
    hashes_.push_back(hash);
    if (hashes_.size() > buckets_.size() * kPerBucketMax) {
      grow();
    } else {
      put(&buckets_[at], tag, next);
    }
    return next;
  }

 private:
  static constexpr size_t kBucketsMin = 256;
  static constexpr size_t kSlots = 8;
  static constexpr size_t kPerBucketMax = 5;  // on average: few are then not in their first bucket

  struct alignas(64) Bucket {
    std::array<uint32_t, kSlots> tags{};
    std::array<uint32_t, kSlots> next{};  // the position + 1, or 0; filled from the front

    // No tag is there twice, so at most one lane is left of all that are looked at together.
    uint32_t find(uint32_t tag) const {
      using Lanes __attribute__((vector_size(16))) = uint32_t;
      using Halves __attribute__((vector_size(16))) = uint64_t;
      std::array<Lanes, 2> tag_lanes;
      std::array<Lanes, 2> next_lanes;
      std::memcpy(tag_lanes.data(), tags.data(), sizeof tags);
      std::memcpy(next_lanes.data(), next.data(), sizeof next);
      const Lanes wanted = {tag, tag, tag, tag};
      const auto left = (Lanes)(tag_lanes[0] == wanted) & next_lanes[0];
      const auto right = (Lanes)(tag_lanes[1] == wanted) & next_lanes[1];
      const auto halves = (Halves)(left | right);
      const uint64_t either = halves[0] | halves[1];
      return static_cast<uint32_t>(either | either >> 32);
    }
  };

  static uint32_t tag_of(uint64_t hash) { return static_cast<uint32_t>(hash >> 32); }
  size_t mask() const { return buckets_.size() - 1; }

  static void put(Bucket* bucket, uint32_t tag, uint32_t position) {
    const auto free = std::ranges::find(bucket->next, 0U) - bucket->next.begin();
    bucket->tags[static_cast<size_t>(free)] = tag;
    bucket->next[static_cast<size_t>(free)] = position + 1;
  }

  void grow() {
    buckets_.assign(buckets_.size() * 2, Bucket());
    for (size_t i = 0; i < hashes_.size(); ++i) {
      const uint32_t tag = tag_of(hashes_[i]);
      size_t at = hashes_[i] & mask();
      while (buckets_[at].next.back() != 0 || buckets_[at].find(tag) != 0) at = (at + 1) & mask();
      put(&buckets_[at], tag, static_cast<uint32_t>(i));
    }
  }

  std::vector<Bucket> buckets_;
  std::vector<uint64_t> hashes_;  // by position
};

// The halves of a product of 128 bits, one upon the other.
inline uint64_t folded_product(uint64_t a, uint64_t b) {
  const Uint128 product = Uint128{a} * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

// What is compared of a text: its length and three words of it, which are all of it where it has at
// most 24 bytes. Where the key is not `whole`, the texts are compared too.
struct TextKey {
  explicit TextKey(std::string_view text) : size(text.size()) {
    const char* data = text.data();
    if (size >= 2 * kWord) {
      words = {word(data), word(data + kWord), word(data + size - kWord)};
    } else if (size >= kWord) {
      words = {word(data), word(data + size - kWord), 0};
    } else if (size >= kWord / 2) {
      words = {half(data), half(data + size - kWord / 2), 0};
    } else if (size > 0) {
      words = {byte(data[0]), byte(data[size / 2]), byte(data[size - 1])};
    }
  }

  static uint64_t hash(const TextKey& key, std::string_view text) {
    const uint64_t front = folded_product(key.words[0] ^ kHashSalt, key.words[1] ^ kSecond);
    uint64_t back = key.words[2];
    if (!key.whole()) back ^= absl::HashOf(text.substr(2 * kWord, key.size - 3 * kWord));
    return folded_product(front ^ back, key.size ^ kThird);
  }
  bool same(const TextKey& other) const {
    return ((words[0] ^ other.words[0]) | (words[1] ^ other.words[1]) |
            (words[2] ^ other.words[2]) | (size ^ other.size)) == 0;
  }
  bool whole() const { return size <= 3 * kWord; }

  std::array<uint64_t, 3> words{};
  uint64_t size = 0;

 private:
  static constexpr size_t kWord = sizeof(uint64_t);
  static inline const uint64_t kSecond = absl::HashOf(kHashSalt);
  static inline const uint64_t kThird = absl::HashOf(kSecond);

  template <class T>
  static uint64_t read(const char* data) {
    T value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  static uint64_t word(const char* data) { return read<uint64_t>(data); }
  static uint64_t half(const char* data) { return read<uint32_t>(data); }
  static uint64_t byte(char value) { return static_cast<uint8_t>(value); }
};

template <class Id, class Key>
class Interner {
 public:
  const std::vector<Id>& ids() const { return ids_; }

  int64_t position(Id id) {
    const Key key(id);
    return add(id, key, Key::hash(key, id));
  }

  // The positions of all of them, each plus `first`. `out` may be where they lie.
  void positions(const Id* ids, int64_t count, int64_t first, int64_t* out) {
    for (int64_t begin = 0; begin < count; begin += kBlock) {
      const int64_t some = std::min(kBlock, count - begin);
      const int64_t done = positions_in_order(ids + begin, some, first, out + begin);
      if (done == some) continue;
      positions_of_block(ids + begin + done, some - done, first, out + begin + done);
      next_ = static_cast<size_t>(out[begin + some - 1] - first) + 1;
    }
  }

 private:
  static constexpr int64_t kBlock = 128;

  // How many of them follow the id before, one by one.
  int64_t positions_in_order(const Id* ids, int64_t count, int64_t first, int64_t* out) {
    int64_t done = 0;
    while (done < count && next_ < ids_.size() && same(next_, Key(ids[done]), ids[done])) {
      out[done] = first + static_cast<int64_t>(next_);
      ++next_;
      ++done;
    }
    return done;
  }

  void positions_of_block(const Id* ids, int64_t count, int64_t first, int64_t* out) {
    std::array<uint64_t, kBlock> hashes;
    std::array<uint32_t, kBlock> guesses;
    for (int64_t i = 0; i < count; ++i) {
      const uint64_t hash = Key::hash(Key(ids[i]), ids[i]);
      index_.prefetch(hash);
      hashes[static_cast<size_t>(i)] = hash;
    }
    for (int64_t i = 0; i < count; ++i) {
      const uint32_t guess = index_.first_guess(hashes[static_cast<size_t>(i)]);
      __builtin_prefetch(keys_.data() + guess);
      guesses[static_cast<size_t>(i)] = guess;
    }
    for (int64_t i = 0; i < count; ++i) {
      const Key key(ids[i]);
      const size_t guess = guesses[static_cast<size_t>(i)];
      const bool right = guess != 0 && same(guess - 1, key, ids[i]);
      out[i] = first + (right ? static_cast<int64_t>(guess - 1)
                              : add(ids[i], key, hashes[static_cast<size_t>(i)]));
    }
  }

  bool same(size_t position, const Key& key, Id id) const {
    return keys_[position].same(key) && (key.whole() || ids_[position] == id);
  }

  int64_t add(Id id, const Key& key, uint64_t hash) {
    const auto next = static_cast<uint32_t>(ids_.size());
    const uint32_t found =
        index_.find_or_add(hash, next, [&](uint32_t position) { return same(position, key, id); });
    if (found == next) {
      ids_.push_back(id);
      keys_.push_back(key);
    }
    return found;
  }

  HashIndex index_;
  std::vector<Id> ids_;
  std::vector<Key> keys_;
  size_t next_ = 0;  // the position after that of the id before
};

using TextInterner = Interner<std::string_view, TextKey>;

}  // namespace tenancy
