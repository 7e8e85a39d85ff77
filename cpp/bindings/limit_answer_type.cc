// LimitAnswer: what a limiter says to one hit. Its attributes are those of the deciding window;
// `windows` has an answer for each.
//
// What headers are made of lies in the answer as ready objects: CPython reads such members without
// a call, which costs less in the making than four calls of getters do in the reading.
#include <algorithm>

#include "limiter_types.h"

// After Python.h, which it forgets to include.
#include <structmember.h>

namespace tenancy {
namespace {

constexpr double kNsPerSecond = 1e9;

struct LimitAnswer {
  PyObject_VAR_HEAD PyObject* allowed;  // by all windows
  PyObject* remaining;
  PyObject* reset_after;
  PyObject* retry_after;
  int64_t taken_ns;
  size_t deciding;  // the window shown
  WindowState windows[1];
};

PyTypeObject* g_type = nullptr;
PyObject* g_zero = nullptr;  // 0.0

// An answer with one window is made and dropped for almost every hit.
constexpr size_t kFreeMax = 32;
LimitAnswer* g_free[kFreeMax];
size_t g_free_count = 0;

LimitAnswer* as_answer(PyObject* self) { return reinterpret_cast<LimitAnswer*>(self); }
const WindowState& shown(PyObject* self) {
  return as_answer(self)->windows[as_answer(self)->deciding];
}

void answer_dealloc(PyObject* self) {
  LimitAnswer* answer = as_answer(self);
  Py_XDECREF(answer->allowed);
  Py_XDECREF(answer->remaining);
  Py_XDECREF(answer->reset_after);
  Py_XDECREF(answer->retry_after);
  PyTypeObject* type = Py_TYPE(self);
  if (Py_SIZE(self) == 1 && g_free_count < kFreeMax) {
    g_free[g_free_count++] = answer;
  } else {
    PyObject_Free(self);
  }
  Py_DECREF(type);
}

LimitAnswer* allocate(Py_ssize_t windows) {
  if (windows == 1 && g_free_count != 0) {
    LimitAnswer* answer = g_free[--g_free_count];
    PyObject_InitVar(reinterpret_cast<PyVarObject*>(answer), g_type, 1);
    return answer;
  }
  const size_t extra = static_cast<size_t>(windows - 1) * sizeof(WindowState);
  auto* answer = static_cast<LimitAnswer*>(PyObject_Malloc(sizeof(LimitAnswer) + extra));
  if (answer == nullptr) {
    PyErr_NoMemory();
    return nullptr;
  }
  PyObject_InitVar(reinterpret_cast<PyVarObject*>(answer), g_type, windows);
  return answer;
}

// The refusing window that refuses longest, else the one with the smallest share left.
bool decides_over(const WindowState& a, const WindowState& b) {
  if (a.state.allowed != b.state.allowed) return !a.state.allowed;
  if (!a.state.allowed) {
    if (b.state.retry_after_ns == kNever) return false;
    return a.state.retry_after_ns == kNever || a.state.retry_after_ns > b.state.retry_after_ns;
  }
  if (a.state.shadow != b.state.shadow) return a.state.shadow;
  return static_cast<double>(a.state.remaining) * static_cast<double>(b.state.limit) <
         static_cast<double>(b.state.remaining) * static_cast<double>(a.state.limit);
}

PyObject* seconds(int64_t ns) {
  if (ns == 0) return Py_NewRef(g_zero);
  return PyFloat_FromDouble(static_cast<double>(ns) / kNsPerSecond);
}
PyObject* seconds_or_none(int64_t ns) { return ns == kNever ? Py_NewRef(Py_None) : seconds(ns); }

int answer_bool(PyObject* self) { return as_answer(self)->allowed == Py_True ? 1 : 0; }
PyObject* get_shadow(PyObject* self, void*) { return PyBool_FromLong(shown(self).state.shadow); }
PyObject* get_full(PyObject* self, void*) { return PyBool_FromLong(shown(self).state.full); }
PyObject* get_limit(PyObject* self, void*) {
  return PyLong_FromUnsignedLongLong(shown(self).state.limit);
}
PyObject* get_window(PyObject* self, void*) { return seconds(shown(self).window_ns); }
PyObject* get_refill(PyObject* self, void*) {
  const WindowState& window = shown(self);
  const double share =
      static_cast<double>(window.state.limit) / static_cast<double>(window.per_window);
  return PyFloat_FromDouble(static_cast<double>(window.window_ns) / kNsPerSecond * share);
}
PyObject* get_delay(PyObject* self, void*) {
  const LimitAnswer* answer = as_answer(self);
  int64_t longest = 0;
  for (Py_ssize_t i = 0; i < Py_SIZE(self); ++i) {
    longest = std::max(longest, answer->windows[i].state.delay_ns);
  }
  return seconds(longest);
}
PyObject* get_windows(PyObject* self, void*) {
  const LimitAnswer* answer = as_answer(self);
  PyObject* out = PyTuple_New(Py_SIZE(self));
  if (out == nullptr) return nullptr;
  for (Py_ssize_t i = 0; i < Py_SIZE(self); ++i) {
    PyObject* one = new_limit_answer({&answer->windows[i], 1}, answer->taken_ns);
    if (one == nullptr) {
      Py_DECREF(out);
      return nullptr;
    }
    PyTuple_SET_ITEM(out, i, one);
  }
  return out;
}

PyObject* answer_repr(PyObject* self) {
  const LimitAnswer* answer = as_answer(self);
  return PyUnicode_FromFormat("LimitAnswer(%s, remaining=%R of %llu, retry_after=%R)",
                              answer_bool(self) != 0 ? "allowed" : "refused", answer->remaining,
                              static_cast<unsigned long long>(shown(self).state.limit),
                              answer->retry_after);
}

PyMemberDef kMembers[] = {
    {"allowed", T_OBJECT_EX, offsetof(LimitAnswer, allowed), READONLY, nullptr},
    {"remaining", T_OBJECT_EX, offsetof(LimitAnswer, remaining), READONLY, nullptr},
    {"reset_after", T_OBJECT_EX, offsetof(LimitAnswer, reset_after), READONLY, nullptr},
    {"retry_after", T_OBJECT_EX, offsetof(LimitAnswer, retry_after), READONLY, nullptr},
    {nullptr, 0, 0, 0, nullptr}};

PyGetSetDef kGetters[] = {{"shadow", get_shadow, nullptr, nullptr, nullptr},
                          {"full", get_full, nullptr, nullptr, nullptr},
                          {"limit", get_limit, nullptr, nullptr, nullptr},
                          {"window", get_window, nullptr, nullptr, nullptr},
                          {"refill", get_refill, nullptr, nullptr, nullptr},
                          {"delay", get_delay, nullptr, nullptr, nullptr},
                          {"windows", get_windows, nullptr, nullptr, nullptr},
                          {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(answer_dealloc)},
                        {Py_tp_repr, reinterpret_cast<void*>(answer_repr)},
                        {Py_nb_bool, reinterpret_cast<void*>(answer_bool)},
                        {Py_tp_members, kMembers},
                        {Py_tp_getset, kGetters},
                        {Py_tp_doc, const_cast<char*>("What a limiter says to one hit.")},
                        {0, nullptr}};

PyType_Spec kSpec = {"tenancy._core.LimitAnswer", static_cast<int>(sizeof(LimitAnswer)),
                     static_cast<int>(sizeof(WindowState)),
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, kSlots};

}  // namespace

PyObject* new_limit_answer(std::span<const WindowState> windows, int64_t taken_ns) {
  LimitAnswer* answer = allocate(static_cast<Py_ssize_t>(windows.size()));
  if (answer == nullptr) return nullptr;
  auto* object = reinterpret_cast<PyObject*>(answer);
  answer->taken_ns = taken_ns;
  answer->deciding = 0;
  answer->windows[0] = windows[0];
  bool allowed = windows[0].state.allowed;
  for (size_t i = 1; i < windows.size(); ++i) {
    answer->windows[i] = windows[i];
    allowed = allowed && windows[i].state.allowed;
    if (decides_over(windows[i], windows[answer->deciding])) answer->deciding = i;
  }
  const LimitState& state = shown(object).state;
  answer->allowed = Py_NewRef(allowed ? Py_True : Py_False);
  answer->remaining = PyLong_FromUnsignedLongLong(state.remaining);
  answer->reset_after = seconds(state.reset_after_ns);
  answer->retry_after = seconds_or_none(state.retry_after_ns);
  if (answer->remaining == nullptr || answer->reset_after == nullptr ||
      answer->retry_after == nullptr) {
    Py_DECREF(object);
    return nullptr;
  }
  return object;
}

bool is_limit_answer(PyObject* object) { return Py_TYPE(object) == g_type; }
int64_t limit_answer_taken_ns(PyObject* answer) { return as_answer(answer)->taken_ns; }

void bind_limit_answer(py::module_& module) {
  g_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&kSpec));
  g_zero = PyFloat_FromDouble(0.0);
  if (g_type == nullptr || g_zero == nullptr) throw py::error_already_set();
  module.add_object("LimitAnswer", reinterpret_cast<PyObject*>(g_type));
}

}  // namespace tenancy
