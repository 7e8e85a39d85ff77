#include "tenancy/limits/limiter.h"

#include <array>
#include <bit>
#include <cassert>
#include <cstddef>
#include <new>
#include <utility>

#include "tenancy/limits/attempt.h"
#include "tenancy/limits/fixed_window.h"
#include "tenancy/limits/gcra.h"
#include "tenancy/limits/sliding_counter.h"
#include "tenancy/limits/sliding_window.h"

namespace tenancy {

namespace {

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

// `left` is the hit, with what is still to be given back as its cost.
Outcome refund_on(LimitHit* left, const SlotRef& slot, int64_t taken_ns, int64_t now_ns) {
  switch (left->policy->algorithm) {
    case Algorithm::kSlidingWindow:
    case Algorithm::kSlidingLog: return sliding_window_refund(left, slot, taken_ns, now_ns);
    case Algorithm::kFixedWindow: return fixed_window_refund(*left, slot, taken_ns, now_ns);
    case Algorithm::kSlidingCounter: return sliding_counter_refund(*left, slot, taken_ns, now_ns);
    case Algorithm::kTokenBucket:
    case Algorithm::kLeakyBucket:
    case Algorithm::kLeakyQueue: break;
  }
  return gcra_refund(*left, slot, taken_ns, now_ns);
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
void untouched(const LimitPolicy& policy, LimitState* state) {
  *state = LimitState{};
  state->allowed = true;
  state->remaining = policy.capacity();
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

// Windows of one group and class are neighbours in the table: they are fetched and found together.
constexpr size_t kRunMax = 4;

// The hits of that kind at the beginning of `hits`.
size_t run_length(std::span<const LimitHit> hits, SlotClass slot_class) {
  size_t length = 1;
  while (length < hits.size() && length < kRunMax && hits[length].group == hits[0].group &&
         hits[length].region == hits[0].region &&
         limit_slot_class(*hits[length].policy) == slot_class) {
    ++length;
  }
  return length;
}

// Calls `use(hits of a run, their class)` for each run.
template <class Use>
void for_each_run(std::span<const LimitHit> hits, Use use) {
  while (!hits.empty()) {
    const SlotClass slot_class = limit_slot_class(*hits[0].policy);
    const size_t length = run_length(hits, slot_class);
    use(hits.first(length), slot_class);
    hits = hits.subspan(length);
  }
}

// Runs `use` on the slot until it was found in place. `slot` may hold an earlier look-up.
template <class Use>
void on_existing(CounterTable& table, const LimitHit& hit, SlotRef slot, Use use) {
  while (slot && use(slot) == Outcome::kElsewhere) slot = find(table, hit);
}

// `slot` is where the hit was found, if at all. `pending` (may be null) gets the swap that would
// take it, where that is one.
void look(CounterTable& table, const LimitHit& hit, int64_t now_ns, SlotRef* slot,
          LimitState* state, Pending* pending) {
  const LimitPolicy& policy = *hit.policy;
  const bool too_much = hit.cost > policy.capacity();
  const bool takes = hit.cost != 0 && !too_much;
  const Attempt attempt{policy, table,  too_much ? 0 : hit.cost,
                        false,  now_ns, takes ? pending : nullptr};
  untouched(policy, state);
  while (*slot && attempt_on(attempt, *slot, state) == Outcome::kElsewhere) {
    untouched(policy, state);
    *slot = find(table, hit);
  }
  if (too_much) {
    state->allowed = false;
    state->retry_after_ns = kNever;
    state->delay_ns = 0;
  }
}

Verdict take(CounterTable& table, const LimitHit& hit, int64_t now_ns, SlotRef slot) {
  const LimitPolicy& policy = *hit.policy;
  Verdict verdict;
  if (hit.cost == 0 || hit.cost > policy.capacity()) {
    if (!slot) slot = find(table, hit);
    look(table, hit, now_ns, &slot, &verdict.state, nullptr);
    return verdict;
  }
  const Attempt attempt{policy, table, hit.cost, true, now_ns, nullptr};
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

// What was found at each limit of a decision, until it is taken.
struct Look {
  SlotRef slot;
  Pending pending;
};

// Holds the looks of one decision; those that are not made cost nothing.
class LookedAt {
 public:
  LookedAt() = default;
  LookedAt(const LookedAt&) = delete;
  LookedAt& operator=(const LookedAt&) = delete;
  ~LookedAt() {
    for (size_t i = 0; i < size_; ++i) (*this)[i].~Look();
  }
  Look& add(SlotRef slot) {
    return *new (storage_ + size_++ * sizeof(Look)) Look{std::move(slot), {}};
  }
  size_t size() const { return size_; }
  Look& operator[](size_t i) { return std::launder(reinterpret_cast<Look*>(storage_))[i]; }

 private:
  size_t size_ = 0;
  alignas(Look) std::byte storage_[kHitsMax * sizeof(Look)];
};

// A limit in shadow mode counts and reports, and never refuses.
void publish(const LimitPolicy& policy, LimitState* state) {
  state->limit = policy.capacity();
  if (!state->allowed && policy.shadow) {
    state->allowed = true;
    state->shadow = true;
    state->retry_after_ns = 0;
  }
}

// Looks at all of them. False when one refuses.
bool look_at_all(CounterTable& table, std::span<const LimitHit> hits, std::span<LimitState> states,
                 int64_t now_ns, LookedAt* looked) {
  for_each_run(hits, [&](std::span<const LimitHit> run, SlotClass slot_class) {
    table.prefetch(run[0].region, slot_class, run[0].group, run.size());
  });
  bool allowed = true;
  for_each_run(hits, [&](std::span<const LimitHit> run, SlotClass slot_class) {
    std::array<uint64_t, kRunMax> keys;
    std::array<SlotRef, kRunMax> slots;
    for (size_t i = 0; i < run.size(); ++i) keys[i] = run[i].key;
    table.find_group(run[0].region, slot_class, run[0].group, {keys.data(), run.size()},
                     {slots.data(), run.size()});
    for (size_t i = 0; i < run.size(); ++i) {
      LimitState& state = states[looked->size()];
      Look& at = looked->add(std::move(slots[i]));
      look(table, run[i], now_ns, &at.slot, &state, &at.pending);
      publish(*run[i].policy, &state);
      allowed = allowed && state.allowed;
    }
  });
  return allowed;
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
  LimitState state = take(table, hit, now_ns, {}).state;
  publish(*hit.policy, &state);
  return state;
}

LimitState limit_peek(CounterTable& table, const LimitHit& hit, int64_t now_ns) {
  SlotRef slot = find(table, hit);
  LimitState state;
  look(table, hit, now_ns, &slot, &state, nullptr);
  publish(*hit.policy, &state);
  return state;
}

void limit_refund(CounterTable& table, const LimitHit& hit, int64_t taken_ns, int64_t now_ns) {
  if (taken_ns > now_ns) return;  // the clock stepped back: where it was counted cannot be told
  LimitHit left = hit;
  on_existing(table, hit, find(table, hit),
              [&](const SlotRef& slot) { return refund_on(&left, slot, taken_ns, now_ns); });
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
  LookedAt looked;
  if (!look_at_all(table, hits, states, now_ns, &looked)) return false;

  uint64_t counted = 0;  // bit i: hits[i] is counted
  for (size_t i = 0; i < hits.size(); ++i) {
    if (take_pending(looked[i].slot, looked[i].pending)) {
      states[i].remaining -= hits[i].cost;
      states[i].reset_after_ns = looked[i].pending.reset_after_ns;
      counted |= uint64_t{1} << i;
      continue;
    }
    const Verdict verdict = take(table, hits[i], now_ns, std::move(looked[i].slot));
    states[i] = verdict.state;
    publish(*hits[i].policy, &states[i]);
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
