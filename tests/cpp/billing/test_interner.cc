#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/billing/interner.h"

using namespace tenancy;

namespace {

// Every key has one of two hashes: all of them collide.
struct OneOfTwo {
  explicit OneOfTwo(int64_t id) : number(id) {}
  static uint64_t hash(const OneOfTwo& key, int64_t) {
    return static_cast<uint64_t>(key.number & 1) << 40;
  }
  bool same(const OneOfTwo& other) const { return number == other.number; }
  static constexpr bool whole() { return true; }
  int64_t number = 0;
};

std::vector<int64_t> positions_of_texts(const std::vector<std::string>& texts) {
  const std::vector<std::string_view> views(texts.begin(), texts.end());
  std::vector<int64_t> positions(texts.size());
  TextInterner interner;
  interner.positions(views.data(), static_cast<int64_t>(views.size()), 0, positions.data());
  for (size_t i = 0; i < texts.size(); ++i) {
    CHECK((interner.ids()[static_cast<size_t>(positions[i])] == texts[i]));
    CHECK((interner.position(views[i]) == positions[i]));
  }
  return positions;
}

}  // namespace

TEST_CASE("two ids with one hash are two ids") {
  Interner<int64_t, OneOfTwo> interner;
  std::vector<int64_t> ids;
  for (int64_t i = 0; i < 300; ++i) ids.push_back(i * 3 - 100);
  std::vector<int64_t> positions(ids.size());
  for (int round = 0; round < 2; ++round) {
    interner.positions(ids.data(), static_cast<int64_t>(ids.size()), 0, positions.data());
    for (size_t i = 0; i < ids.size(); ++i) REQUIRE(positions[i] == static_cast<int64_t>(i));
  }
  CHECK(interner.ids() == ids);
}

TEST_CASE("texts of every length differ wherever one byte differs") {
  for (size_t size = 0; size <= 40; ++size) {
    std::vector<std::string> texts;
    for (size_t at = 0; at < size; ++at) {
      texts.emplace_back(size, 'a');
      texts.back()[at] = 'b';
      texts.emplace_back(size, 'a');
      texts.back()[at] = '\0';
    }
    texts.emplace_back(size, 'a');
    texts.emplace_back(size + 1, 'a');
    texts.emplace_back(size + 1, '\0');
    const size_t distinct = texts.size();
    for (size_t i = 0; i < distinct; ++i) texts.push_back(texts[i]);
    const std::vector<int64_t> positions = positions_of_texts(texts);
    for (size_t i = 0; i < texts.size(); ++i) {
      CAPTURE(size, i);
      REQUIRE(positions[i] == static_cast<int64_t>(i % distinct));
    }
  }
}

TEST_CASE("a text is read to its last byte and not beyond it") {
  // Exactly as long as its memory: the address sanitizer sees a byte too many.
  std::vector<std::vector<char>> memory;
  std::vector<std::string_view> views;
  for (size_t size = 1; size <= 40; ++size) {
    const std::vector<char>& bytes = memory.emplace_back(size, 'x');
    views.emplace_back(bytes.data(), bytes.size());
  }
  TextInterner interner;
  std::vector<int64_t> positions(views.size());
  interner.positions(views.data(), static_cast<int64_t>(views.size()), 0, positions.data());
  for (size_t i = 0; i < views.size(); ++i) CHECK(positions[i] == static_cast<int64_t>(i));
}
