"""Where the days of a grid begin: in UTC, in one time zone, or in that of each tenant.

The grid counts local time: days in it have the same length, whatever the clocks of the zone do, so
that a day of 23 or of 25 hours is one step like any other. `Calendar` goes both ways.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue

Zone: TypeAlias = str | Mapping[Any, str]
"""The name of a time zone (``Europe/Berlin``), or names by tenant."""

Wholes: TypeAlias = NDArray[np.int64]

NS = 1_000_000_000
DAY_NS = 86_400 * NS
_QUARTER_NS = 900 * NS
"""The clocks of all zones change at a quarter of an hour of UTC."""
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_PLAIN_EPOCH = datetime(1970, 1, 1)


def moment(ns: int) -> datetime:
    """Nanoseconds since 1970 as a time in UTC."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def nanoseconds(field: str, time: Any) -> int:
    """The opposite; a time needs a time zone."""
    if not isinstance(time, datetime) or time.utcoffset() is None:
        raise InvalidValue(
            field, f"expected a datetime with a time zone, got {time!r}", remedy="such as UTC"
        )
    return int((time - _EPOCH) // timedelta(microseconds=1) * 1000)


class Calendar:
    """The time of a grid, ``local``, beside that of the world, ``real``; both in nanoseconds.

    In UTC they are the same. Where tenants have different zones, only the local one is the same for
    all of them, and it stands for both.
    """

    def __init__(self, zone: Zone | None, tenants: list[Any], step_ns: int) -> None:
        self._zones: list[ZoneInfo] | None = None
        """Of each tenant, where they differ."""
        self._zone: ZoneInfo | None = None
        if zone is None:
            return
        if step_ns % DAY_NS:
            raise InvalidValue(
                "zone", "steps shorter than a day are the same in all zones",
                remedy='step="day" or "week", or leave zone out',
            )  # fmt: skip
        if isinstance(zone, Mapping):
            zones = [_zone_of(zone, tenant) for tenant in tenants]
            if len({each.key for each in zones}) > 1:
                self._zones = zones
            else:
                self._zone = zones[0]
        else:
            self._zone = _named(zone, "zone")

    @property
    def one(self) -> bool:
        """Whether all tenants have the same zone, so that there is a real time."""
        return self._zones is None

    def local(self, times: Wholes, tenants: Wholes) -> Wholes:
        """The local times of rows with these times and numbers of tenants."""
        if self._zones is None:
            if self._zone is None:
                return times
            shifted: Wholes = times + _offsets(self._zone, times)
            return shifted
        found: Wholes = times.copy()
        names = [each.key for each in self._zones]
        of = np.array([names.index(name) for name in names])[tenants]
        for number in np.unique(of).tolist():
            mine = np.flatnonzero(of == number)
            found[mine] += _offsets(self._zones[number], times[mine])
        return found

    def point(self, field: str, time: datetime | date) -> tuple[int, int]:
        """A time that was given, local and real. A date is where that day begins."""
        if not isinstance(time, datetime) and isinstance(time, date):
            return self._day(field, time)
        if self._zones is not None:
            raise InvalidValue(
                field, f"{time!r} lies inside of the day of some tenants, which have several zones",
                remedy="a date, which begins in each zone at its own midnight",
            )  # fmt: skip
        real = nanoseconds(field, time)
        if self._zone is None:
            return real, real
        return real + int(_offsets(self._zone, np.array([real]))[0]), real

    def _day(self, field: str, day: date) -> tuple[int, int]:
        if self._zone is None and self._zones is None:
            raise InvalidValue(
                field, f"{day!r} is a date, whose day begins at another time in each zone",
                remedy="a datetime with a time zone; or zone=",
            )  # fmt: skip
        local = (datetime(day.year, day.month, day.day) - _PLAIN_EPOCH).days * DAY_NS
        return local, self.real(local)

    def real(self, local: int) -> int:
        """Where the clock of the zone shows this time; after it is set back, for the first time."""
        if self._zone is None:
            return local
        return nanoseconds("time", _wall(local).replace(tzinfo=self._zone))

    def shown(self, real: int, tenant: int | None = None) -> datetime:
        """A real time as people of the zone write it.

        Where tenants have several zones it is that of a tenant, by its number; without one it is
        what the clocks show, without a zone.
        """
        if self._zones is not None:
            wall = _wall(real)
            return wall if tenant is None else wall.replace(tzinfo=self._zones[tenant])
        return moment(real) if self._zone is None else moment(real).astimezone(self._zone)


UTC_CALENDAR = Calendar(None, [], DAY_NS)


def _wall(local: int) -> datetime:
    return _PLAIN_EPOCH + timedelta(microseconds=local // 1000)


def _zone_of(zones: Mapping[Any, str], tenant: Any) -> ZoneInfo:
    if tenant not in zones:
        raise InvalidValue("zone", f"there is none of tenant {tenant!r}")
    return _named(zones[tenant], f"zone[{tenant!r}]")


def _named(name: Any, field: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
        raise InvalidValue(
            field, f"{name!r} names no time zone", remedy="such as Europe/Berlin"
        ) from None


def _offsets(zone: ZoneInfo, times: Wholes) -> Wholes:
    """How far the clocks of a zone are ahead of UTC at each time."""
    quarters, place = np.unique(times // _QUARTER_NS, return_inverse=True)
    offsets = [
        (moment(quarter * _QUARTER_NS).astimezone(zone).utcoffset() or timedelta(0))
        // timedelta(microseconds=1)
        * 1000
        for quarter in quarters.tolist()
    ]
    found: Wholes = np.array(offsets, "int64")[place]
    return found
