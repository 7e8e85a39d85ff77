#include <chrono>
#include <string>

#include "tenancy/tenants/registry.h"
#include "tenants/rows.h"

namespace tenancy {
namespace {

using test::fresh_editor;
using test::key_row;
using test::kHashKey;
using test::mentions;
using test::session_row;
using test::small_catalog;
using test::tenant_row;
using test::users_of;

TEST_CASE("a tenant is found by id, external id and slug") {
  auto editor = fresh_editor();
  const auto index = editor->put_tenant(tenant_row("ten_1", "acme", "pro", "EXT 1"));
  REQUIRE(index.ok());
  const auto registry = editor->finish();
  const TenantEntry* entry = registry->tenant(*index);
  REQUIRE(entry != nullptr);
  CHECK(registry->by_id("ten_1") == entry);
  CHECK(registry->by_slug("acme") == entry);
  CHECK(registry->by_external_id("EXT 1") == entry);
  for (const char* name : {"ten_1", "acme", "EXT 1"}) CHECK(registry->by_reference(name) == entry);
  CHECK(entry->entitlements->plan == "pro");
  CHECK(entry->seed == siphash(kHashKey, "ten_1"));
  CHECK(entry->time_zone.is_utc());
  CHECK(registry->tenants() == 1);

  SECTION("each look-up knows its own kind of name only") {
    CHECK(registry->by_id("acme") == nullptr);
    CHECK(registry->by_slug("ten_1") == nullptr);
    CHECK(registry->by_external_id("acme") == nullptr);
    for (const char* name : {"", "ten_2", "ACME", "acme "}) {
      CHECK(registry->by_reference(name) == nullptr);
      CHECK(registry->by_slug(name) == nullptr);
    }
  }
  SECTION("an unknown index has no tenant") {
    CHECK(registry->tenant(*index + 1) == nullptr);
    CHECK(registry->tenant(kNoIndex) == nullptr);
  }
}

TEST_CASE("an absent slug or external id is nobody's name") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("a")).ok());
  REQUIRE(editor->put_tenant(tenant_row("b")).ok());
  const auto registry = editor->finish();
  CHECK(registry->by_slug("") == nullptr);
  CHECK(registry->by_external_id("") == nullptr);
  CHECK(registry->tenants() == 2);
}

TEST_CASE("no tenant can take a name that leads to another") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("ten_1", "acme", "free", "ext")).ok());
  REQUIRE(editor->put_tenant(tenant_row("ten_2", "umbrella")).ok());
  for (const char* name : {"ten_1", "acme", "ext"}) {
    const auto by_slug = editor->put_tenant(tenant_row("ten_2", name));
    REQUIRE_FALSE(by_slug.ok());
    CHECK(by_slug.error().code == Code::kAlreadyExists);
    CHECK(mentions(by_slug.error(), "slug: \"" + std::string(name) + "\""));
    const auto by_external = editor->put_tenant(tenant_row("ten_2", "umbrella", "free", name));
    REQUIRE_FALSE(by_external.ok());
    CHECK(mentions(by_external.error(), "external_id: \"" + std::string(name) + "\""));
    CHECK(mentions(by_external.error(), "ten_1"));
  }
  for (const char* name : {"acme", "ext"}) {
    const auto by_id = editor->put_tenant(tenant_row(name));
    REQUIRE_FALSE(by_id.ok());
    CHECK(mentions(by_id.error(), "id: \"" + std::string(name) + "\""));
  }
  const auto registry = editor->finish();
  CHECK(registry->by_slug("umbrella")->id == "ten_2");  // the refused rows changed nothing
  CHECK(registry->by_reference("ext")->id == "ten_1");
  CHECK(registry->tenants() == 2);
}

TEST_CASE("one tenant may use one word for all its names") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("acme", "acme", "free", "acme")).ok());
  REQUIRE(editor->put_tenant(tenant_row("acme", "acme")).ok());
  const auto registry = editor->finish();
  CHECK(registry->by_slug("acme") != nullptr);
  CHECK(registry->by_external_id("acme") == nullptr);
}

