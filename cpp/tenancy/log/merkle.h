// Merkle trees of RFC 9162 section 2.1 over SHA-256: growing one, and proofs from one.
//
// Thread safety: plain values; free functions without state.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "tenancy/base/crypto.h"
#include "tenancy/base/status.h"

namespace tenancy::log {

Digest256 leaf_hash(std::string_view leaf);
// The MAC of some bytes together with the hash of a leaf: cheaper than one after the other.
MacAndHash mac_and_leaf_hash(const HmacKey& key, std::string_view maced, std::string_view leaf);
Digest256 node_hash(const Digest256& left, const Digest256& right);

// A perfect subtree: leaves [begin, begin + 2^level), begin a multiple of 2^level.
struct Subtree {
  uint64_t begin = 0;
  unsigned level = 0;
  Digest256 hash{};

  uint64_t end() const { return begin + (uint64_t{1} << level); }
};

// Maximal perfect subtrees over a contiguous range of leaves, left to right. Over [0, n) that is
// the frontier of the tree of n leaves, and gives its root.
class CompactRange {
 public:
  explicit CompactRange(uint64_t begin = 0) : begin_(begin), end_(begin) {}
  // The frontier of [0, n) from stored hashes; kDamaged unless there is one per one bit of n.
  static Result<CompactRange> frontier(uint64_t n, std::span<const Digest256> hashes);
  // The same over [begin, end); kDamaged unless the hashes are as many as it has subtrees.
  static Result<CompactRange> of(uint64_t begin, uint64_t end, std::span<const Digest256> hashes);

  void append(const Digest256& leaf_hash);
  // The same for many at once, which takes less time for each; overwrites them.
  void append_all(std::span<Digest256> leaf_hashes);
  // Continues with a range that begins where this one ends.
  void append(const CompactRange& next);
  uint64_t begin() const { return begin_; }
  uint64_t end() const { return end_; }
  const std::vector<Subtree>& subtrees() const { return subtrees_; }
  std::vector<Digest256> hashes() const;  // of the subtrees
  // The root of the tree over [0, end); requires begin() == 0.
  Digest256 root() const;

 private:
  void push(Subtree subtree);
  void push_all(uint64_t begin, unsigned level, std::span<Digest256> hashes);

  uint64_t begin_;
  uint64_t end_;
  std::vector<Subtree> subtrees_;
};

// Makes a CompactRange of leaves that come one by one, many at once.
class RangeMaker {
 public:
  explicit RangeMaker(uint64_t begin = 0) : range_(begin) {}
  void append(const Digest256& leaf_hash) {
    waiting_[count_++] = leaf_hash;
    if (count_ == waiting_.size()) take_waiting();
  }
  // Over all leaves that came.
  const CompactRange& range() {
    take_waiting();
    return range_;
  }

 private:
  void take_waiting() {
    range_.append_all({waiting_.data(), count_});
    count_ = 0;
  }

  CompactRange range_;
  std::array<Digest256, 32> waiting_{};
  size_t count_ = 0;
};

// The root over all leaves at once.
Digest256 merkle_root(std::span<const Digest256> leaf_hashes);

// Gives the hash of the tree over leaves [begin, end) of a larger one, for the ranges that occur in
// RFC 9162: `begin` is a multiple of the power of two at or above `end - begin`.
using RangeHash = std::function<Result<Digest256>(uint64_t begin, uint64_t end)>;

// RFC 9162 sections 2.1.3.1 and 2.1.4.1. kOutOfRange unless index < size, 0 < from <= to.
Result<std::vector<Digest256>> inclusion_proof(uint64_t index, uint64_t size,
                                               const RangeHash& hash);
Result<std::vector<Digest256>> consistency_proof(uint64_t from, uint64_t to, const RangeHash& hash);

// RFC 9162 sections 2.1.3.2 and 2.1.4.2.
bool verify_inclusion(uint64_t index, uint64_t size, const Digest256& leaf_hash,
                      std::span<const Digest256> proof, const Digest256& root);
bool verify_consistency(uint64_t from, uint64_t to, const Digest256& from_root,
                        const Digest256& to_root, std::span<const Digest256> proof);

}  // namespace tenancy::log
