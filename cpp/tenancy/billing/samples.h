// Samples of money: a matrix of amounts, `samples` for each row, row after row.
//
// What is asked of a distribution that is given by equally likely samples: its quantiles, its mean,
// how often it is above a threshold; and the distribution of a sum, where sample s of a group is
// the sum of sample s of its rows. All of it is exact and depends on no order of threads.
//
// Ownership: results own their memory. Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "tenancy/base/int128.h"
#include "tenancy/base/status.h"
#include "tenancy/billing/vector.h"

namespace tenancy {

// values[i] counted in units of 10^-digits. kInvalidArgument where digits is not 0 to 12,
// kOutOfRange past 10^26.
Result<Amounts> amounts_of_wholes(std::span<const int64_t> values, int digits);

// Row g of the result is the sum of the rows r with group_of_row[r] == g; without any, zeros.
// kInvalidArgument where the sizes do not fit or a group is not below `groups`; kOutOfRange.
Result<Amounts> sum_rows(const Amounts& amounts, int64_t samples,
                         std::span<const int64_t> group_of_row, int64_t groups);

// For each row one value for each level: the smallest sample that at least that share of the
// samples is not above. Levels are from 0 to 1 and ascend.
Result<Amounts> row_quantiles(const Amounts& amounts, int64_t samples,
                              std::span<const double> levels);

// The mean of each row, rounded half away from zero.
Result<Amounts> row_means(const Amounts& amounts, int64_t samples);

// How many samples of each row are strictly above its threshold.
Result<std::vector<int64_t>> row_counts_above(const Amounts& amounts, int64_t samples,
                                              const Amounts& thresholds);

// Element by element. kInvalidArgument where the lengths differ, kOutOfRange.
Result<Amounts> sum_of_both(const Amounts& a, const Amounts& b);

// The double nearest to units * 1e-12.
double nearest_double(Int128 units);

}  // namespace tenancy
