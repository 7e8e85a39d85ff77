// Appending, waiting for acknowledgements, and what is asked of the leader.
#include <algorithm>
#include <array>
#include <string>
#include <utility>

#include "tenancy/log/bytes.h"
#include "tenancy/log/event_id.h"
#include "tenancy/log/failure_watch.h"
#include "tenancy/log/groups.h"
#include "tenancy/log/log_impl.h"
#include "tenancy/log/sealing.h"

namespace tenancy::log {
namespace {

void raise_to(Word& word, uint64_t value) {
  uint64_t seen = word.load();
  while (seen < value && !word.compare_exchange_weak(seen, value)) {
  }
}

Status not_yet(Code code, Ack ack, const std::string& why) {
  return {code, "recorded, but not yet " +
                    std::string(ack == Ack::kDisk ? "durable: " : "written: ") + why};
}

}  // namespace

void LogImpl::wake_leader() {
  RingHeader& header = ring_->header();
  const uint32_t count = header.wake.fetch_add(1) + 1;
  if (header.sleeping.load() != 0) futex_wake_all(header.wake);
  if (header.awaited.load() != count) return;
  header.awaited.store(0);  // changed, so that the leader cannot fall asleep after this
  futex_wake_all(header.awaited);
}

Status LogImpl::make_room(const RoomWait& wait) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  Worker& worker = **found;
  RingHeader& header = ring_->header();
  if (!options_.background) {
    const auto turn = worker.wait_turn();
    const Result<bool> leads = worker.flusher.lead();
    if (!leads) return leads.status();
    if (*leads) return worker.flusher.pump(ring_->tail(), true);
  }
  const uint32_t done = header.done.load();
  raise_to(header.sync_wanted, ring_->tail());
  wake_leader();
  const int64_t left = wait.deadline - real_ns();
  if (left <= 0 || wait.failure.hopeless()) {
    return {Code::kFull, "the log's ring of " + std::to_string(ring_->ring_bytes()) +
                             " bytes stayed full: the flusher does not keep up or is stopped (" +
                             failure(0) + "); nothing was recorded"};
  }
  futex_wait(header.done, done, std::min(left, kSliceNs));
  return {};
}

Status LogImpl::commit(const RecordDraft& draft, int64_t wait_ns, Committed* committed) {
  int64_t left = std::max<int64_t>(wait_ns, 0);
  std::optional<RoomWait> wait;  // made when something has to be waited for
  Status error;
  while (true) {
    switch (appender_->append(draft, left, committed, &error)) {
      case Appender::Outcome::kDone: return {};
      case Appender::Outcome::kRefused: return error;
      case Appender::Outcome::kBusy:
        return {Code::kFull, "the log's mutex was not free for " + std::to_string(wait_ns / 1'000) +
                                 " us: a process that holds it is stopped; nothing was recorded"};
      case Appender::Outcome::kNoRoom: break;
    }
    if (!wait) wait.emplace(RoomWait{real_ns() + left, FailureWatch(ring_->header())});
    if (Status status = make_room(*wait); !status) return status;
    left = std::max<int64_t>(wait->deadline - real_ns(), 0);
  }
}

Result<Ticket> LogImpl::submit(const Entry& entry) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  RecordDraft draft;
  draft.chain = entry.chain;
  draft.kind = entry.kind;
  draft.time_ns = entry.time_ns != 0 ? entry.time_ns : clock_->wall_ns();
  draft.tenant = entry.tenant;
  draft.fields = entry.fields;
  const int64_t wait_ns = entry.wait_ns.value_or(options_.full_wait_ns);
  if (entry.subject && any_personal(entry.fields)) {
    thread_local Sealer sealer;
    const Result<SubjectSlot> key = (*found)->subjects.live(entry.tenant, *entry.subject);
    if (!key) return key.status();
    draft.fields = sealer.seal(*key, log_id_, entry.fields);
  }
  Committed committed;
  if (entry.kind != Kind::kEvent ||
      (!entry.fields.empty() && entry.fields.front().id == FieldId::kEventId)) {
    if (Status status = commit(draft, wait_ns, &committed); !status) return status;
  } else {
    const std::array<uint8_t, 16> event_id = new_event_id(draft.time_ns);
    draft.event_id = &event_id;
    if (Status status = commit(draft, wait_ns, &committed); !status) return status;
  }
  // The flusher is woken early enough that nobody has to wait for room.
  const RingHeader& header = ring_->header();
  if (committed.end - header.written.load() > ring_->ring_bytes() / 4 &&
      header.sleeping.load() != 0) {
    wake_leader();
  }
  return Ticket{committed.position, committed.end};
}

