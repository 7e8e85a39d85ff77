#include <algorithm>
#include <array>
#include <cstdlib>
#include <ctime>
#include <limits>
#include <random>
#include <vector>

#include "catch.h"
#include "tenancy/base/civil.h"

using namespace tenancy;

namespace {

constexpr int64_t kSecond = 1'000'000'000;

// Zones that between them have midnight gaps and overlaps, half-hour and odd-second offsets,
// skipped days, DST that is negative, and many changes of law.
constexpr std::array kZones = {"UTC",
                               "Europe/Berlin",
                               "America/New_York",
                               "America/Havana",
                               "America/Sao_Paulo",
                               "Asia/Beirut",
                               "Asia/Tehran",
                               "Asia/Kathmandu",
                               "Africa/Monrovia",
                               "Africa/Casablanca",
                               "Africa/Cairo",
                               "Australia/Lord_Howe",
                               "Pacific/Apia",
                               "Pacific/Kwajalein",
                               "Europe/Dublin",
                               "America/Caracas"};

constexpr std::array kUnits = {PeriodUnit::kMinute, PeriodUnit::kHour,  PeriodUnit::kDay,
                               PeriodUnit::kWeek,   PeriodUnit::kMonth, PeriodUnit::kQuarter,
                               PeriodUnit::kYear};

TimeZone zone_of(const char* name) {
  const auto zone = TimeZone::load(name);
  INFO(name);
  REQUIRE(zone.ok());
  return *zone;
}

// An instant written as UTC clocks show it.
int64_t utc(int64_t year, int month, int day, int hour = 0, int minute = 0, int second = 0) {
  return TimeZone::utc().wall_at({year, month, day, hour, minute, second});
}

int64_t local(const TimeZone& zone, int64_t year, int month, int day, int hour = 0,
              int minute = 0) {
  return zone.wall_at({year, month, day, hour, minute, 0});
}

// The C library's idea of local time: an implementation that shares nothing with ours.
class LibcZone {
 public:
  explicit LibcZone(const std::string& name) {
    setenv("TZ", (":" + name).c_str(), 1);
    tzset();
  }
  ~LibcZone() {
    unsetenv("TZ");
    tzset();
  }
  LibcZone(const LibcZone&) = delete;
  LibcZone& operator=(const LibcZone&) = delete;

  // What clocks show, as seconds as if they showed UTC.
  int64_t shown(int64_t seconds) const {
    const time_t time = seconds;
    std::tm civil{};
    localtime_r(&time, &civil);
    return seconds + civil.tm_gmtoff;
  }
};

// Civil seconds of a date, the C library's way.
int64_t civil_seconds(int year, int month, int day, int64_t second_of_day) {
  std::tm civil{};
  civil.tm_year = year - 1900;
  civil.tm_mon = month - 1;
  civil.tm_mday = day;
  return timegm(&civil) + second_of_day;
}

int last_day(int year, int month) {
  std::tm civil{};
  civil.tm_year = year - 1900;
  civil.tm_mon = month;
  civil.tm_mday = 0;  // the day before the next month's first
  timegm(&civil);
  return civil.tm_mday;
}

// Beginnings of the unit's periods, as civil seconds, in the simplest way that can be right.
std::vector<int64_t> civil_beginnings(PeriodUnit unit, const Anchor& anchor, int from, int to) {
  std::vector<int64_t> all;
  for (int year = from; year <= to; ++year) {
    for (int month = 1; month <= 12; ++month) {
      const int days = last_day(year, month);
      if (unit == PeriodUnit::kDay || unit == PeriodUnit::kWeek) {
        for (int day = 1; day <= days; ++day) {
          const int64_t at = civil_seconds(year, month, day, anchor.second_of_day);
          const time_t time = at;
          std::tm civil{};
          gmtime_r(&time, &civil);
          const int weekday = civil.tm_wday == 0 ? 7 : civil.tm_wday;
          if (unit == PeriodUnit::kDay || weekday == anchor.weekday) all.push_back(at);
        }
        continue;
      }
      const int every = unit == PeriodUnit::kMonth ? 1 : unit == PeriodUnit::kQuarter ? 3 : 12;
      if ((month - anchor.month + 12) % every != 0) continue;
      all.push_back(civil_seconds(year, month, std::min(anchor.day, days), anchor.second_of_day));
    }
  }
  return all;
}

}  // namespace

