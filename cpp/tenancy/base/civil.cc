#include "tenancy/base/civil.h"

#include <absl/time/civil_time.h>
#include <absl/time/time.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <utility>

namespace tenancy {

struct TimeZone::Impl {
  std::string name;
  absl::TimeZone zone;
  bool is_utc = false;
  const Impl* next = nullptr;  // the list of loaded zones
};

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr int64_t kSecondsPerDay = 86'400;
constexpr size_t kNameCharsMax = 64;

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }
int64_t floor_mod(int64_t a, int64_t b) { return a - floor_div(a, b) * b; }

int64_t ns_from_seconds(int64_t seconds) {
  int64_t ns = 0;
  if (!__builtin_mul_overflow(seconds, kNsPerSecond, &ns)) return ns;
  return seconds < 0 ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
}

// Days since 1970-01-01 of a proleptic Gregorian date. Years are counted from March, so that the
// leap day comes last, and in eras of 400 years, which all have the same number of days.
int64_t days_from_date(int64_t year, int64_t month, int64_t day) {
  const int64_t march_year = month <= 2 ? year - 1 : year;
  const int64_t era = floor_div(march_year, 400);
  const int64_t year_of_era = march_year - era * 400;
  const int64_t day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
  const int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
  return era * 146'097 + day_of_era - 719'468;
}

struct Date {
  int64_t year;
  int month;
  int day;
};

Date date_from_days(int64_t days) {
  const int64_t shifted = days + 719'468;
  const int64_t era = floor_div(shifted, 146'097);
  const int64_t day_of_era = shifted - era * 146'097;
  const int64_t year_of_era =
      (day_of_era - day_of_era / 1'460 + day_of_era / 36'524 - day_of_era / 146'096) / 365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t march_month = (5 * day_of_year + 2) / 153;
  const int64_t month = march_month < 10 ? march_month + 3 : march_month - 9;
  return {year_of_era + era * 400 + (month <= 2 ? 1 : 0), static_cast<int>(month),
          static_cast<int>(day_of_year - (153 * march_month + 2) / 5 + 1)};
}

int days_in_month(int64_t year, int64_t month) {
  static constexpr std::array<int, 12> kDays = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
  return month == 2 && leap ? 29 : kDays[static_cast<size_t>(month - 1)];
}

int64_t offset_at(const TimeZone::Impl& zone, int64_t seconds) {
  return zone.is_utc ? 0 : zone.zone.At(absl::FromUnixSeconds(seconds)).offset;
}

// The first instant at which clocks show `local_seconds` (the civil time as if it were UTC) or
// later.
int64_t instant_of(const TimeZone::Impl& zone, int64_t local_seconds) {
  if (zone.is_utc) return local_seconds;
  const auto info = zone.zone.At(absl::CivilSecond() + local_seconds);
  const bool skipped = info.kind == absl::TimeZone::TimeInfo::SKIPPED;
  return absl::ToUnixSeconds(skipped ? info.trans : info.pre);
}

// Minutes and hours: floor by the offset in force, cut where the offset changes in between.
class ClockUnits {
 public:
  ClockUnits(const TimeZone::Impl& zone, int64_t unit_seconds) : zone_(zone), unit_(unit_seconds) {}

  std::pair<int64_t, int64_t> around(int64_t t) const {
    const int64_t offset = offset_at(zone_, t);
    const int64_t floor = t - floor_mod(t + offset, unit_);
    const int64_t ceiling = floor + unit_;
    if (zone_.is_utc) return {floor, ceiling};
    const int64_t start = offset_at(zone_, floor) == offset ? floor : change_between(floor, t);
    const int64_t end =
        offset_at(zone_, ceiling - 1) == offset ? ceiling : change_between(t, ceiling - 1);
    return {start, end};
  }

 private:
  // The first second with another offset than `before`'s, up to `after`, which has another.
  int64_t change_between(int64_t before, int64_t after) const {
    const int64_t offset = offset_at(zone_, before);
    while (after - before > 1) {
      const int64_t middle = before + (after - before) / 2;
      (offset_at(zone_, middle) == offset ? before : after) = middle;
    }
    return after;
  }

  const TimeZone::Impl& zone_;
  int64_t unit_;
};

// Days and longer: numbered periods whose beginnings are civil times, as local seconds.
class DateUnits {
 public:
  DateUnits(PeriodUnit unit, const Anchor& anchor) : unit_(unit), anchor_(anchor) {
    if (unit == PeriodUnit::kQuarter) months_ = 3;
    if (unit == PeriodUnit::kYear) months_ = 12;
    phase_ = (anchor.month - 1) % months_;
  }

  // A number near the period that holds the local time.
  int64_t guess(int64_t local_seconds) const {
    const int64_t days = floor_div(local_seconds - anchor_.second_of_day, kSecondsPerDay);
    if (unit_ == PeriodUnit::kDay) return days;
    if (unit_ == PeriodUnit::kWeek) return floor_div(days - week_day(), 7);
    const Date date = date_from_days(days);
    return floor_div(date.year * 12 + date.month - 1 - phase_, months_);
  }

  int64_t beginning(int64_t number) const {
    return day(number) * kSecondsPerDay + anchor_.second_of_day;
  }

 private:
  int64_t week_day() const { return anchor_.weekday - 4; }  // 1970-01-01 was a Thursday

  int64_t day(int64_t number) const {
    if (unit_ == PeriodUnit::kDay) return number;
    if (unit_ == PeriodUnit::kWeek) return number * 7 + week_day();
    const int64_t months = number * months_ + phase_;
    const int64_t year = floor_div(months, 12);
    const int64_t month = months - year * 12 + 1;
    return days_from_date(year, month, std::min(anchor_.day, days_in_month(year, month)));
  }

  PeriodUnit unit_;
  const Anchor& anchor_;
  int64_t months_ = 1;
  int64_t phase_ = 0;
};

std::pair<int64_t, int64_t> date_period(const TimeZone::Impl& zone, const DateUnits& units,
                                        int64_t t) {
  int64_t number = units.guess(t + offset_at(zone, t));
  int64_t start = instant_of(zone, units.beginning(number));
  while (start > t) start = instant_of(zone, units.beginning(--number));
  int64_t end = instant_of(zone, units.beginning(number + 1));
  while (end <= t) {  // steps over periods that the zone skipped, too
    start = end;
    ++number;
    end = instant_of(zone, units.beginning(number + 1));
  }
  return {start, end};
}

// Names only: what the loader would read as a path, a rule or this machine's own zone is no IANA
// name.
bool looks_like_zone_name(std::string_view name) {
  if (name.empty() || name.size() > kNameCharsMax) return false;
  if (name.front() == '/' || name.starts_with("right/") || name.starts_with("posix/")) return false;
  if (name == "localtime" || name == "posixrules" || name == "Factory") return false;
  return std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '+' || c == '/';
  });
}

