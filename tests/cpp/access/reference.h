// Reference: the rules of access control over sets of strings, as naively as they can be written.
//
// What the engine is compared with. It recomputes everything at each question and keeps rows only.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "tenancy/access/access.h"

namespace tenancy::reference {

inline bool matches(const std::string& pattern, const std::string& permission) {
  const auto resource = [](const std::string& text) { return text.substr(0, text.find(':')); };
  const auto action = [](const std::string& text) { return text.substr(text.find(':') + 1); };
  return (resource(pattern) == "*" || resource(pattern) == resource(permission)) &&
         (action(pattern) == "*" || action(pattern) == action(permission));
}

struct Question {
  TenantIndex tenant = 0;
  std::string principal;
  std::string permission;
  std::string resource;
  std::optional<std::vector<std::string>> scopes;
  int64_t now = 0;
  std::vector<std::string> active;
};

struct Rows {
  using AssignmentKey =
      std::tuple<std::string, std::string, std::string>;  // principal role resource

  struct SharedRole {
    RoleDef def;
    bool from_catalog = false;
  };

  std::map<std::string, SharedRole> shared;
  std::map<TenantIndex, std::map<std::string, RoleDef>> own;
  std::map<TenantIndex, std::map<AssignmentKey, int64_t>> assignments;
  std::vector<std::string> declared;
  std::vector<DutyRule> duties;

  const RoleDef* find(TenantIndex tenant, const std::string& name) const {
    if (tenant != kAllTenants && own.contains(tenant) && own.at(tenant).contains(name)) {
      return &own.at(tenant).at(name);
    }
    return shared.contains(name) ? &shared.at(name).def : nullptr;
  }

  std::vector<std::string> visible(TenantIndex tenant) const {
    std::set<std::string> names;
    for (const auto& [name, role] : shared) names.insert(name);
    if (own.contains(tenant)) {
      for (const auto& [name, role] : own.at(tenant)) names.insert(name);
    }
    return {names.begin(), names.end()};
  }

  // The role and everything above it.
  std::set<std::string> lineage(TenantIndex tenant, const std::string& name) const {
    std::set<std::string> found{name};
    for (const std::string& parent : find(tenant, name)->inherits) {
      found.merge(lineage(tenant, parent));
    }
    return found;
  }

  bool gives(TenantIndex tenant, const std::string& role, const std::string& permission,
             std::vector<std::string> RoleDef::*list) const {
    for (const std::string& name : lineage(tenant, role)) {
      for (const std::string& pattern : find(tenant, name)->*list) {
        if (matches(pattern, permission)) return true;
      }
    }
    return false;
  }

  std::set<std::string> held(const Question& q) const {
    std::set<std::string> roles;
    if (!assignments.contains(q.tenant)) return roles;
    for (const auto& [key, until] : assignments.at(q.tenant)) {
      const auto& [principal, role, resource] = key;
      if (principal == q.principal && q.now < until &&
          (resource.empty() || resource == q.resource)) {
        roles.insert(role);
      }
    }
    return roles;
  }

  std::set<std::string> used(const Question& q) const {
    const std::set<std::string> roles = held(q);
    if (q.active.empty()) return roles;
    std::set<std::string> result;
    for (const std::string& active : q.active) {
      for (const std::string& role : roles) {
        if (lineage(q.tenant, role).contains(active)) result.insert(active);
      }
    }
    return result;
  }

  // What is wrong with the active roles of a question, if anything.
  std::optional<Code> check_active(const Question& q) const {
    std::set<std::string> held;
    if (assignments.contains(q.tenant)) {
      for (const auto& [key, until] : assignments.at(q.tenant)) {
        if (std::get<0>(key) == q.principal && q.now < until) {
          held.merge(lineage(q.tenant, std::get<1>(key)));
        }
      }
    }
    std::set<std::string> in_use;
    for (const std::string& name : q.active) {
      if (!held.contains(name)) return Code::kInvalidArgument;
      in_use.merge(lineage(q.tenant, name));
    }
    for (const DutyRule& rule : duties) {
      const std::set<std::string> once(rule.roles.begin(), rule.roles.end());
      const auto count =
          std::ranges::count_if(once, [&](const std::string& r) { return in_use.contains(r); });
      if (rule.dynamic && count > rule.at_most) return Code::kConflict;
    }
    return std::nullopt;
  }

