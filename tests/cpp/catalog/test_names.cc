#include "catch.h"
#include "tenancy/catalog/names.h"

using namespace tenancy;

TEST_CASE("names begin with a letter and are at most 64 characters") {
  CHECK(is_name("a"));
  CHECK(is_name("customPatterns"));
  CHECK(is_name("tokens_per-month.v2"));
  CHECK(is_name(std::string(64, 'a')));
  for (const std::string& bad : {std::string(), std::string(65, 'a'), std::string("1a"),
                                 std::string("a b"), std::string("_a"), std::string("ä"),
                                 std::string("a\0b", 3), std::string("a:b"), std::string("*")}) {
    CHECK_FALSE(is_name(bad));
  }
}

TEST_CASE("permissions are resource:action, patterns may have a star for a whole side") {
  CHECK(is_permission("api_key:read"));
  CHECK(is_permission("a.b-c:1"));
  for (const char* bad : {"", ":", "a:", ":b", "a", "a:b:c", "a:*", "*:b", "a b:c", "*:*"}) {
    CHECK_FALSE(is_permission(bad));
  }
  for (const char* good : {"a:b", "a:*", "*:b", "*:*"}) CHECK(is_permission_pattern(good));
  for (const char* bad : {"*", "a*:b", "a:b*", "**:b", "a:b:*", ""}) {
    CHECK_FALSE(is_permission_pattern(bad));
  }
}

TEST_CASE("edit distance counts inserts, deletes, replacements and swaps") {
  CHECK(edit_distance("", "") == 0);
  CHECK(edit_distance("abc", "") == 3);
  CHECK(edit_distance("", "ab") == 2);
  CHECK(edit_distance("limit", "limti") == 1);
  CHECK(edit_distance("limit", "limits") == 1);
  CHECK(edit_distance("kitten", "sitting") == 3);
  CHECK(edit_distance(std::string(5000, 'a'), "a") == 5000);
}

TEST_CASE("the nearest name forgives spelling, not meaning") {
  const std::vector<std::string_view> known{"rate_limits", "retention_days", "quotas"};
  CHECK(nearest_name("rateLimits", known) == "rate_limits");
  CHECK(nearest_name("rate-limit", known) == "rate_limits");
  CHECK(nearest_name("quota", known) == "quotas");
  CHECK(nearest_name("qoutas", known) == "quotas");
  CHECK(nearest_name("price", known).empty());
  CHECK(nearest_name("", known).empty());
  CHECK(nearest_name("x", {}).empty());
}

TEST_CASE("quoted texts are cut between characters and hide control characters") {
  CHECK(in_quotes("a\nb") == "\"a?b\"");
  const std::string umlauts = [] {
    std::string text;
    for (int i = 0; i < 100; ++i) text += "ä";
    return text;
  }();
  const std::string cut = in_quotes("x" + umlauts);
  CHECK(cut.size() < 90);
  CHECK(cut.substr(cut.size() - 4) == "…\"");
  CHECK((cut.size() - 6) % 2 == 0);  // quotes, x and … apart: whole two-byte characters
}
