// LimiterCore: policies and a counter table, with calls that take no detour. tenancy.limits.Limiter
// derives from it, so `limiter.hit(key)` goes straight to `limiter_hit`.
#include <array>
#include <memory>
#include <new>
#include <vector>

#include "limiter_types.h"

namespace tenancy {
namespace {

struct Limiter {
  std::unique_ptr<CounterTable> table;
  std::vector<LimitPolicy> policies;
  HashKey key_hash;  // of this limiter's name space
};

struct LimiterCore {
  PyObject_HEAD Limiter* limiter;  // null until opened
};

// One key of a limiter, ready for the engine.
struct Target {
  std::array<LimitHit, kHitsMax> hits;
  size_t count = 0;
  std::span<const LimitHit> span() const { return {hits.data(), count}; }
};

Limiter* limiter_of(PyObject* self) {
  Limiter* limiter = reinterpret_cast<LimiterCore*>(self)->limiter;
  if (limiter == nullptr) PyErr_SetString(PyExc_RuntimeError, "Limiter.__init__ was not called");
  return limiter;
}

// --- arguments
// ------------------------------------------------------------------------------------------

bool read_key(PyObject* key, std::string_view* out) {
  const char* data = nullptr;
  Py_ssize_t size = 0;
  if (PyUnicode_Check(key)) {
    data = PyUnicode_AsUTF8AndSize(key, &size);
    if (data == nullptr) {
      PyErr_Clear();
      set_invalid_value("key", "this str is no valid Unicode text (a lone surrogate)",
                        "pass the original bytes");
      return false;
    }
  } else if (PyBytes_Check(key)) {
    data = PyBytes_AS_STRING(key);
    size = PyBytes_GET_SIZE(key);
  } else {
    set_invalid_value("key",
                      (std::string("expected str or bytes, got ") + Py_TYPE(key)->tp_name).c_str(),
                      "pass str(key)");
    return false;
  }
  if (size == 0) {
    set_invalid_value("key", "it is empty",
                      "an empty key would be shared by everybody; name who is limited");
    return false;
  }
  *out = {data, static_cast<size_t>(size)};
  return true;
}

bool read_cost(PyObject* cost, uint64_t* out) {
  if (!PyLong_Check(cost) || PyBool_Check(cost)) {
    set_invalid_value("cost", (std::string("expected int, got ") + Py_TYPE(cost)->tp_name).c_str(),
                      "count in smaller units, so that costs are whole numbers");
    return false;
  }
  int overflow = 0;
  const long long value = PyLong_AsLongLongAndOverflow(cost, &overflow);
  if (overflow < 0 || (overflow == 0 && value <= 0)) {
    set_invalid_value("cost", "expected a positive whole number",
                      "`peek` asks without taking, `refund` gives back");
    return false;
  }
  *out = overflow > 0 ? UINT64_MAX : static_cast<uint64_t>(value);  // above any limit: never passes
  return true;
}

// (key, cost=1) or (key, cost=1, of=answer), by position or name.
struct Arguments {
  std::string_view key;
  uint64_t cost = 1;
  PyObject* of = nullptr;
};

bool read_arguments(const char* call, PyObject* const* args, Py_ssize_t positional, PyObject* names,
                    size_t most, Arguments* out) {
  static constexpr const char* kNames[] = {"key", "cost", "of"};
  PyObject* found[3] = {nullptr, nullptr, nullptr};
  if (static_cast<size_t>(positional) > most) {
    PyErr_Format(PyExc_TypeError, "%s() takes at most %zu arguments (%zd given)", call, most,
                 positional);
    return false;
  }
  for (Py_ssize_t i = 0; i < positional; ++i) found[i] = args[i];
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    PyObject* name = PyTuple_GET_ITEM(names, i);
    size_t place = 0;
    while (place < most && PyUnicode_CompareWithASCIIString(name, kNames[place]) != 0) ++place;
    if (place == most || found[place] != nullptr) {
      PyErr_Format(PyExc_TypeError, "%s() got an unexpected or repeated argument %R", call, name);
      return false;
    }
    found[place] = args[positional + i];
  }
  if (found[0] == nullptr) {
    PyErr_Format(PyExc_TypeError, "%s() misses the argument 'key'", call);
    return false;
  }
  if (!read_key(found[0], &out->key)) return false;
  if (found[1] != nullptr && !read_cost(found[1], &out->cost)) return false;
  out->of = found[2] == Py_None ? nullptr : found[2];
  return true;
}

void aim(const Limiter& limiter, std::string_view key, uint64_t cost, Target* target) {
  const uint64_t group = siphash(limiter.key_hash, key);
  for (const LimitPolicy& policy : limiter.policies) {
    LimitHit& hit = target->hits[target->count++];
    hit.policy = &policy;
    hit.group = group;
    hit.key = limit_key(limiter.key_hash, group, policy);
    hit.cost = cost;
  }
}

// --- calls
// ----------------------------------------------------------------------------------------------

PyObject* limiter_hit(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                      PyObject* names) {
  Limiter* limiter = limiter_of(self);
  Arguments arguments;
  if (limiter == nullptr || !read_arguments("hit", args, positional, names, 2, &arguments))
    return nullptr;
  const int64_t now_ns = limiter->table->now_ns();
  if (limiter->policies.size() == 1) {
    const LimitPolicy& policy = limiter->policies.front();
    LimitHit hit;
    hit.policy = &policy;
    hit.group = siphash(limiter->key_hash, arguments.key);
    hit.key = limit_key(limiter->key_hash, hit.group, policy);
    hit.cost = arguments.cost;
    const WindowState window{limit_take(*limiter->table, hit, now_ns), policy.window_ns,
                             policy.limit};
    return new_limit_answer({&window, 1}, now_ns);
  }
  Target target;
  aim(*limiter, arguments.key, arguments.cost, &target);
  std::array<LimitState, kHitsMax> states;
  limit_take_all(*limiter->table, target.span(), {states.data(), target.count}, now_ns);
  std::array<WindowState, kHitsMax> windows;
  for (size_t i = 0; i < target.count; ++i)
    windows[i] = {states[i], limiter->policies[i].window_ns, limiter->policies[i].limit};
  return new_limit_answer({windows.data(), target.count}, now_ns);
}

PyObject* limiter_peek(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                       PyObject* names) {
  Limiter* limiter = limiter_of(self);
  Arguments arguments;
  if (limiter == nullptr || !read_arguments("peek", args, positional, names, 2, &arguments))
    return nullptr;
  const int64_t now_ns = limiter->table->now_ns();
  Target target;
  aim(*limiter, arguments.key, arguments.cost, &target);
  std::array<WindowState, kHitsMax> windows;
  for (size_t i = 0; i < target.count; ++i) {
    windows[i] = {limit_peek(*limiter->table, target.hits[i], now_ns),
                  limiter->policies[i].window_ns, limiter->policies[i].limit};
  }
  return new_limit_answer({windows.data(), target.count}, now_ns);
}

PyObject* limiter_refund(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                         PyObject* names) {
  Limiter* limiter = limiter_of(self);
  Arguments arguments;
  if (limiter == nullptr || !read_arguments("refund", args, positional, names, 3, &arguments))
    return nullptr;
  if (arguments.of != nullptr && !is_limit_answer(arguments.of)) {
    set_invalid_value("of", "expected the answer of the hit that is given back",
                      "pass what `hit` returned");
    return nullptr;
  }
  const int64_t now_ns = limiter->table->now_ns();
  const int64_t taken_ns = arguments.of == nullptr ? now_ns : limit_answer_taken_ns(arguments.of);
  Target target;
  aim(*limiter, arguments.key, arguments.cost, &target);
  for (const LimitHit& hit : target.span()) limit_refund(*limiter->table, hit, taken_ns, now_ns);
  Py_RETURN_NONE;
}

PyObject* limiter_reset(PyObject* self, PyObject* const* args, Py_ssize_t positional,
                        PyObject* names) {
  Limiter* limiter = limiter_of(self);
  Arguments arguments;
  if (limiter == nullptr || !read_arguments("reset", args, positional, names, 1, &arguments))
    return nullptr;
  const int64_t now_ns = limiter->table->now_ns();
  Target target;
  aim(*limiter, arguments.key, 1, &target);
  for (const LimitHit& hit : target.span()) limit_reset(*limiter->table, hit, now_ns);
  Py_RETURN_NONE;
}

// --- making one
// -----------------------------------------------------------------------------------------

struct Plan {
  std::vector<LimitPolicy> policies;
  CounterTable::Options options;
  std::shared_ptr<const Clock> clock;
  std::string name;
};

Limiter* open_limiter(Plan plan) {
  auto limiter = std::make_unique<Limiter>();
  limiter->table = value_or_raise(CounterTable::open(plan.options, std::move(plan.clock)));
  limiter->policies = std::move(plan.policies);
  // Limiters with other names on one table count apart: each name makes its own hash function.
  const HashKey& secret = limiter->table->hash_key();
  const uint64_t name = siphash(secret, "limiter:" + plan.name);
  limiter->key_hash = {siphash_join(secret, name, 0), siphash_join(secret, name, 1)};
  return limiter.release();
}

// (policies, path, clock, name, max_bytes): policies are what `limit_policies` made.
PyObject* limiter_open(PyObject* self, PyObject* args) {
  PyObject* policies = nullptr;
  PyObject* path = nullptr;
  PyObject* clock = nullptr;
  PyObject* name = nullptr;
  unsigned long long max_bytes = 0;
  if (PyArg_ParseTuple(args, "O!UOUK", &PyList_Type, &policies, &path, &clock, &name, &max_bytes) ==
      0) {
    return nullptr;
  }
  auto* core = reinterpret_cast<LimiterCore*>(self);
  if (core->limiter != nullptr) {
    PyErr_SetString(PyExc_RuntimeError, "this Limiter is open already");
    return nullptr;
  }
  try {
    Plan plan;
    for (const py::handle item : py::reinterpret_borrow<py::list>(policies)) {
      plan.policies.push_back(item.cast<LimitPolicy>());
    }
    plan.options.path = std::string(utf8_view(path));
    plan.options.max_bytes = max_bytes;
    plan.options.anonymous_bytes = 0;  // all keys are in the one region that grows
    plan.clock =
        clock == Py_None ? Clock::system() : py::handle(clock).cast<std::shared_ptr<Clock>>();
    plan.name = std::string(utf8_view(name));
    core->limiter = open_limiter(std::move(plan));
  } catch (py::error_already_set& error) {
    error.restore();
    return nullptr;
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_TypeError, error.what());
    return nullptr;
  }
  Py_RETURN_NONE;
}

