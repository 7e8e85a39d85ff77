// Int128 and Uint128: the compiler's 128-bit integers under names of ours, so that the extension is
// marked once; and products of two of them, which need 256 bits.
//
// Thread safety: plain values, pure functions.
#pragma once

#include <cstdint>
#include <optional>

namespace tenancy {

__extension__ using Int128 = __int128;
__extension__ using Uint128 = unsigned __int128;

constexpr Uint128 magnitude(Int128 value) {
  return value < 0 ? Uint128{0} - static_cast<Uint128>(value) : static_cast<Uint128>(value);
}

struct Uint256 {
  Uint128 high = 0;
  Uint128 low = 0;
};

struct Division {
  Uint128 quotient = 0;
  Uint128 remainder = 0;
};

Uint256 multiply_wide(Uint128 a, Uint128 b);

// Nothing when the quotient needs more than 128 bits. The divisor is not zero (asserted).
std::optional<Division> divide_wide(const Uint256& dividend, Uint128 divisor);

}  // namespace tenancy
