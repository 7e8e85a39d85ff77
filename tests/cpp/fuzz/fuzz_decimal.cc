// Any bytes as a decimal number: a number in range that reads back from its own text, or a message
// of bounded length; and arithmetic on what was read that never leaves the range.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "tenancy/base/decimal.h"

namespace {

using tenancy::Decimal;

void require(bool holds) {
  if (!holds) std::abort();
}

void check_range(const std::optional<Decimal>& value) {
  if (!value) return;
  require(value->units() <= Decimal::kUnitsMax && value->units() >= -Decimal::kUnitsMax);
}

void check_arithmetic(Decimal a, Decimal b) {
  const auto sum = tenancy::add(a, b);
  check_range(sum);
  if (sum) require(tenancy::subtract(*sum, b) == a);
  check_range(tenancy::multiply(a, b));
  require(tenancy::multiply(a, b) == tenancy::multiply(b, a));
  check_range(tenancy::multiply_divide(a, b, b));
  if (!b.is_zero()) require(tenancy::multiply_divide(a, b, b) == a);
  for (int mode = 0; mode < 7; ++mode) {
    for (int digits = 0; digits <= Decimal::kDigits; digits += 3) {
      const auto rounded = tenancy::round_to(a, digits, static_cast<tenancy::Rounding>(mode));
      check_range(rounded);
      if (rounded) {
        require(tenancy::round_to(*rounded, digits, static_cast<tenancy::Rounding>(mode)) ==
                rounded);
      }
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto whole = Decimal::parse(text);
  if (!whole.ok()) require(!whole.error().message.empty() && whole.error().message.size() < 400);
  // Two numbers around the middle, for the arithmetic.
  const auto left = Decimal::parse(text.substr(0, size / 2));
  const auto right = Decimal::parse(text.substr(size / 2));
  for (const auto* each : {&whole, &left, &right}) {
    if (!each->ok()) continue;
    check_range(**each);
    const std::string written = (*each)->text();
    require(written.size() <= Decimal::kTextCharsMax);
    const auto again = Decimal::parse(written);
    require(again.ok() && *again == **each);
  }
  if (left.ok() && right.ok()) check_arithmetic(*left, *right);
  return 0;
}
