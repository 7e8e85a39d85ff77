// Frames in and out of Arrow, and samples of money.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "frame_types.h"
#include "pricing_types.h"
#include "tenancy/billing/samples.h"

namespace tenancy {
namespace {

// Whole numbers out of anything array-like: where they lie, or a copy.
class Numbers {
 public:
  Numbers(const py::handle& values, const char* field)
      : column_(column_of(values, field, ColumnUse::kQuantities)) {
    const int64_t length = column_.length();
    const bool good = column_.kind() == Column::Kind::kWhole && !column_.first_null();
    const int64_t* where = good ? column_.wholes_at(0, length) : nullptr;
    if (where == nullptr) {
      copy_.resize(static_cast<size_t>(length));
      if (!good || !column_.read_wholes(0, length, copy_.data())) {
        raise_invalid(field, {Code::kInvalidArgument, "expected whole numbers of 64 bits"});
      }
      where = copy_.data();
    }
    view_ = {where, static_cast<size_t>(length)};
  }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;

  std::span<const int64_t> view() const { return view_; }

 private:
  Column column_;
  std::vector<int64_t> copy_;
  std::span<const int64_t> view_;
};

Amounts of_wholes(const py::object& values, int digits) {
  const Numbers numbers(values, "values");
  return value_or_invalid(amounts_of_wholes(numbers.view(), digits), "values");
}

// Numbers of Python, and None where there is none.
Amounts of_numbers(const py::list& values, const std::string& field) {
  Amounts amounts;
  amounts.length = static_cast<int64_t>(values.size());
  amounts.units = allocate_units(amounts.length);
  auto bits = std::make_shared<std::vector<uint8_t>>(static_cast<size_t>((amounts.length + 7) / 8),
                                                     uint8_t{0});
  for (int64_t i = 0; i < amounts.length; ++i) {
    const py::handle value = values[static_cast<size_t>(i)];
    amounts.units.get()[i] = 0;
    if (value.is_none()) {
      ++amounts.null_count;
      continue;
    }
    (*bits)[static_cast<size_t>(i >> 3)] |= static_cast<uint8_t>(1U << (i & 7));
    const std::string place = field + "[" + std::to_string(i) + "]";
    amounts.units.get()[i] = decimal_or_raise(value, place.c_str()).units();
  }
  if (amounts.null_count != 0) amounts.validity = std::move(bits);
  return amounts;
}

Amounts joined(const py::list& parts) {
  Amounts result;
  for (const py::handle part : parts) result.length += part.cast<const Amounts&>().length;
  result.units = allocate_units(result.length);
  Int128* out = result.units.get();
  for (const py::handle part : parts) {
    const auto& amounts = part.cast<const Amounts&>();
    if (amounts.null_count != 0) {
      raise_invalid("parts", {Code::kInvalidArgument, "an amount has no value"});
    }
    out = std::copy_n(amounts.units.get(), amounts.length, out);
  }
  return result;
}

template <class Work>
Amounts without_lock(Work work, const char* field) {
  Result<Amounts> result = [&] {
    const py::gil_scoped_release release;
    return work();
  }();
  return value_or_invalid(std::move(result), field);
}

Amounts sums(const Amounts& amounts, int64_t samples, const py::object& groups, int64_t count) {
  const Numbers group_of_row(groups, "groups");
  return without_lock([&] { return sum_rows(amounts, samples, group_of_row.view(), count); },
                      "samples");
}

Amounts quantiles(const Amounts& amounts, int64_t samples, const py::list& levels) {
  std::vector<double> shares;
  for (const py::handle level : levels) shares.push_back(py::cast<double>(level));
  return without_lock([&] { return row_quantiles(amounts, samples, shares); }, "samples");
}

Amounts means(const Amounts& amounts, int64_t samples) {
  return without_lock([&] { return row_means(amounts, samples); }, "samples");
}

FrameValues counts_above(const Amounts& amounts, int64_t samples, const Amounts& thresholds) {
  return FrameValues::of_wholes(std::make_shared<std::vector<int64_t>>(
      value_or_invalid(row_counts_above(amounts, samples, thresholds), "thresholds")));
}

Amounts taken(const Amounts& amounts, int64_t samples, const py::object& rows) {
  const Numbers numbers(rows, "rows");
  const std::span<const int64_t> wanted = numbers.view();
  Amounts result;
  result.length = static_cast<int64_t>(wanted.size()) * samples;
  result.units = allocate_units(result.length);
  Int128* out = result.units.get();
  for (const int64_t row : wanted) {
    if (samples <= 0 || row < 0 || row >= amounts.length / samples || amounts.null_count != 0) {
      raise_invalid("rows", {Code::kInvalidArgument, "no such row without nulls"});
    }
    out = std::copy_n(amounts.units.get() + row * samples, samples, out);
  }
  return result;
}

}  // namespace

void bind_frames(py::module_& module) {
  bind_frame_column(module);
  bind_frame_stream(module);
}

void bind_samples(py::module_& module) {
  module.def("amounts_of_wholes", &of_wholes, py::arg("values"), py::arg("digits"));
  module.def("amounts_of_numbers", &of_numbers, py::arg("values"), py::arg("field"));
  module.def("concat_amounts", &joined, py::arg("parts"));
  module.def(
      "add_amounts",
      [](const Amounts& a, const Amounts& b) {
        return without_lock([&] { return sum_of_both(a, b); }, "amounts");
      },
      py::arg("a"), py::arg("b"));
  module.def("sum_rows", &sums, py::arg("amounts"), py::arg("samples"), py::arg("groups"),
             py::arg("count"));
  module.def("row_quantiles", &quantiles, py::arg("amounts"), py::arg("samples"),
             py::arg("levels"));
  module.def("row_means", &means, py::arg("amounts"), py::arg("samples"));
  module.def("row_counts_above", &counts_above, py::arg("amounts"), py::arg("samples"),
             py::arg("thresholds"));
  module.def("take_rows", &taken, py::arg("amounts"), py::arg("samples"), py::arg("rows"));
}

}  // namespace tenancy
