// Random histories of one table against a model of lists: clock steps, period ends, expiry, changes
// of time zone, anchor, and plan.
#include <algorithm>
#include <map>
#include <optional>
#include <random>
#include <vector>

#include "quotas/world.h"

namespace tenancy {
namespace {

using test::kDay;
using test::kHour;
using test::kMinute;
using test::Quota;
using test::World;

struct Reservation {
  QuotaHandle handle;
  uint64_t amount = 0;
  int64_t until = 0;
  int64_t period = 0;
  bool settled = false;
};

// What a quota should be, as plainly as it can be said.
class Model {
 public:
  explicit Model(const Quota& quota) : quota_(quota) {}

  // The period in force; `keep` remembers it, as calls that change something do.
  Period period(int64_t wall, bool keep) {
    if (quota_.def.kind != QuotaKind::kConsumption) return {};
    const int64_t newest = std::max(newest_wall_, wall);
    if (keep) newest_wall_ = newest;
    if (in_force_ && newest < in_force_->end_wall_ns) return *in_force_;
    const Anchor anchor = quota_.def.anchored ? quota_.anchor : Anchor{};
    Period next = period_at(quota_.def.period, newest, quota_.zone, anchor);
    if (in_force_ && in_force_->end_wall_ns > next.start_wall_ns) {
      const int64_t whole = next.end_wall_ns - next.start_wall_ns;
      next.start_wall_ns = in_force_->end_wall_ns;
      if (next.end_wall_ns - next.start_wall_ns < whole / 2) {
        next.end_wall_ns = next_start(quota_.def.period, next.end_wall_ns, quota_.zone, anchor);
      }
    }
    if (keep) in_force_ = next;
    return next;
  }

  uint64_t cap() const {
    if (quota_.grant.unlimited || quota_.grant.soft) return (uint64_t{1} << 61) - 1;
    return quota_.grant.limit + quota_.grant.grace;
  }
  uint64_t used(const Period& at) { return used_[at.start_wall_ns]; }
  uint64_t reserved(const Period& at, int64_t now) const {
    uint64_t sum = 0;
    for (const Reservation& one : reservations) {
      if (!one.settled && one.until > now && one.period == at.start_wall_ns) sum += one.amount;
    }
    return sum;
  }
  bool fits(const Period& at, int64_t now, uint64_t amount) {
    return used(at) + reserved(at, now) + amount <= cap();
  }
  void add(int64_t start, uint64_t amount) { used_[start] += amount; }
  void set(int64_t start, uint64_t amount) { used_[start] = amount; }

  std::vector<Reservation> reservations;

 private:
  const Quota& quota_;
  std::optional<Period> in_force_;
  int64_t newest_wall_ = INT64_MIN;
  std::map<int64_t, uint64_t> used_;
};

class History {
 public:
  History(uint32_t seed, QuotaKind kind, PeriodUnit unit)
      : random_(seed), quota_(kind, 20, unit), model_(quota_) {
    quota_.def.anchored = pick(2) == 0;
  }

  void run(int steps) {
    for (int i = 0; i < steps; ++i) {
      step();
      require_same();
    }
  }

 private:
  uint64_t pick(uint64_t below) { return random_() % below; }
  int64_t now() const { return world_.clock->mono_ns(); }
  int64_t wall() const { return world_.clock->wall_ns(); }

  void step() {
    switch (pick(12)) {
      case 0:
      case 1:
      case 2: return consume(pick(9));
      case 3:
      case 4: return reserve(1 + pick(8));
      case 5:
      case 6:
      case 7: return settle();
      case 8: return recount();
      case 9:
      case 10: return pass_time();
      default: return change();
    }
  }

  void consume(uint64_t amount) {
    const Period at = model_.period(wall(), true);
    const bool fits = model_.fits(at, now(), amount);
    REQUIRE(world_->check(quota_, amount).allowed == fits);
    const QuotaState state = world_->consume(quota_, amount);
    REQUIRE(state.allowed == fits);
    if (fits) model_.add(at.start_wall_ns, amount);
    REQUIRE(state.used == model_.used(at));
  }

  void reserve(uint64_t amount) {
    const Period at = model_.period(wall(), true);
    const int64_t ttl = static_cast<int64_t>(1 + pick(10)) * kMinute;
    Reservation one;
    const bool fits = model_.fits(at, now(), amount);
    REQUIRE(world_->reserve(quota_, amount, ttl, &one.handle).allowed == fits);
    REQUIRE(static_cast<bool>(one.handle) == fits);
    if (!fits) return;
    one.amount = amount;
    one.until = now() + ttl;
    one.period = at.start_wall_ns;
    model_.reservations.push_back(one);
  }

