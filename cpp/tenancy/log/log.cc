#include "tenancy/log/log.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <mutex>
#include <thread>
#include <utility>

#include "tenancy/base/hash.h"
#include "tenancy/base/process_id.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/create.h"
#include "tenancy/log/event_id.h"
#include "tenancy/log/lock_file.h"
#include "tenancy/log/recover.h"

namespace tenancy::log {
namespace {

constexpr int64_t kSliceNs = 50'000'000;     // between looks at whether the leader still lives
constexpr int64_t kBusyNapNs = 10'000'000;   // after work
constexpr int64_t kIdleNapNs = 100'000'000;  // after none for a while
constexpr int64_t kBusyForNs = 1'000'000'000;
constexpr int64_t kTendEveryNs = 50'000'000;
constexpr uint64_t kRingBytesMin = 64 << 10;
constexpr uint64_t kRingBytesMax = uint64_t{1} << 30;
constexpr unsigned kNamespaceShift = 48;  // of a process id

Status check(const Options& options) {
  const auto refuse = [](const std::string& what) {
    return Status(Code::kInvalidArgument, "log: " + what);
  };
  if (options.directory.empty()) return refuse("expected a directory");
  if (options.ring_bytes < kRingBytesMin || options.ring_bytes > kRingBytesMax) {
    return refuse("ring_bytes: expected 64 KiB to 1 GiB, got " +
                  std::to_string(options.ring_bytes));
  }
  if (options.segment_bytes < (64 << 10) || options.segment_bytes > (uint64_t{1} << 30)) {
    return refuse("segment_bytes: expected 64 KiB to 1 GiB, got " +
                  std::to_string(options.segment_bytes));
  }
  if (options.full_wait_ns < 0 || options.ack_wait_ns < 0 || options.sync_interval_ns <= 0 ||
      options.heartbeat_interval_ns <= 0 || options.epoch_interval_ns < 0 ||
      options.checkpoint_interval_ns < 0) {
    return refuse("expected intervals that are not negative, sync and heartbeat above zero");
  }
  return {};
}

std::string machine_name() {
  std::array<char, 256> name{};
  return gethostname(name.data(), name.size() - 1) == 0 ? std::string(name.data()) : "";
}

void raise_to(Word& word, uint64_t value) {
  uint64_t seen = word.load();
  while (seen < value && !word.compare_exchange_weak(seen, value)) {
  }
}

// The flusher of this process with its thread. A forked child makes its own.
struct Worker {
  Worker(const Options& options, Files& files, const Clock& clock, const Paths& paths,
         const LogId& log_id, Ring& ring, KeyRing& keys, Appender& appender)
      : flusher(options, files, clock, paths, log_id, ring, keys, appender),
        forks(g_fork_count.load()) {}
  std::mutex mutex;
  Flusher flusher;
  std::thread thread;
  std::atomic<bool> stop{false};
  const uint64_t forks;
};

class LogImpl final : public Log {
 public:
  explicit LogImpl(const Options& options)
      : options_(options),
        clock_(options.clock ? options.clock : Clock::system()),
        files_(options.files != nullptr ? *options.files : Files::system()),
        paths_(options.directory) {
    options_.ring_bytes = std::bit_ceil(options_.ring_bytes);
    if (options_.host.empty()) options_.host = machine_name();
  }
  ~LogImpl() override { (void)close(); }

  Status open();
  Result<Position> append(const Entry& entry, Ack ack) override;
  Result<Position> append_all(std::span<const Entry> entries, Ack ack) override;
  Status flush(Ack ack) override;
  Status rotate() override;
  Result<std::string> checkpoint() override;
  Status tend() override;
  uint64_t position(Class chain) const override {
    return ring_->header().chains[index(chain)].next_sequence.load();
  }
  Health health() const override;
  const LogId& id() const override { return log_id_; }
  std::string public_key() const override { return verifier_key(log_origin(log_id_), public_key_); }
  const std::string& log_directory() const override { return paths_.log; }
  Status close() override;

