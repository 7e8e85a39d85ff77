// Gate: the decision calls, hand-written so that a whole decision costs less than pybind11's
// argument handling would. The slow paths (new definitions, events, gauges) call back into the
// package.

#include <new>

#include "decision_types.h"
#include "gate_arguments.h"

namespace tenancy {
namespace {

// A decision that meets newer definitions every time would wait for ever; one that meets them this
// often in a row is refused instead.
constexpr int kStaleMax = 100;

struct GateState {
  std::shared_ptr<Engine> engine;
  std::shared_ptr<const Definitions> definitions;
  uint64_t published = UINT64_MAX;
  NameCaches names;
  KeywordCache keywords;
  std::vector<std::string> gauge_names;
};

struct PyGate {
  PyObject_HEAD PyObject* engine;  // what `state->engine` is in Python
  PyObject* on_stale;
  PyObject* on_event;
  PyObject* on_gauge;
  PyObject* reasons;
  int quota_status;
  GateState* state;
};

PyGate* as_gate(PyObject* self) { return reinterpret_cast<PyGate*>(self); }

template <class Fn>
PyObject* guarded(Fn&& fn) {
  try {
    return fn();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// The definitions in force, with name caches that fit them.
const std::shared_ptr<const Definitions>& newest(PyGate* gate) {
  GateState& state = *gate->state;
  const uint64_t published = state.engine->published();
  if (published == state.published) return state.definitions;
  state.definitions = state.engine->definitions();
  state.published = published;
  const Catalog* catalog =
      state.definitions == nullptr ? nullptr : state.definitions->catalog.get();
  if (catalog != state.names.catalog) {
    state.names.actions.clear();
    state.names.features.clear();
    state.names.quotas.clear();
    state.names.catalog = catalog;
    state.names.gauges.assign(catalog == nullptr ? 0 : catalog->quotas().size(), false);
    for (const std::string& name : state.gauge_names) {
      const uint32_t index = catalog == nullptr ? kNoIndex : catalog->quota_index(name);
      if (index != kNoIndex) state.names.gauges[index] = true;
    }
  }
  return state.definitions;
}

// Asks the package for the newest definitions. False: the store cannot be reached, so fail closed.
bool refresh(PyGate* gate) {
  py::object answer = py::reinterpret_steal<py::object>(PyObject_CallNoArgs(gate->on_stale));
  if (!answer) throw py::error_already_set();
  return answer.ptr() != Py_False;
}

// A value of a wrong type is told with the argument that it was given for.
[[noreturn]] void raise_for(PyObject* keyword, const py::error_already_set& error) {
  if (!error.matches(PyExc_TypeError)) throw error;
  throw py::type_error(std::string(utf8_view(keyword)) + ": " +
                       std::string(py::str(error.value())));
}

void read_keywords(Arguments* arguments, KeywordCache* cache, PyObject* const* args,
                   Py_ssize_t first, PyObject* names, const char* function) {
  if (names != nullptr) {
    const KeywordCache::Keywords& keywords = cache->find(names, function);
    const Py_ssize_t count = PyTuple_GET_SIZE(names);
    for (Py_ssize_t i = 0; i < count; ++i) {
      try {
        arguments->set(keywords[static_cast<size_t>(i)], args[first + i]);
      } catch (const py::error_already_set& error) {
        raise_for(PyTuple_GET_ITEM(names, i), error);
      }
    }
  }
  arguments->finish();
}

void need_definitions(PyGate* gate) {
  if (newest(gate) != nullptr) return;
  refresh(gate);
  if (newest(gate) == nullptr) throw py::value_error("there are no definitions yet");
}

// What the application counts itself is asked for once the tenant is known.
void read_gauges(PyGate* gate, Arguments* arguments, const Decision& decision) {
  const Catalog& catalog = *decision.definitions->catalog;
  for (QuotaAsk& ask : arguments->asks) {
    if (!ask.gauge) continue;
    py::object value = py::reinterpret_borrow<py::object>(gate->on_gauge)(
        to_str(decision.tenant->id), to_str(catalog.quotas()[ask.quota].name));
    ask.gauge = !value.is_none();
    if (ask.gauge) ask.base = value.cast<uint64_t>();
  }
}

void report_events(PyGate* gate, PyDecision* object) {
  if (!object->decision.alerts) return;
  PyObject* answer = PyObject_CallOneArg(gate->on_event, reinterpret_cast<PyObject*>(object));
  if (answer == nullptr) {
    PyErr_WriteUnraisable(gate->on_event);  // the decision stands whatever becomes of its report
  } else {
    Py_DECREF(answer);
  }
  object->decision.alerts = false;
}

py::object new_answer(PyGate* gate) {
  return py::reinterpret_steal<py::object>(
      reinterpret_cast<PyObject*>(new_decision(gate->engine, gate->reasons, gate->quota_status)));
}

// The keywords of one call. They are read again when the definitions changed under the call,
// because names mean positions in a catalog.
struct Call {
  PyGate* gate;
  PyObject* const* args;
  Py_ssize_t first;
  PyObject* names;
  const char* function;
  bool dry_run = false;

  void read(Arguments* arguments) const {
    read_keywords(arguments, &gate->state->keywords, args, first, names, function);
    arguments->request.dry_run = dry_run;
  }
  NameCaches* name_caches() const { return &gate->state->names; }
};

// Runs `decide` until it was made with the newest definitions.
template <class Decide>
void until_current(const Call& call, PyDecision* object, Decide&& decide) {
  for (int attempt = 0; attempt < kStaleMax; ++attempt) {
    object->decision.stale = false;
    const auto& definitions = newest(call.gate);
    Arguments arguments(call.name_caches());
    call.read(&arguments);
    decide(definitions, &arguments);
    if (!object->decision.stale) return;
    if (!refresh(call.gate)) break;
  }
  newest(call.gate);
  Arguments arguments(call.name_caches());
  call.read(&arguments);
  arguments.set_origin(object->request);
  call.gate->state->engine->give_up(arguments.request, "definitions", &object->decision);
}

void name_default_action(PyGate* gate, Arguments* arguments) {
  if (arguments->action_named) return;
  arguments->request.admit_action = gate->state->definitions->catalog->default_action();
}

void run_check(const Call& call, PyDecision* object) {
  Engine& engine = *call.gate->state->engine;
  bool admitted = false;
  until_current(call, object, [&](const auto& definitions, Arguments* arguments) {
    name_default_action(call.gate, arguments);
    if (!arguments->any_gauge) {
      engine.check(definitions, arguments->request, &object->decision);
      return;
    }
    if (!admitted) {
      engine.admit(definitions, arguments->request, &object->decision);
      if (!object->decision.allowed()) return;
      admitted = true;
    }
    read_gauges(call.gate, arguments, object->decision);
    engine.authorize(arguments->request, &object->decision);
  });
}

void no_positional(Py_ssize_t count, const char* function) {
  if (count != 0) {
    throw py::type_error(std::string(function) + "() takes keyword arguments only");
  }
}

PyObject* decide_whole(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names,
                       const char* function, bool dry_run) {
  return guarded([&] {
    PyGate* gate = as_gate(self);
    no_positional(count, function);
    need_definitions(gate);
    py::object answer = new_answer(gate);
    auto* object = reinterpret_cast<PyDecision*>(answer.ptr());
    run_check(Call{gate, args, 0, names, function, dry_run}, object);
    if (!dry_run) report_events(gate, object);
    return answer.release().ptr();
  });
}

PyObject* gate_check(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return decide_whole(self, args, count, names, "check", false);
}

PyObject* gate_dry_run(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return decide_whole(self, args, count, names, "dry_run", true);
}

PyObject* gate_admit(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&] {
    PyGate* gate = as_gate(self);
    no_positional(count, "admit");
    need_definitions(gate);
    py::object answer = new_answer(gate);
    auto* object = reinterpret_cast<PyDecision*>(answer.ptr());
    const Call call{gate, args, 0, names, "admit"};
    until_current(call, object, [&](const auto& definitions, Arguments* arguments) {
      arguments->request.reserve = true;
      name_default_action(gate, arguments);
      // A named action takes the place of the default one in this half.
      if (arguments->action_named) {
        arguments->request.admit_action = std::exchange(arguments->request.action, kNoIndex);
      }
      if (object->request == nullptr && arguments->web_request() != nullptr) {
        object->request = Py_NewRef(arguments->web_request());
      }
      gate->state->engine->admit(definitions, arguments->request, &object->decision);
    });
    report_events(gate, object);
    return answer.release().ptr();
  });
}

PyObject* gate_authorize(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&] {
    PyGate* gate = as_gate(self);
    if (count != 1 || !is_decision(args[0])) {
      throw py::type_error("authorize() takes the decision of admit() and keyword arguments");
    }
    auto* object = reinterpret_cast<PyDecision*>(args[0]);
    const Call call{gate, args, 1, names, "authorize"};
    until_current(call, object, [&](const auto&, Arguments* arguments) {
      arguments->request.reserve = true;
      arguments->set_origin(object->request);
      if (object->decision.allowed() && arguments->any_gauge) {
        read_gauges(gate, arguments, object->decision);
      }
      gate->state->engine->authorize(arguments->request, &object->decision);
    });
    report_events(gate, object);
    return Py_NewRef(args[0]);
  });
}