TEST_CASE("a change keeps the index and frees the old names") {
  auto editor = fresh_editor();
  const auto first = editor->put_tenant(tenant_row("ten_1", "acme", "free", "ext"));
  const auto before = editor->finish();
  RegistryEditor next(before.get(), kHashKey);
  TenantRow row = tenant_row("ten_1", "acme2", "pro");
  row.status = TenantStatus::kSuspended;
  const auto second = next.put_tenant(row);
  REQUIRE(second.ok());
  CHECK(*first == *second);
  REQUIRE(next.put_tenant(tenant_row("ten_2", "acme", "free", "ext")).ok());
  const auto after = next.finish();
  CHECK(after->by_slug("acme")->id == "ten_2");
  CHECK(after->by_slug("acme2")->status == TenantStatus::kSuspended);
  CHECK(users_of(after->by_id("ten_1")) == 5);
  // The earlier snapshot still says what it said.
  CHECK(before->by_slug("acme")->id == "ten_1");
  CHECK(users_of(before->by_id("ten_1")) == 1);
  CHECK(before->by_slug("acme2") == nullptr);
  CHECK(before->tenants() == 1);
}

TEST_CASE("tenants exchange names in one batch when the names are released first") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("a", "x", "free", "e1")).ok());
  REQUIRE(editor->put_tenant(tenant_row("b", "y", "free", "e2")).ok());
  CHECK_FALSE(editor->put_tenant(tenant_row("a", "y", "free", "e2")).ok());
  editor->release_names("a");
  editor->release_names("b");
  editor->release_names("unknown");
  CHECK(editor->find_tenant("a") != nullptr);
  REQUIRE(editor->put_tenant(tenant_row("a", "y", "free", "e2")).ok());
  REQUIRE(editor->put_tenant(tenant_row("b", "x", "free", "e1")).ok());
  const auto registry = editor->finish();
  CHECK(registry->by_slug("x")->id == "b");
  CHECK(registry->by_slug("y")->id == "a");
  CHECK(registry->by_reference("e1")->id == "b");
}

TEST_CASE("indexes of purged tenants are not used again") {
  auto editor = fresh_editor();
  const uint32_t first = *editor->put_tenant(tenant_row("a", "x"));
  editor->remove_tenant("a");
  const uint32_t second = *editor->put_tenant(tenant_row("a", "x"));
  CHECK(first != second);
  TenantRow purged = tenant_row("a", "x");
  purged.status = TenantStatus::kPurged;
  const auto gone = editor->put_tenant(purged);
  REQUIRE(gone.ok());
  CHECK(*gone == kNoIndex);
  const auto registry = editor->finish();
  CHECK(registry->tenants() == 0);
  CHECK(registry->by_reference("x") == nullptr);
  CHECK(registry->tenant(first) == nullptr);
  CHECK(registry->tenant(second) == nullptr);
}

TEST_CASE("bad rows are refused by field") {
  auto editor = fresh_editor();
  const auto refused = [&editor](TenantRow row) {
    const auto index = editor->put_tenant(std::move(row));
    REQUIRE_FALSE(index.ok());
    return index.error().message;
  };
  CHECK(refused(tenant_row("")).rfind("id: ", 0) == 0);
  CHECK(refused(tenant_row(std::string(256, 'i'))).rfind("id: expected at most 255", 0) == 0);
  CHECK(refused(tenant_row("a\n")).rfind("id: expected no control", 0) == 0);
  CHECK(refused(tenant_row("a", "", "free", std::string(256, 'e'))).rfind("external_id: ", 0) == 0);
  for (const char* slug : {"Acme", "a b", "-a", "a-", "ä", "a/b", "a.b"}) {
    CHECK(refused(tenant_row("a", slug)).rfind("slug: expected", 0) == 0);
  }
  CHECK(refused(tenant_row("a", std::string(51, 's'))).rfind("slug: ", 0) == 0);
  CHECK(refused(tenant_row("a", "", "platinum")) ==
        "plan: expected one of free, pro, got \"platinum\"");
  TenantRow row = tenant_row("a");
  row.time_zone = "Mars/Olympus";
  CHECK(refused(row).rfind("time_zone: ", 0) == 0);
  row = tenant_row("a");
  row.overrides = "[1]";
  CHECK(refused(row).rfind("overrides: expected a JSON object", 0) == 0);
  row.overrides = R"({"quotas": {"users": -5, "nope": 1}})";
  const std::string message = refused(row);
  CHECK(message.find("overrides.quotas.users") != std::string::npos);
  CHECK(message.find("overrides.quotas.nope") != std::string::npos);
  row = tenant_row("a");
  row.settings = "{";
  CHECK(refused(row).rfind("settings: ", 0) == 0);
  CHECK(editor->finish()->tenants() == 0);
}

TEST_CASE("an empty plan is the catalog's default, and an error where it has none") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("a", "", "")).ok());
  CHECK(editor->find_tenant("a")->entitlements->plan == "free");
  RegistryEditor bare(nullptr, kHashKey);
  CHECK(mentions(bare.put_tenant(tenant_row("a")).error(), "no catalog"));
  REQUIRE(bare.set_catalog(small_catalog(R"({"free": {}})", ""), nullptr).ok());
  CHECK(mentions(bare.put_tenant(tenant_row("a", "", "")).error(), "no default plan"));
}

