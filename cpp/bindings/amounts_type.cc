// Amounts: a column of exact numbers that Arrow, pandas and polars take as decimal128(38, 12).
#include <memory>
#include <string>

#include "pricing_types.h"

namespace tenancy {
namespace {

constexpr const char* kFormat = "d:38,12";

// What keeps an exported array alive.
struct ExportedArray {
  Amounts amounts;
  const void* buffers[2];
};

void release_schema(ArrowSchema* schema) { schema->release = nullptr; }

void release_array(ArrowArray* array) {
  delete static_cast<ExportedArray*>(array->private_data);
  array->release = nullptr;
}

py::capsule schema_capsule() {
  constexpr int64_t kNullable = 2;
  auto schema = std::make_unique<ArrowSchema>();
  *schema = {kFormat, "", nullptr, kNullable, 0, nullptr, nullptr, release_schema, nullptr};
  return capsule_of(std::move(schema), "arrow_schema");
}

py::tuple arrow_array(const Amounts& amounts, const py::object&) {
  auto exported = std::make_unique<ExportedArray>();
  exported->amounts = amounts;
  exported->buffers[0] = amounts.validity == nullptr ? nullptr : amounts.validity->data();
  exported->buffers[1] = amounts.units.get();
  auto array = std::make_unique<ArrowArray>();
  *array = {amounts.length, amounts.null_count, 0,      2, 0, exported->buffers, nullptr,
            nullptr,        release_array,      nullptr};
  array->private_data = exported.release();
  return py::make_tuple(schema_capsule(), capsule_of(std::move(array), "arrow_array"));
}

py::object item(const Amounts& amounts, int64_t index) {
  if (index < 0) index += amounts.length;
  if (index < 0 || index >= amounts.length) throw py::index_error("no such amount");
  if (amounts.is_null(index)) return py::none();
  return to_decimal(*Decimal::from_units(amounts.units.get()[index]));
}

py::list to_list(const Amounts& amounts) {
  py::list result(static_cast<size_t>(amounts.length));
  for (int64_t i = 0; i < amounts.length; ++i) {
    result[static_cast<size_t>(i)] = item(amounts, i);
  }
  return result;
}

py::object sum(const Amounts& amounts) {
  const std::optional<Decimal> total = sum_of(amounts);
  if (!total) raise_invalid("amounts", out_of_range("their sum"));
  return to_decimal(*total);
}

bool equal(const Amounts& a, const py::object& other) {
  if (!py::isinstance<Amounts>(other)) return false;
  const auto& b = other.cast<const Amounts&>();
  if (a.length != b.length || a.null_count != b.null_count) return false;
  for (int64_t i = 0; i < a.length; ++i) {
    if (a.is_null(i) != b.is_null(i) || a.units.get()[i] != b.units.get()[i]) return false;
  }
  return true;
}

}  // namespace

void bind_amounts(py::module_& module) {
  py::class_<Amounts> type(module, "Amounts",
                           "A column of exact numbers with 12 digits after the point.");
  type.def("__len__", [](const Amounts& amounts) { return amounts.length; })
      .def("__getitem__", &item, py::arg("index"))
      .def("__iter__", [](const Amounts& amounts) { return py::iter(to_list(amounts)); })
      .def("__eq__", &equal, py::arg("other"), py::is_operator())
      .def("__repr__",
           [](const Amounts& amounts) {
             return "<Amounts: " + std::to_string(amounts.length) + " of decimal128(38, 12)>";
           })
      .def("__arrow_c_array__", &arrow_array, py::arg("requested_schema") = py::none())
      .def("__arrow_c_schema__", [](const Amounts&) { return schema_capsule(); })
      .def("tolist", &to_list)
      .def("sum", &sum);
  type.attr("__hash__") = py::none();
}

}  // namespace tenancy
