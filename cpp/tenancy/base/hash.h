// SipHash-2-4: 64-bit keyed hashes of short strings (Aumasson & Bernstein, 2012).
//
// Counters are addressed by these hashes, and names come from clients, so the key must be a secret
// of the table: whoever could find two names with one hash could spend another's limit. The same
// key and bytes give the same hash in every process and release, because hashes live in files.
//
// Collision odds: n distinct names collide somewhere with probability about n^2 / 2^65: for ten
// million counters 2.7e-6.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace tenancy {

struct HashKey {
  uint64_t k0 = 0;
  uint64_t k1 = 0;
};

uint64_t siphash(const HashKey& key, std::string_view bytes);

// SipHash-2-4 with 128 bits of output, for sets so large that 64 bits would collide: n distinct
// names collide somewhere with probability about n^2 / 2^129.
struct Hash128 {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const Hash128&) const = default;
};
Hash128 siphash128(const HashKey& key, std::string_view bytes);

// The same of many texts, each under its own key: neighbours of about one length are hashed side by
// side where the processor has instructions for that. `out` has a place for each.
struct KeyedText {
  HashKey key{};
  std::string_view bytes{};
};
void siphash_each(std::span<const KeyedText> texts, uint64_t* out);
void siphash128_each(std::span<const KeyedText> texts, Hash128* out);

// Joins an already keyed hash with a further part, order-sensitive: SipHash over the 16 bytes of
// (seed, part). Used for tenant x limit x window, where each part was hashed or interned before.
uint64_t siphash_join(const HashKey& key, uint64_t seed, uint64_t part);

}  // namespace tenancy
