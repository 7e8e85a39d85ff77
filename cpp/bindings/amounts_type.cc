// Amounts: a column of exact numbers that Arrow, pandas and polars take as decimal128(38, 12).
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "arrow_capsules.h"
#include "frame_types.h"
#include "pricing_types.h"
#include "tenancy/billing/samples.h"

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

// 0.1 becomes the double nearest to it.
FrameValues to_floats(const Amounts& amounts) {
  auto values = std::make_shared<std::vector<double>>(static_cast<size_t>(amounts.length));
  for (int64_t i = 0; i < amounts.length; ++i) {
    (*values)[static_cast<size_t>(i)] = amounts.is_null(i)
                                            ? std::numeric_limits<double>::quiet_NaN()
                                            : nearest_double(amounts.units.get()[i]);
  }
  return FrameValues::of_doubles(std::move(values));
}

// How many digits after the point the values need.
int digits_of(const Amounts& amounts) {
  int digits = 0;
  Int128 factor = Decimal::kOne;
  for (int64_t i = 0; i < amounts.length; ++i) {
    while (amounts.units.get()[i] % factor != 0) {
      factor /= 10;
      ++digits;
    }
  }
  return digits;
}

// The values as counts of 10^-digits.
FrameValues to_wholes(const Amounts& amounts, int digits) {
  if (digits < 0 || digits > Decimal::kDigits) {
    raise_invalid("digits", {Code::kInvalidArgument, "expected 0 to 12"});
  }
  Int128 factor = 1;
  for (int i = digits; i < Decimal::kDigits; ++i) factor *= 10;
  auto values = std::make_shared<std::vector<int64_t>>(static_cast<size_t>(amounts.length));
  for (int64_t i = 0; i < amounts.length; ++i) {
    const Int128 units = amounts.units.get()[i];
    if (units % factor != 0 || units / factor > INT64_MAX || units / factor < -INT64_MAX) {
      raise_invalid("amounts",
                    {Code::kOutOfRange, "row " + std::to_string(i) + " is no whole number of 10^-" +
                                            std::to_string(digits) + " that 64 bits hold"});
    }
    (*values)[static_cast<size_t>(i)] = static_cast<int64_t>(units / factor);
  }
  return FrameValues::of_wholes(std::move(values));
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
      .def("digits", &digits_of)
      .def("to_wholes", &to_wholes, py::arg("digits"))
      .def("to_floats", &to_floats)
      .def("sum", &sum);
  type.attr("__hash__") = py::none();
}

}  // namespace tenancy
