#include "tenancy/quotas/leases.h"

#include <algorithm>
#include <bit>

namespace tenancy::quotas {
namespace {

struct Block {
  SlotClass slot_class;
  uint32_t first;
  uint32_t end;
};
constexpr std::array<Block, 3> kBlocks{{
    {SlotClass::kLog64, 0, 64},
    {SlotClass::kLog512, 64, 512},
    {SlotClass::kLog4096, 512, kLeasePositions},
}};

// A lease in 61 bits: held, nonce, holder, expiry. The expiry is counted in units of 10 ms modulo
// 2^32, which tells before from after within 248 days either way; no lease lives longer than 200.
constexpr int64_t kUnitNs = 10'000'000;
constexpr int64_t kKeepNs = int64_t{3'600} * 1'000'000'000;

struct LeaseWord {
  bool held = false;
  uint16_t nonce = 0;
  uint32_t holder = 0;
  uint32_t until = 0;

  uint64_t word() const {
    return number_word((held ? 1U : 0U) | uint64_t{nonce} << 1 | uint64_t{holder} << 17 |
                       uint64_t{until} << 29);
  }
  static LeaseWord of(uint64_t word) {
    const uint64_t number = number_of(word);
    return {.held = (number & 1) != 0,
            .nonce = static_cast<uint16_t>(number >> 1),
            .holder = static_cast<uint32_t>(number >> 17 & 0xfff),
            .until = static_cast<uint32_t>(number >> 29)};
  }
  bool expired(int64_t now_ns) const {
    const auto now = static_cast<uint32_t>(static_cast<uint64_t>(now_ns / kUnitNs));
    return static_cast<int32_t>(now - until) >= 0;
  }
  static uint64_t free(uint16_t nonce) { return LeaseWord{.nonce = nonce}.word(); }
};

uint32_t until_units(int64_t until_ns) {
  return static_cast<uint32_t>(static_cast<uint64_t>((until_ns + kUnitNs - 1) / kUnitNs));
}

int64_t clamp_ttl(int64_t ttl_ns) { return std::clamp<int64_t>(ttl_ns, 0, kLeaseMaxNs); }

const Block& block_of(uint32_t position) {
  return *std::find_if(kBlocks.begin(), kBlocks.end(),
                       [position](const Block& block) { return position < block.end; });
}

bool same_lease(const LeaseWord& seen, const LeaseRef& lease) {
  return seen.held && seen.nonce == lease.nonce && seen.holder == lease.holder;
}

}  // namespace

// One look at all positions of a quota.
class Leases::Scan {
 public:
  Scan(Leases* leases, uint64_t key) : leases_(*leases), key_(key) {}

  // Makes the slots that hold positions below `limit`. False when the table has no room.
  bool make(uint64_t limit, int64_t until_ns) {
    for (size_t i = 0; i < kBlocks.size() && limit > kBlocks[i].first; ++i) {
      blocks_[i].emplace(leases_.table_, kBlocks[i].slot_class, key_);
      if (!blocks_[i]->make(until_ns)) return false;
    }
    return true;
  }

  // Reads every position that exists; ends what has expired, and what dead processes hold if asked.
  void read(bool ask_for_dead) {
    const int64_t now = leases_.table_->now_ns();
    live_.fill(0);
    count_ = 0;
    for (size_t i = 0; i < kBlocks.size(); ++i) {
      if (!blocks_[i]) {
        blocks_[i].emplace(leases_.table_, kBlocks[i].slot_class, key_);
        blocks_[i]->find();
      }
      Cells& cells = *blocks_[i];
      if (!cells.present()) continue;
      for (uint32_t position = kBlocks[i].first; position < kBlocks[i].end; ++position) {
        const uint64_t word = cells.load(position);
        const LeaseWord lease = LeaseWord::of(word);
        if (!lease.held) continue;
        const bool over = lease.expired(now) || (ask_for_dead && dead(lease.holder));
        if (over && cells.swap(position, word, LeaseWord::free(lease.nonce))) continue;
        live_[position / 64] |= uint64_t{1} << (position % 64);
        ++count_;
      }
    }
  }

  uint64_t count() const { return count_; }

  // A free position that may be taken under `limit`: below the largest bound B with B plus the live
  // leases from B on not above the limit.
  std::optional<uint32_t> free_position(uint32_t limit) const {
    uint32_t from_bound = 0;
    for (size_t i = 0; i < live_.size(); ++i) {
      from_bound += static_cast<uint32_t>(std::popcount(live_[i] & above(i, limit)));
    }
    uint32_t bound = limit;
    while (bound > 0 && bound + from_bound > limit) {
      --bound;
      if (is_live(bound)) ++from_bound;
    }
    for (uint32_t position = 0; position < bound;) {
      const uint64_t free = ~live_[position / 64];
      if (free == 0) {
        position += 64;
        continue;
      }
      position += static_cast<uint32_t>(std::countr_zero(free));
      return position < bound ? std::optional(position) : std::nullopt;
    }
    return std::nullopt;
  }

