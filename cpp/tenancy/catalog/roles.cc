#include "tenancy/catalog/roles.h"

#include <algorithm>
#include <map>
#include <set>

#include "tenancy/catalog/names.h"

namespace tenancy {

namespace {

constexpr size_t kRolesMax = 1024;
constexpr size_t kDutiesMax = 256;
constexpr std::string_view kPatternRule = "\"resource:action\", with '*' allowed for a whole side";

std::vector<std::string_view> names_of(const std::vector<RoleDef>& roles) {
  std::vector<std::string_view> names;
  names.reserve(roles.size());
  for (const RoleDef& role : roles) names.emplace_back(role.name);
  return names;
}

RoleDef read_role(const std::string& name, const Field& field) {
  RoleDef role;
  role.name = name;
  if (field.json().is_array()) {  // the short form: permissions alone
    role.permissions = field.texts(is_permission_pattern, kPatternRule);
    return role;
  }
  if (!field.is_mapping_of({"permissions", "denies", "inherits"})) return role;
  if (const Field list = field.member("permissions"); list.present()) {
    role.permissions = list.texts(is_permission_pattern, kPatternRule);
  }
  if (const Field list = field.member("denies"); list.present()) {
    role.denies = list.texts(is_permission_pattern, kPatternRule);
  }
  if (const Field list = field.member("inherits"); list.present()) {
    role.inherits = list.texts(is_name, "the name of a role");
  }
  return role;
}

using RolesByName = std::map<std::string_view, const RoleDef*>;

// Walks along parents and reports each cycle at one of its roles that the document defines. No
// recursion: chains may be as long as there are roles.
class CycleFinder {
 public:
  CycleFinder(const Field& field, const RolesByName& roles) : field_(field), roles_(roles) {}

  void walk_from(const RoleDef& start) {
    if (!seen_.insert(start.name).second) return;
    way_.push_back({&start});
    while (!way_.empty()) {
      Step& step = way_.back();
      if (step.next == step.role->inherits.size()) {
        way_.pop_back();
        continue;
      }
      const auto parent = roles_.find(step.role->inherits[step.next++]);
      if (parent == roles_.end()) continue;
      const auto on_way = std::ranges::find(way_, parent->second, &Step::role);
      if (on_way != way_.end()) {
        report(static_cast<size_t>(on_way - way_.begin()));
      } else if (seen_.insert(parent->first).second) {
        way_.push_back({parent->second});
      }
    }
  }

 private:
  struct Step {
    const RoleDef* role;
    size_t next = 0;
  };

  void report(size_t first) {
    std::string cycle;
    const Json* defined = nullptr;
    std::string path;
    for (size_t i = first; i < way_.size(); ++i) {
      cycle += way_[i].role->name + " → ";
      if (defined != nullptr) continue;
      defined = field_.json().find(way_[i].role->name);
      path = way_[i].role->name;
    }
    field_.member(path)
        .member("inherits")
        .error("roles may not inherit from themselves: " + cycle + way_[first].role->name +
               "; remove one of these");
  }

