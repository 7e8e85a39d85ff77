#include "tenancy/access/symbols.h"

#include "tenancy/catalog/names.h"

namespace tenancy::access {

namespace {

struct Sides {
  std::string_view resource;
  std::string_view action;
};

Sides split(std::string_view permission) {
  const size_t colon = permission.find(':');
  return {permission.substr(0, colon), permission.substr(colon + 1)};
}

}  // namespace

bool Symbols::resolve(std::string_view permission, Permission* out) const {
  const uint32_t exact = find_exact(permission);
  if (exact != kNoId) {
    *out = exact_[exact];
    return true;
  }
  if (!is_permission(permission)) return false;
  const auto [resource, action] = split(permission);
  const uint32_t resource_id = resources_.find(resource).value;
  const uint32_t action_id = actions_.find(action).value;
  *out = {kNoId, resource_id == 0 ? kNoId : resource_id, action_id == 0 ? kNoId : action_id};
  return true;
}

uint32_t Symbols::intern_side(NameMap& names, CowVector<std::string, kChunk>& texts,
                              std::string_view name, EditToken token) {
  if (const uint32_t known = names.find(name).value; known != 0) return known;
  if (texts.size() == 0) texts.push_back("*", token);
  const uint32_t id = texts.push_back(std::string(name), token);
  names.put(name, id, token);
  return id;
}

PatternKey Symbols::intern(std::string_view pattern, EditToken token) {
  if (const uint32_t known = find_exact(pattern); known != kNoId) {
    return make_key(KeyKind::kExact, known);
  }
  const auto [resource, action] = split(pattern);
  if (resource == "*" && action == "*") return kEverything;
  if (resource == "*") {
    return make_key(KeyKind::kAnyResource, intern_side(actions_, action_names_, action, token));
  }
  const uint32_t resource_id = intern_side(resources_, resource_names_, resource, token);
  if (action == "*") return make_key(KeyKind::kAnyAction, resource_id);
  const uint32_t action_id = intern_side(actions_, action_names_, action, token);
  const uint32_t exact = exact_.size();
  exact_.push_back({exact, resource_id, action_id}, token);
  permissions_.put(pattern, exact + 1, token);
  return make_key(KeyKind::kExact, exact);
}

std::string Symbols::text(PatternKey key) const {
  const uint32_t id = key_id(key);
  if (key == kEverything) return "*:*";
  if (key_kind(key) == KeyKind::kAnyAction) return resource_names_[id] + ":*";
  if (key_kind(key) == KeyKind::kAnyResource) return "*:" + action_names_[id];
  const Permission& permission = exact_[id];
  return resource_names_[permission.resource] + ":" + action_names_[permission.action];
}

size_t Symbols::memory_bytes() const {
  return permissions_.memory_bytes() + resources_.memory_bytes() + actions_.memory_bytes() +
         exact_.memory_bytes() + resource_names_.memory_bytes() + action_names_.memory_bytes();
}

}  // namespace tenancy::access
