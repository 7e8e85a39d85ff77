// UsageBatch: usage events as they were read from the log.
#include <array>
#include <memory>
#include <string>
#include <unordered_map>

#include "usage_types.h"

namespace tenancy {
namespace {

using metering::UsageRow;
using metering::UsageRows;

PyObject* checked(PyObject* made) {
  if (made == nullptr) throw py::error_already_set();
  return made;
}

PyObject* new_str(std::string_view text) {
  return checked(PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), nullptr));
}

// The str objects of texts that come again and again.
class KnownTexts {
 public:
  // A new reference.
  PyObject* get(std::string_view text) {
    const auto [found, is_new] = known_.try_emplace(text);
    if (is_new) found->second = py::reinterpret_steal<py::object>(new_str(text));
    return Py_NewRef(found->second.ptr());
  }

 private:
  std::unordered_map<std::string_view, py::object> known_;
};

PyObject* quantity_text(Int128 units) {
  std::array<char, Decimal::kTextCharsMax> digits{};
  const size_t length = Decimal::from_units(units)->write(digits.data());
  return new_str({digits.data(), length});
}

py::object row_of(const UsageRow& row, KnownTexts* texts) {
  auto made = py::reinterpret_steal<py::object>(checked(PyTuple_New(kUsageColumns.size())));
  Py_ssize_t at = 0;
  const auto add = [&](PyObject* object) { PyTuple_SET_ITEM(made.ptr(), at++, object); };
  const metering::UsageEvent& event = row.event;
  add(checked(PyLong_FromUnsignedLongLong(row.sequence)));
  add(checked(PyLong_FromUnsignedLong(row.number)));
  add(checked(PyLong_FromLongLong(row.recorded_ns)));
  add(texts->get(row.tenant));
  add(texts->get(event.metric));
  add(texts->get(event.source));
  add(new_str(event.id));
  add(checked(PyLong_FromLongLong(event.time_ns)));
  add(event.quantity == Decimal::kOne ? texts->get("1") : quantity_text(event.quantity));
  add(event.properties ? texts->get(*event.properties) : Py_NewRef(Py_None));
  add(texts->get(usage_action_name(event.action)));
  PyObject_GC_UnTrack(made.ptr());  // nothing in it refers to anything
  return made;
}

py::list rows(const UsageRows& batch) {
  KnownTexts texts;
  py::list out(batch.rows.size());
  for (size_t i = 0; i < batch.rows.size(); ++i) {
    PyList_SET_ITEM(out.ptr(), static_cast<Py_ssize_t>(i),
                    row_of(batch.rows[i], &texts).release().ptr());
  }
  return out;
}

}  // namespace

const char* usage_action_name(metering::Action action) {
  constexpr std::array<const char*, metering::kActions> kNames = {"record", "correct", "cancel"};
  return kNames[static_cast<size_t>(action)];
}

void bind_usage_batch(py::module_& module) {
  py::class_<UsageRows, std::shared_ptr<UsageRows>> type(module, "UsageBatch");
  type.def("__len__", [](const UsageRows& batch) { return batch.rows.size(); })
      .def_property_readonly("next", [](const UsageRows& batch) { return batch.next; })
      .def("rows", &rows)
      .def("__arrow_c_array__", &usage_arrow, py::arg("requested_schema") = py::none());
  py::tuple names(kUsageColumns.size());
  for (size_t i = 0; i < kUsageColumns.size(); ++i) names[i] = to_str(kUsageColumns[i]);
  type.attr("columns") = names;
}

}  // namespace tenancy
