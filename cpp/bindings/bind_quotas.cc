// Quotas of a tenant, outside decisions.
#include <pybind11/stl.h>

#include "bind_engine.h"
#include "decision_types.h"

namespace tenancy {
namespace {

// A tenant's quota with everything that keeps it alive.
struct Place {
  std::shared_ptr<const Definitions> definitions;
  const TenantEntry* tenant;
  uint32_t quota;
  QuotaTarget target;
};

Place place_of(const Engine& engine, const py::str& tenant, const py::str& quota) {
  Place place;
  place.definitions = definitions_of(engine);
  place.tenant = &tenant_of(*place.definitions, tenant);
  place.quota = place.definitions->catalog->quota_index(utf8_view(quota));
  if (place.quota == kNoIndex) {
    raise_error({Code::kNotFound, "unknown quota \"" + std::string(utf8_view(quota)) + "\""});
  }
  place.target = Engine::quota_target(*place.definitions, *place.tenant, place.quota);
  return place;
}

// The methods that take a target and one number, all alike.
template <QuotaState (Quotas::*Method)(const QuotaTarget&, uint64_t)>
py::dict with_amount(Engine& engine, const py::str& tenant, const py::str& quota, uint64_t amount) {
  const Place place = place_of(engine, tenant, quota);
  return quota_dict(*place.target.def, (engine.quotas().*Method)(place.target, amount));
}

py::dict status(Engine& engine, const py::str& tenant, const py::str& quota) {
  const Place place = place_of(engine, tenant, quota);
  return quota_dict(*place.target.def, engine.quotas().status(place.target));
}

// These may wait for other processes.
template <class Call>
QuotaState without_interpreter(const Call& call) {
  const py::gil_scoped_release released;
  return call();
}

py::dict set(Engine& engine, const py::str& tenant, const py::str& quota, uint64_t used) {
  const Place place = place_of(engine, tenant, quota);
  return quota_dict(*place.target.def,
                    without_interpreter([&] { return engine.quotas().set(place.target, used); }));
}

py::dict reconcile(Engine& engine, const py::str& tenant, const py::str& quota) {
  const Place place = place_of(engine, tenant, quota);
  return quota_dict(*place.target.def,
                    without_interpreter([&] { return engine.quotas().reconcile(place.target); }));
}

// (state, handle or None)
py::tuple held(const std::shared_ptr<Engine>& engine, Place place, const QuotaState& state,
               QuotaHandle handle, uint64_t amount, bool lease) {
  py::dict answer = quota_dict(*place.target.def, state);
  if (!handle) return py::make_tuple(answer, py::none());
  HandleState out;
  out.engine = engine;
  out.entry.quota = place.quota;
  out.entry.amount = amount;
  out.entry.state = state;
  out.entry.handle = handle;
  out.entry.lease = lease;
  out.tenant = place.tenant;
  out.definitions = std::move(place.definitions);
  return py::make_tuple(answer, py::reinterpret_steal<py::object>(make_handle(std::move(out))));
}

py::tuple reserve(const std::shared_ptr<Engine>& engine, const py::str& tenant,
                  const py::str& quota, uint64_t amount, int64_t ttl_ns) {
  Place place = place_of(*engine, tenant, quota);
  QuotaHandle handle;
  const QuotaState state = engine->quotas().reserve(place.target, amount, ttl_ns, &handle);
  return held(engine, std::move(place), state, handle, amount, false);
}

py::tuple acquire(const std::shared_ptr<Engine>& engine, const py::str& tenant,
                  const py::str& quota, int64_t ttl_ns) {
  Place place = place_of(*engine, tenant, quota);
  if (place.target.def->kind != QuotaKind::kConcurrency) {
    raise_error({Code::kInvalidArgument, "quota \"" + place.target.def->name +
                                             "\" is not a concurrency quota: it has no leases"});
  }
  QuotaHandle handle;
  const int64_t life = ttl_ns > 0 ? ttl_ns : place.target.def->lease_ns;
  const QuotaState state = engine->quotas().acquire(place.target, life, &handle);
  return held(engine, std::move(place), state, handle, 1, true);
}

uint64_t revoke_leases(Engine& engine, const py::str& reference) {
  const auto definitions = definitions_of(engine);
  const TenantEntry& tenant = tenant_of(*definitions, reference);
  uint64_t ended = 0;
  for (uint32_t quota = 0; quota < definitions->catalog->quotas().size(); ++quota) {
    if (definitions->catalog->quotas()[quota].kind != QuotaKind::kConcurrency) continue;
    ended += engine.quotas().revoke_leases(Engine::quota_target(*definitions, tenant, quota));
  }
  return ended;
}

void acknowledge(Engine& engine, const py::str& tenant, const py::str& quota,
                 int64_t period_start_wall_ns, const std::vector<int>& percents) {
  const Place place = place_of(engine, tenant, quota);
  uint8_t bits = 0;
  for (size_t i = 0; i < place.target.def->alert_percents.size(); ++i) {
    for (int percent : percents) {
      if (place.target.def->alert_percents[i] == percent) bits |= static_cast<uint8_t>(1U << i);
    }
  }
  engine.quotas().acknowledge_alert(place.target, period_start_wall_ns, bits);
}

}  // namespace

void bind_engine_quotas(EngineClass& engine) {
  engine.def("quota_status", &status, py::arg("tenant"), py::arg("quota"))
      .def("quota_consume", &with_amount<&Quotas::consume>, py::arg("tenant"), py::arg("quota"),
           py::arg("amount"))
      .def("quota_decrement", &with_amount<&Quotas::decrement>, py::arg("tenant"), py::arg("quota"),
           py::arg("amount"))
      .def("quota_set", &set, py::arg("tenant"), py::arg("quota"), py::arg("used"))
      .def("quota_reconcile", &reconcile, py::arg("tenant"), py::arg("quota"))
      .def("quota_reserve", &reserve, py::arg("tenant"), py::arg("quota"), py::arg("amount"),
           py::arg("ttl_ns"))
      .def("quota_acquire", &acquire, py::arg("tenant"), py::arg("quota"), py::arg("ttl_ns"))
      .def("quota_revoke_leases", &revoke_leases, py::arg("tenant"))
      .def("quota_acknowledge", &acknowledge, py::arg("tenant"), py::arg("quota"),
           py::arg("period_start_wall_ns"), py::arg("percents"));
}

}  // namespace tenancy