 private:
  Status make_ring(const EpochKey& key, const Ring::Identity& identity,
                   std::vector<Repair>* repairs);
  Status tell(const std::vector<Repair>& repairs);
  Status announce();
  Status begin_chain(Class chain, const std::string& boot);
  Result<Worker*> worker();
  std::unique_ptr<Worker> make_worker();
  void start_thread(Worker* worker);
  void run(Worker& worker);
  void follow(Worker& worker, uint32_t followers_seen);
  void nap(Worker& worker, uint32_t wake_seen, bool failing, bool idle);
  // Appends, waiting for room; the record's end in the ring.
  Status commit(const RecordDraft& draft, Committed* committed);
  Status make_room(int64_t deadline);
  Status wait_for(uint64_t end, Ack ack);
  Status run_request(Request request, std::string* note);
  void wake_leader();

  Options options_;
  std::shared_ptr<const Clock> clock_;
  Files& files_;
  Paths paths_;
  LogId log_id_{};
  Ed25519Public public_key_{};
  std::unique_ptr<Ring> ring_;
  std::unique_ptr<KeyRing> keys_;
  std::unique_ptr<Appender> appender_;
  std::atomic<Worker*> worker_{nullptr};
  LockFile users_;
  std::atomic<bool> closed_{true};
};

Status LogImpl::open() {
  if (Status status = check(options_); !status) return status;
  for (const std::string& directory : {paths_.log, paths_.segments, paths_.keys}) {
    if (Status status = files_.make_directory(directory); !status) return status;
  }
  watch_forks();
  Result<LockFile> lock = LockFile::open(paths_.log + "/lock");
  if (!lock) return lock.status();
  if (Status status = lock->exclusive(); !status) return status;
  Result<LockFile> users = LockFile::open(paths_.log + "/users");
  if (!users) return users.status();
  const bool alone = users->try_exclusive();
  if (!alone) {
    if (!options_.shared) {
      return {Code::kConflict, paths_.log + ": is open in another process; open it shared"};
    }
    if (Status status = users->shared(); !status) return status;
  }
  const Result<StoredKey> key = open_or_create(files_, paths_, clock_->wall_ns());
  if (!key) return key.status();
  log_id_ = key->key.log_id();
  const Result<Manifest> manifest = read_manifest(files_, paths_);
  if (!manifest) return manifest.status();
  public_key_ = manifest->public_key;

  const Ring::Identity identity{siphash({}, clock_->boot_id()), own_process_id() >> kNamespaceShift,
                                log_id_};
  std::vector<Repair> repairs;
  Result<std::unique_ptr<Ring>> joined =
      options_.shared ? Ring::join(paths_.log + "/ring", identity)
                      : Result<std::unique_ptr<Ring>>(Code::kNotFound, "private");
  if (joined) {
    ring_ = std::move(*joined);
    keys_ = std::make_unique<KeyRing>(key->key);
  } else {
    if (!alone) {
      return {Code::kConflict,
              paths_.log + ": processes of another PID namespace or boot use it (" +
                  joined.error().message + "); end them, or give each namespace its own directory"};
    }
    if (Status status = make_ring(key->key, identity, &repairs); !status) return status;
  }
  appender_ = std::make_unique<Appender>(*ring_, *keys_, log_id_);
  if (Status status = tell(repairs); !status) return status;
  users_ = std::move(*users);
  worker_.store(make_worker().release());
  closed_.store(false);
  start_thread(worker_.load());
  Status status = alone ? announce() : Status();
  if (status && alone && options_.shared) status = users_.shared();
  lock->unlock();
  if (!status) (void)close();
  return status;
}

Status LogImpl::make_ring(const EpochKey& key, const Ring::Identity& identity,
                          std::vector<Repair>* repairs) {
  Result<Recovered> recovered = recover(files_, paths_, key, options_.accept_loss);
  if (!recovered) return recovered.status();
  Result<std::unique_ptr<Ring>> ring =
      options_.shared ? Ring::make(paths_.log + "/ring", identity, options_.ring_bytes)
                      : Ring::make_private(identity, options_.ring_bytes);
  if (!ring) return ring.status();
  ring_ = std::move(*ring);
  std::array<ChainMark, kClasses> marks;
  for (size_t i = 0; i < kClasses; ++i) {
    const RecoveredChain& chain = recovered->chains[i];
    ring_->set_chain(static_cast<Class>(i), chain.state);
    ring_->header().chains[i].last_time.store(static_cast<uint64_t>(chain.last_time_ns));
    for (const TenantEntry& entry : chain.tenants) {
      if (Status status = ring_->set_tenant(static_cast<Class>(i), entry); !status) return status;
    }
    marks[i] = chain.mark;
  }
  store_progress(ring_->header(), 0, marks);
  const auto now = static_cast<uint64_t>(clock_->wall_ns());
  ring_->header().epoch_began.store(now);
  ring_->header().last_checkpoint_time.store(now);
  ring_->publish();
  keys_ = std::make_unique<KeyRing>(recovered->key);
  *repairs = std::move(recovered->repairs);
  return {};
}

// Before anybody else can append, so that they come first behind the cut; the ring is empty.
Status LogImpl::tell(const std::vector<Repair>& repairs) {
  for (const Repair& repair : repairs) {
    Status error;
    if (append_repair(*appender_, repair, clock_->wall_ns(), options_.full_wait_ns, &error) !=
        Appender::Outcome::kDone) {
      return error ? Status(Code::kFull, "no room for the record of a repair") : error;
    }
  }
  return {};
}

Status LogImpl::announce() {
  const std::string boot = clock_->boot_id();
  for (size_t i = 0; i < kClasses; ++i) {
    if (Status status = begin_chain(static_cast<Class>(i), boot); !status) return status;
  }
  return {};
}

Status LogImpl::begin_chain(Class chain, const std::string& boot) {
  RecordDraft draft;
  draft.chain = chain;
  draft.time_ns = clock_->wall_ns();
  const Value interval =
      Value::unsigned_integer(static_cast<uint64_t>(options_.heartbeat_interval_ns));
  std::vector<Field> fields = {{FieldId::kHost, Value::text(options_.host), {}}};
  std::array<uint8_t, 16> check{};
  if (position(chain) == 0) {
    const Result<Manifest> manifest = read_manifest(files_, paths_);
    if (!manifest) return manifest.status();
    check = manifest->key_check;
    draft.kind = Kind::kGenesis;
    fields.push_back({FieldId::kPublicKey, Value::blob(view_of(public_key_)), {}});
    fields.push_back({FieldId::kKeyCheck, Value::blob(view_of(check)), {}});
    fields.push_back({FieldId::kHeartbeatNs, interval, {}});
  } else {
    draft.kind = Kind::kOpened;
    fields.push_back({FieldId::kHeartbeatNs, interval, {}});
    fields.push_back({FieldId::kBoot, Value::text(boot), {}});
  }
  draft.fields = fields;
  Committed committed;
  return commit(draft, &committed);
}

std::unique_ptr<Worker> LogImpl::make_worker() {
  return std::make_unique<Worker>(options_, files_, *clock_, paths_, log_id_, *ring_, *keys_,
                                  *appender_);
}

Result<Worker*> LogImpl::worker() {
  if (closed_.load(std::memory_order_relaxed)) return Error{Code::kConflict, "the log is closed"};
  Worker* found = worker_.load(std::memory_order_acquire);
  if (found->forks == g_fork_count.load(std::memory_order_relaxed)) return found;
  // A forked child. What it inherited of threads and locks belongs to its parent: it is left alone.
  if (!options_.shared) {
    return Error{Code::kConflict,
                 "a log of one process does not go on in a forked child; open it shared"};
  }
  std::unique_ptr<Worker> fresh = make_worker();
  if (!worker_.compare_exchange_strong(found, fresh.get())) return found;
  Worker* const mine = fresh.release();
  Result<LockFile> users = LockFile::open(paths_.log + "/users");
  if (!users) return users.status();
  if (Status status = users->shared(); !status) return status;
  users_ = std::move(*users);
  start_thread(mine);
  return mine;
}

void LogImpl::start_thread(Worker* worker) {
  if (options_.background) worker->thread = std::thread([this, worker] { run(*worker); });
}

void LogImpl::run(Worker& worker) {
  int64_t tended = 0;
  int64_t worked_last = real_ns();
  while (!worker.stop.load()) {
    const uint32_t wake_seen = ring_->header().wake.load();
    const uint32_t followers_seen = ring_->header().followers.load();
    bool leading = false;
    bool worked = false;
    bool failing = false;
    {
      const std::lock_guard<std::mutex> guard(worker.mutex);
      const Result<bool> leads = worker.flusher.lead();
      leading = leads && *leads;
      if (leading) {
        const Result<bool> pumped = worker.flusher.pump_due();
        worked = pumped && *pumped;
        if (real_ns() - tended >= kTendEveryNs || wake_seen != ring_->header().wake.load()) {
          (void)worker.flusher.tend();  // what fails is in `failure`, and tried again
          tended = real_ns();
        }
      }
      failing = worker.flusher.failing();
    }
    if (worked) {
      worked_last = real_ns();
    } else if (leading) {
      nap(worker, wake_seen, failing, real_ns() - worked_last > kBusyForNs);
    } else {
      follow(worker, followers_seen);
    }
  }
  const std::lock_guard<std::mutex> guard(worker.mutex);
  worker.flusher.step_down();
}

void LogImpl::follow(Worker& worker, uint32_t followers_seen) {
  RingHeader& header = ring_->header();
  // Keys of past epochs do not stay in the memory of a process that does not append.
  for (size_t i = 0; i < kClasses; ++i) {
    const auto chain = static_cast<Class>(i);
    if (header.chains[i].epoch.load() == keys_->read(chain).epoch) continue;
    const RingLock lock(*ring_, kSliceNs);
    if (lock.held()) keys_->follow(chain, ring_->chain(chain).epoch);
  }
  if (!worker.stop.load()) futex_wait(header.followers, followers_seen, kIdleNapNs);
}

void LogImpl::nap(Worker& worker, uint32_t wake_seen, bool failing, bool idle) {
  RingHeader& header = ring_->header();
  header.sleeping.store(1);
  const bool asked = header.sync_wanted.load() > ring_->synced() ||
                     header.write_wanted.load() > header.written.load();
  if ((!asked || failing) && !worker.stop.load()) {
    futex_wait(header.wake, wake_seen, idle ? kIdleNapNs : kBusyNapNs);
  }
  header.sleeping.store(0);
}

void LogImpl::wake_leader() {
  RingHeader& header = ring_->header();
  header.wake.fetch_add(1);
  if (header.sleeping.load() != 0) futex_wake_all(header.wake);
}

Status LogImpl::make_room(int64_t deadline) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  Worker& worker = **found;
  RingHeader& header = ring_->header();
  if (!options_.background) {
    const std::lock_guard<std::mutex> guard(worker.mutex);
    const Result<bool> leads = worker.flusher.lead();
    if (!leads) return leads.status();
    if (*leads) return worker.flusher.pump(ring_->tail(), true);
  }
  const uint32_t done = header.done.load();
  raise_to(header.sync_wanted, ring_->tail());
  wake_leader();
  const int64_t left = deadline - real_ns();
  if (left <= 0) {
    return {Code::kFull, "the log's ring of " + std::to_string(ring_->ring_bytes()) +
                             " bytes stayed full: the flusher does not keep up or is stopped (" +
                             health().reason + "); nothing was recorded"};
  }
  futex_wait(header.done, done, std::min(left, kSliceNs));
  return {};
}

Status LogImpl::commit(const RecordDraft& draft, Committed* committed) {
  const int64_t deadline = real_ns() + options_.full_wait_ns;
  Status error;
  while (true) {
    const int64_t left = std::max<int64_t>(deadline - real_ns(), 0);
    switch (appender_->append(draft, left, committed, &error)) {
      case Appender::Outcome::kDone: return {};
      case Appender::Outcome::kRefused: return error;
      case Appender::Outcome::kBusy:
        return {Code::kFull, "the log's mutex was not free for " +
                                 std::to_string(options_.full_wait_ns / 1'000'000) +
                                 " ms: a process that holds it is stopped; nothing was recorded"};
      case Appender::Outcome::kNoRoom: break;
    }
    if (Status status = make_room(deadline); !status) return status;
  }
}

Result<Position> LogImpl::append(const Entry& entry, Ack ack) {
  if (const Result<Worker*> found = worker(); !found) return found.status();
  RecordDraft draft;
  draft.chain = entry.chain;
  draft.time_ns = entry.time_ns != 0 ? entry.time_ns : clock_->wall_ns();
  draft.tenant = entry.tenant;
  draft.fields = entry.fields;
  Committed committed;
  if (!entry.fields.empty() && entry.fields.front().id == FieldId::kEventId) {
    if (Status status = commit(draft, &committed); !status) return status;
  } else {
    thread_local std::vector<Field> fields;
    const std::array<uint8_t, 16> event_id = new_event_id(draft.time_ns);
    fields.clear();
    fields.push_back({FieldId::kEventId, Value::uuid(view_of(event_id)), {}});
    fields.insert(fields.end(), entry.fields.begin(), entry.fields.end());
    draft.fields = fields;
    if (Status status = commit(draft, &committed); !status) return status;
  }
  if (ack == Ack::kRing) {
    // The flusher is woken early enough that nobody has to wait for room.
    const RingHeader& header = ring_->header();
    if (committed.end - header.written.load() > ring_->ring_bytes() / 4 &&
        header.sleeping.load() != 0) {
      wake_leader();
    }
    return committed.position;
  }
  if (Status status = wait_for(committed.end, ack); !status) return status;
  return committed.position;
}

Result<Position> LogImpl::append_all(std::span<const Entry> entries, Ack ack) {
  if (entries.empty()) return Error{Code::kInvalidArgument, "expected at least one entry"};
  Position last;
  for (const Entry& entry : entries) {
    const bool is_last = &entry == &entries.back();
    const Result<Position> at = append(entry, is_last ? ack : Ack::kRing);
    if (!at) return at.status();
    last = *at;
  }
  return last;
}

Status LogImpl::wait_for(uint64_t end, Ack ack) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  Worker& worker = **found;
  RingHeader& header = ring_->header();
  const bool disk = ack == Ack::kDisk;
  raise_to(disk ? header.sync_wanted : header.write_wanted, end);
  const int64_t deadline = real_ns() + options_.ack_wait_ns;
  while (true) {
    const uint32_t done = header.done.load();
    if (ring_->synced() >= end || (!disk && ring_->written() >= end)) return {};
    if (!options_.background) {
      const std::lock_guard<std::mutex> guard(worker.mutex);
      const Result<bool> leads = worker.flusher.lead();
      Status status = leads ? Status() : leads.status();
      if (leads && *leads) status = worker.flusher.pump(end, disk);
      if (!status) {
        return {Code::kIo, "recorded, but not yet " +
                               std::string(disk ? "durable: " : "written: ") +
                               status.error().message};
      }
      if (*leads) continue;
    }
    wake_leader();
    const int64_t left = deadline - real_ns();
    if (left <= 0) {
      return {Code::kIo, "recorded, but not yet " + std::string(disk ? "durable" : "written") +
                             ": the flusher does not keep up or is stopped (" + health().reason +
                             ")"};
    }
    const uint64_t leader = header.leader.load();
    if (leader == 0 || !process_alive(leader)) {
      header.followers.fetch_add(1);
      futex_wake_all(header.followers);
    }
    futex_wait(header.done, done, std::min(left, kSliceNs));
  }
}

