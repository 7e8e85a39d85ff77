// NumberInterner: gives whole numbers their positions 0, 1, 2, … in the order in which they first
// come. Internal: of this layer and the bindings.
//
// A table of buckets, each of one cache line: four ids with their positions. An id lies in the
// first bucket, from that of its hash on, that had room for it, and nothing is ever taken out. The
// table stays so empty that hardly one id in a hundred is not in its own bucket: what is guessed
// wrong costs more time than what is looked at. A block of ids is hashed first and looked up then,
// so that memory is waited for at once.
//
// Numbers mostly come again in the order in which they came first, as in `interner.h`.
//
// Invariants:
//   1. A bucket is filled from the front, and what is not filled has the position + 1 of 0. So an
//      empty place, whose id looks like 0, is never taken for the id 0.
//   2. Where an id is in the table, no bucket from that of its hash to its own has room.
//
// Thread safety: one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tenancy {

class NumberInterner {
 public:
  // How ids are spread: (id ^ flip) x factor, its upper half upon the lower one. Whoever knows both
  // can prepare ids that all fall into one bucket.
  struct Spread {
    uint64_t flip;
    uint64_t factor;
  };
  enum class Units : uint8_t { kPlain = 0, kVectors };  // what looks into the buckets

  // Other numbers in every process, and vectors where the processor has AVX2.
  NumberInterner();
  NumberInterner(Spread spread, Units units);

  static bool has_vectors();

  const std::vector<int64_t>& ids() const { return ids_; }

  // The positions of all of them, each plus `first`. `out` may be where they lie.
  void positions(const int64_t* ids, int64_t count, int64_t first, int64_t* out);

 private:
  static constexpr int64_t kBlock = 128;
  static constexpr size_t kBucketsMin = 256;
  static constexpr size_t kPlaces = 4;

  struct alignas(64) Bucket {
    std::array<int64_t, kPlaces> ids{};
    std::array<uint64_t, kPlaces> next{};  // the position + 1
  };

  // Ids to look up, and the buckets where they ought to be.
  struct Block {
    const int64_t* ids;
    int64_t count;
    std::array<uint32_t, kBlock> homes;
  };

  uint64_t home(int64_t id) const;
  size_t mask() const { return buckets_.size() - 1; }
  int64_t positions_in_order(const int64_t* ids, int64_t count, int64_t first, int64_t* out);
  void positions_of_block(const int64_t* ids, int64_t count, int64_t first, int64_t* out);
  void find_homes(int64_t begin, Block* block) const;
  // Looks up the ids from `begin` on, until one is not in its own bucket: which one that is.
  int64_t find(const Block& block, int64_t begin, int64_t first, int64_t* out) const;
  int64_t find_by_vectors(const Block& block, int64_t begin, int64_t first, int64_t* out) const;
  size_t find_or_add(int64_t id);
  void put(int64_t id, size_t position);
  void grow();

  Spread spread_;
  Units units_;
  int shift_ = 56;  // of a hash, which leaves the number of its bucket
  std::vector<Bucket> buckets_;
  std::vector<int64_t> ids_;
  size_t next_ = 0;  // the position after that of the id before
};

}  // namespace tenancy
