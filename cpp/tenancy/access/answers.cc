#include "tenancy/access/answers.h"

#include <algorithm>
#include <tuple>

#include "tenancy/access/decide.h"

namespace tenancy::access {

namespace {

bool is_exact(PatternKey key) { return key_kind(key) == KeyKind::kExact; }

// Is every permission that a role gives held too, those nobody has named included? A name that
// neither side mentions (kNoId) stands for all such names: it can be covered by a wildcard only. So
// where it is held, everything under the pattern is allowed, and only a denial can take something
// back.
class GrantComparer {
 public:
  GrantComparer(const State& state, const AccessQuery& holder, RoleCode role)
      : state_(state), holder_(holder) {
    const TenantAccess* tenant = state_.tenant(holder.tenant);
    role_ = state_.whole(tenant, role, &role_memory_);
    for_each_grant(find_principal(tenant, holder.principal),
                   [&](RoleCode code, std::string_view resource, int64_t until_ns) {
                     if (counts(resource, until_ns, holder.resource, holder.wall_ns)) {
                       state_.for_each_part(tenant, code,
                                            [this](const Closure& part) { held_.push_back(part); });
                     }
                     return true;
                   });
  }

  // The first by name of what is missing.
  std::optional<std::string> first_missing() {
    std::optional<std::string> first;
    const auto note = [&](const Permission& asked) {
      const Verdict given = role_.judge(asked);
      if (!given.allow || given.deny || is_held(asked)) return;
      std::string text = text_of(asked);
      if (!first || text < *first) first = std::move(text);
    };
    role_.for_each([&](PatternKey key, Verdict verdict) {
      if (!verdict.allow || key_kind(key) == KeyKind::kAncestor) return;
      const Permission whole = example(key);
      note(whole);
      if (is_exact(key)) return;
      for (const Closure& closure : held_) {
        closure.for_each([&](PatternKey denied, Verdict held) {
          if (held.deny) note(meet(whole, example(denied)));
        });
      }
    });
    return first;
  }

 private:
  // A permission that matches the pattern; what the pattern leaves open is a name nobody mentions.
  Permission example(PatternKey key) const {
    if (is_exact(key)) return state_.symbols.parts(key_id(key));
    if (key == kEverything) return {};
    if (key_kind(key) == KeyKind::kAnyAction) return {kNoId, key_id(key), kNoId};
    return {kNoId, kNoId, key_id(key)};
  }

  // The narrower of the two on each side. Where they have nothing in common, some permission that
  // the role's own verdict then sorts out.
  Permission meet(const Permission& a, const Permission& b) const {
    Permission both{kNoId, b.resource == kNoId ? a.resource : b.resource,
                    b.action == kNoId ? a.action : b.action};
    if (both.resource != kNoId && both.action != kNoId) {
      state_.symbols.resolve(text_of(both), &both);
    }
    return both;
  }

  std::string text_of(const Permission& asked) const {
    const Symbols& symbols = state_.symbols;
    return (asked.resource == kNoId ? "*" : symbols.resource_name(asked.resource)) + ":" +
           (asked.action == kNoId ? "*" : symbols.action_name(asked.action));
  }

  bool is_held(const Permission& asked) const {
    if (holder_.scopes != kNoScopes) {
      const bool known = holder_.scopes < state_.scope_count;
      if (!known || !state_.scope(holder_.scopes).judge(asked).allow) return false;
      if (holder_.principal.empty()) return true;
    }
    Verdict verdict;
    for (const Closure& closure : held_) verdict |= closure.judge(asked);
    return verdict.allow && !verdict.deny;
  }

