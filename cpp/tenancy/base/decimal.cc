#include "tenancy/base/decimal.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstring>

namespace tenancy {

namespace {

constexpr std::array<std::string_view, 7> kRoundingNames{"half_up", "half_even", "half_down", "up",
                                                         "down",    "ceiling",   "floor"};
constexpr size_t kTextCharsReadMax = 200;
constexpr int kSignificantMax = 38;

// Whether the quotient of magnitudes goes one up, given what is left over.
bool goes_up(Rounding rounding, bool negative, const Division& division, Uint128 divisor) {
  if (division.remainder == 0) return false;
  const Uint128 rest = division.remainder;
  const Uint128 to_next = divisor - rest;
  switch (rounding) {
    case Rounding::kHalfUp: return rest >= to_next;
    case Rounding::kHalfDown: return rest > to_next;
    case Rounding::kHalfEven:
      return rest > to_next || (rest == to_next && (division.quotient & 1) == 1);
    case Rounding::kUp: return true;
    case Rounding::kDown: return false;
    case Rounding::kCeiling: return !negative;
    case Rounding::kFloor: return negative;
  }
  return false;
}

std::optional<Decimal> signed_value(Uint128 quotient, bool negative) {
  if (quotient > static_cast<Uint128>(Decimal::kUnitsMax)) return std::nullopt;
  const Int128 units = static_cast<Int128>(quotient);
  return Decimal::from_units(negative ? -units : units);
}

std::optional<Decimal> quotient_of(const Uint256& dividend, Uint128 divisor, bool negative,
                                   Rounding rounding) {
  std::optional<Division> division = divide_wide(dividend, divisor);
  if (!division) return std::nullopt;
  // A quotient of all ones would wrap to zero; it is out of range before and after.
  if (division->quotient > static_cast<Uint128>(Decimal::kUnitsMax)) return std::nullopt;
  if (goes_up(rounding, negative, *division, divisor)) ++division->quotient;
  return signed_value(division->quotient, negative);
}

// Most numbers are short, and those are divided several times faster.
Division divide(Uint128 dividend, Uint128 divisor) {
  if (dividend > UINT64_MAX || divisor > UINT64_MAX) {
    return {dividend / divisor, dividend % divisor};
  }
  const auto size = static_cast<uint64_t>(dividend);
  const auto by = static_cast<uint64_t>(divisor);
  return {size / by, size % by};
}

// Units of the last of so many digits after the point.
constexpr std::array<int64_t, Decimal::kDigits + 1> kSteps = [] {
  std::array<int64_t, Decimal::kDigits + 1> steps{};
  int64_t step = 1;
  for (size_t digits = steps.size(); digits-- > 0; step *= 10) steps[digits] = step;
  return steps;
}();

bool is_digit(char c) { return c >= '0' && c <= '9'; }

std::string shown(std::string_view text) {
  constexpr size_t kShownMax = 60;
  std::string safe = "\"";
  for (const char c : text.substr(0, kShownMax)) safe += c >= ' ' && c <= '~' ? c : '?';
  return safe + (text.size() > kShownMax ? "…\"" : "\"");
}

Error no_number(std::string_view text) {
  return {Code::kInvalidArgument,
          "expected a decimal number such as 12, -0.5 or 1e-3, got " + shown(text)};
}

// Digits and where the point stands among them, before the exponent is applied.
struct Digits {
  std::string significant;  // without leading zeros
  int64_t exponent = 0;     // of the last digit
};

// Reads an exponent of at most 6 digits; more could not be in range.
bool read_exponent(std::string_view text, int64_t* exponent) {
  bool negative = false;
  if (!text.empty() && (text.front() == '+' || text.front() == '-')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  if (text.empty() || !std::ranges::all_of(text, is_digit)) return false;
  constexpr int64_t kExponentMax = 1'000'000;
  int64_t value = 0;
  for (const char c : text) value = std::min(value * 10 + (c - '0'), kExponentMax);
  *exponent += negative ? -value : value;
  return true;
}

std::optional<Digits> read_digits(std::string_view text) {
  Digits digits;
  bool any = false;
  bool after_point = false;
  size_t at = 0;
  for (; at < text.size() && (is_digit(text[at]) || text[at] == '.'); ++at) {
    if (text[at] == '.') {
      if (after_point) return std::nullopt;
      after_point = true;
      continue;
    }
    any = true;
    if (after_point) --digits.exponent;
    if (text[at] != '0' || !digits.significant.empty()) digits.significant += text[at];
  }
  if (!any) return std::nullopt;
  if (at < text.size()) {
    if (text[at] != 'e' && text[at] != 'E') return std::nullopt;
    if (!read_exponent(text.substr(at + 1), &digits.exponent)) return std::nullopt;
  }
  while (!digits.significant.empty() && digits.significant.back() == '0') {
    digits.significant.pop_back();
    ++digits.exponent;
  }
  return digits;
}

}  // namespace

std::string_view rounding_name(Rounding rounding) {
  return kRoundingNames[static_cast<size_t>(rounding)];
}

std::optional<Rounding> rounding_from_name(std::string_view name) {
  const auto found = std::ranges::find(kRoundingNames, name);
  if (found == kRoundingNames.end()) return std::nullopt;
  return static_cast<Rounding>(found - kRoundingNames.begin());
}

Error out_of_range(std::string_view what) {
  return {Code::kOutOfRange,
          std::string(what) + " passes 10^26, the largest number that is kept exactly"};
}

Result<Decimal> Decimal::parse(std::string_view text) {
  if (text.size() > kTextCharsReadMax) return no_number(text);
  std::string_view rest = text;
  bool negative = false;
  if (!rest.empty() && (rest.front() == '+' || rest.front() == '-')) {
    negative = rest.front() == '-';
    rest.remove_prefix(1);
  }
  const std::optional<Digits> digits = read_digits(rest);
  if (!digits) return no_number(text);
  if (digits->significant.empty()) return Decimal();
  const int64_t zeros = digits->exponent + kDigits;
  if (zeros < 0) {
    return Error{Code::kInvalidArgument, "expected at most 12 digits after the point, got " +
                                             shown(text) + "; round it first"};
  }
  if (static_cast<int64_t>(digits->significant.size()) + zeros > kSignificantMax) {
    return Error{Code::kOutOfRange, "expected a number below 10^26, got " + shown(text)};
  }
  Uint128 units = 0;
  for (const char c : digits->significant) units = units * 10 + static_cast<unsigned>(c - '0');
  for (int64_t i = 0; i < zeros; ++i) units *= 10;
  return *signed_value(units, negative);
}

size_t Decimal::write(char* out) const {
  const Uint128 size = magnitude(units_);
  Uint128 whole_wide;
  uint64_t fraction;
  if (size <= UINT64_MAX) {
    whole_wide = static_cast<uint64_t>(size) / kOne;
    fraction = static_cast<uint64_t>(size) % kOne;
  } else {
    whole_wide = size / kOne;
    fraction = static_cast<uint64_t>(size % kOne);
  }
  char* at = out;
  if (units_ < 0) *at++ = '-';
  std::array<char, kTextCharsMax> reversed;
  size_t count = 0;
  while (whole_wide > UINT64_MAX) {
    reversed[count++] = static_cast<char>('0' + static_cast<int>(whole_wide % 10));
    whole_wide /= 10;
  }
  uint64_t whole = static_cast<uint64_t>(whole_wide);
  do {
    reversed[count++] = static_cast<char>('0' + whole % 10);
    whole /= 10;
  } while (whole != 0);
  while (count != 0) *at++ = reversed[--count];
  if (fraction != 0) {
    int digits = kDigits;
    while (fraction % 10 == 0) {
      fraction /= 10;
      --digits;
    }
    *at = '.';
    for (int i = digits; i > 0; --i) {
      at[i] = static_cast<char>('0' + fraction % 10);
      fraction /= 10;
    }
    at += digits + 1;
  }
  return static_cast<size_t>(at - out);
}

std::string Decimal::text() const {
  std::array<char, kTextCharsMax> buffer;
  return {buffer.data(), write(buffer.data())};
}

std::optional<Decimal> add(Decimal a, Decimal b) {
  Int128 sum = 0;
  if (__builtin_add_overflow(a.units(), b.units(), &sum)) return std::nullopt;
  return Decimal::from_units(sum);
}

std::optional<Decimal> subtract(Decimal a, Decimal b) { return add(a, -b); }

std::optional<Decimal> multiply(Decimal a, Decimal b, Rounding rounding) {
  const bool negative = a.is_negative() != b.is_negative();
  return quotient_of(multiply_wide(magnitude(a.units()), magnitude(b.units())), Decimal::kOne,
                     negative, rounding);
}

std::optional<Decimal> multiply_divide(Decimal a, Decimal b, Decimal c, Rounding rounding) {
  if (c.is_zero()) return std::nullopt;
  const bool negative = (a.is_negative() != b.is_negative()) != c.is_negative();
  return quotient_of(multiply_wide(magnitude(a.units()), magnitude(b.units())),
                     magnitude(c.units()), negative, rounding);
}

std::optional<Decimal> round_to_multiple(Decimal value, Decimal step, Rounding rounding) {
  assert(step > Decimal());
  const Uint128 size = magnitude(step.units());
  const Uint128 units = magnitude(value.units());
  Division division = divide(units, size);
  if (division.remainder == 0) return value;
  if (goes_up(rounding, value.is_negative(), division, size)) ++division.quotient;
  const Uint256 product = multiply_wide(division.quotient, size);
  if (product.high != 0) return std::nullopt;
  return signed_value(product.low, value.is_negative());
}

std::optional<Decimal> round_to(Decimal value, int digits, Rounding rounding) {
  assert(digits >= 0 && digits <= Decimal::kDigits);
  return round_to_multiple(value, *Decimal::from_units(kSteps[static_cast<size_t>(digits)]),
                           rounding);
}

}  // namespace tenancy
