"""The end of a tenant's billing month, for changes of plan that wait for it."""

from __future__ import annotations

import calendar
from datetime import datetime, timezone
from zoneinfo import ZoneInfo

from .._text import to_datetime, to_ns

__all__ = [
    "month_end_ns",
]


def month_end_ns(now_ns: int, anchor_ns: int, time_zone: str | None) -> int:
    """When the month that holds `now` ends, in the tenant's time zone.

    With an anchor, months begin on its day and at its time; a day that a month lacks is its last,
    and comes back in the next (31 Jan → 28 Feb → 31 Mar). Without, they are calendar months.
    """
    zone = ZoneInfo(time_zone) if time_zone else timezone.utc
    now = to_datetime(now_ns)
    assert now is not None
    local = now.astimezone(zone)
    start = to_datetime(anchor_ns)
    day, hour = 1, datetime(1970, 1, 1, tzinfo=zone)
    if start is not None:
        hour = start.astimezone(zone)
        day = hour.day
    year, month = local.year, local.month
    while True:
        last = calendar.monthrange(year, month)[1]
        boundary = hour.replace(year=year, month=month, day=min(day, last), fold=0)
        if (end := to_ns(boundary.astimezone(timezone.utc), "period")) > now_ns:
            return end
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
