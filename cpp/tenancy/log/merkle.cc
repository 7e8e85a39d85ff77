#include "tenancy/log/merkle.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cstring>

#include "tenancy/base/sha256_blocks.h"

namespace tenancy::log {
namespace {

constexpr char kLeafPrefix = 0;
constexpr char kNodePrefix = 1;

// A node as SHA-256 takes it: prefix, two hashes, and the padding, which is always the same.
class NodeBlocks {
 public:
  static constexpr size_t kCount = 2;

  NodeBlocks() {
    bytes_[0] = kNodePrefix;
    bytes_[kMessageBytes] = 0x80;
    constexpr uint64_t kBits = kMessageBytes * 8;
    bytes_[bytes_.size() - 2] = kBits >> 8;
    bytes_[bytes_.size() - 1] = kBits & 0xff;
  }
  const unsigned char* of(const Digest256& left, const Digest256& right) {
    std::memcpy(bytes_.data() + 1, left.data(), left.size());
    std::memcpy(bytes_.data() + 1 + left.size(), right.data(), right.size());
    return bytes_.data();
  }

 private:
  static constexpr size_t kMessageBytes = 1 + 2 * sizeof(Digest256);
  std::array<unsigned char, kCount * kSha256BlockBytes> bytes_{};
};

// The largest power of two smaller than n; n > 1.
uint64_t split(uint64_t n) { return std::bit_floor(n - 1); }

// Pairs of neighbours become their nodes, at the front.
void node_hashes(std::span<Digest256> hashes) {
  std::array<NodeBlocks, 2> blocks;
  size_t made = 0;
  for (; made + 1 < hashes.size() / 2; made += 2) {
    const Digest256* const four = &hashes[2 * made];
    const unsigned char* const both[2] = {blocks[0].of(four[0], four[1]),
                                          blocks[1].of(four[2], four[3])};
    std::array<Sha256Words, 2> words = {kSha256Initial, kSha256Initial};
    sha256_absorb_two(words.data(), both, NodeBlocks::kCount);
    hashes[made] = sha256_digest(words[0]);
    hashes[made + 1] = sha256_digest(words[1]);
  }
  if (made < hashes.size() / 2) hashes[made] = node_hash(hashes[2 * made], hashes[2 * made + 1]);
}

}  // namespace

Digest256 leaf_hash(std::string_view leaf) {
  Sha256 hash;
  hash.add({&kLeafPrefix, 1});
  hash.add(leaf);
  return hash.finish();
}

MacAndHash mac_and_leaf_hash(const HmacKey& key, std::string_view maced, std::string_view leaf) {
  return mac_and_hash(key, maced, kLeafPrefix, leaf);
}

Digest256 node_hash(const Digest256& left, const Digest256& right) {
  NodeBlocks blocks;
  Sha256Words words = kSha256Initial;
  sha256_absorb(&words, blocks.of(left, right), NodeBlocks::kCount);
  return sha256_digest(words);
}

Result<CompactRange> CompactRange::frontier(uint64_t n, std::span<const Digest256> hashes) {
  return of(0, n, hashes);
}

Result<CompactRange> CompactRange::of(uint64_t begin, uint64_t end,
                                      std::span<const Digest256> hashes) {
  const auto wrong = [&] {
    return Error{Code::kDamaged, std::to_string(hashes.size()) +
                                     " hashes are not those of the tree over leaves " +
                                     std::to_string(begin) + " to " + std::to_string(end)};
  };
  CompactRange range(begin);
  for (const Digest256& hash : hashes) {
    if (range.end_ >= end) return wrong();
    auto level = static_cast<unsigned>(std::bit_width(end - range.end_) - 1);
    if (range.end_ != 0) {
      level = std::min(level, static_cast<unsigned>(std::countr_zero(range.end_)));
    }
    range.subtrees_.push_back({range.end_, level, hash});
    range.end_ += uint64_t{1} << level;
  }
  if (range.end_ != end) return wrong();
  return range;
}

void CompactRange::push(Subtree subtree) {
  // Two neighbours of one size whose first begins at an even place are one of the next size.
  while (!subtrees_.empty()) {
    const Subtree& last = subtrees_.back();
    if (last.level != subtree.level || (last.begin >> last.level & 1) != 0) break;
    subtree = {last.begin, last.level + 1, node_hash(last.hash, subtree.hash)};
    subtrees_.pop_back();
  }
  subtrees_.push_back(subtree);
}

void CompactRange::append(const Digest256& leaf) {
  push({end_, 0, leaf});
  ++end_;
}

void CompactRange::append_all(std::span<Digest256> leaves) {
  const uint64_t begin = end_;
  end_ += leaves.size();
  push_all(begin, 0, leaves);
}

void CompactRange::push_all(uint64_t begin, unsigned level, std::span<Digest256> hashes) {
  const uint64_t step = uint64_t{1} << level;
  if (!hashes.empty() && (begin >> level & 1) != 0) {
    push({begin, level, hashes.front()});  // the right half of a node
    begin += step;
    hashes = hashes.subspan(1);
  }
  if (hashes.empty()) return;
  const size_t paired = hashes.size() & ~size_t{1};
  const Digest256 last = hashes.back();
  node_hashes(hashes.first(paired));
  if (paired != 0) push_all(begin, level + 1, hashes.first(paired / 2));
  if (paired != hashes.size()) push({begin + paired * step, level, last});
}

void CompactRange::append(const CompactRange& next) {
  assert(next.begin_ == end_);
  for (const Subtree& subtree : next.subtrees_) push(subtree);
  end_ = next.end_;
}

std::vector<Digest256> CompactRange::hashes() const {
  std::vector<Digest256> out;
  out.reserve(subtrees_.size());
  for (const Subtree& subtree : subtrees_) out.push_back(subtree.hash);
  return out;
}

Digest256 CompactRange::root() const {
  assert(begin_ == 0);
  if (subtrees_.empty()) return sha256("");
  Digest256 hash = subtrees_.back().hash;
  for (size_t i = subtrees_.size() - 1; i-- > 0;) hash = node_hash(subtrees_[i].hash, hash);
  return hash;
}

Digest256 merkle_root(std::span<const Digest256> leaf_hashes) {
  CompactRange range;
  for (const Digest256& hash : leaf_hashes) range.append(hash);
  return range.root();
}

Result<std::vector<Digest256>> inclusion_proof(uint64_t index, uint64_t size,
                                               const RangeHash& hash) {
  if (index >= size) {
    return Error{Code::kOutOfRange, "leaf " + std::to_string(index) + " is not in a tree of " +
                                        std::to_string(size) + " leaves"};
  }
  std::vector<Digest256> proof;
  uint64_t begin = 0;
  uint64_t end = size;
  while (end - begin > 1) {
    const uint64_t middle = begin + split(end - begin);
    const bool left = index < middle;
    const Result<Digest256> sibling = left ? hash(middle, end) : hash(begin, middle);
    if (!sibling) return sibling.status();
    proof.push_back(*sibling);
    (left ? end : begin) = middle;
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

Result<std::vector<Digest256>> consistency_proof(uint64_t from, uint64_t to,
                                                 const RangeHash& hash) {
  if (from == 0 || from > to) {
    return Error{Code::kOutOfRange, "no proof from " + std::to_string(from) + " to " +
                                        std::to_string(to) + " leaves: expected 0 < from <= to"};
  }
  std::vector<Digest256> proof;
  uint64_t begin = 0;
  uint64_t end = to;
  bool whole = true;  // the old tree is a subtree whose root the verifier has
  while (from != end) {
    const uint64_t middle = begin + split(end - begin);
    const bool left = from <= middle;
    const Result<Digest256> sibling = left ? hash(middle, end) : hash(begin, middle);
    if (!sibling) return sibling.status();
    proof.push_back(*sibling);
    if (left) {
      end = middle;
    } else {
      begin = middle;
      whole = false;
    }
  }
  if (!whole) {
    const Result<Digest256> last = hash(begin, end);
    if (!last) return last.status();
    proof.push_back(*last);
  }
  std::reverse(proof.begin(), proof.end());
  return proof;
}

bool verify_inclusion(uint64_t index, uint64_t size, const Digest256& leaf,
                      std::span<const Digest256> proof, const Digest256& root) {
  if (index >= size) return false;
  uint64_t at = index;
  uint64_t last = size - 1;
  Digest256 hash = leaf;
  for (const Digest256& sibling : proof) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      hash = node_hash(sibling, hash);
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      hash = node_hash(hash, sibling);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && hash == root;
}

bool verify_consistency(uint64_t from, uint64_t to, const Digest256& from_root,
                        const Digest256& to_root, std::span<const Digest256> proof) {
  if (from == 0 || from > to) return false;
  if (from == to) return proof.empty() && from_root == to_root;
  if (proof.empty()) return false;
  std::vector<Digest256> path;
  if (std::has_single_bit(from)) path.push_back(from_root);
  path.insert(path.end(), proof.begin(), proof.end());
  uint64_t at = from - 1;
  uint64_t last = to - 1;
  while ((at & 1) != 0) {
    at >>= 1;
    last >>= 1;
  }
  Digest256 old_hash = path.front();
  Digest256 new_hash = path.front();
  for (size_t i = 1; i < path.size(); ++i) {
    if (last == 0) return false;
    if ((at & 1) != 0 || at == last) {
      old_hash = node_hash(path[i], old_hash);
      new_hash = node_hash(path[i], new_hash);
      while ((at & 1) == 0 && at != 0) {
        at >>= 1;
        last >>= 1;
      }
    } else {
      new_hash = node_hash(new_hash, path[i]);
    }
    at >>= 1;
    last >>= 1;
  }
  return last == 0 && old_hash == from_root && new_hash == to_root;
}

}  // namespace tenancy::log
