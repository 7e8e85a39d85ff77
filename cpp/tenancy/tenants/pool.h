// Pool: entries that belong to tenants, found by place or all of one tenant's. Internal.
//
// Places are reused after a removal. Each owner's entries form a doubly linked list of places, so
// that a purged tenant takes along exactly what is its own, and nothing has to be searched.
//
// Ownership: a value type whose copies share pages. Thread safety: as PagedVector.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#include "tenancy/tenants/name_map.h"
#include "tenancy/tenants/paged.h"

namespace tenancy::tenants {

// Neighbours in a list of places; kNothing at its ends.
struct Links {
  uint32_t before = kNothing;
  uint32_t after = kNothing;
};

// Takes `place` out of its list. Returns the new head.
inline uint32_t unlink(PagedVector<Links>* links, uint32_t head, uint32_t place) {
  const Links own = links->get(place);
  if (own.before != kNothing) links->edit(own.before).after = own.after;
  if (own.after != kNothing) links->edit(own.after).before = own.before;
  return own.before == kNothing ? own.after : head;
}

// Puts `place` in front of the list.
inline void link_front(PagedVector<Links>* links, uint32_t head, uint32_t place) {
  links->edit(place) = {.before = kNothing, .after = head};
  if (head != kNothing) links->edit(head).before = place;
}

template <class Entry>
class Pool {
 public:
  const Entry* get(uint32_t place) const { return entries_.get(place).get(); }
  void prefetch(uint32_t place) const { entries_.prefetch(place); }
  size_t size() const { return size_; }
  // Places ever used: all live ones are below.
  uint32_t places() const { return next_; }

  uint32_t add(uint32_t owner, std::shared_ptr<const Entry> entry) {
    uint32_t place = free_;
    if (place != kNothing) {
      free_ = links_.get(place).after;
    } else {
      place = next_++;
    }
    entries_.edit(place) = std::move(entry);
    link_front(&links_, head(owner), place);
    heads_.edit(owner) = place + 1;
    ++size_;
    return place;
  }

  // The owner stays the same.
  void replace(uint32_t place, std::shared_ptr<const Entry> entry) {
    entries_.edit(place) = std::move(entry);
  }

  void remove(uint32_t owner, uint32_t place) {
    const uint32_t old_head = head(owner);
    const uint32_t new_head = unlink(&links_, old_head, place);
    if (new_head != old_head) heads_.edit(owner) = new_head + 1;
    entries_.edit(place) = nullptr;
    links_.edit(place) = {.before = kNothing, .after = free_};
    free_ = place;
    --size_;
  }

  // The first of an owner's places, or kNothing.
  uint32_t head(uint32_t owner) const { return heads_.get(owner) - 1; }

 private:
  PagedVector<std::shared_ptr<const Entry>> entries_;
  PagedVector<Links> links_;
  PagedVector<uint32_t> heads_;  // by owner; place + 1, so that 0 is "none"
  uint32_t next_ = 0;
  uint32_t free_ = kNothing;  // linked through `after`
  size_t size_ = 0;
};

}  // namespace tenancy::tenants
