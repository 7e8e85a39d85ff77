"""A tenant's billing months: for changes of plan that wait for an end, and for metering."""

from __future__ import annotations

import calendar
from datetime import datetime, timezone, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from .._text import to_datetime, to_ns

__all__ = [
    "month_bounds_ns",
    "month_end_ns",
]


def month_end_ns(now_ns: int, anchor_ns: int, time_zone: str | None) -> int:
    """When the month that holds `now` ends; see `month_bounds_ns`."""
    return month_bounds_ns(now_ns, anchor_ns, time_zone)[1]


def month_bounds_ns(now_ns: int, anchor_ns: int, time_zone: str | None) -> tuple[int, int]:
    """When the month that holds `now` begins and ends, in the tenant's time zone.

    With an anchor, months begin on its day and at its time; a day that a month lacks is its last,
    and comes back in the next (31 Jan → 28 Feb → 31 Mar). Without, they are calendar months.
    """
    local = _moment(now_ns).astimezone(_zone(time_zone))
    # A boundary may lie on either side of `now` in its month, and, where clocks jump, a day off.
    month = 12 * local.year + local.month - 3
    start = 0
    while True:
        end = _boundary_ns(month, anchor_ns, time_zone)
        if end > now_ns:
            return start, end
        start = end
        month += 1


@lru_cache(maxsize=4096)
def _boundary_ns(month: int, anchor_ns: int, time_zone: str | None) -> int:
    """The boundary that lies in a month, which is counted from the year 0 on."""
    zone = _zone(time_zone)
    hour = _moment(anchor_ns).astimezone(zone) if anchor_ns else datetime(1970, 1, 1, tzinfo=zone)
    year, place = divmod(month, 12)
    last = calendar.monthrange(year, place + 1)[1]
    boundary = hour.replace(year=year, month=place + 1, day=min(hour.day, last), fold=0)
    return to_ns(boundary.astimezone(timezone.utc), "period")


def _zone(time_zone: str | None) -> tzinfo:
    return ZoneInfo(time_zone) if time_zone else timezone.utc


def _moment(wall_ns: int) -> datetime:
    moment = to_datetime(wall_ns)
    return datetime(1970, 1, 1, tzinfo=timezone.utc) if moment is None else moment
