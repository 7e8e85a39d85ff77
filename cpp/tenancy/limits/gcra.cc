#include "tenancy/limits/gcra.h"

namespace tenancy {

namespace {

constexpr uint64_t kForgotten = 1;  // a written word is never 0; one nanosecond is long past

struct Bucket {
  int64_t interval_ns;
  int64_t capacity_ns;
};

Bucket bucket_of(const LimitPolicy& policy) {
  const int64_t interval_ns = policy.interval_ns();
  return {interval_ns, static_cast<int64_t>(policy.capacity()) * interval_ns};
}

// `queued_ns` is how far the arrival time is ahead of now.
void answer(const Attempt& attempt, const Bucket& bucket, int64_t queued_ns, int64_t cost_ns,
            LimitState* state) {
  const int64_t after_ns = queued_ns + cost_ns;
  state->allowed = after_ns <= bucket.capacity_ns;
  const int64_t held_ns = state->allowed && attempt.take ? after_ns : queued_ns;
  state->remaining = static_cast<uint64_t>((bucket.capacity_ns - held_ns) / bucket.interval_ns);
  state->reset_after_ns = held_ns;
  state->retry_after_ns = state->allowed ? 0 : after_ns - bucket.capacity_ns;
  const bool delays = attempt.policy.algorithm == Algorithm::kLeakyQueue && state->allowed;
  state->delay_ns = delays ? queued_ns : 0;
}

}  // namespace

Outcome gcra_attempt(const Attempt& attempt, const SlotRef& slot, LimitState* state) {
  const Bucket bucket = bucket_of(attempt.policy);
  const int64_t cost_ns = static_cast<int64_t>(attempt.cost) * bucket.interval_ns;
  int64_t now_ns = attempt.now_ns;
  while (true) {
    uint64_t word = slot.state->load(std::memory_order_acquire);
    if (is_moved(word)) return Outcome::kElsewhere;
    int64_t arrival_ns = static_cast<int64_t>(word);
    if (arrival_ns > now_ns + bucket.capacity_ns) {
      now_ns = later_now_ns(attempt);
      if (arrival_ns > now_ns + bucket.capacity_ns) {
        // Written even when only looking or refusing: else it would stay out of reach (trap 8).
        arrival_ns = now_ns + bucket.capacity_ns;
        if (!swap_word(*slot.state, word, static_cast<uint64_t>(arrival_ns))) continue;
        word = static_cast<uint64_t>(arrival_ns);
      }
    }
    const int64_t base_ns = std::max(arrival_ns, now_ns);
    answer(attempt, bucket, base_ns - now_ns, cost_ns, state);
    if (!state->allowed) return Outcome::kDone;
    const uint64_t desired = static_cast<uint64_t>(base_ns + cost_ns);
    if (!attempt.take) {
      if (attempt.pending != nullptr) {
        *attempt.pending = {.word = slot.state,
                            .expected = word,
                            .desired = desired,
                            .until_ns = 0,
                            .reset_after_ns = base_ns + cost_ns - now_ns};
      }
      return Outcome::kDone;
    }
    if (swap_word(*slot.state, word, desired)) return Outcome::kDone;
  }
}

Outcome gcra_refund(const LimitHit& hit, const SlotRef& slot, int64_t taken_ns, int64_t now_ns) {
  const uint64_t cost = std::min(hit.cost, hit.policy->capacity());
  const int64_t cost_ns = static_cast<int64_t>(cost) * hit.policy->interval_ns();
  const int64_t given_ns = cost_ns - (now_ns - taken_ns);
  while (given_ns > 0) {
    const uint64_t word = slot.state->load(std::memory_order_acquire);
    if (is_moved(word)) return Outcome::kElsewhere;
    const int64_t arrival_ns = static_cast<int64_t>(word);
    if (arrival_ns <= now_ns) break;
    const int64_t lowered_ns = std::max(arrival_ns - given_ns, now_ns);
    const uint64_t desired = std::max(static_cast<uint64_t>(lowered_ns), kForgotten);
    if (swap_word(*slot.state, word, desired)) break;
  }
  return Outcome::kDone;
}

Outcome gcra_reset(const SlotRef& slot) {
  while (true) {
    const uint64_t word = slot.state->load(std::memory_order_acquire);
    if (is_moved(word)) return Outcome::kElsewhere;
    if (word == 0 || swap_word(*slot.state, word, kForgotten)) return Outcome::kDone;
  }
}

}  // namespace tenancy
