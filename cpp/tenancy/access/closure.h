// Closure: everything a role, or a key's scopes, give and deny, parents included, as one sparse
// bitset.
//
// A key names a permission ("a:b"), a wildcard ("a:*", "*:b", "*:*") or an ancestor role, as a
// number: the kind in the two upper bits, the identifier in the rest. Bits are kept in blocks of 64
// keys, sorted. Wildcards stay wildcards: a permission invented later is covered without touching
// any closure.
//
// Ownership: std::shared_ptr<const Closure>. Thread safety: immutable once built.
#pragma once

#include <absl/container/inlined_vector.h>

#include <algorithm>
#include <cstdint>
#include <span>

namespace tenancy::access {

enum class KeyKind : uint32_t {
  kExact = 0,        // identifier of a permission
  kAnyAction = 1,    // of a resource; 0 is any resource, so this kind with 0 is "*:*"
  kAnyResource = 2,  // of an action
  kAncestor = 3,     // code of a role
};

using PatternKey = uint32_t;
constexpr uint32_t kKeyIdBits = 30;
constexpr uint32_t kKeyIdMask = (uint32_t{1} << kKeyIdBits) - 1;
constexpr uint32_t kNoId = kKeyIdMask;  // a name nobody has mentioned

constexpr PatternKey make_key(KeyKind kind, uint32_t id) {
  return (static_cast<uint32_t>(kind) << kKeyIdBits) | id;
}
constexpr KeyKind key_kind(PatternKey key) { return static_cast<KeyKind>(key >> kKeyIdBits); }
constexpr uint32_t key_id(PatternKey key) { return key & kKeyIdMask; }
constexpr PatternKey kEverything = make_key(KeyKind::kAnyAction, 0);

// A permission asked for, as identifiers; kNoId where the name is unknown.
struct Permission {
  uint32_t exact = kNoId;
  uint32_t resource = kNoId;
  uint32_t action = kNoId;
};

// What closures say about a permission; several are joined with '|', and a denial wins.
struct Verdict {
  bool allow = false;
  bool deny = false;
  Verdict& operator|=(Verdict other) {
    allow |= other.allow;
    deny |= other.deny;
    return *this;
  }
};

class Closure {
 public:
  // `dynamic_duty`: a dynamic separation-of-duty rule names the role or one of its ancestors.
  bool dynamic_duty() const { return dynamic_duty_; }
  // Verdicts other than by the exact name are possible.
  bool has_wildcards() const { return has_wildcards_; }

  Verdict exact(uint32_t permission) const {
    return permission == kNoId ? Verdict{} : probe(make_key(KeyKind::kExact, permission));
  }
  Verdict wildcard(const Permission& asked) const {
    Verdict verdict = probe(kEverything);
    if (asked.resource != kNoId) {
      verdict |= probe(make_key(KeyKind::kAnyAction, asked.resource));
    }
    if (asked.action != kNoId) verdict |= probe(make_key(KeyKind::kAnyResource, asked.action));
    return verdict;
  }
  Verdict judge(const Permission& asked) const {
    Verdict verdict = exact(asked.exact);
    if (has_wildcards_) verdict |= wildcard(asked);
    return verdict;
  }
  // Is that key itself among what is given (allow) or denied? For an ancestor, `allow` says so.
  Verdict probe(PatternKey key) const {
    const uint32_t wanted = key >> 6;
    const Block* block = blocks_.data();
    const Block* const end = block + blocks_.size();
    if (blocks_.size() > kLinearMax) {
      block = std::lower_bound(block, end, wanted,
                               [](const Block& b, uint32_t number) { return b.number < number; });
    }
    for (; block != end && block->number <= wanted; ++block) {
      if (block->number == wanted) {
        return {((block->allow >> (key & 63)) & 1) != 0, ((block->deny >> (key & 63)) & 1) != 0};
      }
    }
    return {};
  }

  // Calls fn(PatternKey, Verdict) in ascending order of keys.
  template <class Fn>
  void for_each(Fn&& fn) const {
    for (const Block& block : blocks_) {
      for (uint64_t left = block.allow | block.deny; left != 0; left &= left - 1) {
        const auto bit = static_cast<uint32_t>(__builtin_ctzll(left));
        const uint64_t mask = uint64_t{1} << bit;
        fn((block.number << 6) | bit, Verdict{(block.allow & mask) != 0, (block.deny & mask) != 0});
      }
    }
  }

  // Building. Keys in any order, duplicates welcome.
  void add(std::span<const PatternKey> allow, std::span<const PatternKey> deny);
  void add(const Closure& other);
  void set_dynamic_duty(bool value) { dynamic_duty_ = value; }

  size_t memory_bytes() const {
    return sizeof *this + (blocks_.size() > kInlineBlocks ? blocks_.capacity() * sizeof(Block) : 0);
  }
  // The same rights and denials; ancestors do not matter.
  bool same_rights(const Closure& other) const;

 private:
  static constexpr size_t kInlineBlocks = 2;
  static constexpr size_t kLinearMax = 8;

  struct Block {
    uint32_t number = 0;
    uint64_t allow = 0;
    uint64_t deny = 0;
  };
  using Blocks = absl::InlinedVector<Block, kInlineBlocks>;

  void set(PatternKey key, bool deny);
  void find_wildcards();

  bool has_wildcards_ = false;
  bool dynamic_duty_ = false;
  Blocks blocks_;
};

}  // namespace tenancy::access
