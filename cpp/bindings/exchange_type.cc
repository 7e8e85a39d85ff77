// AsgiExchange and WsgiExchange: a request under way. Their `send` and `start` stand between the
// application and the server and add the fields of the middleware to the response's beginning.
#include "request_types.h"

// After Python.h, which it forgets to include.
#include <structmember.h>

namespace tenancy {
namespace {

constexpr long kSwitchingProtocols = 101;  // a websocket that was accepted bears no status
constexpr int kUnknownStatus = 500;

// What both have. `status` is 0 until the response begins.
struct Exchange {
  PyObject_HEAD PyObject* fields;  // ResponseFields
  PyObject* forward;               // the server's `send` or `start_response`
  PyObject* decision;
  PyObject* context;   // a RequestContext, or null where nobody is served
  PyObject* finisher;  // of a list of fields, for a request from another origin; or null
  PyObject* receive;   // ASGI: the server's
  PyObject* body;      // WSGI: what the application returned
  PyObject* token;     // WSGI: to take the context out of force
  int status;
  char gone;    // ASGI: whoever asked went away before the response began
  char failed;  // WSGI: the body raised
};

using Kept = References<Exchange, &Exchange::fields, &Exchange::forward, &Exchange::decision,
                        &Exchange::context, &Exchange::finisher, &Exchange::receive,
                        &Exchange::body, &Exchange::token>;

Exchange* as_exchange(PyObject* self) { return reinterpret_cast<Exchange*>(self); }

// Names that are looked up in messages, made once.
struct Names {
  PyObject* type;
  PyObject* status;
  PyObject* headers;
  PyObject* watched;
  PyObject* not_begun;
  PyObject* begins[3];
};
Names g_names;

py::object own(PyObject* made) {
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

template <class Fn>
PyObject* guarded(Fn&& fn) {
  try {
    return fn().release().ptr();
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const std::exception& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what());
  }
  return nullptr;
}

// (fields, forward, decision, context, finisher)
PyObject* exchange_new(PyTypeObject* type, PyObject* args, PyObject* keywords) {
  if (PyTuple_GET_SIZE(args) != 5 || keywords != nullptr) {
    PyErr_SetString(PyExc_TypeError, "an exchange takes five positional arguments");
    return nullptr;
  }
  PyObject* const* items = &PyTuple_GET_ITEM(args, 0);
  if (!is_response_fields(items[0]) || !is_decision(items[2]) ||
      (items[3] != Py_None && !is_request_context(items[3]))) {
    PyErr_SetString(PyExc_TypeError, "an exchange takes ResponseFields, Decision, RequestContext");
    return nullptr;
  }
  PyObject* self = type->tp_alloc(type, 0);
  if (self == nullptr) return nullptr;
  Exchange* exchange = as_exchange(self);
  const auto given = [&](int i) { return items[i] == Py_None ? nullptr : Py_NewRef(items[i]); };
  exchange->fields = Py_NewRef(items[0]);
  exchange->forward = Py_NewRef(items[1]);
  exchange->decision = Py_NewRef(items[2]);
  exchange->context = given(3);
  exchange->finisher = given(4);
  return self;
}

// The application's fields and ours, in a new list.
py::object all_fields(const Exchange& exchange, py::object list, Protocol protocol) {
  // Whoever ends the request takes the decision away.
  if (exchange.decision == nullptr || !is_decision(exchange.decision)) return list;
  const py::object held = py::reinterpret_borrow<py::object>(exchange.decision);
  append_response_fields(list.ptr(), *reinterpret_cast<PyResponseFields*>(exchange.fields),
                         *reinterpret_cast<PyDecision*>(held.ptr()),
                         reinterpret_cast<PyRequestContext*>(exchange.context), protocol);
  if (exchange.finisher == nullptr) return list;
  return own(PyObject_CallOneArg(exchange.finisher, list.ptr()));
}

// Beside those of a refusal.
template <Protocol kProtocol>
PyObject* exchange_own_fields(PyObject* self, PyObject*) {
  return guarded([&] { return all_fields(*as_exchange(self), own(PyList_New(0)), kProtocol); });
}

// ------------------------------------------------------------------------------- ASGI

bool begins_response(PyObject* message) {
  const py::object type = own(PyObject_GetItem(message, g_names.type));
  if (!PyUnicode_Check(type.ptr())) return false;
  for (PyObject* name : g_names.begins) {
    if (type.ptr() == name || PyUnicode_Compare(type.ptr(), name) == 0) return true;
  }
  return false;
}

// A copy of the message: applications keep one and send it again.
py::object with_fields(Exchange* exchange, PyObject* message) {
  exchange->status = kUnknownStatus;
  const py::object copy = own(PyDict_Check(message) ? PyDict_Copy(message) : PyDict_New());
  if (!PyDict_Check(message) && PyDict_Update(copy.ptr(), message) != 0) {
    throw py::error_already_set();
  }
  PyObject* status = PyDict_GetItemWithError(copy.ptr(), g_names.status);
  const long number = status == nullptr ? kSwitchingProtocols : PyLong_AsLong(status);
  if (PyErr_Occurred() != nullptr) throw py::error_already_set();
  exchange->status = static_cast<int>(number);
  PyObject* headers = PyDict_GetItemWithError(copy.ptr(), g_names.headers);
  py::object list = own(headers == nullptr ? PyList_New(0) : PySequence_List(headers));
  list = all_fields(*exchange, std::move(list), Protocol::kAsgi);
  if (PyDict_SetItem(copy.ptr(), g_names.headers, list.ptr()) != 0) throw py::error_already_set();
  return copy;
}

// Not a coroutine function: later messages of a stream go straight to the server.
PyObject* asgi_send(PyObject* self, PyObject* message) {
  return guarded([&] {
    Exchange* exchange = as_exchange(self);
    py::object sent = py::reinterpret_borrow<py::object>(message);
    if (exchange->status == 0 && begins_response(message)) {
      try {
        sent = with_fields(exchange, message);
      } catch (py::error_already_set& error) {
        // A fault of ours, or a message that the server will refuse in its own words.
        const py::object& raised = error.value();
        own(PyObject_CallMethodOneArg(self, g_names.not_begun, raised.ptr()));
      }
    }
    return own(PyObject_CallOneArg(exchange->forward, sent.ptr()));
  });
}

// ------------------------------------------------------------------------------- WSGI

// `200 OK`: three digits, as PEP 3333 has them.
int status_of(PyObject* text) {
  Py_ssize_t size = 0;
  const char* line = PyUnicode_AsUTF8AndSize(text, &size);
  if (line == nullptr) throw py::error_already_set();
  int status = 0;
  for (int i = 0; i < 3; ++i) {
    if (i >= size || line[i] < '0' || line[i] > '9') {
      throw py::value_error("a status begins with three digits, got " +
                            std::string(line, static_cast<size_t>(std::min<Py_ssize_t>(size, 80))));
    }
    status = status * 10 + (line[i] - '0');
  }
  return status;
}

// start(status, headers, exc_info=None)
PyObject* wsgi_start(PyObject* self, PyObject* const* args, Py_ssize_t count, PyObject* names) {
  return guarded([&] {
    const Py_ssize_t named = names == nullptr ? 0 : PyTuple_GET_SIZE(names);
    const bool by_name =
        named == 1 && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(names, 0), "exc_info") == 0;
    if (count < 2 || count + named > 3 || (named != 0 && !by_name)) {
      throw py::type_error("start_response() takes a status, headers and exc_info");
    }
    Exchange* exchange = as_exchange(self);
    exchange->status = status_of(args[0]);
    const py::object list = all_fields(*exchange, own(PySequence_List(args[1])), Protocol::kWsgi);
    PyObject* call[] = {nullptr, args[0], list.ptr(), count + named == 3 ? args[2] : Py_None};
    const size_t given = call[3] == Py_None ? 2 : 3;
    return own(PyObject_Vectorcall(exchange->forward, call + 1,
                                   given | PY_VECTORCALL_ARGUMENTS_OFFSET, nullptr));
  });
}

// A list cannot fail on the way; of anything else it must be known whether it did.
PyObject* wsgi_iter(PyObject* self) {
  PyObject* body = as_exchange(self)->body;
  if (body != nullptr && PyList_CheckExact(body)) return PyObject_GetIter(body);
  return PyObject_CallMethodNoArgs(self, g_names.watched);
}

// ------------------------------------------------------------------------------- types

#define TENANCY_MEMBER(name, type) \
  { #name, type, offsetof(Exchange, name), 0, nullptr }
PyMemberDef g_asgi_members[] = {
    TENANCY_MEMBER(decision, T_OBJECT),
    {"context", T_OBJECT, offsetof(Exchange, context), READONLY, nullptr},
    TENANCY_MEMBER(receive, T_OBJECT),
    TENANCY_MEMBER(status, T_INT),
    TENANCY_MEMBER(gone, T_BOOL),
    {nullptr, 0, 0, 0, nullptr}};
PyMemberDef g_wsgi_members[] = {
    TENANCY_MEMBER(decision, T_OBJECT),
    {"context", T_OBJECT, offsetof(Exchange, context), READONLY, nullptr},
    TENANCY_MEMBER(body, T_OBJECT),
    TENANCY_MEMBER(token, T_OBJECT),
    TENANCY_MEMBER(status, T_INT),
    TENANCY_MEMBER(failed, T_BOOL),
    {nullptr, 0, 0, 0, nullptr}};
#undef TENANCY_MEMBER

PyMethodDef g_asgi_methods[] = {
    {"send", asgi_send, METH_O, "The server's `send`, with our fields in the first message."},
    {"own_fields", exchange_own_fields<Protocol::kAsgi>, METH_NOARGS, "Our fields alone."},
    {nullptr, nullptr, 0, nullptr}};
PyMethodDef g_wsgi_methods[] = {
    {"start", reinterpret_cast<PyCFunction>(reinterpret_cast<void (*)()>(wsgi_start)),
     METH_FASTCALL | METH_KEYWORDS, "The server's `start_response`, with our fields."},
    {"own_fields", exchange_own_fields<Protocol::kWsgi>, METH_NOARGS, "Our fields alone."},
    {nullptr, nullptr, 0, nullptr}};

PyType_Slot g_asgi_slots[] = {{Py_tp_new, reinterpret_cast<void*>(exchange_new)},
                              {Py_tp_dealloc, reinterpret_cast<void*>(Kept::dealloc)},
                              {Py_tp_traverse, reinterpret_cast<void*>(Kept::traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(Kept::clear)},
                              {Py_tp_members, g_asgi_members},
                              {Py_tp_methods, g_asgi_methods},
                              {Py_tp_doc, const_cast<char*>("An ASGI request under way.")},
                              {0, nullptr}};
PyType_Slot g_wsgi_slots[] = {{Py_tp_new, reinterpret_cast<void*>(exchange_new)},
                              {Py_tp_dealloc, reinterpret_cast<void*>(Kept::dealloc)},
                              {Py_tp_traverse, reinterpret_cast<void*>(Kept::traverse)},
                              {Py_tp_clear, reinterpret_cast<void*>(Kept::clear)},
                              {Py_tp_iter, reinterpret_cast<void*>(wsgi_iter)},
                              {Py_tp_members, g_wsgi_members},
                              {Py_tp_methods, g_wsgi_methods},
                              {Py_tp_doc, const_cast<char*>("A WSGI request under way.")},
                              {0, nullptr}};

constexpr unsigned kFlags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC;
PyType_Spec g_asgi_spec = {"tenancy._core.AsgiExchange", sizeof(Exchange), 0, kFlags, g_asgi_slots};
PyType_Spec g_wsgi_spec = {"tenancy._core.WsgiExchange", sizeof(Exchange), 0, kFlags, g_wsgi_slots};

PyObject* interned(const char* text) {
  return own(PyUnicode_InternFromString(text)).release().ptr();
}

}  // namespace

void bind_exchange_types(py::module_& module) {
  g_names = {interned("type"),
             interned("status"),
             interned("headers"),
             interned("_watched"),
             interned("_not_begun"),
             {interned("http.response.start"), interned("websocket.accept"),
              interned("websocket.http.response.start")}};
  module.add_object("AsgiExchange", own(PyType_FromSpec(&g_asgi_spec)).release());
  module.add_object("WsgiExchange", own(PyType_FromSpec(&g_wsgi_spec)).release());
}

}  // namespace tenancy
