// Roles named as active, and what is known by name.
#include <algorithm>
#include <string>
#include <vector>

#include "access/world.h"

namespace tenancy {
namespace {

TEST_CASE("roles become active only if they are held and allowed together") {
  World world;
  const std::vector<RoleDef> roles{
      {"teller", {"cash:move"}, {}, {}}, {"auditor", {}, {}, {}}, {"boss", {}, {}, {"teller"}}};
  const std::vector<DutyRule> rules{{"hands-off", {"teller", "auditor"}, 1, true}};
  REQUIRE(world.editor.set_shared(roles, {}, rules).ok());
  world.assign("ann", "boss", "till/1");
  world.assign("ann", "auditor", "", 2'000);
  const Model model = world.editor.finish();
  const auto activate = [&](std::vector<std::string_view> active, int64_t now = kNow) {
    return model->check_active(kAcme, "ann", active, now);
  };
  CHECK(activate({}).ok());
  CHECK(activate({"teller"}).ok());  // inherited, and held for one resource only
  CHECK(activate({"auditor"}).ok());
  const Status both = activate({"boss", "auditor"});
  REQUIRE_FALSE(both.ok());
  CHECK(both.error().code == Code::kConflict);
  CHECK(both.error().message.find("\"hands-off\": at most 1 of \"teller\", \"auditor\"") !=
        std::string::npos);
  const Status ended = activate({"auditor"}, 2'000);
  REQUIRE_FALSE(ended.ok());
  CHECK(ended.error().code == Code::kInvalidArgument);
  CHECK_FALSE(activate({"nobody-knows"}).ok());
  CHECK_FALSE(model->check_active(kBolt, "ann", std::vector<std::string_view>{"teller"}, 1).ok());
}

TEST_CASE("permissions lists what scopes alone name") {
  World world;
  world.assign("ann", "admin");
  const auto scopes = world.editor.intern_scopes(std::vector<std::string>{"only:here", "stamp:*"});
  REQUIRE(scopes.ok());
  const Model model = world.editor.finish();
  const std::vector<std::string> both{"only:here", "stamp:create", "stamp:delete", "stamp:read",
                                      "stamp:update"};
  CHECK(model->permissions({kAcme, "", {}, "", *scopes, kNow, {}}) == both);
  CHECK(model->permissions({kAcme, "ann", {}, "", *scopes, kNow, {}}) == both);
  CHECK(model->permissions({kAcme, "bob", {}, "", *scopes, kNow, {}}).empty());
  const auto others = model->permissions({kAcme, "ann", {}, "", kNoScopes, kNow, {}});
  CHECK(std::ranges::find(others, "only:here") == others.end());  // another key's word
}

}  // namespace
}  // namespace tenancy
