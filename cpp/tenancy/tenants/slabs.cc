#include "tenancy/tenants/slabs.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <new>

// Sanitizers see single blocks only where each is an allocation of its own.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TENANCY_NO_SLABS
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#define TENANCY_NO_SLABS
#endif
#endif

namespace tenancy::tenants {

#ifdef TENANCY_NO_SLABS

void* slab_allocate(size_t bytes) { return ::operator new(bytes); }
void slab_free(void* block, size_t /*bytes*/) noexcept { ::operator delete(block); }

#else

namespace {

constexpr size_t kLine = 64;
constexpr size_t kBlockMax = 4'096;
constexpr size_t kHugePage = size_t{2} << 20;
// The first slabs are small: a handful of tenants should not cost a huge page.
constexpr size_t kSlabMin = size_t{64} << 10;

size_t lines_of(size_t bytes) { return std::max<size_t>((bytes + kLine - 1) / kLine, 1); }

class Slabs {
 public:
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  void* allocate(size_t lines) {
    std::lock_guard<std::mutex> lock(mutex_);
    // A larger block that is free is split: tables leave theirs behind as they grow.
    for (size_t found = lines; found < free_.size(); ++found) {
      Free* const block = free_[found];
      if (block == nullptr) continue;
      free_[found] = block->next;
      if (found > lines) put(reinterpret_cast<std::byte*>(block) + lines * kLine, found - lines);
      return block;
    }
    const size_t bytes = lines * kLine;
    if (left_ < bytes) new_slab();
    left_ -= bytes;
    return std::exchange(next_, next_ + bytes);
  }

  void free(void* block, size_t lines) {
    std::lock_guard<std::mutex> lock(mutex_);
    put(block, lines);
  }

 private:
  struct Free {
    Free* next;
  };

  void put(void* block, size_t lines) { free_[lines] = new (block) Free{free_[lines]}; }

  void new_slab() {
    while (left_ >= kLine) {  // the rest of the old one serves smaller blocks
      const size_t lines = std::min(left_, kBlockMax) / kLine;
      put(next_, lines);
      next_ += lines * kLine;
      left_ -= lines * kLine;
    }
    void* const memory = ::operator new (size_, std::align_val_t{size_});
    if (size_ == kHugePage) madvise(memory, size_, MADV_HUGEPAGE);  // advice: it may be declined
    next_ = static_cast<std::byte*>(memory);
    left_ = size_;
    size_ = std::min(size_ * 2, kHugePage);
  }

  std::mutex mutex_;
  std::array<Free*, kBlockMax / kLine + 1> free_{};
  std::byte* next_ = nullptr;
  size_t left_ = 0;
  size_t size_ = kSlabMin;
};

Slabs& slabs() {
  static Slabs* const the_only = [] {
    auto* const made = new Slabs;
    // A child is forked while nobody is in the middle of it, or its lock would stay locked.
    pthread_atfork([] { slabs().lock(); }, [] { slabs().unlock(); }, [] { slabs().unlock(); });
    return made;
  }();
  return *the_only;
}

}  // namespace

void* slab_allocate(size_t bytes) {
  if (bytes > kBlockMax) return ::operator new(bytes);
  return slabs().allocate(lines_of(bytes));
}

void slab_free(void* block, size_t bytes) noexcept {
  if (bytes > kBlockMax) return ::operator delete(block);
  slabs().free(block, lines_of(bytes));
}

#endif

}  // namespace tenancy::tenants
