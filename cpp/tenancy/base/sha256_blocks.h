// SHA-256 without its padding: blocks into states (FIPS 180-4, section 6.2), for whoever lays out
// messages of one length itself. Everybody else takes crypto.h.
//
// Thread safety: free functions, any thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "tenancy/base/crypto.h"

namespace tenancy {

using Sha256Words = std::array<uint32_t, 8>;

constexpr size_t kSha256BlockBytes = 64;
constexpr Sha256Words kSha256Initial = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// Absorbs so many blocks, one after the other.
void sha256_absorb(Sha256Words* words, const unsigned char* blocks, size_t count);
// The same for two states at once, which takes little longer than for one.
void sha256_absorb_two(Sha256Words* words, const unsigned char* const* blocks, size_t count);
// As sha256_absorb, by OpenSSL, which is what processors without the instructions do.
void sha256_absorb_portable(Sha256Words* words, const unsigned char* blocks, size_t count);

// The rest of an HMAC over `bytes`, of whose blocks the first `done` bytes are in `inner`: the last
// ones with their padding, and the outer hash.
Digest256 hmac_finish(const Sha256Words& inner, const Sha256Words& outer, std::string_view bytes,
                      size_t done);
// The same as processors without the instructions do it.
Digest256 hmac_finish_portable(const Sha256Words& inner, const Sha256Words& outer,
                               std::string_view bytes, size_t done);

inline Digest256 sha256_digest(const Sha256Words& words) {
  Digest256 digest;
  for (size_t i = 0; i < words.size(); ++i) {
    const uint32_t word = __builtin_bswap32(words[i]);
    std::memcpy(digest.data() + 4 * i, &word, sizeof word);
  }
  return digest;
}

}  // namespace tenancy
