#include "tenancy/quotas/quotas.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "tenancy/quotas/leases.h"
#include "tenancy/quotas/ledger.h"
#include "tenancy/quotas/period_book.h"
#include "tenancy/quotas/quota_key.h"
#include "tenancy/quotas/usage.h"

namespace tenancy {

using quotas::kAmountMax;
using quotas::Take;
using quotas::Usage;
using quotas::UsageCells;

namespace {

// The handle of what needs no state: unlimited leases, per-object checks, nothing reserved.
constexpr QuotaHandle kStateless{.value = UINT64_MAX, .quota_key = 0};
// How long `reconcile` waits for those who are in the middle of something.
constexpr int64_t kReconcileMs = 500;
constexpr int64_t kReservationMaxNs = int64_t{400} * 86'400 * 1'000'000'000;

bool is_stateless(QuotaHandle handle) { return handle.value == kStateless.value; }

// ledger 12 bits, record 7, nonce 44, above a bit that is always set.
QuotaHandle pack(const quotas::RecordRef& ref, uint64_t usage_key) {
  return {.value = 1 | uint64_t{ref.ledger} << 1 | uint64_t{ref.record} << 13 | ref.nonce << 20,
          .quota_key = usage_key};
}
quotas::RecordRef record_of(QuotaHandle handle) {
  return {.ledger = static_cast<uint32_t>(handle.value >> 1 & 0xfff),
          .record = static_cast<uint32_t>(handle.value >> 13 & 0x7f),
          .nonce = handle.value >> 20};
}

// position 12 bits, nonce 16, holder 12.
QuotaHandle pack(const quotas::LeaseRef& lease, uint64_t lease_key) {
  return {.value = 1 | uint64_t{lease.position} << 1 | uint64_t{lease.nonce} << 13 |
                   uint64_t{lease.holder} << 29,
          .quota_key = lease_key};
}
quotas::LeaseRef lease_of(QuotaHandle handle) {
  return {.position = static_cast<uint32_t>(handle.value >> 1 & 0xfff),
          .holder = static_cast<uint32_t>(handle.value >> 29 & 0xfff),
          .nonce = static_cast<uint16_t>(handle.value >> 13)};
}

QuotaGrant grant_of(const QuotaTarget& target) {
  QuotaGrant grant;
  if (target.grant != nullptr && target.grant->defined) grant = *target.grant;
  grant.limit = std::min(grant.limit, kAmountMax);
  return grant;
}

// The most that used and reserved may be together.
uint64_t cap_of(const QuotaGrant& grant) {
  if (grant.unlimited || grant.soft) return kAmountMax;
  return grant.limit + std::min(grant.grace, kAmountMax - grant.limit);
}

bool fits(uint64_t total, uint64_t amount, uint64_t cap) {
  return amount <= cap && total <= cap - amount;
}

QuotaState blank(const QuotaGrant& grant) {
  QuotaState state;
  state.unlimited = grant.unlimited;
  state.soft = grant.soft;
  state.limit = grant.limit;
  return state;
}

uint64_t threshold(uint64_t limit, uint8_t percent) {
  return limit / 100 * percent + (limit % 100 * percent + 99) / 100;
}

uint8_t reached(const QuotaDef& def, const QuotaGrant& grant, uint64_t used) {
  if (grant.unlimited || grant.limit == 0) return 0;
  unsigned bits = 0;
  for (size_t i = 0; i < def.alert_percents.size() && i < 8; ++i) {
    if (used >= threshold(grant.limit, def.alert_percents[i])) bits |= 1U << i;
  }
  return static_cast<uint8_t>(bits);
}

}  // namespace

struct Quotas::Impl {
  Impl(CounterTable* counter_table, std::shared_ptr<const Clock> shared_clock)
      : table(counter_table),
        clock(std::move(shared_clock)),
        book(table, clock.get()),
        ledgers(table),
        leases(table, &ledgers),
        charges(table, &ledgers) {}

  CounterTable* table;
  std::shared_ptr<const Clock> clock;
  quotas::PeriodBook book;
  quotas::Ledgers ledgers;
  quotas::Leases leases;
  Charges charges;

