// What the web layers are made of.
#include "request_types.h"

namespace tenancy {

void bind_web(py::module_& module) {
  bind_header_fields(module);
  bind_header_scan(module);
  bind_request_context(module);
  bind_response_fields(module);
  bind_exchange_types(module);
}

}  // namespace tenancy
