// A check allocates nothing, whatever it is asked and whatever it answers. Sanitizers bring
// allocators of their own, which must not be replaced: under them allocations are not counted.
#include <cstdlib>
#include <new>
#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/access/access.h"

namespace {
thread_local size_t allocations = 0;

[[maybe_unused]] void* counted(size_t bytes) {
  ++allocations;
  void* memory = std::malloc(bytes == 0 ? 1 : bytes);
  if (memory == nullptr) std::abort();
  return memory;
}
}  // namespace

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define ACCESS_TEST_SANITIZED
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define ACCESS_TEST_SANITIZED
#endif

#ifndef ACCESS_TEST_SANITIZED
void* operator new(size_t bytes) { return counted(bytes); }
void* operator new[](size_t bytes) { return counted(bytes); }
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, size_t) noexcept { std::free(memory); }
void operator delete[](void* memory, size_t) noexcept { std::free(memory); }
#endif

namespace tenancy {
namespace {

TEST_CASE("check allocates nothing") {
  AccessEditor editor(nullptr);
  const std::vector<RoleDef> roles{
      {"a", {"x:*", "y:z"}, {"x:no"}, {}}, {"b", {"*:read"}, {}, {"a"}}, {"c", {"y:z"}, {}, {}}};
  const std::vector<DutyRule> rules{{"apart", {"a", "c"}, 1, true}};
  REQUIRE(editor.set_shared(roles, {}, rules).ok());
  const std::string long_name(300, 'p');
  for (const std::string& principal : {std::string("ann"), long_name}) {
    for (const char* role : {"b", "c"}) {
      REQUIRE(editor.assign(0, principal, role, "", kForever).ok());
      REQUIRE(editor.assign(0, principal, role, "doc/1", 500).ok());
    }
  }
  const auto scopes = editor.intern_scopes(std::vector<std::string>{"x:*", "y:*"});
  REQUIRE(scopes.ok());
  const auto model = editor.finish();
  const std::vector<std::string> asked{"x:yes", "x:no",    "y:z", "never:named",      "q:read",
                                       "x:*",   "garbage", "",    long_name + ":read"};
  const std::vector<std::string_view> active{"a", "nobody"};
  size_t reasons = 0;
  const size_t before = allocations;
  for (const std::string_view principal : {std::string_view("ann"), std::string_view(long_name),
                                           std::string_view("zoe"), std::string_view()}) {
    for (const std::string& permission : asked) {
      for (const ScopeSetId id : {kNoScopes, *scopes}) {
        for (const bool named : {false, true}) {
          AccessQuery query{0, principal, permission, "doc/1", id, 100, {}};
          if (named) query.active_roles = active;
          reasons |= size_t{1} << static_cast<size_t>(model->check(query));
        }
      }
    }
  }
  const size_t made = allocations - before;
  CHECK(made == 0);
  CHECK(reasons == 0x7F);  // every reason has come up
}

}  // namespace
}  // namespace tenancy
