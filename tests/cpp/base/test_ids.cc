#include <algorithm>
#include <map>
#include <set>
#include <thread>
#include <vector>

#include "catch.h"
#include "process.h"
#include "tenancy/base/ids.h"

using namespace tenancy;

namespace {

constexpr int64_t kNow = 1'767'225'600'123'456'789;  // 2026-01-01T00:00:00.123Z

uint64_t base32_value(std::string_view text) {
  static constexpr std::string_view kAlphabet = "0123456789abcdefghjkmnpqrstvwxyz";
  uint64_t value = 0;
  for (const char c : text) value = value * 32 + kAlphabet.find(c);
  return value;
}

}  // namespace

TEST_CASE("a sortable id is its prefix, its time and random characters of the alphabet") {
  const std::string id = sortable_id("ten_", kNow);
  REQUIRE(id.size() == 4 + 26);
  CHECK(id.starts_with("ten_"));
  CHECK(id.find_first_not_of("0123456789abcdefghjkmnpqrstvwxyz", 4) == std::string::npos);
  // The first ten characters are the milliseconds, as in ULID.
  CHECK(base32_value(std::string_view(id).substr(4, 10)) == kNow / 1'000'000);
  CHECK(sortable_id("", -5).substr(0, 10) == "0000000000");
}

TEST_CASE("ids of one millisecond increase and ids of later ones are greater") {
  std::string last;
  std::string last_uuid;
  for (int i = 0; i < 20'000; ++i) {
    const int64_t now = kNow + i / 1'000 * 1'000'000;
    const std::string id = sortable_id("x_", now);
    const std::string uuid = uuid7(now);
    REQUIRE(id > last);
    REQUIRE(uuid > last_uuid);
    last = id;
    last_uuid = uuid;
  }
}

TEST_CASE("ids of many threads are all different") {
  std::vector<std::vector<std::string>> made(4);
  std::vector<std::thread> threads;
  for (auto& mine : made) {
    threads.emplace_back([&mine] {
      for (int i = 0; i < 2'000; ++i) mine.push_back(sortable_id("", kNow));
    });
  }
  for (auto& thread : threads) thread.join();
  std::set<std::string> all;
  for (const auto& mine : made) {
    CHECK(std::is_sorted(mine.begin(), mine.end()));
    all.insert(mine.begin(), mine.end());
  }
  CHECK(all.size() == 8'000);
}

TEST_CASE("a forked child draws other ids than its parent, also while threads draw") {
  sortable_id("", kNow);
  uuid7(kNow);
  std::atomic<bool> stop{false};
  std::thread busy([&] {
    while (!stop) sortable_id("", kNow);
  });
  std::set<std::string> all;
  constexpr int kChildren = 20;
  for (int i = 0; i < kChildren; ++i) {
    test::Child child([] { return sortable_id("", kNow) + " " + uuid7(kNow); });
    const std::string said = child.join();
    REQUIRE(said.size() == 26 + 1 + 36);
    all.insert(said.substr(0, 26));
    all.insert(said.substr(27));
    // Far from the parent's stream: not the next number after its last one.
    CHECK(said.substr(10, 8) != sortable_id("", kNow).substr(10, 8));
  }
  stop = true;
  busy.join();
  CHECK(all.size() == 2 * kChildren);
}

TEST_CASE("UUIDs have the layout of version 7") {
  for (int i = 0; i < 1'000; ++i) {
    const std::string uuid = uuid7(kNow);
    REQUIRE(uuid.size() == 36);
    for (size_t at = 0; at < uuid.size(); ++at) {
      const bool dash = at == 8 || at == 13 || at == 18 || at == 23;
      REQUIRE((uuid[at] == '-') == dash);
    }
    REQUIRE(uuid.find_first_not_of("0123456789abcdef-") == std::string::npos);
    REQUIRE(uuid[14] == '7');
    REQUIRE(std::string("89ab").find(uuid[19]) != std::string::npos);
    REQUIRE(std::stoull(uuid.substr(0, 8) + uuid.substr(9, 4), nullptr, 16) == kNow / 1'000'000);
  }
}

TEST_CASE("base 62 is uniform and as long as asked") {
  CHECK(random_base62(0).empty());
  for (size_t chars : {1U, 2U, 63U, 64U, 65U, 1'000U}) CHECK(random_base62(chars).size() == chars);
  std::map<char, int> counts;
  for (const char c : random_base62(124'000)) ++counts[c];
  CHECK(counts.size() == 62);
  for (const auto& [c, count] : counts) {
    INFO(c);
    CHECK(count > 1'700);  // 2,000 expected, deviation 44
    CHECK(count < 2'300);
  }
}

TEST_CASE("a made API key is recognised and gives its public id") {
  std::set<std::string> secrets;
  for (int i = 0; i < 1'000; ++i) {
    const ApiKeyText key = make_api_key();
    REQUIRE(key.full.size() == 49);
    REQUIRE(key.full.starts_with("tk_"));
    REQUIRE(key.public_id == key.full.substr(0, 11));
    REQUIRE(api_key_public_id(key.full) == key.public_id);
    secrets.insert(key.full.substr(11, 32));
  }
  CHECK(secrets.size() == 1'000);
}

TEST_CASE("one wrong character anywhere is noticed without a look-up") {
  const ApiKeyText key = make_api_key();
  for (size_t at = 0; at < key.full.size(); ++at) {
    for (int byte = 0; byte < 256; ++byte) {
      std::string other = key.full;
      other[at] = static_cast<char>(byte);
      REQUIRE(api_key_public_id(other).has_value() == (other == key.full));
    }
  }
  // Neighbours swapped, the commonest slip of a typist.
  for (size_t at = 0; at + 1 < key.full.size(); ++at) {
    std::string other = key.full;
    std::swap(other[at], other[at + 1]);
    REQUIRE(api_key_public_id(other).has_value() == (other == key.full));
  }
}

TEST_CASE("hostile keys of any bytes and length are refused") {
  const std::string key = make_api_key().full;
  CHECK_FALSE(api_key_public_id("").has_value());
  CHECK_FALSE(api_key_public_id({}).has_value());
  CHECK_FALSE(api_key_public_id("tk_").has_value());
  for (size_t length = 0; length < key.size(); ++length) {
    CHECK_FALSE(api_key_public_id(key.substr(0, length)).has_value());
  }
  CHECK_FALSE(api_key_public_id(key + "a").has_value());
  CHECK_FALSE(api_key_public_id(key + std::string(1, '\0')).has_value());
  CHECK_FALSE(api_key_public_id(" " + key).has_value());
  CHECK_FALSE(api_key_public_id(std::string(1 << 20, '\xff')).has_value());
  CHECK_FALSE(api_key_public_id(std::string(49, '\0')).has_value());
}

// A key made once and kept: the format must not change under keys that users hold.
TEST_CASE("the text of API keys is stable") {
  CHECK(api_key_public_id("tk_Az09bY81q7Wm2ZxK0pLr5TnV8sDf3GhJ6cQe1BuY4g7mNZ") == "tk_Az09bY81");
}
