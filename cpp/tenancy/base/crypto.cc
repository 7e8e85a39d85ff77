#include "tenancy/base/crypto.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <sys/random.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "tenancy/base/openssl.h"

namespace tenancy {

void give_up(const char* what) {
  std::fprintf(stderr, "tenancy: %s\n", what);
  std::abort();
}

namespace {

// Fetching an algorithm takes locks and look-ups, so it happens once; never freed, because threads
// may still hash while the process exits.
EVP_MAC* hmac_algorithm() {
  static EVP_MAC* const mac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  require(mac != nullptr, "OpenSSL offers no HMAC");
  return mac;
}

// An HMAC context that remembers its key: starting again with the same key skips two compressions
// and the parameter look-ups.
class HmacContext {
 public:
  HmacContext() : context_(EVP_MAC_CTX_new(hmac_algorithm())) {
    require(context_ != nullptr, "no memory for an HMAC context");
  }
  ~HmacContext() { OPENSSL_cleanse(key_, sizeof key_); }
  HmacContext(const HmacContext&) = delete;
  HmacContext& operator=(const HmacContext&) = delete;

  EVP_MAC_CTX* start(std::string_view key) {
    if (key_is(key)) {
      require(EVP_MAC_init(context_.get(), nullptr, 0, nullptr) == 1, "HMAC restart failed");
      return context_.get();
    }
    char digest_name[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest_name, 0),
        OSSL_PARAM_construct_end()};
    has_key_ = false;
    require(EVP_MAC_init(context_.get(), as_uchar(key), key.size(), params) == 1,
            "HMAC start failed");
    if (key.size() <= sizeof key_) {
      std::memcpy(key_, as_uchar(key), key.size());
      key_bytes_ = key.size();
      has_key_ = true;
    }
    return context_.get();
  }

 private:
  bool key_is(std::string_view key) const {
    return has_key_ && key.size() == key_bytes_ &&
           CRYPTO_memcmp(key_, as_uchar(key), key_bytes_) == 0;
  }

  std::unique_ptr<EVP_MAC_CTX, Freed<EVP_MAC_CTX_free>> context_;
  unsigned char key_[64] = {};
  size_t key_bytes_ = 0;
  bool has_key_ = false;
};

constexpr uint32_t kCrcPolynomial = 0x82F63B78;  // Castagnoli, bits reversed

constexpr std::array<uint32_t, 256> make_crc_table() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) != 0 ? kCrcPolynomial : 0);
    table[byte] = crc;
  }
  return table;
}

uint32_t crc32c_portable(uint32_t crc, std::string_view bytes) {
  static constexpr auto kTable = make_crc_table();
  for (const char c : bytes) crc = kTable[(crc ^ static_cast<uint8_t>(c)) & 0xff] ^ (crc >> 8);
  return crc;
}

#if defined(__x86_64__)
constexpr size_t kCrcWordsMax = 64;  // in each of three parts

// For a CRC that n words of zeros follow: x^(64 n - 33) modulo the polynomial, bits reversed.
// Multiplied with it the CRC is a word, whose own CRC is the one that is wanted: that multiplies
// with x^32 more, and the product of two reversed numbers lacks one bit. (V. Gopal et al., "Fast
// CRC Computation for iSCSI Polynomial Using CRC32 Instruction", Intel, 2011.)
constexpr auto make_crc_shifts() {
  std::array<uint32_t, 2 * kCrcWordsMax + 1> shifts{};
  uint32_t power = 0x80000000;
  for (size_t exponent = 0, words = 1; words < shifts.size(); ++exponent) {
    if (exponent == 64 * words - 33) shifts[words++] = power;
    power = (power >> 1) ^ ((power & 1) != 0 ? kCrcPolynomial : 0);
  }
  return shifts;
}

template <class Word>
Word crc_word(const char* at) {
  Word word;
  std::memcpy(&word, at, sizeof word);
  return word;
}