  void settle() {
    if (model_.reservations.empty()) return;
    Reservation& one = model_.reservations[pick(model_.reservations.size())];
    const bool live = !one.settled && one.until > now();
    if (pick(3) == 0) {
      REQUIRE(world_->release(quota_, one.handle) == live);
    } else {
      const uint64_t kept = pick(one.amount + 1);
      REQUIRE(world_->commit(quota_, one.handle, kept) == live);
      if (live) model_.add(one.period, kept);
    }
    one.settled = true;
  }

  void recount() {
    const uint64_t amount = pick(15);
    if (pick(2) == 0) {
      const Period at = model_.period(wall(), false);
      const uint64_t left = model_.used(at) - std::min(model_.used(at), amount);
      REQUIRE(world_->decrement(quota_, amount).used == left);
      model_.set(at.start_wall_ns, left);
    } else {
      const Period at = model_.period(wall(), true);
      REQUIRE(world_->set(quota_, amount).used == amount);
      model_.set(at.start_wall_ns, amount);
    }
  }

  void pass_time() {
    const int64_t unit = quota_.def.period == PeriodUnit::kHour ? 5 * kMinute : 5 * kHour;
    switch (pick(6)) {
      case 0: world_.clock->step_wall(-static_cast<int64_t>(pick(20)) * unit); break;
      case 1: world_.clock->step_wall(static_cast<int64_t>(pick(10)) * unit); break;
      case 2: world_.clock->advance(static_cast<int64_t>(pick(10)) * unit); break;
      default: world_.clock->advance(static_cast<int64_t>(pick(6)) * kMinute);
    }
  }

  void change() {
    static constexpr const char* kZones[] = {"UTC", "Europe/Berlin", "America/New_York",
                                             "Asia/Kathmandu", "Pacific/Kiritimati"};
    switch (pick(4)) {
      case 0: quota_.zone = *TimeZone::load(kZones[pick(5)]); break;
      case 1:
        quota_.anchor.day = static_cast<int>(1 + pick(31));
        quota_.anchor.weekday = static_cast<int>(1 + pick(7));
        break;
      case 2:
        quota_.grant.limit = pick(40);
        quota_.grant.grace = pick(3);
        break;
      default: quota_.grant.soft = pick(4) == 0; quota_.grant.unlimited = pick(8) == 0;
    }
  }

  void require_same() {
    const Period at = model_.period(wall(), false);
    const QuotaState state = world_->status(quota_);
    REQUIRE(state.period_start_wall_ns == at.start_wall_ns);
    REQUIRE(state.period_end_wall_ns == at.end_wall_ns);
    REQUIRE(state.used == model_.used(at));
    REQUIRE(state.reserved == model_.reserved(at, now()));
    REQUIRE(state.allowed == model_.fits(at, now(), 0));
    REQUIRE(state.exceeded() == (!quota_.grant.unlimited && state.used >= quota_.grant.limit));
    const bool over = quota_.grant.soft && state.used > quota_.grant.limit;
    REQUIRE(state.overage == (over ? state.used - quota_.grant.limit : 0));
  }

  std::mt19937_64 random_;
  World world_;
  Quota quota_;
  Model model_;
};

TEST_CASE("random histories of quotas agree with a model") {
  const std::pair<QuotaKind, PeriodUnit> kinds[] = {
      {QuotaKind::kCount, PeriodUnit::kDay},          {QuotaKind::kSize, PeriodUnit::kDay},
      {QuotaKind::kConsumption, PeriodUnit::kHour},   {QuotaKind::kConsumption, PeriodUnit::kDay},
      {QuotaKind::kConsumption, PeriodUnit::kWeek},   {QuotaKind::kConsumption, PeriodUnit::kMonth},
      {QuotaKind::kConsumption, PeriodUnit::kQuarter}};
  for (const auto& [kind, unit] : kinds) {
    for (uint32_t seed = 1; seed <= 12; ++seed) {
      INFO("kind " << static_cast<int>(kind) << " unit " << period_unit_name(unit) << " seed "
                   << seed);
      History(seed, kind, unit).run(600);
    }
  }
}

}  // namespace
}  // namespace tenancy