PyObject* gate_finish(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&]() -> PyObject* {
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    const bool by_name = named == 1 && utf8_view(PyTuple_GET_ITEM(names, 0)) == "status";
    if (count < 1 || count + named > 2 || (named != 0 && !by_name) || !is_decision(args[0])) {
      throw py::type_error("finish() takes a decision and a status");
    }
    int status = 200;
    if (count + named == 2) {
      status = static_cast<int>(PyLong_AsLong(args[1]));
      if (status == -1 && PyErr_Occurred() != nullptr) throw py::error_already_set();
    }
    as_gate(self)->state->engine->finish(&reinterpret_cast<PyDecision*>(args[0])->decision, status);
    Py_RETURN_NONE;
  });
}

Reason reason_named(PyObject* code) {
  const std::string_view name = utf8_view(code);
  for (size_t i = 0; i < kReasons; ++i) {
    const auto reason = static_cast<Reason>(i);
    if (reason != Reason::kAllowed && reason_code(reason) == name) return reason;
  }
  throw py::value_error("code: \"" + std::string(name) + "\" is no reason of a refusal");
}

// note_refusal(decision or None, code, detail, question, **keywords of check)
PyObject* gate_note_refusal(PyObject* self, PyObject* const* args, Py_ssize_t count,
                            PyObject* names) {
  return guarded([&]() -> PyObject* {
    PyGate* gate = as_gate(self);
    if (count != 4 || (args[0] != Py_None && !is_decision(args[0]))) {
      throw py::type_error(
          "note_refusal() takes a decision or None, a code, a detail, whether it was a question, "
          "and keyword arguments");
    }
    Refusal refusal;
    refusal.reason = reason_named(args[1]);
    refusal.detail = utf8_view(args[2]);
    refusal.question = args[3] == Py_True;
    need_definitions(gate);
    Arguments arguments(&gate->state->names);
    Call{gate, args, 4, names, "note_refusal"}.read(&arguments);
    const PyDecision* within =
        args[0] == Py_None ? nullptr : reinterpret_cast<PyDecision*>(args[0]);
    if (within != nullptr) arguments.set_origin(within->request);
    gate->state->engine->note_refusal(arguments.request, refusal,
                                      within == nullptr ? nullptr : &within->decision);
    Py_RETURN_NONE;
  });
}

