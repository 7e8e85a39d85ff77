// What Python hands to the log, as the log wants it.
#pragma once

#include <cstdint>
#include <forward_list>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pybind.h"
#include "tenancy/log/log.h"

namespace tenancy {

log::Class log_class_of(const py::str& name);  // raises for an unknown one
log::Ack log_ack_of(const py::str& name);

// Log.prune.
py::dict prune_log(log::Log& self, const py::str& chain, uint64_t before);

// The name that a field has in Python: "event_id", … "quantity", "host", …; of a field that is not
// known here "field_18".
std::string log_field_name(log::FieldId id);

// One event of Python. It keeps what its fields point into, so they may be read without the GIL.
class LogEvent {
 public:
  // Raises for what can never be recorded, naming the field. Nothing is recorded before all events
  // of a call have passed here.
  // Fields named in `sealed` are marked personal when there is a subject (else None).
  LogEvent(const py::str& chain, const py::object& tenant, int64_t time_ns, const py::dict& fields,
           const py::object& subject, const py::iterable& sealed);

  log::Entry entry() const { return {chain_, tenant_, fields_, time_ns_, subject_}; }

 private:
  void add(const py::handle& key, const py::handle& value);
  log::Value value_of(std::string_view name, const py::handle& value);
  log::Value json_of(std::string_view name, const py::handle& value);
  std::string_view text_of(const py::handle& value);
  void check_size() const;
  void mark(std::string_view name);

  log::Class chain_;
  int64_t time_ns_;
  std::optional<std::string_view> tenant_;
  std::optional<std::string_view> subject_;
  std::vector<log::Field> fields_;
  std::vector<py::object> kept_;
  std::forward_list<std::string> made_;  // texts that no Python object holds
};

}  // namespace tenancy
