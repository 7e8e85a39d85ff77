// Any bytes as an API key: recognised ones have the documented form, and nothing else happens.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tenancy/base/ids.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto public_id = tenancy::api_key_public_id(text);
  if (public_id.has_value()) {
    const bool right = size == 49 && text.starts_with("tk_") && *public_id == text.substr(0, 11);
    if (!right) std::abort();
    return 0;
  }
  // The fuzzer cannot find a checksum by chance: damage a real key at places of its choice instead.
  static const std::string made = tenancy::make_api_key().full;
  std::string key = made;
  for (size_t i = 0; i + 1 < size && i < 16; i += 2) {
    key[data[i] % key.size()] = static_cast<char>(data[i + 1]);
  }
  const auto damaged = tenancy::api_key_public_id(key);
  if (key == made && !damaged.has_value()) std::abort();
  if (damaged.has_value() && *damaged != std::string_view(key).substr(0, 11)) std::abort();
  return 0;
}