Error unknown_zone(std::string_view name) {
  std::string shown;
  for (const char c : name.substr(0, kNameCharsMax)) shown += c >= ' ' && c <= '~' ? c : '?';
  return {
      Code::kInvalidArgument,
      "unknown time zone \"" + shown +
          "\": expected an IANA name such as \"Europe/Berlin\" or \"UTC\"; if the name is right, "
          "install the system's time zone database (package tzdata)"};
}

// Loaded zones, newest first. Only ever pushed to, so that reading needs no lock, not even one that
// a fork could leave locked; there are some 600 names at most.
std::atomic<const TimeZone::Impl*> loaded_zones{nullptr};

const TimeZone::Impl* find_loaded(std::string_view name) {
  const TimeZone::Impl* zone = loaded_zones.load(std::memory_order_acquire);
  while (zone != nullptr && zone->name != name) zone = zone->next;
  return zone;
}

const TimeZone::Impl* remember(TimeZone::Impl* zone) {
  zone->next = loaded_zones.load(std::memory_order_acquire);
  while (true) {
    // Another thread may have pushed the same name: one pointer per name, so that == is right.
    if (const TimeZone::Impl* same = find_loaded(zone->name); same != nullptr) {
      delete zone;
      return same;
    }
    if (loaded_zones.compare_exchange_weak(zone->next, zone, std::memory_order_acq_rel))
      return zone;
  }
}

constexpr std::array<std::string_view, 7> kUnitNames = {"minute", "hour",    "day", "week",
                                                        "month",  "quarter", "year"};

}  // namespace

TimeZone TimeZone::utc() {
  static const Impl* const zone = new Impl{"UTC", absl::UTCTimeZone(), true, nullptr};
  return TimeZone(zone);
}

