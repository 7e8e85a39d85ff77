// The log's writer. Log.append and Log.submit are in log_append.cc, the reader in
// log_reader_type.cc.
//
// All that may wait for a disk or another process gives the GIL away first.
#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "log_fields.h"
#include "pybind.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/log.h"

namespace tenancy {
namespace {

// Calls without the GIL, raises with it.
template <class Fn>
auto unlocked(Fn&& fn) {
  const py::gil_scoped_release released;
  return fn();
}

std::shared_ptr<log::Log> open_log(const std::string& directory,
                                   const std::shared_ptr<Clock>& clock, const std::string& host,
                                   bool shared, bool background, bool accept_loss,
                                   uint64_t ring_bytes, uint64_t segment_bytes,
                                   int64_t full_wait_ns, int64_t ack_wait_ns,
                                   int64_t sync_interval_ns, int64_t epoch_interval_ns,
                                   int64_t checkpoint_interval_ns, int64_t heartbeat_interval_ns) {
  log::Options options;
  options.directory = directory;
  options.clock = clock;
  options.host = host;
  options.shared = shared;
  options.background = background;
  options.accept_loss = accept_loss;
  options.ring_bytes = ring_bytes;
  options.segment_bytes = segment_bytes;
  options.full_wait_ns = full_wait_ns;
  options.ack_wait_ns = ack_wait_ns;
  options.sync_interval_ns = sync_interval_ns;
  options.epoch_interval_ns = epoch_interval_ns;
  options.checkpoint_interval_ns = checkpoint_interval_ns;
  options.heartbeat_interval_ns = heartbeat_interval_ns;
  return value_or_raise(unlocked([&] { return log::Log::open(options); }));
}

// Events in order, up to the first that fails; its error says how many are there.
Status append_each(log::Log& self, const std::vector<LogEvent>& events, log::Ack ack,
                   std::vector<uint64_t>* sequences) {
  for (const LogEvent& event : events) {
    const Result<log::Position> at = self.append(event.entry(), log::Ack::kRing);
    if (!at) {
      return {at.error().code, "event " + std::to_string(sequences->size()) + " of " +
                                   std::to_string(events.size()) +
                                   " (those before it are recorded): " + at.error().message};
    }
    sequences->push_back(at->sequence);
  }
  return self.flush(ack);
}

py::list append_many(log::Log& self, const py::sequence& given, const py::str& ack) {
  const log::Ack level = log_ack_of(ack.ptr());
  std::vector<LogEvent> events;
  events.reserve(given.size());
  for (const py::handle item : given) {
    const Py_ssize_t parts = PyTuple_Check(item.ptr()) ? PyTuple_GET_SIZE(item.ptr()) : 0;
    if (parts != 4 && parts != 6) {
      throw py::type_error(
          "events: expected tuples of (chain, tenant, time_ns, fields), or with (…, subject, "
          "sealed) behind them");
    }
    const auto event = py::reinterpret_borrow<py::tuple>(item);
    PyObject* const fields = PyTuple_GET_ITEM(item.ptr(), 3);
    if (!PyDict_Check(fields)) throw py::type_error("events: expected a dict of fields");
    events.emplace_back(PyTuple_GET_ITEM(item.ptr(), 0), PyTuple_GET_ITEM(item.ptr(), 1),
                        event[2].cast<int64_t>(), fields,
                        parts == 6 ? PyTuple_GET_ITEM(item.ptr(), 4) : nullptr,
                        parts == 6 ? PyTuple_GET_ITEM(item.ptr(), 5) : nullptr);
  }
  std::vector<uint64_t> sequences;
  sequences.reserve(events.size());
  if (!events.empty()) {
    ok_or_raise(unlocked([&] { return append_each(self, events, level, &sequences); }));
  }
  py::list out(sequences.size());
  for (size_t i = 0; i < sequences.size(); ++i) out[i] = py::int_(sequences[i]);
  return out;
}

// (key id, sequence of the record, its time in ns)
py::tuple erase(log::Log& self, const py::str& subject, const py::object& tenant, const py::str& by,
                const py::str& reason) {
  const std::string_view texts[] = {utf8_view(subject), utf8_view(by), utf8_view(reason)};
  std::optional<std::string_view> of;
  if (!tenant.is_none()) of = utf8_view(tenant);
  const log::Erasure done =
      value_or_raise(unlocked([&] { return self.erase(of, texts[0], texts[1], texts[2]); }));
  return py::make_tuple(to_str(log::hex(done.key_id)), done.sequence, done.time_ns);
}

py::object subject_key(log::Log& self, const py::str& subject, const py::object& tenant) {
  const std::string_view name = utf8_view(subject);
  std::optional<std::string_view> of;
  if (!tenant.is_none()) of = utf8_view(tenant);
  const auto found = unlocked([&] { return self.subject_key(of, name); });
  if (!found && found.error().code == Code::kNotFound) return py::none();
  return to_str(log::hex(value_or_raise(found)));
}

py::dict health(const log::Log& self) {
  const log::Health found = unlocked([&] { return self.health(); });
  py::dict next_sequence;
  for (size_t i = 0; i < log::kClasses; ++i) {
    next_sequence[to_str(log::kClassNames[i])] = found.next_sequence[i];
  }
  py::dict out;
  out["failing"] = found.failing;
  out["reason"] = found.reason;
  out["flusher_alive"] = found.flusher_alive;
  out["unwritten_bytes"] = found.unwritten_bytes;
  out["unsynced_bytes"] = found.unsynced_bytes;
  out["ring_bytes"] = found.ring_bytes;
  out["epoch"] = found.epoch;
  out["checkpoints"] = found.checkpoints;
  out["syncs"] = found.syncs;
  out["groups"] = found.groups;
  out["leader_changes"] = found.leader_changes;
  out["key_on_host"] = found.key_on_host;
  out["next_sequence"] = next_sequence;
  return out;
}

}  // namespace

void bind_log(py::module_& module) {
  const log::Options defaults;
  py::class_<log::Log, std::shared_ptr<log::Log>> type(module, "Log");
  type.def(py::init(&open_log), py::arg("directory"), py::kw_only(), py::arg("clock") = py::none(),
           py::arg("host") = "", py::arg("shared") = defaults.shared,
           py::arg("background") = defaults.background,
           py::arg("accept_loss") = defaults.accept_loss,
           py::arg("ring_bytes") = defaults.ring_bytes,
           py::arg("segment_bytes") = defaults.segment_bytes,
           py::arg("full_wait_ns") = defaults.full_wait_ns,
           py::arg("ack_wait_ns") = defaults.ack_wait_ns,
           py::arg("sync_interval_ns") = defaults.sync_interval_ns,
           py::arg("epoch_interval_ns") = defaults.epoch_interval_ns,
           py::arg("checkpoint_interval_ns") = defaults.checkpoint_interval_ns,
           py::arg("heartbeat_interval_ns") = defaults.heartbeat_interval_ns)
      .def("append_many", &append_many, py::arg("events"), py::kw_only(), py::arg("ack") = "disk")
      .def(
          "flush",
          [](log::Log& self, const py::str& ack, std::optional<int64_t> wait_ns) {
            const log::Ack level = log_ack_of(ack.ptr());
            ok_or_raise(unlocked([&] { return self.flush(level, wait_ns); }));
          },
          py::arg("ack") = "disk", py::kw_only(), py::arg("wait_ns") = py::none())
      .def(
          "reached",
          [](const log::Log& self, uint64_t end, const py::str& ack) {
            return self.reached({.end = end}, log_ack_of(ack.ptr()));
          },
          py::arg("end"), py::arg("ack") = "disk")
      .def(
          "wait",
          [](log::Log& self, uint64_t end, const py::str& ack, std::optional<int64_t> wait_ns) {
            const log::Ack level = log_ack_of(ack.ptr());
            ok_or_raise(unlocked([&] { return self.wait({.end = end}, level, wait_ns); }));
          },
          py::arg("end"), py::arg("ack") = "disk", py::kw_only(), py::arg("wait_ns") = py::none())
      .def("rotate", [](log::Log& self) { ok_or_raise(unlocked([&] { return self.rotate(); })); })
      .def("checkpoint",
           [](log::Log& self) {
             return to_str(value_or_raise(unlocked([&] { return self.checkpoint(); })));
           })
      .def("prune", &prune_log, py::arg("chain"), py::arg("before_sequence"))
      .def("subject_key", &subject_key, py::arg("subject"), py::kw_only(),
           py::arg("tenant") = py::none())
      .def("erase", &erase, py::arg("subject"), py::kw_only(), py::arg("tenant") = py::none(),
           py::arg("by"), py::arg("reason"))
      .def("finish_erasure",
           [](log::Log& self) { ok_or_raise(unlocked([&] { return self.finish_erasure(); })); })
      .def("tend", [](log::Log& self) { ok_or_raise(unlocked([&] { return self.tend(); })); })
      .def(
          "position",
          [](const log::Log& self, const py::str& chain) {
            return self.position(log_class_of(chain.ptr()));
          },
          py::arg("chain"))
      .def("health", &health)
      .def("close", [](log::Log& self) { ok_or_raise(unlocked([&] { return self.close(); })); })
      .def_property_readonly("id", [](const log::Log& self) { return to_str(log::hex(self.id())); })
      .def_property_readonly("public_key",
                             [](const log::Log& self) { return to_str(self.public_key()); })
      .def_property_readonly("log_directory",
                             [](const log::Log& self) { return to_str(self.log_directory()); });
  add_log_append(type);
}

}  // namespace tenancy
