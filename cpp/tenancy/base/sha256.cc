// SHA-256 with the instructions of x86 processors for it, by OpenSSL where there are none (FIPS
// 180-4 section 6.2 is what is computed, Intel's "SHA Extensions" white paper of 2013 says what the
// instructions do). One computation alone waits for its own results half of the time; where two are
// wanted, they go in lockstep, and the second fills these gaps.
#define OPENSSL_SUPPRESS_DEPRECATED  // EVP has no form that starts from a stored state
#include <openssl/sha.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "tenancy/base/sha256_blocks.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace tenancy {

namespace {

constexpr size_t kBlockBytes = kSha256BlockBytes;
constexpr size_t kLengthBytes = 8;

// A message cut into blocks where it lies: an optional first byte, the bytes, and behind the last
// whole block the padding. Copies are of fixed sizes where they can be, which takes no call.
class Blocks {
 public:
  // `absorbed`: bytes that the state has seen already.
  Blocks(const char* first, std::string_view rest, uint64_t absorbed)
      : before_(first == nullptr ? 0 : 1),
        rest_(rest),
        whole_((before_ + rest.size()) / kBlockBytes) {
    const size_t bytes = before_ + rest.size();
    const size_t left = bytes - whole_ * kBlockBytes;
    unsigned char* const back = back_.data() + kBlockBytes;
    std::memset(back, 0, 2 * kBlockBytes);
    if (rest.size() >= kBlockBytes) {
      // Of the last block's length of bytes the last `left` come to lie behind the room.
      std::memcpy(back + left - kBlockBytes, rest.data() + rest.size() - kBlockBytes, kBlockBytes);
    } else if (before_ != 0 && whole_ == 0) {
      back[0] = static_cast<unsigned char>(*first);
      if (!rest.empty()) std::memcpy(back + 1, rest.data(), rest.size());
    } else if (left != 0) {
      std::memcpy(back, rest.data() + rest.size() - left, left);
    }
    if (before_ != 0 && whole_ != 0) {
      front_[0] = static_cast<unsigned char>(*first);
      std::memcpy(front_.data() + 1, rest.data(), kBlockBytes - 1);
    }
    const size_t end = left + 1 + kLengthBytes <= kBlockBytes ? kBlockBytes : 2 * kBlockBytes;
    back[left] = 0x80;
    const uint64_t bits = __builtin_bswap64((absorbed + bytes) * 8);
    std::memcpy(back + end - kLengthBytes, &bits, kLengthBytes);
    count_ = whole_ + end / kBlockBytes;
  }
  size_t count() const { return count_; }
  const unsigned char* operator[](size_t i) const {
    if (i >= whole_) return back_.data() + (i - whole_ + 1) * kBlockBytes;
    if (i == 0 && before_ != 0) return front_.data();
    return reinterpret_cast<const unsigned char*>(rest_.data()) + i * kBlockBytes - before_;
  }

 private:
  size_t before_;
  std::string_view rest_;
  size_t whole_;
  size_t count_ = 0;
  alignas(16) std::array<unsigned char, kBlockBytes> front_;
  alignas(16) std::array<unsigned char, 3 * kBlockBytes> back_;  // behind one block of room
};

// One after the other.
Digest256 finish_portable(Sha256Words words, const Blocks& blocks, size_t done) {
  for (; done < blocks.count(); ++done) sha256_absorb_portable(&words, blocks[done], 1);
  return sha256_digest(words);
}

MacAndHash one_after_the_other(const std::array<Sha256Words, 2>& states, std::string_view maced,
                               char first, std::string_view rest) {
  return {hmac_finish_portable(states[0], states[1], maced, 0),
          finish_portable(kSha256Initial, Blocks(&first, rest, 0), 0)};
}

std::array<Sha256Words, 2> words_of(const HmacKey& key) {
  return std::bit_cast<std::array<Sha256Words, 2>>(key.states());
}

}  // namespace

void sha256_absorb_portable(Sha256Words* words, const unsigned char* blocks, size_t count) {
  SHA256_CTX context{};
  SHA256_Init(&context);
  std::memcpy(context.h, words->data(), sizeof context.h);
  for (; count > 0; --count, blocks += kSha256BlockBytes) SHA256_Transform(&context, blocks);
  std::memcpy(words->data(), context.h, sizeof context.h);
}

Digest256 hmac_finish_portable(const Sha256Words& inner, const Sha256Words& outer,
                               std::string_view bytes, size_t done) {
  const Digest256 digest =
      finish_portable(inner, Blocks(nullptr, bytes, kBlockBytes), done / kBlockBytes);
  return finish_portable(outer, Blocks(nullptr, as_view(digest), kBlockBytes), 0);
}

#if defined(__x86_64__)

