// Limit: what one window answered.
#include <cmath>

#include "decision_types.h"

// After Python.h, which it forgets to include.
#include <structmember.h>

namespace tenancy {
namespace {

struct PyLimit {
  PyObject_HEAD PyObject* name;
  PyObject* policy;
  PyObject* retry_after;  // float, or None where waiting never helps
  char allowed;
  char shadow;
  unsigned long long limit;
  unsigned long long remaining;
  double window;
  double refill;
  double reset_after;
  double delay;
};

PyTypeObject* g_limit_type = nullptr;

void limit_dealloc(PyObject* self) {
  auto* limit = reinterpret_cast<PyLimit*>(self);
  Py_XDECREF(limit->name);
  Py_XDECREF(limit->policy);
  Py_XDECREF(limit->retry_after);
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyObject* limit_repr(PyObject* self) {
  auto* limit = reinterpret_cast<PyLimit*>(self);
  return PyUnicode_FromFormat("Limit(%R, %R, %s, remaining=%llu of %llu)", limit->name,
                              limit->policy, limit->allowed != 0 ? "allowed" : "refused",
                              limit->remaining, limit->limit);
}

int limit_bool(PyObject* self) { return reinterpret_cast<PyLimit*>(self)->allowed; }

PyMemberDef g_members[] = {
    {"name", T_OBJECT_EX, offsetof(PyLimit, name), READONLY, nullptr},
    {"policy", T_OBJECT_EX, offsetof(PyLimit, policy), READONLY, nullptr},
    {"retry_after", T_OBJECT_EX, offsetof(PyLimit, retry_after), READONLY, nullptr},
    {"allowed", T_BOOL, offsetof(PyLimit, allowed), READONLY, nullptr},
    {"shadow", T_BOOL, offsetof(PyLimit, shadow), READONLY, nullptr},
    {"limit", T_ULONGLONG, offsetof(PyLimit, limit), READONLY, nullptr},
    {"remaining", T_ULONGLONG, offsetof(PyLimit, remaining), READONLY, nullptr},
    {"window", T_DOUBLE, offsetof(PyLimit, window), READONLY, nullptr},
    {"refill", T_DOUBLE, offsetof(PyLimit, refill), READONLY, nullptr},
    {"reset_after", T_DOUBLE, offsetof(PyLimit, reset_after), READONLY, nullptr},
    {"delay", T_DOUBLE, offsetof(PyLimit, delay), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyType_Slot g_slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(limit_dealloc)},
                         {Py_tp_repr, reinterpret_cast<void*>(limit_repr)},
                         {Py_nb_bool, reinterpret_cast<void*>(limit_bool)},
                         {Py_tp_members, g_members},
                         {Py_tp_doc, const_cast<char*>("What one window of a limit answered.")},
                         {0, nullptr}};

PyType_Spec g_spec = {"tenancy._core.Limit", sizeof(PyLimit), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, g_slots};

constexpr double kSecond = 1e9;

}  // namespace

PyObject* make_limit(const LimitEntry& entry) {
  auto* limit = reinterpret_cast<PyLimit*>(g_limit_type->tp_alloc(g_limit_type, 0));
  if (limit == nullptr) throw py::error_already_set();
  const LimitState& state = entry.state;
  const std::string policy = entry.policy->text();
  limit->name = PyUnicode_FromStringAndSize(entry.rule->name.data(),
                                            static_cast<Py_ssize_t>(entry.rule->name.size()));
  limit->policy =
      PyUnicode_FromStringAndSize(policy.data(), static_cast<Py_ssize_t>(policy.size()));
  limit->retry_after =
      state.retry_after_ns == kNever
          ? Py_NewRef(Py_None)
          : PyFloat_FromDouble(static_cast<double>(state.retry_after_ns) / kSecond);
  limit->allowed = state.allowed ? 1 : 0;
  limit->shadow = state.shadow ? 1 : 0;
  limit->limit = state.limit;
  limit->remaining = state.remaining;
  limit->window = static_cast<double>(entry.policy->window_ns) / kSecond;
  limit->refill = static_cast<double>(entry.policy->refill_ns()) / kSecond;
  limit->reset_after = static_cast<double>(state.reset_after_ns) / kSecond;
  limit->delay = static_cast<double>(state.delay_ns) / kSecond;
  return reinterpret_cast<PyObject*>(limit);
}

void bind_limit_type(py::module_& module) {
  g_limit_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&g_spec));
  if (g_limit_type == nullptr) throw py::error_already_set();
  module.add_object("Limit", reinterpret_cast<PyObject*>(g_limit_type));
}

}  // namespace tenancy
