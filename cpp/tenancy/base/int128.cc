#include "tenancy/base/int128.h"

#include <array>
#include <cassert>

namespace tenancy {

namespace {

constexpr int kLimbBits = 64;
constexpr Uint128 kLimbMask = ~uint64_t{0};

// Limb by limb; each step divides a number whose high limb is below the divisor.
Division divide_by_limb(const Uint256& dividend, uint64_t divisor) {
  const std::array<uint64_t, 4> limbs{
      static_cast<uint64_t>(dividend.high >> kLimbBits), static_cast<uint64_t>(dividend.high),
      static_cast<uint64_t>(dividend.low >> kLimbBits), static_cast<uint64_t>(dividend.low)};
  Uint128 quotient = 0;
  Uint128 rest = 0;
  for (const uint64_t limb : limbs) {
    const Uint128 step = (rest << kLimbBits) | limb;
    quotient = (quotient << kLimbBits) | (step / divisor);
    rest = step % divisor;
  }
  return {quotient, rest};
}

// Bit by bit: slow and plain, for the few divisors above 64 bits.
Division divide_by_bits(const Uint256& dividend, Uint128 divisor) {
  Uint128 rest = dividend.high;  // below the divisor
  Uint128 quotient = 0;
  for (int bit = 127; bit >= 0; --bit) {
    const bool carry = (rest >> 127) != 0;
    rest = (rest << 1) | ((dividend.low >> bit) & 1);
    quotient <<= 1;
    if (carry || rest >= divisor) {
      rest -= divisor;
      quotient |= 1;
    }
  }
  return {quotient, rest};
}

}  // namespace

Uint256 multiply_wide(Uint128 a, Uint128 b) {
  const Uint128 a_high = a >> kLimbBits;
  const Uint128 a_low = a & kLimbMask;
  const Uint128 b_high = b >> kLimbBits;
  const Uint128 b_low = b & kLimbMask;
  if (a_high == 0 && b_high == 0) return {0, a_low * b_low};
  const Uint128 low = a_low * b_low;
  const Uint128 cross = a_high * b_low + (low >> kLimbBits);
  const Uint128 middle = a_low * b_high + (cross & kLimbMask);
  return {a_high * b_high + (cross >> kLimbBits) + (middle >> kLimbBits),
          (middle << kLimbBits) | (low & kLimbMask)};
}

std::optional<Division> divide_wide(const Uint256& dividend, Uint128 divisor) {
  assert(divisor != 0);
  if (dividend.high == 0) return Division{dividend.low / divisor, dividend.low % divisor};
  if (dividend.high >= divisor) return std::nullopt;
  if (divisor <= kLimbMask) return divide_by_limb(dividend, static_cast<uint64_t>(divisor));
  return divide_by_bits(dividend, divisor);
}

}  // namespace tenancy
