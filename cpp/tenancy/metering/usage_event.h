// UsageEvent: so much of a metric was used, as it is kept in the log. (LOG_FORMAT.md, 13)
//
// An event is known by its tenant, source and id. Its content is metric, quantity, properties, and
// the time if the sender gave one: sent again with the same content it is the same event.
//
// Ownership: texts are borrowed. Thread safety: plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tenancy/base/decimal.h"

namespace tenancy::metering {

constexpr size_t kIdBytesMax = 256;
constexpr size_t kSourceBytesMax = 1024;
constexpr size_t kMetricBytesMax = 128;
constexpr size_t kPropertiesBytesMax = size_t{16} << 10;

enum class Action : uint8_t {
  kRecord = 0,
  kCorrect = 1,  // replaces what the event of that id said
  kCancel = 2,   // takes it back
};
constexpr uint8_t kActions = 3;

struct UsageEvent {
  std::string_view source{};  // may be empty
  std::string_view id{};
  std::string_view metric{};
  std::optional<std::string_view> properties{};  // JSON text of an object
  int64_t time_ns = 0;
  bool time_given = true;           // else it is the time of recording
  Int128 quantity = Decimal::kOne;  // units of 1e-12
  Action action = Action::kRecord;

  bool operator==(const UsageEvent&) const = default;
};

}  // namespace tenancy::metering
