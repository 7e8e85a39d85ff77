#include "tenancy/access/closure.h"

#include <utility>

namespace tenancy::access {

namespace {

constexpr uint32_t kFirstWildcardBlock = make_key(KeyKind::kAnyAction, 0) >> 6;
constexpr uint32_t kFirstAncestorBlock = make_key(KeyKind::kAncestor, 0) >> 6;

}  // namespace

void Closure::set(PatternKey key, bool deny) {
  const uint32_t number = key >> 6;
  auto at = std::lower_bound(blocks_.begin(), blocks_.end(), number,
                             [](const Block& b, uint32_t wanted) { return b.number < wanted; });
  if (at == blocks_.end() || at->number != number) at = blocks_.insert(at, Block{number, 0, 0});
  (deny ? at->deny : at->allow) |= uint64_t{1} << (key & 63);
}

void Closure::add(std::span<const PatternKey> allow, std::span<const PatternKey> deny) {
  for (const PatternKey key : allow) set(key, false);
  for (const PatternKey key : deny) set(key, true);
  find_wildcards();
}

void Closure::add(const Closure& other) {
  Blocks merged;
  merged.reserve(std::max(blocks_.size(), other.blocks_.size()));
  const Block* a = blocks_.data();
  const Block* const a_end = a + blocks_.size();
  const Block* b = other.blocks_.data();
  const Block* const b_end = b + other.blocks_.size();
  while (a != a_end || b != b_end) {
    if (b == b_end || (a != a_end && a->number < b->number)) {
      merged.push_back(*a++);
    } else if (a == a_end || b->number < a->number) {
      merged.push_back(*b++);
    } else {
      merged.push_back({a->number, a->allow | b->allow, a->deny | b->deny});
      ++a;
      ++b;
    }
  }
  blocks_ = std::move(merged);
  dynamic_duty_ |= other.dynamic_duty_;
  find_wildcards();
}

void Closure::find_wildcards() {
  has_wildcards_ = std::any_of(blocks_.begin(), blocks_.end(), [](const Block& block) {
    return block.number >= kFirstWildcardBlock && block.number < kFirstAncestorBlock;
  });
}

bool Closure::same_rights(const Closure& other) const {
  const auto rights_end = [](const Blocks& blocks) {
    return std::find_if(blocks.begin(), blocks.end(),
                        [](const Block& b) { return b.number >= kFirstAncestorBlock; });
  };
  return std::equal(blocks_.begin(), rights_end(blocks_), other.blocks_.begin(),
                    rights_end(other.blocks_), [](const Block& a, const Block& b) {
                      return a.number == b.number && a.allow == b.allow && a.deny == b.deny;
                    });
}

}  // namespace tenancy::access