Status LogImpl::flush(Ack ack) {
  if (const Result<Worker*> found = worker(); !found) return found.status();
  return ack == Ack::kRing ? Status() : wait_for(ring_->tail(), ack);
}

// Here if this process leads or may lead; else the leader is asked.
Status LogImpl::run_request(Request request, std::string* note) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  Worker& worker = **found;
  {
    const std::lock_guard<std::mutex> guard(worker.mutex);
    const Result<bool> leads = worker.flusher.lead();
    if (!leads) return leads.status();
    if (*leads) {
      if (request == Request::kRotate) return worker.flusher.rotate();
      Result<std::string> made = worker.flusher.checkpoint();
      if (!made) return made.status();
      *note = std::move(*made);
      return {};
    }
  }
  RingHeader& header = ring_->header();
  const auto which = static_cast<size_t>(request);
  const uint64_t ticket = header.asked[which].fetch_add(1) + 1;
  const int64_t deadline = real_ns() + options_.ack_wait_ns;
  while (true) {
    const uint32_t done = header.done.load();
    if (header.served[which].load() >= ticket) break;
    wake_leader();
    const int64_t left = deadline - real_ns();
    if (left <= 0) return {Code::kIo, "the flusher has not done it in time: " + health().reason};
    futex_wait(header.done, done, std::min(left, kSliceNs));
  }
  if (request == Request::kRotate) return {};
  Result<std::string> made = last_note(files_, paths_.log);
  if (!made) return made.status();
  *note = std::move(*made);
  return {};
}

