// When a key was last used, and how often after its rotation, on a slot of the counter table.
#include "tenancy/base/hash.h"
#include "tenancy/engine/engine.h"

namespace tenancy {
namespace {

// The slot is forgotten after this long without use.
constexpr int64_t kKeepNs = int64_t{400} * 86'400 * 1'000'000'000;
constexpr int64_t kMinuteNs = int64_t{60} * 1'000'000'000;

// A written word must not be 0: values are kept shifted by one, above a set bit.
constexpr uint64_t pack(uint64_t value) { return (value << 1 | 1) & kStateMask; }
constexpr uint64_t unpack(uint64_t word) { return (word & kStateMask) >> 1; }

uint64_t usage_key(const HashKey& hash_key, const KeyEntry& key) {
  const uint64_t hash =
      siphash_join(hash_key, key.seed, 0x6b65792d75736564);  // a domain of its own
  return hash == 0 ? 1 : hash;
}

// False when the slot moved away under the change: look it up again.
bool update(std::atomic<uint64_t>& word, uint64_t value, bool increment) {
  uint64_t seen = word.load(std::memory_order_acquire);
  while (true) {
    if ((seen & kFrozen) != 0) return false;
    const uint64_t next = increment ? pack(unpack(seen) + value) : pack(value);
    if (next == seen) return true;
    if (word.compare_exchange_weak(seen, next, std::memory_order_acq_rel)) return true;
  }
}

}  // namespace

void Engine::note_key_use(const KeyEntry& key, int64_t wall_ns) {
  const auto minute = static_cast<uint64_t>(std::max<int64_t>(wall_ns, 0) / kMinuteNs);
  const bool in_grace = key.grace_until_wall_ns != 0;
  std::atomic<uint64_t>& noted = noted_keys_[key.seed % noted_keys_.size()];
  const uint64_t mark = key.seed + minute * 0x9e3779b97f4a7c15;
  if (!in_grace && noted.load(std::memory_order_relaxed) == mark) return;
  const uint64_t hash = usage_key(counters_->hash_key(), key);
  while (true) {
    auto slot = counters_->find_or_insert(Region::kTenant, SlotClass::kWords4, hash, hash);
    if (!slot.ok()) return;  // no room: a statistic is not worth a refusal
    std::atomic<uint64_t>& used = slot->state[1];
    const uint64_t seen = used.load(std::memory_order_acquire);
    if ((seen & kFrozen) == 0 && unpack(seen) == minute && !in_grace) break;
    if (!CounterTable::raise_expiry(*slot, counters_->now_ns() + kKeepNs)) continue;
    if (!update(used, minute, false)) continue;
    if (!in_grace || update(slot->state[0], 1, true)) break;
  }
  noted.store(mark, std::memory_order_relaxed);
}

Engine::KeyUsage Engine::key_usage(const KeyEntry& key) {
  const uint64_t hash = usage_key(counters_->hash_key(), key);
  KeyUsage usage;
  const SlotRef slot = counters_->find(Region::kTenant, SlotClass::kWords4, hash, hash);
  if (!slot) return usage;
  usage.uses = unpack(slot.state[0].load(std::memory_order_acquire));
  usage.last_used_wall_ns =
      static_cast<int64_t>(unpack(slot.state[1].load(std::memory_order_acquire))) * kMinuteNs;
  return usage;
}

}  // namespace tenancy
