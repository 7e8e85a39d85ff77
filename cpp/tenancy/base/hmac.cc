#define OPENSSL_SUPPRESS_DEPRECATED  // the one-shot and EVP forms cannot start from a stored state
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "tenancy/base/crypto.h"

namespace tenancy {
namespace {

constexpr size_t kBlockBytes = 64;

static_assert(sizeof(SHA256_CTX) == sizeof(Sha256) && alignof(SHA256_CTX) <= alignof(Sha256));

SHA256_CTX load(const std::array<unsigned char, 112>& bytes) {
  SHA256_CTX context;
  std::memcpy(&context, bytes.data(), sizeof context);
  return context;
}

// A hash that has absorbed exactly one block, from its eight words.
SHA256_CTX after_one_block(const uint64_t* words) {
  SHA256_CTX context{};
  SHA256_Init(&context);
  std::memcpy(context.h, words, sizeof context.h);
  context.Nl = kBlockBytes * 8;
  return context;
}

void absorb_block(const std::array<unsigned char, kBlockBytes>& key, unsigned char pad,
                  uint64_t* words) {
  std::array<unsigned char, kBlockBytes> block;
  for (size_t i = 0; i < kBlockBytes; ++i) block[i] = key[i] ^ pad;
  SHA256_CTX context;
  SHA256_Init(&context);
  SHA256_Update(&context, block.data(), block.size());
  std::memcpy(words, context.h, sizeof context.h);
  OPENSSL_cleanse(block.data(), block.size());
}

}  // namespace

Sha256::Sha256() {
  SHA256_CTX context;
  SHA256_Init(&context);
  std::memcpy(state_.data(), &context, sizeof context);
}

void Sha256::add(std::string_view bytes) {
  SHA256_Update(std::launder(reinterpret_cast<SHA256_CTX*>(state_.data())), bytes.data(),
                bytes.size());
}

Digest256 Sha256::finish() {
  Digest256 digest;
  SHA256_CTX context = load(state_);
  SHA256_Final(digest.data(), &context);
  return digest;
}

HmacKey::HmacKey(std::string_view key) {
  std::array<unsigned char, kBlockBytes> block{};
  if (key.size() > kBlockBytes) {
    const Digest256 shorter = sha256(key);
    std::copy(shorter.begin(), shorter.end(), block.begin());
  } else if (!key.empty()) {
    std::memcpy(block.data(), key.data(), key.size());
  }
  absorb_block(block, 0x36, states_.data());
  absorb_block(block, 0x5c, states_.data() + 4);
  OPENSSL_cleanse(block.data(), block.size());
}

HmacKey HmacKey::from_states(const States& states) {
  HmacKey key;
  key.states_ = states;
  return key;
}

void HmacKey::forget() { OPENSSL_cleanse(states_.data(), sizeof states_); }

Digest256 HmacKey::mac(std::string_view bytes) const {
  Hmac hmac(*this);
  hmac.add(bytes);
  return hmac.finish();
}

Hmac::Hmac(const HmacKey& key) {
  const SHA256_CTX context = after_one_block(key.states_.data());
  std::memcpy(inner_.state_.data(), &context, sizeof context);
  std::copy_n(key.states_.begin() + 4, 4, outer_.begin());
}

Digest256 Hmac::finish() {
  const Digest256 inner = inner_.finish();
  SHA256_CTX context = after_one_block(outer_.data());
  SHA256_Update(&context, inner.data(), inner.size());
  Digest256 tag;
  SHA256_Final(tag.data(), &context);
  return tag;
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
