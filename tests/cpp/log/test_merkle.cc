#include <array>
#include <bit>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "catch.h"
#include "hex.h"
#include "tenancy/log/merkle.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

using Hashes = std::vector<Digest256>;

// The tree as RFC 9162 section 2.1.1 defines it, word for word and slow: the model.
Digest256 model_root(std::span<const Digest256> leaves) {
  if (leaves.empty()) return sha256("");
  if (leaves.size() == 1) return leaves[0];
  size_t k = 1;
  while (2 * k < leaves.size()) k *= 2;
  std::string node("\x01", 1);
  node += as_view(model_root(leaves.first(k)));
  node += as_view(model_root(leaves.subspan(k)));
  return sha256(node);
}

// PATH of section 2.1.3.1 and SUBPROOF of 2.1.4.1, recursively.
Hashes model_path(size_t m, std::span<const Digest256> leaves) {
  if (leaves.size() == 1) return {};
  size_t k = 1;
  while (2 * k < leaves.size()) k *= 2;
  Hashes path = m < k ? model_path(m, leaves.first(k)) : model_path(m - k, leaves.subspan(k));
  path.push_back(m < k ? model_root(leaves.subspan(k)) : model_root(leaves.first(k)));
  return path;
}

Hashes model_subproof(size_t m, std::span<const Digest256> leaves, bool complete) {
  if (m == leaves.size()) return complete ? Hashes{} : Hashes{model_root(leaves)};
  size_t k = 1;
  while (2 * k < leaves.size()) k *= 2;
  Hashes proof = m <= k ? model_subproof(m, leaves.first(k), complete)
                        : model_subproof(m - k, leaves.subspan(k), false);
  proof.push_back(m <= k ? model_root(leaves.subspan(k)) : model_root(leaves.first(k)));
  return proof;
}

Hashes leaves_of(size_t n) {
  Hashes leaves;
  for (size_t i = 0; i < n; ++i) leaves.push_back(leaf_hash("leaf " + std::to_string(i)));
  return leaves;
}

// Checks what RangeHash promises of its arguments as well.
RangeHash ranges(const Hashes& leaves) {
  return [&leaves](uint64_t begin, uint64_t end) -> Result<Digest256> {
    REQUIRE(begin < end);
    REQUIRE(end <= leaves.size());
    REQUIRE(begin % std::bit_ceil(end - begin) == 0);
    return model_root(std::span(leaves).subspan(begin, end - begin));
  };
}

// Leaves, roots, audit paths and consistency proofs of the Certificate Transparency reference
// implementation (google/certificate-transparency, merkle_tree_test.cc), which
// transparency-dev/merkle and others test against as well.
constexpr std::array<std::string_view, 8> kLeaves = {"",
                                                     "00",
                                                     "10",
                                                     "2021",
                                                     "3031",
                                                     "40414243",
                                                     "5051525354555657",
                                                     "606162636465666768696a6b6c6d6e6f"};
