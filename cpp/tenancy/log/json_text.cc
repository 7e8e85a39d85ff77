#include "tenancy/log/json_text.h"

namespace tenancy::log {
namespace {

constexpr uint64_t kExactMax = uint64_t{1} << 53;

}  // namespace

std::string json_string(std::string_view text) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out += "\\u00";
          out += kDigits[c >> 4];
          out += kDigits[c & 15];
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

std::string printable(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) out += c >= ' ' && c <= '~' ? c : '?';
  return out;
}

void JsonObject::number(std::string_view name, uint64_t value) {
  const std::string digits = std::to_string(value);
  raw(name, value <= kExactMax ? digits : json_string(digits));
}

std::string JsonObject::str() const {
  std::string out = "{";
  for (const auto& [name, json] : members_) {
    if (out.size() > 1) out += ',';
    out += json_string(name) + ":" + json;
  }
  return out + "}";
}

}  // namespace tenancy::log