PyObject* limiter_bytes(PyObject* self, PyObject*) {
  Limiter* limiter = limiter_of(self);
  return limiter == nullptr ? nullptr : PyLong_FromSize_t(limiter->table->bytes());
}

void limiter_dealloc(PyObject* self) {
  delete reinterpret_cast<LimiterCore*>(self)->limiter;
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

template <class Fn>
PyCFunction as_method(Fn function) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(function));
}

PyMethodDef kMethods[] = {
    {"hit", as_method(limiter_hit), METH_FASTCALL | METH_KEYWORDS,
     "hit(key, cost=1)\n--\n\nTake `cost` of every window, or nothing."},
    {"peek", as_method(limiter_peek), METH_FASTCALL | METH_KEYWORDS,
     "peek(key, cost=1)\n--\n\nWhat `hit` would say; takes nothing."},
    {"refund", as_method(limiter_refund), METH_FASTCALL | METH_KEYWORDS,
     "refund(key, cost=1, of=None)\n--\n\nGive back what a hit took: `of` is its answer."},
    {"reset", as_method(limiter_reset), METH_FASTCALL | METH_KEYWORDS,
     "reset(key)\n--\n\nForget the key, as if never seen."},
    {"_open", limiter_open, METH_VARARGS, "Internal: open the counters."},
    {"_bytes", limiter_bytes, METH_NOARGS, "Internal: bytes of the counters."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot kSlots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(limiter_dealloc)},
                        {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
                        {Py_tp_methods, kMethods},
                        {Py_tp_doc, const_cast<char*>("Policies and their counters.")},
                        {0, nullptr}};

PyType_Spec kSpec = {"tenancy._core.LimiterCore", sizeof(LimiterCore), 0,
                     Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, kSlots};

}  // namespace

void set_invalid_value(const char* field, const char* message, const char* remedy) {
  try {
    const py::object error = py::module_::import("tenancy.errors").attr("InvalidValue");
    PyErr_SetObject(error.ptr(), error(field, message, py::arg("remedy") = remedy).ptr());
  } catch (py::error_already_set& error) {
    error.restore();
  }
}

void bind_limiter_core(py::module_& module) {
  PyObject* type = PyType_FromSpec(&kSpec);
  if (type == nullptr) throw py::error_already_set();
  module.add_object("LimiterCore", type);
}

}  // namespace tenancy
