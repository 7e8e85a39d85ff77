// What the tests of the counter table share: a counter made of one slot, and places to put files.
#pragma once

#include <stdlib.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "catch.h"
#include "tenancy/base/clock.h"
#include "tenancy/counters/table.h"

namespace tenancy::testing {

constexpr int64_t kSecond = 1'000'000'000;
constexpr int64_t kHour = 3600 * kSecond;
constexpr int64_t kStart = 1'700'000'000 * kSecond;

inline std::shared_ptr<FakeClock> fake_clock() { return std::make_shared<FakeClock>(kStart); }

// A directory that goes away with the test.
class TempDir {
 public:
  explicit TempDir(const std::string& parent = "/tmp") {
    std::string pattern = parent + "/counters-XXXXXX";
    path_ = mkdtemp(pattern.data());
  }
  ~TempDir() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

inline std::unique_ptr<CounterTable> open_table(const CounterTable::Options& options,
                                                std::shared_ptr<const Clock> clock) {
  auto table = CounterTable::open(options, std::move(clock));
  if (!table) FAIL(table.error().message);
  return std::move(table).value();
}

struct Place {
  Region region = Region::kTenant;
  SlotClass slot_class = SlotClass::kWords2;
  uint64_t group = 0;
  uint64_t key = 0;
};

// Counts up by one in state word `word`, live until `until_ns` (the same for all calls on a key).
// In kWords2 the state word is a time, so the count is what it lies beyond `until_ns`.
// `find` is find_or_insert of a table or of a core under test; `step` is called before every
// access. Returns false when the region is full.
template <class Find, class Step>
bool count_with(Find&& find, bool has_expiry, uint64_t word, int64_t until_ns, Step&& step) {
  for (;;) {
    Result<SlotRef> slot = find();
    if (!slot) return false;
    step();
    if (has_expiry && !CounterTable::raise_expiry(*slot, until_ns)) continue;
    std::atomic<uint64_t>& state = slot->state[word];
    step();
    uint64_t seen = state.load();
    while ((seen & kFrozen) == 0) {
      const uint64_t first = has_expiry ? 1 : static_cast<uint64_t>(until_ns) + 1;
      step();
      if (state.compare_exchange_weak(seen, seen == 0 ? first : seen + 1)) return true;
    }
  }
}

inline bool count(CounterTable& table, const Place& at, int64_t until_ns, uint64_t word = 0) {
  return count_with(
      [&] { return table.find_or_insert(at.region, at.slot_class, at.group, at.key); },
      at.slot_class != SlotClass::kWords2, word, until_ns, [] {});
}

// The count, looked up without inserting. 0 when the key is not there.
inline uint64_t counted(CounterTable& table, const Place& at, int64_t until_ns, uint64_t word = 0) {
  for (;;) {
    const SlotRef slot = table.find(at.region, at.slot_class, at.group, at.key);
    if (!slot) return 0;
    const uint64_t seen = slot.state[word].load();
    if ((seen & kFrozen) != 0) continue;
    if (seen == 0) return 0;
    return at.slot_class == SlotClass::kWords2 ? seen - static_cast<uint64_t>(until_ns) : seen;
  }
}

}  // namespace tenancy::testing