  uint64_t root(const QuotaTarget& target) const {
    return quotas::quota_root(table->hash_key(), target);
  }
  uint64_t lease_key(const QuotaTarget& target) const {
    return quotas::lease_key(table->hash_key(), root(target));
  }

  QuotaState describe(const QuotaTarget& target, const Usage& usage, const Period& period) const;
  QuotaState stateless(const QuotaTarget& target, uint64_t amount) const;
  QuotaState look(const QuotaTarget& target, uint64_t amount, bool fresh);
  QuotaState look_leases(const QuotaTarget& target, uint64_t amount);

  // A counter to change, in the period in force.
  struct Place {
    Period period;
    UsageCells cells;
    bool full = false;
  };
  Place enter(const QuotaTarget& target, const QuotaMoment& now, int64_t extra_ns);
  bool has_room(UsageCells* cells, uint64_t amount, uint64_t cap);
  Take take(UsageCells* cells, uint64_t amount, uint64_t cap);
  // Of a counter's total, drops what is neither used nor held, if that can be known.
  void drop_lost(uint64_t usage_key);
  enum class Drop : uint8_t { kDone, kDisturbed, kUnknown };
  Drop try_drop_lost(uint64_t usage_key, int64_t wait_ms);
  // What a changing call answers.
  QuotaState answer(const QuotaTarget& target, Place* place, bool allowed);
};

QuotaState Quotas::Impl::describe(const QuotaTarget& target, const Usage& usage,
                                  const Period& period) const {
  const QuotaGrant grant = grant_of(target);
  QuotaState state = blank(grant);
  state.used = usage.used;
  state.reserved = usage.reserved();
  if (grant.soft && usage.used > grant.limit) state.overage = usage.used - grant.limit;
  state.period_start_wall_ns = period.start_wall_ns;
  state.period_end_wall_ns = period.end_wall_ns;
  return state;
}

QuotaState Quotas::Impl::stateless(const QuotaTarget& target, uint64_t amount) const {
  const QuotaGrant grant = grant_of(target);
  QuotaState state = blank(grant);
  state.allowed = grant.unlimited || fits(0, amount, cap_of(grant));
  if (state.allowed && grant.soft && amount > grant.limit) state.overage = amount - grant.limit;
  return state;
}

// Answers without changing the counter. `fresh`: what expired is given back before, not only when
// `amount` does not fit otherwise.
QuotaState Quotas::Impl::look(const QuotaTarget& target, uint64_t amount, bool fresh) {
  const CounterTable::Hold hold(*table);
  const uint64_t quota = root(target);
  const bool periodic = target.def->kind == QuotaKind::kConsumption;
  const Period period = periodic ? book.look(target, quota) : Period{};
  UsageCells cells(table, quotas::usage_key(table->hash_key(), quota, period.start_wall_ns));
  cells.find();
  Usage usage = cells.read();
  const uint64_t cap = cap_of(grant_of(target));
  if (usage.reserved() > 0 && (fresh || !fits(usage.total, amount, cap))) {
    ledgers.sweep(&cells);
    usage = cells.read();
  }
  QuotaState state = describe(target, usage, period);
  state.allowed = fits(usage.total, amount, cap);
  return state;
}

QuotaState Quotas::Impl::look_leases(const QuotaTarget& target, uint64_t amount) {
  const QuotaGrant grant = grant_of(target);
  QuotaState state = blank(grant);
  state.allowed = true;
  if (grant.unlimited) return state;
  const uint64_t cap = std::min<uint64_t>(cap_of(grant), quotas::kLeasePositions);
  // Dead holders matter to the answer only where it would be a refusal; `status` asks with 0 and
  // wants to know in any case.
  const uint64_t enough = amount == 0 ? 0 : cap - std::min(cap, amount - 1);
  state.used = leases.count(lease_key(target), enough);
  state.allowed = fits(state.used, amount, cap);
  if (grant.soft && state.used > grant.limit) state.overage = state.used - grant.limit;
  return state;
}

Quotas::Impl::Place Quotas::Impl::enter(const QuotaTarget& target, const QuotaMoment& now,
                                        int64_t extra_ns) {
  const uint64_t quota = root(target);
  quotas::PeriodBook::Entered entered;
  if (target.def->kind == QuotaKind::kConsumption) {
    entered = book.enter(target, quota, now);
    entered.keep_until_ns += extra_ns;
  } else {
    entered.keep_until_ns = quotas::kForeverNs;
  }
  const uint64_t key = quotas::usage_key(table->hash_key(), quota, entered.period.start_wall_ns);
  Place place{.period = entered.period, .cells = UsageCells(table, key), .full = entered.full};
  if (!place.full) place.full = !place.cells.make(entered.keep_until_ns);
  return place;
}

// False only when not even what is over makes room.
bool Quotas::Impl::has_room(UsageCells* cells, uint64_t amount, uint64_t cap) {
  const Usage usage = cells->read();
  if (fits(usage.total, amount, cap)) return true;
  if (amount > cap || usage.reserved() == 0) return false;
  ledgers.sweep(cells);
  return fits(cells->read().total, amount, cap);
}

Take Quotas::Impl::take(UsageCells* cells, uint64_t amount, uint64_t cap) {
  const Take first = cells->take(amount, cap);
  if (first != Take::kRefused || !has_room(cells, amount, cap)) return first;
  return cells->take(amount, cap);
}

QuotaState Quotas::Impl::answer(const QuotaTarget& target, Place* place, bool allowed) {
  const Usage usage = place->cells.read();
  QuotaState state = describe(target, usage, place->period);
  state.allowed = allowed;
  state.full = place->full;
  state.crossed = reached(*target.def, grant_of(target), usage.used);
  if (state.crossed != 0) {
    state.crossed = static_cast<uint8_t>(state.crossed & ~place->cells.acknowledged());
  }
  return state;
}

// Why what is dropped is what was lost: FORMATS.md, "Reconciling".
Quotas::Impl::Drop Quotas::Impl::try_drop_lost(uint64_t usage_key, int64_t wait_ms) {
  uint64_t lowerings = 0;
  uint64_t total = 0;
  {
    const CounterTable::Hold hold(*table);
    UsageCells cells(table, usage_key);
    if (!cells.find()) return Drop::kDone;
    ledgers.sweep(&cells);
    lowerings = cells.lowerings();
  }
  if (!table->wait_for_grace(wait_ms)) return Drop::kUnknown;
  {
    UsageCells cells(table, usage_key);
    cells.find();
    total = cells.read().total;
  }
  if (!table->wait_for_grace(wait_ms)) return Drop::kUnknown;
  const CounterTable::Hold hold(*table);
  UsageCells cells(table, usage_key);
  cells.find();
  const uint64_t held = ledgers.held(usage_key);
  const Usage now = cells.read();
  if (now.total != total || !cells.claim(lowerings)) return Drop::kDisturbed;
  const uint64_t lost = now.total - std::min(now.total, now.used + held);
  return lost == 0 || cells.drop(total, lost) ? Drop::kDone : Drop::kDisturbed;
}

void Quotas::Impl::drop_lost(uint64_t usage_key) {
  using Time = std::chrono::steady_clock;
  const auto end = Time::now() + std::chrono::milliseconds(kReconcileMs);
  for (auto left = end - Time::now(); left.count() > 0; left = end - Time::now()) {
    const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
    if (try_drop_lost(usage_key, left_ms) != Drop::kDisturbed) return;
  }
}

Quotas::Quotas(CounterTable* table, std::shared_ptr<const Clock> clock)
    : impl_(std::make_unique<Impl>(table, std::move(clock))) {}

Quotas::~Quotas() = default;

Charges& Quotas::charges() { return impl_->charges; }

QuotaState Quotas::status(const QuotaTarget& target) const {
  if (target.def->kind == QuotaKind::kPerObject) return impl_->stateless(target, 0);
  if (target.def->kind == QuotaKind::kConcurrency) return impl_->look_leases(target, 0);
  return impl_->look(target, 0, true);
}

QuotaState Quotas::check(const QuotaTarget& target, uint64_t amount) const {
  if (target.def->kind == QuotaKind::kPerObject) return impl_->stateless(target, amount);
  if (target.def->kind == QuotaKind::kConcurrency) return impl_->look_leases(target, amount);
  return impl_->look(target, amount, false);
}

QuotaMoment Quotas::now() const {
  return {.wall_ns = impl_->clock->wall_ns(), .table_ns = impl_->table->now_ns()};
}

QuotaState Quotas::consume(const QuotaTarget& target, uint64_t amount, const QuotaMoment& now) {
  if (target.def->kind == QuotaKind::kPerObject) return impl_->stateless(target, amount);
  if (target.def->kind == QuotaKind::kConcurrency) return blank(grant_of(target));
  const CounterTable::Hold hold(*impl_->table);
  Impl::Place place = impl_->enter(target, now, 0);
  if (place.full) return impl_->answer(target, &place, false);
  const Take take = impl_->take(&place.cells, amount, cap_of(grant_of(target)));
  if (take == Take::kTaken) place.cells.book(amount);
  place.full = take == Take::kFull;
  return impl_->answer(target, &place, take == Take::kTaken);
}

QuotaState Quotas::decrement(const QuotaTarget& target, uint64_t amount) {
  if (target.def->kind == QuotaKind::kPerObject || target.def->kind == QuotaKind::kConcurrency) {
    return status(target);
  }
  const CounterTable::Hold hold(*impl_->table);
  const uint64_t quota = impl_->root(target);
  const bool periodic = target.def->kind == QuotaKind::kConsumption;
  const Period period = periodic ? impl_->book.look(target, quota) : Period{};
  UsageCells cells(impl_->table,
                   quotas::usage_key(impl_->table->hash_key(), quota, period.start_wall_ns));
  if (cells.find()) cells.lower(amount);  // what was never counted stays 0
  QuotaState state = impl_->describe(target, cells.read(), period);
  state.allowed = true;
  return state;
}

QuotaState Quotas::set(const QuotaTarget& target, uint64_t used) {
  if (target.def->kind == QuotaKind::kPerObject || target.def->kind == QuotaKind::kConcurrency) {
    return blank(grant_of(target));
  }
  uint64_t key = 0;
  {
    const CounterTable::Hold hold(*impl_->table);
    Impl::Place place = impl_->enter(target, now(), 0);
    const bool done = !place.full && used <= kAmountMax && place.cells.set_used(used);
    if (!done) return impl_->answer(target, &place, false);
    key = place.cells.key();
  }
  impl_->drop_lost(key);
  const CounterTable::Hold hold(*impl_->table);
  Impl::Place place = impl_->enter(target, now(), 0);
  return impl_->answer(target, &place, true);
}

QuotaState Quotas::reconcile(const QuotaTarget& target) {
  if (target.def->kind == QuotaKind::kPerObject || target.def->kind == QuotaKind::kConcurrency) {
    return status(target);
  }
  const uint64_t quota = impl_->root(target);
  const bool periodic = target.def->kind == QuotaKind::kConsumption;
  const Period period = periodic ? impl_->book.look(target, quota) : Period{};
  impl_->drop_lost(quotas::usage_key(impl_->table->hash_key(), quota, period.start_wall_ns));
  QuotaState state = status(target);
  state.allowed = true;
  return state;
}

QuotaState Quotas::reserve(const QuotaTarget& target, uint64_t amount, int64_t ttl_ns,
                           const QuotaMoment& now, QuotaHandle* handle) {
  *handle = {};
  if (target.def->kind == QuotaKind::kConcurrency) return blank(grant_of(target));
  if (target.def->kind == QuotaKind::kPerObject || amount == 0) {
    QuotaState state = consume(target, amount, now);
    if (state.allowed) *handle = kStateless;
    return state;
  }
  const CounterTable::Hold hold(*impl_->table);
  ttl_ns = ttl_ns <= 0 ? kReservationNs : std::min(ttl_ns, kReservationMaxNs);
  Impl::Place place = impl_->enter(target, now, ttl_ns);
  const uint64_t cap = cap_of(grant_of(target));
  if (place.full) return impl_->answer(target, &place, false);
  // Nothing is written for what is refused anyway.
  if (!impl_->has_room(&place.cells, amount, cap)) return impl_->answer(target, &place, false);
  const auto ref = impl_->ledgers.intend(
      {.amount = amount, .usage_key = place.cells.key(), .until_ns = now.table_ns + ttl_ns});
  if (!ref) {
    place.full = true;
    return impl_->answer(target, &place, false);
  }
  const Take take = impl_->take(&place.cells, amount, cap);
  if (take != Take::kTaken) {
    impl_->ledgers.abandon(*ref);
    place.full = take == Take::kFull;
    return impl_->answer(target, &place, false);
  }
  if (!impl_->ledgers.hold(*ref)) {
    place.cells.about_to_lower();
    place.cells.give_back(amount);
    return impl_->answer(target, &place, false);
  }
  *handle = pack(*ref, place.cells.key());
  return impl_->answer(target, &place, true);
}

bool Quotas::commit(const QuotaTarget& target, QuotaHandle handle, std::optional<uint64_t> amount,
                    QuotaState* after) {
  if (after != nullptr) *after = blank(grant_of(target));
  if (is_stateless(handle)) return true;
  const CounterTable::Hold hold(*impl_->table);
  Impl::Place place{.period = {}, .cells = UsageCells(impl_->table, handle.quota_key)};
  place.cells.find();
  const auto held = impl_->ledgers.settle(record_of(handle), &place.cells);
  if (!held) return false;
  const bool in_time = impl_->table->now_ns() < held->until_ns;
  const uint64_t kept = in_time ? std::min(amount.value_or(held->amount), held->amount) : 0;
  place.cells.book(kept);
  place.cells.give_back(held->amount - kept);
  if (after != nullptr) *after = impl_->answer(target, &place, in_time);
  return in_time;
}

bool Quotas::release(const QuotaTarget& target, QuotaHandle handle) {
  (void)target;
  if (is_stateless(handle)) return true;
  const CounterTable::Hold hold(*impl_->table);
  UsageCells cells(impl_->table, handle.quota_key);
  cells.find();
  const auto held = impl_->ledgers.settle(record_of(handle), &cells);
  if (!held) return false;
  cells.give_back(held->amount);
  return impl_->table->now_ns() < held->until_ns;
}

QuotaState Quotas::acquire(const QuotaTarget& target, int64_t ttl_ns, QuotaHandle* handle) {
  *handle = {};
  const CounterTable::Hold hold(*impl_->table);  // a ledger taken over may be cleared
  const QuotaGrant grant = grant_of(target);
  QuotaState state = blank(grant);
  if (target.def->kind != QuotaKind::kConcurrency) return state;
  if (grant.unlimited) {
    *handle = kStateless;
    state.allowed = true;
    return state;
  }
  const uint64_t key = impl_->lease_key(target);
  const quotas::LeaseAnswer answer = impl_->leases.acquire(key, cap_of(grant), ttl_ns);
  state.allowed = answer.taken.has_value();
  state.full = answer.full;
  state.used = answer.live;
  if (grant.soft && state.used > grant.limit) state.overage = state.used - grant.limit;
  if (answer.taken) *handle = pack(*answer.taken, key);
  return state;
}

bool Quotas::renew(const QuotaTarget& target, QuotaHandle handle, int64_t ttl_ns) {
  if (is_stateless(handle)) return true;
  if (!handle || handle.quota_key != impl_->lease_key(target)) return false;
  return impl_->leases.renew(handle.quota_key, lease_of(handle), ttl_ns);
}

bool Quotas::end_lease(const QuotaTarget& target, QuotaHandle handle) {
  if (is_stateless(handle)) return true;
  if (!handle || handle.quota_key != impl_->lease_key(target)) return false;
  return impl_->leases.end(handle.quota_key, lease_of(handle));
}

uint64_t Quotas::revoke_leases(const QuotaTarget& target) {
  return impl_->leases.end_all(impl_->lease_key(target));
}

void Quotas::acknowledge_alert(const QuotaTarget& target, int64_t period_start_wall_ns,
                               uint8_t crossed) {
  const uint64_t key =
      quotas::usage_key(impl_->table->hash_key(), impl_->root(target), period_start_wall_ns);
  UsageCells cells(impl_->table, key);
  if (cells.find()) cells.acknowledge(crossed);
}

}  // namespace tenancy
