#include "tenancy/billing/vector.h"

#include <algorithm>
#include <array>
#include <optional>

#include "tenancy/billing/row_parts.h"

namespace tenancy {

namespace {

constexpr int64_t kBlock = 2048;            // elements that stay in the first-level cache
constexpr int64_t kPerThreadMin = 100'000;  // below this a thread costs more than it saves

// The tiers of a price in arrays of a fixed size, so that the compiler unrolls the search.
template <size_t N>
struct Table {
  std::array<int64_t, N> upper;
  std::array<int64_t, N + 1> origin;
  std::array<int64_t, N + 1> unit;
  std::array<Int128, N + 1> base;
};

template <size_t N>
void price_block(const WholeSegments& whole, const int64_t* quantities, int64_t count,
                 Int128* out) {
  Table<N> table;
  table.upper.fill(INT64_MAX);
  table.origin.fill(0);
  table.unit.fill(0);
  table.base.fill(0);
  std::ranges::copy(whole.upper, table.upper.begin());
  std::ranges::copy(whole.origin, table.origin.begin());
  std::ranges::copy(whole.unit, table.unit.begin());
  std::ranges::copy(whole.base, table.base.begin());
  for (int64_t i = 0; i < count; ++i) {
    const int64_t quantity = quantities[i];
    size_t at = 0;
    for (size_t k = 0; k < N; ++k) at += quantity > table.upper[k] ? 1 : 0;
    out[i] = table.base[at] + Int128{quantity - table.origin[at]} * table.unit[at];
  }
}

void price_long_block(const WholeSegments& whole, const int64_t* quantities, int64_t count,
                      Int128* out) {
  for (int64_t i = 0; i < count; ++i) {
    const int64_t quantity = quantities[i];
    const auto at =
        static_cast<size_t>(std::ranges::lower_bound(whole.upper, quantity) - whole.upper.begin());
    int64_t units = quantity - whole.origin[at];
    const int64_t package = whole.package[at];
    if (package != 1) units = units / package + (units % package != 0 ? 1 : 0);
    out[i] = whole.base[at] + Int128{units} * whole.unit[at];
  }
}

void clamp_block(const PriceDef& def, int64_t count, Int128* out) {
  if (!def.minimum && !def.maximum) return;
  const Int128 low = def.minimum ? def.minimum->units() : Int128{0};
  const Int128 high = def.maximum ? def.maximum->units() : Decimal::kUnitsMax;
  for (int64_t i = 0; i < count; ++i) out[i] = std::clamp(out[i], low, high);
}

// False when an amount leaves the range, which takes one at its end.
bool round_block(const Price& price, int64_t count, Int128* out) {
  if (price.def().rules.round_at != RoundAt::kCharge) return true;
  for (int64_t i = 0; i < count; ++i) {
    const std::optional<Decimal> exact = Decimal::from_units(out[i]);
    const auto rounded = exact ? price.rounded_at(RoundAt::kCharge, *exact) : std::nullopt;
    if (!rounded) return false;
    out[i] = rounded->units();
  }
  return true;
}

bool price_wholes(const Price& price, const int64_t* quantities, int64_t count, Int128* out) {
  const WholeSegments& whole = price.whole();
  const size_t bounds = whole.upper.size();
  if (whole.packaged || bounds > 8) {
    price_long_block(whole, quantities, count, out);
  } else if (bounds > 4) {
    price_block<8>(whole, quantities, count, out);
  } else if (bounds > 0) {
    price_block<4>(whole, quantities, count, out);
  } else {
    price_block<0>(whole, quantities, count, out);
  }
  clamp_block(price.def(), count, out);
  return round_block(price, count, out);
}

class Worker {
 public:
  Worker(const Price& price, const Column& quantities) : price_(price), quantities_(quantities) {}

  std::optional<PriceFailure> run(int64_t begin, int64_t end, Int128* out) {
    for (int64_t at = begin; at < end; at += kBlock) {
      const int64_t count = std::min(kBlock, end - at);
      Int128* block = out + (at - begin);
      if (fast(at, count, block)) continue;
      if (std::optional<PriceFailure> failure = careful(at, count, block)) return failure;
    }
    return std::nullopt;
  }

