#include "tenancy/base/json.h"

#include <cassert>
#include <cstddef>
#include <iterator>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_map>
#include <unordered_set>
#include <variant>

namespace tenancy {

using Members = std::vector<std::pair<std::string, Json>>;

struct Json::Node {
  struct Decimal {
    std::string text;
  };
  struct Object {
    Members members;
    std::unordered_map<std::string_view, size_t> index;  // only above kIndexedAbove members
  };
  static constexpr size_t kIndexedAbove = 16;

  std::variant<std::nullptr_t, bool, int64_t, Decimal, std::string, std::vector<Json>, Object>
      value;
};

// Gives the builder below, which lives in no header, the right to make Json values.
struct JsonBuilder {
  template <class T>
  static Json make(T&& value) {
    auto node = std::make_shared<Json::Node>();
    node->value = std::forward<T>(value);
    return Json(std::move(node));
  }

  static Json make_decimal(std::string text) { return make(Json::Node::Decimal{std::move(text)}); }

  static Json make_object(Members members) {
    auto node = std::make_shared<Json::Node>();
    Json::Node::Object& object = node->value.emplace<Json::Node::Object>();
    object.members = std::move(members);
    if (object.members.size() > Json::Node::kIndexedAbove) {
      for (size_t i = 0; i < object.members.size(); ++i) {
        object.index.emplace(object.members[i].first, i);
      }
    }
    return Json(std::move(node));
  }
};

namespace {

constexpr size_t kDepthMax = 64;
constexpr size_t kTextBytesMax = size_t{16} << 20;
constexpr size_t kShownCharsMax = 60;

// `text` cut to a length a message can bear, and without bytes that a terminal or Python would trip
// on.
std::string shown(std::string_view text) {
  std::string safe;
  const bool cut = text.size() > kShownCharsMax;
  for (const char c : text.substr(0, kShownCharsMax)) safe += c >= ' ' && c <= '~' ? c : '?';
  return cut ? safe + "…" : safe;
}

std::string shown_string(std::string_view text) { return '"' + shown(text) + '"'; }

// An input iterator that tells how far the parser has read, because its callbacks do not.
class Cursor {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  Cursor(const char* at, const char** read_to) : at_(at), read_to_(read_to) {}
  reference operator*() const { return *at_; }
  Cursor& operator++() {
    ++at_;
    *read_to_ = at_;
    return *this;
  }
  Cursor operator++(int) {
    Cursor old = *this;
    ++*this;
    return old;
  }
  bool operator==(const Cursor& other) const { return at_ == other.at_; }

 private:
  const char* at_;
  const char** read_to_;
};

// Builds the tree from the parser's events and remembers the first thing that is wrong.
class Handler {
 public:
  using json = nlohmann::json;

  explicit Handler(std::string_view text) : text_(text), read_to_(text.data()) {}

  const char** read_to() { return &read_to_; }
  const std::optional<std::string>& error() const { return error_; }
  Json take_root() { return std::move(root_); }

  bool null() { return put(Json()); }
  bool boolean(bool value) { return put(JsonBuilder::make(value)); }
  bool number_integer(int64_t value) { return put(JsonBuilder::make(value)); }
  bool number_unsigned(uint64_t value) {
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
      return put(JsonBuilder::make_decimal(std::to_string(value)));
    }
    return put(JsonBuilder::make(static_cast<int64_t>(value)));
  }
  bool number_float(double, const std::string& digits) {
    std::string text = digits;
    for (char& c : text) {
      // The lexer writes the process's locale into its copy: "1,5" under a German one.
      const bool plain = (c >= '0' && c <= '9') || c == '-' || c == '+' || c == 'e' || c == 'E';
      if (!plain) c = '.';
    }
    return put(JsonBuilder::make_decimal(std::move(text)));
  }
  bool string(std::string& value) { return put(JsonBuilder::make(std::move(value))); }
  bool binary(json::binary_t&) { return refuse("binary values are not JSON"); }

  bool start_object(size_t) { return open(true); }
  bool start_array(size_t) { return open(false); }
  bool key(std::string& name) {
    Frame& frame = frames_.back();
    if (!frame.names.insert(name).second) return refuse("duplicate key " + shown_string(name));
    frame.key = std::move(name);
    return true;
  }
  bool end_object() {
    Json object = JsonBuilder::make_object(std::move(frames_.back().members));
    frames_.pop_back();
    return put(std::move(object));
  }
  bool end_array() {
    Json array = JsonBuilder::make(std::move(frames_.back().items));
    frames_.pop_back();
    return put(std::move(array));
  }

  // For what the parser does not look at.
  std::string refuse_at(size_t position, const std::string& what) {
    read_to_ = text_.data() + position + 1;
    refuse(what);
    return *error_;
  }

