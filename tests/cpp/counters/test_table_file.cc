// The file of a table: opened again, refused, full, on another boot.

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

#include "counting.h"
#include "tenancy/counters/layout.h"

namespace tenancy::testing {
namespace {

std::string read_all(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

void write_all(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  REQUIRE(chmod(path.c_str(), 0600) == 0);
}

void put_word(std::string* bytes, size_t at, uint64_t value) {
  std::memcpy(bytes->data() + at, &value, sizeof(value));
}

Error refusal(const std::string& path) {
  const auto table = CounterTable::open({.path = path}, fake_clock());
  if (table.ok()) FAIL("opened: " + path);
  return table.error();
}

// A clock whose boot a test can change.
class BootClock final : public Clock {
 public:
  BootClock(std::string boot, int64_t mono_ns, int64_t wall_ns)
      : boot_(std::move(boot)), mono_ns_(mono_ns), wall_ns_(wall_ns) {}
  int64_t mono_ns() const override { return mono_ns_; }
  int64_t wall_ns() const override { return wall_ns_; }
  std::string boot_id() const override { return boot_; }
  void set_mono(int64_t mono_ns) { mono_ns_ = mono_ns; }

 private:
  std::string boot_;
  int64_t mono_ns_;
  int64_t wall_ns_;
};

TEST_CASE("counters are there after the file is closed and opened again") {
  const TempDir dir;
  const auto clock = fake_clock();
  const int64_t until = kStart + kHour;
  HashKey hash_key;
  {
    auto table = open_table({.path = dir.file("c"), .initial_slots = 16}, clock);
    hash_key = table->hash_key();
    table->revision_word().store(42);
    table->shared_word(15).store(43);
    for (uint64_t key = 1; key <= 3000; ++key) {
      REQUIRE(count(*table, {.slot_class = SlotClass::kWords4, .group = key, .key = key}, until));
    }
  }
  auto table = open_table({.path = dir.file("c"), .initial_slots = 16}, clock);
  REQUIRE(table->hash_key().k0 == hash_key.k0);
  REQUIRE(table->hash_key().k1 == hash_key.k1);
  REQUIRE(table->revision_word().load() == 42);
  REQUIRE(table->shared_word(15).load() == 43);
  for (uint64_t key = 1; key <= 3000; ++key) {
    const Place at{.slot_class = SlotClass::kWords4, .group = key, .key = key};
    REQUIRE(counted(*table, at, until) == 1);
    REQUIRE(count(*table, at, until));
  }
  REQUIRE((std::filesystem::status(dir.file("c")).permissions() & std::filesystem::perms::all) ==
          (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));
}

TEST_CASE("two tables have different secrets") {
  auto one = open_table({}, fake_clock());
  auto two = open_table({}, fake_clock());
  REQUIRE((one->hash_key().k0 != two->hash_key().k0 || one->hash_key().k1 != two->hash_key().k1));
}

TEST_CASE("a file of somebody else is refused and stays as it was") {
  const TempDir dir;
  const std::vector<std::string> contents{"SQLite format 3", "x", std::string(100'000, 'y'),
                                          std::string(8, '\0') + "not zero"};
  for (const std::string& content : contents) {
    write_all(dir.file("c"), content);
    REQUIRE(refusal(dir.file("c")).code == Code::kForeign);
    REQUIRE(read_all(dir.file("c")).substr(0, content.size()) == content);
  }
}

TEST_CASE("a damaged file is refused with what was found") {
  const TempDir dir;
  const std::string path = dir.file("c");
  {
    auto table = open_table({.path = path}, fake_clock());
    for (uint64_t key = 1; key <= 3000; ++key) {
      REQUIRE(count(*table, {.group = key, .key = key}, kStart + kHour));
    }
  }
  const std::string good = read_all(path);
  const auto damaged = [&](size_t offset, uint64_t value) {
    std::string bytes = good;
    put_word(&bytes, offset, value);
    write_all(path, bytes);
    const Error error = refusal(path);
    REQUIRE(error.message.find(path) == 0);
    REQUIRE(read_all(path) == bytes);
    return error.code;
  };
  const counters::GenerationRef current = counters::GenerationRef::of([&] {
    uint64_t word = 0;
    std::memcpy(&word, good.data() + offsetof(counters::FileHeader, entries), sizeof(word));
    return word;
  }());
  CHECK(damaged(offsetof(counters::FileHeader, hash_key0), 7) == Code::kDamaged);
  CHECK(damaged(offsetof(counters::FileHeader, entries), 7) == Code::kDamaged);
  CHECK(damaged(offsetof(counters::FileHeader, entries), ~uint64_t{0}) == Code::kDamaged);
  CHECK(damaged(offsetof(counters::FileHeader, blocks), 0) == Code::kDamaged);
  CHECK(damaged(offsetof(counters::FileHeader, blocks) + 16, ~uint64_t{0}) == Code::kDamaged);
  CHECK(damaged(current.page * counters::kPage, 1) == Code::kDamaged);
  CHECK(damaged(current.page * counters::kPage + 16, 99) == Code::kDamaged);
  CHECK(damaged(offsetof(counters::FileHeader, magic), 0) == Code::kForeign);

  for (const size_t left : {good.size() - 100, good.size() - counters::kPage, size_t{65536},
                            size_t{70'000}, size_t{5000}}) {
    write_all(path, good.substr(0, left));
    CHECK(refusal(path).code == Code::kDamaged);
  }

  write_all(path, good);
  auto table = open_table({.path = path}, fake_clock());
  REQUIRE(counted(*table, {.group = 9, .key = 9}, kStart + kHour) == 1);
}

TEST_CASE("another major version is refused, naming the command; a newer minor one works") {
  const TempDir dir;
  const std::string path = dir.file("c");
  { open_table({.path = path}, fake_clock()); }
  std::string bytes = read_all(path);
  put_word(&bytes, offsetof(counters::FileHeader, version), (counters::kMajor + 1) << 32 | 3);
  write_all(path, bytes);
  const Error error = refusal(path);
  REQUIRE(error.code == Code::kVersion);
  REQUIRE(error.message.find("tenancy migrate") != std::string::npos);
  REQUIRE(error.message.find("2.3") != std::string::npos);
  REQUIRE(read_all(path) == bytes);

  // What a later release of this major may write: a longer header, words of its own in what is
  // reserved here.
  bytes = read_all(path);
  const uint64_t version = counters::kMajor << 32 | (counters::kMinor + 5);
  const uint64_t header_bytes = sizeof(counters::FileHeader) + 2 * counters::kPage;
  put_word(&bytes, offsetof(counters::FileHeader, version), version);
  put_word(&bytes, offsetof(counters::FileHeader, header_bytes), header_bytes);
  put_word(&bytes, offsetof(counters::FileHeader, reserved_head), 12345);
  const auto word = [&](size_t at) {
    uint64_t value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof(value));
    return value;
  };
  const std::array<uint64_t, 6> identity{
      version, counters::kByteOrder, header_bytes, word(32), word(40), word(48)};
  put_word(&bytes, offsetof(counters::FileHeader, identity_check),
           siphash(HashKey{}, std::string_view(reinterpret_cast<const char*>(identity.data()),
                                               sizeof(identity))));
  bytes.resize(header_bytes, 'n');
  write_all(path, bytes);
  auto table = open_table({.path = path}, fake_clock());
  for (uint64_t key = 1; key <= 3000; ++key) {
    REQUIRE(count(*table, {.group = key, .key = key}, kStart + kHour));
  }
  bytes = read_all(path);
  REQUIRE(word(offsetof(counters::FileHeader, version)) == version);
  REQUIRE(word(offsetof(counters::FileHeader, reserved_head)) == 12345);
  REQUIRE(bytes.substr(65536, 2 * counters::kPage) == std::string(2 * counters::kPage, 'n'));
}

TEST_CASE("a file whose maker died is made again, only while it never was valid") {
  const TempDir dir;
  const std::string path = dir.file("c");
  write_all(path, "");
  { open_table({.path = path}, fake_clock()); }
  write_all(path, std::string(4096, '\0'));
  { open_table({.path = path}, fake_clock()); }
  std::string half(65536, '\0');
  put_word(&half, offsetof(counters::FileHeader, byte_order), counters::kMaking);
  put_word(&half, offsetof(counters::FileHeader, hash_key0), 77);
  write_all(path, half);
  auto table = open_table({.path = path}, fake_clock());
  REQUIRE(table->hash_key().k0 != 77);
  REQUIRE(count(*table, {.group = 1, .key = 1}, kStart + kHour));

  // Died before the very last store: complete.
  std::string last = read_all(path);
  put_word(&last, offsetof(counters::FileHeader, byte_order), counters::kMaking);
  table.reset();
  write_all(path, last);
  table = open_table({.path = path}, fake_clock());
  REQUIRE(counted(*table, {.group = 1, .key = 1}, kStart + kHour) == 1);
}

TEST_CASE("many first openers at once agree on one table") {
  const TempDir dir;
  std::vector<pid_t> children;
  for (int i = 0; i < 8; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      auto table = CounterTable::open({.path = dir.file("c")}, fake_clock());
      const bool done = table.ok() && count(**table, {.group = 1, .key = 2}, kStart + kHour);
      _exit(done ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    REQUIRE(waitpid(child, &status, 0) == child);
    REQUIRE(status == 0);
  }
  auto table = open_table({.path = dir.file("c")}, fake_clock());
  REQUIRE(counted(*table, {.group = 1, .key = 2}, kStart + kHour) == 8);
}

TEST_CASE("a directory that cannot be written is refused") {
  const TempDir dir;
  REQUIRE(refusal(dir.file("none/c")).code == Code::kNotFound);
  if (geteuid() == 0) {
    // root ignores modes; a mount does not.
    if (mount("none", dir.path().c_str(), "tmpfs", MS_RDONLY, nullptr) != 0) return;
    CHECK(refusal(dir.file("c")).code == Code::kPermission);
    REQUIRE(umount(dir.path().c_str()) == 0);
  } else {
    REQUIRE(chmod(dir.path().c_str(), 0500) == 0);
    CHECK(refusal(dir.file("c")).code == Code::kPermission);
    REQUIRE(chmod(dir.path().c_str(), 0700) == 0);
  }
}

// Fills the table until the disk is full, and shows that this costs nothing that was there.
void fill_the_disk(const std::string& path) {
  auto clock = fake_clock();
  auto table = open_table({.path = path, .initial_slots = 1024}, clock);
  const int64_t until = kStart + kHour;
  uint64_t keys = 0;
  while (keys < 1'000'000 && count(*table, {.group = keys + 1, .key = keys + 1}, until)) ++keys;
  REQUIRE(keys > 2000);
  REQUIRE(keys < 1'000'000);
  const auto refused = table->find_or_insert(Region::kTenant, SlotClass::kWords2, 1, ~uint64_t{5});
  REQUIRE_FALSE(refused.ok());
  REQUIRE(refused.error().code == Code::kFull);
  for (uint64_t key = 1; key <= keys; ++key) {
    REQUIRE(counted(*table, {.group = key, .key = key}, until) == 1);
    REQUIRE(count(*table, {.group = key, .key = key}, until));
  }
  const size_t bytes = table->bytes();
  table.reset();
  table = open_table({.path = path}, clock);
  REQUIRE(table->bytes() == bytes);
  REQUIRE(counted(*table, {.group = 1, .key = 1}, until) == 2);
}

TEST_CASE("a full disk refuses new keys and leaves everything as it was") {
  const TempDir dir;
  if (geteuid() == 0 && mount("none", dir.path().c_str(), "tmpfs", 0, "size=700k") == 0) {
    fill_the_disk(dir.file("c"));
    REQUIRE(umount2(dir.path().c_str(), MNT_DETACH) == 0);
    return;
  }
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{700'000, 700'000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(3);
    auto table = CounterTable::open({.path = dir.file("c")}, fake_clock());
    if (!table) _exit(4);
    uint64_t keys = 0;
    while (keys < 1'000'000 && count(**table, {.group = keys + 1, .key = keys + 1}, kStart + kHour))
      ++keys;
    if (keys < 2000 || keys == 1'000'000) _exit(5);
    for (uint64_t key = 1; key <= keys; ++key) {
      if (counted(**table, {.group = key, .key = key}, kStart + kHour) != 1) _exit(6);
    }
    _exit(0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
}

TEST_CASE("table time starts at wall time and goes on over a reboot") {
  const TempDir dir;
  const std::string path = dir.file("c");
  const auto open_at = [&](const char* boot, int64_t mono_ns, int64_t wall_ns) {
    auto clock = std::make_shared<BootClock>(boot, mono_ns, wall_ns);
    return std::pair(open_table({.path = path}, clock), clock);
  };
  {
    auto [table, clock] = open_at("one", 5 * kSecond, kStart);
    REQUIRE(table->now_ns() == kStart);
    clock->set_mono(3605 * kSecond);
    REQUIRE(table->now_ns() == kStart + kHour);
  }
  {
    // The same boot: the offset stays, whatever wall time says.
    auto [table, clock] = open_at("one", 3606 * kSecond, kStart - kHour);
    REQUIRE(table->now_ns() == kStart + kHour + kSecond);
  }
  {
    // A reboot with the wall clock an hour back: on from the highest time known.
    auto [table, clock] = open_at("two", 1 * kSecond, kStart);
    REQUIRE(table->now_ns() >= kStart + kHour - kSecond);
    REQUIRE(table->now_ns() <= kStart + kHour + 2 * kSecond);
  }
  {
    auto [table, clock] = open_at("three", 7 * kSecond, kStart + 5 * kHour);
    REQUIRE(table->now_ns() == kStart + 5 * kHour);
    clock->set_mono(-1'000 * kHour * 1'000);
    REQUIRE(table->now_ns() == 1);  // never negative
  }
}

TEST_CASE("a clock that steps back and forth locks nobody out of a full region") {
  auto clock = fake_clock();
  auto table = open_table({.anonymous_bytes = size_t{1} << 16}, clock);
  const auto fill = [&](uint64_t base) {
    uint64_t admitted = 0;
    for (uint64_t key = base; key < base + 2000; ++key) {
      admitted += count(*table, {.region = Region::kAnonymous, .group = key, .key = key},
                        table->now_ns() + kSecond);
    }
    return admitted;
  };
  REQUIRE(fill(10'000) < 2000);
  clock->step_mono(-kHour);
  REQUIRE(fill(20'000) == 0);  // everything ends an hour and a second from now
  clock->step_mono(kHour + 2 * kSecond);
  REQUIRE(fill(30'000) > 100);
  clock->advance(2 * kSecond);
  REQUIRE(fill(40'000) > 100);
}

}  // namespace
}  // namespace tenancy::testing
