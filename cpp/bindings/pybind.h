// The one gateway to pybind11: every binding file includes this and nothing else of it.
#pragma once

#include <pybind11/pybind11.h>

#include <string>
#include <string_view>
#include <utility>

#include "tenancy/base/status.h"

namespace tenancy {

namespace py = pybind11;

// Raises tenancy._core.CoreError(code, message); the package turns it into its own tree.
[[noreturn]] void raise_error(const Error& error);

inline void ok_or_raise(const Status& status) {
  if (!status.ok()) raise_error(status.error());
}

template <class T>
T value_or_raise(Result<T> result) {
  if (!result.ok()) raise_error(result.error());
  return std::move(result).value();
}

// A str's UTF-8 without a copy; raises UnicodeEncodeError for lone surrogates, TypeError for
// anything else. The view lives as long as the object.
std::string_view utf8_view(PyObject* text);
inline std::string_view utf8_view(const py::handle& text) { return utf8_view(text.ptr()); }

inline py::str to_str(std::string_view text) { return {text.data(), text.size()}; }
inline py::bytes to_bytes(std::string_view data) { return {data.data(), data.size()}; }

// One per area, called by module.cc in this order.
void bind_errors(py::module_& module);
void bind_base(py::module_& module);
void bind_catalog(py::module_& module);
void bind_limits(py::module_& module);
void bind_log(py::module_& module);
void bind_log_reader(py::module_& module);
void bind_log_segments(py::module_& module);
void bind_log_verify(py::module_& module);
void bind_pricing(py::module_& module);
void bind_whatif(py::module_& module);
void bind_metering(py::module_& module);
void bind_engine(py::module_& module);
void bind_emitter(py::module_& module);
void bind_gate(py::module_& module);
void bind_web(py::module_& module);

}  // namespace tenancy
