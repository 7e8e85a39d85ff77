// Cryptographic primitives. crypto.cc is the only file of the project that includes OpenSSL.
//
// Thread safety: all free functions may be called from any thread; contexts are kept per thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace tenancy {

using Digest256 = std::array<uint8_t, 32>;

Digest256 sha256(std::string_view bytes);
Digest256 hmac_sha256(std::string_view key, std::string_view bytes);

// Fills `out` from the operating system's generator. Aborts the process when there is no
// randomness: nothing that needs it may go on without.
void random_bytes(std::span<uint8_t> out);
uint64_t random_u64();

// Compares in time that depends on the lengths only.
bool equal_constant_time(std::string_view a, std::string_view b);

// CRC-32C (Castagnoli, RFC 3720 appendix B.4). For spotting slips, never for security.
uint32_t crc32c(std::string_view bytes);

}  // namespace tenancy
