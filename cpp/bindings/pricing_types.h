// What the files of the pricing binding share: decimals and columns to and from Python, and the
// hand-written type PriceCore.
//
// Ownership: as in each declaration. Thread safety: under the interpreter's lock.
#pragma once

#include <memory>

#include "pybind.h"
#include "tenancy/base/decimal.h"
#include "tenancy/billing/book.h"
#include "tenancy/billing/column.h"
#include "tenancy/billing/price.h"
#include "tenancy/billing/vector.h"

namespace tenancy {

// Threads that work on one long column.
constexpr unsigned kThreadsMax = 2;

// --- decimal_convert.cc

// An int, str or Decimal (or an integer of NumPy) as a decimal; sets InvalidValue(field) and
// returns false for anything else, above all a float.
bool read_decimal(PyObject* value, const char* field, Decimal* out);
// A new decimal.Decimal of exactly these digits, made without looking at a context; or null with an
// exception set.
PyObject* new_decimal(Decimal value);

inline Decimal decimal_or_raise(const py::handle& value, const char* field) {
  Decimal result;
  if (!read_decimal(value.ptr(), field, &result)) throw py::error_already_set();
  return result;
}
inline py::object to_decimal(Decimal value) {
  PyObject* made = new_decimal(value);
  if (made == nullptr) throw py::error_already_set();
  return py::reinterpret_steal<py::object>(made);
}

// Sets or raises InvalidValue(field, message of the error).
void set_invalid(const char* field, const Error& error);
[[noreturn]] void raise_invalid(const char* field, const Error& error);

template <class T>
T value_or_invalid(Result<T> result, const char* field) {
  if (!result.ok()) raise_invalid(field, result.error());
  return std::move(result).value();
}

// --- columns.cc

enum class ColumnUse : uint8_t { kQuantities, kIds };

// Anything array-like as a column: an Arrow array or stream (by its capsules), a buffer (NumPy), a
// pandas series, a list of int, str or Decimal. Raises InvalidValue(field).
Column column_of(const py::handle& values, const char* field, ColumnUse use);

// --- price_type.cc

void bind_price_core(py::module_& module);
// A new PriceCore, or null with an exception set.
PyObject* new_price_core(std::shared_ptr<const Price> price);
// Raises TypeError for another type.
const std::shared_ptr<const Price>& price_of(const py::handle& object);

// --- bind_money.cc

void bind_money(py::module_& module);

// --- amounts_type.cc

void bind_amounts(py::module_& module);

// --- bind_frames.cc

void bind_frames(py::module_& module);
void bind_samples(py::module_& module);

}  // namespace tenancy
