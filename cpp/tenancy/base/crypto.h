// Cryptographic primitives. crypto.cc, sha256.cc, hmac.cc, aes_gcm.cc and ed25519.cc are the only
// files of the project that include OpenSSL.
//
// Thread safety: all free functions may be called from any thread; contexts are kept per thread.
// Objects are plain values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace tenancy {

using Digest256 = std::array<uint8_t, 32>;

inline std::string_view as_view(const Digest256& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

Digest256 sha256(std::string_view bytes);
Digest256 hmac_sha256(std::string_view key, std::string_view bytes);

// SHA-256 of bytes that come in parts. A plain value: copying it copies what was hashed so far.
class Sha256 {
 public:
  Sha256();
  void add(std::string_view bytes);
  Digest256 finish();  // once

 private:
  std::array<uint32_t, 8> words_;
  uint64_t bytes_ = 0;  // absorbed, with those that wait in `rest_`
  std::array<unsigned char, 64> rest_;
};

// HMAC-SHA-256 with its key absorbed: two hash states of 32 bytes, from which a MAC starts without
// hashing the key again (RFC 2104 section 4).
class HmacKey {
 public:
  HmacKey() = default;  // no key: all zeros, to be assigned to
  explicit HmacKey(std::string_view key);
  Digest256 mac(std::string_view bytes) const;
  // The two states, for whoever keeps them in memory of its own. As secret as the key.
  using States = std::array<uint64_t, 8>;
  const States& states() const { return states_; }
  static HmacKey from_states(const States& states);
  void forget();  // overwritten with zeros

 private:
  friend class Hmac;
  States states_{};
};

// A MAC over bytes that lie in one piece and come to be known from the front to the back. It keeps
// what it has absorbed and none of the bytes: each call gets them all.
class Hmac {
 public:
  explicit Hmac(const HmacKey& key);
  // Whole blocks of what is known by now: the bytes of the calls before, and others behind them.
  void absorb(std::string_view known);
  Digest256 finish(std::string_view all) const;

 private:
  std::array<uint32_t, 8> inner_;
  std::array<uint32_t, 8> outer_;
  size_t done_ = 0;  // bytes absorbed
};

// The MAC of some bytes and the SHA-256 of a byte and others, for whoever needs both: where the
// processor has instructions for SHA-256 they take little longer than one of them.
struct MacAndHash {
  Digest256 mac;
  Digest256 hash;
};
MacAndHash mac_and_hash(const HmacKey& key, std::string_view maced, char first,
                        std::string_view rest);

// HKDF with SHA-256 (RFC 5869); 0 < bytes <= 8,160.
std::string hkdf_sha256(std::string_view salt, std::string_view key, std::string_view info,
                        size_t bytes);

// AES-256-GCM (NIST SP 800-38D), tags of 16 bytes. A nonce must never come twice with one key.
using AesKey = std::array<uint8_t, 32>;
using GcmNonce = std::array<uint8_t, 12>;
// Appends ciphertext and tag to `*out`.
void aes256_gcm_seal(const AesKey& key, const GcmNonce& nonce, std::string_view additional,
                     std::string_view plain, std::string* out);
// Appends the plaintext; false, and nothing is appended, when key, nonce, additional data, text or
// tag are not what they were.
bool aes256_gcm_open(const AesKey& key, const GcmNonce& nonce, std::string_view additional,
                     std::string_view sealed, std::string* out);

// Ed25519 (RFC 8032). The seed is the private key.
using Ed25519Seed = std::array<uint8_t, 32>;
using Ed25519Public = std::array<uint8_t, 32>;
using Ed25519Signature = std::array<uint8_t, 64>;
Ed25519Public ed25519_public(const Ed25519Seed& seed);
Ed25519Signature ed25519_sign(const Ed25519Seed& seed, std::string_view message);
bool ed25519_verify(const Ed25519Public& key, std::string_view message,
                    const Ed25519Signature& signature);

// Fills `out` from the operating system's generator. Aborts the process when there is no
// randomness: nothing that needs it may go on without.
void random_bytes(std::span<uint8_t> out);
uint64_t random_u64();

// Overwrites with zeros; the compiler may not leave it out.
void cleanse(std::span<uint8_t> bytes);

// Compares in time that depends on the lengths only.
bool equal_constant_time(std::string_view a, std::string_view b);

// CRC-32C (Castagnoli, RFC 3720 appendix B.4). For spotting slips, never for security.
// `before` is the CRC of the bytes that come before, when they come in parts.
uint32_t crc32c(std::string_view bytes, uint32_t before = 0);

}  // namespace tenancy