Status LogImpl::rotate() { return run_request(Request::kRotate, nullptr); }

Result<std::string> LogImpl::checkpoint() {
  std::string note;
  if (Status status = run_request(Request::kCheckpoint, &note); !status) return status;
  return note;
}

Status LogImpl::tend() {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  const std::lock_guard<std::mutex> guard((*found)->mutex);
  const Result<bool> leads = (*found)->flusher.lead();
  if (!leads) return leads.status();
  if (!*leads) return {};
  if (const Result<bool> pumped = (*found)->flusher.pump_due(); !pumped) return pumped.status();
  return (*found)->flusher.tend();
}

Health LogImpl::health() const {
  const RingHeader& header = ring_->header();
  Health out;
  out.failing = header.failure.load() != 0;
  if (out.failing) {
    const RingLock lock(*ring_, kSliceNs);
    if (lock.held()) out.reason = header.failure_text;
  }
  const uint64_t leader = header.leader.load();
  out.flusher_alive = leader != 0 && process_alive(leader);
  const uint64_t tail = ring_->tail();
  out.unwritten_bytes = tail - std::min(tail, header.written.load());
  out.unsynced_bytes = tail - std::min(tail, header.synced.load());
  out.ring_bytes = ring_->ring_bytes();
  out.epoch = static_cast<uint32_t>(header.chains[0].epoch.load());
  out.checkpoints = header.checkpoints.load();
  out.syncs = header.syncs.load();
  out.groups = header.groups.load();
  out.leader_changes = header.leader_epoch.load();
  out.key_on_host = files_.open(paths_.keys + "/log.verify", OpenMode::kRead).ok();
  for (size_t i = 0; i < kClasses; ++i) {
    out.next_sequence[i] = header.chains[i].next_sequence.load();
  }
  return out;
}

