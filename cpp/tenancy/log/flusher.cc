#include "tenancy/log/flusher.h"

#include <sched.h>

#include <algorithm>
#include <cstring>

#include "tenancy/base/process_id.h"
#include "tenancy/log/bytes.h"

namespace tenancy::log {
namespace {

constexpr size_t kGroupBytes = size_t{2} << 20;  // holds the largest record
constexpr uint64_t kNeedsSegment = 1;
constexpr uint64_t kSealed = 2;
constexpr uint64_t kRepairTold = 4;
constexpr int64_t kYieldNs = 30'000;
constexpr int64_t kRetryMinNs = 10'000'000;
constexpr int64_t kRetryMaxNs = 1'000'000'000;
constexpr int64_t kLockWaitNs = 100'000'000;

}  // namespace

void store_progress(RingHeader& header, uint64_t synced,
                    const std::array<ChainMark, kClasses>& chains) {
  const uint64_t next = header.progress_current.load() ^ 1;
  Progress& progress = header.progress[next];
  progress.synced.store(synced);
  for (size_t i = 0; i < kClasses; ++i) {
    ChainProgress& words = progress.chains[i];
    words.first.store(chains[i].first);
    words.offset.store(chains[i].offset);
    words.next_sequence.store(chains[i].next_sequence);
    words.flags.store((chains[i].needs_segment ? kNeedsSegment : 0) |
                      (chains[i].sealed ? kSealed : 0) | (chains[i].repair_told ? kRepairTold : 0) |
                      uint64_t{chains[i].epoch} << 32);
    for (size_t k = 0; k < kTagWords; ++k) {
      words.tag[k].store(get<uint64_t>(reinterpret_cast<const char*>(&chains[i].tag[8 * k])));
    }
  }
  header.progress_current.store(next);
  header.synced.store(synced);
}

std::array<ChainMark, kClasses> load_progress(const RingHeader& header, uint64_t* synced) {
  const Progress& progress = header.progress[header.progress_current.load() & 1];
  *synced = progress.synced.load();
  std::array<ChainMark, kClasses> chains;
  for (size_t i = 0; i < kClasses; ++i) {
    const ChainProgress& words = progress.chains[i];
    chains[i].first = words.first.load();
    chains[i].offset = words.offset.load();
    chains[i].next_sequence = words.next_sequence.load();
    chains[i].epoch = static_cast<uint32_t>(words.flags.load() >> 32);
    chains[i].needs_segment = (words.flags.load() & kNeedsSegment) != 0;
    chains[i].sealed = (words.flags.load() & kSealed) != 0;
    chains[i].repair_told = (words.flags.load() & kRepairTold) != 0;
    for (size_t k = 0; k < kTagWords; ++k) {
      const uint64_t word = words.tag[k].load();
      std::memcpy(&chains[i].tag[8 * k], &word, sizeof word);
    }
  }
  return chains;
}

Flusher::Flusher(const Options& options, Files& files, const Clock& clock, const Paths& paths,
                 const LogId& log_id, Ring& ring, KeyRing& keys, SubjectKeys& subjects,
                 Appender& appender)
    : options_(options),
      files_(files),
      clock_(clock),
      paths_(paths),
      log_id_(log_id),
      ring_(ring),
      keys_(keys),
      subjects_(subjects),
      appender_(appender),
      groups_(ring.header().gathered),
      head_file_(files, paths_) {}

Result<bool> Flusher::lead() {
  if (leading_) return true;
  RingHeader& header = ring_.header();
  uint64_t leader = header.leader.load();
  if (leader != 0 && process_alive(leader)) return false;
  if (!header.leader.compare_exchange_strong(leader, own_process_id())) return false;
  header.leader_epoch.fetch_add(1);
  leading_ = true;
  if (Status status = load(); !status) {
    report(status);
    step_down();
    return status;
  }
  return true;
}

void Flusher::step_down() {
  if (!leading_) return;
  leading_ = false;
  chains_.clear();
  ring_.header().leader.store(0);
  ring_.header().followers.fetch_add(1);
  futex_wake_all(ring_.header().followers);
}

// Everything in hand is durable.
void Flusher::settle(By by) {
  std::array<ChainMark, kClasses> marks;
  for (size_t i = 0; i < kClasses; ++i) {
    chains_[i]->settle();
    marks[i] = chains_[i]->durable();
  }
  synced_ = written_;
  unsynced_since_ = 0;
  // Before anybody hears of it: what was acknowledged as durable is there for readers, which go by
  // the head.
  const Status told = head_file_.write(log_id_, file_key(), head(), false);
  store_progress(ring_.header(), synced_, marks);
  RingHeader& header = ring_.header();
  const uint32_t came = header.wake.load();
  header.durable.fetch_add(1);
  const int woken = futex_wake(header.durable, groups_.settle(synced_));
  woken_ = static_cast<uint32_t>(std::max(woken, 0)) + (by == By::kCommitter ? 1 : 0);
  const int64_t wait_ns = patience_.wait_ns(woken_, ring_.tail() > synced_, sync_ns_);
  gather_until_ = wait_ns == 0 ? 0 : real_ns() + wait_ns;
  gathered_at_ = came + woken_;
  header.done.fetch_add(1);
  futex_wake_all(header.done);
  if (!told) {
    head_due_ = head_failed_ = true;  // what is durable stays so; `tend` tries again
    report(told);
  }
}

Status Flusher::pump(uint64_t upto, bool sync) {
  while (written_ < upto) {
    if (Status status = write_group(upto); !status) return status;
  }
  if (sync && synced_ < upto) {
    if (Status status = sync_all(); !status) return status;
    if (Status status = fill_ahead(); !status) return status;
  }
  recovered();
  return {};
}

// Waits for those whom the last sync woke: each of them raises `wake` when it commits again.
void Flusher::gather() {
  if (gather_until_ == 0) return;
  RingHeader& header = ring_.header();
  const auto missing = [&] { return static_cast<int32_t>(gathered_at_ - header.wake.load()); };
  // The last of them mostly comes so soon that to sleep and to be woken would take longer.
  const int64_t yield_until = std::min(gather_until_, real_ns() + kYieldNs);
  while (missing() > 0 && real_ns() < yield_until) sched_yield();
  header.awaited.store(gathered_at_);
  while (missing() > 0) {
    const int64_t left = gather_until_ - real_ns();
    if (left <= 0) break;
    futex_wait(header.awaited, gathered_at_, left);
  }
  header.awaited.store(0);
  gather_until_ = 0;
  patience_.tell(woken_, static_cast<uint32_t>(std::max(missing(), 0)));
}

Result<bool> Flusher::pump_due(By by) {
  RingHeader& header = ring_.header();
  if (failing() && real_ns() < retry_at_) return false;
  // The thread leaves it to the first of those who come back, unless somebody else waits already.
  if (by == By::kCommitter || header.sync_wanted.load() > synced_) gather();
  const uint64_t tail = ring_.tail();
  const bool wrote = written_ < tail;
  // One group at a time: whoever waits for a sync does not wait for all that came after.
  if (wrote) {
    if (Status status = write_group(tail); !status) return status;
  }
  const bool asked = header.sync_wanted.load() > synced_;
  const bool half = written_ - synced_ > ring_.ring_bytes() / 2;
  const bool late =
      unsynced_since_ != 0 && real_ns() - unsynced_since_ >= options_.sync_interval_ns;
  if (written_ > synced_ && (asked || half || late)) {
    if (Status status = sync_all(by); !status) return status;
    if (Status status = fill_ahead(); !status) return status;
    recovered();
    return true;
  }
  if (failing() && written_ == tail) recovered();
  return wrote;
}

Status Flusher::write_group(uint64_t upto) {
  groups_.take(upto);
  group_.resize(std::min<uint64_t>(upto - written_, kGroupBytes));
  ring_.read(written_, group_.size(), group_.data());
  // No record gets into a file before the key that its fields are sealed with is durable.
  if (Status status = subjects_.sync(); !status) return fail(nullptr, status);
  std::string_view rest = group_;
  while (rest.size() >= 4) {
    const auto bytes = get<uint32_t>(rest.data());
    if (bytes > rest.size()) break;
    const auto chain = static_cast<uint8_t>(bytes < kRecordBytesMin ? 0xff : rest[6]);
    if (chain >= kClasses) {
      return fail(nullptr,
                  {Code::kDamaged, "the ring holds no record at byte " + std::to_string(written_)});
    }
    if (Status status = add(static_cast<Class>(chain), rest.substr(0, bytes)); !status) {
      return status;
    }
    rest.remove_prefix(bytes);
    written_ += bytes;
  }
  if (written_ < upto) groups_.shorten(written_);
  if (Status status = write_all(); !status) return status;
  ring_.header().groups.fetch_add(1, std::memory_order_relaxed);
  return {};
}

Status Flusher::add(Class chain_class, std::string_view record) {
  ChainFile& chain = *chains_[index(chain_class)];
  if (!chain.needs_segment() && chain.would_pass(record.size(), options_.segment_bytes)) {
    // A roll stands alone between two syncs, so that nobody ever has to take one back.
    if (Status status = write_all(); !status) return status;
    if (Status status = sync_all(); !status) return status;
    if (Status status = roll(chain); !status) return status;
  }
  if (chain.needs_segment()) {
    if (Status status = ensure_segment(chain); !status) return status;
  }
  if (!chain.add(record)) {
    return fail(nullptr, {Code::kDamaged, "the ring's record at byte " + std::to_string(written_) +
                                              " does not continue its chain"});
  }
  ++records_since_tenants_;
  return {};
}

Status Flusher::write_all() {
  for (auto& chain : chains_) {
    if (Status status = chain->write(); !status) return fail(chain.get(), status);
  }
  if (written_ > synced_ && unsynced_since_ == 0) unsynced_since_ = real_ns();
  RingHeader& header = ring_.header();
  const uint64_t before = header.written.exchange(written_);
  if (header.write_wanted.load() > before) {
    header.done.fetch_add(1);
    futex_wake_all(header.done);
  }
  return {};
}

Status Flusher::sync_all(By by) {
  const int64_t began = real_ns();
  for (auto& chain : chains_) {
    if (!chain->has_unsynced()) continue;
    ring_.header().syncs.fetch_add(1, std::memory_order_relaxed);
    if (Status status = chain->sync(); !status) return fail(chain.get(), status);
  }
  sync_ns_ = real_ns() - began;
  settle(by);
  return {};
}

Status Flusher::fill_ahead() {
  for (auto& chain : chains_) {
    if (Status status = chain->fill_ahead(); !status) return fail(chain.get(), status);
  }
  return {};
}

Status Flusher::roll(ChainFile& chain) {
  if (Status status = chain.seal(file_key()); !status) return fail(&chain, status);
  return {};
}

Status Flusher::ensure_segment(ChainFile& chain) {
  ManifestEntry left;
  const bool leaves = chain.left_segment(&left);
  const Class chain_class = chain.chain();
  const bool untold = leaves && left.cut && !chain.durable().repair_told;
  if (Status status = chain.make_segment(file_key(), options_.segment_bytes); !status) {
    return fail(nullptr, status);
  }
  if (untold) {
    repairs_.push_back({chain_class, left.first, left.offset, 0, std::nullopt, "sync_failed"});
  }
  std::array<ChainMark, kClasses> marks;
  for (size_t i = 0; i < kClasses; ++i) marks[i] = chains_[i]->durable();
  store_progress(ring_.header(), synced_, marks);
  if (leaves) manifest_.segments[index(chain_class)].push_back(left);
  manifest_due_ = manifest_due_ || leaves;
  if (Status status = write_manifest(); !status) report(status);
  head_due_ = true;
  return {};
}

Status Flusher::write_manifest() {
  if (!manifest_due_) return {};
  Manifest next = manifest_;
  ++next.generation;
  const FileKey key = file_key();
  next.epoch = key.epoch;
  if (Status status = replace_file(files_, paths_.log, "manifest", next.block(key)); !status) {
    return status;
  }
  manifest_ = std::move(next);
  manifest_due_ = false;
  return {};
}

Status Flusher::save_head() {
  Status status = head_file_.write(log_id_, file_key(), head(), true);
  head_due_ = head_failed_ = !status;
  return status;
}

// Back to what is durable; the ring still holds the rest.
Status Flusher::fail(ChainFile* culprit, Status status) {
  for (auto& chain : chains_) {
    if (chain.get() == culprit) {
      chain->abandon();
    } else {
      chain->fall_back();
    }
  }
  written_ = synced_;
  unsynced_since_ = 0;
  std::array<ChainMark, kClasses> marks;
  for (size_t i = 0; i < kClasses; ++i) marks[i] = chains_[i]->durable();
  store_progress(ring_.header(), synced_, marks);
  const int64_t now = real_ns();
  if (failing_since_ == 0) {
    failing_since_ = now;
    retry_after_ns_ = kRetryMinNs;
  } else {
    retry_after_ns_ = std::min(retry_after_ns_ * 2, kRetryMaxNs);
  }
  retry_at_ = now + retry_after_ns_;
  ++failed_groups_;
  report(status);
  return status;
}

void Flusher::report(const Status& status) {
  RingHeader& header = ring_.header();
  const RingLock lock(ring_, kLockWaitNs);
  if (lock.held()) {
    const std::string& text = status.error().message;
    const size_t bytes = std::min(text.size(), sizeof header.failure_text - 1);
    std::memcpy(header.failure_text, text.data(), bytes);
    header.failure_text[bytes] = '\0';
  }
  const uint64_t failed = failing() ? failed_groups_ << kFailedShift : 0;
  header.failure.store(failed | static_cast<uint64_t>(status.error().code));
}

void Flusher::recovered() {
  if (failing_since_ == 0 && ring_.header().failure.load() == 0) return;
  failing_since_ = 0;
  Word& failure = ring_.header().failure;
  const bool whole = !manifest_due_ && !head_failed_;
  failure.store(whole ? 0 : failure.load() & ((uint64_t{1} << kFailedShift) - 1));
}

Head Flusher::head() const {
  Head out;
  out.time_ns = clock_.wall_ns();
  out.checkpoints = checkpoint_tree_.end();
  for (size_t i = 0; i < kClasses; ++i) {
    const ChainMark& mark = chains_[i]->durable();
    out.chains[i] = {mark.next_sequence, mark.first, mark.offset, mark.tag};
  }
  return out;
}

FileKey Flusher::file_key() {
  if (file_key_.epoch != keys_.base_epoch()) {
    const RingLock lock(ring_, options_.full_wait_ns);
    if (lock.held()) file_key_ = keys_.file_key();
  }
  return file_key_;
}

}  // namespace tenancy::log
