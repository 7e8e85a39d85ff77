#include "tenancy/base/hash.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstring>

namespace tenancy {
namespace {

static_assert(std::endian::native == std::endian::little, "SipHash reads little-endian words");

// What is left behind the whole words, and the length's low byte on top.
uint64_t tail_of(std::string_view bytes) {
  uint64_t tail = 0;
  const size_t left = bytes.size() % 8;
  if (left > 0 && bytes.size() > 8) {
    std::memcpy(&tail, bytes.data() + bytes.size() - 8, 8);  // a copy of fixed size is no call
    tail >>= 8 * (8 - left);
  } else {
    for (size_t i = left; i-- > 0;) tail = tail << 8 | static_cast<uint8_t>(bytes[i]);
  }
  return tail | static_cast<uint64_t>(bytes.size()) << 56;
}

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
  absorb(tail_of(bytes));
}

// --- several at once

// Each round waits for the one before, so one text leaves most of the processor idle.
constexpr size_t kLanes = 8;
constexpr size_t kLaneWordsMax = 33;  // longer texts go one by one

// Words of eight texts side by side, which are as many of each.
struct Lanes {
  alignas(64) std::array<uint64_t, kLanes> k0{};
  alignas(64) std::array<uint64_t, kLanes> k1{};
  alignas(64) std::array<std::array<uint64_t, kLanes>, kLaneWordsMax> words{};
  size_t count = 0;

  // False when they are not as many, or too many.
  bool fill(const KeyedText* texts) {
    count = texts[0].bytes.size() / 8 + 1;
    if (count > kLaneWordsMax) return false;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      const auto& [key, bytes] = texts[lane];
      if (bytes.size() / 8 + 1 != count) return false;
      k0[lane] = key.k0;
      k1[lane] = key.k1;
      for (size_t i = 0; i + 1 < count; ++i) {
        std::memcpy(&words[i][lane], bytes.data() + 8 * i, 8);
      }
      words[count - 1][lane] = tail_of(bytes);
    }
    return true;
  }
};

#if defined(__x86_64__)

using Outputs = std::array<uint64_t, kLanes>;
using Vector = uint64_t __attribute__((vector_size(8 * kLanes)));

#define TENANCY_INLINE __attribute__((always_inline)) inline

template <int kBits>
TENANCY_INLINE void rotate(Vector& value) {
  value = value << kBits | value >> (64 - kBits);
}

// SipState, eight times.
struct SipVectors {
  Vector v0, v1, v2, v3;

  TENANCY_INLINE explicit SipVectors(const Lanes& lanes) {
    std::memcpy(&v0, lanes.k0.data(), sizeof v0);
    std::memcpy(&v1, lanes.k1.data(), sizeof v1);
    v2 = v0 ^ 0x6c7967656e657261;
    v3 = v1 ^ 0x7465646279746573;
    v0 ^= 0x736f6d6570736575;
    v1 ^= 0x646f72616e646f6d;
  }
  TENANCY_INLINE void round() {
    v0 += v1;
    rotate<13>(v1);
    v1 ^= v0;
    rotate<32>(v0);
    v2 += v3;
    rotate<16>(v3);
    v3 ^= v2;
    v0 += v3;
    rotate<21>(v3);
    v3 ^= v0;
    v2 += v1;
    rotate<17>(v1);
    v1 ^= v2;
    rotate<32>(v2);
  }
  TENANCY_INLINE void absorb(const Lanes& lanes) {
    for (size_t i = 0; i < lanes.count; ++i) {
      Vector word;
      std::memcpy(&word, lanes.words[i].data(), sizeof word);
      v3 ^= word;
      round();
      round();
      v0 ^= word;
    }
  }
  TENANCY_INLINE Outputs rounds4() {
    round();
    round();
    round();
    round();
    const Vector all = v0 ^ v1 ^ v2 ^ v3;
    Outputs out;
    std::memcpy(out.data(), &all, sizeof all);
    return out;
  }
};

// With shorter vectors, and two shifts for a rotation, it would take as long as one by one.
#define TENANCY_AVX512 __attribute__((target("avx512f")))

TENANCY_AVX512 void hash_lanes(const Lanes& lanes, uint64_t* out) {
  SipVectors state(lanes);
  state.absorb(lanes);
  state.v2 ^= 0xff;
  std::ranges::copy(state.rounds4(), out);
}

TENANCY_AVX512 void hash_lanes(const Lanes& lanes, Hash128* out) {
  SipVectors state(lanes);
  state.v1 ^= 0xee;
  state.absorb(lanes);
  state.v2 ^= 0xee;
  const Outputs low = state.rounds4();
  state.v1 ^= 0xdd;
  const Outputs high = state.rounds4();
  for (size_t i = 0; i < kLanes; ++i) out[i] = {low[i], high[i]};
}

template <class Hash>
bool hash_eight(const KeyedText* texts, Lanes& lanes, Hash* out) {
  static const bool kCan = __builtin_cpu_supports("avx512f") != 0;
  if (!kCan || !lanes.fill(texts)) return false;
  hash_lanes(lanes, out);
  return true;
}

#else

template <class Hash>
bool hash_eight(const KeyedText*, Lanes&, Hash*) {
  return false;
}

#endif

template <class Hash, class One>
void hash_each(std::span<const KeyedText> texts, Hash* out, One one) {
  Lanes lanes;
  for (; texts.size() >= kLanes; texts = texts.subspan(kLanes), out += kLanes) {
    if (hash_eight(texts.data(), lanes, out)) continue;
    for (size_t i = 0; i < kLanes; ++i) out[i] = one(texts[i].key, texts[i].bytes);
  }
  for (const KeyedText& text : texts) *out++ = one(text.key, text.bytes);
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

void siphash_each(std::span<const KeyedText> texts, uint64_t* out) {
  hash_each(texts, out, siphash);
}

void siphash128_each(std::span<const KeyedText> texts, Hash128* out) {
  hash_each(texts, out, siphash128);
}

uint64_t siphash_join(const HashKey& key, uint64_t seed, uint64_t part) {
  SipState state(key);
  state.absorb(seed);
  state.absorb(part);
  state.absorb(uint64_t{16} << 56);
  return state.finish();
}

}  // namespace tenancy
