// Readers ask while a writer edits and publishes: what the thread sanitizer watches.
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "catch.h"
#include "tenancy/access/access.h"

namespace tenancy {
namespace {

using Model = std::shared_ptr<const AccessModel>;

class Published {
 public:
  explicit Published(Model model) : model_(std::move(model)) {}
  Model get() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return model_;
  }
  void set(Model model) {
    std::lock_guard<std::mutex> lock(mutex_);
    model_.swap(model);  // the old one is dropped outside, perhaps by a reader
  }

 private:
  mutable std::mutex mutex_;
  Model model_;
};

// The writer gives and takes "flag:on" from ann and from a role below the one she keeps, always
// both or neither in one model. A reader that saw one of them must see the other.
TEST_CASE("a reader sees one model, whole, however fast the writer is") {
  constexpr int kEdits = 2'000;
  AccessEditor first(nullptr);
  REQUIRE(first
              .set_shared(
                  std::vector<RoleDef>{{"base", {"x:y"}, {}, {}}, {"flag", {"flag:on"}, {}, {}}},
                  {}, {})
              .ok());
  REQUIRE(first.put_role(0, {"mid", {}, {}, {"base"}}).ok());
  REQUIRE(first.assign(0, "ann", "mid", "", kForever).ok());
  for (int i = 0; i < 3'000; ++i) {
    REQUIRE(first.assign(0, "user-" + std::to_string(i), "base", "", kForever).ok());
  }
  Published published(first.finish());
  std::atomic<bool> done{false};
  std::atomic<int> torn{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&] {
      while (!done.load(std::memory_order_relaxed)) {
        const Model model = published.get();
        const auto ask = [&](std::string_view who, std::string_view what) {
          return model->check({0, who, what, "", kNoScopes, 1, {}}) == AccessReason::kAllowed;
        };
        const bool by_assignment = ask("ann", "flag:on");
        const bool by_role = ask("ann", "mirror:on");
        if (by_assignment != by_role || !ask("ann", "x:y") || !ask("user-7", "x:y")) ++torn;
      }
    });
  }
  for (int i = 0; i < kEdits; ++i) {
    AccessEditor editor(published.get().get());
    const bool on = i % 2 == 0;
    if (on) {
      (void)editor.assign(0, "ann", "flag", "", kForever);
      (void)editor.put_role(0, {"mid", {"mirror:on"}, {}, {"base"}});
    } else {
      editor.unassign(0, "ann", "flag", "");
      (void)editor.put_role(0, {"mid", {}, {}, {"base"}});
    }
    (void)editor.assign(0, "user-" + std::to_string(i), i % 3 == 0 ? "mid" : "base", "", kForever);
    published.set(editor.finish());
  }
  done.store(true, std::memory_order_relaxed);
  for (std::thread& reader : readers) reader.join();
  CHECK(torn == 0);
}

// Every edit leaves all roles below to first use. Readers of many roles compile them at the same
// time, in models that share what was compiled, while the writer makes the next one.
TEST_CASE("readers who compile the same roles at once all get the right answer") {
  constexpr int kEdits = 400;
  constexpr int kRoles = 64;
  const auto name = [](int i) { return "role-" + std::to_string(i); };
  const auto right = [](int i) { return "turn:n" + std::to_string(i); };
  AccessEditor first(nullptr);
  std::vector<RoleDef> roles{{"root", {right(0)}, {}, {}}};
  for (int i = 0; i < kRoles; ++i) {
    roles.push_back({name(i), {}, {}, {i < 8 ? "root" : name(i - 8)}});
  }
  REQUIRE(first.put_roles(0, roles).ok());
  for (int i = 0; i < kRoles; ++i) {
    REQUIRE(first.assign(0, "user-" + std::to_string(i), name(i), "", kForever).ok());
  }
  Published published(first.finish());
  std::atomic<int> turn{0};
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (int t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      while (!done.load(std::memory_order_relaxed)) {
        const int least = turn.load(std::memory_order_acquire);
        const Model model = published.get();
        const auto all = model->permissions({0, "user-0", {}, "", kNoScopes, 1, {}});
        if (all.size() != 1 || std::stoi(all[0].substr(6)) < least) ++wrong;
        for (int i = 0; i < kRoles; ++i) {
          const int at = (i * 7 + t) % kRoles;
          const std::string who = "user-" + std::to_string(at);
          if (model->check({0, who, all[0], "", kNoScopes, 1, {}}) != AccessReason::kAllowed) {
            ++wrong;
          }
        }
      }
    });
  }
  for (int i = 1; i <= kEdits; ++i) {
    AccessEditor editor(published.get().get());
    editor.set_eager_cost(0);
    if (!editor.put_role(0, {"root", {right(i)}, {}, {}}).ok()) ++wrong;
    published.set(editor.finish());
    turn.store(i, std::memory_order_release);
    editor.set_eager_cost(1'000'000);
    if (!editor.assign(0, "late", name(i % kRoles), "", kForever).ok()) ++wrong;
    if (!editor.put_role(0, {"extra", {right(i)}, {}, {name(i % kRoles)}}).ok()) ++wrong;
    published.set(editor.finish());
  }
  done.store(true, std::memory_order_relaxed);
  for (std::thread& reader : readers) reader.join();
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace tenancy
