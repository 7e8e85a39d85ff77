// Emitter: audit facts from Python straight into the log's ring, with no Python in between.
//
// It records by itself what most facts are: texts of printable ASCII, a type that was seen before,
// a context of texts and whole numbers, a principal that is named, nothing to seal. All else goes,
// with its arguments as they came, to the function it was made with, which knows every rule, says
// what is wrong and waits. A fact that both can record is recorded alike by both.
#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "bind_catalog.h"
#include "log_fields.h"
#include "plain_fact.h"
#include "pybind.h"
#include "tenancy/engine/engine.h"

namespace tenancy {
namespace {

constexpr size_t kTypesMax = 1024;
// Where there is no room at once, the other function waits, and others run meanwhile.
constexpr int64_t kRoomWaitNs = 1'000'000;

// In the order of `FactArgument`.
constexpr std::array<const char*, kFactArguments> kNames = {
    "type",    "tenant",    "action",      "resource", "result",
    "context", "principal", "resource_id", "ack",      "subject"};
std::array<PyObject*, kNames.size()> g_emit_names{};  // interned, as those of calls are
PyObject* g_id = nullptr;                             // "id", interned

struct EmitterState {
  std::shared_ptr<log::Log> log;
  std::shared_ptr<Engine> engine;
  std::map<std::string, log::Class, std::less<>> types;
  // Nothing is sealed under this catalog. Held, so that no other can have its address.
  std::shared_ptr<const Catalog> plain;
};

struct PyEmitter {
  PyObject_HEAD EmitterState* state;
  PyObject* tenant_type;
  PyObject* rest;
};
PyEmitter* as_emitter(PyObject* self) { return reinterpret_cast<PyEmitter*>(self); }

bool read_given(PyObject* const* args, Py_ssize_t positional, PyObject* names,
                FactArguments* given) {
  if (positional > 1) return false;
  if (positional == 1) (*given)[kType] = args[0];
  const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
  for (Py_ssize_t i = 0; i < named; ++i) {
    const auto place = static_cast<size_t>(
        std::ranges::find(g_emit_names, PyTuple_GET_ITEM(names, i)) - g_emit_names.begin());
    if (place == kNames.size() || (place == kType && positional == 1)) return false;
    PyObject* const value = args[positional + i];
    (*given)[place] = value == Py_None ? nullptr : value;
  }
  return true;
}

// Whose fact it is: a record of a tenant, or one of its names.
bool read_tenant(const PyEmitter& self, const Definitions& definitions, PyObject* tenant,
                 py::object* held, std::optional<std::string_view>* id) {
  if (tenant == nullptr) return true;
  std::string_view text;
  if (reinterpret_cast<PyObject*>(Py_TYPE(tenant)) == self.tenant_type) {
    *held = py::reinterpret_steal<py::object>(PyObject_GetAttr(tenant, g_id));
    if (!*held) throw py::error_already_set();
    if (!read_plain(held->ptr(), kPlainTextMax, &text)) return false;
    *id = text;
    return true;
  }
  if (!read_plain(tenant, kPlainTextMax, &text)) return false;
  const TenantEntry* const entry = definitions.registry->by_reference(text);
  if (entry == nullptr) return false;
  *id = entry->id;
  return true;
}

bool is_ring(PyObject* ack) {
  std::string_view text;
  return ack != nullptr && read_plain(ack, kPlainTextMax, &text) && text == "ring";
}

struct Emitted {
  py::object id;
  uint64_t end;  // in the ring
};

// The fact, committed; none where it is for the other function.
std::optional<Emitted> commit_plain(const PyEmitter& self, const FactArguments& given) {
  EmitterState& state = *self.state;
  std::string_view type;
  if (given[kSubject] != nullptr || given[kType] == nullptr ||
      !read_plain(given[kType], kPlainTextMax, &type)) {
    return std::nullopt;
  }
  const auto known = state.types.find(type);
  if (known == state.types.end() || !state.engine->current()) return std::nullopt;
  const std::shared_ptr<const Definitions> definitions = state.engine->definitions();
  if (definitions == nullptr || definitions->catalog != state.plain) return std::nullopt;

  log::Entry entry;
  py::object held;
  if (!read_tenant(self, *definitions, given[kTenant], &held, &entry.tenant)) return std::nullopt;
  PlainFact fact;
  entry.time_ns = state.engine->clock().wall_ns();
  if (!fact.fill(given, type, definitions->revision, entry.time_ns)) return std::nullopt;
  const std::array<char, 36> text = uuid_text(fact.id_bytes());
  py::object id = to_str({text.data(), text.size()});
  entry.chain = known->second;
  entry.fields = fact.fields();
  entry.wait_ns = kRoomWaitNs;
  // A failure has recorded nothing: it is told by the one that waits for longer.
  const Result<log::Ticket> ticket = state.log->submit(entry);
  if (!ticket) return std::nullopt;
  return Emitted{std::move(id), ticket->end};
}

PyObject* emit(PyObject* self, PyObject* const* args, Py_ssize_t positional, PyObject* names) {
  return guarded([&] {
    const PyEmitter& emitter = *as_emitter(self);
    FactArguments given{};
    if (read_given(args, positional, names, &given) && is_ring(given[kAck])) {
      if (auto emitted = commit_plain(emitter, given)) return emitted->id.release().ptr();
    }
    return PyObject_Vectorcall(emitter.rest, args, static_cast<size_t>(positional), names);
  });
}

PyObject* submit(PyObject* self, PyObject* const* args, Py_ssize_t positional, PyObject* names) {
  return guarded([&] {
    FactArguments given{};
    if (!read_given(args, positional, names, &given) || given[kAck] != nullptr) {
      throw py::type_error("submit() takes the arguments of emit() but `ack`");
    }
    const std::optional<Emitted> emitted = commit_plain(*as_emitter(self), given);
    if (!emitted) return Py_NewRef(Py_None);
    return py::make_tuple(emitted->id, emitted->end).release().ptr();
  });
}

// Facts of this type, which is right, belong into that chain.
PyObject* know(PyObject* self, PyObject* const* args, Py_ssize_t count) {
  return guarded([&] {
    if (count != 2) throw py::type_error("know() takes a type and its chain");
    EmitterState& state = *as_emitter(self)->state;
    if (state.types.size() < kTypesMax) {
      state.types.try_emplace(std::string(utf8_view(args[0])), log_class_of(args[1]));
    }
    return Py_NewRef(Py_None);
  });
}

// Nothing is sealed while this catalog is in force.
PyObject* nothing_sealed(PyObject* self, PyObject* catalog) {
  return guarded([&] {
    if (!py::isinstance<Catalog>(catalog)) throw py::type_error("expected a compiled catalog");
    as_emitter(self)->state->plain = py::cast<std::shared_ptr<Catalog>>(py::handle(catalog));
    return Py_NewRef(Py_None);
  });
}

int emitter_init(PyObject* self, PyObject* args, PyObject* kwargs) {
  PyObject* log = nullptr;
  PyObject* engine = nullptr;
  PyObject* tenant_type = nullptr;
  PyObject* rest = nullptr;
  if (kwargs != nullptr && PyDict_GET_SIZE(kwargs) != 0) {
    PyErr_SetString(PyExc_TypeError, "Emitter() takes its arguments by position");
    return -1;
  }
  if (PyArg_ParseTuple(args, "OOO!O", &log, &engine, &PyType_Type, &tenant_type, &rest) == 0) {
    return -1;
  }
  PyEmitter* const emitter = as_emitter(self);
  if (emitter->state != nullptr) {
    PyErr_SetString(PyExc_TypeError, "Emitter.__init__ was called before");
    return -1;
  }
  try {
    auto state = std::make_unique<EmitterState>();
    state->log = py::cast<std::shared_ptr<log::Log>>(py::handle(log));
    state->engine = py::cast<std::shared_ptr<Engine>>(py::handle(engine));
    emitter->state = state.release();
  } catch (const py::cast_error&) {
    PyErr_SetString(PyExc_TypeError, "expected a Log and an Engine");
    return -1;
  }
  emitter->tenant_type = Py_NewRef(tenant_type);
  emitter->rest = Py_NewRef(rest);
  return 0;
}

int emitter_traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  Py_VISIT(as_emitter(self)->tenant_type);
  Py_VISIT(as_emitter(self)->rest);
  return 0;
}

int emitter_clear(PyObject* self) {
  Py_CLEAR(as_emitter(self)->tenant_type);
  Py_CLEAR(as_emitter(self)->rest);
  return 0;
}

void emitter_dealloc(PyObject* self) {
  PyObject_GC_UnTrack(self);
  emitter_clear(self);
  delete as_emitter(self)->state;
  PyTypeObject* const type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

template <class Fn>
PyCFunction c_function_of(Fn fn) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(fn));
}

