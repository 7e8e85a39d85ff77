// Usage events: each once, in the window; corrections; what is left after a restart or a loss.
#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "catch.h"
#include "rig.h"

using namespace tenancy;
using namespace tenancy::metering;
using namespace tenancy::metering::test;
namespace fs = std::filesystem;

namespace {

constexpr auto kRecorded = EventStatus::kRecorded;
constexpr auto kDuplicate = EventStatus::kDuplicate;
constexpr auto kConflict = EventStatus::kConflict;
constexpr auto kUnknown = EventStatus::kUnknown;

size_t tables_in(const Host& host) {
  size_t count = 0;
  for (const auto& entry : fs::directory_iterator(host.ids_directory())) {
    count += entry.path().extension() == ".ids" ? 1 : 0;
  }
  return count;
}

// A clock whose boot can be another one; time stands still.
class BootClock final : public Clock {
 public:
  explicit BootClock(std::string boot) : boot_(std::move(boot)) {}
  int64_t mono_ns() const override { return kStartNs; }
  int64_t wall_ns() const override { return kStartNs; }
  std::string boot_id() const override { return boot_; }

 private:
  std::string boot_;
};

void set_boot(Host& host, const std::string& boot) {
  host.options.clock = std::make_shared<BootClock>(boot);
  host.log_options.clock = host.options.clock;
}

}  // namespace

TEST_CASE("an event that is sent again counts once") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  CHECK(host.record({.id = "a", .quantity = 5}) == kRecorded);
  CHECK(host.record({.id = "a", .quantity = 5}) == kDuplicate);
  // In one call, too.
  CHECK(host.record(std::vector<Event>{{.id = "b"}, {.id = "c"}, {.id = "b"}}) ==
        std::vector{kRecorded, kRecorded, kDuplicate});
  CHECK(host.events() == std::vector<std::string>{"ten_1//a=5", "ten_1//b=1", "ten_1//c=1"});
}

TEST_CASE("tenant, source and id are what an event is known by") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  CHECK(host.record({.tenant = "t", .id = "i", .source = "s"}) == kRecorded);
  CHECK(host.record({.tenant = "t", .id = "i", .source = ""}) == kRecorded);
  CHECK(host.record({.tenant = "ts", .id = "i", .source = ""}) == kRecorded);
  CHECK(host.record({.tenant = "t", .id = "si", .source = ""}) == kRecorded);
  CHECK(host.record({.tenant = "t", .id = "i", .source = "s"}) == kDuplicate);
}

TEST_CASE("every part of the content makes a conflict") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  const Event event{.id = "a", .properties = R"({"k":1})", .time_ns = 17};
  REQUIRE(host.record(event) == kRecorded);
  Event other = event;
  SECTION("metric") { other.metric = "tokens"; }
  SECTION("quantity") { other.quantity = 2; }
  SECTION("time") { other.time_ns = 18; }
  SECTION("no time") { other.time_ns = kNoTime; }
  SECTION("properties") { other.properties = R"({"k":2})"; }
  SECTION("no properties") { other.properties = ""; }
  CHECK(host.record(other) == kConflict);
  CHECK(host.record(event) == kDuplicate);
  CHECK(host.events().size() == 1);
}

TEST_CASE("without a time an event sent later is the same") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  REQUIRE(host.record({.id = "a"}) == kRecorded);
  host.clock->advance(1'000'000'000);
  CHECK(host.record({.id = "a"}) == kDuplicate);
  CHECK(host.record({.id = "a", .time_ns = kStartNs}) == kConflict);
}

