// Looking through the headers of a request for the few that matter.
#include "request_types.h"

namespace tenancy {
namespace {

// The value under `name`, and those before it when the header is repeated.
bool keep(PyObject* found, PyObject* name, PyObject* value) {
  PyObject* before = PyDict_GetItemWithError(found, name);  // borrowed
  if (before == nullptr) {
    return PyErr_Occurred() == nullptr && PyDict_SetItem(found, name, value) == 0;
  }
  if (PyList_CheckExact(before)) return PyList_Append(before, value) == 0;
  PyObject* both = PyList_New(2);
  if (both == nullptr) return false;
  PyList_SET_ITEM(both, 0, Py_NewRef(before));
  PyList_SET_ITEM(both, 1, Py_NewRef(value));
  const bool kept = PyDict_SetItem(found, name, both) == 0;
  Py_DECREF(both);
  return kept;
}

bool look_at(PyObject* found, PyObject* header, PyObject* wanted) {
  PyObject* pair = PySequence_Fast(header, "a header is a pair of a name and a value");
  if (pair == nullptr) return false;
  bool well = PySequence_Fast_GET_SIZE(pair) == 2;
  if (!well) {
    PyErr_SetString(PyExc_ValueError, "a header is a pair of a name and a value");
  } else {
    PyObject* name = PySequence_Fast_GET_ITEM(pair, 0);
    const int is_wanted = PySet_Contains(wanted, name);
    well =
        is_wanted >= 0 && (is_wanted == 0 || keep(found, name, PySequence_Fast_GET_ITEM(pair, 1)));
  }
  Py_DECREF(pair);
  return well;
}

// scan_headers(headers, wanted)
PyObject* scan_headers(PyObject*, PyObject* const* args, Py_ssize_t count) {
  if (count != 2 || !PyAnySet_Check(args[1])) {
    PyErr_SetString(PyExc_TypeError, "scan_headers() takes headers and a set of names");
    return nullptr;
  }
  PyObject* headers = PySequence_Fast(args[0], "headers are a sequence of pairs");
  if (headers == nullptr) return nullptr;
  PyObject* found = PyDict_New();
  const Py_ssize_t size = PySequence_Fast_GET_SIZE(headers);
  for (Py_ssize_t i = 0; found != nullptr && i < size; ++i) {
    if (!look_at(found, PySequence_Fast_GET_ITEM(headers, i), args[1])) Py_CLEAR(found);
  }
  Py_DECREF(headers);
  return found;
}

PyMethodDef g_scan = {"scan_headers",
                      reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(scan_headers)),
                      METH_FASTCALL, "The wanted headers of a request."};

}  // namespace

void bind_header_scan(py::module_& module) {
  PyObject* function = PyCFunction_New(&g_scan, nullptr);
  if (function == nullptr) throw py::error_already_set();
  module.add_object("scan_headers", py::handle(function));
}

}  // namespace tenancy
