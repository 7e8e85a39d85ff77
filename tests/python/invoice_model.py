"""What a tenant is to be charged in fees, the slow way: lists of moments and fractions.

Nothing here is taken from `tenancy`: boundaries of periods are listed one by one, and a fee is its
price times the share of the time.
"""

from __future__ import annotations

import calendar
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from fractions import Fraction
from functools import lru_cache
from itertools import groupby, pairwise
from zoneinfo import ZoneInfo

Span = tuple[datetime, datetime]


@lru_cache(maxsize=512)
def boundaries(anchor: datetime | None, zone: str, unit: str) -> list[datetime]:
    """Where periods begin from 2018 to 2026; without an anchor, those of the calendar."""
    local = (anchor or datetime(2018, 1, 1, tzinfo=timezone.utc)).astimezone(ZoneInfo(zone))
    if anchor is None:
        local = datetime(2018, 1, 1, tzinfo=ZoneInfo(zone))  # a Monday
    found = []
    if unit in ("day", "week"):
        for number in range(-2600, 2600):
            if unit == "week" and number % 7:
                continue
            day = local.date() + timedelta(days=number)
            found.append(datetime.combine(day, local.time(), tzinfo=ZoneInfo(zone)))
    else:
        for year in range(2018, 2027):
            for month in range(1, 13):
                if (month - local.month) % {"month": 1, "quarter": 3, "year": 12}[unit] == 0:
                    last = calendar.monthrange(year, month)[1]
                    day = min(local.day, last)
                    found.append(local.replace(year=year, month=month, day=day, fold=0))
    return sorted({one.astimezone(timezone.utc) for one in found})


@dataclass
class Shop:
    """What happened to one tenant; histories are pairs of a moment and a value, in order."""

    begin: datetime
    made: datetime
    zone: str
    anchored: bool
    units: dict[str, str]
    plans: list[tuple[datetime, str]]
    billed: list[tuple[datetime, bool]]
    prices: list[tuple[datetime, bool, dict[str, int]]]
    """When a catalog came into force, whether its prices count at once, cents by plan."""
    anchors: list[tuple[datetime, datetime]] = field(default_factory=list)

    def periods(self, until: datetime) -> list[Span]:
        found, start = [], self.begin
        while start < until:
            found.append((start, self.end_of(start)))
            start = found[-1][1]
        return found

    def grid(self, start: datetime) -> list[datetime]:
        anchor = held(self.anchors, start) if self.anchored else None
        return boundaries(anchor, self.zone, self.unit(start))

    def unit(self, moment: datetime) -> str:
        return self.units[held(self.plans, moment)]

    def end_of(self, start: datetime) -> datetime:
        natural = next(one for one in self.grid(start) if one > start)
        cuts = [at for at in self.cuts() if start < at < natural]
        others = [at for at in cuts if self.unit(at) != self.unit(start)]
        return min([natural, *others])

    def cuts(self) -> list[datetime]:
        tick = timedelta(microseconds=1)
        changes = [at for at, _ in self.plans[1:]]
        return [at for at in changes if self.unit(at) != self.unit(at - tick)]

    def whole(self, span: Span) -> Span:
        if self.anchored and not {*span} & {*self.cuts()}:
            return span
        grid = self.grid(span[0])
        return max(one for one in grid if one <= span[0]), next(x for x in grid if x > span[0])

    def price(self, plan: str, start: datetime, moment: datetime) -> int:
        """In force when the period began, or since, if it counts at once."""
        found = last = self.prices[0][2][plan]
        for at, at_once, cents in self.prices:
            if at <= start or (at <= moment and at_once and cents[plan] != last):
                found = cents[plan]
            last = cents[plan]
        return found

    def fees(self, span: Span) -> list[int]:
        """The amount of each line, in cents."""
        start, end = span
        whole = self.whole(span)
        moments = {start, end}
        for history in (self.plans, self.billed, [(at, None) for at, _, _ in self.prices]):
            moments.update(at for at, _ in history if start < at < end)
        ordered = sorted(moments)
        parts = []
        for part, until in pairwise(ordered):
            plan = held(self.plans, part)
            free = part < self.made or not held(self.billed, part)
            cents = None if free else self.price(plan, start, part)
            parts.append(((plan, cents), until - part))
        found = []
        for (_, cents), same in groupby(parts, key=lambda part: part[0]):
            if cents:
                length = sum((long for _, long in same), timedelta())
                found.append(half_up(share(length, whole[1] - whole[0]) * cents))
        return found

    def in_advance(self, span: Span) -> int:
        """What is known of a period's fee when it begins."""
        since = max(span[0], self.made)
        if since >= span[1] or not held(self.billed, since):
            return 0
        whole = self.whole(span)
        cents = self.price(held(self.plans, since), span[0], span[0])
        return half_up(share(span[1] - since, whole[1] - whole[0]) * cents)


def held(history: Sequence[tuple[datetime, object]], moment: datetime):  # type: ignore[no-untyped-def]
    found = history[0][1]
    for at, value in history:
        if at <= moment:
            found = value
    return found


def share(part: timedelta, whole: timedelta) -> Fraction:
    tick = timedelta(microseconds=1)
    return Fraction(part // tick, whole // tick)


def half_up(number: Fraction) -> int:
    return int(number + Fraction(1, 2))
