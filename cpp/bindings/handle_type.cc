// Handle: a reservation or a lease that somebody has to settle.
#include <cmath>
#include <new>

#include "decision_types.h"

// After Python.h, which it forgets to include.
#include <structmember.h>

namespace tenancy {
namespace {

struct PyHandle {
  PyObject_HEAD PyDecision*
      owner;  // the decision whose entry this is, or null: then `state` is its own
  size_t index;
  HandleState state;
};

PyTypeObject* g_handle_type = nullptr;

PyHandle* as_handle(PyObject* self) { return reinterpret_cast<PyHandle*>(self); }

// The entry is shared with the decision, so settling it in either place settles it in both.
QuotaEntry& entry_of(PyHandle* handle) {
  if (handle->owner != nullptr) return handle->owner->decision.quotas[handle->index];
  return handle->state.entry;
}
Engine& engine_of(PyHandle* handle) { return *handle->state.engine; }

QuotaTarget target_of(PyHandle* handle) {
  return Engine::quota_target(*handle->state.definitions, *handle->state.tenant,
                              entry_of(handle).quota);
}

void handle_dealloc(PyObject* self) {
  PyHandle* handle = as_handle(self);
  Py_XDECREF(handle->owner);
  handle->state.~HandleState();
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

bool settle(PyHandle* handle, bool keep, std::optional<uint64_t> amount) {
  return engine_of(handle).settle(target_of(handle), &entry_of(handle), keep, amount);
}

PyObject* handle_commit(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  std::optional<uint64_t> amount;
  if (count > 1) {
    PyErr_SetString(PyExc_TypeError, "commit() takes at most one argument: amount");
    return nullptr;
  }
  if (count == 1 && args[0] != Py_None) {
    if (!PyLong_Check(args[0])) {
      PyErr_SetString(PyExc_TypeError, "amount: expected int, in whole units");
      return nullptr;
    }
    const unsigned long long value = PyLong_AsUnsignedLongLong(args[0]);
    if (PyErr_Occurred() != nullptr) return nullptr;
    if (value > entry_of(as_handle(self)).amount) {
      PyErr_Format(PyExc_ValueError, "amount: %llu is more than the %llu that were reserved", value,
                   static_cast<unsigned long long>(entry_of(as_handle(self)).amount));
      return nullptr;
    }
    amount = value;
  }
  return PyBool_FromLong(settle(as_handle(self), true, amount) ? 1 : 0);
}

PyObject* handle_release(PyObject* self, PyObject*) {
  return PyBool_FromLong(settle(as_handle(self), false, std::nullopt) ? 1 : 0);
}

// A lease taken in the moment of a suspension may have missed the revocation: it ends with its next
// renewal.
bool still_served(PyHandle* handle) {
  const auto newest = engine_of(handle).definitions();
  const TenantEntry* tenant = newest->registry->by_id(handle->state.tenant->id);
  return tenant != nullptr && status_served(tenant->status);
}

PyObject* handle_renew(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  PyHandle* handle = as_handle(self);
  QuotaEntry& entry = entry_of(handle);
  const QuotaTarget target = target_of(handle);
  int64_t ttl_ns = target.def->lease_ns;
  if (count > 1) {
    PyErr_SetString(PyExc_TypeError, "renew() takes at most one argument: ttl in seconds");
    return nullptr;
  }
  if (count == 1 && args[0] != Py_None) {
    const double seconds = PyFloat_AsDouble(args[0]);
    if (seconds == -1.0 && PyErr_Occurred() != nullptr) return nullptr;
    if (!(seconds > 0) || seconds > 86'400.0 * 365) {
      PyErr_SetString(PyExc_ValueError, "ttl: expected seconds above 0, at most a year");
      return nullptr;
    }
    ttl_ns = static_cast<int64_t>(seconds * 1e9);
  }
  if (!entry.lease) {
    PyErr_SetString(PyExc_ValueError, "a reservation cannot be renewed: commit or release it");
    return nullptr;
  }
  const bool alive = !entry.settled && still_served(handle) &&
                     engine_of(handle).quotas().renew(target, entry.handle, ttl_ns);
  return PyBool_FromLong(alive ? 1 : 0);
}

PyObject* handle_detach(PyObject* self, PyObject*) {
  PyHandle* handle = as_handle(self);
  if (handle->owner == nullptr) return Py_NewRef(self);
  HandleState state = handle->state;
  QuotaEntry& shared = entry_of(handle);
  state.entry = shared;
  shared.settled = true;  // the request no longer settles it
  return make_handle(std::move(state));
}

PyObject* handle_enter(PyObject* self, PyObject*) { return Py_NewRef(self); }

PyObject* handle_exit(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  const bool failed = count > 0 && args[0] != Py_None;
  settle(as_handle(self), !failed, std::nullopt);
  Py_RETURN_NONE;
}

PyObject* handle_kind(PyObject* self, void*) {
  return PyUnicode_FromString(entry_of(as_handle(self)).lease ? "lease" : "reservation");
}
PyObject* handle_quota(PyObject* self, void*) {
  const std::string& name = target_of(as_handle(self)).def->name;
  return PyUnicode_FromStringAndSize(name.data(), static_cast<Py_ssize_t>(name.size()));
}
PyObject* handle_amount(PyObject* self, void*) {
  return PyLong_FromUnsignedLongLong(entry_of(as_handle(self)).amount);
}
PyObject* handle_settled(PyObject* self, void*) {
  return PyBool_FromLong(entry_of(as_handle(self)).settled ? 1 : 0);
}

template <class Fn>
PyCFunction as_c_function(Fn fn) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn));
}