TEST_CASE("periods of the calendar in UTC") {
  const TimeZone zone;
  const int64_t t = utc(2028, 2, 29, 13, 45, 59) + 999'999'999;
  const auto period = [&](PeriodUnit unit) { return period_at(unit, t, zone); };
  CHECK(period(PeriodUnit::kMinute) == Period{utc(2028, 2, 29, 13, 45), utc(2028, 2, 29, 13, 46)});
  CHECK(period(PeriodUnit::kHour) == Period{utc(2028, 2, 29, 13), utc(2028, 2, 29, 14)});
  CHECK(period(PeriodUnit::kDay) == Period{utc(2028, 2, 29), utc(2028, 3, 1)});
  CHECK(period(PeriodUnit::kWeek) == Period{utc(2028, 2, 28), utc(2028, 3, 6)});
  CHECK(period(PeriodUnit::kMonth) == Period{utc(2028, 2, 1), utc(2028, 3, 1)});
  CHECK(period(PeriodUnit::kQuarter) == Period{utc(2028, 1, 1), utc(2028, 4, 1)});
  CHECK(period(PeriodUnit::kYear) == Period{utc(2028, 1, 1), utc(2029, 1, 1)});
  CHECK(start_of(PeriodUnit::kMonth, t, zone) == utc(2028, 2, 1));
  CHECK(next_start(PeriodUnit::kMonth, t, zone) == utc(2028, 3, 1));
}