  const State& state_;
  const AccessQuery& holder_;
  ClosureBuilder role_memory_;
  Closure role_;
  std::vector<Closure> held_;
};

std::vector<bool> used_roles(const State& state, TenantIndex owner, const RoleTable& table) {
  std::vector<bool> used(table.roles.size());
  const bool own_table = owner != kAllTenants;
  const auto mark = [&](RoleCode code) {
    if (is_own(code) == own_table) used[role_index(code)] = true;
  };
  const auto look = [&](const TenantAccess& tenant) {
    tenant.principals.for_each([&](std::string_view, NameMap::Found holding) {
      for_each_grant(holding, [&](RoleCode code, std::string_view, int64_t) {
        mark(code);
        return true;
      });
    });
    if (tenant.roles == nullptr) return;
    for_each_role(*tenant.roles, [&](uint32_t, const Role& role) {
      for (const RoleCode parent : role.parents) mark(parent);
    });
  };
  if (own_table) {
    look(*state.tenant(owner));
  } else {
    for_each_role(table, [&](uint32_t, const Role& role) {
      for (const RoleCode parent : role.parents) mark(parent);
    });
    state.for_each_tenant([&](TenantIndex, const TenantAccess& tenant) { look(tenant); });
  }
  return used;
}

// Groups of two and more of the visible roles with equal closures, at least one of them the
// owner's.
std::vector<std::vector<std::string>> find_duplicates(const State& state,
                                                      const TenantAccess* tenant, bool own_table) {
  struct Entry {
    size_t fingerprint;
    RoleCode code;
  };
  ClosureBuilder memory;
  ClosureBuilder other_memory;
  std::vector<Entry> entries;
  for (const RoleCode code : state.visible_roles(tenant)) {
    size_t fingerprint = 0;
    state.whole(tenant, code, &memory).for_each([&](PatternKey key, Verdict verdict) {
      if (key_kind(key) == KeyKind::kAncestor) return;
      fingerprint = fingerprint * 1'000'003 + key * 4 + verdict.allow * 2 + verdict.deny;
    });
    entries.push_back({fingerprint, code});
  }
  std::ranges::stable_sort(entries, {}, &Entry::fingerprint);
  std::vector<std::vector<std::string>> groups;
  std::vector<bool> grouped(entries.size());
  for (size_t i = 0; i < entries.size(); ++i) {
    if (grouped[i]) continue;
    std::vector<std::string> group;
    bool relevant = false;
    for (size_t j = i; j < entries.size() && entries[j].fingerprint == entries[i].fingerprint;
         ++j) {
      if (grouped[j]) continue;
      const Closure other = state.whole(tenant, entries[j].code, &other_memory);
      if (!state.whole(tenant, entries[i].code, &memory).same_rights(other)) continue;
      grouped[j] = true;
      relevant |= is_own(entries[j].code) == own_table;
      group.push_back(state.role(tenant, entries[j].code).name);
    }
    if (relevant && group.size() > 1) groups.push_back(std::move(group));
  }
  std::ranges::sort(groups);
  return groups;
}

}  // namespace

std::vector<std::string> known_permissions(const State& state, TenantIndex index,
                                           ScopeSetId scopes) {
  std::vector<PatternKey> keys = *state.declared;
  const auto collect = [&keys](uint32_t, const Role& role) {
    std::ranges::copy_if(role.allow, std::back_inserter(keys), is_exact);
    std::ranges::copy_if(role.deny, std::back_inserter(keys), is_exact);
  };
  for_each_role(*state.shared, collect);
  const TenantAccess* tenant = state.tenant(index);
  if (tenant != nullptr && tenant->roles != nullptr) for_each_role(*tenant->roles, collect);
  if (scopes < state.scope_count) {
    state.scope(scopes).for_each([&](PatternKey key, Verdict) {
      if (is_exact(key)) keys.push_back(key);
    });
  }
  std::ranges::sort(keys);
  keys.erase(std::unique(keys.begin(), keys.end()), keys.end());
  std::vector<std::string> names;
  names.reserve(keys.size());
  for (const PatternKey key : keys) names.push_back(state.symbols.text(key));
  std::ranges::sort(names);
  return names;
}

std::vector<std::string> allowed_permissions(const State& state, AccessQuery query) {
  std::vector<std::string> names = known_permissions(state, query.tenant, query.scopes);
  std::erase_if(names, [&](const std::string& name) {
    query.permission = name;
    return decide(state, query) != AccessReason::kAllowed;
  });
  return names;
}

std::vector<std::string> allowed_principals(const State& state, const AccessQuery& query) {
  std::vector<std::string> allowed;
  const TenantAccess* tenant = state.tenant(query.tenant);
  Question question;
  if (tenant == nullptr || !Question::ask(state, query.permission, &question)) return allowed;
  if (within_scopes(state, query.scopes, question) != AccessReason::kAllowed) return allowed;
  tenant->principals.for_each([&](std::string_view principal, NameMap::Found holding) {
    if (judge_holding(state, *tenant, holding, question, query) == AccessReason::kAllowed) {
      allowed.emplace_back(principal);
    }
  });
  std::ranges::sort(allowed);
  return allowed;
}

std::vector<AccessModel::Assignment> list_assignments(const State& state, TenantIndex index,
                                                      std::string_view principal) {
  std::vector<AccessModel::Assignment> list;
  const TenantAccess* tenant = state.tenant(index);
  if (tenant == nullptr) return list;
  const auto add = [&](std::string_view name, NameMap::Found holding) {
    for (Grant& grant : read_grants(holding)) {
      list.push_back({std::string(name), state.role(tenant, grant.role).name,
                      std::move(grant.resource), grant.until_ns});
    }
  };
  if (principal.empty()) {
    tenant->principals.for_each(add);
  } else {
    add(principal, find_principal(tenant, principal));
  }
  std::ranges::sort(list, [](const auto& a, const auto& b) {
    return std::tie(a.principal, a.role, a.resource) < std::tie(b.principal, b.role, b.resource);
  });
  return list;
}

std::optional<std::string> missing_for(const State& state, const AccessQuery& holder,
                                       std::string_view role) {
  const TenantAccess* tenant = state.tenant(holder.tenant);
  const RoleCode code = state.find_role(tenant, role);
  if (code == kNoRole) return std::string(role);
  return GrantComparer(state, holder, code).first_missing();
}

RoleReport report_roles(const State& state, TenantIndex owner) {
  RoleReport report;
  const bool own_table = owner != kAllTenants;
  const TenantAccess* tenant = own_table ? state.tenant(owner) : nullptr;
  if (own_table && (tenant == nullptr || tenant->roles == nullptr)) return report;
  const RoleTable& table = own_table ? *tenant->roles : *state.shared;
  const std::vector<bool> used = used_roles(state, owner, table);
  ClosureBuilder memory;
  for_each_role(table, [&](uint32_t position, const Role& role) {
    if (!used[position]) report.unused.push_back(role.name);
    const RoleCode code = own_table ? position | kOwnRole : position;
    state.whole(tenant, code, &memory).for_each([&](PatternKey key, Verdict verdict) {
      const bool broad = key == kEverything || key_kind(key) == KeyKind::kAnyResource;
      if (broad && verdict.allow) {
        report.over_broad.push_back({role.name, state.symbols.text(key)});
      }
    });
  });
  std::ranges::sort(report.unused);
  std::ranges::sort(report.over_broad, [](const auto& a, const auto& b) {
    return std::tie(a.role, a.pattern) < std::tie(b.role, b.pattern);
  });
  report.duplicates = find_duplicates(state, tenant, own_table);
  return report;
}

AccessStats count_state(const State& state) {
  AccessStats stats;
  const auto add_table = [&stats](const RoleTable& table) {
    stats.memory_bytes += sizeof table + table.names.memory_bytes() + table.roles.memory_bytes();
    if (table.first != nullptr) stats.memory_bytes += table.first->memory_bytes() + 16;
    for (const auto& chunk : table.more) {
      if (chunk != nullptr) stats.memory_bytes += chunk->memory_bytes() + 16;
    }
    if (table.late != nullptr) stats.memory_bytes += table.late->memory_bytes();
    for_each_role(table, [&](uint32_t, const Role& role) {
      ++stats.roles;
      stats.memory_bytes += sizeof role + 32;
      stats.memory_bytes +=
          sizeof(PatternKey) * (role.allow.capacity() + role.deny.capacity() +
                                role.parents.capacity() + role.children.capacity());
    });
  };
  add_table(*state.shared);
  state.for_each_tenant([&](TenantIndex, const TenantAccess& tenant) {
    ++stats.tenants;
    stats.principals += tenant.principals.size();
    stats.memory_bytes += sizeof tenant + 32 + tenant.principals.memory_bytes();
    if (tenant.roles != nullptr) add_table(*tenant.roles);
  });
  stats.permissions = state.symbols.permission_count();
  stats.memory_bytes += state.symbols.memory_bytes();
  return stats;
}

}  // namespace tenancy::access
