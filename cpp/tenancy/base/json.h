// Json: a small immutable view over a parsed JSON document, so that nlohmann/json stays in json.cc.
//
// Used for catalogs and overrides only, never per request. Integers keep 64 bits; a number with a
// fraction or exponent is kept as its text, because money and quotas never pass through double.
//
// Ownership: a value that shares its document. Thread safety: immutable, read from any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenancy/base/status.h"

namespace tenancy {

class Json {
 public:
  enum class Kind : uint8_t { kNull, kBool, kInteger, kDecimal, kString, kArray, kObject };

  // Strict RFC 8259: UTF-8, no duplicate keys (kInvalidArgument names the key), depth at most 64,
  // at most 16 MiB.
  static Result<Json> parse(std::string_view text);

  Json() = default;  // null
  Kind kind() const;
  bool is_null() const { return kind() == Kind::kNull; }
  bool is_object() const { return kind() == Kind::kObject; }
  bool is_array() const { return kind() == Kind::kArray; }
  bool is_string() const { return kind() == Kind::kString; }
  bool is_integer() const { return kind() == Kind::kInteger; }

  // Each getter requires the kind (asserted).
  bool as_bool() const;
  int64_t as_integer() const;                  // a value outside int64 parses as kDecimal
  const std::string& as_decimal_text() const;  // kDecimal: the digits as written
  const std::string& as_string() const;
  const std::vector<Json>& as_array() const;
  // Members in document order.
  const std::vector<std::pair<std::string, Json>>& as_object() const;

  // The member of that name, or null when absent or when this is not an object.
  const Json* find(std::string_view name) const;
  // The value as a message names it after "got ": `-5`, `"abc"`, `a list`, `a mapping`, `null`.
  // Long strings are cut; the text is always valid UTF-8.
  std::string describe() const;

 private:
  struct Node;
  explicit Json(std::shared_ptr<const Node> node) : node_(std::move(node)) {}
  std::shared_ptr<const Node> node_;
  friend struct JsonBuilder;
};

}  // namespace tenancy
