// WebOrigin: method, path and user agent of a web request, read from its ASGI scope or WSGI environ
// when a fact is written of it. Whatever else stands there, and whatever a client sent, is no
// error: what cannot be read is left out.
//
// Ownership: borrows the request, owns what it read. Thread safety: under the interpreter's lock.
#pragma once

#include <string_view>

#include "pybind.h"
#include "tenancy/engine/engine.h"

namespace tenancy {

class WebOrigin final : public OriginSource {
 public:
  void set(PyObject* web_request) { request_ = web_request; }
  PyObject* web_request() const { return request_; }
  RequestOrigin origin() override;

 private:
  std::string_view text(PyObject* value, bool wsgi, py::object* owner);

  PyObject* request_ = nullptr;
  py::object method_;
  py::object path_;
  py::object user_agent_;
};

// Before the first request; once for the module.
void prepare_request_origin();

}  // namespace tenancy
