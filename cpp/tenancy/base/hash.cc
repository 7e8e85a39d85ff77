#include "tenancy/base/hash.h"

#include <bit>
#include <cstddef>
#include <cstring>

namespace tenancy {
namespace {

static_assert(std::endian::native == std::endian::little, "SipHash reads little-endian words");

struct SipState {
  uint64_t v0, v1, v2, v3;

  explicit SipState(const HashKey& key)
      : v0(key.k0 ^ 0x736f6d6570736575),
        v1(key.k1 ^ 0x646f72616e646f6d),
        v2(key.k0 ^ 0x6c7967656e657261),
        v3(key.k1 ^ 0x7465646279746573) {}

  void round() {
    v0 += v1;
    v1 = std::rotl(v1, 13) ^ v0;
    v0 = std::rotl(v0, 32);
    v2 += v3;
    v3 = std::rotl(v3, 16) ^ v2;
    v0 += v3;
    v3 = std::rotl(v3, 21) ^ v0;
    v2 += v1;
    v1 = std::rotl(v1, 17) ^ v2;
    v2 = std::rotl(v2, 32);
  }

  void absorb(uint64_t word) {
    v3 ^= word;
    round();
    round();
    v0 ^= word;
  }

  // All bytes, and their length's low byte on top of the last word.
  void absorb(std::string_view bytes);

  uint64_t rounds4() {
    round();
    round();
    round();
    round();
    return v0 ^ v1 ^ v2 ^ v3;
  }

  uint64_t finish() {
    v2 ^= 0xff;
    return rounds4();
  }
};

void SipState::absorb(std::string_view bytes) {
  const char* next = bytes.data();
  for (size_t words = bytes.size() / 8; words > 0; --words, next += 8) {
    uint64_t word;
    std::memcpy(&word, next, 8);
    absorb(word);
  }
  uint64_t tail = 0;
  if (const size_t left = bytes.size() % 8; left > 0) std::memcpy(&tail, next, left);
  absorb(tail | static_cast<uint64_t>(bytes.size()) << 56);
}

}  // namespace

uint64_t siphash(const HashKey& key, std::string_view bytes) {
  SipState state(key);
  state.absorb(bytes);
  return state.finish();
}

Hash128 siphash128(const HashKey& key, std::string_view bytes) {
  SipState state(key);
  state.v1 ^= 0xee;
  state.absorb(bytes);
  state.v2 ^= 0xee;
  Hash128 hash;
  hash.low = state.rounds4();
  state.v1 ^= 0xdd;
  hash.high = state.rounds4();
  return hash;
}

uint64_t siphash_join(const HashKey& key, uint64_t seed, uint64_t part) {
  SipState state(key);
  state.absorb(seed);
  state.absorb(part);
  state.absorb(uint64_t{16} << 56);
  return state.finish();
}

}  // namespace tenancy
