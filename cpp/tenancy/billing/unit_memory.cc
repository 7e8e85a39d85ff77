#include "tenancy/billing/unit_memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <new>

namespace tenancy {

namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;
// What is kept serves results of at least half its size.
constexpr size_t kLargerMax = 2;

class UnitMemory {
 public:
  explicit UnitMemory(size_t bytes)
      : bytes_(bytes),
        alignment_(bytes >= 2 * kHugePageBytes ? kHugePageBytes : alignof(Int128)),
        data_(::operator new(bytes, std::align_val_t(alignment_))) {
    // Only a hint: fewer page faults where the kernel follows it.
    if (alignment_ == kHugePageBytes) madvise(data_, whole_pages(), MADV_HUGEPAGE);
  }
  ~UnitMemory() { ::operator delete(data_, std::align_val_t(alignment_)); }
  UnitMemory(const UnitMemory&) = delete;
  UnitMemory& operator=(const UnitMemory&) = delete;

  Int128* units() const { return static_cast<Int128*>(data_); }
  size_t bytes() const { return bytes_; }
  bool serves(size_t bytes) const { return bytes <= bytes_ && bytes_ <= bytes * kLargerMax; }

  // The kernel may have the pages until they are written again.
  bool lend() const {
    if (bytes_ < kUnitBytesKeptMin || bytes_ > kUnitBytesKeptMax) return false;
    return madvise(data_, whole_pages(), MADV_FREE) == 0;
  }

 private:
  size_t whole_pages() const { return bytes_ / kHugePageBytes * kHugePageBytes; }

  const size_t bytes_;
  const size_t alignment_;
  void* const data_;
};

// Whoever exchanges it owns what was there. It has no destructor that could run too early.
constinit std::atomic<UnitMemory*> kept{nullptr};

std::unique_ptr<UnitMemory> exchange_kept(std::unique_ptr<UnitMemory> memory) {
  return std::unique_ptr<UnitMemory>(kept.exchange(memory.release(), std::memory_order_acq_rel));
}

void keep_or_free(std::unique_ptr<UnitMemory> memory) {
  if (memory->lend()) exchange_kept(std::move(memory));
}

std::unique_ptr<UnitMemory> memory_of(size_t bytes) {
  if (bytes >= kUnitBytesKeptMin / kLargerMax) {
    std::unique_ptr<UnitMemory> memory = exchange_kept(nullptr);
    if (memory != nullptr && memory->serves(bytes)) return memory;
    // Too large or too small for this one, perhaps not for the next.
    if (memory != nullptr) exchange_kept(std::move(memory));
  }
  return std::make_unique<UnitMemory>(bytes);
}

}  // namespace

std::shared_ptr<Int128> allocate_units(int64_t count) {
  const size_t bytes = std::max<size_t>(static_cast<size_t>(count), 1) * sizeof(Int128);
  std::unique_ptr<UnitMemory> memory = memory_of(bytes);
  Int128* units = memory->units();
  return {units, [owned = memory.release()](Int128*) {
            keep_or_free(std::unique_ptr<UnitMemory>(owned));
          }};
}

size_t unit_bytes_kept() {
  // Taken out meanwhile: another thread might free what is only looked at.
  std::unique_ptr<UnitMemory> memory = exchange_kept(nullptr);
  const size_t bytes = memory == nullptr ? 0 : memory->bytes();
  if (memory != nullptr) exchange_kept(std::move(memory));
  return bytes;
}

}  // namespace tenancy
