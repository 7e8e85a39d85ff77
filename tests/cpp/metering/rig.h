// What the tests of metering share: a log and its usage in a directory, and events by the handful.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "../log/rig.h"
#include "../log/victim.h"
#include "catch.h"
#include "tenancy/metering/usage_log.h"
#include "tenancy/metering/usage_reader.h"

namespace tenancy::metering::test {

using log::test::has;
using log::test::kStartNs;
using log::test::say;
using log::test::TempDir;
using log::test::Victim;

// One event with its texts.
struct Event {
  std::string tenant = "ten_1";
  std::string id{};
  int64_t quantity = 1;
  std::string metric = "calls";
  std::string source{};
  std::string properties{};  // empty: none
  int64_t time_ns = kNoTime;
  Action action = Action::kRecord;
};

inline UsageColumns columns_of(const std::vector<Event>& events) {
  const auto texts = [&](auto get) {
    std::vector<std::string_view> found;
    for (const Event& event : events) found.push_back(get(event));
    return TextColumn::each(std::move(found));
  };
  UsageColumns columns;
  columns.events = events.size();
  columns.tenants = texts([](const Event& e) { return std::string_view(e.tenant); });
  columns.metrics = texts([](const Event& e) { return std::string_view(e.metric); });
  columns.ids = texts([](const Event& e) { return std::string_view(e.id); });
  columns.sources = texts([](const Event& e) { return std::string_view(e.source); });
  columns.properties = texts([](const Event& e) {
    return e.properties.empty() ? TextColumn::kNone : std::string_view(e.properties);
  });
  for (const Event& event : events) {
    columns.times_ns.push_back(event.time_ns);
    columns.quantities.push_back(Int128{event.quantity} * Decimal::kOne);
    columns.actions.push_back(event.action);
  }
  return columns;
}

// A directory with its log and usage, by a clock that the test owns.
class Host {
 public:
  explicit Host(const std::string& directory) : directory_(directory) {
    log_options = log::test::options_in(directory);
    log_options.segment_bytes = 256 << 10;
    log_options.clock = clock;
    options.directory = directory;
    options.first_table_log2 = 11;
    options.clock = clock;
  }

  void open() {
    Result<std::unique_ptr<log::Log>> opened = log::Log::open(log_options);
    if (!opened) FAIL(opened.error().message);
    log = std::move(*opened);
    usage = open_usage();
  }
  std::unique_ptr<UsageLog> open_usage(std::shared_ptr<log::Log> over = nullptr) {
    Result<std::unique_ptr<UsageLog>> opened = UsageLog::open(over ? over : log, options);
    if (!opened) FAIL(opened.error().message);
    return std::move(*opened);
  }
  void close() {
    REQUIRE(usage->close().ok());
    usage.reset();
    REQUIRE(log->close().ok());
    log.reset();
  }

  std::vector<EventStatus> record(const std::vector<Event>& events,
                                  log::Ack ack = log::Ack::kDisk) {
    std::vector<EventStatus> statuses(events.size());
    const Result<Recorded> done = usage->record(columns_of(events), ack, statuses);
    if (!done) FAIL(done.error().message);
    return statuses;
  }
  EventStatus record(const Event& event) { return record(std::vector<Event>{event}).front(); }

  // Every durable event as "tenant/source/id=quantity", in order; corrections with a "~", those
  // that were taken back with a "-" in front.
  std::vector<std::string> events() const {
    UsageReader reader(directory_ + "/log");
    std::vector<std::string> found;
    uint64_t next = log::test::kept_in(directory_, log::Class::kUsage);
    while (true) {
      const Result<UsageRows> rows = reader.read(next, 1000);
      if (!rows) FAIL(rows.error().message);
      if (rows->rows.empty()) return found;
      next = rows->next;
      for (const UsageRow& row : rows->rows) {
        constexpr std::string_view kSigns[] = {"", "~", "-"};
        found.push_back(std::string(kSigns[static_cast<size_t>(row.event.action)]) +
                        std::string(row.tenant) + "/" + std::string(row.event.source) + "/" +
                        std::string(row.event.id) + "=" +
                        Decimal::from_units(row.event.quantity)->text());
      }
    }
  }
  std::string ids_directory() const { return directory_ + "/usage-ids"; }

  std::shared_ptr<FakeClock> clock = std::make_shared<FakeClock>(kStartNs);
  log::Options log_options;
  UsageOptions options;
  std::shared_ptr<log::Log> log;
  std::unique_ptr<UsageLog> usage;

 private:
  std::string directory_;
};

inline std::vector<Event> numbered(int first, int count, const std::string& tenant = "ten_1") {
  std::vector<Event> events;
  for (int i = first; i < first + count; ++i) {
    events.push_back({.tenant = tenant, .id = "e" + std::to_string(i)});
  }
  return events;
}

inline size_t count_of(const std::vector<EventStatus>& statuses, EventStatus wanted) {
  return static_cast<size_t>(std::count(statuses.begin(), statuses.end(), wanted));
}

}  // namespace tenancy::metering::test