TEST_CASE("plans are shared, overrides belong to who has them") {
  auto editor = fresh_editor();
  TenantRow own = tenant_row("c");
  own.overrides = R"({"quotas": {"users": 77}})";
  for (const char* id : {"a", "b"}) REQUIRE(editor->put_tenant(tenant_row(id)).ok());
  REQUIRE(editor->put_tenant(own).ok());
  const auto registry = editor->finish();
  CHECK(registry->by_id("a")->entitlements == registry->by_id("b")->entitlements);
  CHECK(users_of(registry->by_id("c")) == 77);
  CHECK(registry->by_id("c")->entitlements->quota_origins[0] == Origin::kOverride);
  CHECK(*registry->by_id("c")->overrides == own.overrides);
  CHECK(registry->by_id("a")->overrides == nullptr);

  SECTION("a plan change keeps the overrides of the new row only") {
    RegistryEditor next(registry.get(), kHashKey);
    own.plan = "pro";
    REQUIRE(next.put_tenant(own).ok());
    CHECK(users_of(next.find_tenant("c")) == 77);
    own.overrides.clear();
    REQUIRE(next.put_tenant(own).ok());
    CHECK(users_of(next.find_tenant("c")) == 5);
  }
  SECTION("a new catalog resolves every tenant again") {
    RegistryEditor next(registry.get(), kHashKey);
    REQUIRE(next.set_catalog(small_catalog(R"({"free": {"quotas": {"users": 9}}})"), nullptr).ok());
    const auto after = next.finish();
    CHECK(users_of(after->by_id("a")) == 9);
    CHECK(users_of(after->by_id("c")) == 77);
    CHECK(users_of(registry->by_id("a")) == 1);
    CHECK(after->catalog() != registry->catalog());
  }
  SECTION("a catalog that does not fit changes nothing and names every tenant") {
    RegistryEditor next(registry.get(), kHashKey);
    std::vector<CatalogError> errors;
    const auto other = small_catalog(R"({"gold": {}})", "");
    REQUIRE_FALSE(next.set_catalog(other, &errors).ok());
    REQUIRE(errors.size() == 3);
    CHECK(errors[0].path == "tenants.a");
    CHECK(errors[0].message.find("plan: expected one of gold") == 0);
    CHECK(users_of(next.find_tenant("a")) == 1);
  }
}

TEST_CASE("time zone and anchor come from the row") {
  auto editor = fresh_editor();
  TenantRow row = tenant_row("a");
  row.time_zone = "Europe/Berlin";
  row.anchor_wall_ns = 1'706'655'600'000'000'000;  // 2024-01-31 00:00 in Berlin
  REQUIRE(editor->put_tenant(row).ok());
  const TenantEntry* entry = editor->find_tenant("a");
  CHECK(entry->time_zone.name() == "Europe/Berlin");
  CHECK(entry->anchor.day == 31);
  REQUIRE(editor->put_tenant(tenant_row("b")).ok());
  CHECK(editor->find_tenant("b")->anchor == Anchor{});
}

TEST_CASE("a key is found by digest and by public id") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("a")).ok());
  KeyRow row = key_row("tk_00000001", "a");
  row.principal = "u1";
  row.limit = "100/minute";
  row.expires_wall_ns = 5;
  REQUIRE(editor->put_key(row, 7).ok());
  const auto registry = editor->finish();
  const KeyEntry* key = registry->key(row.digest);
  REQUIRE(key != nullptr);
  CHECK(registry->key_by_id("tk_00000001") == key);
  CHECK(key->scopes == 7);
  CHECK(key->principal == "u1");
  CHECK(key->expires_wall_ns == 5);
  CHECK(key->seed == siphash(kHashKey, "tk_00000001"));
  REQUIRE(key->limit != nullptr);
  CHECK(key->limit->windows.at(0).limit == 100);
  CHECK(key->limit->scope == kScopeKey);
  CHECK(registry->tenant(key->tenant)->id == "a");
  CHECK(registry->key(sha256("other")) == nullptr);
  CHECK(registry->key(sha256("other"), registry->locate_key("tk_00000001")) == nullptr);
  CHECK(registry->key_by_id("tk_00000002") == nullptr);
}

