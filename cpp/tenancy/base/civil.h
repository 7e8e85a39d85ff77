// Calendar periods in a named time zone: minutes to years, whole or anchored to a subscription's
// day.
//
// Invariants:
//  1. For one (unit, zone, anchor) the periods tile time: every instant lies in exactly one, the
//  end of
//     each is the start of the next, and none is empty.
//  2. Days and longer begin when the zone's clocks first show the anchor time on the period's first
//     date. Where a change of offset skips that time, they begin at the change; where it shows it
//     twice, at the first. A date that a zone skipped altogether (Samoa, 30 December 2011) has no
//     period.
//  3. An anchor day beyond a month's end means that end, and returns: 31 Jan, 28 Feb, 31 Mar.
//  4. Minutes and hours begin where the zone's clocks show a whole one, and where a change of
//  offset
//     starts clocks in the middle of one. A repeated hour is two periods.
//
// Ownership: plain values; a TimeZone is a pointer to data that lives as long as the process.
// Thread safety: everything may be called from any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tenancy/base/status.h"

namespace tenancy {

// A date and time of day as clocks show it, proleptic Gregorian.
struct CivilDateTime {
  int64_t year = 1970;
  int month = 1;   // 1–12
  int day = 1;     // 1–31
  int hour = 0;    // 0–23
  int minute = 0;  // 0–59
  int second = 0;  // 0–59

  friend bool operator==(const CivilDateTime&, const CivilDateTime&) = default;
};

class TimeZone {
 public:
  // UTC.
  TimeZone() : TimeZone(utc()) {}
  static TimeZone utc();
  // A name of the IANA database ("Europe/Berlin", "UTC"); kInvalidArgument for anything else. The
  // first load of a name reads the system's database; later ones look it up in memory.
  static Result<TimeZone> load(std::string_view iana_name);

  const std::string& name() const;
  bool is_utc() const;
  // Seconds east of UTC at that instant.
  int32_t offset_s(int64_t wall_ns) const;
  CivilDateTime civil_at(int64_t wall_ns) const;
  // The first instant at which the zone's clocks show `civil` or, when it is skipped, something
  // later. Instants outside int64 nanoseconds (1677–2262) give the nearest one inside.
  int64_t wall_at(const CivilDateTime& civil) const;

  friend bool operator==(TimeZone a, TimeZone b) { return a.impl_ == b.impl_; }

  struct Impl;  // known to civil.cc alone
  const Impl& impl() const { return *impl_; }

 private:
  explicit TimeZone(const Impl* impl) : impl_(impl) {}
  const Impl* impl_;
};

enum class PeriodUnit : uint8_t { kMinute, kHour, kDay, kWeek, kMonth, kQuarter, kYear };

// "minute", "hour", … "year".
std::string_view period_unit_name(PeriodUnit unit);
std::optional<PeriodUnit> period_unit_from_name(std::string_view name);

// Where periods begin. The default is the calendar's own: 1 January, Monday, midnight.
struct Anchor {
  int month = 1;              // 1–12: years, and quarters (every third month from it)
  int day = 1;                // 1–31: months, quarters and years
  int weekday = 1;            // 1–7, ISO 8601, Monday = 1: weeks
  int32_t second_of_day = 0;  // 0–86,399: days and longer

  friend bool operator==(const Anchor&, const Anchor&) = default;
};

// kInvalidArgument naming the member that is out of range.
Status check_anchor(const Anchor& anchor);

// The anchor of a subscription that began at that instant: its local date, and midnight.
Anchor anchor_of(int64_t start_wall_ns, const TimeZone& zone);

// start_wall_ns <= t < end_wall_ns. Ends outside int64 nanoseconds give the nearest one inside.
struct Period {
  int64_t start_wall_ns = 0;
  int64_t end_wall_ns = 0;

  friend bool operator==(const Period&, const Period&) = default;
};

// The period that holds the instant. The anchor must have passed check_anchor. Below 50 ns for UTC,
// 60 to 240 ns elsewhere.
Period period_at(PeriodUnit unit, int64_t wall_ns, const TimeZone& zone, const Anchor& anchor = {});

// The same, one end at a time.
int64_t start_of(PeriodUnit unit, int64_t wall_ns, const TimeZone& zone, const Anchor& anchor = {});
int64_t next_start(PeriodUnit unit, int64_t wall_ns, const TimeZone& zone,
                   const Anchor& anchor = {});

}  // namespace tenancy