  const Field& field_;
  const RolesByName& roles_;
  std::set<std::string_view> seen_;
  std::vector<Step> way_;
};

void check_parents(const Field& field, const std::vector<RoleDef>& roles) {
  RolesByName by_name;
  for (const RoleDef& role : roles) by_name.emplace(role.name, &role);
  const std::vector<std::string_view> known = names_of(roles);
  CycleFinder cycles(field, by_name);
  for (const auto& [name, value] : field.members()) {
    const auto found = by_name.find(name);
    if (found == by_name.end()) continue;
    for (const std::string& parent : found->second->inherits) {
      if (!by_name.contains(parent)) value.member("inherits").unknown("role", parent, known);
    }
    cycles.walk_from(*found->second);
  }
}

void check_known(const Field& list, const std::vector<std::string>& patterns,
                 const std::set<std::string_view>& known) {
  for (const std::string& pattern : patterns) {
    if (pattern.find('*') != pattern.npos || known.contains(pattern)) continue;
    list.unknown("permission", pattern, {known.begin(), known.end()});
  }
}

}  // namespace

std::vector<RoleDef> ready_roles() {
  return {
      {"admin", {"*:*"}, {}, {}},
      {"developer",
       {"metadata_stamp:create", "metadata_stamp:read", "metadata_stamp:update",
        "metadata_stamp:delete", "api_key:create", "api_key:read", "api_key:delete"},
       {},
       {"operator"}},
      {"operator",
       {"metadata_stamp:create", "metadata_stamp:read", "system:read"},
       {},
       {"readonly"}},
      {"readonly", {"metadata_stamp:read", "system:read"}, {}, {}},
  };
}

std::vector<std::string> read_permissions(const Field& field) {
  constexpr size_t kPermissionsMax = 16'384;
  if (!field.present()) return {};
  std::vector<std::string> result = field.texts(is_permission, "\"resource:action\" without '*'");
  if (result.size() > kPermissionsMax) {
    field.error("expected at most " + std::to_string(kPermissionsMax) + " permissions");
    result.clear();
  }
  return result;
}

std::vector<RoleDef> read_roles(const Field& field, bool ready,
                                const std::vector<std::string>& permissions) {
  std::vector<RoleDef> roles = ready ? ready_roles() : std::vector<RoleDef>{};
  std::set<std::string_view> known(permissions.begin(), permissions.end());
  const std::vector<RoleDef> own = ready_roles();
  for (const RoleDef& role : own) {
    for (const std::string& permission : role.permissions) {
      if (is_permission(permission)) known.insert(permission);
    }
  }
  if (!field.present() || !field.is_mapping()) return roles;
  if (field.json().as_object().size() > kRolesMax) {
    field.error("expected at most " + std::to_string(kRolesMax) + " roles");
    return roles;
  }
  for (const auto& [name, value] : field.members()) {
    if (!is_name(name)) {
      value.error("the name of a role must be " + std::string(kNameRule));
      continue;
    }
    RoleDef role = read_role(name, value);
    if (!permissions.empty()) {
      const bool short_form = value.json().is_array();
      check_known(short_form ? value : value.member("permissions"), role.permissions, known);
      check_known(value.member("denies"), role.denies, known);
    }
    const auto replaced = std::ranges::find(roles, name, &RoleDef::name);
    if (replaced != roles.end()) {
      *replaced = std::move(role);
    } else {
      roles.push_back(std::move(role));
    }
  }
  check_parents(field, roles);
  return roles;
}

std::vector<DutyRule> read_duties(const Field& field, const std::vector<RoleDef>& roles) {
  std::vector<DutyRule> duties;
  if (!field.present() || !field.is_list()) return duties;
  if (field.json().as_array().size() > kDutiesMax) {
    field.error("expected at most " + std::to_string(kDutiesMax) + " rules");
    return duties;
  }
  const std::vector<std::string_view> known = names_of(roles);
  for (size_t i = 0; i < field.json().as_array().size(); ++i) {
    const Field item = field.element(i);
    if (!item.is_mapping_of({"name", "roles", "at_most", "dynamic"})) continue;
    DutyRule duty;
    if (const Field name = item.member("name"); name.present()) {
      duty.name = name.name().value_or("");
      if (std::ranges::find(duties, duty.name, &DutyRule::name) != duties.end()) {
        name.error("another rule has this name");
      }
    } else {
      item.error("\"name\" is missing");
    }
    const Field list = item.member("roles");
    if (list.present()) {
      duty.roles = list.texts(is_name, "the name of a role");
      for (const std::string& role : duty.roles) {
        if (std::ranges::find(known, role) == known.end()) list.unknown("role", role, known);
      }
      if (list.json().is_array() && list.json().as_array().size() < 2) {
        list.error("expected at least two roles that must be kept apart");
      }
    } else {
      item.error("\"roles\" is missing: the roles that must be kept apart");
    }
    const int64_t most = std::max<int64_t>(static_cast<int64_t>(duty.roles.size()) - 1, 1);
    if (const Field at_most = item.member("at_most"); at_most.present()) {
      duty.at_most = static_cast<uint32_t>(at_most.integer(1, most).value_or(1));
    }
    if (const Field dynamic = item.member("dynamic"); dynamic.present()) {
      duty.dynamic = dynamic.boolean().value_or(false);
    }
    duties.push_back(std::move(duty));
  }
  return duties;
}

}  // namespace tenancy
