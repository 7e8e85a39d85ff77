#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/base/utf8.h"

using namespace tenancy;

namespace {

std::string encoded(uint32_t point) {
  std::string out;
  if (point < 0x80) {
    out += static_cast<char>(point);
  } else if (point < 0x800) {
    out += static_cast<char>(0xc0 | point >> 6);
    out += static_cast<char>(0x80 | (point & 63));
  } else if (point < 0x10000) {
    out += static_cast<char>(0xe0 | point >> 12);
    out += static_cast<char>(0x80 | (point >> 6 & 63));
    out += static_cast<char>(0x80 | (point & 63));
  } else {
    out += static_cast<char>(0xf0 | point >> 18);
    out += static_cast<char>(0x80 | (point >> 12 & 63));
    out += static_cast<char>(0x80 | (point >> 6 & 63));
    out += static_cast<char>(0x80 | (point & 63));
  }
  return out;
}

}  // namespace

TEST_CASE("every code point but surrogates is UTF-8, whole and only whole") {
  for (uint32_t point = 0; point <= 0x110fff; point += point < 0x11000 ? 1 : 13) {
    const std::string text = encoded(point);
    const bool surrogate = point >= 0xd800 && point <= 0xdfff;
    INFO(point);
    REQUIRE(is_utf8(text) == (!surrogate && point <= 0x10ffff));
    if (text.size() > 1) REQUIRE_FALSE(is_utf8(std::string_view(text).substr(0, text.size() - 1)));
  }
}

TEST_CASE("malformed bytes are not UTF-8, wherever they stand") {
  const std::vector<std::string> wrong = {
      "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x80\x80",
      "\xe0\x9f\xbf", "\xf0\x80\x80\x80", "\xf5\x80\x80\x80", "\xff",
      "\xc3(",        "\xe2\x82(",        "\xf0\x9f\x98("};
  for (const std::string& bytes : wrong) {
    for (size_t before = 0; before < 18; ++before) {
      REQUIRE_FALSE(is_utf8(std::string(before, 'a') + bytes + "aaaaaaaaaa"));
    }
  }
  for (size_t length = 1; length <= 20; ++length) {
    for (size_t at = 0; at < length; ++at) {
      std::string text(length, 'a');
      REQUIRE(is_utf8(text));
      text[at] = '\xff';
      REQUIRE_FALSE(is_utf8(text));
    }
  }
  REQUIRE(is_utf8(""));
  REQUIRE(is_utf8(std::string("a\0b", 3)));
}
