#include "tenancy/quotas/ledger.h"

#include <signal.h>
#include <time.h>

#include <cerrno>

#include "tenancy/base/hash.h"
#include "tenancy/base/process_id.h"

namespace tenancy::quotas {
namespace {

// Words of a ledger's head.
constexpr size_t kHolder = 0;       // who, and whether it closed the ledger; number 0: nobody
constexpr size_t kActiveUs = 1;     // when the holder last took a record
constexpr size_t kCleared = 2;      // the dead holder of whose records none is left
constexpr size_t kLeasesUntil = 3;  // no lease written down under this ledger lives longer, µs
constexpr size_t kHeadWords = 4;

// Words of a record.
constexpr size_t kControl = 0;  // state, nonce
constexpr size_t kAmount = 1;
constexpr size_t kKeyLow = 2;  // 61 bits of the usage key
constexpr size_t kUntil = 3;   // its other 3 bits; expiry in µs of table time
constexpr size_t kRecordWords = 4;
static_assert(kHeadWords + kRecords * kRecordWords == 512);

constexpr unsigned kKeyLowBits = 61;
constexpr uint64_t kKeyLowMask = (uint64_t{1} << kKeyLowBits) - 1;

enum State : uint64_t { kFree = 0, kIntent = 1, kHeld = 2 };
constexpr uint64_t control_word(State state, uint64_t nonce) {
  return number_word((nonce << 2 & kAmountMax) | state);
}
constexpr State state_of(uint64_t control) { return static_cast<State>(number_of(control) & 3); }
constexpr uint64_t nonce_of(uint64_t control) { return number_of(control) >> 2; }

constexpr size_t record_base(size_t record) { return kHeadWords + record * kRecordWords; }

// An identity: process number, start time mixed with the boot, and part of the PID namespace.
constexpr unsigned kPidBits = 22;
constexpr unsigned kStartBits = 26;
constexpr unsigned kSpaceBits = 12;
constexpr unsigned kSpaceShift = kPidBits + kStartBits;
constexpr uint64_t kStartMask = (uint64_t{1} << kStartBits) - 1;
constexpr uint64_t kSpaceMask = (uint64_t{1} << kSpaceBits) - 1;
constexpr uint64_t kClosed = uint64_t{1} << (kSpaceShift + kSpaceBits);

// A ledger of another PID namespace is taken over when it was idle for so long.
constexpr uint64_t kForeignIdleUs = uint64_t{86'400} * 1'000'000;
constexpr uint64_t kTouchUs = 60'000'000;

constexpr uint64_t round_up_us(int64_t ns) {
  return ns <= 0 ? 0 : (static_cast<uint64_t>(ns) + 999) / 1000;
}

Held read_held(Cells* cells, size_t base) {
  const uint64_t until = number_of(cells->load(base + kUntil));
  Held held;
  held.amount = number_of(cells->load(base + kAmount));
  held.usage_key = number_of(cells->load(base + kKeyLow)) | until << kKeyLowBits;
  held.until_ns = static_cast<int64_t>((until >> (64 - kKeyLowBits)) * 1000);
  return held;
}

void write_held(Cells* cells, size_t base, const Held& held) {
  const auto put = [cells, base](size_t word, uint64_t number) {
    cells->update(base + word, [number](uint64_t) { return number_word(number); });
  };
  put(kAmount, held.amount);
  put(kKeyLow, held.usage_key & kKeyLowMask);
  put(kUntil, (round_up_us(held.until_ns) << (64 - kKeyLowBits) & kAmountMax) |
                  held.usage_key >> kKeyLowBits);
}

// Threads begin at different records, so that they seldom want the same.
size_t first_record() {
  static std::atomic<size_t> next{0};
  thread_local const size_t kFirst = next.fetch_add(1, std::memory_order_relaxed) * 8 % kRecords;
  return kFirst;
}

}  // namespace

struct Ledgers::Own {
  static constexpr size_t kMax = 256;

