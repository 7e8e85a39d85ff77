#include "tenancy/access/late.h"

namespace tenancy::access {

LateClosures::LateClosures(uint32_t roles)
    : size_(roles), slots_(std::make_unique<std::atomic<const LateClosure*>[]>(roles)) {}

LateClosures::~LateClosures() {
  for (uint32_t i = 0; i < size_; ++i) delete slots_[i].load(std::memory_order_relaxed);
}

Closure LateClosures::keep(uint32_t position, const Closure& closure) {
  const std::span<const ClosureBlock> blocks = closure.blocks();
  auto mine = std::make_unique<const LateClosure>(
      LateClosure{{blocks.begin(), blocks.end()}, closure.flags(), closure.shared()});
  const LateClosure* kept = nullptr;
  if (slots_[position].compare_exchange_strong(kept, mine.get(), std::memory_order_acq_rel,
                                               std::memory_order_acquire)) {
    kept = mine.release();
  }
  return kept->view();
}

size_t LateClosures::memory_bytes() const {
  size_t bytes = sizeof *this + size_ * sizeof slots_[0];
  for (uint32_t i = 0; i < size_; ++i) {
    const LateClosure* closure = find(i);
    if (closure == nullptr) continue;
    bytes += sizeof *closure + 16 + closure->blocks.capacity() * sizeof(ClosureBlock);
  }
  return bytes;
}

}  // namespace tenancy::access
