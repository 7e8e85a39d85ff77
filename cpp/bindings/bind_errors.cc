#include "pybind.h"

namespace tenancy {
namespace {

PyObject* g_core_error = nullptr;  // owned by the module for the life of the process

}  // namespace

void raise_error(const Error& error) {
  py::tuple arguments = py::make_tuple(to_str(code_name(error.code)), error.message);
  PyErr_SetObject(g_core_error, arguments.ptr());
  throw py::error_already_set();
}

std::string_view utf8_view(PyObject* text) {
  Py_ssize_t size = 0;
  if (!PyUnicode_Check(text)) {
    PyErr_Format(PyExc_TypeError, "expected str, got %.100s", Py_TYPE(text)->tp_name);
    throw py::error_already_set();
  }
  const char* data = PyUnicode_AsUTF8AndSize(text, &size);
  if (data == nullptr) throw py::error_already_set();
  return {data, static_cast<size_t>(size)};
}

void bind_errors(py::module_& module) {
  g_core_error = PyErr_NewExceptionWithDoc("tenancy._core.CoreError",
                                           "An engine call failed: args are (code, message).",
                                           nullptr, nullptr);
  if (g_core_error == nullptr) throw py::error_already_set();
  module.add_object("CoreError", g_core_error);
}

}  // namespace tenancy
