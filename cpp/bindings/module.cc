// tenancy._core: the compiled half of the package. Its reference is python/tenancy/_core.pyi.
#include "pybind.h"

#ifndef TENANCY_VERSION
#define TENANCY_VERSION "0.0.0"
#endif

PYBIND11_MODULE(_core, module) {
  module.doc() = "The compiled engine of tenancy.";
  module.attr("__version__") = TENANCY_VERSION;
  tenancy::bind_errors(module);
  tenancy::bind_base(module);
  tenancy::bind_catalog(module);
  tenancy::bind_limits(module);
  tenancy::bind_log(module);
  tenancy::bind_log_reader(module);
  tenancy::bind_log_segments(module);
  tenancy::bind_log_verify(module);
  tenancy::bind_pricing(module);
  tenancy::bind_whatif(module);
  tenancy::bind_metering(module);
  tenancy::bind_engine(module);
  tenancy::bind_emitter(module);
  tenancy::bind_gate(module);
  tenancy::bind_web(module);
}
