// Decimals to and from Python, by their digits: Python's decimal context has no say.
#include <array>
#include <cstring>
#include <string>

#include "decimal_object.h"
#include "limiter_types.h"
#include "pricing_types.h"

namespace tenancy {
namespace {

// Borrowed for the life of the process.
PyObject* decimal_class() {
  static PyObject* const kClass = [] {
    PyObject* module = PyImport_ImportModule("decimal");
    if (module == nullptr) return static_cast<PyObject*>(nullptr);
    PyObject* found = PyObject_GetAttrString(module, "Decimal");
    Py_DECREF(module);
    return found;
  }();
  return kClass;
}

bool read_text(PyObject* text, const char* field, Decimal* out) {
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text, &size);
  if (data == nullptr) {
    PyErr_Clear();
    set_invalid_value(field, "expected a decimal number, got a text that is no valid Unicode", "");
    return false;
  }
  const Result<Decimal> parsed = Decimal::parse({data, static_cast<size_t>(size)});
  if (!parsed.ok()) {
    set_invalid(field, parsed.error());
    return false;
  }
  *out = *parsed;
  return true;
}

bool read_by_text(PyObject* value, const char* field, Decimal* out) {
  PyObject* text = PyObject_Str(value);
  if (text == nullptr) return false;
  const bool good = read_text(text, field, out);
  Py_DECREF(text);
  return good;
}

bool read_int(PyObject* value, const char* field, Decimal* out) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
  if (overflow == 0) {
    if (number == -1 && PyErr_Occurred() != nullptr) return false;
    *out = Decimal(number);
    return true;
  }
  // An int of millions of digits must not be written out first.
  constexpr double kFarAboveRange = 1e27;
  const double size = PyLong_AsDouble(value);
  const bool huge = PyErr_Occurred() != nullptr;
  PyErr_Clear();
  if (huge || size > kFarAboveRange || size < -kFarAboveRange) {
    set_invalid_value(field, "expected a number below 10^26, got a larger int", "");
    return false;
  }
  return read_by_text(value, field, out);
}

bool refuse(PyObject* value, const char* field) {
  const std::string name = Py_TYPE(value)->tp_name;
  if (PyFloat_Check(value)) {
    const std::string message =
        "got a float: binary floating point cannot hold most decimal numbers (0.1 is "
        "0.1000000000000000055511151231257827)";
    set_invalid_value(field, message.c_str(), "pass an int, a str such as \"0.1\", or a Decimal");
  } else {
    set_invalid_value(field, ("expected int, str or Decimal, got " + name).c_str(), "");
  }
  return false;
}

}  // namespace

void set_invalid(const char* field, const Error& error) {
  set_invalid_value(field, error.message.c_str(), "");
}

void raise_invalid(const char* field, const Error& error) {
  set_invalid(field, error);
  throw py::error_already_set();
}

bool read_decimal(PyObject* value, const char* field, Decimal* out) {
  if (PyLong_Check(value)) {
    return PyBool_Check(value) ? refuse(value, field) : read_int(value, field, out);
  }
  if (PyUnicode_Check(value)) return read_text(value, field, out);
  PyObject* decimal = decimal_class();
  if (decimal == nullptr) return false;
  if (read_decimal_object(value, decimal, out)) return true;
  if (PyObject_TypeCheck(value, reinterpret_cast<PyTypeObject*>(decimal)) != 0) {
    return read_by_text(value, field, out);
  }
  if (!PyFloat_Check(value) && PyIndex_Check(value) != 0) {  // integers of NumPy
    PyObject* number = PyNumber_Index(value);
    if (number == nullptr) return false;
    const bool good = read_int(number, field, out);
    Py_DECREF(number);
    return good;
  }
  return refuse(value, field);
}

PyObject* new_decimal(Decimal value) {
  PyObject* decimal = decimal_class();
  if (decimal == nullptr) return nullptr;
  PyObject* object = make_decimal_object(value, decimal);
  if (object != nullptr || PyErr_Occurred() != nullptr) return object;
  std::array<char, Decimal::kTextCharsMax> digits;
  const size_t size = value.write(digits.data());
  PyObject* text = PyUnicode_New(static_cast<Py_ssize_t>(size), 127);
  if (text == nullptr) return nullptr;
  memcpy(PyUnicode_1BYTE_DATA(text), digits.data(), size);
  PyObject* made = PyObject_CallOneArg(decimal, text);
  Py_DECREF(text);
  return made;
}

}  // namespace tenancy
