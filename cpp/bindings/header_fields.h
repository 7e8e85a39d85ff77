// The response header fields that tell a caller what is left of a limit. This is the one place that
// knows their syntax; tenancy.headers is its face in Python, where the rules and their sources are
// written down.
//
// Thread safety: under the interpreter's lock.
#pragma once

#include "decision_types.h"

namespace tenancy {

// ASGI has pairs of bytes with names in lower case, WSGI has pairs of str.
enum class Protocol : uint8_t { kAsgi = 0, kWsgi = 1 };
constexpr size_t kProtocols = 2;

// One window as the fields show it. `name` is UTF-8 (lone surrogates may be in it) and must outlive
// the call.
struct ShownWindow {
  std::string_view name;
  uint64_t limit = 0;
  uint64_t remaining = 0;
  int64_t window_ns = 0;
  int64_t refill_ns = 0;  // see LimitPolicy::refill_ns
  int64_t reset_after_ns = 0;
  int64_t retry_after_ns = 0;  // kNever: waiting does not help
  bool allowed = true;
};
ShownWindow shown_window(const LimitEntry& entry);

// Reads any object with the attributes of tenancy.headers.Window. `keep` holds what the result
// points into.
ShownWindow shown_window(py::handle window, py::object* keep);

// A pair of a name and a value, both owned by the caller's side of the call: new reference.
py::object make_pair_of(PyObject* name, PyObject* value);
void append_to(PyObject* list, const py::object& item);

// Appends the five fields of a window to a list.
void append_window_fields(PyObject* list, const ShownWindow& window, int64_t now_wall_ns,
                          Protocol protocol);

void bind_header_fields(py::module_& module);

}  // namespace tenancy
