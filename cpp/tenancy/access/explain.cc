#include "tenancy/access/explain.h"

#include <algorithm>
#include <ctime>
#include <optional>
#include <tuple>
#include <unordered_map>
#include <utility>

#include "tenancy/access/decide.h"
#include "tenancy/access/duty.h"
#include "tenancy/catalog/names.h"

namespace tenancy::access {

namespace {

std::string time_text(int64_t wall_ns) {
  constexpr int64_t kSecond = 1'000'000'000;
  const std::time_t seconds = wall_ns / kSecond;
  std::tm parts{};
  char text[40];
  if (gmtime_r(&seconds, &parts) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0) {
    return std::to_string(wall_ns) + " ns";
  }
  return text;
}

class Explainer {
 public:
  Explainer(const State& state, const AccessQuery& query)
      : state_(state), query_(query), tenant_(state.tenant(query.tenant)) {}

  AccessPath run() {
    AccessPath path;
    path.reason = decide(state_, query_);
    path.allowed = path.reason == AccessReason::kAllowed;
    if (path.reason == AccessReason::kMalformed) {
      path.nearest_miss = in_quotes(query_.permission) +
                          " is not a permission: expected \"resource:action\" without '*'";
      return path;
    }
    Question::ask(state_, query_.permission, &question_);
    holding_ = find_principal(tenant_, query_.principal);
    switch (path.reason) {
      case AccessReason::kOutsideScopes: path.nearest_miss = scopes_miss(); break;
      case AccessReason::kDuty:
        find_route(&path, false, true);
        path.nearest_miss = duty_miss();
        break;
      case AccessReason::kDenied:
        find_route(&path, true, false);
        path.nearest_miss = denial_miss();
        break;
      case AccessReason::kAllowed:
        if (query_.principal.empty()) {
          path.pattern = covering_scope();
        } else {
          find_route(&path, false, false);
        }
        break;
      default: path.nearest_miss = grant_miss();
    }
    return path;
  }

 private:
  struct Route {
    std::vector<RoleCode> roles;  // from the assigned one to the one that holds the pattern
    PatternKey key = 0;
  };

  // The pattern of this very role that decides, the narrowest first.
  std::optional<PatternKey> own_pattern(RoleCode code, bool deny) const {
    const Role& role = state_.role(tenant_, code);
    std::optional<PatternKey> best;
    for (const PatternKey key : deny ? role.deny : role.allow) {
      if (!question_.covers(key)) continue;
      if (!best || *best == kEverything || (key != kEverything && key < *best)) best = key;
    }
    return best;
  }

  // Breadth first from `start` upwards: the shortest way to a role that `is_goal`.
  template <class Goal>
  std::vector<RoleCode> climb(RoleCode start, Goal&& is_goal) const {
    std::unordered_map<RoleCode, RoleCode> came_from{{start, kNoRole}};
    std::vector<RoleCode> queue{start};
    for (size_t i = 0; i < queue.size(); ++i) {
      if (is_goal(queue[i])) {
        std::vector<RoleCode> way;
        for (RoleCode at = queue[i]; at != kNoRole; at = came_from[at]) way.push_back(at);
        std::ranges::reverse(way);
        return way;
      }
      for (const RoleCode parent : state_.role(tenant_, queue[i]).parents) {
        if (came_from.emplace(parent, queue[i]).second) queue.push_back(parent);
      }
    }
    return {};
  }

  Route route_from(RoleCode assigned, RoleCode active, bool deny) const {
    Route route;
    std::optional<PatternKey> key;
    std::vector<RoleCode> upper = climb(active, [&](RoleCode code) {
      key = own_pattern(code, deny);
      return key.has_value();
    });
    if (upper.empty()) return route;
    route.key = *key;
    route.roles = climb(assigned, [&](RoleCode code) { return code == active; });
    route.roles.insert(route.roles.end(), upper.begin() + 1, upper.end());
    return route;
  }

  std::vector<std::string> names_of(const std::vector<RoleCode>& codes) const {
    std::vector<std::string> names;
    for (const RoleCode code : codes) names.push_back(state_.role(tenant_, code).name);
    return names;
  }

  // The shortest way by which the permission is denied, given, or given and blocked by duty; among
  // equals the first by name.
  void find_route(AccessPath* path, bool deny, bool blocked) const {
    bool found = false;
    const auto consider = [&](const UsedRole& used) {
      const Verdict verdict = question_.judge(tenant_, used.role);
      if (!(deny ? verdict.deny : verdict.allow)) return true;
      if (!deny && blocked != (broken_dynamic_rule(state_, *tenant_, holding_, query_, used.role) !=
                               nullptr)) {
        return true;
      }
      const Route route = route_from(used.assigned, used.role, deny);
      std::vector<std::string> roles = names_of(route.roles);
      const std::string resource(used.resource);
      const bool better =
          !found || std::make_tuple(roles.size(), roles, resource) <
                        std::make_tuple(path->roles.size(), path->roles, path->resource);
      if (!better) return true;
      found = true;
      path->roles = std::move(roles);
      path->pattern = state_.symbols.text(route.key);
      path->resource = resource;
      path->until_ns = used.until_ns;
      return true;
    };
    AccessQuery all = query_;
    if (deny) all.active_roles.reset();  // denials of inactive roles count too
    for_each_used_role(state_, *tenant_, holding_, all, consider);
  }

