// Decimal: an exact decimal number with twelve digits after the point, for money and quantities.
//
// The number is an integer of 128 bits that counts units of 1e-12. Nothing here passes through
// binary floating point.
//
// Invariants:
//  1. |units| <= 10^38 - 1, which is also what decimal128(38, 12) of Arrow and NUMERIC(38, 12)
//  hold.
//  2. A result outside that range is nothing, never a wrapped number.
//  3. What 1e-12 cannot hold is rounded once per product, half away from zero unless said
//  otherwise;
//     products go through 256 bits, so nothing is lost before that rounding.
//
// Thread safety: a plain value.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tenancy/base/int128.h"
#include "tenancy/base/status.h"

namespace tenancy {

// Where a number between two representable ones goes. "Half" decides only the exact middle.
enum class Rounding : uint8_t {
  kHalfUp = 0,  // half away from zero: 0.125 -> 0.13, -0.125 -> -0.13
  kHalfEven,    // half to the even neighbour
  kHalfDown,    // half towards zero
  kUp,          // away from zero
  kDown,        // towards zero
  kCeiling,
  kFloor,
};

// "half_up", "half_even", …; nothing for another name.
std::string_view rounding_name(Rounding rounding);
std::optional<Rounding> rounding_from_name(std::string_view name);

class Decimal {
 public:
  static constexpr int kDigits = 12;  // after the point
  static constexpr int64_t kOne = 1'000'000'000'000;
  static constexpr Int128 kUnitsMax = Int128{kOne} * kOne * kOne * 100 - 1;  // 10^38 - 1
  // The longest text: sign, 26 digits, point, 12 digits.
  static constexpr size_t kTextCharsMax = 40;

  constexpr Decimal() = default;
  constexpr explicit Decimal(int64_t whole) : units_(Int128{whole} * kOne) {}
  // Units of 1e-12; nothing outside the range.
  static constexpr std::optional<Decimal> from_units(Int128 units) {
    if (units > kUnitsMax || units < -kUnitsMax) return std::nullopt;
    Decimal value;
    value.units_ = units;
    return value;
  }
  static constexpr Decimal max() { return *from_units(kUnitsMax); }

  // "12", "-0.5", ".5", "5.", "1e-3", "+1.25E+6", at most 200 characters of ASCII. Digits beyond
  // the twelfth after the point must be zero: a number is never rounded while it is read.
  // kInvalidArgument says what is wrong, kOutOfRange that it is too large.
  static Result<Decimal> parse(std::string_view text);

  constexpr Int128 units() const { return units_; }
  constexpr bool is_zero() const { return units_ == 0; }
  constexpr bool is_negative() const { return units_ < 0; }
  constexpr bool is_whole() const { return units_ % kOne == 0; }
  constexpr Decimal operator-() const { return *from_units(-units_); }
  constexpr bool operator==(const Decimal&) const = default;
  constexpr std::strong_ordering operator<=>(const Decimal& other) const {
    if (units_ == other.units_) return std::strong_ordering::equal;
    return units_ < other.units_ ? std::strong_ordering::less : std::strong_ordering::greater;
  }

  // The shortest digits: "0", "-0.5", "1000000". No exponent, no zeros at the end.
  std::string text() const;
  // The same into a buffer of kTextCharsMax; the length.
  size_t write(char* out) const;

 private:
  Int128 units_ = 0;
};

std::optional<Decimal> add(Decimal a, Decimal b);
std::optional<Decimal> subtract(Decimal a, Decimal b);
std::optional<Decimal> multiply(Decimal a, Decimal b, Rounding rounding = Rounding::kHalfUp);
// a x b / c, rounded once. Nothing when c is zero.
std::optional<Decimal> multiply_divide(Decimal a, Decimal b, Decimal c,
                                       Rounding rounding = Rounding::kHalfUp);
// To `digits` after the point: 0..12. Nothing only when rounding up leaves the range.
std::optional<Decimal> round_to(Decimal value, int digits, Rounding rounding);
// The multiple of `step` (> 0) that the rounding chooses.
std::optional<Decimal> round_to_multiple(Decimal value, Decimal step, Rounding rounding);

// "<what> passes 10^26, the largest number that is kept exactly".
Error out_of_range(std::string_view what);

}  // namespace tenancy