constexpr std::array<std::string_view, 8> kRoots = {
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
struct Vector {
  uint64_t a;
  uint64_t b;
  std::vector<std::string_view> proof;
};
const std::vector<Vector> kPaths = {
    {0, 1, {}},
    {0,
     8,
     {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
    {5,
     8,
     {"bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
    {2, 3, {"fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"}},
    {1,
     5,
     {"6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}}};
const std::vector<Vector> kConsistency = {
    {1, 1, {}},
    {1,
     8,
     {"96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
      "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"}},
    {6,
     8,
     {"0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
      "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"}},
    {2,
     5,
     {"5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
      "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"}}};

Hashes published_leaves() {
  Hashes leaves;
  for (const std::string_view leaf : kLeaves) leaves.push_back(leaf_hash(from_hex(leaf)));
  return leaves;
}

Hashes digests(const std::vector<std::string_view>& texts) {
  Hashes out;
  for (const std::string_view text : texts) out.push_back(digest_from_hex(text));
  return out;
}

}  // namespace

TEST_CASE("trees have the roots of the Certificate Transparency vectors") {
  CHECK(CompactRange().root() ==
        digest_from_hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"));
  CompactRange range;
  for (size_t n = 0; n < kLeaves.size(); ++n) {
    range.append(leaf_hash(from_hex(kLeaves[n])));
    CHECK(range.root() == digest_from_hex(kRoots[n]));
  }
}

TEST_CASE("proofs are those of the Certificate Transparency vectors") {
  const Hashes leaves = published_leaves();
  for (const Vector& vector : kPaths) {
    const auto proof = inclusion_proof(vector.a, vector.b, ranges(leaves));
    REQUIRE(proof.ok());
    CHECK(*proof == digests(vector.proof));
    CHECK(verify_inclusion(vector.a, vector.b, leaves[vector.a], *proof,
                           digest_from_hex(kRoots[vector.b - 1])));
  }
  for (const Vector& vector : kConsistency) {
    const auto proof = consistency_proof(vector.a, vector.b, ranges(leaves));
    REQUIRE(proof.ok());
    CHECK(*proof == digests(vector.proof));
    CHECK(verify_consistency(vector.a, vector.b, digest_from_hex(kRoots[vector.a - 1]),
                             digest_from_hex(kRoots[vector.b - 1]), *proof));
  }
}

TEST_CASE("roots and proofs agree with the recursive model at every size") {
  constexpr size_t kMax = 70;
  const Hashes leaves = leaves_of(kMax);
  std::vector<Digest256> roots;
  for (size_t n = 0; n <= kMax; ++n) roots.push_back(model_root(std::span(leaves).first(n)));
  for (size_t n = 1; n <= kMax; ++n) {
    const auto part = std::span(leaves).first(n);
    REQUIRE(merkle_root(part) == roots[n]);
    for (size_t m = 0; m < n; ++m) {
      const auto path = inclusion_proof(m, n, ranges(leaves));
      REQUIRE(*path == model_path(m, part));
      REQUIRE(verify_inclusion(m, n, leaves[m], *path, roots[n]));
      const auto proof = consistency_proof(m + 1, n, ranges(leaves));
      REQUIRE(*proof == model_subproof(m + 1, part, true));
      REQUIRE(verify_consistency(m + 1, n, roots[m + 1], roots[n], *proof));
    }
  }
}

TEST_CASE("a proof proves one leaf, one place, one size and one root") {
  const Hashes leaves = leaves_of(40);
  for (size_t n = 1; n <= leaves.size(); ++n) {
    const Digest256 root = model_root(std::span(leaves).first(n));
    for (size_t m = 0; m < n; ++m) {
      Hashes proof = *inclusion_proof(m, n, ranges(leaves));
      for (size_t other = 0; other <= n; ++other) {
        if (other != m) REQUIRE_FALSE(verify_inclusion(other, n, leaves[m], proof, root));
      }
      REQUIRE_FALSE(verify_inclusion(m, n, leaves[(m + 1) % 40], proof, root));
      REQUIRE_FALSE(verify_inclusion(m, n, leaves[m], proof, leaf_hash("another root")));
      for (size_t i = 0; i < proof.size(); ++i) {
        Hashes changed = proof;
        changed[i][(m + i) % 32] ^= 0x10;
        REQUIRE_FALSE(verify_inclusion(m, n, leaves[m], changed, root));
      }
      if (!proof.empty()) {
        const auto shorter = std::span(proof).first(proof.size() - 1);
        REQUIRE_FALSE(verify_inclusion(m, n, leaves[m], shorter, root));
      }
      proof.push_back(root);
      REQUIRE_FALSE(verify_inclusion(m, n, leaves[m], proof, root));
    }
  }
  CHECK_FALSE(verify_inclusion(0, 0, leaves[0], {}, sha256("")));
}

TEST_CASE("a consistency proof proves two sizes and two roots") {
  const Hashes leaves = leaves_of(33);
  const auto root = [&leaves](size_t n) { return model_root(std::span(leaves).first(n)); };
  for (size_t n = 2; n <= leaves.size(); ++n) {
    for (size_t m = 1; m < n; ++m) {
      Hashes proof = *consistency_proof(m, n, ranges(leaves));
      REQUIRE_FALSE(verify_consistency(m, n, root(m + 1), root(n), proof));
      REQUIRE_FALSE(verify_consistency(m, n, root(m), root(n - 1), proof));
      REQUIRE_FALSE(verify_consistency(m, n, root(m), root(n), {}));
      REQUIRE_FALSE(verify_consistency(n, m, root(n), root(m), proof));
      for (size_t i = 0; i < proof.size(); ++i) {
        Hashes changed = proof;
        changed[i][31] ^= 1;
        REQUIRE_FALSE(verify_consistency(m, n, root(m), root(n), changed));
      }
      proof.push_back(root(n));
      REQUIRE_FALSE(verify_consistency(m, n, root(m), root(n), proof));
    }
  }
  CHECK_FALSE(verify_consistency(0, 3, sha256(""), root(3), {}));
  CHECK_FALSE(verify_consistency(0, 3, root(1), root(3), {}));
  CHECK_FALSE(verify_consistency(3, 3, root(3), root(2), {}));
}

TEST_CASE("requests for proofs that cannot exist are refused") {
  const Hashes leaves = leaves_of(4);
  const auto code = [](const auto& result) { return result.error().code; };
  CHECK(code(inclusion_proof(4, 4, ranges(leaves))) == Code::kOutOfRange);
  CHECK(code(inclusion_proof(0, 0, ranges(leaves))) == Code::kOutOfRange);
  CHECK(code(consistency_proof(0, 4, ranges(leaves))) == Code::kOutOfRange);
  CHECK(code(consistency_proof(4, 3, ranges(leaves))) == Code::kOutOfRange);
  const RangeHash broken = [](uint64_t, uint64_t) -> Result<Digest256> {
    return {Code::kIo, "no disk"};
  };
  CHECK(code(inclusion_proof(1, 4, broken)) == Code::kIo);
  CHECK(code(consistency_proof(3, 4, broken)) == Code::kIo);
}

TEST_CASE("ranges cut anywhere join to the tree of the whole") {
  const Hashes leaves = leaves_of(64);
  for (size_t cut = 0; cut <= 50; ++cut) {
    for (size_t end = cut; end <= 64; end += 3) {
      CompactRange front;
      CompactRange back(cut);
      for (size_t i = 0; i < cut; ++i) front.append(leaves[i]);
      for (size_t i = cut; i < end; ++i) back.append(leaves[i]);
      uint64_t at = cut;
      for (const Subtree& subtree : back.subtrees()) {
        REQUIRE(subtree.begin == at);
        REQUIRE(subtree.begin % (uint64_t{1} << subtree.level) == 0);
        const auto part = std::span(leaves).subspan(at, subtree.end() - at);
        REQUIRE(subtree.hash == model_root(part));
        at = subtree.end();
      }
      REQUIRE(at == end);
      front.append(back);
      REQUIRE(front.end() == end);
      REQUIRE(front.root() == model_root(std::span(leaves).first(end)));
    }
  }
}

TEST_CASE("leaves that come many at once make the range of leaves that come one by one") {
  const Hashes leaves = leaves_of(150);
  const auto same = [](const CompactRange& a, const CompactRange& b) {
    return a.begin() == b.begin() && a.end() == b.end() && a.hashes() == b.hashes();
  };
  for (size_t begin = 0; begin < 20; ++begin) {
    CompactRange one(begin);
    RangeMaker maker(begin);
    for (size_t at = begin; at < leaves.size(); ++at) {
      one.append(leaves[at]);
      maker.append(leaves[at]);
      if (at % 13 == 0) REQUIRE(same(maker.range(), one));
      // All of them at once, and the rest behind a beginning.
      if (at % 7 != 0) continue;
      for (const size_t first : {begin, begin + (at - begin) / 3}) {
        CompactRange many(begin);
        for (size_t i = begin; i < first; ++i) many.append(leaves[i]);
        Hashes rest(leaves.begin() + static_cast<std::ptrdiff_t>(first),
                    leaves.begin() + static_cast<std::ptrdiff_t>(at) + 1);
        many.append_all(rest);
        REQUIRE(same(many, one));
      }
    }
    REQUIRE(same(maker.range(), one));
  }
}

TEST_CASE("a tree goes on from its stored frontier") {
  const Hashes leaves = leaves_of(60);
  for (size_t n = 0; n < leaves.size(); ++n) {
    CompactRange whole;
    for (size_t i = 0; i < n; ++i) whole.append(leaves[i]);
    Hashes stored;
    for (const Subtree& subtree : whole.subtrees()) stored.push_back(subtree.hash);
    auto again = CompactRange::frontier(n, stored);
    REQUIRE(again.ok());
    REQUIRE(again->end() == n);
    again->append(leaves[n]);
    whole.append(leaves[n]);
    REQUIRE(again->root() == whole.root());
    stored.push_back(leaves[0]);
    REQUIRE(CompactRange::frontier(n, stored).error().code == Code::kDamaged);
  }
}
