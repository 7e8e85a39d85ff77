// Field: one value of a document together with its path, and the list into which what is wrong with
// it goes.
//
// Reading goes on after an error, so that one pass finds all of them; a reader that returns nothing
// has already said why.
//
// Ownership: borrows the document and the list. Thread safety: one thread.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tenancy/base/json.h"
#include "tenancy/catalog/catalog.h"

namespace tenancy {

// Collects errors up to a bound; the last entry then tells how many more there were.
class ErrorList {
 public:
  static constexpr size_t kErrorsMax = 100;

  void add(std::string path, std::string message);
  bool empty() const { return errors_.empty(); }
  bool full() const { return errors_.size() >= kErrorsMax; }  // more are only counted
  // Appends what was collected to `out` (null: drops it).
  void move_to(std::vector<CatalogError>* out);

 private:
  std::vector<CatalogError> errors_;
  size_t dropped_ = 0;
};

class Field {
 public:
  // `json` may be null: an absent value.
  Field(const Json* json, std::string path, ErrorList* errors)
      : json_(json), path_(std::move(path)), errors_(errors) {}

  bool present() const { return json_ != nullptr; }
  const Json& json() const { return *json_; }
  const std::string& path() const { return path_; }
  Json::Kind kind() const { return json_->kind(); }

  Field member(std::string_view name) const;  // absent when this has no such member
  Field element(size_t index) const;
  // Members in document order, with their names.
  std::vector<std::pair<std::string, Field>> members() const;

  void error(std::string message) const;
  // "expected <what>, got <this value>"
  void expected(std::string_view what) const;
  // "unknown <what> "<name>"", with the nearest of the known names, or all of them when they are
  // few.
  void unknown(std::string_view what, std::string_view name,
               const std::vector<std::string_view>& known) const;

  // All of these report and return nothing (or false) when the value is of another kind.
  bool is_mapping() const;
  // A mapping that has no keys but these.
  bool is_mapping_of(std::initializer_list<std::string_view> known) const;
  // A mapping of at most so many members.
  bool is_mapping_within(size_t members_max) const;
  bool is_list() const;
  std::optional<bool> boolean() const;
  std::optional<std::string> text(std::string_view what) const;
  std::optional<std::string> name() const;
  std::optional<int64_t> integer(int64_t lowest, int64_t highest) const;
  // A list of distinct texts, each accepted by `accept`; `what` says what that is.
  std::vector<std::string> texts(bool (*accept)(std::string_view), std::string_view what) const;
  // One of `choices`, by position.
  std::optional<size_t> choice(std::initializer_list<std::string_view> choices) const;
  // The version of a document, a text or a number; "1" where the value is absent.
  std::string version() const;

  // The digits of a number as the document writes them, or a text as it is; else empty, and nothing
  // is reported.
  std::string digits() const;

 private:
  const Json* json_;
  std::string path_;
  ErrorList* errors_;
};

// "path.name"; the name alone at the top.
std::string member_path(std::string_view path, std::string_view name);

}  // namespace tenancy
