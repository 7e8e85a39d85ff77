#include "tenancy/billing/tiers.h"

#include <algorithm>
#include <array>
#include <string>

namespace tenancy {

namespace {

constexpr int64_t kTierBlock = 1024;

Error row_error(Code code, int64_t row, const std::string& message) {
  return {code, "row " + std::to_string(row) + ": " + message};
}

}  // namespace

std::vector<TierRange> tier_ranges(const Price& price) {
  const PriceDef& def = price.def();
  const std::span<const PriceSegment> segments = price.segments();
  const bool no_usage = !def.included.is_zero() || no_usage_is_free(def);
  const size_t first = no_usage ? 1 : 0;
  // Tiers that are wholly included have no segment, so those of the others are the last ones.
  const size_t skipped = def.tiers.size() - (segments.size() - first);
  std::vector<TierRange> ranges;
  for (size_t i = 0; i < segments.size(); ++i) {
    TierRange range;
    if (i >= first) range.tier = static_cast<int>(skipped + i - first) + 1;
    if (i + 1 < segments.size()) range.last = Decimal::from_units(segments[i].upper);
    ranges.push_back(range);
  }
  return ranges;
}

Result<std::vector<uint32_t>> buckets_of(const Price& price, const Column& quantities,
                                         std::span<const Int128> bounds) {
  if (quantities.kind() == Column::Kind::kText) {
    return Error{Code::kInvalidArgument, "expected whole numbers or decimals, got texts"};
  }
  if (const std::optional<int64_t> row = quantities.first_null()) {
    return row_error(Code::kInvalidArgument, *row, "has no value");
  }
  std::vector<uint32_t> buckets;
  buckets.reserve(static_cast<size_t>(quantities.length()));
  std::array<Int128, kTierBlock> block;
  for (int64_t at = 0; at < quantities.length(); at += kTierBlock) {
    const int64_t count = std::min(kTierBlock, quantities.length() - at);
    const int64_t bad = quantities.read_units(at, count, block.data());
    if (bad >= 0) return row_error(Code::kOutOfRange, bad, "does not fit");
    for (int64_t i = 0; i < count; ++i) {
      const Int128 units = block[static_cast<size_t>(i)];
      if (units < 0) return row_error(Code::kInvalidArgument, at + i, "is below zero");
      const std::optional<Decimal> quantity = Decimal::from_units(units);
      const std::optional<Decimal> seen = quantity ? price.counted(*quantity) : std::nullopt;
      if (!seen) return row_error(Code::kOutOfRange, at + i, "does not fit");
      const auto bound = std::ranges::lower_bound(bounds, seen->units());
      buckets.push_back(static_cast<uint32_t>(bound - bounds.begin()));
    }
  }
  return buckets;
}

}  // namespace tenancy