TEST_CASE("corrections replace, cancellations take back, and both may be sent again") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  const auto correct = [](int64_t quantity) {
    return Event{.id = "a", .quantity = quantity, .action = Action::kCorrect};
  };
  const Event cancel{.id = "a", .action = Action::kCancel};
  CHECK(host.record(correct(1)) == kUnknown);
  CHECK(host.record(cancel) == kUnknown);
  CHECK(host.record({.id = "a", .quantity = 1}) == kRecorded);
  CHECK(host.record(correct(1)) == kDuplicate);  // it says that already
  CHECK(host.record(correct(2)) == kRecorded);
  CHECK(host.record(correct(2)) == kDuplicate);
  CHECK(host.record({.id = "a", .quantity = 1}) == kDuplicate);  // the first, late
  CHECK(host.record({.id = "a", .quantity = 9}) == kConflict);
  CHECK(host.record(correct(1)) == kRecorded);  // and back
  CHECK(host.record(cancel) == kRecorded);
  CHECK(host.record(cancel) == kDuplicate);
  CHECK(host.record({.id = "a", .quantity = 1}) == kDuplicate);  // does not come back
  CHECK(host.record(correct(1)) == kRecorded);                   // this brings it back
  CHECK(host.events() == std::vector<std::string>{"ten_1//a=1", "~ten_1//a=2", "~ten_1//a=1",
                                                  "-ten_1//a=1", "~ten_1//a=1"});
  // All of it in one call is the same.
  const std::vector<Event> story = {
      {.tenant = "u", .id = "a", .quantity = 1},
      {.tenant = "u", .id = "a", .quantity = 2, .action = Action::kCorrect},
      {.tenant = "u", .id = "a", .quantity = 2},
      {.tenant = "u", .id = "a", .action = Action::kCancel},
      {.tenant = "u", .id = "a", .quantity = 1}};
  CHECK(host.record(story) == std::vector{kRecorded, kRecorded, kDuplicate, kRecorded, kDuplicate});
}

TEST_CASE("an id is known for the window, and forgotten an eighth of it later") {
  const TempDir directory;
  Host host(directory.path());
  host.options.window_ns = 8 * kDayNs;
  host.open();
  REQUIRE(count_of(host.record(numbered(0, 100)), kRecorded) == 100);
  host.clock->advance(kDayNs - 1);
  REQUIRE(count_of(host.record(numbered(100, 100)), kRecorded) == 100);
  // A year of days; something comes in each.
  for (int day = 1; day < 8; ++day) {
    CHECK(count_of(host.record(numbered(0, 200)), kDuplicate) == 200);
    REQUIRE(host.record({.id = "day" + std::to_string(day)}) == kRecorded);
    host.clock->advance(kDayNs);
  }
  CHECK(count_of(host.record(numbered(100, 100)), kDuplicate) == 100);
  host.clock->advance(2 * kDayNs);
  CHECK(host.record({.id = "e0"}) == kRecorded);
  CHECK(host.record({.id = "e100"}) == kRecorded);
  CHECK(host.record({.id = "day7"}) == kDuplicate);
  for (int day = 0; day < 400; ++day) {
    host.clock->advance(kDayNs);
    REQUIRE(host.record({.id = "other" + std::to_string(day)}) == kRecorded);
  }
  CHECK(tables_in(host) <= 10);
}