TEST_CASE("keys: bad rows, other tenants and doubled secrets are refused") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("a")).ok());
  REQUIRE(editor->put_tenant(tenant_row("b")).ok());
  REQUIRE(editor->put_key(key_row("k1", "a"), 0).ok());
  CHECK(editor->put_key(key_row("k2", "c"), 0).error().code == Code::kNotFound);
  CHECK(editor->put_key(key_row("k1", "b"), 0).error().code == Code::kConflict);
  KeyRow doubled = key_row("k2", "b");
  doubled.digest = sha256("k1");
  CHECK(editor->put_key(doubled, 0).error().code == Code::kAlreadyExists);
  KeyRow limited = key_row("k3", "a");
  limited.limit = "often";
  CHECK(mentions(editor->put_key(limited, 0).error(), "limit: "));
  CHECK_FALSE(editor->put_key(key_row("", "a"), 0).ok());
  CHECK(editor->finish()->keys() == 1);
}

TEST_CASE("a rotated key changes its digest and loses the old one") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("a")).ok());
  KeyRow row = key_row("k1", "a");
  REQUIRE(editor->put_key(row, 0).ok());
  const Digest256 old = row.digest;
  row.digest = sha256("new");
  REQUIRE(editor->put_key(row, 3).ok());
  const auto registry = editor->finish();
  CHECK(registry->key(old) == nullptr);
  CHECK(registry->key(row.digest)->scopes == 3);
  CHECK(registry->keys() == 1);
}

TEST_CASE("trap 32: one tenant's things are not another's") {
  auto editor = fresh_editor();
  REQUIRE(editor->put_tenant(tenant_row("a")).ok());
  REQUIRE(editor->put_tenant(tenant_row("b")).ok());
  REQUIRE(editor->put_session(session_row("s", "a")).ok());
  CHECK(editor->put_session(session_row("s", "b")).error().code == Code::kConflict);
  REQUIRE(editor->put_resource({"a", "project", "1", "u1"}).ok());
  REQUIRE(editor->put_resource({"a", "project", "2", "u1"}).ok());
  REQUIRE(editor->put_resource({"b", "project", "1", "u2"}).ok());
  const auto registry = editor->finish();
  const uint32_t a = registry->by_id("a")->index;
  const uint32_t b = registry->by_id("b")->index;
  CHECK(registry->session(sha256("s"))->tenant == a);
  CHECK(registry->owns(a, "project", "1"));
  CHECK(registry->owns(b, "project", "1"));
  CHECK(registry->owns(a, "project", "2"));
  CHECK_FALSE(registry->owns(b, "project", "2"));
  CHECK_FALSE(registry->owns(a, "projec", "t1"));
  CHECK(registry->resource(a, "project", "1")->creator == "u1");
  CHECK(registry->resource(b, "project", "1")->creator == "u2");
  CHECK(registry->resource(b, "project", "2") == nullptr);
  CHECK(registry->resource_owner("project", "1") == b);  // the newest
  CHECK(registry->resource_owner("project", "3") == kNoIndex);
}

TEST_CASE("a purged tenant takes its keys, sessions and resources along, and only those") {
  auto editor = fresh_editor();
  for (const char* id : {"a", "b"}) {
    REQUIRE(editor->put_tenant(tenant_row(id)).ok());
    for (int i = 0; i < 20; ++i) {
      const std::string name = std::string(id) + std::to_string(i);
      REQUIRE(editor->put_key(key_row("k" + name, id), 0).ok());
      REQUIRE(editor->put_session(session_row("s" + name, id)).ok());
      REQUIRE(editor->put_resource({id, "r", std::to_string(i), "u"}).ok());
    }
  }
  const auto before = editor->finish();
  RegistryEditor next(before.get(), kHashKey);
  next.remove_tenant("a");
  next.remove_tenant("a");
  const auto after = next.finish();
  CHECK(after->tenants() == 1);
  CHECK(after->keys() == 20);
  CHECK(after->sessions() == 20);
  CHECK(after->resources() == 20);
  const uint32_t b = after->by_id("b")->index;
  for (int i = 0; i < 20; ++i) {
    const std::string n = std::to_string(i);
    CHECK(after->key(sha256("ka" + n)) == nullptr);
    CHECK(after->session(sha256("sa" + n)) == nullptr);
    CHECK(after->key_by_id("kb" + n) != nullptr);
    CHECK(after->session(sha256("sb" + n)) != nullptr);
    CHECK(after->resource_owner("r", n) == b);
    CHECK(before->resource_owner("r", n) == b);
    CHECK(before->key(sha256("ka" + n)) != nullptr);
  }
}

}  // namespace
}  // namespace tenancy
