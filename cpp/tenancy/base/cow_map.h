// CowMap: a map whose copies are cheap, for immutable snapshots with a million entries.
//
// Two levels of 64 shared pages over hash shards: copying the map copies 64 pointers, changing one
// entry copies one shard and the path to it. A snapshot keeps its map, a writer makes the next one
// from a copy, and whatever both share is shared in memory.
//
// Ownership: a value type. Thread safety: a map may be read by many threads while nobody changes
// *that* copy; changing a copy never disturbs readers of another.
//
// `Set` is the shard's container (flat_hash_set/map or anything with copy construction); `Hash`
// maps the look-up key to the 64 bits whose top 12 choose the shard.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace tenancy {

// Whether the caller alone holds `pointer`, and may therefore write to what it points to.
// `use_count` alone does not order that write after the last reads of a thread that has just let go
// of it: giving a copy back is a read-modify-write of the same count, and does.
template <class T>
bool sole_owner(const std::shared_ptr<T>& pointer) {
  if (pointer.use_count() > 1) return false;
  std::shared_ptr<T>(pointer).reset();
  return true;
}

template <class Shard>
class CowShards {
 public:
  static constexpr size_t kFan = 64;
  static constexpr size_t kShards = kFan * kFan;

  // The shard that owns `hash`, or null when nothing was ever put there.
  const Shard* find(uint64_t hash) const {
    const Page* page = pages_[index_high(hash)].get();
    return page == nullptr ? nullptr : page->shards[index_low(hash)].get();
  }

  // The shard that owns `hash`, made private to this copy. Valid until the copy is shared.
  Shard& edit(uint64_t hash) {
    std::shared_ptr<Page>& page = pages_[index_high(hash)];
    if (page == nullptr) {
      page = std::make_shared<Page>();
    } else if (!sole_owner(page)) {
      page = std::make_shared<Page>(*page);
    }
    std::shared_ptr<Shard>& shard = page->shards[index_low(hash)];
    if (shard == nullptr) {
      shard = std::make_shared<Shard>();
    } else if (!sole_owner(shard)) {
      shard = std::make_shared<Shard>(*shard);
    }
    return *shard;
  }

  template <class Fn>
  void for_each_shard(Fn&& fn) const {
    for (const auto& page : pages_) {
      if (page == nullptr) continue;
      for (const auto& shard : page->shards) {
        if (shard != nullptr) fn(*shard);
      }
    }
  }

 private:
  struct Page {
    std::array<std::shared_ptr<Shard>, kFan> shards;
  };
  static size_t index_high(uint64_t hash) { return hash >> 58; }
  static size_t index_low(uint64_t hash) { return (hash >> 52) & (kFan - 1); }

  std::array<std::shared_ptr<Page>, kFan> pages_;
};

}  // namespace tenancy
