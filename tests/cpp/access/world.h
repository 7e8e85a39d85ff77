// A tenant or two with the ready roles, for tests of access control.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "catch.h"
#include "tenancy/access/access.h"

namespace tenancy {

using Model = std::shared_ptr<const AccessModel>;

constexpr TenantIndex kAcme = 0;
constexpr TenantIndex kBolt = 1;
constexpr int64_t kNow = 1'000;

const std::vector<RoleDef> kReady{
    {"admin", {"*:*"}, {}, {}},
    {"developer", {"stamp:update", "stamp:delete"}, {}, {"operator"}},
    {"operator", {"stamp:create"}, {}, {"readonly"}},
    {"readonly", {"stamp:read", "system:read"}, {}, {}},
};

struct World {
  World() : editor(nullptr) { REQUIRE(editor.set_shared(kReady, {}, {}).ok()); }

  void role(const RoleDef& def, TenantIndex tenant = kAcme) {
    const Status status = editor.put_role(tenant, def);
    INFO((status.ok() ? "" : status.error().message));
    REQUIRE(status.ok());
  }
  void assign(std::string_view principal, std::string_view name, std::string_view resource = "",
              int64_t until = kForever, TenantIndex tenant = kAcme) {
    const Status status = editor.assign(tenant, principal, name, resource, until);
    INFO((status.ok() ? "" : status.error().message));
    REQUIRE(status.ok());
  }
  AccessReason check(std::string_view principal, std::string_view permission,
                     std::string_view resource = "", int64_t now = kNow,
                     TenantIndex tenant = kAcme) {
    return editor.finish()->check({tenant, principal, permission, resource, kNoScopes, now, {}});
  }

  AccessEditor editor;
};

}  // namespace tenancy
