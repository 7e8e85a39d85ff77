#include <openssl/crypto.h>

#include <algorithm>
#include <cstring>

#include "tenancy/base/sha256_blocks.h"

namespace tenancy {
namespace {

constexpr size_t kBlockBytes = kSha256BlockBytes;
constexpr size_t kLengthBytes = 8;

void absorb_key(const std::array<unsigned char, kBlockBytes>& key, unsigned char pad,
                uint64_t* state) {
  std::array<unsigned char, kBlockBytes> block;
  for (size_t i = 0; i < kBlockBytes; ++i) block[i] = key[i] ^ pad;
  Sha256Words words = kSha256Initial;
  sha256_absorb(&words, block.data(), 1);
  std::memcpy(state, words.data(), sizeof words);
  OPENSSL_cleanse(block.data(), block.size());
}

// Behind `bytes` bytes in all, the last of them at the beginning of `block`: the padding. Blocks.
size_t pad(unsigned char* block, uint64_t bytes) {
  const size_t left = bytes % kBlockBytes;
  const size_t end = left + 1 + kLengthBytes <= kBlockBytes ? kBlockBytes : 2 * kBlockBytes;
  block[left] = 0x80;
  std::memset(block + left + 1, 0, end - left - 1 - kLengthBytes);
  const uint64_t bits = __builtin_bswap64(bytes * 8);
  std::memcpy(block + end - kLengthBytes, &bits, kLengthBytes);
  return end / kBlockBytes;
}

}  // namespace

Sha256::Sha256() : words_(kSha256Initial) {}

void Sha256::add(std::string_view bytes) {
  if (bytes.empty()) return;
  const auto* next = reinterpret_cast<const unsigned char*>(bytes.data());
  size_t left = bytes.size();
  const size_t waiting = bytes_ % kBlockBytes;
  bytes_ += left;
  if (waiting != 0) {
    const size_t taken = std::min(left, kBlockBytes - waiting);
    std::memcpy(rest_.data() + waiting, next, taken);
    if (waiting + taken < kBlockBytes) return;
    sha256_absorb(&words_, rest_.data(), 1);
    next += taken;
    left -= taken;
  }
  if (const size_t blocks = left / kBlockBytes; blocks != 0) {
    sha256_absorb(&words_, next, blocks);
    next += blocks * kBlockBytes;
  }
  std::memcpy(rest_.data(), next, left % kBlockBytes);
}

Digest256 Sha256::finish() {
  std::array<unsigned char, 2 * kBlockBytes> last;
  std::memcpy(last.data(), rest_.data(), bytes_ % kBlockBytes);
  const size_t blocks = pad(last.data(), bytes_);
  sha256_absorb(&words_, last.data(), blocks);
  return sha256_digest(words_);
}

Digest256 sha256(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

HmacKey::HmacKey(std::string_view key) {
  std::array<unsigned char, kBlockBytes> block{};
  if (key.size() > kBlockBytes) {
    const Digest256 shorter = sha256(key);
    std::copy(shorter.begin(), shorter.end(), block.begin());
  } else if (!key.empty()) {
    std::memcpy(block.data(), key.data(), key.size());
  }
  absorb_key(block, 0x36, states_.data());
  absorb_key(block, 0x5c, states_.data() + 4);
  OPENSSL_cleanse(block.data(), block.size());
}

HmacKey HmacKey::from_states(const States& states) {
  HmacKey key;
  key.states_ = states;
  return key;
}

void HmacKey::forget() { OPENSSL_cleanse(states_.data(), sizeof states_); }

Digest256 HmacKey::mac(std::string_view bytes) const { return Hmac(*this).finish(bytes); }

Hmac::Hmac(const HmacKey& key) {
  std::memcpy(inner_.data(), key.states_.data(), sizeof inner_);
  std::memcpy(outer_.data(), key.states_.data() + 4, sizeof outer_);
}

void Hmac::absorb(std::string_view known) {
  const size_t blocks = (known.size() - done_) / kBlockBytes;
  if (blocks == 0) return;
  sha256_absorb(&inner_, reinterpret_cast<const unsigned char*>(known.data()) + done_, blocks);
  done_ += blocks * kBlockBytes;
}

Digest256 Hmac::finish(std::string_view all) const {
  return hmac_finish(inner_, outer_, all, done_);
}

std::string hkdf_sha256(std::string_view salt, std::string_view key, std::string_view info,
                        size_t bytes) {
  Digest256 extracted = hmac_sha256(salt, key);
  const HmacKey expander(as_view(extracted));
  std::string out;
  std::string block;
  for (uint8_t counter = 1; out.size() < bytes; ++counter) {
    block.append(info);
    block.push_back(static_cast<char>(counter));
    block = std::string(as_view(expander.mac(block)));
    out.append(block);
  }
  out.resize(bytes);
  cleanse(extracted);
  return out;
}

}  // namespace tenancy
