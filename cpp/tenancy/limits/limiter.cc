#include "tenancy/limits/limiter.h"

#include <array>
#include <bit>
#include <cassert>
#include <utility>

#include "tenancy/limits/attempt.h"
#include "tenancy/limits/fixed_window.h"
#include "tenancy/limits/gcra.h"
#include "tenancy/limits/sliding_counter.h"
#include "tenancy/limits/sliding_window.h"

namespace tenancy {

namespace {

// Decisions with more limits than this still work: the rest are looked up once more.
constexpr size_t kSlotsKept = 16;

// What one limit answered, and whether the cost is counted now.
struct Verdict {
  LimitState state;
  bool counted = false;
};

Outcome attempt_on(const Attempt& attempt, const SlotRef& slot, LimitState* state) {
  switch (attempt.policy.algorithm) {
    case Algorithm::kSlidingWindow:
    case Algorithm::kSlidingLog: return sliding_window_attempt(attempt, slot, state);
    case Algorithm::kFixedWindow: return fixed_window_attempt(attempt, slot, state);
    case Algorithm::kSlidingCounter: return sliding_counter_attempt(attempt, slot, state);
    case Algorithm::kTokenBucket:
    case Algorithm::kLeakyBucket:
    case Algorithm::kLeakyQueue: break;
  }
  return gcra_attempt(attempt, slot, state);
}

Outcome refund_on(const LimitHit& hit, const SlotRef& slot, int64_t taken_ns, int64_t now_ns) {
  switch (hit.policy->algorithm) {
    case Algorithm::kSlidingWindow:
    case Algorithm::kSlidingLog: return sliding_window_refund(hit, slot, taken_ns, now_ns);
    case Algorithm::kFixedWindow: return fixed_window_refund(hit, slot, taken_ns, now_ns);
    case Algorithm::kSlidingCounter: return sliding_counter_refund(hit, slot, taken_ns, now_ns);
    case Algorithm::kTokenBucket:
    case Algorithm::kLeakyBucket:
    case Algorithm::kLeakyQueue: break;
  }
  return gcra_refund(hit, slot, taken_ns, now_ns);
}

Outcome reset_on(const LimitHit& hit, const SlotRef& slot, int64_t now_ns) {
  switch (hit.policy->algorithm) {
    case Algorithm::kSlidingWindow:
    case Algorithm::kSlidingLog: return sliding_window_reset(hit, slot, now_ns);
    case Algorithm::kFixedWindow: return fixed_window_reset(slot);
    case Algorithm::kSlidingCounter: return sliding_counter_reset(hit, slot, now_ns);
    case Algorithm::kTokenBucket:
    case Algorithm::kLeakyBucket:
    case Algorithm::kLeakyQueue: break;
  }
  return gcra_reset(slot);
}

// A counter that nobody has touched.
LimitState untouched(const LimitPolicy& policy) {
  LimitState state;
  state.allowed = true;
  state.remaining = policy.capacity();
  return state;
}

// The region has no room: nothing can be counted, so the policy says what that means.
LimitState without_room(const LimitPolicy& policy, uint64_t cost) {
  LimitState state;
  state.full = true;
  state.allowed = policy.on_full == OnFull::kAllow;
  state.remaining = state.allowed ? policy.capacity() - cost : 0;
  state.retry_after_ns = state.allowed ? 0 : policy.window_ns;
  return state;
}

SlotRef find(CounterTable& table, const LimitHit& hit) {
  return table.find(hit.region, limit_slot_class(*hit.policy), hit.group, hit.key);
}

// Runs `use` on the slot until it was found in place. `slot` may hold an earlier look-up.
template <class Use>
void on_existing(CounterTable& table, const LimitHit& hit, SlotRef slot, Use use) {
  while (slot && use(slot) == Outcome::kElsewhere) slot = find(table, hit);
}

LimitState look(CounterTable& table, const LimitHit& hit, int64_t now_ns, SlotRef* slot) {
  const LimitPolicy& policy = *hit.policy;
  const bool too_much = hit.cost > policy.capacity();
  const Attempt attempt{policy, table, too_much ? 0 : hit.cost, false, now_ns};
  LimitState state = untouched(policy);
  *slot = find(table, hit);
  while (*slot && attempt_on(attempt, *slot, &state) == Outcome::kElsewhere) {
    state = untouched(policy);
    *slot = find(table, hit);
  }
  if (too_much) {
    state.allowed = false;
    state.retry_after_ns = kNever;
    state.delay_ns = 0;
  }
  return state;
}

Verdict take(CounterTable& table, const LimitHit& hit, int64_t now_ns, SlotRef slot) {
  const LimitPolicy& policy = *hit.policy;
  if (hit.cost == 0 || hit.cost > policy.capacity()) {
    return {look(table, hit, now_ns, &slot), false};
  }
  const Attempt attempt{policy, table, hit.cost, true, now_ns};
  Verdict verdict;
  while (true) {
    if (!slot) slot = find(table, hit);
    if (!slot) {
      Result<SlotRef> made =
          table.find_or_insert(hit.region, limit_slot_class(policy), hit.group, hit.key);
      if (!made) return {without_room(policy, hit.cost), false};
      slot = std::move(*made);
    }
    if (attempt_on(attempt, slot, &verdict.state) == Outcome::kDone) break;
    slot = SlotRef{};
  }
  verdict.counted = verdict.state.allowed;
  return verdict;
}

// A limit in shadow mode counts and reports, and never refuses.
LimitState published(const LimitPolicy& policy, LimitState state) {
  state.limit = policy.capacity();
  if (!state.allowed && policy.shadow) {
    state.allowed = true;
    state.shadow = true;
    state.retry_after_ns = 0;
  }
  return state;
}

}  // namespace

SlotClass limit_slot_class(const LimitPolicy& policy) {
  switch (policy.algorithm) {
    case Algorithm::kSlidingWindow: return SlotClass::kWords8;
    case Algorithm::kSlidingLog: return sliding_log_class(policy.limit);
    case Algorithm::kFixedWindow:
    case Algorithm::kSlidingCounter: return SlotClass::kWords4;
    case Algorithm::kTokenBucket:
    case Algorithm::kLeakyBucket:
    case Algorithm::kLeakyQueue: break;
  }
  return SlotClass::kWords2;
}

LimitState limit_take(CounterTable& table, const LimitHit& hit, int64_t now_ns) {
  return published(*hit.policy, take(table, hit, now_ns, {}).state);
}

LimitState limit_peek(CounterTable& table, const LimitHit& hit, int64_t now_ns) {
  SlotRef slot;
  return published(*hit.policy, look(table, hit, now_ns, &slot));
}

void limit_refund(CounterTable& table, const LimitHit& hit, int64_t taken_ns, int64_t now_ns) {
  if (taken_ns > now_ns) return;  // the clock stepped back: where it was counted cannot be told
  on_existing(table, hit, find(table, hit),
              [&](const SlotRef& slot) { return refund_on(hit, slot, taken_ns, now_ns); });
}

void limit_reset(CounterTable& table, const LimitHit& hit, int64_t now_ns) {
  on_existing(table, hit, find(table, hit),
              [&](const SlotRef& slot) { return reset_on(hit, slot, now_ns); });
}

bool limit_take_all(CounterTable& table, std::span<const LimitHit> hits,
                    std::span<LimitState> states, int64_t now_ns) {
  assert(hits.size() == states.size() && hits.size() <= kHitsMax);
  if (hits.size() == 1) {
    states[0] = limit_take(table, hits[0], now_ns);
    return states[0].allowed;
  }
  for (const LimitHit& hit : hits) {
    table.prefetch(hit.region, limit_slot_class(*hit.policy), hit.group);
  }
  std::array<SlotRef, kSlotsKept> slots;
  bool allowed = true;
  for (size_t i = 0; i < hits.size(); ++i) {
    SlotRef slot;
    states[i] = published(*hits[i].policy, look(table, hits[i], now_ns, &slot));
    allowed = allowed && states[i].allowed;
    if (i < kSlotsKept) slots[i] = std::move(slot);
  }
  if (!allowed) return false;

  uint64_t counted = 0;  // bit i: hits[i] is counted
  for (size_t i = 0; i < hits.size(); ++i) {
    const Verdict verdict =
        take(table, hits[i], now_ns, i < kSlotsKept ? std::move(slots[i]) : SlotRef{});
    states[i] = published(*hits[i].policy, verdict.state);
    if (verdict.counted) counted |= uint64_t{1} << i;
    if (states[i].allowed) continue;
    // Somebody else took the last of it meanwhile.
    for (uint64_t taken = counted; taken != 0; taken &= taken - 1) {
      const size_t place = static_cast<size_t>(std::countr_zero(taken));
      limit_refund(table, hits[place], now_ns, now_ns);
      states[place] = limit_peek(table, hits[place], now_ns);
    }
    return false;
  }
  return true;
}

uint64_t limit_key(const HashKey& hash_key, uint64_t group, const LimitPolicy& policy) {
  // A window of at most 400 days fits 55 bits. The group is a keyed hash already: keys of two
  // groups meet only where the groups differ by a certain number, which is as unlikely as two equal
  // hashes. What follows is the finalizer of splitmix64, a bijection.
  const uint64_t kind =
      static_cast<uint64_t>(policy.algorithm) << 1 | (policy.anchor_first ? 1 : 0);
  const uint64_t window = static_cast<uint64_t>(policy.window_ns);
  uint64_t key = (group ^ hash_key.k1) + (kind << 56 | window) * 0x9e3779b97f4a7c15;
  key = (key ^ (key >> 30)) * 0xbf58476d1ce4e5b9;
  key = (key ^ (key >> 27)) * 0x94d049bb133111eb;
  key ^= key >> 31;
  return key == 0 ? 1 : key;
}

}  // namespace tenancy