namespace {

#define TENANCY_SHA __attribute__((target("sha,sse4.1,ssse3")))
#define TENANCY_SHA_INLINE __attribute__((target("sha,sse4.1,ssse3"), always_inline)) inline

alignas(16) constexpr std::array<uint32_t, 64> kRoundConstants = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

bool has_instructions() {
  unsigned a = 0;
  unsigned b = 0;
  unsigned c = 0;
  unsigned d = 0;
  constexpr unsigned kShaBit = 1U << 29;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (b & kShaBit) != 0 &&
         __builtin_cpu_supports("sse4.1") != 0;
}

// The state as the instructions want it.
struct Lane {
  __m128i abef;
  __m128i cdgh;
};

TENANCY_SHA Lane load(const Sha256Words& words) {
  const auto* from = reinterpret_cast<const __m128i*>(words.data());
  const __m128i badc = _mm_shuffle_epi32(_mm_loadu_si128(from), 0xb1);
  const __m128i hgfe = _mm_shuffle_epi32(_mm_loadu_si128(from + 1), 0x1b);
  return {_mm_alignr_epi8(badc, hgfe, 8), _mm_blend_epi16(hgfe, badc, 0xf0)};
}

// The state's words in two halves, as FIPS 180-4 counts them.
struct Halves {
  __m128i dcba;
  __m128i hgfe;
};

TENANCY_SHA_INLINE Halves halves_of(const Lane& lane) {
  const __m128i feba = _mm_shuffle_epi32(lane.abef, 0x1b);
  const __m128i dchg = _mm_shuffle_epi32(lane.cdgh, 0xb1);
  return {_mm_blend_epi16(feba, dchg, 0xf0), _mm_alignr_epi8(dchg, feba, 8)};
}

TENANCY_SHA_INLINE Sha256Words store(const Lane& lane) {
  const Halves halves = halves_of(lane);
  Sha256Words words;
  auto* const to = reinterpret_cast<__m128i*>(words.data());
  _mm_storeu_si128(to, halves.dcba);
  _mm_storeu_si128(to + 1, halves.hgfe);
  return words;
}

TENANCY_SHA_INLINE __m128i big_endian(__m128i words) {
  return _mm_shuffle_epi8(words, _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203));
}

TENANCY_SHA_INLINE Digest256 digest_of(const Lane& lane) {
  const Halves halves = halves_of(lane);
  Digest256 digest;
  auto* const to = reinterpret_cast<__m128i*>(digest.data());
  _mm_storeu_si128(to, big_endian(halves.dcba));
  _mm_storeu_si128(to + 1, big_endian(halves.hgfe));
  return digest;
}

// Where the words of a block come from, four at a time: memory, one block for each lane.
struct InMemory {
  const unsigned char* const* blocks;

  TENANCY_SHA_INLINE __m128i operator()(size_t lane, size_t group) const {
    const auto* const from = reinterpret_cast<const __m128i*>(blocks[lane]);
    return big_endian(_mm_loadu_si128(from + group));
  }
};

// The block that the outer hash of an HMAC absorbs: the inner one's state, still in registers, and
// the padding of 96 bytes.
struct InnerDigest {
  Halves halves;

  TENANCY_SHA_INLINE __m128i operator()(size_t, size_t group) const {
    constexpr int kBits = (kBlockBytes + sizeof(Digest256)) * 8;
    switch (group) {
      case 0: return halves.dcba;
      case 1: return halves.hgfe;
      case 2: return _mm_set_epi32(0, 0, 0, static_cast<int>(0x80000000));
      default: return _mm_set_epi32(kBits, 0, 0, 0);
    }
  }
};

// That one for the first lane, and a block of another message for the second.
struct InnerDigestBeside {
  InnerDigest first;
  const unsigned char* second;

  TENANCY_SHA_INLINE __m128i operator()(size_t lane, size_t group) const {
    return lane == 0 ? first(0, group) : InMemory{&second}(0, group);
  }
};

// One block into each of kLanes states.
template <size_t kLanes, class Source>
TENANCY_SHA_INLINE void compress(Lane* lanes, const Source& source) {
  __m128i words[kLanes][4];
  Lane now[kLanes];
  for (size_t lane = 0; lane < kLanes; ++lane) now[lane] = lanes[lane];
#pragma GCC unroll 16
  for (size_t group = 0; group < 16; ++group) {  // of four rounds
    const __m128i constants =
        _mm_load_si128(reinterpret_cast<const __m128i*>(kRoundConstants.data()) + group);
#pragma GCC unroll 2
    for (size_t lane = 0; lane < kLanes; ++lane) {
      __m128i* const w = words[lane];
      __m128i& next = w[group % 4];
      if (group < 4) {
        next = source(lane, group);
      } else {
        const __m128i last = w[(group + 3) % 4];
        const __m128i seven_ago = _mm_alignr_epi8(last, w[(group + 2) % 4], 4);
        const __m128i sum =
            _mm_add_epi32(_mm_sha256msg1_epu32(next, w[(group + 1) % 4]), seven_ago);
        next = _mm_sha256msg2_epu32(sum, last);
      }
      const __m128i keyed = _mm_add_epi32(next, constants);
      Lane& state = now[lane];
      state.cdgh = _mm_sha256rnds2_epu32(state.cdgh, state.abef, keyed);
      state.abef = _mm_sha256rnds2_epu32(state.abef, state.cdgh, _mm_shuffle_epi32(keyed, 0x0e));
    }
  }
  for (size_t lane = 0; lane < kLanes; ++lane) {
    lanes[lane].abef = _mm_add_epi32(lanes[lane].abef, now[lane].abef);
    lanes[lane].cdgh = _mm_add_epi32(lanes[lane].cdgh, now[lane].cdgh);
  }
}

