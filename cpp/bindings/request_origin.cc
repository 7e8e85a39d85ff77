#include "request_origin.h"

#include <algorithm>

namespace tenancy {
namespace {

constexpr std::string_view kUserAgent = "user-agent";
constexpr Py_ssize_t kHeadersMax = 1000;  // that are looked at

// The keys of a request's dict, made once: interned, as those of servers are, they are found by
// their address, and a str made for each look-up would cost more than the look-up.
struct Keys {
  PyObject* method;
  PyObject* path;
  PyObject* headers;
  PyObject* wsgi_method;
  PyObject* wsgi_path;
  PyObject* wsgi_user_agent;
};
Keys g_keys{};  // lives as long as the module

PyObject* interned(const char* text) {
  PyObject* const made = PyUnicode_InternFromString(text);
  if (made == nullptr) throw py::error_already_set();
  return made;
}

// Borrowed, or null. What goes wrong in the comparison with a stranger's key is no error here.
PyObject* item(PyObject* dict, PyObject* key) {
  PyObject* const found = PyDict_GetItemWithError(dict, key);
  if (found == nullptr) PyErr_Clear();
  return found;
}

std::string_view view_of(PyObject* bytes) {
  return {PyBytes_AS_STRING(bytes), static_cast<size_t>(PyBytes_GET_SIZE(bytes))};
}

bool is_user_agent(std::string_view name) {
  return name.size() == kUserAgent.size() &&
         std::equal(name.begin(), name.end(), kUserAgent.begin(), [](char a, char b) {
           return (a >= 'A' && a <= 'Z' ? static_cast<char>(a - 'A' + 'a') : a) == b;
         });
}

// Of the pairs of bytes in an ASGI scope; borrowed, or null.
PyObject* user_agent_of(PyObject* headers) {
  if (headers == nullptr || (!PyList_Check(headers) && !PyTuple_Check(headers))) return nullptr;
  const Py_ssize_t count = std::min(PySequence_Fast_GET_SIZE(headers), kHeadersMax);
  for (Py_ssize_t i = 0; i < count; ++i) {
    PyObject* pair = PySequence_Fast_GET_ITEM(headers, i);
    if (!PyTuple_Check(pair) && !PyList_Check(pair)) continue;
    if (PySequence_Fast_GET_SIZE(pair) != 2) continue;
    PyObject* name = PySequence_Fast_GET_ITEM(pair, 0);
    if (PyBytes_Check(name) && is_user_agent(view_of(name))) {
      return PySequence_Fast_GET_ITEM(pair, 1);
    }
  }
  return nullptr;
}

}  // namespace

// PEP 3333 has the bytes of a request as characters of Latin-1; ASGI decodes a path as UTF-8.
std::string_view WebOrigin::text(PyObject* value, bool wsgi, py::object* owner) {
  if (value == nullptr) return {};
  if (PyBytes_Check(value)) return view_of(value);
  if (!PyUnicode_Check(value)) return {};
  if (!wsgi || PyUnicode_IS_ASCII(value)) {
    Py_ssize_t bytes = 0;
    const char* utf8 = PyUnicode_AsUTF8AndSize(value, &bytes);
    if (utf8 != nullptr) return {utf8, static_cast<size_t>(bytes)};
  } else {
    *owner = py::reinterpret_steal<py::object>(PyUnicode_AsLatin1String(value));
    if (*owner) return view_of(owner->ptr());
  }
  PyErr_Clear();  // surrogates, or no Latin-1
  *owner = py::reinterpret_steal<py::object>(
      PyUnicode_AsEncodedString(value, "utf-8", "backslashreplace"));
  if (*owner) return view_of(owner->ptr());
  PyErr_Clear();
  return {};
}

RequestOrigin WebOrigin::origin() {
  if (request_ == nullptr || !PyDict_Check(request_)) return {};
  PyObject* const wsgi_method = item(request_, g_keys.wsgi_method);
  if (wsgi_method != nullptr) {
    return {text(wsgi_method, true, &method_), text(item(request_, g_keys.wsgi_path), true, &path_),
            text(item(request_, g_keys.wsgi_user_agent), true, &user_agent_)};
  }
  return {text(item(request_, g_keys.method), false, &method_),
          text(item(request_, g_keys.path), false, &path_),
          text(user_agent_of(item(request_, g_keys.headers)), false, &user_agent_)};
}

void prepare_request_origin() {
  g_keys = {interned("method"),         interned("path"),      interned("headers"),
            interned("REQUEST_METHOD"), interned("PATH_INFO"), interned("HTTP_USER_AGENT")};
}

}  // namespace tenancy
