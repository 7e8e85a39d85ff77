// Epochs: when memory of a retired generation can no longer be in anybody's hands. Internal.
//
// Every operation counts itself into one of two counters of its process, chosen by the low bit of
// the epoch it read. The epoch goes from e to e + 1 only when nobody is counted in the counter that
// e + 1 will use. An operation that began in epoch e therefore holds the epoch at e + 2 or below:
// what was out of reach for newcomers in epoch r is out of everybody's hands in epoch r + 3.
// (Proof: FORMATS.md, "Reuse".)
//
// Dead processes are recognised and ignored; a stopped one holds back reuse, never anything else.
//
// Thread safety: every method from any thread or process.
#pragma once

#include <atomic>
#include <cstdint>
#include <thread>

#include "tenancy/base/process_id.h"
#include "tenancy/counters/layout.h"
#include "tenancy/counters/step.h"

namespace tenancy::counters {

constexpr uint64_t kGraceEpochs = 3;

// Whose hold covers the operations of this thread (see `Epochs::hold`), or null. Read on every
// operation, so it has its place at a fixed distance from the thread's own pointer.
inline thread_local const void* t_held [[gnu::tls_model("initial-exec")]] = nullptr;

template <class Step>
class Epochs {
 public:
  Epochs(FileHeader* header, bool is_shared) : header_(header), is_shared_(is_shared) {
    watch_forks();
    enrol();
  }
  Epochs(const Epochs&) = delete;
  Epochs& operator=(const Epochs&) = delete;

  ~Epochs() {
    if (g_fork_count.load(std::memory_order_relaxed) != enrolled_at_fork_.load()) return;
    ProcessSlot* const slot = process_.load();
    if (slot != shared_slot() && slot->holders[0].load() + slot->holders[1].load() == 0) {
      slot->owner.store(0);
    }
  }

  uint64_t now() const { return header_->epoch.load(); }

  // The pin of one operation: nothing to do when this thread holds a pin that began before it.
  SlotPin pin() { return t_held == this ? SlotPin() : count_in(); }

  // A pin for all operations of this thread until it is given back by `end_hold`. What one pin
  // keeps from being reused is kept for all of them, since they began later.
  SlotPin begin_hold(const void** outer) {
    *outer = t_held;
    if (t_held == this) return {};
    SlotPin pin = count_in();
    t_held = this;
    return pin;
  }
  static void end_hold(const void* outer) { t_held = outer; }

  // One epoch further, unless somebody alive is counted where the next one will count.
  bool try_advance() {
    uint64_t epoch = header_->epoch.load();
    const uint64_t used = header_->process_slots_used.load();
    for (uint64_t i = 0; i < used && i < kProcesses; ++i) {
      Step::at(Point::kReadHolders);
      ProcessSlot& slot = header_->processes[i];
      if (slot.holders[(epoch + 1) & 1].load() != 0 && is_held(slot)) return false;
    }
    Step::at(Point::kAdvanceEpoch);
    return header_->epoch.compare_exchange_strong(epoch, epoch + 1);
  }

  // True once every operation that was counted in when `from` was read as `now()` has ended, or its
  // process has died: of three advances after `from`, the last two looked at both counters later.
  bool grace_passed(uint64_t from) {
    while (now() < from + kGraceEpochs) {
      if (!try_advance() && now() < from + kGraceEpochs) return false;
    }
    return true;
  }

  bool is_held_here() const { return t_held == this; }

  void advance_by_grace() {
    for (uint64_t i = 0; i < kGraceEpochs; ++i) {
      if (!try_advance()) return;
    }
  }

 private:
  SlotPin count_in() {
    if (g_fork_count.load(std::memory_order_relaxed) !=
        enrolled_at_fork_.load(std::memory_order_acquire)) {
      enrol();
    }
    ProcessSlot* const slot = process_.load(std::memory_order_acquire);
    const uint64_t epoch = header_->epoch.load();
    Step::at(Point::kPin);
    Word* const holders = &slot->holders[epoch & 1];
    holders->fetch_add(1);
    return SlotPin(holders);
  }

  // Slot 0 is for everybody who finds no other: nobody can tell whether its holders live.
  ProcessSlot* shared_slot() { return &header_->processes[0]; }

  bool is_held(const ProcessSlot& slot) {
    if (&slot == shared_slot()) return true;
    const uint64_t owner = slot.owner.load();
    return owner != 0 && (owner == self_.load() || process_alive(owner));
  }

  // Also after a fork: the child must not be counted as its parent, whose death would hide it.
  // One thread does it; the others of this process wait for it.
  void enrol() {
    const uint64_t forks = g_fork_count.load(std::memory_order_relaxed);
    uint64_t claimed = claimed_at_fork_.load();
    if (claimed == forks || !claimed_at_fork_.compare_exchange_strong(claimed, forks)) {
      while (enrolled_at_fork_.load() != forks) std::this_thread::yield();
      return;
    }
    if (!is_shared_ && process_.load() != nullptr) forget_parent();
    self_.store(own_process_id());
    process_.store(claim_slot(), std::memory_order_release);
    enrolled_at_fork_.store(forks, std::memory_order_release);
  }

  ProcessSlot* claim_slot() {
    const uint64_t self = self_.load();
    for (uint64_t i = 1; i < kProcesses; ++i) {
      ProcessSlot& slot = header_->processes[i];
      uint64_t owner = slot.owner.load();
      if (owner != 0 && (owner == self || process_alive(owner))) continue;
      if (!slot.owner.compare_exchange_strong(owner, self)) continue;
      // What a dead owner left counted; nobody alive is counted here.
      slot.holders[0].store(0);
      slot.holders[1].store(0);
      raise_slots_used(i + 1);
      return &slot;
    }
    raise_slots_used(1);
    return shared_slot();
  }

  void raise_slots_used(uint64_t slots) {
    uint64_t known = header_->process_slots_used.load();
    while (known < slots && !header_->process_slots_used.compare_exchange_weak(known, slots)) {
    }
  }

  // Private memory was copied by the fork: nobody else is in it.
  void forget_parent() {
    for (ProcessSlot& slot : header_->processes) {
      slot.owner.store(0);
      slot.holders[0].store(0);
      slot.holders[1].store(0);
    }
  }

  FileHeader* const header_;
  const bool is_shared_;
  std::atomic<ProcessSlot*> process_{nullptr};
  std::atomic<uint64_t> self_{0};
  std::atomic<uint64_t> claimed_at_fork_{~uint64_t{0}};
  std::atomic<uint64_t> enrolled_at_fork_{~uint64_t{0}};
};

}  // namespace tenancy::counters
