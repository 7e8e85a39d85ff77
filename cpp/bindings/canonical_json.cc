#include "canonical_json.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <utility>
#include <vector>

namespace tenancy {
namespace {

constexpr int kDepthMax = 64;  // as base/json.h reads
constexpr uint64_t kExactMax = uint64_t{1} << 53;

// ECMAScript's Number::toString, which RFC 8785 prescribes.
void json_double(double value, std::string* out) {
  if (!std::isfinite(value)) throw py::value_error("JSON has no NaN and no infinity");
  if (value == 0) {
    out->push_back('0');
    return;
  }
  std::array<char, 32> text{};
  const auto end =
      std::to_chars(text.data(), text.data() + text.size(), value, std::chars_format::scientific);
  std::string_view shown(text.data(), static_cast<size_t>(end.ptr - text.data()));
  if (shown.front() == '-') {
    out->push_back('-');
    shown.remove_prefix(1);
  }
  const size_t e = shown.find('e');
  std::string digits(1, shown.front());
  if (e > 2) digits.append(shown.substr(2, e - 2));
  int exponent = 0;
  std::from_chars(shown.data() + e + (shown[e + 1] == '+' ? 2 : 1), shown.data() + shown.size(),
                  exponent);
  const int count = static_cast<int>(digits.size());
  const int point = exponent + 1;  // digits before the decimal point
  if (count <= point && point <= 21) {
    out->append(digits).append(static_cast<size_t>(point - count), '0');
  } else if (0 < point && point <= 21) {
    out->append(digits, 0, static_cast<size_t>(point)).push_back('.');
    out->append(digits, static_cast<size_t>(point));
  } else if (-6 < point && point <= 0) {
    out->append("0.").append(static_cast<size_t>(-point), '0').append(digits);
  } else {
    out->push_back(digits.front());
    if (count > 1) out->append(".").append(digits, 1);
    out->append(exponent < 0 ? "e-" : "e+").append(std::to_string(std::abs(exponent)));
  }
}

void json_long(const py::handle& value, std::string* out) {
  int overflow = 0;
  const long long number = PyLong_AsLongLongAndOverflow(value.ptr(), &overflow);
  if (overflow == 0) {
    json_integer(number, out);
  } else {
    json_text(utf8_view(py::str(value)), out);
  }
}

void write(const py::handle& value, int depth, std::string* out);

void write_members(const py::dict& members, int depth, std::string* out) {
  std::vector<std::pair<std::string_view, py::handle>> sorted;
  sorted.reserve(members.size());
  for (const auto& [name, value] : members) sorted.emplace_back(utf8_view(name), value);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto& a, const auto& b) { return json_name_less(a.first, b.first); });
  char before = '{';
  for (const auto& [name, value] : sorted) {
    out->push_back(before);
    json_text(name, out);
    out->push_back(':');
    write(value, depth + 1, out);
    before = ',';
  }
  out->append(sorted.empty() ? "{}" : "}");
}

void write_items(const py::handle& items, int depth, std::string* out) {
  // A list may not be changed in between: nothing here runs code of Python's.
  const auto sequence = py::reinterpret_borrow<py::sequence>(items);
  out->push_back('[');
  for (size_t i = 0; i < sequence.size(); ++i) {
    if (i != 0) out->push_back(',');
    write(py::object(sequence[i]), depth + 1, out);
  }
  out->push_back(']');
}

void write(const py::handle& value, int depth, std::string* out) {
  if (depth > kDepthMax) throw py::value_error("JSON: expected at most 64 levels");
  PyObject* const object = value.ptr();
  if (object == Py_None) {
    out->append("null");
  } else if (PyBool_Check(object)) {
    out->append(object == Py_True ? "true" : "false");
  } else if (PyLong_Check(object)) {
    json_long(value, out);
  } else if (PyFloat_Check(object)) {
    json_double(PyFloat_AsDouble(object), out);
  } else if (PyUnicode_Check(object)) {
    json_text(utf8_view(object), out);
  } else if (PyDict_Check(object)) {
    write_members(py::reinterpret_borrow<py::dict>(value), depth, out);
  } else if (PyList_Check(object) || PyTuple_Check(object)) {
    write_items(value, depth, out);
  } else {
    throw py::type_error("JSON: expected None, bool, int, float, str, dict or list, got " +
                         std::string(Py_TYPE(object)->tp_name) + "; give its text, str(value)");
  }
}

}  // namespace

void json_text(std::string_view text, std::string* out) {
  constexpr std::string_view kHex = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    switch (c) {
      case '"': out->append("\\\""); break;
      case '\\': out->append("\\\\"); break;
      case '\b': out->append("\\b"); break;
      case '\f': out->append("\\f"); break;
      case '\n': out->append("\\n"); break;
      case '\r': out->append("\\r"); break;
      case '\t': out->append("\\t"); break;
      default:
        if (byte < 0x20) {
          out->append("\\u00").push_back(kHex[byte >> 4]);
          out->push_back(kHex[byte & 15]);
        } else {
          out->push_back(c);
        }
    }
  }
  out->push_back('"');
}

void json_unsigned(uint64_t value, std::string* out) {
  const std::string digits = std::to_string(value);
  if (value <= kExactMax) {
    out->append(digits);
  } else {
    json_text(digits, out);
  }
}

void json_integer(int64_t value, std::string* out) {
  if (value >= 0) {
    json_unsigned(static_cast<uint64_t>(value), out);
  } else if (value >= -static_cast<int64_t>(kExactMax)) {
    out->append(std::to_string(value));
  } else {
    json_text(std::to_string(value), out);
  }
}

void json_value(const py::handle& value, std::string* out) { write(value, 0, out); }

bool json_name_less(std::string_view a, std::string_view b) {
  const size_t common = std::min(a.size(), b.size());
  for (size_t i = 0; i < common; ++i) {
    const auto x = static_cast<uint8_t>(a[i]);
    const auto y = static_cast<uint8_t>(b[i]);
    if (x == y) continue;
    // In UTF-16 what lies beyond U+FFFF (lead bytes from F0 on) is below U+E000 to U+FFFF.
    if (x >= 0xf0 && (y == 0xee || y == 0xef)) return true;
    if (y >= 0xf0 && (x == 0xee || x == 0xef)) return false;
    return x < y;
  }
  return a.size() < b.size();
}

}  // namespace tenancy
