#include <clocale>
#include <limits>

#include "catch.h"
#include "tenancy/base/json.h"

using tenancy::Code;
using tenancy::Json;

namespace {

Json must_parse(std::string_view text) {
  auto json = Json::parse(text);
  INFO((json.ok() ? std::string() : json.error().message));
  REQUIRE(json.ok());
  return *json;
}

std::string refusal(std::string_view text) {
  const auto json = Json::parse(text);
  REQUIRE_FALSE(json.ok());
  CHECK(json.error().code == Code::kInvalidArgument);
  return json.error().message;
}

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("every kind of value is kept as written") {
  const Json json = must_parse(
      R"({"n": null, "t": true, "i": -5, "d": 0.10, "e": 1E3, "s": "gr\u00fcn", "a": [1, "x", []], "o": {}})");
  REQUIRE(json.is_object());
  CHECK(json.find("n")->is_null());
  CHECK(json.find("t")->as_bool());
  CHECK(json.find("i")->as_integer() == -5);
  CHECK(json.find("d")->as_decimal_text() == "0.10");
  CHECK(json.find("e")->as_decimal_text() == "1E3");
  CHECK(json.find("s")->as_string() == "gr\xc3\xbcn");
  REQUIRE(json.find("a")->as_array().size() == 3);
  CHECK(json.find("a")->as_array()[2].as_array().empty());
  CHECK(json.find("o")->as_object().empty());
  CHECK(json.find("missing") == nullptr);
  CHECK(json.find("a")->find("x") == nullptr);
}

TEST_CASE("integers keep 64 bits and larger ones their digits") {
  CHECK(must_parse("9223372036854775807").as_integer() == std::numeric_limits<int64_t>::max());
  CHECK(must_parse("-9223372036854775808").as_integer() == std::numeric_limits<int64_t>::min());
  CHECK(must_parse("9007199254740993").as_integer() == 9007199254740993);
  CHECK(must_parse("9223372036854775808").as_decimal_text() == "9223372036854775808");
  CHECK(must_parse("-9223372036854775809").as_decimal_text() == "-9223372036854775809");
  CHECK(must_parse("123456789012345678901234567890").as_decimal_text() ==
        "123456789012345678901234567890");
  CHECK(must_parse("0.1000000000000000055511151231257827").as_decimal_text() ==
        "0.1000000000000000055511151231257827");
}

TEST_CASE("members keep the document's order and are found among many") {
  std::string text = "{";
  for (int i = 0; i < 500; ++i) {
    text += (i == 0 ? "" : ",") + ("\"key" + std::to_string(499 - i)) + "\":" + std::to_string(i);
  }
  const Json json = must_parse(text + "}");
  CHECK(json.as_object().front().first == "key499");
  CHECK(json.as_object().back().first == "key0");
  for (int i = 0; i < 500; ++i) {
    REQUIRE(json.find("key" + std::to_string(499 - i))->as_integer() == i);
  }
  CHECK(json.find("key500") == nullptr);
}

TEST_CASE("a copy shares its document and outlives it") {
  Json inner;
  {
    const Json outer = must_parse(R"({"plans": {"starter": [1, 2, 3]}})");
    inner = *outer.find("plans");
    CHECK(&inner.as_object() == &outer.find("plans")->as_object());
  }
  CHECK(inner.find("starter")->as_array().size() == 3);
  CHECK(Json().is_null());
}

TEST_CASE("a duplicate key is refused with its name and place") {
  const std::string message = refusal("{\n  \"a\": 1,\n  \"b\": {\"a\": 1},\n  \"a\": 2\n}");
  CHECK(contains(message, "duplicate key \"a\""));
  CHECK(contains(message, "line 4, column 5"));
  must_parse(R"([{"a": 1}, {"a": 2}])");
  // Equal once the escape is read.
  CHECK(contains(refusal(R"({"a": 1, "\u0061": 2})"), "duplicate key"));
}

TEST_CASE("nesting ends at 64 levels") {
  must_parse(std::string(64, '[') + std::string(64, ']'));
  const std::string message = refusal(std::string(65, '[') + std::string(65, ']'));
  CHECK(contains(message, "64 levels"));
  CHECK(contains(message, "column 65"));
  CHECK(contains(refusal(std::string(1 << 20, '[')), "64 levels"));
}

TEST_CASE("a document above 16 MiB is refused") {
  const std::string most(size_t{16} << 20, ' ');
  CHECK(contains(refusal(most), "line 1"));  // read, and found to be empty
  CHECK(contains(refusal(most + " "), "16777217 bytes, expected at most 16777216"));
}

TEST_CASE("what RFC 8259 does not allow is refused with line and column") {
  const char* const bad[] = {"",       " ",           "{",       "[1,]",   "{\"a\":1,}",
                             "nul",    "01",          "1.",      ".5",     "+1",
                             "NaN",    "Infinity",    "'a'",     "\"a",    "\"\\x41\"",
                             "\"\t\"", "[1] [2]",     "// c\n1", "{a: 1}", "{1: 1}",
                             "[1 2]",  "\"\\ud800\"", "1e999",   "--1"};
  for (const char* text : bad) {
    INFO(text);
    const std::string message = refusal(text);
    CHECK(contains(message, "JSON, line "));
    CHECK(contains(message, ", column "));
  }
  CHECK(contains(refusal("{\n\"a\": 1\n\"b\": 2}"), "line 3, column 3"));
}

TEST_CASE("bytes that are not UTF-8 are refused, and messages stay readable") {
  const std::string_view bad[] = {
      "\"\xff\"",     "\"\xc0\xaf\"", "\"\xed\xa0\x80\"", "\"\xf5\x80\x80\x80\"",
      "\"\xe2\x82\"", "\xff\xfe",     "{\"\xff\": 1}"};
  for (const std::string_view text : bad) {
    const std::string message = refusal(text);
    for (const char c : message) CHECK(static_cast<unsigned char>(c) < 0x80);
  }
  CHECK(must_parse("\"\xf0\x9f\x98\x80\"").as_string() == "\xf0\x9f\x98\x80");
  CHECK(refusal("\"" + std::string(1 << 20, 'a')).size() < 200);
}

TEST_CASE("a NUL inside a string is a character like others") {
  CHECK(must_parse("\"a\\u0000b\"").as_string() == std::string("a\0b", 3));
  CHECK(contains(refusal(std::string_view("1\0", 2)), "column 2: a NUL byte"));
  CHECK(contains(refusal(std::string_view("{}\n\0 {", 6)), "line 2, column 1: a NUL byte"));
  refusal(std::string_view("\"a\0b\"", 5));
}

TEST_CASE("values describe themselves in messages") {
  CHECK(must_parse("-5").describe() == "-5");
  CHECK(must_parse("1.50").describe() == "1.50");
  CHECK(must_parse("[]").describe() == "a list");
  CHECK(must_parse("{}").describe() == "a mapping");
  CHECK(must_parse("\"abc\"").describe() == "\"abc\"");
  CHECK(must_parse("null").describe() == "null");
  CHECK(must_parse("false").describe() == "false");
  CHECK(Json().describe() == "null");
  CHECK(must_parse('"' + std::string(10'000, 'x') + '"').describe().size() < 100);
}

TEST_CASE("decimals do not depend on the locale of the process") {
  const char* const german = std::setlocale(LC_NUMERIC, "de_DE.UTF-8");
  const Json json = must_parse("[1.5, -2.25e-3]");
  if (german != nullptr) std::setlocale(LC_NUMERIC, "C");
  CHECK(json.as_array()[0].as_decimal_text() == "1.5");
  CHECK(json.as_array()[1].as_decimal_text() == "-2.25e-3");
}