TENANCY_SHA void rest_of(Lane* lane, const Blocks& blocks, size_t done) {
  for (; done < blocks.count(); ++done) {
    const unsigned char* const block = blocks[done];
    compress<1>(lane, InMemory{&block});
  }
}

TENANCY_SHA void absorb(Sha256Words* words, const unsigned char* blocks, size_t count) {
  Lane lane = load(*words);
  for (; count > 0; --count, blocks += kBlockBytes) compress<1>(&lane, InMemory{&blocks});
  *words = store(lane);
}

TENANCY_SHA Digest256 outer_hash(const Sha256Words& outer, const Lane& inner) {
  Lane lane = load(outer);
  compress<1>(&lane, InnerDigest{halves_of(inner)});
  return digest_of(lane);
}

TENANCY_SHA Digest256 finish_mac(const Sha256Words& inner, const Sha256Words& outer,
                                 std::string_view bytes, size_t done) {
  const Blocks blocks(nullptr, bytes, kBlockBytes);
  Lane lane = load(inner);
  rest_of(&lane, blocks, done / kBlockBytes);
  return outer_hash(outer, lane);
}

TENANCY_SHA MacAndHash side_by_side(const std::array<Sha256Words, 2>& states,
                                    std::string_view maced, char first, std::string_view rest) {
  const Blocks mine(nullptr, maced, kBlockBytes);
  const Blocks theirs(&first, rest, 0);
  Lane lanes[2] = {load(states[0]), load(kSha256Initial)};
  const size_t both = std::min(mine.count(), theirs.count());
  for (size_t i = 0; i < both; ++i) {
    const unsigned char* const blocks[2] = {mine[i], theirs[i]};
    compress<2>(lanes, InMemory{blocks});
  }
  if (both == theirs.count()) {
    rest_of(&lanes[0], mine, both);
    return {outer_hash(states[1], lanes[0]), digest_of(lanes[1])};
  }
  // The outer hash goes on beside what is left of the other message.
  const InnerDigestBeside last{{halves_of(lanes[0])}, theirs[both]};
  lanes[0] = load(states[1]);
  compress<2>(lanes, last);
  rest_of(&lanes[1], theirs, both + 1);
  return {digest_of(lanes[0]), digest_of(lanes[1])};
}

TENANCY_SHA void absorb_two(Sha256Words* words, const unsigned char* const* blocks, size_t count) {
  Lane lanes[2] = {load(words[0]), load(words[1])};
  const unsigned char* next[2] = {blocks[0], blocks[1]};
  for (; count > 0; --count) {
    compress<2>(lanes, InMemory{next});
    next[0] += kBlockBytes;
    next[1] += kBlockBytes;
  }
  words[0] = store(lanes[0]);
  words[1] = store(lanes[1]);
}

bool use_instructions() {
  static const bool kHasInstructions = has_instructions();
  return kHasInstructions;
}

}  // namespace

void sha256_absorb(Sha256Words* words, const unsigned char* blocks, size_t count) {
  use_instructions() ? absorb(words, blocks, count) : sha256_absorb_portable(words, blocks, count);
}

void sha256_absorb_two(Sha256Words* words, const unsigned char* const* blocks, size_t count) {
  if (use_instructions()) return absorb_two(words, blocks, count);
  for (size_t i = 0; i < 2; ++i) sha256_absorb_portable(&words[i], blocks[i], count);
}

MacAndHash mac_and_hash(const HmacKey& key, std::string_view maced, char first,
                        std::string_view rest) {
  return use_instructions() ? side_by_side(words_of(key), maced, first, rest)
                            : one_after_the_other(words_of(key), maced, first, rest);
}

Digest256 hmac_finish(const Sha256Words& inner, const Sha256Words& outer, std::string_view bytes,
                      size_t done) {
  return use_instructions() ? finish_mac(inner, outer, bytes, done)
                            : hmac_finish_portable(inner, outer, bytes, done);
}

#else

void sha256_absorb(Sha256Words* words, const unsigned char* blocks, size_t count) {
  sha256_absorb_portable(words, blocks, count);
}

void sha256_absorb_two(Sha256Words* words, const unsigned char* const* blocks, size_t count) {
  for (size_t i = 0; i < 2; ++i) sha256_absorb_portable(&words[i], blocks[i], count);
}

MacAndHash mac_and_hash(const HmacKey& key, std::string_view maced, char first,
                        std::string_view rest) {
  return one_after_the_other(words_of(key), maced, first, rest);
}

Digest256 hmac_finish(const Sha256Words& inner, const Sha256Words& outer, std::string_view bytes,
                      size_t done) {
  return hmac_finish_portable(inner, outer, bytes, done);
}

#endif

}  // namespace tenancy