PyMethodDef g_emitter_methods[] = {
    {"emit", c_function_of(emit), METH_FASTCALL | METH_KEYWORDS, "Record a fact; its id."},
    {"submit", c_function_of(submit), METH_FASTCALL | METH_KEYWORDS,
     "Commit a fact; its id and its end in the ring, or None."},
    {"know", c_function_of(know), METH_FASTCALL, "Facts of this type go into that chain."},
    {"nothing_sealed", nothing_sealed, METH_O, "Nothing is sealed under this catalog."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot g_emitter_slots[] = {
    {Py_tp_init, reinterpret_cast<void*>(emitter_init)},
    {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
    {Py_tp_dealloc, reinterpret_cast<void*>(emitter_dealloc)},
    {Py_tp_traverse, reinterpret_cast<void*>(emitter_traverse)},
    {Py_tp_clear, reinterpret_cast<void*>(emitter_clear)},
    {Py_tp_methods, g_emitter_methods},
    {Py_tp_doc, const_cast<char*>("Writes audit facts straight into the log.")},
    {0, nullptr}};

PyType_Spec g_emitter_spec = {"tenancy._core.Emitter", sizeof(PyEmitter), 0,
                              Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, g_emitter_slots};

PyObject* interned_name(const char* text) {
  PyObject* const name = PyUnicode_InternFromString(text);
  if (name == nullptr) throw py::error_already_set();
  return name;
}

}  // namespace

void bind_emitter(py::module_& module) {
  std::ranges::transform(kNames, g_emit_names.begin(), interned_name);
  g_id = interned_name("id");
  auto* type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&g_emitter_spec));
  if (type == nullptr) throw py::error_already_set();
  module.add_object("Emitter", reinterpret_cast<PyObject*>(type));
}

}  // namespace tenancy