PyObject* gate_set_gauges(PyObject* self, PyObject* names) {
  return guarded([&]() -> PyObject* {
    GateState& state = *as_gate(self)->state;
    state.gauge_names.clear();
    for (py::handle name : py::reinterpret_borrow<py::object>(names)) {
      state.gauge_names.emplace_back(utf8_view(name));
    }
    state.names.catalog = nullptr;  // computed again with the next call
    state.published = UINT64_MAX;
    Py_RETURN_NONE;
  });
}

int gate_init(PyObject* self, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"engine",  "on_stale",     "on_event", "on_gauge",
                                "reasons", "quota_status", nullptr};
  PyGate* gate = as_gate(self);
  PyObject* engine = nullptr;
  PyObject* on_stale = nullptr;
  PyObject* on_event = nullptr;
  PyObject* on_gauge = nullptr;
  PyObject* reasons = nullptr;
  int quota_status = 403;
  if (PyArg_ParseTupleAndKeywords(args, keywords, "OOOOO|i", const_cast<char**>(names), &engine,
                                  &on_stale, &on_event, &on_gauge, &reasons, &quota_status) == 0) {
    return -1;
  }
  if (gate->state != nullptr) {
    PyErr_SetString(PyExc_TypeError, "a gate is made once");
    return -1;
  }
  if (quota_status != 403 && quota_status != 429) {
    PyErr_SetString(PyExc_ValueError, "quota_status: expected 403 or 429");
    return -1;
  }
  PyObject* done = guarded([&]() -> PyObject* {
    auto state = std::make_unique<GateState>();
    state->engine = py::cast<std::shared_ptr<Engine>>(py::handle(engine));
    py::tuple members(py::reinterpret_borrow<py::object>(reasons));
    if (members.size() != kReasons)
      throw py::value_error("reasons: expected one per engine reason");
    gate->engine = Py_NewRef(engine);
    gate->reasons = members.release().ptr();
    gate->state = state.release();
    return Py_NewRef(Py_None);
  });
  if (done == nullptr) return -1;
  Py_DECREF(done);
  gate->on_stale = Py_NewRef(on_stale);
  gate->on_event = Py_NewRef(on_event);
  gate->on_gauge = Py_NewRef(on_gauge);
  gate->quota_status = quota_status;
  return 0;
}