Result<Position> LogImpl::append(const Entry& entry, Ack ack) {
  const Result<Ticket> ticket = submit(entry);
  if (!ticket) return ticket.status();
  if (ack != Ack::kRing) {
    if (Status status = wait_for(ticket->end, ack, options_.ack_wait_ns); !status) return status;
  }
  return ticket->position;
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

bool LogImpl::reached(uint64_t end, Ack ack) const {
  return ack == Ack::kRing || ring_->synced() >= end ||
         (ack == Ack::kOs && ring_->written() >= end);
}

Status LogImpl::wait(const Ticket& ticket, Ack ack, std::optional<int64_t> wait_ns) {
  if (ticket.end == 0 || ticket.end > ring_->tail()) {
    return {Code::kInvalidArgument, "the ticket is of no record of this log: its end is byte " +
                                        std::to_string(ticket.end) + " of the ring, which has " +
                                        std::to_string(ring_->tail())};
  }
  if (reached(ticket.end, ack)) return {};
  return wait_for(ticket.end, ack, wait_ns.value_or(options_.ack_wait_ns));
}

Status LogImpl::wait_for(uint64_t end, Ack ack, int64_t wait_ns) {
  const Result<Worker*> found = worker();
  if (!found) return not_yet(found.error().code, ack, found.error().message);
  Worker& worker = **found;
  RingHeader& header = ring_->header();
  const bool disk = ack == Ack::kDisk;
  if (!disk && options_.background) write_here(worker, end);
  raise_to(disk ? header.sync_wanted : header.write_wanted, end);
  const int64_t deadline = real_ns() + wait_ns;
  const FailureWatch failure_watch(header);
  const FutexWord& word = disk ? header.durable : header.done;
  bool looks = false;  // whether the leader lives: dear, so only when nothing has come of a wait
  while (true) {
    const bool ended = ended_flushing_.load();  // before the look at what it may have flushed
    const uint32_t seen = word.load();
    if (reached(end, ack)) return {};
    const uint64_t leader = header.leader.load();
    if (ended && leader == 0) return not_yet(Code::kConflict, ack, "the log is closed");
    if (!options_.background) {
      const Result<bool> pumped = pump_here(worker, end, ack);
      if (!pumped) return not_yet(Code::kIo, ack, pumped.error().message);
      if (*pumped) continue;
    }
    const int64_t left = deadline - real_ns();
    if (disk && options_.background && sync_here(worker, left)) continue;
    wake_leader();
    if (failure_watch.hopeless()) return not_yet(Code::kIo, ack, failure(kSliceNs));
    if (left <= 0) {
      return not_yet(Code::kIo, ack,
                     "the flusher does not keep up or is stopped (" + failure(kSliceNs) + ")");
    }
    if (leader == 0 || (looks && !process_alive(leader))) {
      header.followers.fetch_add(1);
      futex_wake_all(header.followers);
    }
    const uint32_t bits = disk ? Gathered::of(header.gathered.load()).bit_of(end) : kAllWaiters;
    futex_wait(word, seen, std::min(left, kSliceNs), bits);
    looks = word.load() == seen;
  }
}

Result<bool> LogImpl::pump_here(Worker& worker, uint64_t end, Ack ack) {
  const auto turn = worker.wait_turn();
  const Result<bool> leads = worker.flusher.lead();
  if (!leads || !*leads) return leads;
  if (Status status = worker.flusher.pump(end, ack == Ack::kDisk); !status) return status;
  return true;
}

// One write takes less time than waking the thread and being woken by it.
void LogImpl::write_here(Worker& worker, uint64_t end) {
  const auto turn = worker.try_turn();
  if (!turn || !worker.flusher.leading() || worker.flusher.failing()) return;
  (void)worker.flusher.pump(end, false);  // what fails is in `failure`, and the caller waits
}

// To hand a group to the thread and to be woken by it takes longer than all the rest of a commit
// but the disk. Who has no time for two syncs like the last leaves it to the thread: nobody can be
// called back from a disk that hangs.
bool LogImpl::sync_here(Worker& worker, int64_t left_ns) {
  const auto turn = worker.try_turn();
  if (!turn || !worker.flusher.leading() || worker.flusher.failing()) return false;
  if (worker.flusher.sync_ns() > left_ns / 2) return false;
  RingHeader& header = ring_->header();
  header.wake.fetch_add(1);  // one of those whom the leader waits for has come
  header.sleeping.store(0);  // nobody needs to wake the thread
  const Result<bool> pumped = worker.flusher.pump_due(Flusher::By::kCommitter);
  header.sleeping.store(1);
  // By those who came too late for the group, and by other processes.
  if (flush_is_wanted() || is_asked()) futex_wake_all(header.wake);
  return pumped && *pumped;
}

Status LogImpl::flush(Ack ack, std::optional<int64_t> wait_ns) {
  if (const Result<Worker*> found = worker(); !found) return found.status();
  if (ack == Ack::kRing) return {};
  return wait_for(ring_->tail(), ack, wait_ns.value_or(options_.ack_wait_ns));
}

// Here if this process leads or may lead; else the leader is asked.
Status LogImpl::run_request(Request request, std::string* note) {
  const Result<Worker*> found = worker();
  if (!found) return found.status();
  Worker& worker = **found;
  {
    const auto turn = worker.wait_turn();
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
  if (Status status = ask(request); !status) return status;
  if (request == Request::kRotate) return {};
  Result<std::string> made = last_note(files_, paths_.log);
  if (!made) return made.status();
  *note = std::move(*made);
  return {};
}

Status LogImpl::ask(Request request) {
  RingHeader& header = ring_->header();
  const auto which = static_cast<size_t>(request);
  const uint64_t ticket = header.asked[which].fetch_add(1) + 1;
  const int64_t deadline = real_ns() + options_.ack_wait_ns;
  const FailureWatch failure_watch(header);
  while (true) {
    const uint32_t done = header.done.load();
    if (header.served[which].load() >= ticket) return {};
    wake_leader();
    if (failure_watch.hopeless()) return {Code::kIo, "the flusher fails: " + failure(kSliceNs)};
    const int64_t left = deadline - real_ns();
    if (left <= 0) return {Code::kIo, "the flusher has not done it in time: " + failure(kSliceNs)};
    futex_wait(header.done, done, std::min(left, kSliceNs));
  }
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
  const auto turn = (*found)->wait_turn();
  const Result<bool> leads = (*found)->flusher.lead();
  if (!leads) return leads.status();
  if (!*leads) return {};
  if (const Result<bool> pumped = (*found)->flusher.pump_due(); !pumped) return pumped.status();
  return (*found)->flusher.tend();
}

std::string LogImpl::failure(int64_t wait_ns) const {
  const RingHeader& header = ring_->header();
  if (header.failure.load() == 0) return {};
  const RingLock lock(*ring_, wait_ns);
  return lock.held() ? std::string(header.failure_text) : std::string();
}

Health LogImpl::health() const {
  const RingHeader& header = ring_->header();
  Health out;
  out.failing = header.failure.load() != 0;
  out.reason = failure(kSliceNs);
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

}  // namespace tenancy::log
