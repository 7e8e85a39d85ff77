#include "tenancy/base/money.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <string>

namespace tenancy {

namespace {

// Four characters each: the code and a blank.
constexpr size_t kEntryChars = 4;

struct MinorUnit {
  int digits;
  std::string_view codes;
};

constexpr std::array<MinorUnit, 4> kMinorUnits{{
    {2,
     "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN "
     "BWP BYN BZD CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN "
     "ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD "
     "KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR "
     "MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB "
     "SAR SBD SCR SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY "
     "TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG YER ZAR ZMW ZWG ZWL "},
    {0, "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF "},
    {3, "BHD IQD JOD KWD LYD OMR TND "},
    {4, "CLF UYW "},
}};

Decimal step_of(int digits) {
  Int128 step = 1;
  for (int i = digits; i < Decimal::kDigits; ++i) step *= 10;
  return *Decimal::from_units(step);
}

Error bad_allocation(std::string message) { return {Code::kInvalidArgument, std::move(message)}; }

Result<Decimal> sum_of_weights(std::span<const Decimal> weights) {
  if (weights.empty()) return bad_allocation("expected at least one weight");
  Decimal total;
  for (const Decimal weight : weights) {
    if (weight.is_negative()) {
      return bad_allocation("a weight must not be negative, got " + weight.text());
    }
    const std::optional<Decimal> sum = add(total, weight);
    if (!sum) return out_of_range("the sum of the weights");
    total = *sum;
  }
  if (total.is_zero()) return bad_allocation("expected a weight above zero, all are zero");
  return total;
}

struct Share {
  Uint128 steps;
  Uint128 remainder;
};

}  // namespace

std::optional<int> minor_digits(std::string_view currency) {
  if (currency.size() != kEntryChars - 1) return std::nullopt;
  for (const MinorUnit& unit : kMinorUnits) {
    for (size_t at = 0; at < unit.codes.size(); at += kEntryChars) {
      if (unit.codes.substr(at, currency.size()) == currency) return unit.digits;
    }
  }
  return std::nullopt;
}

std::vector<std::string_view> currency_codes() {
  std::vector<std::string_view> codes;
  for (const MinorUnit& unit : kMinorUnits) {
    for (size_t at = 0; at < unit.codes.size(); at += kEntryChars) {
      codes.push_back(unit.codes.substr(at, kEntryChars - 1));
    }
  }
  std::ranges::sort(codes);
  return codes;
}

Result<std::vector<Decimal>> allocate(Decimal amount, std::span<const Decimal> weights,
                                      int digits) {
  assert(digits >= 0 && digits <= Decimal::kDigits);
  const Result<Decimal> total = sum_of_weights(weights);
  if (!total.ok()) return total.error();
  const Decimal step = step_of(digits);
  const Uint128 size = magnitude(step.units());
  const Uint128 steps = magnitude(amount.units()) / size;
  if (magnitude(amount.units()) % size != 0) {
    return bad_allocation("expected a multiple of " + step.text() + ", got " + amount.text() +
                          "; round it first");
  }
  std::vector<Share> shares;
  shares.reserve(weights.size());
  Uint128 left = steps;
  for (const Decimal weight : weights) {
    // A weight is at most the total, so the quotient fits.
    const Division share =
        *divide_wide(multiply_wide(steps, magnitude(weight.units())), magnitude(total->units()));
    shares.push_back({share.quotient, share.remainder});
    left -= share.quotient;
  }
  std::vector<size_t> order(weights.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::stable_sort(
      order, [&](size_t a, size_t b) { return shares[a].remainder > shares[b].remainder; });
  // Fewer steps are left than there are shares with a remainder.
  for (size_t i = 0; left > 0; ++i, --left) ++shares[order[i]].steps;
  std::vector<Decimal> parts;
  parts.reserve(shares.size());
  for (const Share& share : shares) {
    const Int128 units = static_cast<Int128>(share.steps * size);
    parts.push_back(*Decimal::from_units(amount.is_negative() ? -units : units));
  }
  return parts;
}

Result<Decimal> prorate(Decimal amount, Decimal part, Decimal whole, int digits) {
  if (whole <= Decimal()) {
    return Error{Code::kInvalidArgument,
                 "the whole period must be longer than 0, got " + whole.text()};
  }
  if (part.is_negative() || part > whole) {
    return Error{Code::kInvalidArgument, "expected a part from 0 to " + whole.text() +
                                             ", the whole period, got " + part.text()};
  }
  if (digits < 0) return *multiply_divide(amount, part, whole);
  // The quotient at twelve digits first would round twice: scale, divide, then scale back.
  Int128 scale = 1;
  for (int i = 0; i < digits; ++i) scale *= 10;
  const std::optional<Division> division =
      divide_wide(multiply_wide(magnitude(part.units()), static_cast<Uint128>(scale)),
                  magnitude(whole.units()));
  if (!division) return out_of_range("the fraction");
  Uint128 steps = division->quotient;
  if (division->remainder >= magnitude(whole.units()) - division->remainder) ++steps;
  const Decimal fraction =
      *Decimal::from_units(static_cast<Int128>(steps) * (Int128{Decimal::kOne} / scale));
  return *multiply(amount, fraction);
}

}  // namespace tenancy
