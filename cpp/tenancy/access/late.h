// Late: closures that are compiled when they are first asked for, because an edit had too many of
// them below it to compile them itself.
//
// One LateClosures belongs to the definitions of one such edit. Later edits share it: what they
// touch they compile themselves, so what is here is never about a role that they changed, and it
// does not matter which snapshot compiles it.
//
// Ownership: shared by role tables; closures live as long as it does. Thread safety: any thread;
// nothing waits. Where two compile the same closure at once, one of the two results is kept.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "tenancy/access/closure.h"

namespace tenancy::access {

struct LateClosure {
  std::vector<ClosureBlock> blocks;
  Closure::Flags flags;
  RoleCode shared = kNoRole;

  Closure view() const { return {blocks, flags, shared}; }
};

class LateClosures {
 public:
  explicit LateClosures(uint32_t roles);
  LateClosures(const LateClosures&) = delete;
  LateClosures& operator=(const LateClosures&) = delete;
  ~LateClosures();

  // Null: nobody has asked for it yet.
  const LateClosure* find(uint32_t position) const {
    return position < size_ ? slots_[position].load(std::memory_order_acquire) : nullptr;
  }
  // Keeps a copy, or what another thread has kept meanwhile.
  Closure keep(uint32_t position, const Closure& closure);
  size_t memory_bytes() const;

 private:
  uint32_t size_;
  std::unique_ptr<std::atomic<const LateClosure*>[]> slots_;
};

}  // namespace tenancy::access