  uint64_t forks = 0;
  uint64_t identity = 0;
  uint64_t space = 0;  // the PID namespace as process_alive wants it
  std::mutex mutex;    // held while a ledger is taken
  std::array<std::atomic<uint32_t>, kMax> ledgers{};
  std::atomic<size_t> count{0};
  std::unique_ptr<Own> parents;  // of the process this one was forked from
};

Ledgers::Ledgers(CounterTable* table) : table_(table) {
  boot_ = siphash(HashKey{}, table->clock().boot_id()) & kStartMask;
  watch_forks();
}

Ledgers::~Ledgers() {
  std::unique_ptr<Own> mine(own_.load());
  if (mine != nullptr && mine->forks == g_fork_count.load(std::memory_order_relaxed))
    release_all(*mine);
}

Cells Ledgers::ledger_cells(uint32_t ledger) const {
  const HashKey& hash_key = table_->hash_key();
  static constexpr std::string_view kName = "tenancy.quotas.ledger";
  return {table_, SlotClass::kLog512,
          usable_key(siphash_join(hash_key, siphash(hash_key, kName), ledger))};
}

uint64_t Ledgers::now_us() const { return static_cast<uint64_t>(table_->now_ns()) / 1000; }

Ledgers::Own& Ledgers::own() {
  const uint64_t forks = g_fork_count.load(std::memory_order_relaxed);
  Own* mine = own_.load();
  if (mine != nullptr && mine->forks == forks) return *mine;
  auto made = std::make_unique<Own>();
  const uint64_t id = own_process_id();
  made->forks = forks;
  made->space = id >> kSpaceShift;
  made->identity = (id ^ boot_ << kPidBits) & ((uint64_t{1} << kSpaceShift) - 1);
  made->identity |= (made->space & kSpaceMask) << kSpaceShift;
  for (;;) {
    made->parents.reset(mine);
    if (own_.compare_exchange_strong(mine, made.get())) return *made.release();
    (void)made->parents.release();
    if (mine->forks == forks) return *mine;  // another thread was faster
  }
}

bool Ledgers::identity_alive(uint64_t identity) {
  identity &= ~kClosed;
  const Own& mine = own();
  if (identity == mine.identity) return true;
  if (identity >> kSpaceShift != (mine.space & kSpaceMask)) return true;
  const uint64_t pid = identity & ((uint64_t{1} << kPidBits) - 1);
  if (kill(static_cast<pid_t>(pid), 0) != 0 && errno == ESRCH) return false;
  // The rest costs microseconds, so its answer is kept for a moment. Real time on purpose: this is
  // about how often the kernel is asked, and a test's clock may stand still.
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC_COARSE, &time);
  constexpr int64_t kStretchNs = 8'000'000;
  const auto stretch =
      static_cast<uint64_t>(time.tv_sec * (1'000'000'000 / kStretchNs) + time.tv_nsec / kStretchNs);
  const uint64_t seen = identity ^ stretch * 0x9e3779b97f4a7c15;
  std::atomic<uint64_t>& cached = seen_alive_[pid % seen_alive_.size()];
  if (cached.load(std::memory_order_relaxed) == seen) return true;
  const uint64_t id = ((identity ^ boot_ << kPidBits) & ((uint64_t{1} << kSpaceShift) - 1)) |
                      mine.space << kSpaceShift;
  if (!process_alive(id)) return false;
  cached.store(seen, std::memory_order_relaxed);
  return true;
}

bool Ledgers::free_held(Cells* cells, size_t base, uint64_t control, const Held& held) {
  UsageCells usage(table_, held.usage_key);
  if (usage.find()) usage.about_to_lower();
  if (!cells->swap(base + kControl, control, control_word(kFree, nonce_of(control)))) return false;
  usage.give_back(held.amount);
  return true;
}

bool Ledgers::clear(Cells* cells, uint64_t holder, bool dead) {
  const uint64_t now = now_us();
  bool all_free = true;
  for (size_t record = 0; record < kRecords; ++record) {
    const size_t base = record_base(record);
    const uint64_t control = cells->load(base + kControl);
    const State state = state_of(control);
    if (state == kFree) continue;
    const Held held = read_held(cells, base);
    const bool over =
        dead || (state == kHeld && static_cast<uint64_t>(held.until_ns) / 1000 <= now);
    // What an intent had taken is not known.
    const bool freed =
        over && (state == kHeld ? free_held(cells, base, control, held)
                                : cells->swap(base + kControl, control,
                                              control_word(kFree, nonce_of(control))));
    all_free = all_free && freed;
  }
  if (dead && all_free) cells->update(kCleared, [holder](uint64_t) { return number_word(holder); });
  return all_free;
}

Take Ledgers::try_take(const Own& mine, uint32_t ledger) {
  Cells cells = ledger_cells(ledger);
  if (!cells.make(kForeverNs)) return Take::kFull;
  const uint64_t seen = cells.load(kHolder);
  const uint64_t holder = number_of(seen);
  if (holder != 0) {
    const bool dead = !identity_alive(holder);
    const bool foreign = (holder >> kSpaceShift & kSpaceMask) != (mine.space & kSpaceMask);
    const bool idle = foreign && number_of(cells.load(kActiveUs)) + kForeignIdleUs < now_us();
    if (!dead && !idle && (holder & kClosed) == 0) return Take::kRefused;
    if (!clear(&cells, holder, dead)) return Take::kRefused;
    if (now_us() < number_of(cells.load(kLeasesUntil))) return Take::kRefused;
  }
  if (!cells.swap(kHolder, seen, number_word(mine.identity))) return Take::kRefused;
  cells.update(kActiveUs, [now = now_us()](uint64_t) { return number_word(now); });
  return Take::kTaken;
}

bool Ledgers::take_ledger(Own* mine, size_t known) {
  std::lock_guard<std::mutex> lock(mine->mutex);
  const size_t count = mine->count.load();
  if (count > known) return true;
  if (count == Own::kMax) return false;
  std::atomic<uint64_t>& made = table_->shared_word(kLedgerCountWord);
  for (uint32_t ledger = 0; ledger < kLedgersMax; ++ledger) {
    uint64_t ledgers = ledger;
    if (made.load() <= ledger) made.compare_exchange_strong(ledgers, ledgers + 1);
    const Take take = try_take(*mine, ledger);
    if (take == Take::kFull) return false;
    if (take == Take::kRefused) continue;
    mine->ledgers[count].store(ledger);
    mine->count.store(count + 1);
    return true;
  }
  return false;
}

std::optional<RecordRef> Ledgers::intend_in(const Own& mine, uint32_t ledger, const Held& held) {
  Cells cells = ledger_cells(ledger);
  if (!cells.find() || number_of(cells.load(kHolder)) != mine.identity) return std::nullopt;
  const uint64_t now = now_us();
  if (number_of(cells.load(kActiveUs)) + kTouchUs < now) {
    cells.update(kActiveUs, [now](uint64_t) { return number_word(now); });
  }
  const size_t first = first_record();
  for (size_t i = 0; i < kRecords; ++i) {
    const size_t record = (first + i) % kRecords;
    const size_t base = record_base(record);
    uint64_t control = cells.load(base + kControl);
    if (state_of(control) == kHeld) {
      const Held old = read_held(&cells, base);
      if (static_cast<uint64_t>(old.until_ns) / 1000 > now) continue;
      if (!free_held(&cells, base, control, old)) continue;
      control = control_word(kFree, nonce_of(control));
    }
    if (state_of(control) != kFree) continue;
    const uint64_t intent = control_word(kIntent, nonce_of(control) + 1);
    if (!cells.swap(base, control, intent)) continue;
    write_held(&cells, base, held);
    return RecordRef{ledger, static_cast<uint32_t>(record), nonce_of(intent)};
  }
  return std::nullopt;
}

std::optional<RecordRef> Ledgers::intend(const Held& held) {
  Own& mine = own();
  for (size_t at = 0;; ++at) {
    if (at >= mine.count.load() && !take_ledger(&mine, at)) return std::nullopt;
    if (auto ref = intend_in(mine, mine.ledgers[at].load(), held)) return ref;
  }
}

bool Ledgers::hold(const RecordRef& ref) {
  Cells cells = ledger_cells(ref.ledger);
  cells.find();
  return cells.swap(record_base(ref.record), control_word(kIntent, ref.nonce),
                    control_word(kHeld, ref.nonce));
}

void Ledgers::abandon(const RecordRef& ref) {
  Cells cells = ledger_cells(ref.ledger);
  cells.find();
  cells.swap(record_base(ref.record), control_word(kIntent, ref.nonce),
             control_word(kFree, ref.nonce));
}

std::optional<Held> Ledgers::settle(const RecordRef& ref, UsageCells* usage) {
  if (ref.ledger >= kLedgersMax || ref.record >= kRecords) return std::nullopt;
  Cells cells = ledger_cells(ref.ledger);
  cells.find();
  const size_t base = record_base(ref.record);
  const uint64_t control = cells.load(base + kControl);
  if (state_of(control) != kHeld) return std::nullopt;
  if ((nonce_of(control) ^ ref.nonce) & kHandleNonceMask) return std::nullopt;
  const Held held = read_held(&cells, base);
  if (held.usage_key != usage->key()) return std::nullopt;
  usage->about_to_lower();
  if (!cells.swap(base, control, control_word(kFree, nonce_of(control)))) return std::nullopt;
  return held;
}

void Ledgers::sweep(UsageCells* usage) {
  const uint64_t ledgers =
      std::min<uint64_t>(table_->shared_word(kLedgerCountWord).load(), kLedgersMax);
  const uint64_t now = now_us();
  for (uint32_t ledger = 0; ledger < ledgers; ++ledger) {
    Cells cells = ledger_cells(ledger);
    if (!cells.find()) continue;
    const uint64_t holder = number_of(cells.load(kHolder));
    if (holder == 0 || number_of(cells.load(kCleared)) == holder) continue;
    bool asked = false;
    for (size_t record = 0; record < kRecords; ++record) {
      const size_t base = record_base(record);
      const uint64_t control = cells.load(base + kControl);
      if (state_of(control) != kHeld) continue;
      const Held held = read_held(&cells, base);
      if (held.usage_key != usage->key()) continue;
      if (static_cast<uint64_t>(held.until_ns) / 1000 <= now) {
        free_held(&cells, base, control, held);
      } else if (!asked) {
        asked = true;
        if (identity_alive(holder)) continue;
        clear(&cells, holder, true);  // gives this one back too, and everything else it held
        break;
      }
    }
  }
}

uint64_t Ledgers::held(uint64_t usage_key) {
  const uint64_t ledgers =
      std::min<uint64_t>(table_->shared_word(kLedgerCountWord).load(), kLedgersMax);
  uint64_t sum = 0;
  for (uint32_t ledger = 0; ledger < ledgers; ++ledger) {
    Cells cells = ledger_cells(ledger);
    if (!cells.find()) continue;
    for (size_t record = 0; record < kRecords; ++record) {
      const size_t base = record_base(record);
      if (state_of(cells.load(base + kControl)) != kHeld) continue;
      const Held one = read_held(&cells, base);
      if (one.usage_key == usage_key) sum += one.amount;
    }
  }
  return sum;
}

uint32_t Ledgers::lease_holder(int64_t until_ns) {
  Own& mine = own();
  for (size_t at = 0;; ++at) {
    if (at >= mine.count.load() && !take_ledger(&mine, at)) return kNoLedger;
    const uint32_t ledger = mine.ledgers[at].load();
    keep_holder(ledger, until_ns);
    // After the time: nobody takes the ledger over while that lasts.
    Cells cells = ledger_cells(ledger);
    if (cells.find() && number_of(cells.load(kHolder)) == mine.identity) return ledger;
  }
}

void Ledgers::keep_holder(uint32_t ledger, int64_t until_ns) {
  if (ledger >= kLedgersMax) return;
  Cells cells = ledger_cells(ledger);
  cells.find();
  const uint64_t until_us = round_up_us(until_ns);
  cells.update(kLeasesUntil, [until_us](uint64_t word) {
    return number_word(std::max(number_of(word), until_us));
  });
}

bool Ledgers::holder_alive(uint32_t ledger) {
  if (ledger >= kLedgersMax) return true;
  Cells cells = ledger_cells(ledger);
  if (!cells.find()) return true;
  const uint64_t holder = number_of(cells.load(kHolder));
  return holder == 0 || identity_alive(holder);
}

// Ledgers with something still in them stay written down under this process, closed: whoever wants
// one takes it when what is in it is over.
void Ledgers::release_all(const Own& mine) {
  const CounterTable::Hold hold(*table_);
  for (size_t at = 0; at < mine.count.load(); ++at) {
    Cells cells = ledger_cells(mine.ledgers[at].load());
    if (!cells.find()) continue;
    const bool empty =
        clear(&cells, mine.identity, false) && number_of(cells.load(kLeasesUntil)) <= now_us();
    cells.swap(kHolder, number_word(mine.identity),
               number_word(empty ? 0 : mine.identity | kClosed));
  }
}

}  // namespace tenancy::quotas
