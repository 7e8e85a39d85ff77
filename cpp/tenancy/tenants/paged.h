// PagedVector: an array over 32-bit indexes whose copies are cheap. Internal to this layer.
//
// Three levels of 64: changing one element copies one leaf, one middle page and the pointers of the
// root that it needs; everything else stays shared with the copies. Elements never set read as T{}.
//
// Ownership: a value type. Thread safety: a vector may be read by many threads while nobody changes
// *that* copy. Whoever changes a copy keeps the original alive meanwhile, so that a page with one
// owner is known to be its own.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "tenancy/base/cow_map.h"
#include "tenancy/tenants/slabs.h"

namespace tenancy::tenants {

template <class T>
class PagedVector {
 public:
  const T& get(uint32_t index) const {
    static const T kAbsent{};
    const size_t root = index / (kFan * kFan);
    if (root >= root_.size() || root_[root] == nullptr) return kAbsent;
    const Leaf* leaf = (*root_[root])[index / kFan % kFan].get();
    return leaf == nullptr ? kAbsent : (*leaf)[index % kFan];
  }

  // Asks the memory for what `get` reads, a little later.
  void prefetch(uint32_t index) const {
    const size_t root = index / (kFan * kFan);
    if (root >= root_.size() || root_[root] == nullptr) return;
    const Leaf* leaf = (*root_[root])[index / kFan % kFan].get();
    if (leaf != nullptr) __builtin_prefetch(&(*leaf)[index % kFan]);
  }

  // The element, made private to this copy. Valid until the vector is copied.
  T& edit(uint32_t index) {
    const size_t root = index / (kFan * kFan);
    if (root >= root_.size()) root_.resize(root + 1);
    Middle& middle = own(root_[root]);
    return own(middle[index / kFan % kFan])[index % kFan];
  }

 private:
  static constexpr size_t kFan = 64;
  using Leaf = std::array<T, kFan>;
  using Middle = std::array<std::shared_ptr<Leaf>, kFan>;

  template <class Page>
  static Page& own(std::shared_ptr<Page>& page) {
    if (page == nullptr) {
      page = make_in_slab<Page>();
    } else if (!sole_owner(page)) {
      page = make_in_slab<Page>(*page);
    }
    return *page;
  }

  std::vector<std::shared_ptr<Middle>> root_;
};

}  // namespace tenancy::tenants