 private:
  // False when a quantity of the block is not in the table's range.
  bool fast(int64_t at, int64_t count, Int128* out) {
    const int64_t most = price_.whole().quantity_max;
    if (most < 0 || quantities_.kind() != Column::Kind::kWhole) return false;
    const int64_t* block = quantities_.wholes_at(at, count);
    if (block == nullptr) {
      if (!quantities_.read_wholes(at, count, wholes_.data())) return false;
      block = wholes_.data();
    }
    int64_t low = 0;
    int64_t high = 0;
    for (int64_t i = 0; i < count; ++i) {
      low = std::min(low, block[i]);
      high = std::max(high, block[i]);
    }
    if (low < 0 || high > most) return false;
    return price_wholes(price_, block, count, out);
  }

  std::optional<PriceFailure> careful(int64_t at, int64_t count, Int128* out) {
    const int64_t bad = quantities_.read_units(at, count, units_.data());
    if (bad >= 0) {
      return PriceFailure{bad,
                          {Code::kOutOfRange,
                           "expected a number below 10^26 of at most 12 digits after the point"}};
    }
    for (int64_t i = 0; i < count; ++i) {
      out[i] = 0;
      if (quantities_.is_null(at + i)) continue;
      const std::optional<Decimal> quantity = Decimal::from_units(units_[static_cast<size_t>(i)]);
      if (!quantity) return PriceFailure{at + i, out_of_range("the quantity")};
      const Result<Decimal> amount = price_.amount(*quantity);
      if (!amount.ok()) return PriceFailure{at + i, amount.error()};
      out[i] = amount->units();
    }
    return std::nullopt;
  }

  const Price& price_;
  const Column& quantities_;
  std::array<int64_t, kBlock> wholes_;
  std::array<Int128, kBlock> units_;
};

void copy_validity(const Column& column, Amounts* amounts) {
  if (!column.first_null()) return;
  const auto bytes = static_cast<size_t>((amounts->length + 7) / 8);
  auto bits = std::make_shared<std::vector<uint8_t>>(bytes, uint8_t{0});
  for (int64_t i = 0; i < amounts->length; ++i) {
    if (column.is_null(i)) {
      ++amounts->null_count;
      amounts->units.get()[i] = 0;
    } else {
      (*bits)[static_cast<size_t>(i >> 3)] |= static_cast<uint8_t>(1U << (i & 7));
    }
  }
  amounts->validity = std::move(bits);
}

}  // namespace

std::optional<PriceFailure> price_rows(const Price& price, const Column& quantities, int64_t begin,
                                       int64_t end, Int128* out) {
  return Worker(price, quantities).run(begin, end, out);
}

Result<Amounts> price_column(const Price& price, const Column& quantities, unsigned threads) {
  if (quantities.kind() == Column::Kind::kText) {
    return Error{Code::kInvalidArgument,
                 "expected whole numbers or decimals, got a column of texts; cast it to "
                 "int64 or decimal128"};
  }
  Amounts amounts;
  amounts.length = quantities.length();
  amounts.units = allocate_units(amounts.length);
  const RowParts parts = RowParts::of(amounts.length, kPerThreadMin, threads);
  std::vector<std::optional<PriceFailure>> failures(static_cast<size_t>(parts.count));
  for_each_part(parts, [&](int64_t part, int64_t begin, int64_t end) {
    failures[static_cast<size_t>(part)] =
        price_rows(price, quantities, begin, end, amounts.units.get() + begin);
  });
  for (const std::optional<PriceFailure>& failure : failures) {
    if (!failure) continue;
    return Error{failure->error.code,
                 "element " + std::to_string(failure->index) + ": " + failure->error.message};
  }
  copy_validity(quantities, &amounts);
  return amounts;
}

std::optional<Decimal> sum_of(const Amounts& amounts) {
  Decimal total;
  for (int64_t i = 0; i < amounts.length; ++i) {
    const std::optional<Decimal> value = Decimal::from_units(amounts.units.get()[i]);
    const std::optional<Decimal> sum = value ? add(total, *value) : std::nullopt;
    if (!sum) return std::nullopt;
    total = *sum;
  }
  return total;
}

}  // namespace tenancy
