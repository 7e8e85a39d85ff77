// Identifiers: sortable random ids, and the text of API keys and session ids.
//
// A sortable id is a prefix and 26 characters of Crockford base 32 (lower case, no i l o u): 48
// bits of Unix milliseconds, then 80 random bits, the layout of ULID. Ids made in one process in
// one millisecond still increase. A fork reseeds: two processes never share a random stream.
//
// Thread safety: all functions may be called from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tenancy {

// "ten_01j9…". `prefix` includes its underscore.
std::string sortable_id(std::string_view prefix, int64_t wall_ns);

// UUID version 7 (RFC 9562 section 5.7) in its 36-character text form.
std::string uuid7(int64_t wall_ns);

// `chars` characters of the alphabet 0-9A-Za-z, uniformly random (rejection sampling).
std::string random_base62(size_t chars);

// An API key: "tk_" + 8 characters of public id + 32 secret characters (190 bits) + 6 characters of
// checksum (CRC-32C of everything before it, base 62). The public id is safe to log; the checksum
// lets scanners and the gate drop mistyped keys without a look-up.
struct ApiKeyText {
  std::string full;       // shown once to its owner
  std::string public_id;  // "tk_" + 8 characters
};
ApiKeyText make_api_key();

constexpr size_t kApiKeyPublicChars = 11;

// The public id of a well-formed key, or nothing. Looks at form and checksum only.
std::optional<std::string_view> api_key_public_id(std::string_view key);

}  // namespace tenancy