TEST_CASE("a period begins with its first nanosecond, before 1970 too") {
  const TimeZone zone;
  const int64_t new_year = utc(2026, 1, 1);
  CHECK(start_of(PeriodUnit::kYear, new_year, zone) == new_year);
  CHECK(next_start(PeriodUnit::kYear, new_year - 1, zone) == new_year);
  CHECK(period_at(PeriodUnit::kDay, -1, zone) == Period{-86'400 * kSecond, 0});
  CHECK(period_at(PeriodUnit::kMonth, utc(1900, 2, 10), zone) ==
        Period{utc(1900, 2, 1), utc(1900, 3, 1)});
}

TEST_CASE("a subscription's day clamps to the month's end and returns") {
  const TimeZone zone;
  const Anchor anchor{.day = 31};
  std::vector<int64_t> starts;
  int64_t t = utc(2026, 1, 31);
  for (int i = 0; i < 5; ++i, t = next_start(PeriodUnit::kMonth, t, zone, anchor))
    starts.push_back(t);
  CHECK(starts == std::vector<int64_t>{utc(2026, 1, 31), utc(2026, 2, 28), utc(2026, 3, 31),
                                       utc(2026, 4, 30), utc(2026, 5, 31)});
  CHECK(next_start(PeriodUnit::kMonth, utc(2028, 2, 1), zone, anchor) == utc(2028, 2, 29));
  // A subscription of 29 February renews on the 28th in common years.
  const Anchor leap{.month = 2, .day = 29};
  CHECK(next_start(PeriodUnit::kYear, utc(2028, 2, 29), zone, leap) == utc(2029, 2, 28));
  CHECK(next_start(PeriodUnit::kYear, utc(2031, 2, 28), zone, leap) == utc(2032, 2, 29));
}

TEST_CASE("quarters, weeks and times of day follow the anchor") {
  const TimeZone zone;
  CHECK(period_at(PeriodUnit::kQuarter, utc(2026, 1, 15), zone, {.month = 2, .day = 15}) ==
        Period{utc(2025, 11, 15), utc(2026, 2, 15)});
  CHECK(period_at(PeriodUnit::kWeek, utc(2026, 1, 3), zone, {.weekday = 7}) ==
        Period{utc(2025, 12, 28), utc(2026, 1, 4)});
  CHECK(period_at(PeriodUnit::kDay, utc(2026, 1, 3, 8), zone, {.second_of_day = 9 * 3600}) ==
        Period{utc(2026, 1, 2, 9), utc(2026, 1, 3, 9)});
  const Anchor anchor = anchor_of(utc(2025, 12, 31, 23, 30), zone_of("Asia/Tokyo"));
  CHECK(anchor == Anchor{.month = 1, .day = 1, .weekday = 4});
}

TEST_CASE("days have 23 or 25 hours where clocks change") {
  const TimeZone berlin = zone_of("Europe/Berlin");
  const auto hours = [&](int month, int day) {
    const Period p = period_at(PeriodUnit::kDay, local(berlin, 2026, month, day, 12), berlin);
    return (p.end_wall_ns - p.start_wall_ns) / kSecond / 3600;
  };
  CHECK(hours(3, 28) == 24);
  CHECK(hours(3, 29) == 23);
  CHECK(hours(10, 25) == 25);
  CHECK(hours(10, 26) == 24);
}

TEST_CASE("a midnight that does not exist is the instant clocks jump over it") {
  // Sao Paulo, 4 November 2018: 00:00 became 01:00.
  const TimeZone zone = zone_of("America/Sao_Paulo");
  const Period day = period_at(PeriodUnit::kDay, local(zone, 2018, 11, 4, 12), zone);
  CHECK(day.start_wall_ns == utc(2018, 11, 4, 3));
  CHECK(zone.civil_at(day.start_wall_ns) == CivilDateTime{2018, 11, 4, 1, 0, 0});
  CHECK(zone.civil_at(day.start_wall_ns - 1) == CivilDateTime{2018, 11, 3, 23, 59, 59});
}

TEST_CASE("a midnight that comes twice begins the day the first time") {
  // Havana, 1 November 2026: 01:00 becomes 00:00.
  const TimeZone zone = zone_of("America/Havana");
  const Period day = period_at(PeriodUnit::kDay, local(zone, 2026, 11, 1, 12), zone);
  CHECK((day.end_wall_ns - day.start_wall_ns) / kSecond == 25 * 3600);
  CHECK(zone.offset_s(day.start_wall_ns) == -4 * 3600);
  // Instants of the second 00:30 belong to the same day.
  CHECK(period_at(PeriodUnit::kDay, day.start_wall_ns + 90 * 60 * kSecond, zone) == day);
}

TEST_CASE("a repeated hour is two periods, and a skipped one none") {
  const TimeZone berlin = zone_of("Europe/Berlin");
  const int64_t first = utc(2026, 10, 25, 0);  // 02:00 in summer time
  for (int hour = 0; hour < 3; ++hour) {
    const int64_t start = first + hour * 3600 * kSecond;
    CHECK(period_at(PeriodUnit::kHour, start + 1, berlin) == Period{start, start + 3600 * kSecond});
  }
  CHECK(berlin.civil_at(first).hour == 2);
  CHECK(berlin.civil_at(first + 3600 * kSecond).hour == 2);
  // Lord Howe moves by half an hour: 01:30 to 02:00 comes twice, and the second one is half a
  // period.
  const TimeZone howe = zone_of("Australia/Lord_Howe");
  const int64_t change = utc(2026, 4, 4, 15);
  CHECK(howe.civil_at(change) == CivilDateTime{2026, 4, 5, 1, 30, 0});
  CHECK(howe.civil_at(change - 1) == CivilDateTime{2026, 4, 5, 1, 59, 59});
  CHECK(period_at(PeriodUnit::kHour, change, howe) == Period{change, change + 1800 * kSecond});
  CHECK(period_at(PeriodUnit::kHour, change - 1, howe) == Period{change - 3600 * kSecond, change});
}

TEST_CASE("a day that a zone skipped has no period") {
  const TimeZone apia = zone_of("Pacific/Apia");
  const Period before = period_at(PeriodUnit::kDay, local(apia, 2011, 12, 29, 12), apia);
  const Period after = period_at(PeriodUnit::kDay, before.end_wall_ns, apia);
  CHECK(apia.civil_at(before.start_wall_ns).day == 29);
  CHECK(apia.civil_at(after.start_wall_ns).day == 31);
  CHECK(after.start_wall_ns - before.start_wall_ns == 86'400 * kSecond);
}

TEST_CASE("periods tile time in every zone, unit and anchor") {
  std::mt19937_64 random(1);
  const auto below = [&](int n) { return static_cast<int>(random() % static_cast<unsigned>(n)); };
  for (const char* name : kZones) {
    const TimeZone zone = zone_of(name);
    for (const PeriodUnit unit : kUnits) {
      for (int trial = 0; trial < 40; ++trial) {
        Anchor anchor;
        if (trial % 2 == 1) anchor = {1 + below(12), 1 + below(31), 1 + below(7), below(86'400)};
        const int64_t years = -40 + below(270);  // 1930–2200
        int64_t t = years * 31'556'952 * kSecond + static_cast<int64_t>(random() >> 9);
        Period period = period_at(unit, t, zone, anchor);
        INFO(name << " " << period_unit_name(unit) << " " << t);
        for (int step = 0; step < 50; ++step) {
          REQUIRE(period.start_wall_ns <= t);
          REQUIRE(t < period.end_wall_ns);
          REQUIRE(period_at(unit, period.start_wall_ns, zone, anchor) == period);
          REQUIRE(period_at(unit, period.end_wall_ns - 1, zone, anchor) == period);
          const Period next = period_at(unit, period.end_wall_ns, zone, anchor);
          REQUIRE(next.start_wall_ns == period.end_wall_ns);
          const auto length = static_cast<uint64_t>(next.end_wall_ns - next.start_wall_ns);
          t = next.start_wall_ns + static_cast<int64_t>(random() % length);
          period = next;
        }
      }
    }
  }
}

// Every beginning is the first instant at which the C library's clocks show the civil time or
// later.
TEST_CASE("days and longer begin where the C library's clocks say, 1970 to 2200") {
  std::mt19937_64 random(2);
  for (const char* name : kZones) {
    const TimeZone zone = zone_of(name);
    const LibcZone libc(name);
    for (const PeriodUnit unit : kUnits) {
      if (unit == PeriodUnit::kMinute || unit == PeriodUnit::kHour) continue;
      const bool many = unit == PeriodUnit::kDay || unit == PeriodUnit::kWeek;
      const Anchor anchors[] = {{}, {8, 31, 3, 0}, {11, 30, 7, 5'400}};
      for (const Anchor& anchor : anchors) {
        // Daily around the changes of law there were; the rest of the range in years.
        const auto civil = civil_beginnings(unit, anchor, many ? 1985 : 1970, many ? 2020 : 2199);
        for (size_t i = 0; i < civil.size(); ++i) {
          if (random() % (unit == PeriodUnit::kDay ? 16 : 3) != 0) continue;
          // Somewhere inside the period that civil[i] begins, if the zone has it.
          int64_t instant = civil[i] - 15 * 3600;  // no zone is further east
          while (libc.shown(instant) < civil[i]) instant += 1'800;
          const Period period = period_at(unit, instant * kSecond, zone, anchor);
          const int64_t start = period.start_wall_ns / kSecond;
          INFO(name << " " << period_unit_name(unit) << " " << civil[i] << " " << instant);
          REQUIRE(libc.shown(start) >= civil[i]);
          REQUIRE(start <= instant);
          REQUIRE(libc.shown(start - 1) < libc.shown(start));
          const bool skipped_whole = i + 1 < civil.size() && libc.shown(start) >= civil[i + 1];
          if (!skipped_whole) REQUIRE(libc.shown(start - 1) < civil[i]);
        }
      }
    }
  }
}

TEST_CASE("civil time agrees with the C library, both ways") {
  std::mt19937_64 random(3);
  for (const char* name : kZones) {
    const TimeZone zone = zone_of(name);
    const LibcZone libc(name);
    for (int trial = 0; trial < 2'000; ++trial) {
      const auto seconds = static_cast<int64_t>(random() % 7'258'118'400);  // 1970–2199
      INFO(name << " " << seconds);
      const int64_t shown = libc.shown(seconds);
      REQUIRE(zone.offset_s(seconds * kSecond) == shown - seconds);
      const time_t as_utc = shown;
      std::tm expected{};
      gmtime_r(&as_utc, &expected);
      const CivilDateTime civil = zone.civil_at(seconds * kSecond + 5);
      REQUIRE(civil == CivilDateTime{expected.tm_year + 1900, expected.tm_mon + 1, expected.tm_mday,
                                     expected.tm_hour, expected.tm_min, expected.tm_sec});
      // Back again, to this instant or to an earlier one at which clocks showed the same.
      const int64_t back = zone.wall_at(civil) / kSecond;
      REQUIRE(back <= seconds);
      REQUIRE(libc.shown(back) == shown);
    }
  }
}

TEST_CASE("the ends of the range of instants are periods too") {
  constexpr int64_t kLeast = std::numeric_limits<int64_t>::min();
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  for (const char* name : {"UTC", "Europe/Berlin"}) {
    const TimeZone zone = zone_of(name);
    for (const PeriodUnit unit : kUnits) {
      CHECK(period_at(unit, kLeast, zone).start_wall_ns == kLeast);
      CHECK(period_at(unit, kLeast, zone).end_wall_ns > kLeast);
      CHECK(period_at(unit, kMost, zone).end_wall_ns == kMost);
      CHECK(period_at(unit, kMost, zone).start_wall_ns < kMost);
    }
  }
  CHECK(TimeZone::utc().wall_at({1'000'000'000'000, 1, 1, 0, 0, 0}) == kMost);
  CHECK(TimeZone::utc().wall_at({-1'000'000'000'000, 1, 1, 0, 0, 0}) == kLeast);
}

TEST_CASE("an unknown zone is an error that names it and the remedy") {
  const std::string long_name(1 << 20, 'a');
  for (const std::string& name :
       {std::string("Europe/Berln"), std::string(""), std::string("/etc/localtime"),
        std::string("../../etc/passwd"), std::string("localtime"), std::string("right/UTC"),
        std::string("file:/etc/localtime"), std::string("Fixed/UTC+05:00:00"),
        std::string("Europe/Berlin\0x", 15), std::string("Europe/\xff"), std::string("Europe"),
        std::string("leapseconds"), long_name}) {
    const auto zone = TimeZone::load(name);
    INFO(name.substr(0, 80));
    REQUIRE_FALSE(zone.ok());
    CHECK(zone.error().code == Code::kInvalidArgument);
    CHECK(zone.error().message.find("Europe/Berlin") != std::string::npos);
    CHECK(zone.error().message.find("tzdata") != std::string::npos);
    CHECK(zone.error().message.size() < 400);
  }
  CHECK(TimeZone::load("Europe/Berln").error().message.find("\"Europe/Berln\"") !=
        std::string::npos);
}

TEST_CASE("a zone is loaded once and compares by name") {
  CHECK(zone_of("Europe/Berlin") == zone_of("Europe/Berlin"));
  CHECK_FALSE(zone_of("Europe/Berlin") == zone_of("Europe/Paris"));
  CHECK(zone_of("UTC") == TimeZone());
  CHECK(TimeZone().is_utc());
  CHECK(zone_of("Europe/Berlin").name() == "Europe/Berlin");
}

TEST_CASE("anchors out of range are refused by member") {
  CHECK(check_anchor({}).ok());
  CHECK(check_anchor({12, 31, 7, 86'399}).ok());
  CHECK(check_anchor({.day = 32}).error().message == "anchor day: expected 1 to 31, got 32");
  CHECK_FALSE(check_anchor({.month = 0}).ok());
  CHECK_FALSE(check_anchor({.weekday = 8}).ok());
  CHECK_FALSE(check_anchor({.second_of_day = -1}).ok());
}

TEST_CASE("units have names") {
  for (const PeriodUnit unit : kUnits) {
    CHECK(period_unit_from_name(period_unit_name(unit)) == unit);
  }
  CHECK_FALSE(period_unit_from_name("fortnight").has_value());
}
