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

std::optional<Closure> RoleTable::find_closure(uint32_t position) const {
  constexpr uint32_t kClosures = ClosureChunk::kClosures;
  const size_t at = position / kClosures;
  const ClosureChunk* chunk = nullptr;
  if (at == 0) {
    chunk = first.get();
  } else if (at <= more.size()) {
    chunk = more[at - 1].get();
  }
  if (chunk != nullptr && chunk->has(position % kClosures)) {
    return chunk->get(position % kClosures);
  }
  const LateClosure* compiled = late == nullptr ? nullptr : late->find(position);
  if (compiled == nullptr) return std::nullopt;
  return compiled->view();
}

Closure RoleTable::closure_late(uint32_t position, const Duties& duties) const {
  if (const auto known = find_closure(position)) return *known;
  ClosureBuilder builder;
  build_closure(position, duties, &builder);
  return late->keep(position, of_tenant ? builder.view_of_own() : builder.view());
}

void RoleTable::build_closure(uint32_t position, const Duties& duties, ClosureBuilder* out) const {
  out->clear();
  std::vector<uint32_t> queue{position};
  std::vector<bool> seen;
  std::vector<PatternKey> allow;
  for (size_t i = 0; i < queue.size(); ++i) {
    if (i > 0) {
      if (const auto known = find_closure(queue[i])) {
        out->add(*known);
        continue;
      }
    }
    const Role& role = *roles[queue[i]];
    allow.assign(role.allow.begin(), role.allow.end());
    for (const RoleCode parent : role.parents) {
      allow.push_back(make_key(KeyKind::kAncestor, parent));
      if (is_own(parent) != of_tenant) continue;
      if (seen.empty()) seen.resize(roles.size());
      if (seen[role_index(parent)]) continue;
      seen[role_index(parent)] = true;
      queue.push_back(role_index(parent));
    }
    out->add(allow, role.deny);
    if (of_tenant) continue;  // duties name shared roles only
    for (const DutyCodes& rule : duties.dynamic) {
      if (std::ranges::find(rule.roles, queue[i]) != rule.roles.end()) out->set_dynamic_duty();
    }
  }
}

size_t RoleTable::closure_cost(uint32_t position) const {
  constexpr size_t kAllocated = 16;
  const auto known = find_closure(position);
  return kAllocated + (known ? known->blocks().size() : roles.size() / 64);
}

void RoleTable::forget_closures() {
  first = nullptr;
  more.clear();
  late = std::make_shared<LateClosures>(roles.size());
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
