// Engine: definitions in, counters and access out. The decision calls are in gate.cc.
#include "bind_engine.h"

#include "decision_types.h"
#include "rows.h"
#include "tenancy/log/log.h"

namespace tenancy {

std::shared_ptr<const Definitions> definitions_of(const Engine& engine) {
  std::shared_ptr<const Definitions> definitions = engine.definitions();
  if (definitions == nullptr) throw py::value_error("there are no definitions yet");
  return definitions;
}

const TenantEntry& tenant_of(const Definitions& definitions, const py::str& reference) {
  const TenantEntry* tenant = definitions.registry->by_reference(utf8_view(reference));
  if (tenant == nullptr) {
    raise_error({Code::kNotFound, "unknown tenant \"" + std::string(utf8_view(reference)) + "\""});
  }
  return *tenant;
}

namespace {

std::shared_ptr<Engine> open_engine(const std::string& counters_path,
                                    const std::shared_ptr<Clock>& clock,
                                    const std::string& default_tenant, int64_t reservation_ns,
                                    size_t initial_slots, size_t max_bytes, size_t anonymous_bytes,
                                    const std::string& failed_credentials,
                                    int64_t idempotency_window_ns, uint32_t idempotency_repeats,
                                    uint64_t idempotency_keys_max) {
  Engine::Options options;
  options.counters.path = counters_path;
  options.counters.initial_slots = initial_slots;
  options.counters.max_bytes = max_bytes;
  options.counters.anonymous_bytes = anonymous_bytes;
  options.default_tenant = default_tenant;
  options.reservation_ns = reservation_ns;
  if (!failed_credentials.empty()) {
    options.failed_credentials = value_or_raise(LimitPolicy::parse(failed_credentials));
  }
  options.idempotency_window_ns = idempotency_window_ns;
  options.idempotency_repeats = idempotency_repeats;
  options.idempotency_keys_max = idempotency_keys_max;
  return value_or_raise(Engine::open(options, clock));
}

void apply(Engine& engine, uint64_t revision, const py::dict& changes,
           const std::shared_ptr<Catalog>& catalog, bool reset) {
  ChangeSet set;
  set.revision = revision;
  set.reset = reset;
  set.catalog = catalog;
  read_changes(changes, &set);
  Status status;
  {
    py::gil_scoped_release unlocked;  // a full load takes seconds
    status = engine.apply(std::move(set));
  }
  ok_or_raise(status);
}

bool swap_word(Engine& engine, uint64_t expected, uint64_t value) {
  return engine.counters().revision_word().compare_exchange_strong(expected, value,
                                                                   std::memory_order_acq_rel);
}

py::object find_tenant(const Engine& engine, const py::str& reference) {
  const auto definitions = definitions_of(engine);
  const TenantEntry* tenant = definitions->registry->by_reference(utf8_view(reference));
  if (tenant == nullptr) return py::none();
  return py::make_tuple(to_str(tenant->id), to_str(status_name(tenant->status)),
                        to_str(tenant->entitlements->plan));
}

uint32_t action_of(const Catalog& catalog, const py::object& action) {
  if (action.is_none()) return catalog.default_action();
  const uint32_t index = catalog.action_index(utf8_view(action));
  if (index == kNoIndex) {
    raise_error({Code::kNotFound, "unknown action \"" + std::string(utf8_view(action)) + "\""});
  }
  return index;
}

// The counters of (tenant, action, principal), each handed to `fn`.
template <class Fn>
void for_limits(Engine& engine, const py::str& tenant, const py::object& action,
                const py::object& principal, Fn&& fn) {
  const auto definitions = definitions_of(engine);
  Decision decision;
  engine.limit_entries(definitions, tenant_of(*definitions, tenant),
                       principal.is_none() ? std::string_view() : utf8_view(principal),
                       action_of(*definitions->catalog, action), &decision);
  for (LimitEntry& entry : decision.limits) {
    fn(entry, LimitHit{entry.policy, entry.group, entry.key, 0, entry.region}, decision.taken_ns);
  }
}

py::tuple peek_limits(Engine& engine, const py::str& tenant, const py::object& action,
                      const py::object& principal) {
  py::list out;
  for_limits(engine, tenant, action, principal, [&](LimitEntry& entry, LimitHit hit, int64_t now) {
    entry.state = limit_peek(engine.counters(), hit, now);
    out.append(py::reinterpret_steal<py::object>(make_limit(entry)));
  });
  return py::tuple(out);
}

void reset_limits(Engine& engine, const py::str& tenant, const py::object& action,
                  const py::object& principal) {
  for_limits(engine, tenant, action, principal, [&](LimitEntry&, LimitHit hit, int64_t now) {
    limit_reset(engine.counters(), hit, now);
  });
}

void refund_limits(Engine& engine, const py::str& tenant, const py::object& action,
                   const py::object& principal, uint64_t cost) {
  for_limits(engine, tenant, action, principal, [&](LimitEntry&, LimitHit hit, int64_t now) {
    hit.cost = cost;
    limit_refund(engine.counters(), hit, now, now);
  });
}

py::tuple key_usage(Engine& engine, const py::str& public_id) {
  const auto definitions = definitions_of(engine);
  const KeyEntry* key = definitions->registry->key_by_id(utf8_view(public_id));
  if (key == nullptr) {
    raise_error({Code::kNotFound, "unknown key \"" + std::string(utf8_view(public_id)) + "\""});
  }
  const Engine::KeyUsage usage = engine.key_usage(*key);
  return py::make_tuple(usage.uses, usage.last_used_wall_ns);
}

py::dict stats(Engine& engine) {
  py::dict decided;
  for (size_t i = 0; i < kReasons; ++i) {
    decided[to_str(reason_code(static_cast<Reason>(i)))] = engine.decided()[i].load();
  }
  py::list latency;
  for (const auto& bucket : engine.latency()) latency.append(bucket.load());
  py::dict out;
  out["decided"] = decided;
  out["latency_us_log2"] = latency;
  const FactCounts facts = engine.facts();
  py::dict counts;
  counts["recorded"] = facts.recorded;
  counts["suppressed"] = facts.suppressed;
  counts["lost"] = facts.lost;
  out["facts"] = counts;
  out["counters_bytes"] = engine.counters().bytes();
  out["revision"] = engine.revision();
  if (const auto definitions = engine.definitions()) {
    out["tenants"] = definitions->registry->tenants();
    out["keys"] = definitions->registry->keys();
    out["sessions"] = definitions->registry->sessions();
    out["registry_bytes"] = definitions->registry->memory_bytes();
  }
  return out;
}

}  // namespace

void bind_engine(py::module_& module) {
  py::class_<Engine, std::shared_ptr<Engine>> engine(module, "Engine");
  engine
      .def(py::init(&open_engine), py::kw_only(), py::arg("counters_path"), py::arg("clock"),
           py::arg("default_tenant") = "", py::arg("reservation_ns") = Quotas::kReservationNs,
           py::arg("initial_slots") = 1024, py::arg("max_bytes") = size_t{4} << 30,
           py::arg("anonymous_bytes") = size_t{8} << 20, py::arg("failed_credentials") = "",
           py::arg("idempotency_window_ns") = Engine::Options{}.idempotency_window_ns,
           py::arg("idempotency_repeats") = Engine::Options{}.idempotency_repeats,
           py::arg("idempotency_keys_max") = Engine::Options{}.idempotency_keys_max)
      .def("apply", &apply, py::arg("revision"), py::arg("changes"), py::kw_only(),
           py::arg("catalog") = py::none(), py::arg("reset") = false)
      .def_property_readonly("revision", &Engine::revision)
      .def("word", [](Engine& self) { return self.counters().revision_word().load(); })
      .def("current", &Engine::current)
      .def("swap_word", &swap_word, py::arg("expected"), py::arg("value"))
      .def("tenant", &find_tenant, py::arg("reference"))
      .def("peek_limits", &peek_limits, py::arg("tenant"), py::arg("action"), py::arg("principal"))
      .def("reset_limits", &reset_limits, py::arg("tenant"), py::arg("action"),
           py::arg("principal"))
      .def("refund_limits", &refund_limits, py::arg("tenant"), py::arg("action"),
           py::arg("principal"), py::arg("cost"))
      .def("set_log", &Engine::set_log, py::arg("log"))
      .def("threshold_wanted", &Engine::threshold_wanted, py::arg("refused"))
      .def("key_usage", &key_usage, py::arg("public_id"))
      .def("stats", &stats);
  bind_engine_quotas(engine);
  bind_engine_access(engine);
}

}  // namespace tenancy
