#include "tenancy/log/log.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

#include "tenancy/base/hash.h"
#include "tenancy/log/bytes.h"
#include "tenancy/log/create.h"
#include "tenancy/log/log_impl.h"
#include "tenancy/log/recover.h"

namespace tenancy::log {
namespace {

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

}  // namespace

LogImpl::LogImpl(const Options& options)
    : options_(options),
      clock_(options.clock ? options.clock : Clock::system()),
      files_(options.files != nullptr ? *options.files : Files::system()),
      paths_(options.directory) {
  options_.ring_bytes = std::bit_ceil(options_.ring_bytes);
  if (options_.host.empty()) options_.host = machine_name();
}

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
  std::array<bool, kClasses> begun{};
  if (Status status = tell(repairs, &begun); !status) return status;
  users_ = std::move(*users);
  worker_.store(make_worker().release());
  closed_.store(false);
  Status status = alone ? announce(begun) : Status();
  // Not before: it might find heartbeats due, and a chain begins with its genesis.
  start_thread(worker_.load());
  if (status && alone && options_.shared) status = users_.shared();
  lock->unlock();
  if (!status) {
    (void)close();
    return status;
  }
  // One that cannot be finished now is tried again by the next one; nobody has to wait for it.
  (void)finish_erasure();
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
Status LogImpl::tell(const std::vector<Repair>& repairs, std::array<bool, kClasses>* begun) {
  for (const Repair& repair : repairs) {
    if (position(repair.chain) == 0) {  // cut before its first record was whole
      if (Status status = begin_chain(repair.chain, clock_->boot_id()); !status) return status;
      (*begun)[index(repair.chain)] = true;
    }
    Status error;
    if (append_repair(*appender_, repair, clock_->wall_ns(), options_.full_wait_ns, &error) !=
        Appender::Outcome::kDone) {
      return error ? Status(Code::kFull, "no room for the record of a repair") : error;
    }
  }
  return {};
}

Status LogImpl::announce(const std::array<bool, kClasses>& begun) {
  const std::string boot = clock_->boot_id();
  for (size_t i = 0; i < kClasses; ++i) {
    if (begun[i]) continue;
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
  return commit(draft, options_.full_wait_ns, &committed);
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

Status LogImpl::close() {
  if (closed_.exchange(true)) return {};
  Worker* const worker = worker_.load();
  // A child that never used it: thread, locks and files are its parent's, and stay as they are.
  if (worker->forks != g_fork_count.load()) return {};
  ended_.reset(worker);
  worker->stop.store(true);
  ring_->header().followers.fetch_add(1);
  ring_->header().wake.fetch_add(1);
  futex_wake_all(ring_->header().followers);
  futex_wake_all(ring_->header().wake);
  if (worker->thread.joinable()) worker->thread.join();
  Status status = flush_last(worker->flusher);
  ended_flushing_.store(true);
  return status;
}

Status LogImpl::flush_last(Flusher& flusher) {
  Result<LockFile> lock = LockFile::open(paths_.log + "/lock");
  if (!lock) return lock.status();
  if (Status status = lock->exclusive(); !status) return status;
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

Result<std::unique_ptr<Log>> Log::open(const Options& options) {
  auto log = std::make_unique<LogImpl>(options);
  if (Status status = log->open(); !status) return status;
  return std::unique_ptr<Log>(std::move(log));
}

}  // namespace tenancy::log
