// UsageLog: recording usage events and reading them back.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "log_fields.h"
#include "pybind.h"
#include "tenancy/metering/usage_log.h"
#include "usage_types.h"

namespace tenancy {
namespace {

using metering::EventStatus;
using metering::Recorded;
using metering::UsageLog;
using metering::UsageReader;
using metering::UsageRows;

struct UsageResult {
  Recorded counts;
  std::vector<EventStatus> statuses;
};

// A UsageLog with a reader of its own.
class UsageHandle {
 public:
  UsageHandle(std::unique_ptr<UsageLog> usage, std::string log_directory)
      : usage_(std::move(usage)), reader_(std::move(log_directory)) {}

  UsageLog& usage() { return *usage_; }
  std::shared_ptr<UsageRows> read(uint64_t after, int64_t limit);

 private:
  std::unique_ptr<UsageLog> usage_;
  UsageReader reader_;
  std::atomic<bool> reading_{false};
};

constexpr int64_t kRowsMax = int64_t{1} << 24;

std::shared_ptr<UsageRows> UsageHandle::read(uint64_t after, int64_t limit) {
  if (limit < 1 || limit > kRowsMax) {
    raise_invalid("limit",
                  {Code::kInvalidArgument, "expected 1 to 16777216, got " + std::to_string(limit)});
  }
  if (reading_.exchange(true)) {
    raise_error({Code::kConflict, "another thread reads with this UsageLog; make one for each"});
  }
  auto found = [&] {
    const py::gil_scoped_release released;
    auto rows = reader_.read(after, static_cast<size_t>(limit));
    reading_.store(false);
    return rows;
  }();
  return std::make_shared<UsageRows>(value_or_raise(std::move(found)));
}

std::unique_ptr<UsageHandle> open(const std::shared_ptr<log::Log>& log,
                                  const std::string& directory, int64_t window_ns, int64_t wait_ns,
                                  unsigned first_table_log2, const std::shared_ptr<Clock>& clock) {
  metering::UsageOptions options;
  options.directory = directory;
  options.window_ns = window_ns;
  options.wait_ns = wait_ns;
  options.first_table_log2 = first_table_log2;
  options.clock = clock;
  auto opened = [&] {
    const py::gil_scoped_release released;
    return UsageLog::open(log, options);
  }();
  return std::make_unique<UsageHandle>(value_or_raise(std::move(opened)), log->log_directory());
}

// "ids[7]: what is wrong" is a wrong value of the argument `ids`.
[[noreturn]] void raise_recording(const Error& error) {
  const size_t colon = error.message.find(": ");
  if (error.code != Code::kInvalidArgument || colon == std::string::npos) raise_error(error);
  const std::string field = error.message.substr(0, colon);
  raise_invalid(field.c_str(), {error.code, error.message.substr(colon + 2)});
}

UsageResult record(UsageHandle& self, const py::object& tenants, const py::object& metrics,
                   const py::object& ids, const py::object& sources, const py::object& times_ns,
                   const py::object& quantities, const py::object& properties,
                   const py::object& actions, const py::str& ack) {
  const UsageArguments arguments(tenants, metrics, ids, sources, times_ns, quantities, properties,
                                 actions);
  const log::Ack level = log_ack_of(ack.ptr());
  UsageResult out;
  out.statuses.resize(arguments.columns().events);
  const Result<Recorded> done = [&] {
    const py::gil_scoped_release released;
    return self.usage().record(arguments.columns(), level, out.statuses);
  }();
  if (!done) raise_recording(done.error());
  out.counts = *done;
  return out;
}

}  // namespace

void bind_metering(py::module_& module) {
  const metering::UsageOptions defaults;
  bind_usage_batch(module);
  py::class_<UsageResult>(module, "UsageResult")
      .def_property_readonly("recorded", [](const UsageResult& r) { return r.counts.recorded; })
      .def_property_readonly("duplicates", [](const UsageResult& r) { return r.counts.duplicates; })
      .def_property_readonly("conflicts", [](const UsageResult& r) { return r.counts.conflicts; })
      .def_property_readonly("unknown", [](const UsageResult& r) { return r.counts.unknown; })
      .def_property_readonly("sequence", [](const UsageResult& r) { return r.counts.sequence; })
      .def_property_readonly("statuses", [](const UsageResult& r) {
        return py::bytes(reinterpret_cast<const char*>(r.statuses.data()), r.statuses.size());
      });
  const auto unlocked = [](auto call) {
    return [call](UsageHandle& self) {
      ok_or_raise([&] {
        const py::gil_scoped_release released;
        return call(self.usage());
      }());
    };
  };
  py::class_<UsageHandle>(module, "UsageLog")
      .def(py::init(&open), py::arg("log"), py::arg("directory"), py::kw_only(),
           py::arg("window_ns") = defaults.window_ns, py::arg("wait_ns") = defaults.wait_ns,
           py::arg("first_table_log2") = defaults.first_table_log2, py::arg("clock") = py::none())
      .def("record", &record, py::kw_only(), py::arg("tenants"), py::arg("metrics"), py::arg("ids"),
           py::arg("sources") = py::none(), py::arg("times_ns") = py::none(),
           py::arg("quantities") = py::none(), py::arg("properties") = py::none(),
           py::arg("actions") = py::none(), py::arg("ack") = "os")
      .def("read", &UsageHandle::read, py::arg("after") = 0, py::arg("limit") = 1 << 16)
      .def("settle", unlocked([](UsageLog& usage) { return usage.settle(); }))
      .def("close", unlocked([](UsageLog& usage) { return usage.close(); }))
      .def_property_readonly("window_ns",
                             [](UsageHandle& self) { return self.usage().window_ns(); });
}

}  // namespace tenancy