PyMethodDef g_methods[] = {
    {"commit", as_c_function(handle_commit), METH_FASTCALL,
     "Keep what was reserved, or part of it."},
    {"release", handle_release, METH_NOARGS, "Give it back."},
    {"renew", as_c_function(handle_renew), METH_FASTCALL, "Extend a lease by ttl seconds."},
    {"detach", handle_detach, METH_NOARGS, "Take it out of the request that made it."},
    {"__enter__", handle_enter, METH_NOARGS, nullptr},
    {"__exit__", as_c_function(handle_exit), METH_FASTCALL, nullptr},
    {nullptr, nullptr, 0, nullptr}};

PyGetSetDef g_getters[] = {{"kind", handle_kind, nullptr, nullptr, nullptr},
                           {"quota", handle_quota, nullptr, nullptr, nullptr},
                           {"amount", handle_amount, nullptr, nullptr, nullptr},
                           {"settled", handle_settled, nullptr, nullptr, nullptr},
                           {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot g_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(handle_dealloc)},
                         {Py_tp_methods, g_methods},
                         {Py_tp_getset, g_getters},
                         {Py_tp_doc, const_cast<char*>("A reservation or a lease.")},
                         {0, nullptr}};

PyType_Spec g_spec = {"tenancy._core.Handle", sizeof(PyHandle), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, g_slots};

PyHandle* new_handle() {
  auto* handle = reinterpret_cast<PyHandle*>(g_handle_type->tp_alloc(g_handle_type, 0));
  if (handle == nullptr) throw py::error_already_set();
  handle->owner = nullptr;
  new (&handle->state) HandleState();
  return handle;
}

}  // namespace

PyObject* make_handle(HandleState state) {
  PyHandle* handle = new_handle();
  handle->state = std::move(state);
  return reinterpret_cast<PyObject*>(handle);
}

PyObject* make_handle_of(PyDecision* owner, size_t index) {
  PyHandle* handle = new_handle();
  handle->owner = reinterpret_cast<PyDecision*>(Py_NewRef(reinterpret_cast<PyObject*>(owner)));
  handle->index = index;
  handle->state.engine = py::cast<std::shared_ptr<Engine>>(py::handle(owner->engine));
  handle->state.definitions = owner->decision.definitions;
  handle->state.tenant = owner->decision.tenant;
  return reinterpret_cast<PyObject*>(handle);
}

void bind_handle_type(py::module_& module) {
  g_handle_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&g_spec));
  if (g_handle_type == nullptr) throw py::error_already_set();
  module.add_object("Handle", reinterpret_cast<PyObject*>(g_handle_type));
}

}  // namespace tenancy
