// Any bytes as JSON: a tree or a message, and both can be walked and shown.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tenancy/base/json.h"

namespace {

using tenancy::Json;

size_t walk(const Json& json, size_t depth) {
  if (depth > 64 || json.describe().empty()) std::abort();
  size_t count = 1;
  if (json.is_array()) {
    for (const Json& item : json.as_array()) count += walk(item, depth + 1);
  }
  if (json.is_object()) {
    for (const auto& [key, value] : json.as_object()) {
      if (json.find(key) != &value) std::abort();  // a duplicate key would give another member
      count += walk(value, depth + 1);
    }
  }
  return count;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto json = Json::parse({reinterpret_cast<const char*>(data), size});
  if (!json.ok()) {
    if (json.error().message.size() > 300) std::abort();
    return 0;
  }
  if (walk(*json, 0) > size + 1) std::abort();
  return 0;
}
