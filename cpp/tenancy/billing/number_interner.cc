#include "tenancy/billing/number_interner.h"

#include <algorithm>
#include <cstring>

#include "tenancy/billing/interner.h"

namespace tenancy {

namespace {

constexpr int kHashBits = 64;
constexpr int kShiftMin = 32;  // buckets are counted in 32 bits
// 3 ids in 2 buckets at most.
constexpr size_t kIdsMax = 3;
constexpr size_t kInBuckets = 2;

NumberInterner::Spread secret_spread() {
  static const uint64_t kFactor = absl::HashOf(kHashSalt, kHashBits) | 1;
  return {kHashSalt, kFactor};
}

uint64_t spread_hash(const NumberInterner::Spread& spread, int64_t id) {
  return folded_product(static_cast<uint64_t>(id) ^ spread.flip, spread.factor);
}

// The position + 1 of this id, or 0: all places of a bucket are looked at together, without a jump.
// Where the compiler may use registers of 32 bytes, each of the two is one.
template <class Bucket>
[[gnu::always_inline]] inline uint64_t next_of(const Bucket& bucket, int64_t id) {
  using Four __attribute__((vector_size(32))) = int64_t;
  using Two __attribute__((vector_size(16))) = uint64_t;
  Four ids;
  Four next;
  std::memcpy(&ids, bucket.ids.data(), sizeof ids);
  std::memcpy(&next, bucket.next.data(), sizeof next);
  const Four wanted = {id, id, id, id};
  const Four found = (ids == wanted) & next;
  std::array<Two, 2> halves;
  std::memcpy(halves.data(), &found, sizeof found);
  const Two either = halves[0] | halves[1];
  return either[0] | either[1];
}

template <class Block, class Bucket>
[[gnu::always_inline]] inline int64_t find_in(const Bucket* buckets, const Block& block,
                                              int64_t begin, int64_t first, int64_t* out) {
  for (int64_t i = begin; i < block.count; ++i) {
    const uint64_t next = next_of(buckets[block.homes[static_cast<size_t>(i)]], block.ids[i]);
    if (next == 0) return i;
    out[i] = first + static_cast<int64_t>(next) - 1;
  }
  return block.count;
}

}  // namespace

#if defined(__x86_64__)
#define TENANCY_AVX2 __attribute__((target("avx2")))
bool NumberInterner::has_vectors() {
  static const bool kCan = __builtin_cpu_supports("avx2") != 0;
  return kCan;
}
#else
#define TENANCY_AVX2
bool NumberInterner::has_vectors() { return false; }
#endif

int64_t NumberInterner::find(const Block& block, int64_t begin, int64_t first, int64_t* out) const {
  return find_in(buckets_.data(), block, begin, first, out);
}

TENANCY_AVX2 int64_t NumberInterner::find_by_vectors(const Block& block, int64_t begin,
                                                     int64_t first, int64_t* out) const {
  return find_in(buckets_.data(), block, begin, first, out);
}

NumberInterner::NumberInterner()
    : NumberInterner(secret_spread(), has_vectors() ? Units::kVectors : Units::kPlain) {}

NumberInterner::NumberInterner(Spread spread, Units units)
    : spread_(spread), units_(units), buckets_(kBucketsMin) {}

void NumberInterner::positions(const int64_t* ids, int64_t count, int64_t first, int64_t* out) {
  for (int64_t begin = 0; begin < count; begin += kBlock) {
    const int64_t some = std::min(kBlock, count - begin);
    const int64_t done = positions_in_order(ids + begin, some, first, out + begin);
    if (done == some) continue;
    positions_of_block(ids + begin + done, some - done, first, out + begin + done);
    next_ = static_cast<size_t>(out[begin + some - 1] - first) + 1;
  }
}

// How many of them follow the id before, one by one.
int64_t NumberInterner::positions_in_order(const int64_t* ids, int64_t count, int64_t first,
                                           int64_t* out) {
  int64_t done = 0;
  while (done < count && next_ < ids_.size() && ids_[next_] == ids[done]) {
    out[done] = first + static_cast<int64_t>(next_);
    ++next_;
    ++done;
  }
  return done;
}

void NumberInterner::positions_of_block(const int64_t* ids, int64_t count, int64_t first,
                                        int64_t* out) {
  Block block;  // NOLINT(cppcoreguidelines-pro-type-member-init): written up to `count` below
  block.ids = ids;
  block.count = count;
  find_homes(0, &block);
  for (int64_t i = 0; i < count; ++i) {
    i = units_ == Units::kVectors ? find_by_vectors(block, i, first, out)
                                  : find(block, i, first, out);
    if (i == count) return;
    const int shift = shift_;
    out[i] = first + static_cast<int64_t>(find_or_add(ids[i]));
    if (shift != shift_) find_homes(i + 1, &block);  // the table has grown
  }
}

void NumberInterner::find_homes(int64_t begin, Block* block) const {
  const Spread spread = spread_;
  const int shift = shift_;
  const Bucket* buckets = buckets_.data();
  for (int64_t i = begin; i < block->count; ++i) {
    const uint64_t home = spread_hash(spread, block->ids[i]) >> shift;
    __builtin_prefetch(buckets + home);
    block->homes[static_cast<size_t>(i)] = static_cast<uint32_t>(home);
  }
}

uint64_t NumberInterner::home(int64_t id) const { return spread_hash(spread_, id) >> shift_; }

size_t NumberInterner::find_or_add(int64_t id) {
  size_t at = home(id);
  while (true) {
    const Bucket& bucket = buckets_[at];
    if (const uint64_t next = next_of(bucket, id); next != 0) return next - 1;
    if (bucket.next.back() == 0) break;
    at = (at + 1) & mask();
  }
  const size_t position = ids_.size();
  ids_.push_back(id);
  if (ids_.size() * kInBuckets > buckets_.size() * kIdsMax && shift_ > kShiftMin) {
    grow();
  } else {
    put(id, position);
  }
  return position;
}

void NumberInterner::put(int64_t id, size_t position) {
  size_t at = home(id);
  while (buckets_[at].next.back() != 0) at = (at + 1) & mask();
  Bucket& bucket = buckets_[at];
  const auto place = static_cast<size_t>(std::ranges::find(bucket.next, 0U) - bucket.next.begin());
  bucket.ids[place] = id;
  bucket.next[place] = position + 1;
}

void NumberInterner::grow() {
  buckets_.assign(buckets_.size() * 2, Bucket());
  --shift_;
  for (size_t i = 0; i < ids_.size(); ++i) put(ids_[i], i);
}

}  // namespace tenancy