  AccessReason check(const Question& q) const {
    if (!valid_permission(q.permission, false)) return AccessReason::kMalformed;
    if (q.scopes) {
      const bool covered = std::ranges::any_of(
          *q.scopes, [&](const std::string& scope) { return matches(scope, q.permission); });
      if (!covered) return AccessReason::kOutsideScopes;
      if (q.principal.empty()) return AccessReason::kAllowed;
    }
    const std::set<std::string> roles = held(q);
    if (roles.empty()) return AccessReason::kNoAssignment;
    for (const std::string& role : roles) {
      if (gives(q.tenant, role, q.permission, &RoleDef::denies)) return AccessReason::kDenied;
    }
    AccessReason reason = AccessReason::kNotGranted;
    for (const std::string& role : used(q)) {
      if (!gives(q.tenant, role, q.permission, &RoleDef::permissions)) continue;
      if (!blocked_by_duty(q, role)) return AccessReason::kAllowed;
      reason = AccessReason::kDuty;
    }
    return reason;
  }

  bool blocked_by_duty(const Question& q, const std::string& role) const {
    std::set<std::string> in_use;
    for (const std::string& name : used(q)) in_use.merge(lineage(q.tenant, name));
    const std::set<std::string> mine = lineage(q.tenant, role);
    const auto count = [](const DutyRule& rule, const std::set<std::string>& names) {
      const std::set<std::string> once(rule.roles.begin(), rule.roles.end());
      return std::ranges::count_if(once, [&](const std::string& r) { return names.contains(r); });
    };
    return std::ranges::any_of(duties, [&](const DutyRule& rule) {
      return rule.dynamic && count(rule, in_use) > rule.at_most && count(rule, mine) > 0;
    });
  }

  std::vector<std::string> known_permissions(TenantIndex tenant) const {
    std::set<std::string> names(declared.begin(), declared.end());
    const auto add = [&names](const RoleDef& def) {
      for (const auto* list : {&def.permissions, &def.denies}) {
        for (const std::string& pattern : *list) {
          if (pattern.find('*') == pattern.npos) names.insert(pattern);
        }
      }
    };
    for (const auto& [name, role] : shared) add(role.def);
    if (own.contains(tenant)) {
      for (const auto& [name, def] : own.at(tenant)) add(def);
    }
    return {names.begin(), names.end()};
  }

  // Is this a state that may exist at all? What every edit has to leave behind.
  bool valid() const {
    for (const auto& [name, role] : shared) {
      if (!sound(kAllTenants, role.def)) return false;
    }
    for (const auto& [tenant, roles] : own) {
      for (const auto& [name, def] : roles) {
        if (shared.contains(name) || !sound(tenant, def)) return false;
      }
    }
    for (const auto& [tenant, rows] : assignments) {
      for (const auto& [key, until] : rows) {
        if (find(tenant, std::get<1>(key)) == nullptr) return false;
      }
    }
    for (const DutyRule& rule : duties) {
      for (const std::string& role : rule.roles) {
        if (!shared.contains(role)) return false;
      }
    }
    return static_duty_holds();
  }

  bool sound(TenantIndex tenant, const RoleDef& def) const {
    std::set<std::string> on_way;
    const std::function<bool(const RoleDef&)> climb = [&](const RoleDef& role) {
      if (!on_way.insert(role.name).second) return false;
      for (const std::string& parent : role.inherits) {
        const RoleDef* above = find(tenant, parent);
        if (above == nullptr || !climb(*above)) return false;
      }
      on_way.erase(role.name);
      return true;
    };
    return climb(def);
  }

  bool static_duty_holds() const {
    for (const auto& [tenant, rows] : assignments) {
      std::map<std::string, std::set<std::string>> held_by;
      for (const auto& [key, until] : rows) {
        held_by[std::get<0>(key)].merge(lineage(tenant, std::get<1>(key)));
      }
      for (const auto& item : held_by) {
        const std::set<std::string>& roles = item.second;
        for (const DutyRule& rule : duties) {
          const std::set<std::string> once(rule.roles.begin(), rule.roles.end());
          const auto held_count =
              std::ranges::count_if(once, [&](const std::string& r) { return roles.contains(r); });
          if (!rule.dynamic && held_count > rule.at_most) return false;
        }
      }
    }
    return true;
  }
};

}  // namespace tenancy::reference
