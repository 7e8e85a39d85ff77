// CounterTable: one open-addressing table of small lock-free counters, in private memory or in a
// file that every worker process of the host maps. The same code serves both.
//
// A slot is `key, state words…`; slots of one size live in one sub-table ("class") of one region.
// The byte layout and the protocols (insert, take, migrate) with their proofs are in
// cpp/FORMATS.md.
//
// Invariants:
//  1. All shared state is std::atomic<uint64_t>, changed by compare-and-swap. A process killed or
//     stopped at any instruction leaves nothing torn and nobody waiting.
//  2. Within one generation of a class a key word is written once (0 -> key) and never changes, so
//     two inserters of one key always end on one slot.
//  3. Growth and reclaim are one mechanism: the live slots of a generation are frozen word by word,
//     copied to the next, and marked moved. Only a slot equal to "never seen" is left behind. Every
//     operation helps a little; none waits for another process.
//  4. A region never takes room from another: a flood of unauthenticated keys cannot touch a
//     tenant's.
//  5. A region that is full of expired slots has room again: it never grows to a size of which a
//     second block, the one to move to, would not fit, and answers kFull instead. (Not while a
//     stopped process or a full disk holds that block back.)
//  6. Memory of a retired generation is used again only when no live process can be in it.
//
// Ownership: unique; limits and quotas borrow it. Thread safety: every method from any thread or
// process.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "tenancy/base/clock.h"
#include "tenancy/base/hash.h"
#include "tenancy/base/status.h"

namespace tenancy {

enum class Region : uint8_t {
  kTenant = 0,  // keys of an authenticated tenant or of the operator: grows while running
  kAnonymous,   // keys a stranger can choose (addresses): fixed size
};

// Bytes of a slot. A class is made on first use.
enum class SlotClass : uint8_t {
  kWords2 = 0,  // key, one state word                      16 bytes
  kWords4,      // key, expiry, two state words             32 bytes
  kWords8,      // key, expiry, six state words             64 bytes
  kLog64,       // key, expiry,   64 state words
  kLog512,      // key, expiry,  512 state words
  kLog4096,     // key, expiry, 4096 state words
};
constexpr size_t kSlotClasses = 6;
// State words of a class that hold values (the expiry word is not one of them).
size_t state_words(SlotClass slot_class);

// Keeps the memory of a slot from being used for anything else. Made by the table; costs two atomic
// additions. A process that dies while it holds one is recognised as dead and holds nothing back.
class SlotPin {
 public:
  SlotPin() = default;
  // Takes over one already counted holder.
  explicit SlotPin(std::atomic<uint64_t>* holders) : holders_(holders) {}
  SlotPin(const SlotPin& other) : holders_(other.holders_) {
    if (holders_ != nullptr) holders_->fetch_add(1);
  }
  SlotPin(SlotPin&& other) noexcept : holders_(std::exchange(other.holders_, nullptr)) {}
  SlotPin& operator=(SlotPin other) noexcept {
    std::swap(holders_, other.holders_);
    return *this;
  }
  ~SlotPin() {
    if (holders_ != nullptr) holders_->fetch_sub(1);
  }

 private:
  std::atomic<uint64_t>* holders_ = nullptr;
};

// A place in the table. Valid for one operation only: a slot may move to the next generation at any
// time, which its frozen state words show. Never kept: while it lives no memory is reclaimed.
struct SlotRef {
  std::atomic<uint64_t>* key = nullptr;
  std::atomic<uint64_t>* expiry = nullptr;  // null in kWords2, whose state word is its own expiry
  std::atomic<uint64_t>* state = nullptr;   // first of state_words(slot_class)
  SlotPin pin{};
  explicit operator bool() const { return state != nullptr; }
};

// Every state word carries these two bits; algorithms use the 62 below them. A word is 0 only when
// it was never written: a written word must keep some lower bit set.
constexpr uint64_t kFrozen = uint64_t{1} << 63;  // the slot is being moved: look it up again
constexpr uint64_t kMoved = uint64_t{1} << 62;   // copied: the next generation holds it
constexpr uint64_t kStateMask = kMoved - 1;

class CounterTable {
 public:
  struct Options {
    std::string path{};  // empty: private memory
    // Per class and region, rounded up to a power of two; fewer where max_bytes has no room.
    size_t initial_slots = 1024;
    // The whole table; address space only until it is used. About a third of it can be slots in
    // use: the rest is what they were moved from and will be moved to.
    size_t max_bytes = size_t{4} << 30;
    // All kAnonymous classes together; at most a quarter of max_bytes is used.
    size_t anonymous_bytes = size_t{8} << 20;
  };

