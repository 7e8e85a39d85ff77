#include <set>
#include <thread>
#include <vector>

#include "catch.h"
#include "process.h"
#include "tenancy/base/crypto.h"

using namespace tenancy;

namespace {

std::string hex(const Digest256& digest) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint8_t byte : digest) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

}  // namespace

TEST_CASE("SHA-256 gives the vectors of FIPS 180") {
  CHECK(hex(sha256("")) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(hex(sha256({})) == hex(sha256("")));
  CHECK(hex(sha256("abc")) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(hex(sha256("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq")) ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(hex(sha256(std::string(1'000'000, 'a'))) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("HMAC-SHA-256 gives the vectors of RFC 4231") {
  CHECK(hex(hmac_sha256(std::string(20, '\x0b'), "Hi There")) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hex(hmac_sha256("Jefe", "what do ya want for nothing?")) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hex(hmac_sha256(std::string(20, '\xaa'), std::string(50, '\xdd'))) ==
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  const std::string long_key(131, '\xaa');
  CHECK(hex(hmac_sha256(long_key, "Test Using Larger Than Block-Size Key - Hash Key First")) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("an HMAC does not depend on the keys used before it") {
  const auto a = hmac_sha256("key a", "text");
  CHECK(hmac_sha256("key a", "text") == a);
  CHECK(hmac_sha256("key b", "text") != a);
  CHECK(hmac_sha256("key", "text") != a);  // a prefix of the key before it
  CHECK(hmac_sha256("key a", "text") == a);
  CHECK(hex(hmac_sha256("", "")) ==
        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
  CHECK(hmac_sha256(std::string(131, 'k'), "text") == hmac_sha256(std::string(131, 'k'), "text"));
  CHECK(hmac_sha256("key a", "text") == a);
}

TEST_CASE("CRC-32C gives its check value at every length and alignment") {
  CHECK(crc32c("123456789") == 0xE3069283);
  CHECK(crc32c("") == 0);
  // RFC 3720 appendix B.4
  CHECK(crc32c(std::string(32, '\0')) == 0x8A9136AA);
  CHECK(crc32c(std::string(32, '\xff')) == 0x62A8AB43);

  const auto bit_by_bit = [](std::string_view bytes) {
    uint32_t crc = 0xffffffff;
    for (const char c : bytes) {
      crc ^= static_cast<uint8_t>(c);
      for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78U : 0U);
    }
    return ~crc;
  };
  std::string text;
  for (int i = 0; i < 64; ++i) text += static_cast<char>(i * 37);
  for (size_t from = 0; from < 9; ++from) {
    for (size_t length = 0; from + length <= text.size(); ++length) {
      const std::string_view part = std::string_view(text).substr(from, length);
      REQUIRE(crc32c(part) == bit_by_bit(part));
    }
  }
}

TEST_CASE("constant-time comparison is equality") {
  CHECK(equal_constant_time("", ""));
  CHECK(equal_constant_time({}, ""));
  CHECK(equal_constant_time("abc", "abc"));
  CHECK_FALSE(equal_constant_time("abc", "abd"));
  CHECK_FALSE(equal_constant_time("abc", "ab"));
  CHECK(equal_constant_time(std::string("a\0b", 3), std::string("a\0b", 3)));
  CHECK_FALSE(equal_constant_time(std::string("a\0b", 3), std::string("a\0c", 3)));
  for (size_t length = 1; length < 40; ++length) {
    const std::string text(length, 'x');
    CHECK(equal_constant_time(text, std::string(text)));
    for (size_t at = 0; at < length; ++at) {
      std::string other = text;
      other[at] ^= 1;
      CHECK_FALSE(equal_constant_time(text, other));
    }
  }
}

TEST_CASE("random bytes fill everything and never repeat") {
  std::set<uint64_t> seen;
  for (int i = 0; i < 1'000; ++i) seen.insert(random_u64());
  CHECK(seen.size() == 1'000);
  std::vector<uint8_t> bytes(100'000);
  random_bytes(bytes);
  std::vector<int> counts(256);
  for (const uint8_t byte : bytes) ++counts[byte];
  for (const int count : counts) {
    CHECK(count > 250);  // 391 expected, deviation 20
    CHECK(count < 550);
  }
  random_bytes({});
}

TEST_CASE("digests work in threads and in children forked after first use") {
  const std::string expected = hex(sha256("abc"));
  const std::string expected_mac = hex(hmac_sha256("key", "abc"));
  std::thread([&] { CHECK(hex(sha256("abc")) == expected); }).join();
  test::Child child([] { return hex(sha256("abc")) + hex(hmac_sha256("key", "abc")); });
  CHECK(child.join() == expected + expected_mac);
  test::Child other([] { return std::to_string(random_u64()); });
  CHECK(other.join() != std::to_string(random_u64()));
}
