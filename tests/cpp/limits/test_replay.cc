#include <array>
#include <random>

#include "rig.h"
#include "tenancy/limits/replay.h"

using namespace tenancy;

namespace {

struct Recorded {
  std::vector<uint32_t> keys;
  std::vector<int64_t> times_ns;
  std::vector<uint64_t> costs;

  void add(uint32_t key, int64_t time_ns, uint64_t cost = 1) {
    keys.push_back(key);
    times_ns.push_back(time_ns);
    costs.push_back(cost);
  }
  Traffic view(size_t key_count) const { return {keys, times_ns, costs, key_count}; }
};

std::string text(const Result<std::vector<Replayed>>& replayed) {
  if (!replayed.ok()) return replayed.error().message;
  std::string result;
  for (const Replayed& each : *replayed) {
    result += std::to_string(each.refused) + "/" + std::to_string(each.requests);
    if (each.refused > 0) {
      result += " from " + std::to_string((each.first_refusal_ns - kStart) / kSec) + " s, " +
                std::to_string(each.spell) + " in " +
                std::to_string((each.spell_end_ns - each.spell_begin_ns) / kSec) + " s";
    }
    result += "; ";
  }
  return result;
}

}  // namespace

TEST_CASE("a replay tells who would have been refused, when and for how long") {
  Recorded recorded;
  for (int i = 0; i < 10; ++i) recorded.add(0, kStart + i * kSec);
  recorded.add(1, kStart);
  recorded.add(0, kStart + 61 * kSec);
  for (int i = 0; i < 3; ++i) recorded.add(0, kStart + 120 * kSec);
  const LimitPolicy limit = policy_of("4/minute", Algorithm::kFixedWindow);
  CHECK(text(replay_limits({&limit, 1}, recorded.view(3))) ==
        "6/14 from 4 s, 6 in 5 s; 0/1; 0/0; ");
}

TEST_CASE("a replay answers what the limiter answers, for every algorithm, in any order of rows") {
  for (const Way& way : kWays) {
    INFO(way.name);
    std::mt19937_64 random(11);
    const LimitPolicy limit = policy_of("5/10s", way);
    const LimitPolicy both[] = {limit, policy_of("12/minute")};
    Recorded recorded;
    int64_t now_ns = kStart;
    for (int i = 0; i < 3000; ++i) {
      now_ns += static_cast<int64_t>(random() % static_cast<uint64_t>(kSec));
      recorded.add(static_cast<uint32_t>(random() % 4), now_ns, 1 + random() % 6);
    }
    auto clock = std::make_shared<FakeClock>(kStart);
    auto table = CounterTable::open({}, clock);
    REQUIRE(table.ok());
    std::vector<uint64_t> refused(4, 0);
    std::vector<uint64_t> cost_refused(4, 0);
    for (size_t i = 0; i < recorded.keys.size(); ++i) {
      clock->advance(recorded.times_ns[i] - clock->wall_ns());
      std::array<LimitHit, 2> hits;
      std::array<LimitState, 2> states;
      for (size_t k = 0; k < 2; ++k) {
        const uint64_t group = 100 + recorded.keys[i];
        hits[k] = {&both[k], group, limit_key((*table)->hash_key(), group, both[k]),
                   recorded.costs[i], Region::kTenant};
      }
      if (limit_take_all(**table, hits, states, (*table)->now_ns())) continue;
      ++refused[recorded.keys[i]];
      cost_refused[recorded.keys[i]] += recorded.costs[i];
    }
    const auto straight = replay_limits(both, recorded.view(4));
    REQUIRE(straight.ok());
    Recorded backwards;
    for (size_t i = recorded.keys.size(); i-- > 0;) {
      backwards.add(recorded.keys[i], recorded.times_ns[i], recorded.costs[i]);
    }
    const auto sorted = replay_limits(both, backwards.view(4));
    for (size_t key = 0; key < 4; ++key) {
      CHECK(refused[key] > 0);
      CHECK((*straight)[key].refused == refused[key]);
      CHECK((*straight)[key].cost_refused == cost_refused[key]);
      CHECK((*sorted)[key].refused == refused[key]);
    }
  }
}

TEST_CASE("a queue says how many waited and how long") {
  Recorded recorded;
  for (int i = 0; i < 4; ++i) recorded.add(0, kStart);
  const LimitPolicy limit = policy_of("60/minute", Algorithm::kLeakyQueue, 3);
  const auto replayed = replay_limits({&limit, 1}, recorded.view(1));
  REQUIRE(replayed.ok());
  CHECK(replayed->front().refused == 1);
  CHECK(replayed->front().delayed == 2);
  CHECK(replayed->front().delay_max_ns == 2 * kSec);
}

TEST_CASE("a quota begins again with each period, and a refused request takes nothing") {
  Recorded recorded;
  recorded.add(0, 5, 6);
  recorded.add(0, 6, 5);  // does not fit
  recorded.add(0, 7, 4);
  recorded.add(0, 8, 1);  // nothing left
  recorded.add(0, 10, 10);
  recorded.add(1, 9, 11);  // never fits
  const std::vector<int64_t> starts{0, 10, 20};
  const auto replayed = replay_quota(10, starts, recorded.view(2));
  REQUIRE(replayed.ok());
  CHECK(replayed->front().refused == 2);
  CHECK(replayed->front().cost_refused == 6);
  CHECK(replayed->front().first_refusal_ns == 6);
  CHECK(replayed->back().refused == 1);
  const std::vector<int64_t> short_of{0, 9};
  CHECK(text(replay_quota(10, short_of, recorded.view(2))) ==
        "row 5: its time lies in none of the periods");
}

TEST_CASE("what cannot be replayed names its row") {
  const LimitPolicy limit = policy_of("4/minute");
  Recorded recorded;
  recorded.add(0, kStart);
  recorded.add(0, -1);
  CHECK(text(replay_limits({&limit, 1}, recorded.view(1))) == "row 1: its time is before 1970");
  recorded.times_ns[1] = kStart;
  recorded.costs[1] = 0;
  CHECK(text(replay_limits({&limit, 1}, recorded.view(1))) == "row 1: its cost is 0");
  recorded.costs[1] = 1;
  recorded.keys[1] = 1;
  CHECK(text(replay_limits({&limit, 1}, recorded.view(1))) == "row 1: its key is unknown");
  CHECK(text(replay_limits({}, recorded.view(2))) == "expected 1 to 64 limits at once");
}
