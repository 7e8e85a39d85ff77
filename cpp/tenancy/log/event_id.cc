#include "tenancy/log/event_id.h"

#include <algorithm>
#include <memory>

#include "tenancy/base/crypto.h"
#include "tenancy/base/process_id.h"

namespace tenancy::log {
namespace {

// Random bytes drawn ahead, for one thread of one process.
struct Pool {
  std::array<uint8_t, 4000> bytes{};
  size_t used = 4000;
  uint64_t forks = 0;

  void take(uint8_t* out, size_t count) {
    const uint64_t now = g_fork_count.load(std::memory_order_relaxed);
    if (used + count > bytes.size() || forks != now) {
      watch_forks();
      random_bytes(bytes);
      used = 0;
      forks = g_fork_count.load(std::memory_order_relaxed);
    }
    std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(used), count, out);
    used += count;
  }
};

}  // namespace

std::array<uint8_t, 16> new_event_id(int64_t time_ns) {
  // Outside the thread's static block, of which a module that is loaded late gets little.
  thread_local const auto pool = std::make_unique<Pool>();
  std::array<uint8_t, 16> id;
  const auto unix_ms = static_cast<uint64_t>(std::max<int64_t>(time_ns, 0) / 1'000'000);
  for (unsigned i = 0; i < 6; ++i) id[i] = static_cast<uint8_t>(unix_ms >> (40 - 8 * i));
  pool->take(id.data() + 6, 10);
  id[6] = static_cast<uint8_t>(0x70 | (id[6] & 0x0f));
  id[8] = static_cast<uint8_t>(0x80 | (id[8] & 0x3f));
  return id;
}

}  // namespace tenancy::log