  // kForeign, kDamaged, kVersion: the file is not one to use, and stays as it was. kFull,
  // kPermission, kUnsupported as MappedFile says. kInvalidArgument: sizes out of range.
  static Result<std::unique_ptr<CounterTable>> open(const Options& options,
                                                    std::shared_ptr<const Clock> clock);
  ~CounterTable();

  // Nanoseconds on the table's own scale: runs with the clock's mono_ns, goes on after a reboot
  // where it stopped or later, is never negative, and is close to wall time at the first open.
  int64_t now_ns() const;
  const Clock& clock() const;

  // The secret of this table: all key hashes are made with it.
  const HashKey& hash_key() const;

  // Finds the slot of `key` or makes it. `group` places it: slots of one group are neighbours. Keys
  // and groups are hashes made with hash_key(); 64 bits of both tell counters apart, 40 those of
  // one group, so a group is a handful of counters, not a tenant's users.
  // kFull when the region cannot take another key and none of its slots is equal to "never seen";
  // a slot that has become so may go unnoticed for up to a second, less if that is known sooner.
  // The caller works on the returned words; when it meets kFrozen it calls again.
  Result<SlotRef> find_or_insert(Region region, SlotClass slot_class, uint64_t group, uint64_t key);
  // The slot, or an empty SlotRef. Inserts nothing.
  SlotRef find(Region region, SlotClass slot_class, uint64_t group, uint64_t key);
  // `find` for several keys of one group, at little more than the price of one. `slots` is as long
  // as `keys` and comes empty.
  void find_group(Region region, SlotClass slot_class, uint64_t group,
                  std::span<const uint64_t> keys, std::span<SlotRef> slots);
  // Asks the processor to fetch the lines of a group's first `slots` slots; a hint.
  void prefetch(Region region, SlotClass slot_class, uint64_t group, size_t slots) const;

  // Counts this thread in once for all its operations on the table while the Hold lives, instead of
  // once for each: two atomic additions for a decision with a dozen look-ups. For the length of one
  // decision, not longer: while it lives no memory is reclaimed, so a region of fixed size that is
  // full stays so. Holds nest. Not across a fork, nor handed to another thread.
  class Hold {
   public:
    explicit Hold(CounterTable& table);
    ~Hold();
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

   private:
    const void* outer_ = nullptr;
    SlotPin pin_;
  };

  // Waits until every operation on the table that was under way at the call has ended or its
  // process has died; a Hold is one operation. False after `wait_ms_max`, when somebody is stopped
  // or slow, and at once when this thread is inside a Hold of its own.
  bool wait_for_grace(int64_t wait_ms_max);

  // Raises the slot's expiry (table time, after which it equals "never seen") to at least
  // `until_ns`. Called before the state changes. False when the slot is frozen: look it up again.
  static bool raise_expiry(const SlotRef& slot, int64_t until_ns) {
    if (slot.expiry == nullptr) return true;
    const auto until =
        static_cast<uint64_t>(std::clamp(until_ns, int64_t{0}, static_cast<int64_t>(kStateMask)));
    uint64_t seen = slot.expiry->load();
    while ((seen & kFrozen) == 0) {
      if (seen >= until || slot.expiry->compare_exchange_weak(seen, until)) return true;
    }
    return false;
  }

  // The host's newest revision of the definitions (design: odd while a writer commits).
  std::atomic<uint64_t>& revision_word();
  // The same for the sixteen further words that upper layers share between workers.
  std::atomic<uint64_t>& shared_word(size_t index);

  struct ClassStats {
    uint64_t slots = 0;
    uint64_t used = 0;
    uint64_t bytes = 0;
    uint64_t generation = 0;
  };
  ClassStats stats(Region region, SlotClass slot_class) const;
  size_t bytes() const;
  const std::string& path() const;

 private:
  struct Impl;
  explicit CounterTable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace tenancy
