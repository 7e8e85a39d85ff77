#include <openssl/evp.h>

#include <memory>

#include "tenancy/base/crypto.h"
#include "tenancy/base/openssl.h"

namespace tenancy {
namespace {

using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using Context = std::unique_ptr<EVP_MD_CTX, Freed<EVP_MD_CTX_free>>;

Key private_key(const Ed25519Seed& seed) {
  Key key(EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nullptr, seed.data(), seed.size()));
  require(key != nullptr, "OpenSSL offers no Ed25519");
  return key;
}

}  // namespace

Ed25519Public ed25519_public(const Ed25519Seed& seed) {
  Ed25519Public out{};
  size_t bytes = out.size();
  require(EVP_PKEY_get_raw_public_key(private_key(seed).get(), out.data(), &bytes) == 1 &&
              bytes == out.size(),
          "Ed25519: no public key");
  return out;
}

Ed25519Signature ed25519_sign(const Ed25519Seed& seed, std::string_view message) {
  const Key key = private_key(seed);
  const Context context(EVP_MD_CTX_new());
  Ed25519Signature signature{};
  size_t bytes = signature.size();
  require(context != nullptr &&
              EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
              EVP_DigestSign(context.get(), signature.data(), &bytes, as_uchar(message),
                             message.size()) == 1 &&
              bytes == signature.size(),
          "Ed25519: signing failed");
  return signature;
}

bool ed25519_verify(const Ed25519Public& public_key, std::string_view message,
                    const Ed25519Signature& signature) {
  const Key key(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nullptr, public_key.data(), public_key.size()));
  const Context context(EVP_MD_CTX_new());
  return key != nullptr && context != nullptr &&
         EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, key.get()) == 1 &&
         EVP_DigestVerify(context.get(), signature.data(), signature.size(), as_uchar(message),
                          message.size()) == 1;
}

}  // namespace tenancy
