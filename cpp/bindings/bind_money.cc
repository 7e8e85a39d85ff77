// Currencies, rounding, allocation and proration.
#include <string>
#include <vector>

#include "pricing_types.h"
#include "tenancy/base/money.h"

namespace tenancy {
namespace {

int digits_of(const py::str& currency) {
  const std::optional<int> digits = minor_digits(utf8_view(currency));
  if (digits) return *digits;
  raise_invalid("currency", {Code::kInvalidArgument,
                             "expected a currency of ISO 4217 that has a minor unit, such as "
                             "\"USD\", got \"" +
                                 std::string(utf8_view(currency).substr(0, 20)) + "\""});
}

void check_digits(int digits) {
  if (digits >= 0 && digits <= Decimal::kDigits) return;
  raise_invalid("digits", {Code::kInvalidArgument, "expected 0 to 12"});
}

py::object round_money(const py::object& amount, int digits, const py::str& rounding) {
  const std::optional<Rounding> mode = rounding_from_name(utf8_view(rounding));
  if (!mode) {
    raise_invalid("rounding", {Code::kInvalidArgument,
                               "expected half_up, half_even, half_down, up, down, ceiling or "
                               "floor"});
  }
  check_digits(digits);
  const auto rounded = round_to(decimal_or_raise(amount, "amount"), digits, *mode);
  if (!rounded) raise_invalid("amount", out_of_range("the rounded amount"));
  return to_decimal(*rounded);
}

py::list allocate_amount(const py::object& amount, const py::sequence& weights, int digits) {
  check_digits(digits);
  std::vector<Decimal> read;
  for (const py::handle weight : weights) read.push_back(decimal_or_raise(weight, "weights"));
  py::list parts;
  for (const Decimal part :
       value_or_invalid(allocate(decimal_or_raise(amount, "amount"), read, digits), "allocate")) {
    parts.append(to_decimal(part));
  }
  return parts;
}

py::object prorate_amount(const py::object& amount, const py::object& part, const py::object& whole,
                          int digits) {
  if (digits < -1 || digits > Decimal::kDigits) {
    raise_invalid("digits", {Code::kInvalidArgument, "expected 0 to 12, or -1 for all"});
  }
  return to_decimal(
      value_or_invalid(prorate(decimal_or_raise(amount, "amount"), decimal_or_raise(part, "part"),
                               decimal_or_raise(whole, "whole"), digits),
                       "prorate"));
}

}  // namespace

void bind_money(py::module_& module) {
  module.attr("CURRENCIES_AS_OF") = to_str(kCurrenciesAsOf);
  module.def(
      "exact",
      [](const py::object& value, const std::string& field) {
        return to_decimal(decimal_or_raise(value, field.c_str()));
      },
      py::arg("value"), py::arg("field"));
  module.def("minor_digits", &digits_of, py::arg("currency"));
  module.def("currency_codes", [] {
    py::list codes;
    for (const std::string_view code : currency_codes()) codes.append(to_str(code));
    return codes;
  });
  module.def("round_money", &round_money, py::arg("amount"), py::arg("digits"),
             py::arg("rounding"));
  module.def("allocate", &allocate_amount, py::arg("amount"), py::arg("weights"),
             py::arg("digits"));
  module.def("prorate", &prorate_amount, py::arg("amount"), py::arg("part"), py::arg("whole"),
             py::arg("digits"));
}

}  // namespace tenancy
