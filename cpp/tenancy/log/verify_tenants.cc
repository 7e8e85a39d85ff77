#include "tenancy/log/verify_tenants.h"

#include <algorithm>

#include "tenancy/log/merkle.h"
#include "tenancy/log/segment.h"

namespace tenancy::log {
namespace {

void sort_by_key(std::vector<TenantEntry>* entries) {
  std::sort(entries->begin(), entries->end(),
            [](const TenantEntry& a, const TenantEntry& b) { return a.key < b.key; });
}

}  // namespace

uint32_t TenantStates::add(const TenantEntry& entry) {
  entries_.push_back(entry);
  segments_.push_back(0);
  return static_cast<uint32_t>(entries_.size() - 1);
}

bool TenantStates::learn(const TenantEntry& entry) {
  const auto [at, added] = learnt_.try_emplace(entry.key, 0);
  if (added) at->second = add({entry.key, 0, Tag{}});
  TenantEntry& known = entries_[at->second];
  if (entry.sequence <= known.sequence) return false;
  known = entry;
  return true;
}

TenantEntry& TenantStates::of(std::string_view tenant) {
  const auto found = names_.find(tenant);
  if (found != names_.end()) return entries_[found->second];
  const TenantKey key = tenant_key(log_id_, chain_, tenant);
  const auto learnt = learnt_.find(key);
  const uint32_t which = learnt != learnt_.end() ? learnt->second : add({key, 0, Tag{}});
  names_.emplace(std::string(tenant), which);
  return entries_[which];
}

void TenantStates::touch(TenantEntry& entry, uint64_t sequence, const Tag& tag) {
  entry.sequence = sequence;
  entry.tag = tag;
  const auto which = static_cast<uint32_t>(&entry - entries_.data());
  if (segments_[which] == segment_) return;
  segments_[which] = segment_;
  touched_.push_back(which);
}

void TenantStates::begin_segment() {
  ++segment_;
  touched_.clear();
}

std::vector<TenantEntry> TenantStates::of_segment() const {
  std::vector<TenantEntry> out;
  out.reserve(touched_.size());
  for (const uint32_t which : touched_) out.push_back(entries_[which]);
  sort_by_key(&out);
  return out;
}

std::vector<TenantEntry> TenantStates::all() const {
  // A tenant whose first record was refused has a place here, and no head.
  std::vector<TenantEntry> out;
  out.reserve(entries_.size());
  for (const TenantEntry& entry : entries_) {
    if (entry.sequence != 0) out.push_back(entry);
  }
  sort_by_key(&out);
  return out;
}

Digest256 tenants_root(const std::vector<TenantEntry>& entries) {
  CompactRange tree;
  std::string leaf;
  for (const TenantEntry& entry : entries) {
    leaf.clear();
    put_entry(&leaf, entry);
    tree.append(leaf_hash(leaf));
  }
  return tree.root();
}

}  // namespace tenancy::log
