// Hexadecimal texts of published vectors.
#pragma once

#include <algorithm>
#include <string>
#include <string_view>

#include "tenancy/base/crypto.h"

namespace tenancy::log {

inline std::string from_hex(std::string_view text) {
  const auto digit = [](char c) { return c <= '9' ? c - '0' : c - 'a' + 10; };
  std::string bytes;
  for (size_t i = 0; i + 1 < text.size(); i += 2) {
    bytes.push_back(static_cast<char>(digit(text[i]) * 16 + digit(text[i + 1])));
  }
  return bytes;
}

inline Digest256 digest_from_hex(std::string_view text) {
  Digest256 digest{};
  const std::string bytes = from_hex(text);
  std::copy_n(bytes.begin(), std::min(bytes.size(), digest.size()), digest.begin());
  return digest;
}

}  // namespace tenancy::log
