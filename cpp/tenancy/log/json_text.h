// JSON texts in the form of RFC 8785: members ascending by name, no blanks, the shortest escapes.
// Internal.
//
// Numbers are written as integers up to 2^53 and as decimal strings beyond, because a reader of
// RFC 8785 has doubles only.
//
// Thread safety: plain values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>

namespace tenancy::log {

// `text` is UTF-8; with quotes.
std::string json_string(std::string_view text);
// Anything but printable ASCII replaced by '?': for names that nobody vouches for.
std::string printable(std::string_view bytes);

class JsonObject {
 public:
  void text(std::string_view name, std::string_view value) { raw(name, json_string(value)); }
  void number(std::string_view name, uint64_t value);
  void null(std::string_view name) { raw(name, "null"); }
  void raw(std::string_view name, std::string json) {
    members_[std::string(name)] = std::move(json);
  }
  std::string str() const;

 private:
  std::map<std::string, std::string> members_;  // names are ASCII: bytes order as UTF-16 does
};

}  // namespace tenancy::log