  std::vector<std::string> scope_patterns() const {
    std::vector<std::string> patterns;
    if (query_.scopes >= state_.scope_count) return patterns;
    state_.scope(query_.scopes).for_each([&](PatternKey key, Verdict) {
      patterns.push_back(state_.symbols.text(key));
    });
    std::ranges::sort(patterns);
    return patterns;
  }

  std::string covering_scope() const {
    std::optional<PatternKey> best;
    state_.scope(query_.scopes).for_each([&](PatternKey key, Verdict) {
      if (question_.covers(key) && (!best || *best == kEverything)) best = key;
    });
    return best ? state_.symbols.text(*best) : std::string();
  }

  std::string scopes_miss() const {
    constexpr size_t kShown = 8;
    std::vector<std::string> patterns = scope_patterns();
    if (patterns.empty()) return "the key has no scopes, so it may do nothing";
    const size_t hidden = patterns.size() > kShown ? patterns.size() - kShown : 0;
    patterns.resize(patterns.size() - hidden);
    return "the key's scopes are " + in_quotes(patterns) +
           (hidden > 0 ? " and " + std::to_string(hidden) + " more" : std::string());
  }

  std::string duty_miss() const {
    std::string text;
    for_each_used_role(state_, *tenant_, holding_, query_, [&](const UsedRole& used) {
      if (!question_.judge(tenant_, used.role).allow) return true;
      const DutyCodes* rule = broken_dynamic_rule(state_, *tenant_, holding_, query_, used.role);
      if (rule == nullptr) return true;
      text = "separation of duty " + in_quotes(rule->name) + ": at most " +
             std::to_string(rule->at_most) + " of " + in_quotes(names_of(rule->roles)) +
             " may be used at once; name the active roles";
      return false;
    });
    return text;
  }

  std::string denial_miss() const {
    std::string text = "no role would allow it without the denial";
    for_each_used_role(state_, *tenant_, holding_, query_, [&](const UsedRole& used) {
      if (!question_.judge(tenant_, used.role).allow) return true;
      text = "without the denial, role " + in_quotes(state_.role(tenant_, used.role).name) +
             " would allow it";
      return false;
    });
    return text;
  }

  // Why an assignment that would have given the permission does not count.
  std::string grant_miss() const {
    std::string text;
    for_each_grant(holding_, [&](RoleCode code, std::string_view resource, int64_t until_ns) {
      const Verdict verdict = question_.judge(tenant_, code);
      if (!verdict.allow || verdict.deny) return true;
      text = "role " + in_quotes(state_.role(tenant_, code).name) + " would allow it, but ";
      if (until_ns <= query_.wall_ns) {
        text += "its assignment ended at " + time_text(until_ns);
      } else if (!resource.empty() && resource != query_.resource) {
        text += "is assigned for " + in_quotes(resource) + " only";
      } else {
        text += "is not among the active roles";
      }
      return false;
    });
    return text.empty() ? role_miss() : text;
  }

  // The role that would help with the fewest further rights.
  std::string role_miss() const {
    std::optional<std::tuple<bool, size_t, std::string>> best;
    ClosureBuilder memory;
    for (const RoleCode code : state_.visible_roles(tenant_)) {
      const Closure closure = state_.whole(tenant_, code, &memory);
      const Verdict verdict = question_.judge(closure);
      if (!verdict.allow || verdict.deny) continue;
      size_t rights = 0;
      closure.for_each([&](PatternKey, Verdict one) { rights += one.allow; });
      auto candidate =
          std::make_tuple(closure.flags().wildcards, rights, state_.role(tenant_, code).name);
      if (!best || candidate < *best) best = std::move(candidate);
    }
    if (best) return "no role held allows it; role " + in_quotes(std::get<2>(*best)) + " would";
    std::vector<std::string> known;
    for (const RoleCode code : state_.visible_roles(tenant_)) {
      for (const PatternKey key : state_.role(tenant_, code).allow) {
        known.push_back(state_.symbols.text(key));
      }
    }
    const std::vector<std::string_view> views(known.begin(), known.end());
    const std::string_view near = nearest_name(query_.permission, views);
    return "no role of this tenant allows it" +
           (near.empty() ? std::string() : "; did you mean " + in_quotes(near) + "?");
  }

  const State& state_;
  const AccessQuery& query_;
  const TenantAccess* tenant_;
  Question question_;
  NameMap::Found holding_;
};

}  // namespace

AccessPath explain_decision(const State& state, const AccessQuery& query) {
  return Explainer(state, query).run();
}

}  // namespace tenancy::access
