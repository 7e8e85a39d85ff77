// RequestContext: the part of a TenantContext that every request has.
#include "request_types.h"

// After Python.h, which it forgets to include.
#include <structmember.h>

namespace tenancy {
namespace {

PyTypeObject* g_type = nullptr;

PyRequestContext* as_context(PyObject* self) { return reinterpret_cast<PyRequestContext*>(self); }

using Kept = References<
    PyRequestContext, &PyRequestContext::tenancy, &PyRequestContext::decision,
    &PyRequestContext::client_session_id, &PyRequestContext::headers, &PyRequestContext::claims,
    &PyRequestContext::window, &PyRequestContext::record, &PyRequestContext::own_session_id,
    &PyRequestContext::own_key_id, &PyRequestContext::own_principal, &PyRequestContext::own_scopes,
    &PyRequestContext::own_roles, &PyRequestContext::own_tenant_id, &PyRequestContext::meters>;

// (tenancy, decision, request_time_ns, headers=(), client_session_id=None, claims=()). A time of
// None is the decision's.
PyObject* context_new(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  const Py_ssize_t count = PyTuple_GET_SIZE(args);
  if (count < 3 || count > 6 || keywords != nullptr) {
    PyErr_SetString(PyExc_TypeError, "a context takes three to six positional arguments");
    return nullptr;
  }
  long long time_ns = 0;
  if (PyTuple_GET_ITEM(args, 2) != Py_None) {
    time_ns = PyLong_AsLongLong(PyTuple_GET_ITEM(args, 2));
    if (time_ns == -1 && PyErr_Occurred() != nullptr) return nullptr;
  } else if (is_decision(PyTuple_GET_ITEM(args, 1))) {
    time_ns = reinterpret_cast<PyDecision*>(PyTuple_GET_ITEM(args, 1))->decision.now_wall_ns;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  PyRequestContext* context = as_context(self);
  const auto item = [&](Py_ssize_t i) { return Py_NewRef(PyTuple_GET_ITEM(args, i)); };
  context->tenancy = item(0);
  context->decision = item(1);
  context->request_time_ns = time_ns;
  context->headers = count > 3 ? item(3) : PyTuple_New(0);
  context->client_session_id = count > 4 ? item(4) : nullptr;
  context->claims = count > 5 ? item(5) : PyTuple_New(0);
  return self;
}

py::object text_or_none(std::string_view text) {
  return text.empty() ? py::object(py::none()) : py::object(to_str(text));
}
py::object stored(PyObject* value) {
  return value == nullptr ? py::object(py::none()) : py::reinterpret_borrow<py::object>(value);
}

py::object tenant_id_of(const PyRequestContext& context) {
  const PyDecision* decision = decision_of(context);
  if (decision == nullptr) return stored(context.own_tenant_id);
  const TenantEntry* tenant = decision->decision.tenant;
  return text_or_none(tenant == nullptr ? std::string_view() : tenant->id);
}
py::object principal_of(const PyRequestContext& context) {
  const PyDecision* decision = decision_of(context);
  return decision == nullptr ? stored(context.own_principal)
                             : text_or_none(decision->decision.principal);
}
py::object key_id_of(const PyRequestContext& context) {
  const PyDecision* decision = decision_of(context);
  if (decision == nullptr) return stored(context.own_key_id);
  const KeyEntry* key = decision->decision.key;
  return text_or_none(key == nullptr ? std::string_view() : key->id);
}

template <py::object (*kOf)(const PyRequestContext&)>
PyObject* get(PyObject* self, void*) {
  try {
    return kOf(*as_context(self)).release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  }
  return nullptr;
}

// The request is over. Frameworks leave requests in reference cycles, and a decision is large: it
// must not wait there for the collector. Who it was stays known.
PyObject* context_end(PyObject* self, PyObject*) {
  PyRequestContext* context = as_context(self);
  context->over = 1;
  if (decision_of(*context) == nullptr) Py_RETURN_NONE;
  try {
    Py_XSETREF(context->own_session_id, session_id_of(*context).release().ptr());
    Py_XSETREF(context->own_tenant_id, tenant_id_of(*context).release().ptr());
    Py_XSETREF(context->own_principal, principal_of(*context).release().ptr());
    Py_XSETREF(context->own_key_id, key_id_of(*context).release().ptr());
    Py_XSETREF(context->own_roles,
               active_roles_of(decision_of(*context)->decision).release().ptr());
  } catch (py::error_already_set& error) {
    error.restore();
    return nullptr;
  }
  Py_CLEAR(context->decision);
  Py_RETURN_NONE;
}

#define TENANCY_MEMBER(name, type, field) \
  { name, type, offsetof(PyRequestContext, field), 0, nullptr }
PyMemberDef g_members[] = {TENANCY_MEMBER("tenancy", T_OBJECT, tenancy),
                           TENANCY_MEMBER("decision", T_OBJECT, decision),
                           TENANCY_MEMBER("request_time_ns", T_LONGLONG, request_time_ns),
                           TENANCY_MEMBER("client_session_id", T_OBJECT, client_session_id),
                           TENANCY_MEMBER("window", T_OBJECT, window),
                           TENANCY_MEMBER("over", T_BOOL, over),
                           TENANCY_MEMBER("refused", T_BOOL, refused),
                           TENANCY_MEMBER("reserves", T_BOOL, reserves),
                           TENANCY_MEMBER("_headers", T_OBJECT, headers),
                           TENANCY_MEMBER("_claims", T_OBJECT, claims),
                           TENANCY_MEMBER("_record", T_OBJECT, record),
                           TENANCY_MEMBER("_session_id", T_OBJECT, own_session_id),
                           TENANCY_MEMBER("_key_id", T_OBJECT, own_key_id),
                           TENANCY_MEMBER("_principal", T_OBJECT, own_principal),
                           TENANCY_MEMBER("_scopes", T_OBJECT, own_scopes),
                           TENANCY_MEMBER("_roles", T_OBJECT, own_roles),
                           TENANCY_MEMBER("_tenant_id", T_OBJECT, own_tenant_id),
                           TENANCY_MEMBER("meters", T_OBJECT, meters),
                           TENANCY_MEMBER("_endpoint_counted", T_BOOL, endpoint_counted),
                           TENANCY_MEMBER("_leased", T_BOOL, leased),
                           {nullptr, 0, 0, 0, nullptr}};
#undef TENANCY_MEMBER

PyGetSetDef g_getters[] = {{"tenant_id", get<tenant_id_of>, nullptr, nullptr, nullptr},
                           {"principal", get<principal_of>, nullptr, nullptr, nullptr},
                           {"key_id", get<key_id_of>, nullptr, nullptr, nullptr},
                           {"session_id", get<session_id_of>, nullptr, nullptr, nullptr},
                           {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyMethodDef g_methods[] = {{"end", context_end, METH_NOARGS, "The request is over."},
                           {nullptr, nullptr, 0, nullptr}};

PyType_Slot g_slots[] = {{Py_tp_new, reinterpret_cast<void*>(context_new)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(Kept::dealloc)},
                         {Py_tp_traverse, reinterpret_cast<void*>(Kept::traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(Kept::clear)},
                         {Py_tp_members, g_members},
                         {Py_tp_getset, g_getters},
                         {Py_tp_methods, g_methods},
                         {Py_tp_doc, const_cast<char*>("What every request's context has.")},
                         {0, nullptr}};

PyType_Spec g_spec = {"tenancy._core.RequestContext", sizeof(PyRequestContext), 0,
                      Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, g_slots};

}  // namespace

bool is_request_context(PyObject* object) { return PyObject_TypeCheck(object, g_type) != 0; }

PyDecision* decision_of(const PyRequestContext& context) {
  PyObject* decision = context.decision;
  return decision != nullptr && is_decision(decision) ? reinterpret_cast<PyDecision*>(decision)
                                                      : nullptr;
}

py::object session_id_of(const PyRequestContext& context) {
  const PyObject* own = context.own_session_id;
  const PyObject* client = context.client_session_id;
  if ((own != nullptr && own != Py_None) || client == nullptr || client == Py_None) {
    return stored(context.own_session_id);
  }
  // What the client calls its session is one only where the decision found it.
  const PyDecision* decision = decision_of(context);
  const bool found = decision != nullptr && decision->decision.session != nullptr;
  return found ? stored(context.client_session_id) : py::object(py::none());
}

void bind_request_context(py::module_& module) {
  g_type = reinterpret_cast<PyTypeObject*>(PyType_FromSpec(&g_spec));
  if (g_type == nullptr) throw py::error_already_set();
  module.add_object("RequestContext", reinterpret_cast<PyObject*>(g_type));
}

}  // namespace tenancy