TEST_CASE("ids are found in every table, however many there are") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  std::vector<std::string> tenants = {"t1", "t2", "t3"};
  for (int first = 0; first < 30'000; first += 1'500) {
    const std::string& tenant = tenants[static_cast<size_t>(first / 1'500) % 3];
    REQUIRE(count_of(host.record(numbered(first, 1'500, tenant), log::Ack::kRing), kRecorded) ==
            1'500);
  }
  CHECK(tables_in(host) == 4);  // of 1,024, 4,096, 16,384 and 65,536 ids
  for (int first = 0; first < 30'000; first += 1'500) {
    const std::string& tenant = tenants[static_cast<size_t>(first / 1'500) % 3];
    REQUIRE(count_of(host.record(numbered(first, 1'500, tenant), log::Ack::kRing), kDuplicate) ==
            1'500);
  }
}

TEST_CASE("random events against a map") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  std::mt19937_64 random(3);
  std::map<std::string, int64_t> recorded;
  int64_t total = 0;
  for (int call = 0; call < 200; ++call) {
    std::vector<Event> events;
    std::vector<EventStatus> expected;
    for (size_t i = 0; i < 1 + random() % 60; ++i) {
      const Event event{.tenant = "t" + std::to_string(random() % 5),
                        .id = std::to_string(random() % 400),
                        .quantity = 1 + static_cast<int64_t>(random() % 2),
                        .source = random() % 2 == 0 ? "a" : "b"};
      const auto [found, is_new] =
          recorded.try_emplace(event.tenant + "/" + event.source + "/" + event.id, event.quantity);
      expected.push_back(is_new                            ? kRecorded
                         : found->second == event.quantity ? kDuplicate
                                                           : kConflict);
      total += is_new ? event.quantity : 0;
      events.push_back(event);
    }
    REQUIRE(host.record(events, log::Ack::kRing) == expected);
  }
  REQUIRE(host.log->flush().ok());
  int64_t found = 0;
  for (const std::string& text : host.events()) {
    const size_t at = text.find('=');
    CHECK(recorded.at(text.substr(0, at)) == std::stoll(text.substr(at + 1)));
    found += std::stoll(text.substr(at + 1));
  }
  CHECK(found == total);
}

TEST_CASE("nothing is recorded when one value can never be") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  std::vector<EventStatus> statuses(2);
  const Result<Recorded> refused =
      host.usage->record(columns_of({{.id = "a"}, {.id = ""}}), log::Ack::kDisk, statuses);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::kInvalidArgument);
  CHECK(host.record({.id = "a"}) == kRecorded);
}

TEST_CASE("a reader gives whole records, each event once, at whatever limit") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  for (int i = 0; i < 40; ++i) {
    (void)host.record(numbered(i * 10, 1 + i % 10, "t" + std::to_string(i % 3)));
  }
  (void)host.record(numbered(1'000, 2'500));
  const std::vector<std::string> all = host.events();
  for (const size_t limit : {size_t{1}, size_t{7}, size_t{1024}, size_t{100'000}}) {
    UsageReader reader(directory.path() + "/log");
    std::vector<std::string> found;
    std::pair<uint64_t, uint32_t> last{0, 0};
    uint64_t next = 0;
    for (Result<UsageRows> rows = reader.read(next, limit); !rows->rows.empty();
         rows = reader.read(next, limit)) {
      REQUIRE(rows.ok());
      CHECK((rows->rows.size() <= limit || rows->rows.back().sequence + 1 == rows->next));
      for (const UsageRow& row : rows->rows) {
        const std::pair<uint64_t, uint32_t> place{row.sequence, row.number};
        REQUIRE((found.empty() || place > last));
        last = place;
        found.emplace_back(row.event.id);
      }
      next = rows->next;
    }
    CHECK(found.size() == all.size());
  }
  UsageReader reader(directory.path() + "/log");
  CHECK(reader.read(1'000'000, 5)->rows.empty());
}

TEST_CASE("after a restart of the machine what was settled is mapped, and the rest read again") {
  const TempDir directory;
  Host host(directory.path());
  set_boot(host, "boot 1");
  host.open();
  (void)host.record(numbered(0, 3'000));
  REQUIRE(host.usage->settle().ok());
  (void)host.record(numbered(3'000, 3'000));
  // As a power cut leaves it: nothing is closed in good order.
  const std::string settled = host.ids_directory() + "/settled";
  fs::copy_file(settled, directory.file("settled"));
  SECTION("what was settled") {}
  SECTION("nothing was settled") { fs::remove(directory.file("settled")); }
  SECTION("what was settled is damaged") {
    std::fstream file(directory.file("settled"), std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(60);
    file.put('\x55');
  }
  host.close();
  fs::remove(settled);
  if (fs::exists(directory.file("settled"))) fs::copy_file(directory.file("settled"), settled);
  set_boot(host, "boot 2");
  host.open();
  CHECK(count_of(host.record(numbered(0, 6'001)), kDuplicate) == 6'000);
  CHECK(host.events().size() == 6'001);
}

TEST_CASE("ids of records that a power cut took are forgotten") {
  const TempDir directory;
  Host host(directory.path());
  set_boot(host, "boot 1");
  Victim victim([&](int to) {
    host.open();
    (void)host.record(numbered(0, 10));
    if (!host.usage->settle().ok()) say(to, "not settled\n");
    // Only in the ring, which ends with the boot; the table's file keeps them.
    (void)host.record(numbered(10, 10), log::Ack::kRing);
    say(to, "done\n");
    pause();
  });
  victim.wait_for_lines(1);
  CHECK(victim.kill_and_read() == "done\n");
  SECTION("in the same boot they are there") {
    host.open();
    CHECK(count_of(host.record(numbered(0, 20)), kDuplicate) == 20);
  }
  SECTION("in another one they are not") {
    set_boot(host, "boot 2");
    host.open();
    CHECK(count_of(host.record(numbered(0, 20)), kDuplicate) == 10);
  }
  CHECK(host.events().size() == 20);
}

TEST_CASE("an index that is lost or damaged is made again from the log") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  (void)host.record(numbered(0, 5'000));
  REQUIRE(host.record({.id = "e7", .quantity = 2, .action = Action::kCorrect}) == kRecorded);
  host.close();
  const std::string ids = host.ids_directory();
  SECTION("all of it") { fs::remove_all(ids); }
  SECTION("one table") { fs::remove(ids + "/000000000001.ids"); }
  SECTION("a table that was cut") { fs::resize_file(ids + "/000000000002.ids", 5'000); }
  SECTION("the control file") { std::ofstream(ids + "/control") << std::string(4096, 'x'); }
  SECTION("the control file is empty") { std::ofstream(ids + "/control"); }
  SECTION("leftovers of a dead process") {
    std::ofstream(ids + "/000000000003.ids") << "half a table";
    fs::remove(ids + "/control");
  }
  host.open();
  CHECK(count_of(host.record(numbered(0, 5'001)), kDuplicate) == 5'000);
  CHECK(host.record({.id = "e7", .quantity = 2, .action = Action::kCorrect}) == kDuplicate);
  CHECK(host.record({.id = "e8", .quantity = 3}) == kConflict);
  CHECK_FALSE(fs::exists(ids + "/000000000009.ids"));
}

TEST_CASE("an index that is ahead of its log is not believed") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  (void)host.record(numbered(0, 10));
  host.close();
  fs::copy(directory.file("log"), directory.file("backup"), fs::copy_options::recursive);
  host.open();
  (void)host.record(numbered(10, 10));
  host.close();
  fs::remove_all(directory.file("log"));
  fs::copy(directory.file("backup"), directory.file("log"), fs::copy_options::recursive);
  fs::remove(host.ids_directory() + "/control");
  host.open();
  CHECK(count_of(host.record(numbered(0, 20)), kRecorded) == 10);
}

TEST_CASE("after the chain was pruned the ids are known still") {
  const TempDir directory;
  Host host(directory.path());
  host.log_options.segment_bytes = 64 << 10;
  host.open();
  for (int i = 0; i < 20; ++i) (void)host.record(numbered(i * 1'000, 1'000));
  const auto pruned = host.log->prune(log::Class::kUsage, 10);
  REQUIRE(pruned.ok());
  REQUIRE(pruned->kept_from > 1);
  CHECK(count_of(host.record(numbered(0, 20'000)), kDuplicate) == 20'000);
  host.close();
  SECTION("with its index") {
    host.open();
    CHECK(count_of(host.record(numbered(0, 20'000)), kDuplicate) == 20'000);
  }
  SECTION("without: those that the log has kept") {
    fs::remove_all(host.ids_directory());
    host.open();
    const std::vector<EventStatus> statuses = host.record(numbered(0, 20'000));
    CHECK(statuses.front() == kRecorded);
    CHECK(statuses.back() == kDuplicate);
  }
}

TEST_CASE("all who use an index have one window") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  (void)host.record(numbered(0, 10));
  UsageOptions longer = host.options;
  longer.window_ns *= 2;
  const auto refused = UsageLog::open(host.log, longer);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.error().code == Code::kConflict);
  REQUIRE(host.usage->close().ok());
  host.options = longer;
  host.usage = host.open_usage();
  CHECK(count_of(host.record(numbered(0, 10)), kDuplicate) == 10);
  longer.window_ns = 1;
  CHECK(UsageLog::open(host.log, longer).error().code == Code::kInvalidArgument);
}

TEST_CASE("what comes after close is refused") {
  const TempDir directory;
  Host host(directory.path());
  host.open();
  REQUIRE(host.usage->close().ok());
  REQUIRE(host.usage->close().ok());
  std::vector<EventStatus> statuses(1);
  CHECK(host.usage->record(columns_of({{.id = "a"}}), log::Ack::kOs, statuses).error().code ==
        Code::kConflict);
  CHECK(host.usage->settle().error().code == Code::kConflict);
}
