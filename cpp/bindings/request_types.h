// What one web request is made of, so that a middleware costs little:
//   RequestContext  who the request is for; tenancy.context.TenantContext is made from it
//   ResponseFields  the options of one middleware that shape its response headers
//   AsgiExchange, WsgiExchange  a request under way, which put the fields into its response
//
// Ownership: an exchange holds its decision and context, a context holds its decision until the
// request ends. Thread safety: under the interpreter's lock.
#pragma once

#include "header_fields.h"

namespace tenancy {

struct PyRequestContext {
  PyObject_HEAD PyObject* tenancy;
  PyObject* decision;  // null or None outside of a request and after its end
  PyObject* client_session_id;
  PyObject* headers;
  PyObject* claims;
  PyObject* window;  // of an inline limit
  PyObject* record;
  PyObject* own_session_id;
  // Who it is without a decision.
  PyObject* own_key_id;
  PyObject* own_principal;
  PyObject* own_scopes;
  PyObject* own_roles;
  PyObject* own_tenant_id;
  PyObject* meters;  // what its route and handler say it used; null for nothing
  long long request_time_ns;
  char over;
  char refused;
  char reserves;
  char endpoint_counted;
  char leased;
};
bool is_request_context(PyObject* object);
// The decision of a request that is not over, or null.
PyDecision* decision_of(const PyRequestContext& context);
// The session's id as a str, or None.
py::object session_id_of(const PyRequestContext& context);

struct PyResponseFields {
  PyObject_HEAD bool limits;
  // Names of the fields for tenant and session; null where none is sent.
  PyObject* tenant_names[kProtocols];
  PyObject* session_names[kProtocols];
};
bool is_response_fields(PyObject* object);
// What a response says of its caller and of what is left. `context` is null where nobody is served.
void append_response_fields(PyObject* list, const PyResponseFields& options,
                            const PyDecision& decision, const PyRequestContext* context,
                            Protocol protocol);

void bind_header_scan(py::module_& module);
void bind_request_context(py::module_& module);
void bind_response_fields(py::module_& module);
void bind_exchange_types(py::module_& module);

// tp_traverse and tp_clear of an object whose references are listed.
template <class Object, PyObject* Object::*... kMembers>
struct References {
  static int traverse(PyObject* self, visitproc visit, void* arg) {
    Py_VISIT(Py_TYPE(self));
    auto* object = reinterpret_cast<Object*>(self);
    int stopped = 0;
    const auto one = [&](PyObject* member) {
      if (member != nullptr && stopped == 0) stopped = visit(member, arg);
    };
    (one(object->*kMembers), ...);
    return stopped;
  }
  static int clear(PyObject* self) {
    auto* object = reinterpret_cast<Object*>(self);
    const auto one = [](PyObject*& member) { Py_CLEAR(member); };
    (one(object->*kMembers), ...);
    return 0;
  }
  static void dealloc(PyObject* self) {
    PyObject_GC_UnTrack(self);
    clear(self);
    PyTypeObject* type = Py_TYPE(self);
    type->tp_free(self);
    Py_DECREF(type);
  }
};

}  // namespace tenancy
