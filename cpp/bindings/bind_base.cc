// Clocks, identifiers and digests.
#include <memory>

#include "pybind.h"
#include "tenancy/access/access.h"
#include "tenancy/base/civil.h"
#include "tenancy/base/clock.h"
#include "tenancy/base/crypto.h"
#include "tenancy/base/ids.h"
#include "tenancy/tenants/registry.h"

namespace tenancy {
namespace {

// pybind11 holders cannot be const: clocks are handed to the engine as const, and to Python as
// this.
std::shared_ptr<Clock> system_clock() { return std::const_pointer_cast<Clock>(Clock::system()); }

std::shared_ptr<FakeClock> make_fake_clock(int64_t start_wall_ns, const py::object& path) {
  if (path.is_none()) return std::make_shared<FakeClock>(start_wall_ns);
  return value_or_raise(FakeClock::open(std::string(utf8_view(path)), start_wall_ns));
}

void bind_clocks(py::module_& module) {
  py::class_<Clock, std::shared_ptr<Clock>>(module, "Clock")
      .def_static("system", &system_clock)
      .def("mono_ns", &Clock::mono_ns)
      .def("wall_ns", &Clock::wall_ns);
  py::class_<FakeClock, Clock, std::shared_ptr<FakeClock>>(module, "FakeClock")
      .def(py::init(&make_fake_clock), py::arg("start_wall_ns"), py::arg("path") = py::none())
      .def("advance_ns", &FakeClock::advance, py::arg("delta_ns"))
      .def("step_wall_ns", &FakeClock::step_wall, py::arg("delta_ns"))
      .def("step_mono_ns", &FakeClock::step_mono, py::arg("delta_ns"));
}

void bind_identifiers(py::module_& module) {
  module.def(
      "sortable_id",
      [](const py::str& prefix, int64_t wall_ns) {
        return sortable_id(utf8_view(prefix), wall_ns);
      },
      py::arg("prefix"), py::arg("wall_ns"));
  module.def("uuid7", &uuid7, py::arg("wall_ns"));
  module.def("random_base62", &random_base62, py::arg("chars"));
  module.def("make_api_key", [] {
    ApiKeyText key = make_api_key();
    return py::make_tuple(key.full, key.public_id);
  });
  module.def(
      "api_key_public_id",
      [](const py::str& key) -> py::object {
        const auto id = api_key_public_id(utf8_view(key));
        if (!id) return py::none();
        return to_str(*id);
      },
      py::arg("key"));
}

void bind_digests(py::module_& module) {
  module.def(
      "sha256",
      [](const py::bytes& data) {
        const Digest256 digest = sha256(std::string_view(data));
        return py::bytes(reinterpret_cast<const char*>(digest.data()), digest.size());
      },
      py::arg("data"));
}

void bind_rules(py::module_& module) {
  module.def(
      "valid_permission",
      [](const py::str& text, bool pattern) { return valid_permission(utf8_view(text), pattern); },
      py::arg("text"), py::arg("pattern"));
  module.def(
      "status_may_become",
      [](const py::str& before, const py::str& after) {
        return status_may_become(value_or_raise(status_from_name(utf8_view(before))),
                                 value_or_raise(status_from_name(utf8_view(after))));
      },
      py::arg("before"), py::arg("after"));
  module.def(
      "valid_time_zone", [](const py::str& name) { return TimeZone::load(utf8_view(name)).ok(); },
      py::arg("name"));
}

}  // namespace

void bind_base(py::module_& module) {
  bind_clocks(module);
  bind_identifiers(module);
  bind_digests(module);
  bind_rules(module);
}

}  // namespace tenancy
