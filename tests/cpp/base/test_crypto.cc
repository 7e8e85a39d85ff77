#include <algorithm>
#include <array>
#include <bit>
#include <set>
#include <thread>
#include <vector>

#include "catch.h"
#include "process.h"
#include "tenancy/base/crypto.h"
#include "tenancy/base/sha256_blocks.h"

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
  // Long ones are read in three parts, very long ones several times.
  std::string longer;
  for (int i = 0; i < 3300; ++i) longer += static_cast<char>(i * 37 + i / 256);
  for (size_t length = 64; length < longer.size(); length += length < 300 ? 1 : 101) {
    const std::string_view part = std::string_view(longer).substr(length % 8, length);
    REQUIRE(crc32c(part) == bit_by_bit(part));
    REQUIRE(crc32c(part.substr(length / 3), crc32c(part.substr(0, length / 3))) == crc32c(part));
  }
  for (size_t from = 0; from < 9; ++from) {
    for (size_t length = 0; from + length <= text.size(); ++length) {
      const std::string_view part = std::string_view(text).substr(from, length);
      REQUIRE(crc32c(part) == bit_by_bit(part));
      REQUIRE(crc32c(part.substr(length / 3), crc32c(part.substr(0, length / 3))) == crc32c(part));
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

namespace {

std::string unhex(std::string_view text) {
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes += static_cast<char>(std::stoi(std::string(text.substr(i, 2)), nullptr, 16));
  }
  return bytes;
}

template <class Bytes>
std::string hex_of(const Bytes& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) {
    text += kDigits[static_cast<uint8_t>(byte) >> 4];
    text += kDigits[static_cast<uint8_t>(byte) & 15];
  }
  return text;
}

template <size_t N>
std::array<uint8_t, N> bytes_of(std::string_view text) {
  const std::string bytes = unhex(text);
  std::array<uint8_t, N> out{};
  REQUIRE(bytes.size() == N);
  std::copy(bytes.begin(), bytes.end(), out.begin());
  return out;
}

}  // namespace

TEST_CASE("hashes and MACs over parts equal those over the whole") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 31);
  const HmacKey key("a key");
  for (size_t cut = 0; cut <= text.size(); cut += 7) {
    const std::string_view whole(text);
    Sha256 hash;
    hash.add(whole.substr(0, cut));
    Sha256 copy = hash;
    hash.add(whole.substr(cut));
    REQUIRE(hash.finish() == sha256(text));
    copy.add("else");
    REQUIRE(copy.finish() == sha256(text.substr(0, cut) + "else"));
    Hmac mac(key);
    mac.absorb(whole.substr(0, cut));
    REQUIRE(mac.finish(whole) == hmac_sha256("a key", text));
  }
}

TEST_CASE("MACs of every length are OpenSSL's, however the bytes come") {
  std::string text;
  for (int i = 0; i < 300; ++i) text += static_cast<char>(i * 37 + 5);
  const HmacKey key("a key");
  for (size_t bytes = 0; bytes <= text.size(); ++bytes) {
    const std::string_view part = std::string_view(text).substr(0, bytes);
    const Digest256 expected = hmac_sha256("a key", part);
    REQUIRE(key.mac(part) == expected);
    for (const size_t step : {size_t{1}, size_t{13}, size_t{64}, size_t{65}}) {
      Hmac mac(key);
      for (size_t known = 0; known <= bytes; known += step) mac.absorb(part.substr(0, known));
      REQUIRE(mac.finish(part) == expected);
    }
    const auto states = std::bit_cast<std::array<Sha256Words, 2>>(key.states());
    REQUIRE(hmac_finish_portable(states[0], states[1], part, 0) == expected);
  }
}

TEST_CASE("blocks are absorbed alike with and without the processor's instructions") {
  std::array<unsigned char, 8 * kSha256BlockBytes> blocks;
  for (size_t i = 0; i < blocks.size(); ++i)
    blocks[i] = static_cast<unsigned char>(i * 73 + i / 64);
  for (size_t count = 0; count <= 8; ++count) {
    Sha256Words words = kSha256Initial;
    Sha256Words portable = kSha256Initial;
    sha256_absorb(&words, blocks.data(), count);
    sha256_absorb_portable(&portable, blocks.data(), count);
    REQUIRE(words == portable);
    std::array<Sha256Words, 2> two = {kSha256Initial, words};
    const unsigned char* const both[2] = {blocks.data(), blocks.data() + 1};
    sha256_absorb_two(two.data(), both, std::min<size_t>(count, 7));
    for (size_t lane = 0; lane < 2; ++lane) {
      Sha256Words one = lane == 0 ? kSha256Initial : words;
      sha256_absorb(&one, both[lane], std::min<size_t>(count, 7));
      REQUIRE(two[lane] == one);
    }
  }
}

