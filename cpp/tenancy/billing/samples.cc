#include "tenancy/billing/samples.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace tenancy {

namespace {

Amounts amounts_of_length(int64_t length) {
  Amounts amounts;
  amounts.length = length;
  amounts.units = allocate_units(length);
  return amounts;
}

Result<int64_t> rows_of(const Amounts& amounts, int64_t samples) {
  if (samples <= 0 || amounts.length % samples != 0) {
    return Error{Code::kInvalidArgument, std::to_string(amounts.length) +
                                             " amounts are no whole rows of " +
                                             std::to_string(samples) + " samples"};
  }
  if (amounts.null_count != 0) {
    return Error{Code::kInvalidArgument, "a sample has no value"};
  }
  return amounts.length / samples;
}

// False where the sum is no decimal. Two of the largest ones do not fit 128 bits.
bool add_to(Int128* sum, Int128 units) {
  return !__builtin_add_overflow(*sum, units, sum) && *sum <= Decimal::kUnitsMax &&
         *sum >= -Decimal::kUnitsMax;
}

// Which of `samples` sorted values the quantile is.
int64_t place_of(double level, int64_t samples) {
  // 0.1 * 1000 may come out a little above 100.
  constexpr double kSlack = 1e-9;
  const double place = std::ceil(level * static_cast<double>(samples) - kSlack) - 1;
  return std::clamp<int64_t>(static_cast<int64_t>(place), 0, samples - 1);
}

}  // namespace

Result<Amounts> amounts_of_wholes(std::span<const int64_t> values, int digits) {
  if (digits < 0 || digits > Decimal::kDigits) {
    return Error{Code::kInvalidArgument, "digits are from 0 to 12"};
  }
  Int128 factor = 1;
  for (int i = digits; i < Decimal::kDigits; ++i) factor *= 10;
  Amounts amounts = amounts_of_length(static_cast<int64_t>(values.size()));
  // A product of 63 and 40 bits fits 128 and is below 10^26 units of 1.
  for (size_t i = 0; i < values.size(); ++i) amounts.units.get()[i] = values[i] * factor;
  return amounts;
}

Result<Amounts> sum_rows(const Amounts& amounts, int64_t samples,
                         std::span<const int64_t> group_of_row, int64_t groups) {
  const Result<int64_t> rows = rows_of(amounts, samples);
  if (!rows.ok()) return rows.error();
  if (*rows != static_cast<int64_t>(group_of_row.size()) || groups < 0) {
    return Error{Code::kInvalidArgument, "expected one group for each row"};
  }
  Amounts sums = amounts_of_length(groups * samples);
  std::fill_n(sums.units.get(), sums.length, Int128{0});
  for (int64_t row = 0; row < *rows; ++row) {
    const int64_t group = group_of_row[static_cast<size_t>(row)];
    if (group < 0 || group >= groups) {
      return Error{Code::kInvalidArgument, "row " + std::to_string(row) + ": no such group"};
    }
    const Int128* from = amounts.units.get() + row * samples;
    Int128* to = sums.units.get() + group * samples;
    bool fits = true;
    for (int64_t s = 0; s < samples; ++s) fits = add_to(&to[s], from[s]) && fits;
    if (!fits) return out_of_range("a sum of samples");
  }
  return sums;
}

Result<Amounts> row_quantiles(const Amounts& amounts, int64_t samples,
                              std::span<const double> levels) {
  const Result<int64_t> rows = rows_of(amounts, samples);
  if (!rows.ok()) return rows.error();
  const bool good = std::ranges::all_of(levels, [](double p) { return p >= 0 && p <= 1; });
  if (!good || !std::ranges::is_sorted(levels)) {
    return Error{Code::kInvalidArgument, "levels are from 0 to 1 and ascend"};
  }
  const auto count = static_cast<int64_t>(levels.size());
  Amounts result = amounts_of_length(*rows * count);
  std::vector<Int128> row(static_cast<size_t>(samples));
  for (int64_t r = 0; r < *rows; ++r) {
    std::copy_n(amounts.units.get() + r * samples, samples, row.begin());
    int64_t sorted_to = 0;  // what is before it is not above what follows
    for (int64_t k = 0; k < count; ++k) {
      const int64_t place = place_of(levels[static_cast<size_t>(k)], samples);
      if (place >= sorted_to) {
        std::nth_element(row.begin() + sorted_to, row.begin() + place, row.end());
        sorted_to = place + 1;
      }
      result.units.get()[r * count + k] = row[static_cast<size_t>(place)];
    }
  }
  return result;
}

