// Tables of ids, and what of them was settled: files, order, what is refused.
#include <filesystem>
#include <fstream>
#include <random>

#include "catch.h"
#include "rig.h"
#include "tenancy/metering/id_table.h"
#include "tenancy/metering/settled.h"

using namespace tenancy;
using namespace tenancy::metering;
using namespace tenancy::metering::test;

namespace {

constexpr unsigned kLog2 = 11;
const IdTable::Identity kIdentity{{1, 2, 3}, 7};

std::unique_ptr<IdTable> made(const std::string& path) {
  Result<std::unique_ptr<IdTable>> table = IdTable::make(path, kIdentity, 5, kLog2);
  if (!table) FAIL(table.error().message);
  return std::move(*table);
}

std::vector<uint64_t> digests(const IdTable& table, const Hash128& id) {
  std::vector<IdEntry> found;
  table.find(id, &found);
  std::vector<uint64_t> out;
  for (const IdEntry& entry : found) out.push_back(entry.digest);
  return out;
}

}  // namespace

TEST_CASE("a place is one word") {
  const Place place{(uint64_t{1} << 52) - 1, 1023, Action::kCancel};
  CHECK(Place::of(place.word()) == place);
  CHECK(Place::of(Place{7, 3, Action::kCorrect}.word()) == Place{7, 3, Action::kCorrect});
}

TEST_CASE("entries of an id come back in their order, beside ids that lie in the same slot") {
  const TempDir directory;
  const auto table = made(directory.file("t"));
  // The same home, also the lower half that means an empty slot.
  const Hash128 ids[] = {{0, 9}, {1, 9 + 2048}, {2, 9}, {2, 9 + 2048}};
  for (uint64_t round = 0; round < 3; ++round) {
    for (uint64_t i = 0; i < 4; ++i) {
      table->add(ids[i], {10 * i + round, {round, 0, Action::kRecord}}, kStartNs);
    }
  }
  for (uint64_t i = 0; i < 4; ++i) {
    CHECK(digests(*table, ids[i]) == std::vector<uint64_t>{10 * i, 10 * i + 1, 10 * i + 2});
    CHECK(table->contains(ids[i], {2, 0, Action::kRecord}));
    CHECK_FALSE(table->contains(ids[i], {2, 1, Action::kRecord}));
    CHECK_FALSE(table->contains(ids[i], {2, 0, Action::kCancel}));
  }
  CHECK(digests(*table, {3, 9}).empty());
  CHECK(table->used() == 12);
}

TEST_CASE("what is forgotten is gone, and hides nothing behind it") {
  const TempDir directory;
  const auto table = made(directory.file("t"));
  for (uint64_t i = 0; i < 6; ++i) {
    table->add({i + 1, 4}, {i, {i, 0, Action::kRecord}}, kStartNs);
  }
  table->add({3, 4}, {77, {1, 5, Action::kRecord}}, kStartNs);
  table->forget_from(2);
  CHECK(digests(*table, {2, 4}) == std::vector<uint64_t>{1});
  CHECK(digests(*table, {3, 4}) == std::vector<uint64_t>{77});
  CHECK(digests(*table, {6, 4}).empty());
  CHECK(table->used() == 7);
}

TEST_CASE("a table is found as it was left, and only as what it is") {
  const TempDir directory;
  const std::string path = directory.file("t");
  made(path)->add({1, 2}, {3, {4, 5, Action::kRecord}}, kStartNs);
  {
    const auto table = IdTable::open(path, kIdentity, 5, kLog2);
    REQUIRE(table.ok());
    CHECK(digests(**table, {1, 2}) == std::vector<uint64_t>{3});
    CHECK((*table)->last_ns() == kStartNs);
  }
  CHECK(IdTable::open(path, kIdentity, 6, kLog2).error().code == Code::kDamaged);
  CHECK(IdTable::open(path, kIdentity, 5, kLog2 + 1).error().code == Code::kDamaged);
  CHECK(IdTable::open(path, {{9}, 7}, 5, kLog2).error().code == Code::kForeign);
  CHECK(IdTable::open(path, {{1, 2, 3}, 8}, 5, kLog2).error().code == Code::kForeign);
  CHECK(IdTable::open(directory.file("no"), kIdentity, 5, kLog2).error().code == Code::kNotFound);
  std::filesystem::resize_file(path, 8192);
  CHECK(IdTable::open(path, kIdentity, 5, kLog2).error().code == Code::kDamaged);
  std::ofstream(path) << "another program's file, which stays as it is";
  CHECK(IdTable::open(path, kIdentity, 5, kLog2).error().code == Code::kForeign);
  CHECK(std::filesystem::file_size(path) == 44);
}

TEST_CASE("what was settled is read as it was written, and nothing else is") {
  Settled settled;
  settled.log_id = {5, 6};
  settled.key = {1, 2};
  settled.window_ns = 99;
  settled.end = 1234;
  settled.tables = {{1, 11, -5}, {2, 24, kStartNs}};
  const std::string bytes = settled.bytes();
  const Result<Settled> found = Settled::parse(bytes);
  REQUIRE(found.ok());
  CHECK(found->bytes() == bytes);
  CHECK(found->end == 1234);
  CHECK(found->window_ns == 99);
  CHECK(found->tables[1].last_ns == kStartNs);
  for (size_t length = 0; length < bytes.size(); ++length) {
    REQUIRE_FALSE(Settled::parse(std::string_view(bytes).substr(0, length)).ok());
  }
  for (size_t at = 0; at < bytes.size(); ++at) {
    std::string changed = bytes;
    changed[at] = static_cast<char>(changed[at] ^ 1);
    REQUIRE_FALSE(Settled::parse(changed).ok());
  }
}
