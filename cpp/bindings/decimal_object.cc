#include "decimal_object.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>

namespace tenancy {
namespace {

constexpr int kWordDigits = 19;  // libmpdec counts in words of 10^19
constexpr size_t kWords = 4;
constexpr uint8_t kNegative = 1;
constexpr uint8_t kSpecial = 2 | 4 | 8;  // infinite, NaN, signalling NaN

struct DecimalObject {
  PyObject_HEAD Py_hash_t hash;
  uint8_t flags;
  Py_ssize_t exponent;
  Py_ssize_t digits;
  Py_ssize_t length;  // of the words in use
  Py_ssize_t allocated;
  uint64_t* data;
  std::array<uint64_t, kWords> words;  // where `data` points for short numbers
};

// A number as an integer times a power of ten.
struct Scaled {
  int64_t number;
  int exponent;
};

const DecimalObject& layout_of(PyObject* object) {
  return *reinterpret_cast<const DecimalObject*>(object);
}

// The digits of a short finite number, or nothing.
std::optional<uint64_t> digits_of(const DecimalObject& object) {
  if ((object.flags & kSpecial) != 0 || object.length != 1) return std::nullopt;
  if (object.data != object.words.data()) return std::nullopt;
  return object.words.front();
}

// What new objects begin as: a short number that was made from its text. Borrowed for the life of
// the process.
struct Template {
  PyTypeObject* type = nullptr;
  uint8_t flags = 0;
};

Py_ssize_t digit_count(uint64_t number) {
  Py_ssize_t digits = 1;
  for (; number >= 10'000; number /= 10'000) digits += 4;
  return digits + (number >= 10 ? 1 : 0) + (number >= 100 ? 1 : 0) + (number >= 1'000 ? 1 : 0);
}

PyObject* make(Scaled value, const Template& like) {
  PyObject* made = like.type->tp_alloc(like.type, 0);
  if (made == nullptr) return nullptr;
  auto& object = *reinterpret_cast<DecimalObject*>(made);
  const bool negative = value.number < 0;
  const auto number = static_cast<uint64_t>(value.number);
  const uint64_t size = negative ? -number : number;
  object.hash = -1;  // not yet computed
  object.flags = static_cast<uint8_t>(like.flags | (negative ? kNegative : 0));
  object.exponent = value.exponent;
  object.digits = digit_count(size);
  object.length = 1;
  object.allocated = kWords;
  object.data = object.words.data();
  object.words.front() = size;
  return made;
}

// --- whether the layout is this one

struct Sample {
  const char* text;
  Scaled value;
  Py_ssize_t digits;
};

constexpr std::array<Sample, 8> kSamples{{{"0", {0, 0}, 1},
                                          {"7", {7, 0}, 1},
                                          {"-7", {-7, 0}, 1},
                                          {"532.1234", {5321234, -4}, 7},
                                          {"-0.5", {-5, -1}, 1},
                                          {"0.000125", {125, -6}, 3},
                                          {"12000000", {12000000, 0}, 8},
                                          {"9223372.036854775807", {INT64_MAX, -12}, 19}}};

bool reads_as(const DecimalObject& object, const Sample& sample) {
  const bool negative = sample.value.number < 0;
  const auto size = static_cast<uint64_t>(negative ? -sample.value.number : sample.value.number);
  return digits_of(object) == size && ((object.flags & kNegative) != 0) == negative &&
         object.exponent == sample.value.exponent && object.digits == sample.digits &&
         object.allocated == static_cast<Py_ssize_t>(kWords);
}

bool same_hash(PyObject* a, PyObject* b) {
  const Py_hash_t hash = PyObject_Hash(a);
  return hash != -1 && hash == PyObject_Hash(b);
}

// Made with the same value, digits, hash and text as from its text.
bool makes(const Sample& sample, PyObject* by_text, const Template& like) {
  PyObject* made = make(sample.value, like);
  if (made == nullptr) return false;
  PyObject* text = PyObject_Str(made);
  const bool good = text != nullptr && PyObject_RichCompareBool(made, by_text, Py_EQ) == 1 &&
                    same_hash(made, by_text) && reads_as(layout_of(made), sample) &&
                    PyUnicode_CompareWithASCIIString(text, sample.text) == 0;
  Py_XDECREF(text);
  Py_DECREF(made);
  return good;
}

// The others are specials and a number of two words: they must be told from short numbers.
bool declines(PyObject* decimal_class, const char* text) {
  PyObject* object = PyObject_CallFunction(decimal_class, "s", text);
  const bool good = object != nullptr && !digits_of(layout_of(object));
  Py_XDECREF(object);
  return good;
}

// A finite number of 0 or more has flags that only say where its words lie: the same for all.
bool read_template(PyObject* decimal_class, Template* out) {
  auto* type = reinterpret_cast<PyTypeObject*>(decimal_class);
  if (type->tp_basicsize != sizeof(DecimalObject) || type->tp_itemsize != 0) return false;
  PyObject* seven = PyObject_CallFunction(decimal_class, "s", "7");
  const bool good = seven != nullptr && Py_TYPE(seven) == type && digits_of(layout_of(seven)) == 7;
  if (good) *out = {type, layout_of(seven).flags};
  Py_XDECREF(seven);
  return good;
}

bool is_known(PyObject* decimal_class, const Template& like) {
  for (const Sample& sample : kSamples) {
    PyObject* by_text = PyObject_CallFunction(decimal_class, "s", sample.text);
    const bool good = by_text != nullptr && Py_TYPE(by_text) == like.type &&
                      reads_as(layout_of(by_text), sample) && makes(sample, by_text, like) &&
                      (layout_of(by_text).flags & ~kNegative) == like.flags;
    Py_XDECREF(by_text);
    if (!good) return false;
  }
  return declines(decimal_class, "NaN") && declines(decimal_class, "sNaN") &&
         declines(decimal_class, "-Infinity") && declines(decimal_class, "12345678901234567890");
}

// Null where the layout is another one.
const Template* known_template(PyObject* decimal_class) {
  static const Template kTemplate = [&] {
    Template like;
    const bool known = read_template(decimal_class, &like) && is_known(decimal_class, like);
    PyErr_Clear();
    return known ? like : Template();
  }();
  return kTemplate.type == nullptr ? nullptr : &kTemplate;
}

// --- numbers

constexpr std::array<int64_t, kWordDigits> kPowers = [] {
  std::array<int64_t, kWordDigits> powers{1};
  for (size_t i = 1; i < powers.size(); ++i) powers[i] = powers[i - 1] * 10;
  return powers;
}();

// Without the zeros at its end, of which there are at most eleven.
Scaled without_zeros(int64_t fraction) {
  int exponent = -Decimal::kDigits;
  for (const int zeros : {6, 3, 1, 1}) {
    const int64_t power = kPowers[static_cast<size_t>(zeros)];
    if (fraction % power != 0) continue;
    fraction /= power;
    exponent += zeros;
  }
  return {fraction, exponent};
}

// Nothing where the digits do not fit 64 bits.
std::optional<Scaled> scaled(Int128 units) {
  const bool small = units >= INT64_MIN && units <= INT64_MAX;  // divided several times faster
  const Int128 wide_whole =
      small ? static_cast<int64_t>(units) / Decimal::kOne : units / Decimal::kOne;
  const auto fraction = static_cast<int64_t>(units - wide_whole * Decimal::kOne);
  if (wide_whole > INT64_MAX || wide_whole < INT64_MIN) return std::nullopt;
  const auto whole = static_cast<int64_t>(wide_whole);
  if (fraction == 0) return Scaled{whole, 0};
  const Scaled rest = without_zeros(fraction);
  int64_t number = 0;
  if (__builtin_mul_overflow(whole, kPowers[static_cast<size_t>(-rest.exponent)], &number) ||
      __builtin_add_overflow(number, rest.number, &number)) {
    return std::nullopt;
  }
  return Scaled{number, rest.exponent};
}

}  // namespace

bool read_decimal_object(PyObject* object, PyObject* decimal_class, Decimal* out) {
  if (reinterpret_cast<PyObject*>(Py_TYPE(object)) != decimal_class ||
      known_template(decimal_class) == nullptr) {
    return false;
  }
  const DecimalObject& held = layout_of(object);
  const std::optional<uint64_t> digits = digits_of(held);
  if (!digits || held.exponent < -Decimal::kDigits || held.exponent > 0) return false;
  const auto shift = static_cast<size_t>(held.exponent + Decimal::kDigits);
  Int128 units = Int128{*digits} * kPowers[shift];
  if ((held.flags & kNegative) != 0) units = -units;
  const std::optional<Decimal> value = Decimal::from_units(units);
  if (value) *out = *value;
  return value.has_value();
}

PyObject* make_decimal_object(Decimal value, PyObject* decimal_class) {
  const Template* like = known_template(decimal_class);
  if (like == nullptr) return nullptr;
  const std::optional<Scaled> number = scaled(value.units());
  return number ? make(*number, *like) : nullptr;
}

}  // namespace tenancy
