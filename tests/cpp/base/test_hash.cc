#include <cstring>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/base/hash.h"

using tenancy::Hash128;
using tenancy::HashKey;
using tenancy::KeyedText;
using tenancy::siphash;
using tenancy::siphash128;
using tenancy::siphash128_each;
using tenancy::siphash_each;
using tenancy::siphash_join;

namespace {

// Key 00 01 … 0f as in the paper's appendix.
constexpr HashKey kPaperKey{0x0706050403020100, 0x0f0e0d0c0b0a0908};

std::string counting(size_t length) {
  std::string bytes;
  for (size_t i = 0; i < length; ++i) bytes += static_cast<char>(i);
  return bytes;
}

}  // namespace

TEST_CASE("SipHash-2-4 gives the published vectors") {
  CHECK(siphash(kPaperKey, counting(0)) == 0x726fdb47dd0e0e31);
  CHECK(siphash(kPaperKey, counting(1)) == 0x74f839c593dc67fd);
  CHECK(siphash(kPaperKey, counting(2)) == 0x0d6c8009d9a94f5a);
  CHECK(siphash(kPaperKey, counting(3)) == 0x85676696d7fb7e2d);
  CHECK(siphash(kPaperKey, counting(8)) == 0x93f5f5799a932462);
  CHECK(siphash(kPaperKey, counting(15)) == 0xa129ca6149be45e5);
  CHECK(siphash(kPaperKey, counting(63)) == 0x958a324ceb064572);
}

// The reference implementation's vectors.
TEST_CASE("SipHash-2-4 of 128 bits gives the published vectors") {
  const auto is = [](size_t length, uint64_t low, uint64_t high) {
    return siphash128(kPaperKey, counting(length)) == tenancy::Hash128{low, high};
  };
  CHECK(is(0, 0xe6a825ba047f81a3, 0x930255c71472f66d));
  CHECK(is(1, 0x44af996bd8c187da, 0x45fc229b11597634));
  CHECK(is(2, 0xc75da4a48d227781, 0xe4ff0af6de8ba3fc));
  CHECK(is(15, 0x11a8b03399e99354, 0xd9c3cf970fec087e));
  CHECK(is(63, 0x4a83502f77d15051, 0x7cbd3f979a063e50));
}

TEST_CASE("every length, every byte and the key matter") {
  std::set<uint64_t> seen;
  for (size_t length = 0; length < 64; ++length) {
    seen.insert(siphash(kPaperKey, std::string(length, '\0')));
  }
  CHECK(seen.size() == 64);
  const std::string text = counting(40);
  for (size_t at = 0; at < text.size(); ++at) {
    std::string other = text;
    other[at] = static_cast<char>(other[at] ^ 0x40);
    CHECK(siphash(kPaperKey, other) != siphash(kPaperKey, text));
  }
  CHECK(siphash({1, 2}, text) != siphash({2, 1}, text));
  CHECK(siphash({}, {}) == siphash({}, ""));
}

// With runs of one length, which go side by side, and all that ends such a run.
TEST_CASE("hashing many texts gives of each what hashing it alone gives") {
  std::vector<std::string> kept;
  for (size_t length = 0; length < 300; ++length) {
    for (size_t copies = 0; copies < (length % 7 == 0 ? 17 : 3); ++copies) {
      kept.push_back(counting(length));
      if (length > 0) kept.back().back() = static_cast<char>(copies);
    }
  }
  std::vector<KeyedText> texts;
  for (const std::string& text : kept) {
    const uint64_t number = texts.size();
    texts.push_back({{number * 0x9e3779b97f4a7c15, ~number}, text});
  }
  for (const size_t count : {size_t{0}, size_t{1}, size_t{7}, size_t{8}, size_t{9}, texts.size()}) {
    const std::span<const KeyedText> some(texts.data(), count);
    std::vector<uint64_t> short_hashes(count + 1, 7);
    std::vector<Hash128> long_hashes(count + 1, Hash128{7, 7});
    siphash_each(some, short_hashes.data());
    siphash128_each(some, long_hashes.data());
    for (size_t i = 0; i < count; ++i) {
      REQUIRE(short_hashes[i] == siphash(some[i].key, some[i].bytes));
      REQUIRE(long_hashes[i] == siphash128(some[i].key, some[i].bytes));
    }
    CHECK(short_hashes[count] == 7);
    CHECK(long_hashes[count] == Hash128{7, 7});
  }
}

TEST_CASE("joining is SipHash over the sixteen bytes of both, in order") {
  const uint64_t seed = 0x0123456789abcdef;
  const uint64_t part = 0xfedcba9876543210;
  std::string bytes(16, '\0');
  std::memcpy(bytes.data(), &seed, 8);
  std::memcpy(bytes.data() + 8, &part, 8);
  CHECK(siphash_join(kPaperKey, seed, part) == siphash(kPaperKey, bytes));
  CHECK(siphash_join(kPaperKey, seed, part) != siphash_join(kPaperKey, part, seed));
}
