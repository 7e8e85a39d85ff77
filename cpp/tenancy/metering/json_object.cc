#include "tenancy/metering/json_object.h"

#include <cstddef>

namespace tenancy::metering {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

// Reads one value after the other; false where none begins or it is broken off.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  bool object(int depth) {
    return members('}', [&] { return string() && symbol(':') && value(depth); });
  }
  bool symbol(char wanted) {
    skip_space();
    return take(wanted);
  }
  bool at_end() {
    skip_space();
    return at_ == text_.size();
  }
  size_t position() const { return at_; }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(char wanted) {
    if (peek() != wanted || at_ == text_.size()) return false;
    ++at_;
    return true;
  }
  void skip_space() {
    while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
  }

  // What stands between the bracket that was read and the one that closes.
  template <class Member>
  bool members(char closing, Member member) {
    if (symbol(closing)) return true;
    do {
      skip_space();
      if (!member()) return false;
    } while (symbol(','));
    return symbol(closing);
  }

  bool value(int depth) {
    skip_space();
    switch (peek()) {
      case '"': return string();
      case 't': return word("true");
      case 'f': return word("false");
      case 'n': return word("null");
      case '{': ++at_; return depth < kJsonDepthMax && object(depth + 1);
      case '[':
        ++at_;
        return depth < kJsonDepthMax && members(']', [&] { return value(depth + 1); });
      default: return number();
    }
  }

  bool word(std::string_view wanted) {
    if (text_.substr(at_, wanted.size()) != wanted) return false;
    at_ += wanted.size();
    return true;
  }

  bool string() {
    if (!take('"')) return false;
    while (at_ < text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < ' ' || (c == '\\' && !escape())) return false;
    }
    return false;
  }

  bool escape() {
    if (take('u')) {
      for (int i = 0; i < 4; ++i, ++at_) {
        if (!is_hex(peek())) return false;
      }
      return true;
    }
    constexpr std::string_view kKnown = "\"\\/bfnrt";
    if (at_ == text_.size()) return false;
    return kKnown.find(text_[at_++]) != kKnown.npos;
  }

  bool digits() {
    if (!is_digit(peek())) return false;
    while (is_digit(peek())) ++at_;
    return true;
  }

  bool number() {
    take('-');
    if (!take('0') && !digits()) return false;
    if (take('.') && !digits()) return false;
    if (!take('e') && !take('E')) return true;
    if (!take('+')) take('-');
    return digits();
  }

  std::string_view text_;
  size_t at_ = 0;
};

}  // namespace

std::string json_object_fault(std::string_view text) {
  Scanner scanner(text);
  if (!scanner.symbol('{')) return "expected the JSON text of an object";
  if (scanner.object(1) && scanner.at_end()) return "";
  return "is no JSON object: something is wrong at byte " + std::to_string(scanner.position()) +
         ", or it nests deeper than " + std::to_string(kJsonDepthMax);
}

}  // namespace tenancy::metering