TEST_CASE("a key absorbed ahead gives the vectors of RFC 4231") {
  CHECK(hex(HmacKey(std::string(20, '\x0b')).mac("Hi There")) ==
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(hex(HmacKey("Jefe").mac("what do ya want for nothing?")) ==
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  CHECK(hex(HmacKey(std::string(20, '\xaa')).mac(std::string(50, '\xdd'))) ==
        "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
  CHECK(hex(HmacKey(unhex("0102030405060708090a0b0c0d0e0f10111213141516171819"))
                .mac(std::string(50, '\xcd'))) ==
        "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b");
  const HmacKey long_key(std::string(131, '\xaa'));
  CHECK(hex(long_key.mac("Test Using Larger Than Block-Size Key - Hash Key First")) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
  CHECK(hex(long_key.mac("This is a test using a larger than block-size key and a larger than "
                         "block-size data. The key needs to be hashed before being used by the "
                         "HMAC algorithm.")) ==
        "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2");
  CHECK(HmacKey::from_states(long_key.states()).mac("x") == long_key.mac("x"));
  HmacKey gone = long_key;
  gone.forget();
  CHECK(gone.states() == HmacKey::States{});
}

TEST_CASE("a MAC and a hash made side by side are those made one by one") {
  // Every way to lie in blocks: either one is empty, shorter, longer, at another alignment.
  std::string bytes(1024, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 31 + 7);
  const std::string_view all = bytes;
  const HmacKey key("a key");
  for (size_t maced = 0; maced < 300; ++maced) {
    for (const size_t hashed : {size_t{0}, size_t{1}, maced / 3, maced, maced + 31, 3 * maced}) {
      const std::string_view first = all.substr(maced % 7, maced);
      const std::string_view rest = all.substr(hashed % 5, hashed);
      const MacAndHash both = mac_and_hash(key, first, '\x80', rest);
      const bool same =
          both.mac == key.mac(first) && both.hash == sha256(std::string("\x80").append(rest));
      CAPTURE(maced, hashed);
      REQUIRE(same);
    }
  }
}

TEST_CASE("HKDF gives the vectors of RFC 5869") {
  const std::string key(22, '\x0b');
  CHECK(hex_of(hkdf_sha256(unhex("000102030405060708090a0b0c"), key, unhex("f0f1f2f3f4f5f6f7f8f9"),
                           42)) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  std::string ascending;
  for (int i = 0; i < 256; ++i) ascending += static_cast<char>(i);
  CHECK(
      hex_of(hkdf_sha256(ascending.substr(0x60, 80), ascending.substr(0, 80),
                         ascending.substr(0xb0, 80), 82)) ==
      "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e59"
      "0e09da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87");
  CHECK(hex_of(hkdf_sha256("", key, "", 42)) ==
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
}

TEST_CASE("Ed25519 gives the vectors of RFC 8032 and refuses everything else") {
  const auto seed =
      bytes_of<32>("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb");
  const auto key = ed25519_public(seed);
  CHECK(hex_of(key) == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
  const auto signature = ed25519_sign(seed, "\x72");
  CHECK(hex_of(signature) ==
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00");
  CHECK(ed25519_verify(key, "\x72", signature));
  CHECK_FALSE(ed25519_verify(key, "\x73", signature));
  CHECK_FALSE(ed25519_verify(key, "", signature));
  auto wrong = signature;
  wrong[10] ^= 1;
  CHECK_FALSE(ed25519_verify(key, "\x72", wrong));
  auto other = key;
  other[0] ^= 1;
  CHECK_FALSE(ed25519_verify(other, "\x72", signature));
  const auto empty =
      bytes_of<32>("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  CHECK(hex_of(ed25519_sign(empty, "")) ==
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701c"
        "f9b"
        "46bd25bf5f0595bbe24655141438e7a100b");
}

// Test cases 13, 14 and 16 of "The Galois/Counter Mode of Operation" (McGrew, Viega), which
// NIST SP 800-38D refers to.
TEST_CASE("AES-256-GCM gives its published vectors") {
  struct Vector {
    const char* key;
    const char* nonce;
    const char* additional;
    const char* plain;
    const char* sealed;
  };
  const std::string zeros(64, '0');
  const Vector vectors[] = {
      {zeros.c_str(), "000000000000000000000000", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
      {zeros.c_str(), "000000000000000000000000", "", "00000000000000000000000000000000",
       "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"},
      {"feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308",
       "cafebabefacedbaddecaf888", "feedfacedeadbeeffeedfacedeadbeefabaddad2",
       "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449"
       "a6b525b16aedf5aa0de657ba637b39",
       "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
       "828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"},
  };
  for (const Vector& vector : vectors) {
    const auto key = bytes_of<32>(vector.key);
    const auto nonce = bytes_of<12>(vector.nonce);
    const std::string additional = unhex(vector.additional);
    std::string sealed = "before";
    aes256_gcm_seal(key, nonce, additional, unhex(vector.plain), &sealed);
    REQUIRE(hex_of(sealed.substr(6)) == vector.sealed);
    std::string opened = "before";
    REQUIRE(aes256_gcm_open(key, nonce, additional, std::string_view(sealed).substr(6), &opened));
    REQUIRE(hex_of(opened.substr(6)) == vector.plain);
  }
}

TEST_CASE("AES-256-GCM opens nothing of which a bit was changed") {
  AesKey key{7};
  const GcmNonce nonce{3};
  std::string sealed;
  aes256_gcm_seal(key, nonce, "name", "ada", &sealed);
  std::string out;
  for (size_t bit = 0; bit < 8 * sealed.size(); ++bit) {
    std::string other = sealed;
    other[bit / 8] = static_cast<char>(other[bit / 8] ^ (1 << bit % 8));
    REQUIRE_FALSE(aes256_gcm_open(key, nonce, "name", other, &out));
  }
  CHECK_FALSE(aes256_gcm_open(key, nonce, "nam", sealed, &out));
  CHECK_FALSE(aes256_gcm_open(key, GcmNonce{4}, "name", sealed, &out));
  CHECK_FALSE(aes256_gcm_open(key, nonce, "name", sealed.substr(0, 15), &out));
  key[31] ^= 1;
  CHECK_FALSE(aes256_gcm_open(key, nonce, "name", sealed, &out));
  CHECK(out.empty());
}
