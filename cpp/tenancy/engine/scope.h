// The hashed parts of one request that counters are keyed by. Internal to the engine.
#pragma once

#include <cstdint>
#include <optional>

#include "tenancy/engine/engine.h"

namespace tenancy {

// A part that is absent makes the rules that need it not apply (no address: no limit per address).
struct Engine::Scope {
  std::optional<uint64_t> tenant;
  std::optional<uint64_t> user;
  std::optional<uint64_t> key;
  std::optional<uint64_t> endpoint;
  std::optional<uint64_t> ip;
};

}  // namespace tenancy
