// Amounts as people write them: limits that may be unlimited, sizes with units, durations, prices.
//
// Thread safety: pure functions.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tenancy/catalog/fields.h"

namespace tenancy {

// No limit or quota is larger: sums of a few of them stay inside 64 bits.
constexpr int64_t kAmountMax = 1'000'000'000'000'000'000;

struct Amount {
  bool unlimited = false;
  uint64_t value = 0;
  bool operator==(const Amount&) const = default;
};

enum class Lowest : uint8_t { kZero, kOne };

// A whole number, "unlimited" or -1.
std::optional<Amount> read_amount(const Field& field, Lowest lowest);
// The same, or a size with its unit: "10 GB", "1.5 TiB". B, kB, MB, GB, TB, PB are powers of 1000;
// KiB, MiB, GiB, TiB, PiB powers of 1024.
std::optional<Amount> read_size(const Field& field);
// "60s", "5 minutes", "1 hour": what may stand after the "/" of a rate limit.
std::optional<int64_t> read_duration(const Field& field, std::string_view example);

// A duration of at most `most_ns`, which `what` says in words, or 0. An absent one leaves `out`
// alone.
void read_length(const Field& field, int64_t most_ns, std::string_view example,
                 std::string_view what, int64_t* out);

// Bytes, or nothing when it is not a size, is no whole number of bytes, or passes kAmountMax.
std::optional<uint64_t> parse_size(std::string_view text);

// Digits with at most 12 after the point and 18 before it, not negative: "29", "29.90".
bool is_price(std::string_view text);

}  // namespace tenancy
