// Log.append and Log.submit as functions of Python's own calling convention: they are called for
// every fact, and pybind11's dispatcher would make a str for each name of an argument and look it
// up in a dict.
#include <algorithm>
#include <array>
#include <optional>
#include <string>

#include "log_fields.h"
#include "pybind.h"
#include "tenancy/log/log.h"

namespace tenancy {
namespace {

PyTypeObject* g_log_type = nullptr;  // lives as long as the module

// In the order in which a call may give them: the first two also by position.
constexpr std::array<const char*, 8> kNames = {"chain",   "fields", "tenant", "time_ns",
                                               "subject", "sealed", "ack",    "wait_ns"};
constexpr size_t kPositional = 2;
constexpr size_t kAck = 6;
constexpr size_t kWaitNs = 7;
std::array<PyObject*, kNames.size()> g_names{};  // interned, as those of calls are

// How long a thread that holds the GIL waits for room or the mutex, before it gives the GIL away.
constexpr int64_t kHeldWaitNs = 1'000'000;

// Which function is called, and the one argument of those above that it does not take.
struct Callee {
  const char* name;
  size_t without;
};
constexpr Callee kAppend = {"append", kWaitNs};
constexpr Callee kSubmit = {"submit", kAck};

struct Arguments {
  std::array<PyObject*, kNames.size()> values{};  // null: not given

  PyObject* chain() const { return values[0]; }
  PyObject* fields() const { return values[1]; }
  PyObject* tenant() const { return values[2]; }
  PyObject* time_ns() const { return values[3]; }
  PyObject* subject() const { return values[4]; }
  PyObject* sealed() const { return values[5]; }
  PyObject* ack() const { return values[kAck]; }
  PyObject* wait_ns() const { return values[kWaitNs]; }
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

Arguments read_arguments(const Callee& callee, PyObject* const* args, Py_ssize_t positional,
                         PyObject* names) {
  Arguments out;
  const std::string_view call = callee.name;
  if (static_cast<size_t>(positional) > kPositional) {
    throw py::type_error(std::string(call) +
                         "() takes 2 positional arguments (chain, fields), got " +
                         std::to_string(positional));
  }
  std::copy_n(args, positional, out.values.begin());
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* const name = PyTuple_GET_ITEM(names, i);
    const size_t place = place_of(name);
    if (place == kNames.size() || place == callee.without || out.values[place] != nullptr) {
      throw py::type_error(std::string(call) + "() got an unexpected or repeated argument \"" +
                           std::string(utf8_view(name)) + "\"");
    }
    out.values[place] = args[positional + i];
  }
  for (size_t i = 0; i < kPositional; ++i) {
    if (out.values[i] == nullptr) {
      throw py::type_error(std::string(call) + "() misses the argument \"" + kNames[i] + "\"");
    }
  }
  if (!PyDict_Check(out.fields())) {
    throw py::type_error(std::string("fields: expected a dict, got ") +
                         Py_TYPE(out.fields())->tp_name);
  }
  return out;
}

int64_t integer_of(PyObject* value) {
  const long long number = PyLong_AsLongLong(value);
  if (number == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
  return number;
}

LogEvent event_of(const Arguments& given) {
  const int64_t time_ns = given.time_ns() == nullptr ? 0 : integer_of(given.time_ns());
  return {given.chain(), given.tenant(), time_ns, given.fields(), given.subject(), given.sealed()};
}

log::Log& log_of(PyObject* self) {
  if (Py_TYPE(self) != g_log_type) return *py::cast<log::Log*>(py::handle(self));
  void* const log =
      reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder().value_ptr();
  if (log == nullptr) throw py::type_error("Log.__init__ was not called");
  return *static_cast<log::Log*>(log);
}

PyObject* append(PyObject* self, const Arguments& given) {
  log::Log& log = log_of(self);
  const log::Ack level = given.ack() == nullptr ? log::Ack::kRing : log_ack_of(given.ack());
  const LogEvent event = event_of(given);
  uint64_t sequence = 0;
  // To the ring takes less time than giving the GIL away.
  if (level == log::Ack::kRing) {
    sequence = value_or_raise(log.append(event.entry(), level)).sequence;
  } else {
    const Result<log::Position> at = [&] {
      const py::gil_scoped_release released;
      return log.append(event.entry(), level);
    }();
    sequence = value_or_raise(at).sequence;
  }
  return PyLong_FromUnsignedLongLong(sequence);
}

// Where there is no room at once the others of the process run while this one waits for it.
Result<log::Ticket> submit_event(log::Log& log, const LogEvent& event,
                                 std::optional<int64_t> wait_ns) {
  log::Entry entry = event.entry();
  entry.wait_ns = std::min(wait_ns.value_or(kHeldWaitNs), kHeldWaitNs);
  Result<log::Ticket> ticket = log.submit(entry);
  if (ticket || ticket.error().code != Code::kFull || entry.wait_ns == wait_ns) return ticket;
  entry.wait_ns = wait_ns;
  const py::gil_scoped_release released;
  return log.submit(entry);
}

PyObject* submit(PyObject* self, const Arguments& given) {
  log::Log& log = log_of(self);
  std::optional<int64_t> wait_ns;
  if (given.wait_ns() != nullptr && given.wait_ns() != Py_None) {
    wait_ns = integer_of(given.wait_ns());
  }
  const log::Ticket ticket = value_or_raise(submit_event(log, event_of(given), wait_ns));
  return py::make_tuple(ticket.position.sequence, ticket.end).release().ptr();
}

PyObject* log_append(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                     PyObject* names) {
  return guarded([&] { return append(self, read_arguments(kAppend, args, positional, names)); });
}

PyObject* log_submit(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                     PyObject* names) {
  return guarded([&] { return submit(self, read_arguments(kSubmit, args, positional, names)); });
}

std::array<PyMethodDef, 2> g_methods = {{
    {"append", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(log_append)),
     METH_FASTCALL | METH_KEYWORDS,
     "append(chain, fields, *, tenant=None, time_ns=0, ack='ring', subject=None, sealed=())\n--\n\n"
     "Record one event; its sequence in the chain."},
    {"submit", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(log_submit)),
     METH_FASTCALL | METH_KEYWORDS,
     "submit(chain, fields, *, tenant=None, time_ns=0, subject=None, sealed=(), "
     "wait_ns=None)\n--\n\n"
     "Record one event to be waited for apart; its sequence, and its end for `reached` and "
     "`wait`."},
}};

}  // namespace

void add_log_append(const py::handle& log_type) {
  g_log_type = reinterpret_cast<PyTypeObject*>(log_type.ptr());
  for (size_t i = 0; i < kNames.size(); ++i) {
    g_names[i] = PyUnicode_InternFromString(kNames[i]);
    if (g_names[i] == nullptr) throw py::error_already_set();
  }
  for (PyMethodDef& definition : g_methods) {
    const auto method =
        py::reinterpret_steal<py::object>(PyDescr_NewMethod(g_log_type, &definition));
    if (!method) throw py::error_already_set();
    log_type.attr(definition.ml_name) = method;
  }
}

}  // namespace tenancy
