#include "tenancy/access/compile.h"

#include <algorithm>
#include <optional>

namespace tenancy::access {

namespace {

class TableCompiler {
 public:
  TableCompiler(RoleTable& table, const Duties& duties, EditToken token)
      : table_(table), duties_(duties), token_(token) {}

  void run(const std::vector<uint32_t>& dirty, size_t eager_cost) {
    const auto order = affected(dirty, eager_cost);
    if (!order) {
      table_.forget_closures();
      return;
    }
    for (const uint32_t position : *order) {
      table_.build_closure(position, duties_, &closure_);
      table_.set_closure(position, table_.of_tenant ? closure_.view_of_own() : closure_.view(),
                         token_);
    }
  }

 private:
  // The edited roles and all below them, each after its parents (Kahn's algorithm inside that set);
  // nothing where those below are too many.
  std::optional<std::vector<uint32_t>> affected(const std::vector<uint32_t>& dirty,
                                                size_t eager_cost) const {
    std::vector<bool> marked(table_.roles.size());
    std::vector<uint32_t> found;
    const auto mark = [&](uint32_t position) {
      if (marked[position] || table_.roles[position] == nullptr) return;
      marked[position] = true;
      found.push_back(position);
    };
    for (const uint32_t position : dirty) mark(position);
    const size_t edited = found.size();
    size_t cost = 0;
    for (size_t i = 0; i < found.size(); ++i) {
      if (i >= edited) cost += table_.closure_cost(found[i]);
      if (cost > eager_cost) return std::nullopt;
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

  bool in_table(RoleCode code) const { return is_own(code) == table_.of_tenant; }

  RoleTable& table_;
  const Duties& duties_;
  EditToken token_;
  ClosureBuilder closure_;  // kept from role to role for its memory
};

}  // namespace

void compile(State& state, const DirtyRoles& dirty, size_t eager_cost, EditToken token) {
  for (const auto& [owner, positions] : dirty) {
    RoleTable* table = nullptr;
    if (owner == kAllTenants) {
      table = &own(state.shared, token);
    } else if (const TenantAccess* tenant = state.tenant(owner);
               tenant != nullptr && tenant->roles != nullptr) {
      table = &own(state.edit_tenant(owner, token).roles, token);
    }
    if (table != nullptr) TableCompiler(*table, *state.duties, token).run(positions, eager_cost);
  }
}

}  // namespace tenancy::access
