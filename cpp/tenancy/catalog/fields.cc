#include "tenancy/catalog/fields.h"

#include <algorithm>
#include <iterator>
#include <unordered_set>

#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

// "a", "b" or "c"
std::string alternatives(const std::vector<std::string_view>& names) {
  std::string result;
  for (size_t i = 0; i < names.size(); ++i) {
    if (i > 0) result += i + 1 == names.size() ? " or " : ", ";
    result += in_quotes(names[i]);
  }
  return result;
}

}  // namespace

void ErrorList::add(std::string path, std::string message) {
  if (full()) {
    ++dropped_;
    return;
  }
  errors_.push_back({std::move(path), std::move(message)});
}

void ErrorList::move_to(std::vector<CatalogError>* out) {
  if (out == nullptr) return;
  if (dropped_ > 0) {
    errors_.push_back({"", std::to_string(dropped_) + " more errors are not shown"});
  }
  std::ranges::move(errors_, std::back_inserter(*out));
  errors_.clear();
  dropped_ = 0;
}

std::string member_path(std::string_view path, std::string_view name) {
  std::string result(path);
  if (!result.empty()) result += '.';
  result += name;
  return result;
}

Field Field::member(std::string_view name) const {
  return {json_->find(name), member_path(path_, name), errors_};
}

Field Field::element(size_t index) const {
  return {&json_->as_array()[index], path_ + "[" + std::to_string(index) + "]", errors_};
}

std::vector<std::pair<std::string, Field>> Field::members() const {
  std::vector<std::pair<std::string, Field>> result;
  for (const auto& [name, value] : json_->as_object()) {
    result.emplace_back(name, Field(&value, member_path(path_, name), errors_));
  }
  return result;
}

void Field::error(std::string message) const { errors_->add(path_, std::move(message)); }

void Field::expected(std::string_view what) const {
  if (errors_->full()) return errors_->add({}, {});
  std::string message = "expected ";
  message += what;
  if (kind() == Json::Kind::kNull) {
    message += ", got nothing";
  } else {
    message += ", got ";
    message += kind() == Json::Kind::kString ? in_quotes(json_->as_string()) : json_->describe();
  }
  error(std::move(message));
}

void Field::unknown(std::string_view what, std::string_view name,
                    const std::vector<std::string_view>& known) const {
  constexpr size_t kListedMax = 16;
  if (errors_->full()) return errors_->add({}, {});  // looking for the nearest of many names costs
  std::string message = "unknown " + std::string(what) + " " + in_quotes(name);
  const std::string_view near = nearest_name(name, known);
  if (!near.empty()) {
    message += "; did you mean " + in_quotes(near) + "?";
  } else if (known.empty()) {
    message += "; none is defined";
  } else if (known.size() <= kListedMax) {
    message += "; expected " + alternatives(known);
  }
  error(std::move(message));
}

bool Field::is_mapping() const {
  if (json_->is_object()) return true;
  expected("a mapping");
  return false;
}

bool Field::is_mapping_of(std::initializer_list<std::string_view> known) const {
  if (!is_mapping()) return false;
  const std::vector<std::string_view> names(known);
  for (const auto& [name, value] : members()) {
    if (std::ranges::find(names, std::string_view(name)) == names.end()) {
      value.unknown("key", name, names);
    }
  }
  return true;
}

bool Field::is_mapping_within(size_t members_max) const {
  if (!is_mapping()) return false;
  const size_t count = json_->as_object().size();
  if (count <= members_max) return true;
  error("expected at most " + std::to_string(members_max) + " members, got " +
        std::to_string(count));
  return false;
}

bool Field::is_list() const {
  if (json_->is_array()) return true;
  expected("a list");
  return false;
}

std::optional<bool> Field::boolean() const {
  if (kind() == Json::Kind::kBool) return json_->as_bool();
  expected("true or false");
  return std::nullopt;
}

std::optional<std::string> Field::text(std::string_view what) const {
  constexpr size_t kTextBytesMax = 1000;
  if (!json_->is_string() || json_->as_string().empty()) {
    expected(what);
    return std::nullopt;
  }
  if (json_->as_string().size() > kTextBytesMax) {
    error("expected at most 1000 bytes of text, got " + std::to_string(json_->as_string().size()));
    return std::nullopt;
  }
  return json_->as_string();
}

std::optional<std::string> Field::name() const {
  if (json_->is_string() && is_name(json_->as_string())) return json_->as_string();
  expected(kNameRule);
  return std::nullopt;
}

std::optional<int64_t> Field::integer(int64_t lowest, int64_t highest) const {
  if (json_->is_integer() && json_->as_integer() >= lowest && json_->as_integer() <= highest) {
    return json_->as_integer();
  }
  expected("a whole number from " + std::to_string(lowest) + " to " + std::to_string(highest));
  return std::nullopt;
}

std::vector<std::string> Field::texts(bool (*accept)(std::string_view),
                                      std::string_view what) const {
  std::vector<std::string> result;
  std::unordered_set<std::string_view> seen;
  if (!is_list()) return result;
  for (size_t i = 0; i < json_->as_array().size(); ++i) {
    const Field item = element(i);
    if (!item.json().is_string() || !accept(item.json().as_string())) {
      item.expected(what);
    } else if (!seen.insert(item.json().as_string()).second) {
      item.error(in_quotes(item.json().as_string()) + " is listed twice; remove one");
    } else {
      result.push_back(item.json().as_string());
    }
  }
  return result;
}

std::optional<size_t> Field::choice(std::initializer_list<std::string_view> choices) const {
  const std::vector<std::string_view> names(choices);
  if (json_->is_string()) {
    const auto found = std::ranges::find(names, std::string_view(json_->as_string()));
    if (found != names.end()) return static_cast<size_t>(found - names.begin());
  }
  expected(alternatives(names));
  return std::nullopt;
}

std::string Field::version() const {
  if (!present()) return "1";
  if (!json_->is_string()) {
    if (std::string number = digits(); !number.empty()) return number;
  }
  return text("a version such as \"1\"").value_or("");
}

std::string Field::digits() const {
  if (json_->is_integer()) return std::to_string(json_->as_integer());
  if (kind() == Json::Kind::kDecimal) return json_->as_decimal_text();
  return json_->is_string() ? json_->as_string() : std::string();
}

}  // namespace tenancy
