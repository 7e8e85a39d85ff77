// NameMap against std::map over generated edits, with snapshots taken along the way.
#include <map>
#include <random>
#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/access/name_map.h"

namespace tenancy::access {
namespace {

using Model = std::map<std::string, std::vector<uint32_t>>;  // one number, or a record's words

void compare(const NameMap& map, const Model& model) {
  REQUIRE(map.size() == model.size());
  size_t wrong = 0;
  for (const auto& [name, words] : model) {
    const NameMap::Found found = map.find(name);
    if (!found) {
      ++wrong;
    } else if (found.is_record()) {
      const auto record = found.record();
      wrong += !std::equal(record.begin() + 1, record.end(), words.begin() + 1, words.end());
    } else {
      wrong += words != std::vector<uint32_t>{found.value};
    }
  }
  size_t listed = 0;
  map.for_each([&](std::string_view name, NameMap::Found) {
    ++listed;
    wrong += !model.contains(std::string(name));
  });
  CHECK(wrong == 0);
  CHECK(listed == model.size());
}

TEST_CASE("a map of names agrees with std::map while it grows, shrinks and is shared") {
  std::mt19937_64 random(7);
  NameMap map;
  Model model;
  std::vector<std::pair<NameMap, Model>> snapshots;
  EditToken token = next_edit_token();
  const auto any_name = [&](uint64_t range) {
    const uint64_t n = random() % range;
    return (n % 5 == 0 ? std::string("a rather long name, kept outside its slot ") : "") +
           std::to_string(n);
  };
  const auto step = [&](uint64_t range, uint64_t erase_one_in) {
    const std::string name = any_name(range);
    if (random() % erase_one_in == 0) {
      REQUIRE(map.erase(name, token) == (model.erase(name) > 0));
    } else if (random() % 3 == 0) {
      std::vector<uint32_t> words{0};
      for (uint64_t i = random() % 9; i > 0; --i) words.push_back(static_cast<uint32_t>(random()));
      map.put_record(name, words, token);
      model[name] = words;
    } else {
      const auto value = static_cast<uint32_t>(1 + random() % 1'000'000);
      map.put(name, value, token);
      model[name] = {value};
    }
  };
  const auto publish = [&] {
    snapshots.emplace_back(map, model);
    token = next_edit_token();
  };
  for (int i = 0; i < 1'500; ++i) step(60, 2);
  compare(map, model);
  publish();
  for (int i = 0; i < 5'000; ++i) step(8'000, 5);  // past one shard
  compare(map, model);
  publish();
  for (int i = 0; i < 40'000; ++i) step(60'000, 6);  // past one page
  compare(map, model);
  publish();
  for (uint64_t i = 0; i < 60'000; ++i) step(60'000, 1 + i / 30'000);
  compare(map, model);
  for (const auto& [old_map, old_model] : snapshots) compare(old_map, old_model);
}

TEST_CASE("a map of names does not grow by rewriting the same records") {
  NameMap map;
  const EditToken token = next_edit_token();
  std::vector<uint32_t> words(50);
  for (int i = 0; i < 20'000; ++i) {
    map.put_record("ann", words, token);
    map.put_record("a name that is too long for a slot " + std::to_string(i % 3), words, token);
    map.erase("a name that is too long for a slot " + std::to_string((i + 1) % 3), token);
  }
  CHECK(map.memory_bytes() < 16'384);
}

TEST_CASE("names of every length up to the limit are told apart") {
  NameMap map;
  const EditToken token = next_edit_token();
  for (uint32_t length = 0; length <= 512; ++length)
    map.put(std::string(length, 'x'), length + 1, token);
  for (uint32_t length = 0; length <= 512; ++length) {
    REQUIRE(map.find(std::string(length, 'x')).value == length + 1);
  }
  CHECK_FALSE(map.find(std::string("x\0", 2)));
  CHECK_FALSE(map.find("y"));
}

}  // namespace
}  // namespace tenancy::access
