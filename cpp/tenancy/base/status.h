// Status and Result: how the engine says that something expected went wrong.
//
// The engine throws nothing across its interfaces. A call that can fail returns Status (no value)
// or Result<T>; the caller looks before it takes. An Error says what was expected, what came,
// where, and how to mend it, because its text reaches people unchanged.
//
// Thread safety: plain values.
#pragma once

#include <cassert>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace tenancy {

enum class Code : uint8_t {
  kInvalidArgument = 1,  // the caller's value can never be right
  kNotFound,
  kAlreadyExists,
  kOutOfRange,   // an arithmetic or configured bound was passed
  kFull,         // a table region or a disk has no room left
  kDamaged,      // a file of ours whose content contradicts itself
  kForeign,      // a file that is not ours
  kVersion,      // a file of another major version
  kPermission,   // the operating system refused: owner, mode, read-only
  kUnsupported,  // this platform, file system or option cannot do it
  kIo,           // the operating system failed: see the text for errno
  kConflict,     // true in itself, but not together with what is there
};

// The code's name as it appears in messages and in Python: "INVALID_ARGUMENT".
std::string_view code_name(Code code);

struct Error {
  Code code;
  std::string message;
};

class [[nodiscard]] Status {
 public:
  Status() = default;
  Status(Code code, std::string message) : error_(Error{code, std::move(message)}) {}
  Status(Error error) : error_(std::move(error)) {}  // NOLINT(google-explicit-constructor)

  static Status ok_status() { return {}; }
  bool ok() const { return !error_.has_value(); }
  explicit operator bool() const { return ok(); }
  const Error& error() const {
    assert(error_);
    return *error_;
  }

 private:
  std::optional<Error> error_;
};

template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::move(value)) {}             // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::move(error)) {}         // NOLINT(google-explicit-constructor)
  Result(const Status& status) : state_(status.error()) {}  // NOLINT(google-explicit-constructor)
  Result(Code code, std::string message) : state_(Error{code, std::move(message)}) {}

  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() & {
    assert(ok());
    return std::get<0>(state_);
  }
  const T& value() const& {
    assert(ok());
    return std::get<0>(state_);
  }
  T&& value() && {
    assert(ok());
    return std::get<0>(std::move(state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  const Error& error() const {
    assert(!ok());
    return std::get<1>(state_);
  }
  Status status() const { return ok() ? Status() : Status(error()); }

 private:
  std::variant<T, Error> state_;
};

}  // namespace tenancy