Result<TimeZone> TimeZone::load(std::string_view iana_name) {
  if (iana_name == "UTC") return utc();
  if (const Impl* zone = find_loaded(iana_name); zone != nullptr) return TimeZone(zone);
  if (!looks_like_zone_name(iana_name)) return unknown_zone(iana_name);
  absl::TimeZone zone;
  std::string name(iana_name);
  if (!absl::LoadTimeZone(name, &zone)) return unknown_zone(iana_name);
  return TimeZone(remember(new Impl{std::move(name), zone, false, nullptr}));
}

const std::string& TimeZone::name() const { return impl_->name; }
bool TimeZone::is_utc() const { return impl_->is_utc; }

int32_t TimeZone::offset_s(int64_t wall_ns) const {
  return static_cast<int32_t>(offset_at(*impl_, floor_div(wall_ns, kNsPerSecond)));
}

CivilDateTime TimeZone::civil_at(int64_t wall_ns) const {
  const int64_t seconds = floor_div(wall_ns, kNsPerSecond);
  const int64_t local = seconds + offset_at(*impl_, seconds);
  const int64_t days = floor_div(local, kSecondsPerDay);
  const auto second_of_day = static_cast<int>(local - days * kSecondsPerDay);
  const Date date = date_from_days(days);
  return {date.year,         date.month, date.day, second_of_day / 3600, second_of_day / 60 % 60,
          second_of_day % 60};
}

int64_t TimeZone::wall_at(const CivilDateTime& civil) const {
  const int64_t year = std::clamp<int64_t>(civil.year, 1600, 2400);  // beyond int64 nanoseconds
  const int64_t days = days_from_date(year, civil.month, civil.day);
  const int64_t local =
      days * kSecondsPerDay + civil.hour * 3600 + civil.minute * 60 + civil.second;
  return ns_from_seconds(instant_of(*impl_, local));
}

std::string_view period_unit_name(PeriodUnit unit) { return kUnitNames[static_cast<size_t>(unit)]; }

std::optional<PeriodUnit> period_unit_from_name(std::string_view name) {
  const auto* found = std::find(kUnitNames.begin(), kUnitNames.end(), name);
  if (found == kUnitNames.end()) return std::nullopt;
  return static_cast<PeriodUnit>(found - kUnitNames.begin());
}

Status check_anchor(const Anchor& anchor) {
  const auto check = [](const char* member, int value, int low, int high) -> Status {
    if (value >= low && value <= high) return {};
    return {Code::kInvalidArgument, std::string("anchor ") + member + ": expected " +
                                        std::to_string(low) + " to " + std::to_string(high) +
                                        ", got " + std::to_string(value)};
  };
  if (Status status = check("month", anchor.month, 1, 12); !status) return status;
  if (Status status = check("day", anchor.day, 1, 31); !status) return status;
  if (Status status = check("weekday", anchor.weekday, 1, 7); !status) return status;
  return check("second_of_day", anchor.second_of_day, 0, kSecondsPerDay - 1);
}

Anchor anchor_of(int64_t start_wall_ns, const TimeZone& zone) {
  const CivilDateTime civil = zone.civil_at(start_wall_ns);
  const int64_t days = days_from_date(civil.year, civil.month, civil.day);
  return {civil.month, civil.day, static_cast<int>(floor_mod(days + 3, 7)) + 1, 0};
}

Period period_at(PeriodUnit unit, int64_t wall_ns, const TimeZone& zone, const Anchor& anchor) {
  const int64_t seconds = floor_div(wall_ns, kNsPerSecond);
  const TimeZone::Impl& rules = zone.impl();
  std::pair<int64_t, int64_t> period;
  if (unit == PeriodUnit::kMinute || unit == PeriodUnit::kHour) {
    period = ClockUnits(rules, unit == PeriodUnit::kMinute ? 60 : 3600).around(seconds);
  } else {
    period = date_period(rules, DateUnits(unit, anchor), seconds);
  }
  return {ns_from_seconds(period.first), ns_from_seconds(period.second)};
}

int64_t start_of(PeriodUnit unit, int64_t wall_ns, const TimeZone& zone, const Anchor& anchor) {
  return period_at(unit, wall_ns, zone, anchor).start_wall_ns;
}

int64_t next_start(PeriodUnit unit, int64_t wall_ns, const TimeZone& zone, const Anchor& anchor) {
  return period_at(unit, wall_ns, zone, anchor).end_wall_ns;
}

}  // namespace tenancy
