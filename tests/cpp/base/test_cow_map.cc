#include <atomic>
#include <chrono>
#include <map>
#include <random>
#include <thread>
#include <unordered_map>

#include "catch.h"
#include "tenancy/base/cow_map.h"

namespace {

using Shard = std::unordered_map<uint64_t, uint64_t>;
using Map = tenancy::CowShards<Shard>;

// Spreads consecutive numbers over the shards, as a keyed hash would.
uint64_t mixed(uint64_t key) {
  key = (key ^ (key >> 31)) * 0x9E3779B97F4A7C15;
  return key ^ (key >> 29);
}

void set(Map& map, uint64_t key, uint64_t value) { map.edit(mixed(key))[key] = value; }

std::map<uint64_t, uint64_t> content(const Map& map) {
  std::map<uint64_t, uint64_t> all;
  map.for_each_shard([&](const Shard& shard) { all.insert(shard.begin(), shard.end()); });
  return all;
}

}  // namespace

TEST_CASE("an empty map has no shards") {
  const Map map;
  CHECK(map.find(0) == nullptr);
  CHECK(map.find(~uint64_t{0}) == nullptr);
  CHECK(content(map).empty());
}

TEST_CASE("a copy shares everything until one side changes") {
  Map first;
  for (uint64_t key = 0; key < 1'000; ++key) set(first, key, key);
  const Map second = first;
  for (uint64_t key = 0; key < 1'000; ++key) {
    REQUIRE(first.find(mixed(key)) == second.find(mixed(key)));
  }
  set(first, 17, 99);
  CHECK(first.find(mixed(17)) != second.find(mixed(17)));
  CHECK(first.find(mixed(17))->at(17) == 99);
  CHECK(second.find(mixed(17))->at(17) == 17);
  size_t differing = 0;
  for (uint64_t key = 0; key < 1'000; ++key) {
    differing += first.find(mixed(key)) != second.find(mixed(key)) ? 1U : 0U;
  }
  CHECK(differing <= first.find(mixed(17))->size());
}

TEST_CASE("a shard that nobody shares is changed in place") {
  Map map;
  set(map, 1, 1);
  const Shard* const before = map.find(mixed(1));
  set(map, 1, 2);
  CHECK(map.find(mixed(1)) == before);
  { const Map copy = map; }
  set(map, 1, 3);
  CHECK(map.find(mixed(1)) == before);
}

TEST_CASE("histories of copies and edits agree with plain maps") {
  std::mt19937_64 random(7);
  std::vector<std::pair<Map, std::map<uint64_t, uint64_t>>> versions(1);
  for (int step = 0; step < 3'000; ++step) {
    if (random() % 50 == 0 && versions.size() < 12) {
      versions.push_back(versions[random() % versions.size()]);
    }
    auto& [map, model] = versions[random() % versions.size()];
    const uint64_t key = random() % 200;
    if (random() % 3 == 0) {
      map.edit(mixed(key)).erase(key);
      model.erase(key);
    } else {
      set(map, key, static_cast<uint64_t>(step));
      model[key] = static_cast<uint64_t>(step);
    }
  }
  for (const auto& [map, model] : versions) CHECK(content(map) == model);
}

TEST_CASE("readers of a snapshot are not disturbed by the writer of the next") {
  Map writer;
  for (uint64_t key = 0; key < 100; ++key) set(writer, key, 0);
  const Map snapshot = writer;
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0};
  std::thread reader([&] {
    while (!stop) {
      for (uint64_t key = 0; key < 100; ++key) {
        if (snapshot.find(mixed(key))->at(key) != 0) ++wrong;
      }
    }
  });
  for (uint64_t round = 1; round <= 100; ++round) {
    Map next = writer;
    for (uint64_t key = 0; key < 100; ++key) set(next, key, round);
    writer = next;
  }
  stop = true;
  reader.join();
  CHECK(wrong == 0);
}

TEST_CASE("a million entries go in quickly and one more change stays small") {
  Map map;
  for (uint64_t key = 0; key < 1'000'000; ++key) set(map, key, key);
  size_t shards = 0;
  size_t largest = 0;
  map.for_each_shard([&](const Shard& shard) {
    ++shards;
    largest = std::max(largest, shard.size());
  });
  CHECK(shards == Map::kShards);
  CHECK(largest < 400);  // 244 expected: what one change copies
  const Map snapshot = map;
  const auto start = std::chrono::steady_clock::now();
  for (uint64_t key = 0; key < 100; ++key) {
    Map next = map;
    set(next, key, 0);
  }
  // A hundred whole copies of the entries would take seconds.
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(500));
  CHECK(snapshot.find(mixed(999))->at(999) == 999);
}
