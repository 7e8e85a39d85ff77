#include <algorithm>
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include "../base/process.h"
#include "prices.h"
#include "tenancy/billing/unit_memory.h"
#include "tenancy/billing/vector.h"

using namespace tenancy;
using namespace tenancy::test;

namespace {

constexpr int64_t kMebi = int64_t{1} << 20;
constexpr int64_t kUnitBytes = sizeof(Int128);

int64_t units_in(int64_t mebibytes) { return mebibytes * kMebi / kUnitBytes; }

// Whether so many numbers can be written and read again.
bool holds(Int128* units, int64_t count, int64_t seed) {
  for (int64_t i = 0; i < count; ++i) units[i] = Int128{seed} * i;
  for (int64_t i = 0; i < count; ++i) {
    if (units[i] != Int128{seed} * i) return false;
  }
  return true;
}

// What earlier tests left, taken out: nothing is kept then.
std::shared_ptr<Int128> what_was_kept() {
  return allocate_units(static_cast<int64_t>(unit_bytes_kept()) / kUnitBytes);
}

}  // namespace

TEST_CASE("the last long piece of memory that was freed serves the next result of about its size") {
  const std::shared_ptr<Int128> aside = what_was_kept();
  std::shared_ptr<Int128> first = allocate_units(units_in(32));
  Int128* const place = first.get();
  REQUIRE(holds(place, units_in(32), 3));
  first.reset();
  REQUIRE(unit_bytes_kept() == 32 * kMebi);

  // Smaller ones down to half of it; whoever is second gets memory of its own.
  std::shared_ptr<Int128> smaller = allocate_units(units_in(16));
  CHECK(smaller.get() == place);
  CHECK(unit_bytes_kept() == 0);
  const std::shared_ptr<Int128> other = allocate_units(units_in(16));
  CHECK(other.get() != place);
  CHECK(holds(smaller.get(), units_in(16), 5));

  // It is kept whole again.
  smaller.reset();
  CHECK(unit_bytes_kept() == 32 * kMebi);
  CHECK(allocate_units(units_in(33)).get() != place);
}

TEST_CASE("memory that is too small for a result, or too large, stays where it is") {
  const std::shared_ptr<Int128> aside = what_was_kept();
  allocate_units(units_in(40)).reset();
  REQUIRE(unit_bytes_kept() == 40 * kMebi);
  const std::shared_ptr<Int128> larger = allocate_units(units_in(41));
  CHECK(unit_bytes_kept() == 40 * kMebi);
  const std::shared_ptr<Int128> small = allocate_units(units_in(20) - 1);
  CHECK(unit_bytes_kept() == 40 * kMebi);
  const std::shared_ptr<Int128> tiny = allocate_units(1);
  CHECK(unit_bytes_kept() == 40 * kMebi);
}

TEST_CASE("neither short results nor the very longest are kept") {
  const std::shared_ptr<Int128> aside = what_was_kept();
  allocate_units(units_in(24)).reset();
  allocate_units(units_in(8) - 1).reset();
  CHECK(unit_bytes_kept() == 24 * kMebi);
  allocate_units(units_in(1024) + 1).reset();
  CHECK(unit_bytes_kept() == 24 * kMebi);
  allocate_units(units_in(8)).reset();
  CHECK(unit_bytes_kept() == 8 * kMebi);
}

TEST_CASE("nothing of an older result is seen in a newer one") {
  const std::shared_ptr<Int128> aside = what_was_kept();
  constexpr int64_t kCount = 1 << 20;
  const Price tiered = price(model("graduated", kFourTiers));
  std::vector<int64_t> quantities(kCount);
  for (int64_t i = 0; i < kCount; ++i) quantities[static_cast<size_t>(i)] = i * 7;
  std::vector<uint8_t> validity(kCount / 8, 0b01110111);
  ArrowSchema schema{};
  schema.format = "l";
  Result<Column> column = Column::of_schema(schema);
  const std::array<const void*, 2> buffers{validity.data(), quantities.data()};
  ArrowArray array{};
  array.length = kCount;
  array.null_count = kCount / 4;
  array.n_buffers = 2;
  array.buffers = const_cast<const void**>(buffers.data());
  REQUIRE(column->append(array, nullptr).ok());
  const Column whole = Column::of_wholes(quantities.data(), 8, true, kCount, nullptr);
  {
    const std::shared_ptr<Int128> old = allocate_units(kCount);
    std::fill_n(old.get(), kCount, Int128{-77});
  }
  const Result<Amounts> some = price_column(tiered, *column, 2);
  REQUIRE(unit_bytes_kept() == 0);
  const Result<Amounts> all = price_column(tiered, whole, 2);
  REQUIRE((some.ok() && all.ok() && some->null_count == kCount / 4));
  bool same = true;
  for (int64_t i = 0; i < kCount; ++i) {
    const Int128 expected = some->is_null(i) ? Int128{0} : all->units.get()[i];
    same = same && some->units.get()[i] == expected;
  }
  CHECK(same);
}

TEST_CASE("threads that take and free at once never share a piece") {
  std::atomic<bool> good = true;
  std::vector<std::thread> threads;
  for (int64_t thread = 1; thread <= 4; ++thread) {
    threads.emplace_back([thread, &good] {
      for (int64_t round = 0; round < 12; ++round) {
        const int64_t count = units_in(8 + (round + thread) % 3);
        std::shared_ptr<Int128> memory = allocate_units(count);
        if (!holds(memory.get(), count, thread * 100 + round)) good = false;
        // Freed by another thread.
        std::thread([taken = std::move(memory)]() mutable { taken.reset(); }).join();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(good);
  CHECK(unit_bytes_kept() >= 8 * kMebi);
}

TEST_CASE("a forked child goes on with its own copy of what was kept") {
  const std::shared_ptr<Int128> aside = what_was_kept();
  allocate_units(units_in(16)).reset();
  Child child([] {
    const std::shared_ptr<Int128> memory = allocate_units(units_in(16));
    return std::string(holds(memory.get(), units_in(16), 9) ? "good" : "bad");
  });
  const std::shared_ptr<Int128> memory = allocate_units(units_in(16));
  CHECK(holds(memory.get(), units_in(16), 11));
  CHECK(child.join() == "good");
  bool untouched = true;
  for (int64_t i = 0; i < units_in(16); ++i) {
    untouched = untouched && memory.get()[i] == Int128{11} * i;
  }
  CHECK(untouched);
}
