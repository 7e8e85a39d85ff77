// Slabs: memory for what registries hold, packed into huge pages where the system gives them.
//
// A decision touches a handful of entries anywhere among a million: in pages of 4 KiB each one
// costs a walk of the page tables on top of the cache miss. Blocks are multiples of 64 bytes and
// begin at cache lines; what is freed is used again, whole or in parts, and never returned.
//
// Ownership: one for the process, never destroyed, so that entries may outlive everything static.
// Thread safety: any thread; allocation takes a lock, and only edits of definitions allocate.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

namespace tenancy::tenants {

void* slab_allocate(size_t bytes);
void slab_free(void* block, size_t bytes) noexcept;

template <class T>
struct SlabAllocator {
  using value_type = T;
  static_assert(alignof(T) <= 64);

  SlabAllocator() = default;
  template <class U>
  SlabAllocator(const SlabAllocator<U>&) {}  // NOLINT(google-explicit-constructor): an allocator

  T* allocate(size_t count) { return static_cast<T*>(slab_allocate(count * sizeof(T))); }
  void deallocate(T* block, size_t count) noexcept { slab_free(block, count * sizeof(T)); }
  template <class U>
  bool operator==(const SlabAllocator<U>&) const {
    return true;
  }
};

template <class T, class... Arguments>
std::shared_ptr<T> make_in_slab(Arguments&&... arguments) {
  return std::allocate_shared<T>(SlabAllocator<T>(), std::forward<Arguments>(arguments)...);
}

}  // namespace tenancy::tenants
