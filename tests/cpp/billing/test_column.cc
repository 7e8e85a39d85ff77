#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "catch.h"
#include "tenancy/base/int128.h"
#include "tenancy/billing/column.h"

using namespace tenancy;

namespace {

// Where the bytes lie, counted from `data`, and how many they are.
std::vector<std::pair<std::ptrdiff_t, size_t>> places(const Column& column, int64_t begin,
                                                      int64_t count, const void* data) {
  std::vector<std::pair<std::ptrdiff_t, size_t>> found;
  for (const std::span<const char> bytes : column.memory_at(begin, count)) {
    if (!bytes.empty()) {
      found.emplace_back(bytes.data() - static_cast<const char*>(data), bytes.size());
    }
  }
  return found;
}

using Places = std::vector<std::pair<std::ptrdiff_t, size_t>>;

}  // namespace

TEST_CASE("where the next values lie, by their width and no further than their chunk") {
  const std::array<int16_t, 10> small{};
  const Column wholes = Column::of_wholes(small.data(), 2, true, 10, nullptr);
  CHECK(places(wholes, 3, 4, small.data()) == Places{{6, 8}});
  CHECK(places(wholes, 8, 4, small.data()) == Places{{16, 4}});
  CHECK(places(wholes, 8, 0, small.data()).empty());
  const std::array<Int128, 4> units{};
  CHECK(places(Column::of_units(units.data(), 4, nullptr), 1, 2, units.data()) == Places{{16, 32}});
}

TEST_CASE("texts are expected to be as long as those before them") {
  const std::string bytes = "aabbbcccc";
  const std::array<int64_t, 4> ends{0, 2, 5, 9};
  const Column texts = Column::of_texts(ends.data(), bytes.data(), 3, nullptr);
  CHECK(places(texts, 0, 3, ends.data()) == Places{{0, 24}});
  const auto next = texts.memory_at(2, 1);
  CHECK(next[0].data() == reinterpret_cast<const char*>(&ends[2]));
  CHECK(next[1].data() == bytes.data() + 5);
  CHECK(next[1].size() == 3);
}
