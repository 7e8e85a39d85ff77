#include "tenancy/quotas/period_book.h"

#include <algorithm>
#include <limits>

namespace tenancy::quotas {
namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
// How far the shared mark may lag behind: it saves a shared write per call.
constexpr int64_t kMarkLagNs = kSecondNs;

// A period in one word: 35 bits of start, seconds from 136 years before 1970; 26 bits of length,
// two years; and the bit that makes it differ from "never written".
constexpr int64_t kStartBiasS = int64_t{1} << 32;
constexpr unsigned kLengthBits = 26;
constexpr int64_t kLengthMaxS = (int64_t{1} << kLengthBits) - 1;

uint64_t period_word(const Period& period) {
  const auto start = static_cast<uint64_t>(period.start_wall_ns / kSecondNs + kStartBiasS);
  const int64_t length_s = (period.end_wall_ns - period.start_wall_ns) / kSecondNs;
  return number_word(start << kLengthBits | static_cast<uint64_t>(std::min(length_s, kLengthMaxS)));
}

Period period_of(uint64_t word) {
  const auto number = static_cast<int64_t>(number_of(word));
  const int64_t start_s = (number >> kLengthBits) - kStartBiasS;
  return {.start_wall_ns = start_s * kSecondNs,
          .end_wall_ns = (start_s + (number & kLengthMaxS)) * kSecondNs};
}

// 0: nobody has left a mark.
int64_t mark_of(uint64_t word) {
  return word == 0 ? std::numeric_limits<int64_t>::min() / 2 : static_cast<int64_t>(word);
}

int64_t keep_until_ns(const Period& period, const QuotaMoment& now) {
  const int64_t left_ns = std::max<int64_t>(period.end_wall_ns - now.wall_ns, 0);
  return now.table_ns + std::min(left_ns, kForeverNs / 4) + kGraceNs;
}

}  // namespace

int64_t PeriodBook::note_wall(int64_t own_ns) {
  std::atomic<uint64_t>& word = table_->shared_word(kWallMarkWord);
  uint64_t mark = word.load();
  while (own_ns > mark_of(mark) + kMarkLagNs) {
    if (word.compare_exchange_weak(mark, static_cast<uint64_t>(own_ns))) return own_ns;
  }
  return std::max(own_ns, mark_of(mark));
}

Period PeriodBook::next_period(const QuotaTarget& target, int64_t wall, const Period* before) {
  const PeriodUnit unit = target.def->period;
  const TimeZone zone = target.time_zone != nullptr ? *target.time_zone : TimeZone();
  const Anchor anchor =
      target.def->anchored && target.anchor != nullptr ? *target.anchor : Anchor{};
  Period period = period_at(unit, wall, zone, anchor);
  if (before == nullptr || before->end_wall_ns <= period.start_wall_ns) return period;
  const int64_t half_ns = (period.end_wall_ns - period.start_wall_ns) / 2;
  period.start_wall_ns = before->end_wall_ns;
  if (period.end_wall_ns - period.start_wall_ns < half_ns) {
    period.end_wall_ns = next_start(unit, period.end_wall_ns, zone, anchor);
  }
  return period;
}

PeriodBook::Entered PeriodBook::enter(const QuotaTarget& target, uint64_t root,
                                      const QuotaMoment& now) {
  const int64_t wall = note_wall(now.wall_ns);
  Cells cells(table_, SlotClass::kWords4, period_key(table_->hash_key(), root));
  cells.find();
  for (;;) {
    const uint64_t seen = cells.load(0);
    Entered entered;
    Period before;
    if (seen != 0) {
      before = period_of(seen);
      if (wall < before.end_wall_ns) {
        entered.period = before;
        entered.keep_until_ns = keep_until_ns(before, now);
        // After a step back its end is further away than it was when it was made.
        cells.keep(entered.keep_until_ns);
        return entered;
      }
    }
    entered.period = next_period(target, wall, seen == 0 ? nullptr : &before);
    entered.keep_until_ns = keep_until_ns(entered.period, now);
    entered.full = !cells.make(entered.keep_until_ns);
    if (entered.full || cells.swap(0, seen, period_word(entered.period))) return entered;
  }
}

Period PeriodBook::look(const QuotaTarget& target, uint64_t root) const {
  const int64_t wall =
      std::max(mark_of(table_->shared_word(kWallMarkWord).load()), clock_->wall_ns());
  Cells cells(table_, SlotClass::kWords4, period_key(table_->hash_key(), root));
  cells.find();
  const uint64_t seen = cells.load(0);
  if (seen == 0) return next_period(target, wall, nullptr);
  const Period before = period_of(seen);
  return wall < before.end_wall_ns ? before : next_period(target, wall, &before);
}

}  // namespace tenancy::quotas