// The instruction gives its result after three cycles and begins one in each: three parts of the
// bytes at once take the time of one.
__attribute__((target("sse4.2,pclmul"))) uint32_t crc32c_native(uint32_t crc,
                                                                std::string_view bytes) {
  static constexpr auto kShifts = make_crc_shifts();
  constexpr size_t kApartMin = 96;  // fewer bytes: joining the parts takes longer
  const char* at = bytes.data();
  size_t left = bytes.size();
  while (left >= kApartMin) {
    const size_t words = std::min(left / 24, kCrcWordsMax);
    uint64_t parts[3] = {crc, 0, 0};
    for (size_t i = 0; i < words; ++i, at += 8) {
      parts[0] = _mm_crc32_u64(parts[0], crc_word<uint64_t>(at));
      parts[1] = _mm_crc32_u64(parts[1], crc_word<uint64_t>(at + 8 * words));
      parts[2] = _mm_crc32_u64(parts[2], crc_word<uint64_t>(at + 16 * words));
    }
    const auto times = [](uint64_t part, uint32_t shift) __attribute__((target("sse4.2,pclmul"))) {
      return _mm_clmulepi64_si128(_mm_cvtsi64_si128(static_cast<int64_t>(part)),
                                  _mm_cvtsi32_si128(static_cast<int>(shift)), 0);
    };
    const __m128i both =
        _mm_xor_si128(times(parts[0], kShifts[2 * words]), times(parts[1], kShifts[words]));
    crc = static_cast<uint32_t>(_mm_crc32_u64(0, static_cast<uint64_t>(_mm_cvtsi128_si64(both))) ^
                                parts[2]);
    at += 16 * words;
    left -= 24 * words;
  }
  uint64_t wide = crc;
  for (; left >= 8; left -= 8, at += 8) wide = _mm_crc32_u64(wide, crc_word<uint64_t>(at));
  crc = static_cast<uint32_t>(wide);
  if ((left & 4) != 0) {
    crc = _mm_crc32_u32(crc, crc_word<uint32_t>(at));
    at += 4;
  }
  if ((left & 2) != 0) {
    crc = _mm_crc32_u16(crc, crc_word<uint16_t>(at));
    at += 2;
  }
  return (left & 1) != 0 ? _mm_crc32_u8(crc, crc_word<uint8_t>(at)) : crc;
}
#endif

uint32_t crc32c_update(uint32_t crc, std::string_view bytes) {
#if defined(__x86_64__)
  static const bool kHasInstructions =
      __builtin_cpu_supports("sse4.2") != 0 && __builtin_cpu_supports("pclmul") != 0;
  if (kHasInstructions) return crc32c_native(crc, bytes);
#endif
  return crc32c_portable(crc, bytes);
}

}  // namespace

Digest256 hmac_sha256(std::string_view key, std::string_view bytes) {
  thread_local HmacContext hmac;
  EVP_MAC_CTX* const context = hmac.start(key);
  Digest256 digest;
  size_t written = 0;
  require(EVP_MAC_update(context, as_uchar(bytes), bytes.size()) == 1 &&
              EVP_MAC_final(context, digest.data(), &written, digest.size()) == 1 &&
              written == digest.size(),
          "HMAC failed");
  return digest;
}

// The kernel's generator and not OpenSSL's: a forked child can never repeat what its parent drew.
void random_bytes(std::span<uint8_t> out) {
  while (!out.empty()) {
    const ssize_t got = getrandom(out.data(), out.size(), 0);
    if (got < 0) {
      if (errno == EINTR) continue;
      give_up("the operating system gives no randomness (getrandom failed)");
    }
    out = out.subspan(static_cast<size_t>(got));
  }
}

uint64_t random_u64() {
  std::array<uint8_t, sizeof(uint64_t)> bytes;
  random_bytes(bytes);
  uint64_t value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

void cleanse(std::span<uint8_t> bytes) { OPENSSL_cleanse(bytes.data(), bytes.size()); }

bool equal_constant_time(std::string_view a, std::string_view b) {
  if (a.size() != b.size()) return false;
  // As CRYPTO_memcmp, eight bytes at a time: the digest of a credential is compared per request.
  // Volatile, so that no compiler finds out early.
  volatile uint64_t difference = 0;
  while (a.size() >= sizeof(uint64_t)) {
    uint64_t left;
    uint64_t right;
    std::memcpy(&left, a.data(), sizeof left);
    std::memcpy(&right, b.data(), sizeof right);
    difference = difference | (left ^ right);
    a.remove_prefix(sizeof left);
    b.remove_prefix(sizeof right);
  }
  const int rest = CRYPTO_memcmp(as_uchar(a), as_uchar(b), a.size());
  return (difference | static_cast<uint64_t>(rest)) == 0;
}

uint32_t crc32c(std::string_view bytes, uint32_t before) { return ~crc32c_update(~before, bytes); }

}  // namespace tenancy
