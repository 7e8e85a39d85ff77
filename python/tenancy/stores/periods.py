"""A tenant's billing periods: for changes of plan that wait for an end, metering and invoices."""

from __future__ import annotations

import calendar
from collections.abc import Mapping
from datetime import datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from .._text import to_moment, to_ns
from ..catalog import Catalog

__all__ = ["MONTHS", "UNITS", "billing_anchor_ns", "billing_unit", "period_bounds_ns"]

MONTHS: Final[Mapping[str, int]] = {"month": 1, "quarter": 3, "year": 12}
_DAYS: Final[Mapping[str, int]] = {"day": 1, "week": 7}
UNITS: Final = (*_DAYS, *MONTHS)
"""What a tenant can be billed by."""

_MONDAY: Final = datetime(1970, 1, 5, tzinfo=timezone.utc)
_YEAR: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)


def billing_unit(catalog: Catalog, plan: str) -> str:
    """By which periods a plan is billed: a shorter price period than a day is no billing period."""
    known = catalog.plans.get(plan)
    return known.period if known is not None and known.period in UNITS else "month"


def billing_anchor_ns(catalog: Catalog, anchor_ns: int) -> int:
    """Where the periods of a tenant with that anchor begin; 0: where the calendar's do."""
    return anchor_ns if catalog.billing.anchor == "subscription" else 0


def period_bounds_ns(
    now_ns: int, anchor_ns: int, time_zone: str | None, unit: str = "month"
) -> tuple[int, int]:
    """When the period that holds `now` begins and ends, in the tenant's time zone.

    With an anchor, periods begin on its day and at its time: months on its day of the month,
    quarters in every third month from its own, years on its date, weeks on its weekday. A day that
    a month lacks is its last, and comes back in the next (31 Jan → 28 Feb → 31 Mar). Without, they
    are those of the calendar, and weeks begin on Monday.
    """
    local = to_moment(now_ns).astimezone(_zone(time_zone))
    # A boundary may lie on either side of `now` in its month, and, where clocks jump, a day off.
    place = _place(local, _anchor(anchor_ns, time_zone, unit), unit) - 2
    start = 0
    while True:
        end = _boundary_ns(place, anchor_ns, time_zone, unit)
        if end > now_ns:
            return start, end
        start = end
        place += 1


def _place(local: datetime, anchor: datetime, unit: str) -> int:
    """How many periods a time is behind the anchor's, about."""
    if unit in MONTHS:
        return (_month(local) - _month(anchor)) // MONTHS[unit]
    return (local.toordinal() - anchor.toordinal()) // _DAYS[unit]


@lru_cache(maxsize=4096)
def _boundary_ns(place: int, anchor_ns: int, time_zone: str | None, unit: str) -> int:
    """The start of the period that is so many behind the anchor's."""
    anchor = _anchor(anchor_ns, time_zone, unit)
    if unit in MONTHS:
        year, month = divmod(_month(anchor) + place * MONTHS[unit], 12)
        day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
        boundary = anchor.replace(year=year, month=month + 1, day=day, fold=0)
    else:
        date = anchor.date() + timedelta(days=place * _DAYS[unit])
        clock = time(anchor.hour, anchor.minute, anchor.second, anchor.microsecond)
        boundary = datetime.combine(date, clock, tzinfo=anchor.tzinfo)
    return to_ns(boundary.astimezone(timezone.utc), "period")


def _anchor(anchor_ns: int, time_zone: str | None, unit: str) -> datetime:
    zone = _zone(time_zone)
    if anchor_ns:
        return to_moment(anchor_ns).astimezone(zone)
    return (_MONDAY if unit == "week" else _YEAR).replace(tzinfo=zone)


def _month(moment: datetime) -> int:
    """Counted from the year 0 on."""
    return 12 * moment.year + moment.month - 1


def _zone(time_zone: str | None) -> tzinfo:
    return ZoneInfo(time_zone) if time_zone else timezone.utc