  // Takes the position if it is still free.
  std::optional<LeaseRef> take(uint32_t position, uint32_t holder, uint32_t until) {
    Cells& cells = *blocks_[static_cast<size_t>(&block_of(position) - kBlocks.data())];
    const uint64_t word = cells.load(position);
    const LeaseWord seen = LeaseWord::of(word);
    if (seen.held) return std::nullopt;
    const auto nonce = static_cast<uint16_t>(seen.nonce + 1);
    const LeaseWord lease{.held = true, .nonce = nonce, .holder = holder, .until = until};
    if (!cells.swap(position, word, lease.word())) return std::nullopt;
    return LeaseRef{position, holder, nonce};
  }

 private:
  // The bits of word `i` that stand for positions from `limit` on.
  static uint64_t above(size_t i, uint32_t limit) {
    const size_t first = i * 64;
    if (first >= limit) return ~uint64_t{0};
    if (first + 64 <= limit) return 0;
    return ~uint64_t{0} << (limit - first);
  }
  bool is_live(uint32_t position) const {
    return (live_[position / 64] >> (position % 64) & 1) != 0;
  }

  // Asks once per holder.
  bool dead(uint32_t holder) {
    uint64_t& asked = asked_[holder / 64];
    uint64_t& gone = gone_[holder / 64];
    const uint64_t bit = uint64_t{1} << (holder % 64);
    if ((asked & bit) == 0) {
      asked |= bit;
      if (!leases_.ledgers_->holder_alive(holder)) gone |= bit;
    }
    return (gone & bit) != 0;
  }

  Leases& leases_;
  uint64_t key_;
  std::array<std::optional<Cells>, kBlocks.size()> blocks_;
  std::array<uint64_t, kLeasePositions / 64> live_{};
  std::array<uint64_t, (kLedgersMax + 1) / 64> asked_{};
  std::array<uint64_t, (kLedgersMax + 1) / 64> gone_{};
  uint64_t count_ = 0;
};

LeaseAnswer Leases::acquire(uint64_t key, uint64_t limit, int64_t ttl_ns) {
  const auto positions = static_cast<uint32_t>(std::min<uint64_t>(limit, kLeasePositions));
  const int64_t until_ns = table_->now_ns() + clamp_ttl(ttl_ns);
  LeaseAnswer answer;
  Scan scan(this, key);
  if (!scan.make(positions, until_ns + kKeepNs)) {
    answer.full = true;
    return answer;
  }
  uint32_t holder = kNoLedger;
  bool holder_known = false;
  for (bool ask_for_dead = false;;) {
    scan.read(ask_for_dead);
    answer.live = scan.count();
    const std::optional<uint32_t> position = scan.free_position(positions);
    if (!position) {
      if (ask_for_dead || answer.live == 0) return answer;
      ask_for_dead = true;
      continue;
    }
    if (!holder_known) {
      holder = ledgers_->lease_holder(until_ns + kUnitNs);
      holder_known = true;
    }
    answer.taken = scan.take(*position, holder, until_units(until_ns));
    if (!answer.taken) continue;  // somebody was faster
    ++answer.live;
    return answer;
  }
}

uint64_t Leases::count(uint64_t key, uint64_t at_least) {
  Scan scan(this, key);
  scan.read(false);
  if (scan.count() > 0 && scan.count() >= at_least) scan.read(true);
  return scan.count();
}

bool Leases::renew(uint64_t key, const LeaseRef& lease, int64_t ttl_ns) {
  if (lease.position >= kLeasePositions) return false;
  Cells cells(table_, block_of(lease.position).slot_class, key);
  if (!cells.find() || !same_lease(LeaseWord::of(cells.load(lease.position)), lease)) return false;
  // The slot and the holder's ledger must outlive the lease, so they come first; if it has not
  // expired after that, its ledger is still its holder's.
  const int64_t until_ns = table_->now_ns() + clamp_ttl(ttl_ns);
  if (!cells.keep(until_ns + kKeepNs)) return false;
  ledgers_->keep_holder(lease.holder, until_ns + kUnitNs);
  const int64_t now = table_->now_ns();
  for (;;) {
    const uint64_t word = cells.load(lease.position);
    LeaseWord seen = LeaseWord::of(word);
    if (!same_lease(seen, lease)) return false;
    const bool expired = seen.expired(now);
    seen.until = until_units(until_ns);
    const uint64_t next = expired ? LeaseWord::free(seen.nonce) : seen.word();
    if (cells.swap(lease.position, word, next)) return !expired;
  }
}

bool Leases::end(uint64_t key, const LeaseRef& lease) {
  if (lease.position >= kLeasePositions) return false;
  Cells cells(table_, block_of(lease.position).slot_class, key);
  cells.find();
  const int64_t now = table_->now_ns();
  for (;;) {
    const uint64_t word = cells.load(lease.position);
    const LeaseWord seen = LeaseWord::of(word);
    if (!same_lease(seen, lease)) return false;
    if (cells.swap(lease.position, word, LeaseWord::free(seen.nonce))) return !seen.expired(now);
  }
}

uint64_t Leases::end_all(uint64_t key) {
  uint64_t ended = 0;
  for (const Block& block : kBlocks) {
    Cells cells(table_, block.slot_class, key);
    if (!cells.find()) continue;
    for (uint32_t position = block.first; position < block.end;) {
      const uint64_t word = cells.load(position);
      const LeaseWord seen = LeaseWord::of(word);
      if (!seen.held) {
        ++position;
      } else if (cells.swap(position, word, LeaseWord::free(seen.nonce))) {
        ++ended;
      }
    }
  }
  return ended;
}

}  // namespace tenancy::quotas
