#include <openssl/evp.h>

#include <memory>

#include "tenancy/base/crypto.h"
#include "tenancy/base/openssl.h"

namespace tenancy {
namespace {

constexpr int kTagBytes = 16;

struct FreeContext {
  void operator()(EVP_CIPHER_CTX* context) const { EVP_CIPHER_CTX_free(context); }
};

// Fetched once: looking an algorithm up costs more than sealing a short text.
const EVP_CIPHER* algorithm() {
  static EVP_CIPHER* const cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  require(cipher != nullptr, "OpenSSL offers no AES-256-GCM");
  return cipher;
}

// The thread's context, which forgets its key when the operation is over.
class Operation {
 public:
  Operation() : context_(of_thread()) {}
  ~Operation() { EVP_CIPHER_CTX_reset(context_); }
  Operation(const Operation&) = delete;
  Operation& operator=(const Operation&) = delete;
  EVP_CIPHER_CTX* get() const { return context_; }

 private:
  static EVP_CIPHER_CTX* of_thread() {
    thread_local const std::unique_ptr<EVP_CIPHER_CTX, FreeContext> context(EVP_CIPHER_CTX_new());
    require(context != nullptr, "no memory for a cipher");
    return context.get();
  }

  EVP_CIPHER_CTX* context_;
};

}  // namespace

void aes256_gcm_seal(const AesKey& key, const GcmNonce& nonce, std::string_view additional,
                     std::string_view plain, std::string* out) {
  const Operation operation;
  EVP_CIPHER_CTX* const context = operation.get();
  const size_t before = out->size();
  out->resize(before + plain.size() + kTagBytes);
  auto* const at = reinterpret_cast<unsigned char*>(out->data() + before);
  int bytes = 0;
  require(
      EVP_EncryptInit_ex2(context, algorithm(), key.data(), nonce.data(), nullptr) == 1 &&
          EVP_EncryptUpdate(context, nullptr, &bytes, as_uchar(additional),
                            static_cast<int>(additional.size())) == 1 &&
          EVP_EncryptUpdate(context, at, &bytes, as_uchar(plain), static_cast<int>(plain.size())) ==
              1 &&
          EVP_EncryptFinal_ex(context, at + plain.size(), &bytes) == 1 &&
          EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, kTagBytes, at + plain.size()) == 1,
      "AES-GCM failed");
}

bool aes256_gcm_open(const AesKey& key, const GcmNonce& nonce, std::string_view additional,
                     std::string_view sealed, std::string* out) {
  if (sealed.size() < kTagBytes) return false;
  const std::string_view body = sealed.substr(0, sealed.size() - kTagBytes);
  std::array<unsigned char, kTagBytes> tag{};
  sealed.copy(reinterpret_cast<char*>(tag.data()), tag.size(), body.size());
  const Operation operation;
  EVP_CIPHER_CTX* const context = operation.get();
  const size_t before = out->size();
  out->resize(before + body.size());
  auto* const at = reinterpret_cast<unsigned char*>(out->data() + before);
  int bytes = 0;
  require(EVP_DecryptInit_ex2(context, algorithm(), key.data(), nonce.data(), nullptr) == 1 &&
              EVP_DecryptUpdate(context, nullptr, &bytes, as_uchar(additional),
                                static_cast<int>(additional.size())) == 1 &&
              EVP_DecryptUpdate(context, at, &bytes, as_uchar(body),
                                static_cast<int>(body.size())) == 1 &&
              EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, kTagBytes, tag.data()) == 1,
          "AES-GCM failed");
  std::array<unsigned char, kTagBytes> rest{};
  if (EVP_DecryptFinal_ex(context, rest.data(), &bytes) == 1) return true;
  cleanse({at, body.size()});
  out->resize(before);
  return false;
}

}  // namespace tenancy