  bool parse_error(size_t, const std::string&, const json::exception& failure) {
    // "[json.exception…] parse error at line 1, column 2: syntax error while … - what; last read:
    // …" Only `what` is kept: the place is told our way, and the rest may quote megabytes or broken
    // UTF-8.
    std::string_view what = failure.what();
    if (const size_t at = what.find("] "); at != what.npos) what.remove_prefix(at + 2);
    if (const size_t at = what.find(" - "); at != what.npos) what.remove_prefix(at + 3);
    what = what.substr(0, what.find("; last read"));
    return refuse(shown(what));
  }

 private:
  struct Frame {
    bool is_object;
    std::string key;
    Members members;
    std::unordered_set<std::string> names;
    std::vector<Json> items;
  };

  bool open(bool is_object) {
    if (frames_.size() == kDepthMax) {
      return refuse("nested more than " + std::to_string(kDepthMax) + " levels deep");
    }
    frames_.push_back({is_object, {}, {}, {}, {}});
    return true;
  }

  bool put(Json value) {
    if (frames_.empty()) {
      root_ = std::move(value);
    } else if (Frame& frame = frames_.back(); frame.is_object) {
      frame.members.emplace_back(std::move(frame.key), std::move(value));
    } else {
      frame.items.push_back(std::move(value));
    }
    return true;
  }

  bool refuse(const std::string& what) {
    if (error_) return false;
    size_t line = 1;
    size_t column = 1;
    for (const char* at = text_.data(); at + 1 < read_to_; ++at) {
      ++column;
      if (*at == '\n') {
        ++line;
        column = 1;
      }
    }
    error_ =
        "JSON, line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + what;
    return false;
  }

  std::string_view text_;
  const char* read_to_;
  std::vector<Frame> frames_;
  Json root_;
  std::optional<std::string> error_;
};

}  // namespace

Result<Json> Json::parse(std::string_view text) {
  if (text.size() > kTextBytesMax) {
    return Error{Code::kInvalidArgument, "JSON: " + std::to_string(text.size()) +
                                             " bytes, expected at most " +
                                             std::to_string(kTextBytesMax)};
  }
  Handler handler(text);
  // The library takes a NUL between values for the end of the text and would ignore what follows.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    return Error{Code::kInvalidArgument, handler.refuse_at(nul, "a NUL byte")};
  }
  const Cursor begin(text.data(), handler.read_to());
  const Cursor end(text.data() + text.size(), handler.read_to());
  if (!nlohmann::json::sax_parse(begin, end, &handler)) {
    return Error{Code::kInvalidArgument, handler.error().value_or("JSON: not a document")};
  }
  return handler.take_root();
}

Json::Kind Json::kind() const {
  static_assert(static_cast<size_t>(Kind::kObject) == 6, "kinds follow the variant's order");
  return node_ == nullptr ? Kind::kNull : static_cast<Kind>(node_->value.index());
}

bool Json::as_bool() const {
  assert(kind() == Kind::kBool);
  return std::get<bool>(node_->value);
}

int64_t Json::as_integer() const {
  assert(kind() == Kind::kInteger);
  return std::get<int64_t>(node_->value);
}

const std::string& Json::as_decimal_text() const {
  assert(kind() == Kind::kDecimal);
  return std::get<Node::Decimal>(node_->value).text;
}

const std::string& Json::as_string() const {
  assert(kind() == Kind::kString);
  return std::get<std::string>(node_->value);
}

const std::vector<Json>& Json::as_array() const {
  assert(kind() == Kind::kArray);
  return std::get<std::vector<Json>>(node_->value);
}

const Members& Json::as_object() const {
  assert(kind() == Kind::kObject);
  return std::get<Node::Object>(node_->value).members;
}

const Json* Json::find(std::string_view name) const {
  if (!is_object()) return nullptr;
  const Node::Object& object = std::get<Node::Object>(node_->value);
  if (!object.index.empty()) {
    const auto found = object.index.find(name);
    return found == object.index.end() ? nullptr : &object.members[found->second].second;
  }
  for (const auto& [key, value] : object.members) {
    if (key == name) return &value;
  }
  return nullptr;
}

std::string Json::describe() const {
  switch (kind()) {
    case Kind::kNull: return "null";
    case Kind::kBool: return as_bool() ? "true" : "false";
    case Kind::kInteger: return std::to_string(as_integer());
    case Kind::kDecimal: return shown(as_decimal_text());
    case Kind::kString: return shown_string(as_string());
    case Kind::kArray: return "a list";
    case Kind::kObject: return "a mapping";
  }
  return "null";
}

}  // namespace tenancy
