// Closures that are compiled at first use.
#include <string>
#include <vector>

#include "access/world.h"

namespace tenancy {
namespace {

TEST_CASE("an edit above very many roles leaves them to first use, and every answer is new") {
  for (const bool chain : {true, false}) {
    World world;
    std::vector<RoleDef> roles{{"r0", {"old:right", "kept:right"}, {}, {"readonly"}}};
    constexpr int kBelow = 3'000;
    for (int i = 1; i <= kBelow; ++i) {
      roles.push_back({"r" + std::to_string(i),
                       {"own:n" + std::to_string(i)},
                       {},
                       {chain ? "r" + std::to_string(i - 1) : "r0"}});
    }
    REQUIRE(world.editor.put_roles(kAcme, roles).ok());
    world.assign("ann", "r3000");
    world.assign("bob", "r1500");
    const Model before = world.editor.finish();
    world.role({"r0", {"new:right", "kept:right"}, {"system:read"}, {"readonly"}});
    const Model after = world.editor.finish();
    world.role({"r1500", {"new:own"}, {}, {"r0"}});  // a small edit on top of it
    const Model last = world.editor.finish();
    const auto ask = [](const Model& model, std::string_view who, std::string_view what) {
      return model->check({kAcme, who, what, "", kNoScopes, kNow, {}});
    };
    for (int round = 0; round < 2; ++round) {  // the first compiles, the second finds it
      for (const std::string_view who : {"ann", "bob"}) {
        CHECK(ask(before, who, "old:right") == AccessReason::kAllowed);
        CHECK(ask(before, who, "system:read") == AccessReason::kAllowed);
        CHECK(ask(after, who, "old:right") == AccessReason::kNotGranted);
        CHECK(ask(after, who, "new:right") == AccessReason::kAllowed);
        CHECK(ask(after, who, "kept:right") == AccessReason::kAllowed);
        CHECK(ask(after, who, "system:read") == AccessReason::kDenied);
        CHECK(ask(after, who, "stamp:read") == AccessReason::kAllowed);
        CHECK(ask(last, who, "new:right") == AccessReason::kAllowed);
      }
      CHECK(ask(after, "bob", "own:n1500") == AccessReason::kAllowed);
      CHECK(ask(last, "bob", "own:n1500") == AccessReason::kNotGranted);
      CHECK(ask(last, "bob", "new:own") == AccessReason::kAllowed);
      CHECK(ask(last, "ann", "own:n1500") == AccessReason::kNotGranted);
      CHECK(ask(last, "ann", "new:own") ==
            (chain ? AccessReason::kAllowed : AccessReason::kNotGranted));
    }
    CHECK(ask(after, "ann", "own:n1") ==
          (chain ? AccessReason::kAllowed : AccessReason::kNotGranted));
  }
}

}  // namespace
}  // namespace tenancy
