// Closure: everything a role, or a key's scopes, give and deny, parents included, as one sparse
// bitset.
//
// Parents of another table are not included: a tenant's role only names the shared roles that it or
// its tenant's roles inherit, and a check looks at their closures too. So a closure depends on one
// table alone, and an edit of a shared role costs nothing per tenant.
//
// A key names a permission ("a:b"), a wildcard ("a:*", "*:b", "*:*") or an ancestor role, as a
// number: the kind in the two upper bits, the identifier in the rest. Bits are kept in blocks of 64
// keys, sorted. Wildcards stay wildcards: a permission invented later is covered without touching
// any closure.
//
// Closures of 32 neighbours lie in one ClosureChunk, so that the roles of a small tenant share
// cache lines. Closure is a view; it is good as long as its chunk (or builder) is neither changed
// nor dropped.
//
// Ownership: chunks are shared by snapshots, copy-on-write (cow.h). Thread safety: as in cow.h.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "tenancy/access/cow.h"

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

// A role of a tenant or, with kOwnRole, of the tenant's own table. Fits the identifier of a
// PatternKey.
using RoleCode = uint32_t;
constexpr RoleCode kOwnRole = uint32_t{1} << 29;
constexpr RoleCode kNoRole = UINT32_MAX;
constexpr RoleCode kSeveralRoles = UINT32_MAX - 1;

constexpr bool is_own(RoleCode code) { return (code & kOwnRole) != 0; }
constexpr uint32_t role_index(RoleCode code) { return code & ~kOwnRole; }

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

struct ClosureBlock {
  uint32_t number = 0;  // of the first key / 64
  uint64_t allow = 0;
  uint64_t deny = 0;
  bool operator==(const ClosureBlock&) const = default;
};

class Closure {
 public:
  struct Flags {
    bool wildcards = false;     // a verdict other than by the exact name is possible
    bool dynamic_duty = false;  // a dynamic rule names the role or one of its ancestors
  };

  Closure() = default;
  Closure(std::span<const ClosureBlock> blocks, Flags flags, RoleCode shared = kNoRole)
      : blocks_(blocks), flags_(flags), shared_(shared) {}

  std::span<const ClosureBlock> blocks() const { return blocks_; }
  Flags flags() const { return flags_; }
  // The shared role that counts beside this closure, kNoRole, or kSeveralRoles.
  RoleCode shared() const { return shared_; }
  // Calls fn(RoleCode) for each of them.
  template <class Fn>
  void for_each_shared(Fn&& fn) const {
    if (shared_ == kNoRole) return;
    if (shared_ != kSeveralRoles) return fn(shared_);
    for (const ClosureBlock& block : shared_ancestors(blocks_)) {
      for (uint64_t left = block.allow; left != 0; left &= left - 1) {
        fn(key_id((block.number << 6) | static_cast<uint32_t>(__builtin_ctzll(left))));
      }
    }
  }
  // The part of sorted blocks that names shared roles.
  static std::span<const ClosureBlock> shared_ancestors(std::span<const ClosureBlock> blocks) {
    constexpr uint32_t kFirst = make_key(KeyKind::kAncestor, 0) >> 6;
    constexpr uint32_t kEnd = make_key(KeyKind::kAncestor, kOwnRole) >> 6;
    const auto before = [](const ClosureBlock& b, uint32_t number) { return b.number < number; };
    const auto begin = std::lower_bound(blocks.begin(), blocks.end(), kFirst, before);
    return {begin, std::lower_bound(begin, blocks.end(), kEnd, before)};
  }

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
    if (flags_.wildcards) verdict |= wildcard(asked);
    return verdict;
  }
  // Is that key itself among what is given (allow) or denied? For an ancestor, `allow` says so.
  Verdict probe(PatternKey key) const {
    constexpr size_t kLinearMax = 8;
    const uint32_t wanted = key >> 6;
    const ClosureBlock* block = blocks_.data();
    const ClosureBlock* const end = block + blocks_.size();
    if (blocks_.size() > kLinearMax) {
      block = std::lower_bound(block, end, wanted, [](const ClosureBlock& b, uint32_t number) {
        return b.number < number;
      });
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
    for (const ClosureBlock& block : blocks_) {
      for (uint64_t left = block.allow | block.deny; left != 0; left &= left - 1) {
        const auto bit = static_cast<uint32_t>(__builtin_ctzll(left));
        const uint64_t mask = uint64_t{1} << bit;
        fn((block.number << 6) | bit, Verdict{(block.allow & mask) != 0, (block.deny & mask) != 0});
      }
    }
  }

  // The same rights and denials; ancestors do not matter.
  bool same_rights(const Closure& other) const;

 private:
  std::span<const ClosureBlock> blocks_;
  Flags flags_;
  RoleCode shared_ = kNoRole;
};

class ClosureBuilder {
 public:
  // Keys in any order, duplicates welcome.
  void add(std::span<const PatternKey> allow, std::span<const PatternKey> deny);
  void add(const Closure& other);
  void clear() {
    blocks_.clear();
    last_ = 0;
    dynamic_duty_ = false;
  }
  void set_dynamic_duty() { dynamic_duty_ = true; }
  Closure view() const;
  // The same of a tenant's role: it names the shared roles among its ancestors.
  Closure view_of_own() const;

 private:
  void set(PatternKey key, bool deny);

  std::vector<ClosureBlock> blocks_;
  size_t last_ = 0;  // where the last key went: keys come in runs
  bool dynamic_duty_ = false;
};

// What a check reads comes first and fits few lines: the pointer to the blocks, then twelve bytes a
// closure.
struct ClosureChunk {
  static constexpr uint32_t kClosures = 32;
  struct Entry {
    uint32_t begin = 0;
    uint32_t count : 29 = 0;
    uint32_t compiled : 1 = 0;
    uint32_t wildcards : 1 = 0;
    uint32_t dynamic_duty : 1 = 0;
    RoleCode shared = kNoRole;
  };

  std::vector<ClosureBlock> blocks;
  std::array<Entry, kClosures> entries;
  EditToken token = 0;
  size_t dead = 0;  // blocks that no entry owns any more

  Closure get(uint32_t at) const {
    const Entry& entry = entries[at];
    return {{blocks.data() + entry.begin, entry.count},
            {entry.wildcards != 0, entry.dynamic_duty != 0},
            entry.shared};
  }
  bool has(uint32_t at) const { return entries[at].compiled != 0; }
  void set(uint32_t at, const Closure& closure);
  // Asks the memory for what `get` will read, a little later.
  void prefetch() const {
    __builtin_prefetch(this);
    __builtin_prefetch(reinterpret_cast<const char*>(this) + 64);
  }
  size_t memory_bytes() const { return sizeof *this + blocks.capacity() * sizeof(ClosureBlock); }
};

}  // namespace tenancy::access
