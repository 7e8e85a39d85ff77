// Limit policies, and the limiter that works alone.
#include <string>
#include <vector>

#include "limiter_types.h"
#include "tenancy/limits/explain.h"

namespace tenancy {
namespace {

uint64_t amount_or_raise(const char* name, const py::int_& value) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow == 0 && number > 0) return static_cast<uint64_t>(number);
  raise_error({Code::kInvalidArgument,
               std::string(name) + ": expected a positive whole number of 63 bits"});
}

// One text may hold several limits; the options hold for each of them.
py::list limit_policies(const py::str& text, const py::object& algorithm, const py::object& burst,
                        bool anchor_first, bool shadow, bool allow_on_full) {
  py::list out;
  for (LimitPolicy policy : value_or_raise(LimitPolicy::parse_list(utf8_view(text)))) {
    if (!burst.is_none()) {
      policy.burst = amount_or_raise("burst", burst);
      policy.algorithm = Algorithm::kTokenBucket;
    }
    if (!algorithm.is_none())
      policy.algorithm = value_or_raise(algorithm_from_name(utf8_view(algorithm)));
    policy.anchor_first = anchor_first;
    policy.shadow = shadow;
    policy.on_full = allow_on_full ? OnFull::kAllow : OnFull::kRefuse;
    ok_or_raise(policy.validate());
    out.append(policy);
  }
  return out;
}

}  // namespace

void bind_limits(py::module_& module) {
  py::class_<LimitPolicy>(module, "LimitPolicy", "One limit as it was understood, immutable.")
      .def_property_readonly("limit", [](const LimitPolicy& policy) { return policy.limit; })
      .def_property_readonly("burst", [](const LimitPolicy& policy) { return policy.capacity(); })
      .def_property_readonly(
          "window",
          [](const LimitPolicy& policy) { return static_cast<double>(policy.window_ns) / 1e9; })
      .def_property_readonly(
          "algorithm",
          [](const LimitPolicy& policy) { return to_str(algorithm_name(policy.algorithm)); })
      .def_property_readonly("worst_case", &LimitPolicy::worst_case)
      .def("explain", &limit_explain)
      .def("__str__", &LimitPolicy::text)
      .def("__repr__", [](const LimitPolicy& policy) {
        return "LimitPolicy(" + policy.text() + ", " +
               std::string(algorithm_name(policy.algorithm)) + ")";
      });
  module.def("limit_policies", &limit_policies, py::arg("text"), py::arg("algorithm"),
             py::arg("burst"), py::arg("anchor_first"), py::arg("shadow"),
             py::arg("allow_on_full"));
  bind_limit_answer(module);
  bind_limiter_core(module);
}

}  // namespace tenancy
