#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <unordered_map>
#include <vector>

#include "catch.h"
#include "tenancy/billing/number_interner.h"

using namespace tenancy;

namespace {

using Units = NumberInterner::Units;

// Nothing flipped and times one: small ids have a hash of 0, negative ones share the last bucket.
constexpr NumberInterner::Spread kBadSpread{0, 1};

// Every way in which this processor can look into the buckets.
std::vector<Units> all_units() {
  std::vector<Units> units{Units::kPlain};
  if (NumberInterner::has_vectors()) units.push_back(Units::kVectors);
  return units;
}

constexpr NumberInterner::Spread kGoodSpread{0x243f6a8885a308d3, 0x9e3779b97f4a7c15};

// Gives them positions, block after block of that size, beside a map.
void check_beside_a_map(NumberInterner interner, const std::vector<int64_t>& ids, size_t block) {
  std::unordered_map<int64_t, int64_t> model;
  for (size_t begin = 0; begin < ids.size(); begin += block) {
    const auto end = static_cast<std::ptrdiff_t>(std::min(begin + block, ids.size()));
    std::vector<int64_t> some(ids.begin() + static_cast<std::ptrdiff_t>(begin), ids.begin() + end);
    std::vector<int64_t> expected;
    for (const int64_t id : some) {
      expected.push_back(7 + model.emplace(id, static_cast<int64_t>(model.size())).first->second);
    }
    // In the place where they lie.
    interner.positions(some.data(), static_cast<int64_t>(some.size()), 7, some.data());
    REQUIRE((some == expected));
  }
  REQUIRE(interner.ids().size() == model.size());
  for (const auto& [id, position] : model) {
    REQUIRE(interner.ids()[static_cast<size_t>(position)] == id);
  }
}

}  // namespace

TEST_CASE("numbers get positions in the order in which they first come, over any growth") {
  std::mt19937_64 random(11);
  std::vector<int64_t> ids(60'000);
  for (int64_t& id : ids) id = static_cast<int64_t>(random() % 30'000 * 0x9e3779b97f4a7c15);
  for (const Units units : all_units()) {
    for (const size_t block : {1UL, 100UL, 128UL, 1500UL, ids.size()}) {
      check_beside_a_map({kGoodSpread, units}, ids, block);
    }
  }
  check_beside_a_map({}, ids, 1024);
}

TEST_CASE("numbers that come again in their first order, with gaps, strangers and turns") {
  std::mt19937_64 random(5);
  std::vector<int64_t> ids;
  for (int64_t day = 0; day < 60; ++day) {
    for (int64_t tenant = 0; tenant < 500 + day * 3; ++tenant) {
      const uint64_t chance = random() % 400;
      if (chance != 0) ids.push_back(tenant * 7919);
      if (chance == 1) ids.push_back(static_cast<int64_t>(random() % 500) * 7919);
    }
  }
  for (const Units units : all_units()) check_beside_a_map({kGoodSpread, units}, ids, 1024);
}

TEST_CASE("0, the ends of the numbers and negative ones are ids like others") {
  std::vector<int64_t> ids{0, INT64_MIN, INT64_MAX, -1, 1, 0, 0, INT64_MIN, -1};
  for (int64_t bit = 0; bit < 63; ++bit) {
    ids.push_back(int64_t{1} << bit);
    ids.push_back(-(int64_t{1} << bit));
    ids.push_back(INT64_MIN + (int64_t{1} << bit));
  }
  const std::vector<int64_t> once = ids;
  ids.insert(ids.end(), once.rbegin(), once.rend());
  for (const Units units : all_units()) {
    for (const auto& spread : {kGoodSpread, kBadSpread}) {
      for (const size_t block : {1UL, 5UL, ids.size()}) {
        check_beside_a_map({spread, units}, ids, block);
      }
    }
  }
  // Where 0 comes last, the empty places of its bucket look like it.
  for (const Units units : all_units()) check_beside_a_map({kBadSpread, units}, {1, 2, 0, 3, 0}, 1);
}

TEST_CASE("numbers that all fall into one bucket are found, round the end of the table") {
  std::mt19937_64 random(3);
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 3'000; ++i) {
    ids.push_back(i / 2);
    ids.push_back(-1 - static_cast<int64_t>(random() % 1'000));
  }
  for (const Units units : all_units()) check_beside_a_map({kBadSpread, units}, ids, 500);
}
