// Log.append as a function of Python's own calling convention: it is called for every fact, and
// pybind11's dispatcher would make a str for each name of an argument and look it up in a dict.
#include <algorithm>
#include <array>
#include <new>
#include <string>

#include "log_fields.h"
#include "pybind.h"
#include "tenancy/log/log.h"

namespace tenancy {
namespace {

PyTypeObject* g_log_type = nullptr;  // lives as long as the module

// In the order in which a call may give them: the first two also by position.
constexpr std::array<const char*, 7> kNames = {"chain", "fields",  "tenant", "time_ns",
                                               "ack",   "subject", "sealed"};
constexpr size_t kPositional = 2;
std::array<PyObject*, kNames.size()> g_names{};  // interned, as those of calls are

struct Arguments {
  std::array<PyObject*, kNames.size()> values{};  // null: not given

  PyObject* chain() const { return values[0]; }
  PyObject* fields() const { return values[1]; }
  PyObject* tenant() const { return values[2]; }
  PyObject* time_ns() const { return values[3]; }
  PyObject* ack() const { return values[4]; }
  PyObject* subject() const { return values[5]; }
  PyObject* sealed() const { return values[6]; }
};

size_t place_of(PyObject* name) {
  const auto* const same = std::ranges::find(g_names, name);
  if (same != g_names.end()) return static_cast<size_t>(same - g_names.begin());
  size_t place = 0;
  while (place < kNames.size() && PyUnicode_CompareWithASCIIString(name, kNames[place]) != 0) {
    ++place;
  }
  return place;
}

Arguments read_arguments(PyObject* const* args, Py_ssize_t positional, PyObject* names) {
  Arguments out;
  if (static_cast<size_t>(positional) > kPositional) {
    throw py::type_error("append() takes 2 positional arguments (chain, fields), got " +
                         std::to_string(positional));
  }
  std::copy_n(args, positional, out.values.begin());
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(names, i);
    const size_t place = place_of(name);
    if (place == kNames.size() || out.values[place] != nullptr) {
      throw py::type_error("append() got an unexpected or repeated argument \"" +
                           std::string(utf8_view(name)) + "\"");
    }
    out.values[place] = args[positional + i];
  }
  for (size_t i = 0; i < kPositional; ++i) {
    if (out.values[i] == nullptr) {
      throw py::type_error(std::string("append() misses the argument \"") + kNames[i] + "\"");
    }
  }
  if (!PyDict_Check(out.fields())) {
    throw py::type_error(std::string("fields: expected a dict, got ") +
                         Py_TYPE(out.fields())->tp_name);
  }
  return out;
}

int64_t time_of(PyObject* value) {
  if (value == nullptr) return 0;
  const long long time_ns = PyLong_AsLongLong(value);
  if (time_ns == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return time_ns;
}

log::Log& log_of(PyObject* self) {
  if (Py_TYPE(self) != g_log_type) return *py::cast<log::Log*>(py::handle(self));
  void* const log =
      reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder().value_ptr();
  if (log == nullptr) throw py::type_error("Log.__init__ was not called");
  return *static_cast<log::Log*>(log);
}

uint64_t append(PyObject* self, const Arguments& given) {
  log::Log& log = log_of(self);
  const log::Ack level = given.ack() == nullptr ? log::Ack::kRing : log_ack_of(given.ack());
  const LogEvent event(given.chain(), given.tenant(), time_of(given.time_ns()), given.fields(),
                       given.subject(), given.sealed());
  // To the ring takes less time than giving the GIL away.
  if (level == log::Ack::kRing) return value_or_raise(log.append(event.entry(), level)).sequence;
  const Result<log::Position> at = [&] {
    const py::gil_scoped_release released;
    return log.append(event.entry(), level);
  }();
  return value_or_raise(at).sequence;
}

// C++ exceptions become Python's at this border.
PyObject* log_append(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                     PyObject* names) {
  try {
    return PyLong_FromUnsignedLongLong(append(self, read_arguments(args, positional, names)));
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::bad_alloc&) {
    PyErr_NoMemory();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

PyMethodDef g_append = {
    "append", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(log_append)),
    METH_FASTCALL | METH_KEYWORDS,
    "append(chain, fields, *, tenant=None, time_ns=0, ack='ring', subject=None, sealed=())\n--\n\n"
    "Record one event; its sequence in the chain."};

}  // namespace

void add_log_append(const py::handle& log_type) {
  g_log_type = reinterpret_cast<PyTypeObject*>(log_type.ptr());
  for (size_t i = 0; i < kNames.size(); ++i) {
    g_names[i] = PyUnicode_InternFromString(kNames[i]);
    if (g_names[i] == nullptr) throw py::error_already_set();
  }
  const auto method = py::reinterpret_steal<py::object>(PyDescr_NewMethod(g_log_type, &g_append));
  if (!method) throw py::error_already_set();
  log_type.attr("append") = method;
}

}  // namespace tenancy
