#include "tenancy/access/state.h"

#include <algorithm>

namespace tenancy::access {

State::State()
    : shared(std::make_shared<RoleTable>()),
      duties(std::make_shared<Duties>()),
      declared(std::make_shared<std::vector<PatternKey>>()),
      tenants(std::make_shared<TenantTree>()) {}

TenantAccess& State::edit_tenant(TenantIndex index, EditToken token) {
  constexpr uint32_t kFan = TenantTree::kFan;
  auto& branches = own(tenants, token).branches;
  const size_t branch_at = index / (kFan * kFan);
  if (branches.size() <= branch_at) branches.resize(branch_at + 1);
  auto& leaf = own(branches[branch_at], token).leaves[index / kFan % kFan];
  return own(own(leaf, token).tenants[index % kFan], token);
}

void State::drop_tenant(TenantIndex index, EditToken token) {
  if (tenant(index) == nullptr) return;
  constexpr uint32_t kFan = TenantTree::kFan;
  auto& branch = own(own(tenants, token).branches[index / (kFan * kFan)], token);
  own(branch.leaves[index / kFan % kFan], token).tenants[index % kFan] = nullptr;
}

ScopeSetId State::add_scope(const Closure& closure, EditToken token) {
  const ScopeSetId id = scope_count++;
  constexpr uint32_t kClosures = ClosureChunk::kClosures;
  if (id % kClosures == 0) scopes.push_back(nullptr, token);
  own(scopes.edit(id / kClosures, token), token).set(id % kClosures, closure);
  return id;
}

void RoleTable::set_closure(uint32_t position, const Closure& closure, EditToken edit) {
  constexpr uint32_t kClosures = ClosureChunk::kClosures;
  if (position < kClosures) {
    own(first, edit).set(position, closure);
    return;
  }
  const size_t at = position / kClosures - 1;
  if (more.size() <= at) more.resize(at + 1);
  own(more[at], edit).set(position % kClosures, closure);
}

RoleCode State::find_role(const TenantAccess* owner, std::string_view name) const {
  if (owner != nullptr && owner->roles != nullptr) {
    if (const uint32_t value = owner->roles->names.find(name).value; value != 0) {
      return (value - 1) | kOwnRole;
    }
  }
  const uint32_t value = shared->names.find(name).value;
  return value == 0 ? kNoRole : value - 1;
}

std::vector<RoleCode> State::visible_roles(const TenantAccess* owner) const {
  std::vector<RoleCode> codes;
  for_each_role(*shared, [&](uint32_t at, const Role&) { codes.push_back(at); });
  if (owner != nullptr && owner->roles != nullptr) {
    for_each_role(*owner->roles, [&](uint32_t at, const Role&) { codes.push_back(at | kOwnRole); });
  }
  std::ranges::sort(
      codes, [&](RoleCode a, RoleCode b) { return role(owner, a).name < role(owner, b).name; });
  return codes;
}

RoleDef State::definition(const TenantAccess* owner, RoleCode code) const {
  const Role& held = role(owner, code);
  RoleDef def;
  def.name = held.name;
  for (const PatternKey key : held.allow) def.permissions.push_back(symbols.text(key));
  for (const PatternKey key : held.deny) def.denies.push_back(symbols.text(key));
  for (const RoleCode parent : held.parents) def.inherits.push_back(role(owner, parent).name);
  return def;
}

}  // namespace tenancy::access