int gate_traverse(PyObject* self, visitproc visit, void* arg) {
  PyGate* gate = as_gate(self);
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(gate->engine);
  Py_VISIT(gate->on_stale);
  Py_VISIT(gate->on_event);
  Py_VISIT(gate->on_gauge);
  Py_VISIT(gate->reasons);
  return 0;
}

int gate_clear(PyObject* self) {
  PyGate* gate = as_gate(self);
  Py_CLEAR(gate->on_stale);
  Py_CLEAR(gate->on_event);
  Py_CLEAR(gate->on_gauge);
  return 0;
}

void gate_dealloc(PyObject* self) {
  PyGate* gate = as_gate(self);
  PyObject_GC_UnTrack(self);
  gate_clear(self);
  Py_CLEAR(gate->engine);
  Py_CLEAR(gate->reasons);
  delete gate->state;
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

template <class Fn>
PyCFunction as_c_function(Fn fn) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn));
}

PyMethodDef g_methods[] = {
    {"check", as_c_function(gate_check), METH_FASTCALL | METH_KEYWORDS, "Decide."},
    {"admit", as_c_function(gate_admit), METH_FASTCALL | METH_KEYWORDS, "The first half."},
    {"authorize", as_c_function(gate_authorize), METH_FASTCALL | METH_KEYWORDS, "The second half."},
    {"finish", as_c_function(gate_finish), METH_FASTCALL | METH_KEYWORDS, "Settle."},
    {"dry_run", as_c_function(gate_dry_run), METH_FASTCALL | METH_KEYWORDS,
     "Decide without taking anything."},
    {"note_refusal", as_c_function(gate_note_refusal), METH_FASTCALL | METH_KEYWORDS,
     "Leave the fact of a refusal that is no decision."},
    {"set_gauges", gate_set_gauges, METH_O, "Quotas whose value the application counts itself."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot g_slots[] = {{Py_tp_init, reinterpret_cast<void*>(gate_init)},
                         {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(gate_dealloc)},
                         {Py_tp_traverse, reinterpret_cast<void*>(gate_traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(gate_clear)},
                         {Py_tp_methods, g_methods},
                         {Py_tp_doc, const_cast<char*>("The decision calls of one engine.")},
                         {0, nullptr}};

PyType_Spec g_spec = {"tenancy._core.Gate", sizeof(PyGate), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, g_slots};

IdentityData make_identity(const py::object& principal, const py::iterable& tenants,
                           const py::object& scopes, const py::object& roles) {
  IdentityData out;
  if (!roles.is_none()) {
    out.roles.emplace();
    for (py::handle role : roles) out.roles->emplace_back(utf8_view(role));
  }
  if (!principal.is_none()) out.principal.assign(utf8_view(principal));
  for (py::handle tenant : tenants) out.tenants.emplace_back(utf8_view(tenant));
  if (scopes.is_none()) return out;
  out.scoped = true;
  for (py::handle scope : scopes) {
    const std::string_view text = utf8_view(scope);
    if (valid_permission(text, true)) out.scopes.emplace_back(text);  // claims of others' making
  }
  return out;
}

}  // namespace

void bind_gate(py::module_& module) {
  prepare_request_origin();
  bind_decision_types(module);
  py::class_<IdentityData>(
      module, "Identity",
      "A caller whom the program verified itself: the tenants it may select, its "
      "user and scopes.")
      .def(py::init(&make_identity), py::arg("principal") = py::none(),
           py::arg("tenants") = py::tuple(), py::arg("scopes") = py::none(),
           py::arg("roles") = py::none())
      .def_readonly("principal", &IdentityData::principal);
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&g_spec));
  if (type == nullptr) throw py::error_already_set();
  module.add_object("Gate", reinterpret_cast<PyObject*>(type));
}

}  // namespace tenancy
