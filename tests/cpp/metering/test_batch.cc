// Batches of usage: bytes to and from, and bytes that are none.
#include <random>
#include <string>
#include <vector>

#include "catch.h"
#include "tenancy/metering/batch.h"

using namespace tenancy;
using namespace tenancy::metering;

namespace {

constexpr int64_t kNow = 1'750'000'000'000'000'000;

// Texts by their length and a letter; the hash is as bad as it can be.
BatchWriter::Hashes one_hash() { return {7, 7, 7}; }

std::vector<UsageEvent> read(std::string_view bytes, int64_t recorded_ns, bool* ok) {
  std::vector<UsageEvent> events;
  Result<BatchReader> reader = BatchReader::open(bytes, recorded_ns);
  *ok = reader.ok();
  if (!reader) return events;
  UsageEvent event;
  while (reader->next(&event)) events.push_back(event);
  *ok = reader->ok();
  return events;
}

std::string written(const std::vector<UsageEvent>& events, int64_t recorded_ns = kNow) {
  BatchWriter writer;
  writer.begin(recorded_ns);
  for (const UsageEvent& event : events) REQUIRE(writer.add(event, one_hash()));
  return std::string(writer.bytes());
}

UsageEvent simple(std::string_view id) {
  UsageEvent event;
  event.id = id;
  event.metric = "calls";
  event.time_ns = kNow;
  return event;
}

const std::string& long_text() {
  static const std::string text(kPropertiesBytesMax, 'x');
  return text;
}

UsageEvent random_event(std::mt19937_64& random) {
  const std::string& text = long_text();
  const auto length = [&](size_t most) { return random() % 4 == 0 ? most : 1 + random() % 9; };
  UsageEvent event;
  event.id = std::string_view(text).substr(0, length(kIdBytesMax));
  event.metric = std::string_view(text).substr(0, length(kMetricBytesMax));
  event.source = std::string_view(text).substr(0, random() % 3);
  if (random() % 3 == 0) event.properties = std::string_view(text).substr(0, length(700));
  constexpr Int128 kQuantities[] = {0,
                                    1,
                                    -1,
                                    Decimal::kOne,
                                    -Decimal::kOne,
                                    Int128{Decimal::kOne} * INT64_MAX,
                                    Decimal::kUnitsMax,
                                    -Decimal::kUnitsMax,
                                    (Decimal::kUnitsMax / Decimal::kOne) * Decimal::kOne,
                                    Int128{UINT64_MAX},
                                    -Int128{UINT64_MAX} - 1};
  event.quantity = random() % 2 == 0
                       ? kQuantities[random() % std::size(kQuantities)]
                       : Int128{static_cast<int64_t>(random())} * (random() % 2 == 0 ? 1 : 1000);
  constexpr int64_t kTimes[] = {INT64_MIN, INT64_MAX, 0, kNow};
  event.time_ns = random() % 2 == 0 ? kTimes[random() % 4] : static_cast<int64_t>(random());
  event.time_given = random() % 2 == 0;
  event.action = static_cast<Action>(random() % 3);
  return event;
}

}  // namespace

TEST_CASE("events come out of a batch as they went in, whatever their values") {
  std::mt19937_64 random(1);
  for (int round = 0; round < 300; ++round) {
    std::vector<UsageEvent> events(1 + random() % 12);
    for (UsageEvent& event : events) event = random_event(random);
    const auto recorded_ns = static_cast<int64_t>(random());
    bool ok = false;
    const std::string bytes = written(events, recorded_ns);
    const std::vector<UsageEvent> found = read(bytes, recorded_ns, &ok);
    REQUIRE(ok);
    REQUIRE(found == events);
  }
}

TEST_CASE("a text that comes again takes one byte") {
  const std::string source(500, 's');
  UsageEvent event = simple("id");
  event.source = source;
  const size_t one = written({event}).size();
  const size_t two = written({event, event}).size();
  CHECK(two - one == 1 + 1 + 1 + 1 + 1 + 3);  // head, metric, source, time, quantity, id
}

