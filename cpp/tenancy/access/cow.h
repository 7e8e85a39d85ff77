// Copy-on-write containers whose nodes remember which edit made them.
//
// A snapshot shares every node with the snapshots before and after it. An edit holds a token no
// other edit ever had; a node bearing that token was made by this edit and nobody else can see it
// yet, so it is changed in place, and any other node is copied first. (A reference count of one
// would not do as that sign: reading the count does not order us after the last reader.)
//
// Ownership: values; copying one shares all nodes. Thread safety: a container may be read by many
// threads as long as nobody changes *that* copy under a token some of its nodes bear.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace tenancy::access {

using EditToken = uint64_t;

// Never returns the same number twice in a process.
EditToken next_edit_token();

// `*node` made private to the edit: created, copied or left as it is. T has a member `token`.
template <class T>
T& own(std::shared_ptr<T>& node, EditToken token) {
  if (node == nullptr) {
    node = std::make_shared<T>();
    node->token = token;
  } else if (node->token != token) {
    node = std::make_shared<T>(*node);
    node->token = token;
  }
  return *node;
}

// 4,096 leaves behind 64 pages: copying it copies 64 pointers, changing a leaf copies one page and
// the leaf.
template <class Leaf>
class CowPages {
 public:
  static constexpr uint32_t kFan = 64;
  static constexpr uint32_t kLeaves = kFan * kFan;

  const Leaf* find(uint32_t position) const {
    const Page* page = pages_[position / kFan].get();
    return page == nullptr ? nullptr : page->leaves[position % kFan].get();
  }

  Leaf& edit(uint32_t position, EditToken token) {
    return own(own(pages_[position / kFan], token).leaves[position % kFan], token);
  }

  template <class Fn>
  void for_each(Fn&& fn) const {
    for (const auto& page : pages_) {
      if (page == nullptr) continue;
      for (const auto& leaf : page->leaves) {
        if (leaf != nullptr) fn(*leaf);
      }
    }
  }

  size_t memory_bytes() const {
    size_t pages = 0;
    for (const auto& page : pages_) pages += page != nullptr;
    return sizeof(*this) + pages * sizeof(Page);
  }

 private:
  struct Page {
    EditToken token = 0;
    std::array<std::shared_ptr<Leaf>, kFan> leaves;
  };

  std::array<std::shared_ptr<Page>, kFan> pages_;
};

// An array in chunks: changing an item copies the list of chunks and one chunk.
template <class T, uint32_t kChunkItems>
class CowVector {
 public:
  uint32_t size() const { return size_; }
  const T& operator[](uint32_t index) const {
    return top_->chunks[index / kChunkItems]->items[index % kChunkItems];
  }
  T& edit(uint32_t index, EditToken token) {
    return own(own(top_, token).chunks[index / kChunkItems], token).items[index % kChunkItems];
  }
  uint32_t push_back(T item, EditToken token) {
    Top& top = own(top_, token);
    if (size_ % kChunkItems == 0) top.chunks.emplace_back();
    own(top.chunks.back(), token).items[size_ % kChunkItems] = std::move(item);
    return size_++;
  }
  size_t memory_bytes() const {
    if (top_ == nullptr) return 0;
    return sizeof(Top) + top_->chunks.size() * (sizeof(Chunk) + sizeof(std::shared_ptr<Chunk>));
  }

 private:
  struct Chunk {
    EditToken token = 0;
    std::array<T, kChunkItems> items{};
  };
  struct Top {
    EditToken token = 0;
    std::vector<std::shared_ptr<Chunk>> chunks;
  };

  std::shared_ptr<Top> top_;
  uint32_t size_ = 0;
};

}  // namespace tenancy::access