Status LogImpl::close() {
  if (closed_.exchange(true)) return {};
  std::unique_ptr<Worker> worker(worker_.exchange(nullptr));
  if (worker->forks != g_fork_count.load()) {
    // A child that never used it: thread, locks and files are its parent's.
    (void)worker.release();
    return {};
  }
  worker->stop.store(true);
  ring_->header().followers.fetch_add(1);
  ring_->header().wake.fetch_add(1);
  futex_wake_all(ring_->header().followers);
  futex_wake_all(ring_->header().wake);
  if (worker->thread.joinable()) worker->thread.join();

  Result<LockFile> lock = LockFile::open(paths_.log + "/lock");
  if (!lock) return lock.status();
  if (Status status = lock->exclusive(); !status) return status;
  Flusher& flusher = worker->flusher;
  Status status;
  const bool last = users_.try_exclusive();
  const Result<bool> leads = flusher.lead();
  if (!leads) {
    status = leads.status();
  } else if (*leads && last) {
    for (size_t i = 0; status && i < kClasses; ++i) {
      RecordDraft draft;
      draft.chain = static_cast<Class>(i);
      draft.kind = Kind::kClosed;
      draft.time_ns = clock_->wall_ns();
      Committed committed;
      if (appender_->append(draft, options_.full_wait_ns, &committed, &status) ==
          Appender::Outcome::kNoRoom) {
        status = flusher.pump(ring_->tail(), true);
        if (status) appender_->append(draft, options_.full_wait_ns, &committed, &status);
      }
    }
    if (status) status = flusher.pump(ring_->tail(), true);
    if (status) status = flusher.save_head();
  } else if (*leads) {
    status = flusher.pump(ring_->tail(), true);
  }
  flusher.step_down();
  users_.unlock();
  users_.close();
  lock->unlock();
  return status;
}

}  // namespace

Result<std::unique_ptr<Log>> Log::open(const Options& options) {
  auto log = std::make_unique<LogImpl>(options);
  if (Status status = log->open(); !status) return status;
  return std::unique_ptr<Log>(std::move(log));
}

}  // namespace tenancy::log
