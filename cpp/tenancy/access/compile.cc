#include "tenancy/access/compile.h"

#include <algorithm>
#include <utility>

namespace tenancy::access {

namespace {

class TableCompiler {
 public:
  // `owner` is null for the shared table.
  TableCompiler(const State& state, const TenantAccess* owner, RoleTable& table, EditToken token)
      : state_(state), owner_(owner), table_(table), token_(token) {}

  // Returns the positions whose closures were made anew, parents first.
  std::vector<uint32_t> run(const std::vector<uint32_t>& dirty) {
    const std::vector<uint32_t> order = affected(dirty);
    for (const uint32_t position : order) {
      build(position);
      table_.set_closure(position, closure_.view(), token_);
    }
    return order;
  }

 private:
  // The edited roles and all below them, each after its parents (Kahn's algorithm inside that set).
  std::vector<uint32_t> affected(const std::vector<uint32_t>& dirty) const {
    std::vector<bool> marked(table_.roles.size());
    std::vector<uint32_t> found;
    const auto mark = [&](uint32_t position) {
      if (marked[position] || table_.roles[position] == nullptr) return;
      marked[position] = true;
      found.push_back(position);
    };
    for (const uint32_t position : dirty) mark(position);
    for (size_t i = 0; i < found.size(); ++i) {
      for (const RoleCode child : table_.roles[found[i]]->children) mark(role_index(child));
    }
    if (found.size() == 1) return found;

    std::vector<uint32_t> waits(table_.roles.size());
    std::vector<uint32_t> order;
    for (const uint32_t position : found) {
      for (const RoleCode parent : table_.roles[position]->parents) {
        if (in_table(parent) && marked[role_index(parent)]) ++waits[position];
      }
      if (waits[position] == 0) order.push_back(position);
    }
    for (size_t i = 0; i < order.size(); ++i) {
      for (const RoleCode child : table_.roles[order[i]]->children) {
        if (--waits[role_index(child)] == 0) order.push_back(role_index(child));
      }
    }
    return order;
  }

  // Into `closure_`.
  void build(uint32_t position) {
    const Role& role = *table_.roles[position];
    closure_.clear();
    keys_.assign(role.allow.begin(), role.allow.end());
    for (const RoleCode parent : role.parents) {
      closure_.add(state_.closure(owner_, parent));
      keys_.push_back(make_key(KeyKind::kAncestor, parent));
    }
    closure_.add(keys_, role.deny);
    const RoleCode self = owner_ == nullptr ? position : position | kOwnRole;
    for (const DutyCodes& rule : state_.duties->dynamic) {
      if (std::ranges::find(rule.roles, self) != rule.roles.end()) closure_.set_dynamic_duty();
    }
  }

  bool in_table(RoleCode code) const { return is_own(code) == (owner_ != nullptr); }

  const State& state_;
  const TenantAccess* owner_;
  RoleTable& table_;
  EditToken token_;
  ClosureBuilder closure_;  // kept from role to role for its memory
  std::vector<PatternKey> keys_;
};

// Roles of tenants that inherit a shared role whose closure is new.
void spread_to_tenants(const State& state, const std::vector<uint32_t>& renewed,
                       DirtyRoles* dirty) {
  std::vector<bool> is_new(state.shared->roles.size());
  for (const uint32_t position : renewed) is_new[position] = true;
  state.for_each_tenant([&](TenantIndex index, const TenantAccess& tenant) {
    if (tenant.roles == nullptr) return;
    for_each_role(*tenant.roles, [&](uint32_t position, const Role& role) {
      const bool below = std::ranges::any_of(
          role.parents, [&](RoleCode parent) { return !is_own(parent) && is_new[parent]; });
      if (below) (*dirty)[index].push_back(position);
    });
  });
}

}  // namespace

void compile(State& state, DirtyRoles dirty, EditToken token) {
  if (auto shared = dirty.extract(kAllTenants); !shared.empty()) {
    RoleTable& table = own(state.shared, token);
    const auto renewed = TableCompiler(state, nullptr, table, token).run(shared.mapped());
    spread_to_tenants(state, renewed, &dirty);
  }
  for (const auto& [index, positions] : dirty) {
    const TenantAccess* before = state.tenant(index);
    if (before == nullptr || before->roles == nullptr) continue;
    TenantAccess& tenant = state.edit_tenant(index, token);
    TableCompiler(state, &tenant, own(tenant.roles, token), token).run(positions);
  }
}

}  // namespace tenancy::access
