// Words shared by the parts of the log: classes, kinds, tags, positions.
//
// Thread safety: plain values.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "tenancy/base/crypto.h"

namespace tenancy::log {

// Retention classes; each is one chain. (LOG_FORMAT.md, 1)
enum class Class : uint8_t { kSecurity = 0, kAccess = 1, kOther = 2, kUsage = 3 };
constexpr size_t kClasses = 4;
constexpr std::array<std::string_view, kClasses> kClassNames = {"security", "access", "other",
                                                                "usage"};
constexpr size_t index(Class chain) { return static_cast<size_t>(chain); }
constexpr std::string_view class_name(Class chain) { return kClassNames[index(chain)]; }
std::optional<Class> class_from_name(std::string_view name);

// What a record is. (LOG_FORMAT.md, 5)
enum class Kind : uint8_t {
  kEvent = 0,
  kGenesis = 1,
  kEpoch = 2,
  kHeartbeat = 3,
  kOpened = 4,
  kClosed = 5,
  kRepair = 6,
  kCheckpoint = 7,
  kPruned = 8,
  kErased = 9,
  kAlarm = 10,
  kUsage = 11,
};

using LogId = std::array<uint8_t, 16>;
using Tag = Digest256;
using TenantKey = std::array<uint8_t, 24>;

constexpr uint64_t kNoSequence = ~uint64_t{0};

// LOG_FORMAT.md, 8.3.
struct TenantEntry {
  TenantKey key{};
  uint64_t sequence = 0;
  Tag tag{};
};
TenantKey tenant_key(const LogId& log_id, Class chain, std::string_view tenant);

// What an appender waits for. (LOG_FORMAT.md, 9.4)
enum class Ack : uint8_t {
  kRing,  // survives the death of every process of the host
  kOs,    // written to the file
  kDisk,  // synced: survives a power cut
};

// Where a record is: its chain and its sequence there.
struct Position {
  Class chain = Class::kSecurity;
  uint64_t sequence = 0;
};

}  // namespace tenancy::log
