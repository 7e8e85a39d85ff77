// LogImpl: the log of one process: ring, keys, and the flusher with its thread. Internal.
//
// log.cc opens and closes it, log_append.cc appends and waits, log_prune.cc prunes, log_erase.cc
// destroys keys of subjects, log_background.cc is the thread.
//
// Thread safety: as Log.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tenancy/base/process_id.h"
#include "tenancy/log/appender.h"
#include "tenancy/log/failure_watch.h"
#include "tenancy/log/flusher.h"
#include "tenancy/log/lock_file.h"
#include "tenancy/log/log.h"
#include "tenancy/log/ring.h"
#include "tenancy/log/subject_keys.h"

namespace tenancy::log {

constexpr int64_t kSliceNs = 50'000'000;  // between looks at whether the leader still lives

// The flusher of this process with its thread. A forked child makes its own.
struct Worker {
  Worker(const Options& options, Files& files, const Clock& clock, const Paths& paths,
         const LogId& log_id, Ring& ring, KeyRing& keys, Appender& appender)
      : subjects(files, paths.keys, log_id),
        flusher(options, files, clock, paths, log_id, ring, keys, subjects, appender),
        forks(g_fork_count.load()) {}

  // The flusher is for one thread at a time. Whoever could do without it leaves it to those who
  // wait: a thread that commits again and again would keep them from it for ever.
  std::unique_lock<std::mutex> wait_turn() {
    waiting.fetch_add(1);
    std::unique_lock<std::mutex> turn(mutex);
    waiting.fetch_sub(1);
    return turn;
  }
  // Empty while somebody has it or waits for it.
  std::unique_lock<std::mutex> try_turn() {
    return waiting.load() == 0 ? std::unique_lock<std::mutex>(mutex, std::try_to_lock)
                               : std::unique_lock<std::mutex>();
  }

  std::mutex mutex;
  std::atomic<uint32_t> waiting{0};
  SubjectKeys subjects;
  Flusher flusher;
  std::thread thread;
  std::atomic<bool> stop{false};
  const uint64_t forks;
};

class LogImpl final : public Log {
 public:
  explicit LogImpl(const Options& options);
  // Errors go unheard; that a lock throws would be the end of the process, as it should be.
  // NOLINTNEXTLINE(bugprone-exception-escape)
  ~LogImpl() override { (void)close(); }

  Status open();
  Result<Position> append(const Entry& entry, Ack ack) override;
  Result<Position> append_all(std::span<const Entry> entries, Ack ack) override;
  Result<Ticket> submit(const Entry& entry) override;
  bool reached(const Ticket& ticket, Ack ack) const override { return reached(ticket.end, ack); }
  Status wait(const Ticket& ticket, Ack ack, std::optional<int64_t> wait_ns) override;
  Status flush(Ack ack, std::optional<int64_t> wait_ns) override;
  Status rotate() override;
  Result<std::string> checkpoint() override;
  Result<PruneResult> prune(Class chain, uint64_t before) override;
  Status tend() override;
  Result<Erasure> erase(std::optional<std::string_view> tenant, std::string_view subject,
                        std::string_view by, std::string_view reason) override;
  Result<SubjectKeyId> subject_key(std::optional<std::string_view> tenant,
                                   std::string_view subject) override;
  Status finish_erasure() override;
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
  // Chains that had to be begun for it are `begun`.
  Status tell(const std::vector<Repair>& repairs, std::array<bool, kClasses>* begun);
  Status announce(const std::array<bool, kClasses>& begun);
  Status begin_chain(Class chain, const std::string& boot);
  Result<Worker*> worker();
  std::unique_ptr<Worker> make_worker();
  void start_thread(Worker* worker);
  void run(Worker& worker);
  void follow(Worker& worker, uint32_t followers_seen);
  void nap(Worker& worker, uint32_t wake_seen, bool failing, bool idle);
  // Appends, waiting for room; the record's end in the ring.
  Status commit(const RecordDraft& draft, int64_t wait_ns, Committed* committed);
  Status make_room(const RoomWait& wait);
  bool reached(uint64_t end, Ack ack) const;
  Status wait_for(uint64_t end, Ack ack, int64_t wait_ns);
  // What `close` does when the thread has ended: writes and syncs, unless another process leads.
  Status flush_last(Flusher& flusher);
  // Without the thread: writes and syncs here if this process leads or may lead, which is then
  // true.
  Result<bool> pump_here(Worker& worker, uint64_t end, Ack ack);
  // Writes up to `end` if this process leads and its thread does not just then.
  void write_here(Worker& worker, uint64_t end);
  // Writes and syncs a group if this process leads and its thread does not just then. False when
  // the thread has to do it.
  bool sync_here(Worker& worker, int64_t left_ns);
  bool flush_is_wanted() const;
  // Whether another process has asked for something that is not done yet.
  bool is_asked() const;
  // Why nothing can be written; empty when it can, or when that cannot be read in time.
  std::string failure(int64_t wait_ns) const;
  // With the lock of erasures held.
  Result<Erasure> finish(SubjectKeys& subjects, const Erasing& erasing, bool maybe_recorded);
  Result<uint64_t> recorded(const Erasing& erasing);
  Result<uint64_t> record_erasure(const Erasing& erasing);
  Status finish_broken_off(SubjectKeys& subjects);
  Status run_request(Request request, std::string* note);
  // Asks the leader, which is another process, and waits.
  Status ask(Request request);
  Result<uint64_t> prune_chain(Class chain, uint64_t before);
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
  std::atomic<bool> ended_flushing_{false};  // `close` has done what it does for those who wait
  // The worker after close: other threads may still be waiting with it.
  std::unique_ptr<Worker> ended_;
};

}  // namespace tenancy::log
