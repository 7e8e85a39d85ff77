// What the files of the usage binding share.
//
// Ownership: as in each declaration. Thread safety: under the interpreter's lock, but for what is
// said to be read without it.
#pragma once

#include <array>
#include <vector>

#include "pricing_types.h"
#include "pybind.h"
#include "tenancy/metering/columns.h"
#include "tenancy/metering/usage_reader.h"

namespace tenancy {

// --- usage_columns.cc

// The columns of a call as Python gives them. It keeps what they point into, so they may be read
// without the interpreter's lock.
class UsageArguments {
 public:
  // Each is None, one value for all, or array-like. Raises InvalidValue(field) for what cannot be
  // read; bounds are looked at when events are recorded.
  UsageArguments(const py::object& tenants, const py::object& metrics, const py::object& ids,
                 const py::object& sources, const py::object& times_ns,
                 const py::object& quantities, const py::object& properties,
                 const py::object& actions);

  const metering::UsageColumns& columns() const { return columns_; }

 private:
  metering::TextColumn texts(const py::object& values, const char* field);
  metering::TextColumn texts_of_column(const py::object& values, const char* field);
  void read_times(const py::object& values);
  void read_quantities(const py::object& values);
  void read_actions(const py::object& values);

  metering::UsageColumns columns_;
  std::vector<py::object> kept_;
  std::vector<Column> arrays_;
};

// --- usage_batch_type.cc

constexpr std::array<const char*, 11> kUsageColumns = {
    "sequence", "number",  "recorded_ns", "tenant",     "metric", "source",
    "id",       "time_ns", "quantity",    "properties", "action"};
const char* usage_action_name(metering::Action action);
void bind_usage_batch(py::module_& module);

// --- usage_arrow.cc

// The capsules of schema and array: a record batch of the columns.
py::tuple usage_arrow(const metering::UsageRows& batch, const py::object& requested_schema);

}  // namespace tenancy