TEST_CASE("a batch is full at its number of events or bytes, and any single event fits") {
  BatchWriter writer;
  writer.begin(kNow);
  for (size_t i = 0; i < kBatchEventsMax; ++i) REQUIRE(writer.add(simple("i"), one_hash()));
  CHECK_FALSE(writer.add(simple("i"), one_hash()));
  CHECK(writer.events() == kBatchEventsMax);

  UsageEvent largest;
  largest.id = std::string_view(long_text()).substr(0, kIdBytesMax);
  largest.metric = std::string_view(long_text()).substr(0, kMetricBytesMax);
  largest.source = std::string_view(long_text()).substr(0, kSourceBytesMax);
  largest.properties = long_text();
  largest.quantity = Decimal::kUnitsMax;
  largest.time_ns = INT64_MIN;
  writer.begin(INT64_MAX);
  CHECK(writer.add(largest, one_hash()));
  const std::string other(kPropertiesBytesMax, 'y');
  largest.properties = other;
  CHECK_FALSE(writer.add(largest, one_hash()));
  CHECK(writer.events() == 1);
  CHECK(writer.bytes().size() <= kBatchBytesMax);
}

TEST_CASE("a batch that is cut anywhere, or has more behind it, is refused") {
  UsageEvent event = simple("id");
  event.properties = "{}";
  const std::string bytes = written({event, simple("other")});
  bool ok = true;
  for (size_t length = 0; length < bytes.size(); ++length) {
    INFO(length);
    (void)read(std::string_view(bytes).substr(0, length), kNow, &ok);
    REQUIRE_FALSE(ok);
  }
  (void)read(bytes + std::string(1, '\0'), kNow, &ok);
  CHECK_FALSE(ok);
}

TEST_CASE("what has another form than the writer's is refused") {
  const std::string good = written({simple("id")});
  bool ok = false;
  (void)read(good, kNow, &ok);
  REQUIRE(ok);
  // head of the batch (4) · head · 0 · 5 "calls" · 1 · 0 (source) · time 0 · quantity 1 · 2 "id"
  REQUIRE(good.size() == 4 + 1 + 1 + 6 + 2 + 1 + 1 + 3);
  const auto with = [&](size_t at, std::string_view bytes, size_t instead = 1) {
    std::string changed = good;
    changed.replace(at, instead, bytes);
    (void)read(changed, kNow, &ok);
    return ok;
  };
  CHECK_FALSE(with(0, "\2"));                            // another version
  CHECK_FALSE(with(1, "\1"));                            // reserved
  CHECK_FALSE(with(2, std::string_view("\0", 1)));       // no events
  CHECK_FALSE(with(2, "\1\4", 2));                       // 1,025
  CHECK_FALSE(with(4, "\x28"));                          // a bit of the head without meaning
  CHECK_FALSE(with(4, "\x0b"));                          // no such action
  CHECK_FALSE(with(5, "\1"));                            // a text that has not come yet
  CHECK_FALSE(with(5, std::string_view("\0\0", 2), 7));  // an empty metric
  CHECK_FALSE(with(7, "\xff"));                          // not UTF-8
  CHECK_FALSE(with(14, std::string_view("\x80\0", 2)));  // a number longer than it need be
  CHECK_FALSE(with(16, std::string_view("\0", 1), 3));   // no id
  const std::string units = good.substr(0, 4) + "\x0c" + good.substr(5, 10) +
                            std::string("\x80\xc0\xa8\xca\x9a\x3a", 6) +  // 10^12 units
                            good.substr(16);
  (void)read(units, kNow, &ok);
  CHECK_FALSE(ok);  // a whole number, told in units
}

TEST_CASE("bytes that were changed are read inside their bounds") {
  std::mt19937_64 random(2);
  std::vector<UsageEvent> events(20);
  for (UsageEvent& event : events) event = random_event(random);
  const std::string bytes = written(events);
  for (int round = 0; round < 20'000; ++round) {
    std::string changed = bytes;
    changed[random() % changed.size()] = static_cast<char>(random());
    bool ok = false;
    const std::vector<UsageEvent> found = read(changed, kNow, &ok);
    for (const UsageEvent& event : found) {
      REQUIRE(!event.id.empty());
      REQUIRE(Decimal::from_units(event.quantity).has_value());
    }
  }
}
