// A fact as most are, from the arguments of a call: what the compiled `emit` takes by itself.
//
// Ownership: the fields point into the arguments, which the caller holds, and into the fact itself:
// it is not moved.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "pybind.h"
#include "tenancy/log/record.h"

namespace tenancy {

// Of the texts that are taken; longer ones may be right, too.
constexpr size_t kPlainTextMax = 64;

enum FactArgument : uint8_t {
  kType,
  kTenant,
  kAction,
  kResource,
  kResult,
  kContext,
  kPrincipal,
  kResourceId,
  kAck,
  kSubject,
};
constexpr size_t kFactArguments = 10;
using FactArguments = std::array<PyObject*, kFactArguments>;  // null: not given, or None

// Printable ASCII with something to read in it: no rule of texts but that of length forbids it.
bool read_plain(PyObject* value, size_t most, std::string_view* out);

// The fields of a fact, ascending, with room for what no Python object holds.
class PlainFact {
 public:
  PlainFact() = default;
  PlainFact(const PlainFact&) = delete;
  PlainFact& operator=(const PlainFact&) = delete;

  // False where an argument is not as most are. `type` is the fact's, which is right; `time_ns`
  // goes into its id.
  bool fill(const FactArguments& given, std::string_view type, uint64_t revision, int64_t time_ns);
  std::span<const log::Field> fields() const { return {fields_.data(), count_}; }
  std::string_view id_bytes() const {
    return {reinterpret_cast<const char*>(event_id_.data()), event_id_.size()};
  }

 private:
  void add(log::FieldId id, log::Value value);
  void add_text(log::FieldId id, std::string_view text) { add(id, log::Value::text(text)); }
  bool add_optional(log::FieldId id, PyObject* value);
  bool add_result(PyObject* value);
  bool add_context(PyObject* context);

  std::array<log::Field, 13> fields_;
  size_t count_ = 0;
  std::array<uint8_t, 16> event_id_{};
  std::string context_;
};

}  // namespace tenancy
