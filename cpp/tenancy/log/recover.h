// Recovery: the state of a log from its files alone. Internal. (LOG_FORMAT.md, 10.1 and 10.2)
//
// It writes nothing; the flusher does what is to be done about a torn tail, and a recovery that is
// killed has left no trace.
//
// Thread safety: free functions without state.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "tenancy/base/status.h"
#include "tenancy/log/flusher.h"
#include "tenancy/log/store.h"

namespace tenancy::log {

struct RecoveredChain {
  ChainState state;
  ChainMark mark;
  int64_t last_time_ns = 0;
  std::vector<TenantEntry> tenants;
};

struct Recovered {
  EpochKey key;  // of the oldest epoch in which a chain still is
  Manifest manifest;
  std::array<RecoveredChain, kClasses> chains{};
  std::vector<Repair> repairs{};  // to be told before anything else is appended
};

// `key` is that of keys/log.key. kDamaged when the files contradict one another or promise more
// records than there are (unless `accept_loss`).
Result<Recovered> recover(Files& files, const Paths& paths, const EpochKey& key, bool accept_loss);

}  // namespace tenancy::log
