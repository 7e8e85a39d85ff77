#include "tenancy/access/closure.h"

#include <bit>
#include <utility>

namespace tenancy::access {

namespace {

constexpr uint32_t kFirstWildcardBlock = make_key(KeyKind::kAnyAction, 0) >> 6;
constexpr uint32_t kFirstAncestorBlock = make_key(KeyKind::kAncestor, 0) >> 6;

}  // namespace

bool Closure::same_rights(const Closure& other) const {
  const auto rights = [](const Closure& closure) {
    const auto end = std::ranges::find_if(closure.blocks_, [](const ClosureBlock& block) {
      return block.number >= kFirstAncestorBlock;
    });
    return closure.blocks_.first(static_cast<size_t>(end - closure.blocks_.begin()));
  };
  return std::ranges::equal(rights(*this), rights(other));
}

void ClosureBuilder::set(PatternKey key, bool deny) {
  const uint32_t number = key >> 6;
  if (last_ >= blocks_.size() || blocks_[last_].number != number) {
    auto at = std::lower_bound(
        blocks_.begin(), blocks_.end(), number,
        [](const ClosureBlock& block, uint32_t wanted) { return block.number < wanted; });
    if (at == blocks_.end() || at->number != number) {
      at = blocks_.insert(at, ClosureBlock{number, 0, 0});
    }
    last_ = static_cast<size_t>(at - blocks_.begin());
  }
  (deny ? blocks_[last_].deny : blocks_[last_].allow) |= uint64_t{1} << (key & 63);
}

void ClosureBuilder::add(std::span<const PatternKey> allow, std::span<const PatternKey> deny) {
  for (const PatternKey key : allow) set(key, false);
  for (const PatternKey key : deny) set(key, true);
}

void ClosureBuilder::add(const Closure& other) {
  dynamic_duty_ |= other.flags().dynamic_duty;
  const std::span<const ClosureBlock> theirs = other.blocks();
  if (blocks_.empty()) {
    blocks_.assign(theirs.begin(), theirs.end());
    return;
  }
  std::vector<ClosureBlock> merged;
  merged.reserve(blocks_.size() + theirs.size());
  auto a = blocks_.begin();
  auto b = theirs.begin();
  while (a != blocks_.end() || b != theirs.end()) {
    if (b == theirs.end() || (a != blocks_.end() && a->number < b->number)) {
      merged.push_back(*a++);
    } else if (a == blocks_.end() || b->number < a->number) {
      merged.push_back(*b++);
    } else {
      merged.push_back({a->number, a->allow | b->allow, a->deny | b->deny});
      ++a;
      ++b;
    }
  }
  blocks_ = std::move(merged);
}

Closure ClosureBuilder::view() const {
  const bool wildcards = std::ranges::any_of(blocks_, [](const ClosureBlock& block) {
    return block.number >= kFirstWildcardBlock && block.number < kFirstAncestorBlock;
  });
  return {blocks_, {wildcards, dynamic_duty_}};
}

Closure ClosureBuilder::view_of_own() const {
  const Closure whole = view();
  const std::span<const ClosureBlock> named = Closure::shared_ancestors(blocks_);
  if (named.empty()) return whole;
  const bool one = named.size() == 1 && std::has_single_bit(named[0].allow);
  const RoleCode only =
      key_id(named[0].number << 6) | static_cast<RoleCode>(std::countr_zero(named[0].allow));
  return {blocks_, whole.flags(), one ? only : kSeveralRoles};
}

void ClosureChunk::set(uint32_t at, const Closure& closure) {
  dead += entries[at].count;
  entries[at].begin = 0;
  entries[at].count = 0;
  if (dead > 64 && dead * 2 > blocks.size()) {
    std::vector<ClosureBlock> live;
    live.reserve(blocks.size() - dead + closure.blocks().size());
    for (Entry& entry : entries) {
      const auto begin = blocks.begin() + entry.begin;
      entry.begin = static_cast<uint32_t>(live.size());
      live.insert(live.end(), begin, begin + entry.count);
    }
    blocks = std::move(live);
    dead = 0;
  }
  entries[at].begin = static_cast<uint32_t>(blocks.size());
  entries[at].count = static_cast<uint32_t>(closure.blocks().size()) & (kKeyIdMask >> 1);
  entries[at].compiled = 1;
  entries[at].wildcards = closure.flags().wildcards;
  entries[at].dynamic_duty = closure.flags().dynamic_duty;
  entries[at].shared = closure.shared();
  blocks.insert(blocks.end(), closure.blocks().begin(), closure.blocks().end());
}

}  // namespace tenancy::access
