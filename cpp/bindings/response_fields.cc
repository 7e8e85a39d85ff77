// ResponseFields: which fields the responses of one middleware get.
#include "request_types.h"

namespace tenancy {
namespace {

__extension__ using Wide = unsigned __int128;

PyTypeObject* g_type = nullptr;

PyResponseFields* as_fields(PyObject* self) { return reinterpret_cast<PyResponseFields*>(self); }

py::object own(PyObject* made) {
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

// Which window to show when an inline limit answered too: the one with the smallest share left.
void append_tightest(PyObject* list, const PyDecision& decision, PyObject* inline_window,
                     Protocol protocol) {
  const LimitEntry* entry = tightest_of(decision.decision);
  const int64_t now_wall_ns = decision.decision.now_wall_ns;
  if (inline_window == nullptr || inline_window == Py_None) {
    if (entry != nullptr) {
      append_window_fields(list, shown_window(*entry), now_wall_ns, protocol);
    }
    return;
  }
  py::object keep;
  const ShownWindow other = shown_window(inline_window, &keep);
  const bool inline_is_shown = entry == nullptr || Wide{other.remaining} * entry->state.limit <
                                                       Wide{entry->state.remaining} * other.limit;
  append_window_fields(list, inline_is_shown ? other : shown_window(*entry), now_wall_ns, protocol);
}

py::object tenant_value(const std::string& id, Protocol protocol) {
  return protocol == Protocol::kAsgi ? py::object(to_bytes(id)) : py::object(to_str(id));
}
py::object session_value(py::object text, Protocol protocol) {
  if (protocol == Protocol::kWsgi) return text;
  return own(PyUnicode_AsEncodedString(text.ptr(), "ascii", "replace"));
}

// Names as both protocols have them; null for None.
void read_name(PyObject* text, PyObject** names) {
  if (text == nullptr || text == Py_None) return;
  const py::object lower = own(PyObject_CallMethod(text, "lower", nullptr));
  const py::object raw = own(PyUnicode_AsASCIIString(lower.ptr()));
  Py_XSETREF(names[static_cast<size_t>(Protocol::kWsgi)], Py_NewRef(text));
  Py_XSETREF(names[static_cast<size_t>(Protocol::kAsgi)], Py_NewRef(raw.ptr()));
}

int fields_init(PyObject* self, PyObject* args, PyObject* keywords) {
  static const char* names[] = {"limits", "tenant", "session", nullptr};
  int limits = 1;
  PyObject* tenant = nullptr;
  PyObject* session = nullptr;
  if (PyArg_ParseTupleAndKeywords(args, keywords, "|$pOO", const_cast<char**>(names), &limits,
                                  &tenant, &session) == 0) {
    return -1;
  }
  PyResponseFields* fields = as_fields(self);
  fields->limits = limits != 0;
  try {
    read_name(tenant, fields->tenant_names);
    read_name(session, fields->session_names);
  } catch (py::error_already_set& error) {
    error.restore();
    return -1;
  }
  return 0;
}

void fields_dealloc(PyObject* self) {
  PyResponseFields* fields = as_fields(self);
  for (size_t side = 0; side < kProtocols; ++side) {
    Py_XDECREF(fields->tenant_names[side]);
    Py_XDECREF(fields->session_names[side]);
  }
  PyTypeObject* type = Py_TYPE(self);
  type->tp_free(self);
  Py_DECREF(type);
}

PyType_Slot g_slots[] = {{Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
                         {Py_tp_init, reinterpret_cast<void*>(fields_init)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(fields_dealloc)},
                         {Py_tp_doc, const_cast<char*>("Which fields responses get.")},
                         {0, nullptr}};

PyType_Spec g_spec = {"tenancy._core.ResponseFields", sizeof(PyResponseFields), 0,
                      Py_TPFLAGS_DEFAULT, g_slots};

}  // namespace

bool is_response_fields(PyObject* object) { return Py_IS_TYPE(object, g_type); }

void append_response_fields(PyObject* list, const PyResponseFields& options,
                            const PyDecision& decision, const PyRequestContext* context,
                            Protocol protocol) {
  if (options.limits) {
    append_tightest(list, decision, context == nullptr ? nullptr : context->window, protocol);
  }
  if (context == nullptr) return;
  const size_t side = static_cast<size_t>(protocol);
  const TenantEntry* tenant = decision.decision.tenant;
  if (options.tenant_names[side] != nullptr && tenant != nullptr) {
    const py::object value = tenant_value(tenant->id, protocol);
    append_to(list, make_pair_of(options.tenant_names[side], value.ptr()));
  }
  if (options.session_names[side] == nullptr) return;
  py::object session = session_id_of(*context);
  if (session.is_none()) return;
  const py::object value = session_value(std::move(session), protocol);
  append_to(list, make_pair_of(options.session_names[side], value.ptr()));
}

void bind_response_fields(py::module_& module) {
  g_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&g_spec));
  if (g_type == nullptr) throw py::error_already_set();
  module.add_object("ResponseFields", reinterpret_cast<PyObject*>(g_type));
}

}  // namespace tenancy
