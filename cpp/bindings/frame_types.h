// What the files of the binding of frames share: FrameValues, a block of numbers that Python sees
// as a buffer, and FrameColumn, a column that came from a data frame.
//
// Ownership: both share the memory that they read. Thread safety: immutable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pybind.h"
#include "tenancy/billing/column.h"

namespace tenancy {

// 64-bit numbers one after the other: int64 or float64.
struct FrameValues {
  const void* data = nullptr;
  int64_t length = 0;
  bool is_float = false;
  std::shared_ptr<const void> owner;

  static FrameValues of_wholes(std::shared_ptr<const std::vector<int64_t>> values) {
    const void* data = values->data();
    const auto length = static_cast<int64_t>(values->size());
    return {data, length, false, std::move(values)};
  }
  static FrameValues of_doubles(std::shared_ptr<const std::vector<double>> values) {
    const void* data = values->data();
    const auto length = static_cast<int64_t>(values->size());
    return {data, length, true, std::move(values)};
  }
};

// A column with its meaning. Floats lie in `column` as the whole numbers of their bits, times as
// counts of `unit_ns` nanoseconds (or, of days, the same).
struct FrameColumn {
  enum class Kind : uint8_t { kInt = 0, kDecimal, kText, kFloat32, kFloat64, kTime };
  Column column;
  Kind kind = Kind::kInt;
  int64_t unit_ns = 1;
  std::string zone;  // of times; empty where the source names none
};

// --- frame_column_type.cc

void bind_frame_column(py::module_& module);

// --- frame_stream.cc

void bind_frame_stream(py::module_& module);

}  // namespace tenancy