Result<Amounts> row_means(const Amounts& amounts, int64_t samples) {
  const Result<int64_t> rows = rows_of(amounts, samples);
  if (!rows.ok()) return rows.error();
  Amounts result = amounts_of_length(*rows);
  for (int64_t r = 0; r < *rows; ++r) {
    const Int128* from = amounts.units.get() + r * samples;
    // Quotients and rests apart: the sum of all samples need not fit.
    Int128 whole = 0;
    Int128 rest = 0;
    for (int64_t s = 0; s < samples; ++s) {
      whole += from[s] / samples;
      rest += from[s] % samples;
    }
    whole += rest / samples;
    rest %= samples;
    // The rest gets the sign of the mean.
    if (whole < 0 && rest > 0) {
      whole += 1;
      rest -= samples;
    } else if (whole > 0 && rest < 0) {
      whole -= 1;
      rest += samples;
    }
    if (rest * 2 >= samples) whole += 1;
    if (rest * 2 <= -samples) whole -= 1;
    result.units.get()[r] = whole;
  }
  return result;
}

Result<std::vector<int64_t>> row_counts_above(const Amounts& amounts, int64_t samples,
                                              const Amounts& thresholds) {
  const Result<int64_t> rows = rows_of(amounts, samples);
  if (!rows.ok()) return rows.error();
  if (thresholds.length != *rows || thresholds.null_count != 0) {
    return Error{Code::kInvalidArgument, "expected one threshold for each row"};
  }
  std::vector<int64_t> counts(static_cast<size_t>(*rows));
  for (int64_t r = 0; r < *rows; ++r) {
    const Int128 threshold = thresholds.units.get()[r];
    const Int128* from = amounts.units.get() + r * samples;
    counts[static_cast<size_t>(r)] =
        std::count_if(from, from + samples, [&](Int128 units) { return units > threshold; });
  }
  return counts;
}

Result<Amounts> sum_of_both(const Amounts& a, const Amounts& b) {
  if (a.length != b.length || a.null_count != 0 || b.null_count != 0) {
    return Error{Code::kInvalidArgument, "expected as many amounts in both, without nulls"};
  }
  Amounts sums = amounts_of_length(a.length);
  bool fits = true;
  for (int64_t i = 0; i < a.length; ++i) {
    sums.units.get()[i] = a.units.get()[i];
    fits = add_to(&sums.units.get()[i], b.units.get()[i]) && fits;
  }
  if (!fits) return out_of_range("a sum of samples");
  return sums;
}

double nearest_double(Int128 units) {
  const Uint128 size = magnitude(units);
  const double sign = units < 0 ? -1 : 1;
  // Both are doubles themselves up to 2^53, so that their quotient is rounded once.
  constexpr Uint128 kExactMax = Uint128{1} << 53;
  if (size <= kExactMax) {
    return sign * static_cast<double>(static_cast<uint64_t>(size)) /
           static_cast<double>(Decimal::kOne);
  }
  // Larger ones: the quotient with at least 55 bits, the last of which says whether anything is
  // left below it. Rounding that to 53 bits is rounding the number itself.
  int shift = 0;
  while (shift < 64 && (size >> (127 - shift - 1)) == 0) ++shift;
  const Uint128 scaled = size << shift;
  Uint128 quotient = scaled / Decimal::kOne;
  if (scaled % Decimal::kOne != 0) quotient |= 1;
  return sign * std::ldexp(static_cast<double>(quotient), -shift);
}

}  // namespace tenancy
