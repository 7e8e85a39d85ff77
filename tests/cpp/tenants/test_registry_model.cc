// Random histories of changes against a model of maps, with earlier snapshots looked at again
// later.
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "tenants/rows.h"

namespace tenancy {
namespace {

using test::key_row;
using test::kHashKey;
using test::session_row;
using test::tenant_row;

struct Model {
  struct Tenant {
    std::string slug, external_id, plan;
    uint32_t index;
  };
  std::map<std::string, Tenant> tenants;
  std::map<std::string, std::string> keys;      // id → tenant
  std::map<std::string, std::string> sessions;  // text → tenant
  std::set<std::tuple<std::string, std::string, std::string>> resources;

  std::optional<std::string> holder(const std::string& name) const {
    if (name.empty()) return std::nullopt;
    for (const auto& [id, t] : tenants) {
      if (id == name || t.slug == name || t.external_id == name) return id;
    }
    return std::nullopt;
  }

  void purge(const std::string& id) {
    tenants.erase(id);
    std::erase_if(keys, [&](const auto& item) { return item.second == id; });
    std::erase_if(sessions, [&](const auto& item) { return item.second == id; });
    std::erase_if(resources, [&](const auto& item) { return std::get<0>(item) == id; });
  }
};

constexpr int kNames = 14;
std::string name_of(int i) { return "n" + std::to_string(i); }

void require_same(const Registry& registry, const Model& model) {
  REQUIRE(registry.tenants() == model.tenants.size());
  REQUIRE(registry.keys() == model.keys.size());
  REQUIRE(registry.sessions() == model.sessions.size());
  REQUIRE(registry.resources() == model.resources.size());
  for (int i = 0; i < kNames; ++i) {
    const std::string name = name_of(i);
    const auto holder = model.holder(name);
    const TenantEntry* entry = registry.by_reference(name);
    REQUIRE((entry != nullptr) == holder.has_value());
    if (entry != nullptr) {
      const Model::Tenant& tenant = model.tenants.at(*holder);
      REQUIRE(entry->id == *holder);
      REQUIRE(entry->index == tenant.index);
      REQUIRE(entry->entitlements->plan == tenant.plan);
      REQUIRE(registry.tenant(tenant.index) == entry);
      REQUIRE((registry.by_id(name) == entry) == (entry->id == name));
      REQUIRE((registry.by_slug(name) == entry) == (tenant.slug == name));
      REQUIRE((registry.by_external_id(name) == entry) == (tenant.external_id == name));
    }
    const KeyEntry* key = registry.key_by_id(name);
    REQUIRE(key == registry.key(sha256(name)));
    registry.prefetch_key(name);
    REQUIRE(key == registry.key(sha256(name), registry.locate_key(name)));
    // Where it is looked for is a hint: another key's place or none finds it as well.
    REQUIRE(key == registry.key(sha256(name), registry.locate_key(name_of((i + 1) % kNames))));
    REQUIRE(key == registry.key(sha256(name), kNoIndex));
    REQUIRE((key != nullptr) == (model.keys.count(name) == 1));
    if (key != nullptr) REQUIRE(registry.tenant(key->tenant)->id == model.keys.at(name));
    const SessionEntry* session = registry.session(sha256(name));
    REQUIRE((session != nullptr) == (model.sessions.count(name) == 1));
    if (session != nullptr)
      REQUIRE(registry.tenant(session->tenant)->id == model.sessions.at(name));
    bool owned = false;
    for (const auto& [id, tenant] : model.tenants) {
      const bool owns = model.resources.count({id, "type", name}) == 1;
      REQUIRE(registry.owns(tenant.index, "type", name) == owns);
      owned = owned || owns;
    }
    REQUIRE((registry.resource_owner("type", name) != kNoIndex) == owned);
  }
}

class History {
 public:
  explicit History(uint32_t seed) : random_(seed) {}

  void step(RegistryEditor& editor) {
    const std::string id = pick();
    const bool known = model_.tenants.count(id) == 1;
    switch (random_() % 9) {
      case 0:
      case 1:
      case 2: return put_tenant(editor, id);
      case 3:
        if (random_() % 3 == 0) {
          editor.remove_tenant(id);
          model_.purge(id);
        }
        return;
      case 4:
      case 5: {
        const std::string key = pick();
        const bool moves = model_.keys.count(key) == 1 && model_.keys.at(key) != id;
        const Status status = editor.put_key(key_row(key, id), 0);
        REQUIRE(status.ok() == (known && !moves));
        if (status.ok()) model_.keys[key] = id;
        return;
      }
      case 6: {
        const std::string text = pick();
        if (random_() % 2 == 0) {
          editor.remove_key(text);
          model_.keys.erase(text);
        } else {
          editor.remove_session(sha256(text));
          model_.sessions.erase(text);
        }
        return;
      }
      case 7: {
        const std::string text = pick();
        const bool moves = model_.sessions.count(text) == 1 && model_.sessions.at(text) != id;
        const Status status = editor.put_session(session_row(text, id));
        REQUIRE(status.ok() == (known && !moves));
        if (status.ok()) model_.sessions[text] = id;
        return;
      }
      default: {
        const std::string name = pick();
        if (random_() % 3 == 0) {
          editor.remove_resource(id, "type", name);
          model_.resources.erase({id, "type", name});
        } else {
          REQUIRE(editor.put_resource({id, "type", name, "u"}).ok() == known);
          if (known) model_.resources.insert({id, "type", name});
        }
        return;
      }
    }
  }

  const Model& model() const { return model_; }
  uint32_t random() { return static_cast<uint32_t>(random_()); }

 private:
  std::string pick() { return name_of(static_cast<int>(random_() % kNames)); }
  std::string maybe() { return random_() % 2 == 0 ? "" : pick(); }

  void put_tenant(RegistryEditor& editor, const std::string& id) {
    const TenantRow row = tenant_row(id, maybe(), random_() % 2 == 0 ? "free" : "pro", maybe());
    bool clash = false;
    for (const std::string& name : {row.id, row.slug, row.external_id}) {
      const auto holder = model_.holder(name);
      clash = clash || (holder.has_value() && *holder != id);
    }
    const auto index = editor.put_tenant(row);
    REQUIRE(index.ok() == !clash);
    if (clash) return;
    if (const auto found = model_.tenants.find(id); found != model_.tenants.end()) {
      REQUIRE(found->second.index == *index);
    } else {
      REQUIRE(indexes_.insert(*index).second);  // never used before
    }
    model_.tenants[id] = {row.slug, row.external_id, row.plan, *index};
  }

  std::mt19937 random_;
  Model model_;
  std::set<uint32_t> indexes_;
};

TEST_CASE("random histories agree with a model, and snapshots never change") {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    INFO("seed " << seed);
    History history(seed);
    std::shared_ptr<const Registry> newest = test::fresh_editor()->finish();
    std::vector<std::pair<std::shared_ptr<const Registry>, Model>> kept;
    for (int batch = 0; batch < 60; ++batch) {
      RegistryEditor editor(newest.get(), kHashKey);
      for (uint32_t i = history.random() % 12; i > 0; --i) history.step(editor);
      newest = editor.finish();
      require_same(*newest, history.model());
      if (batch % 9 == 0) kept.emplace_back(newest, history.model());
    }
    for (const auto& [registry, model] : kept) require_same(*registry, model);
  }
}

}  // namespace
}  // namespace tenancy
