#include "tenancy/catalog/amounts.h"

#include <algorithm>
#include <array>

#include "tenancy/catalog/limit_policy.h"
#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

struct SizeUnit {
  std::string_view name;
  uint64_t bytes;
};

constexpr uint64_t kKilo = 1000;
constexpr uint64_t kKibi = 1024;
constexpr std::array<SizeUnit, 12> kSizeUnits{{
    {"B", 1},
    {"kB", kKilo},
    {"KB", kKilo},
    {"MB", kKilo* kKilo},
    {"GB", kKilo* kKilo* kKilo},
    {"TB", kKilo* kKilo* kKilo* kKilo},
    {"PB", kKilo* kKilo* kKilo* kKilo* kKilo},
    {"KiB", kKibi},
    {"MiB", kKibi* kKibi},
    {"GiB", kKibi* kKibi* kKibi},
    {"TiB", kKibi* kKibi* kKibi* kKibi},
    {"PiB", kKibi* kKibi* kKibi* kKibi* kKibi},
}};

bool is_digits(std::string_view text, size_t digits_max) {
  return !text.empty() && text.size() <= digits_max &&
         std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

uint64_t digits_value(std::string_view digits) {
  uint64_t value = 0;
  for (const char c : digits) value = value * 10 + static_cast<uint64_t>(c - '0');
  return value;
}

// whole.fraction × unit, exact or nothing. 128 bits hold 10^18 × 2^50 and 10^9 × 2^50 alike.
std::optional<uint64_t> scaled(std::string_view whole, std::string_view fraction, uint64_t unit) {
  __extension__ using Wide = unsigned __int128;
  uint64_t denominator = 1;
  for (size_t i = 0; i < fraction.size(); ++i) denominator *= 10;
  const Wide part = Wide{digits_value(fraction)} * unit;
  if (part % denominator != 0) return std::nullopt;
  const Wide total = Wide{digits_value(whole)} * unit + part / denominator;
  if (total > Wide{static_cast<uint64_t>(kAmountMax)}) return std::nullopt;
  return static_cast<uint64_t>(total);
}

bool is_unlimited(const Json& json) {
  return (json.is_string() && json.as_string() == "unlimited") ||
         (json.is_integer() && json.as_integer() == -1);
}

std::optional<Amount> amount_of(const Json& json, Lowest lowest) {
  if (is_unlimited(json)) return Amount{true, 0};
  const int64_t smallest = lowest == Lowest::kOne ? 1 : 0;
  if (!json.is_integer() || json.as_integer() < smallest || json.as_integer() > kAmountMax) {
    return std::nullopt;
  }
  return Amount{false, static_cast<uint64_t>(json.as_integer())};
}

std::string_view too_large(const Json& json) {
  const bool large = json.is_integer() && json.as_integer() > kAmountMax;
  return large ? " (at most 10^18)" : "";
}

}  // namespace

std::optional<uint64_t> parse_size(std::string_view text) {
  constexpr size_t kWholeDigitsMax = 18;
  constexpr size_t kFractionDigitsMax = 9;
  const size_t number_end = std::min(text.find_first_not_of("0123456789."), text.size());
  const std::string_view number = text.substr(0, number_end);
  std::string_view unit = text.substr(number_end);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  const size_t point = std::min(number.find('.'), number.size());
  const std::string_view whole = number.substr(0, point);
  const std::string_view fraction = point < number.size() ? number.substr(point + 1) : "";
  if (!is_digits(whole, kWholeDigitsMax)) return std::nullopt;
  if (point < number.size() && !is_digits(fraction, kFractionDigitsMax)) return std::nullopt;
  const auto found = std::ranges::find(kSizeUnits, unit, &SizeUnit::name);
  if (found == kSizeUnits.end()) return std::nullopt;
  return scaled(whole, fraction, found->bytes);
}

std::optional<Amount> read_amount(const Field& field, Lowest lowest) {
  std::optional<Amount> amount = amount_of(field.json(), lowest);
  if (!amount) {
    std::string what = lowest == Lowest::kOne ? "a positive integer" : "a whole number";
    what += too_large(field.json());
    field.expected(what + " or \"unlimited\"");
  }
  return amount;
}

std::optional<Amount> read_size(const Field& field) {
  if (field.json().is_string()) {
    if (const std::optional<uint64_t> bytes = parse_size(field.json().as_string())) {
      return Amount{false, *bytes};
    }
  }
  std::optional<Amount> amount = amount_of(field.json(), Lowest::kZero);
  if (!amount) {
    std::string what = "whole bytes";
    what += too_large(field.json());
    field.expected(what + ", a size such as \"10 GB\" or \"100 MiB\", or \"unlimited\"");
  }
  return amount;
}

std::optional<int64_t> read_duration(const Field& field, std::string_view example) {
  if (field.json().is_string()) {
    const Result<LimitPolicy> policy = LimitPolicy::parse("1/" + field.json().as_string());
    if (policy.ok()) return policy->window_ns;
  }
  field.expected("a duration with its unit, such as " + in_quotes(example));
  return std::nullopt;
}

void read_length(const Field& field, int64_t most_ns, std::string_view example,
                 std::string_view what, int64_t* out) {
  if (!field.present()) return;
  if (field.json().is_integer() && field.json().as_integer() == 0) {
    *out = 0;
  } else if (const auto length_ns = read_duration(field, example)) {
    if (*length_ns > most_ns) return field.expected(what);
    *out = *length_ns;
  }
}

bool is_price(std::string_view text) {
  constexpr size_t kWholeDigitsMax = 18;
  constexpr size_t kFractionDigitsMax = 12;
  const size_t point = text.find('.');
  if (!is_digits(text.substr(0, point), kWholeDigitsMax)) return false;
  return point == text.npos || is_digits(text.substr(point + 1), kFractionDigitsMax);
}

}  // namespace tenancy
