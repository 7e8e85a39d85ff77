#include <map>
#include <string>

#include "catch.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/merkle.h"

using namespace tenancy;
using namespace tenancy::log;

namespace {

std::string unhex(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

// The definition of RFC 9162 section 2.1.1, as it is written there.
Digest256 defined_root(std::span<const Digest256> leaves) {
  if (leaves.empty()) return sha256("");
  if (leaves.size() == 1) return leaves[0];
  size_t split = 1;
  while (split * 2 < leaves.size()) split *= 2;
  return node_hash(defined_root(leaves.first(split)), defined_root(leaves.subspan(split)));
}

std::vector<Digest256> some_leaves(size_t count) {
  std::vector<Digest256> leaves;
  for (size_t i = 0; i < count; ++i) leaves.push_back(leaf_hash("leaf " + std::to_string(i)));
  return leaves;
}

RangeHash over(const std::vector<Digest256>& leaves) {
  return [&](uint64_t begin, uint64_t end) -> Result<Digest256> {
    return defined_root(std::span(leaves).subspan(begin, end - begin));
  };
}

}  // namespace

TEST_CASE("trees have the roots that implementations of RFC 6962 publish") {
  // The eight leaves and the roots after each of the test vectors of certificate-transparency-go.
  const std::vector<std::string> leaves = {"",
                                           "00",
                                           "10",
                                           "2021",
                                           "3031",
                                           "40414243",
                                           "5051525354555657",
                                           "606162636465666768696a6b6c6d6e6f"};
  const std::vector<std::string> roots = {
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};
  CompactRange tree;
  CHECK(hex(tree.root()) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  for (size_t i = 0; i < leaves.size(); ++i) {
    tree.append(leaf_hash(unhex(leaves[i])));
    CHECK(hex(tree.root()) == roots[i]);
  }
}

TEST_CASE("a growing tree has the root of the definition at every size") {
  const std::vector<Digest256> leaves = some_leaves(130);
  CompactRange tree;
  for (size_t n = 0; n <= leaves.size(); ++n) {
    REQUIRE(tree.root() == defined_root(std::span(leaves).first(n)));
    REQUIRE(merkle_root(std::span(leaves).first(n)) == tree.root());
    std::vector<Digest256> hashes;
    for (const Subtree& subtree : tree.subtrees()) hashes.push_back(subtree.hash);
    const auto again = CompactRange::frontier(n, hashes);
    REQUIRE(again.ok());
    REQUIRE(again->root() == tree.root());
    hashes.emplace_back();
    REQUIRE_FALSE(CompactRange::frontier(n, hashes).ok());
    if (n < leaves.size()) tree.append(leaves[n]);
  }
}

TEST_CASE("ranges that follow one another make the tree of all, wherever they are split") {
  const std::vector<Digest256> leaves = some_leaves(67);
  for (size_t a = 0; a <= leaves.size(); ++a) {
    for (size_t b = a; b <= leaves.size(); b += 3) {
      CompactRange first;
      CompactRange second(a);
      CompactRange third(b);
      for (size_t i = 0; i < a; ++i) first.append(leaves[i]);
      for (size_t i = a; i < b; ++i) second.append(leaves[i]);
      for (size_t i = b; i < leaves.size(); ++i) third.append(leaves[i]);
      second.append(third);
      first.append(second);
      REQUIRE(first.root() == defined_root(leaves));
    }
  }
}

TEST_CASE("inclusion proofs hold for their leaf, index, size and root alone") {
  for (size_t size = 1; size <= 40; ++size) {
    const std::vector<Digest256> leaves = some_leaves(size);
    const Digest256 root = defined_root(leaves);
    for (size_t index = 0; index < size; ++index) {
      auto proof = inclusion_proof(index, size, over(leaves));
      REQUIRE(proof.ok());
      REQUIRE(verify_inclusion(index, size, leaves[index], *proof, root));
      for (size_t other = 0; other < size; ++other) {
        if (other == index) continue;
        REQUIRE_FALSE(verify_inclusion(index, size, leaves[other], *proof, root));
        REQUIRE_FALSE(verify_inclusion(other, size, leaves[index], *proof, root));
      }
      REQUIRE_FALSE(verify_inclusion(index, size, leaves[index], *proof, sha256("x")));
      proof->push_back(root);
      REQUIRE_FALSE(verify_inclusion(index, size, leaves[index], *proof, root));
      proof->pop_back();
      if (!proof->empty()) {
        proof->back()[3] ^= 1;
        REQUIRE_FALSE(verify_inclusion(index, size, leaves[index], *proof, root));
        proof->pop_back();
        REQUIRE_FALSE(verify_inclusion(index, size, leaves[index], *proof, root));
      }
    }
    REQUIRE_FALSE(inclusion_proof(size, size, over(leaves)).ok());
  }
}

TEST_CASE("consistency proofs hold between two sizes of one tree alone") {
  const std::vector<Digest256> leaves = some_leaves(40);
  std::vector<Digest256> changed = leaves;
  changed[0] = leaf_hash("another");
  const auto root = [](const std::vector<Digest256>& of, size_t n) {
    return defined_root(std::span(of).first(n));
  };
  for (size_t to = 1; to <= leaves.size(); ++to) {
    for (size_t from = 1; from <= to; ++from) {
      auto proof = consistency_proof(from, to, over(leaves));
      REQUIRE(proof.ok());
      REQUIRE(verify_consistency(from, to, root(leaves, from), root(leaves, to), *proof));
      REQUIRE_FALSE(verify_consistency(from, to, root(changed, from), root(leaves, to), *proof));
      REQUIRE_FALSE(verify_consistency(from, to, root(leaves, from), root(changed, to), *proof));
      if (!proof->empty()) {
        proof->front()[0] ^= 1;
        REQUIRE_FALSE(verify_consistency(from, to, root(leaves, from), root(leaves, to), *proof));
        proof->clear();
        REQUIRE_FALSE(verify_consistency(from, to, root(leaves, from), root(leaves, to), *proof));
      }
    }
  }
  CHECK_FALSE(consistency_proof(0, 3, over(leaves)).ok());
  CHECK_FALSE(consistency_proof(4, 3, over(leaves)).ok());
}
