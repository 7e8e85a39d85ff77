"""The periods of a tenant, which follow one another without gap or overlap.

Periods are days, weeks, months, quarters or years, as the plan says that the tenant has when one
begins. They begin with the tenant's anchor, in its time zone; a change of either holds from the
next period on, so the first period after it may be shorter or longer. A change to a plan with other
periods ends the running one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from .._text import shown, to_moment, to_ns
from ..billing import Period
from ..errors import InvalidValue
from ..stores.periods import period_bounds_ns

__all__ = ["Calendar", "PeriodLike", "Span", "Unit", "find", "label", "period_of", "walk"]

_LABEL = re.compile(r"\d{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?")
_LAST_NS = 7_258_118_400 * 10**9
"""1 January 2200: no period is looked for from then on."""

Span = tuple[int, int]
"""Start and end in nanoseconds."""

PeriodLike = str | datetime | Period
"""A period as it is named: by the month or the day on which it begins (``2026-01``,
``2026-01-05``), by a moment in it, or by itself."""


class Unit(NamedTuple):
    """What periods are from a time on."""

    since_ns: int
    name: str
    """`day`, `week`, `month`, `quarter` or `year`."""
    anchored: bool = True
    """Whether they follow the tenant's anchor, or are those of the calendar."""
    cuts: bool = False
    """Whether a plan with other periods than the one before begins there, which ends the running
    period; else they begin with the next."""


class Calendar:
    """Since when which anchor, time zone and length of periods hold."""

    def __init__(
        self,
        changes: Sequence[tuple[int, int, str | None]],
        units: Sequence[Unit] = (Unit(0, "month"),),
    ) -> None:
        """`changes` are since when, anchor and time zone."""
        self._changes = changes
        self._units = units

    def at(self, moment_ns: int) -> tuple[int, str | None]:
        """Anchor and time zone; the anchor is 0 where periods are those of the calendar."""
        found = self._changes[0]
        for change in self._changes[1:]:
            if change[0] > moment_ns:
                break
            found = change
        return found[1] if self.unit_at(moment_ns).anchored else 0, found[2]

    def unit_at(self, moment_ns: int) -> Unit:
        """What the periods are that begin at a time."""
        found = self._units[0]
        for change in self._units[1:]:
            if change.since_ns > moment_ns:
                break
            found = change
        return found

    def end_of(self, start_ns: int) -> int:
        return min(self._bounds(start_ns)[1], self._cut_after(start_ns))

    def whole(self, span: Span) -> Span:
        """The period of which this is a part, because its tenant came within it, or from other
        periods, or goes to others; else itself. The first one behind a new anchor is whole, however
        long it is."""
        start_ns, end_ns = span
        found = self._bounds(start_ns)
        cut = end_ns == self._cut_after(start_ns) or self._became_others(found[0], start_ns)
        if not cut and self.unit_at(start_ns).anchored:
            return span
        return min(found[0], start_ns), max(found[1], end_ns)

    def _bounds(self, start_ns: int) -> Span:
        anchor_ns, zone = self.at(start_ns)
        return period_bounds_ns(start_ns, anchor_ns, zone, self.unit_at(start_ns).name)

    def _cut_after(self, start_ns: int) -> int:
        """When periods become others, behind the start of one."""
        name = self.unit_at(start_ns).name
        later = (one for one in self._units if one.cuts and one.since_ns > start_ns)
        return min((one.since_ns for one in later if one.name != name), default=_LAST_NS)

    def _became_others(self, after_ns: int, until_ns: int) -> bool:
        """Whether periods became longer or shorter behind one moment and not behind another."""
        return any(
            before.name != one.name and after_ns < one.since_ns <= until_ns
            for before, one in pairwise(self._units)
        )

    def is_cut(self, moment_ns: int) -> bool:
        """Whether a period ends there because a plan with other periods begins."""
        found = self.unit_at(moment_ns)
        return found.cuts and found.since_ns == moment_ns

    def zone_at(self, moment_ns: int) -> str:
        return self.at(moment_ns)[1] or "UTC"


def walk(calendar: Calendar, start_ns: int) -> Iterator[Span]:
    """The periods from one start on."""
    while start_ns < _LAST_NS:
        end_ns = calendar.end_of(start_ns)
        yield start_ns, end_ns
        start_ns = end_ns


def label(calendar: Calendar, span: Span) -> str:
    """The day on which a period begins, where its tenant is."""
    return _label(span[0], calendar.zone_at(span[0]))


@lru_cache(maxsize=4096)
def _label(start_ns: int, zone: str) -> str:
    start = to_moment(start_ns)
    return start.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d")


def find(calendar: Calendar, first_ns: int, period: Any) -> Span:
    """The period that is meant, of those that begin at `first_ns`. Raises `InvalidValue`."""
    if isinstance(period, str):
        return _by_label(calendar, first_ns, check_label(period))
    if isinstance(period, Period):
        start_ns = to_ns(period.start, "period")
        span = _holding(calendar, first_ns, start_ns)
        if span != (start_ns, to_ns(period.end, "period")):
            own = period_of(span)
            raise InvalidValue(
                "period", f"no period of the tenant; it has {own.start} to {own.end}"
            )
        return span
    if not isinstance(period, datetime):
        what = f"expected a month, a datetime or a Period, got {type(period).__name__}"
        raise InvalidValue("period", what, remedy='such as "2026-01"')
    return _holding(calendar, first_ns, to_ns(period, "period"))


def check_label(text: Any) -> str:
    if not isinstance(text, str) or not _LABEL.fullmatch(text):
        what = f"{shown(text)} is not a month, nor a day"
        raise InvalidValue("period", what, remedy='such as "2026-01" or "2026-01-31"')
    return text


def period_of(span: Span) -> Period:
    start, end = to_moment(span[0]), to_moment(span[1])
    return Period(start, end)


def _holding(calendar: Calendar, first_ns: int, moment_ns: int) -> Span:
    if moment_ns >= first_ns:
        for span in walk(calendar, first_ns):
            if moment_ns < span[1]:
                return span
    begins = to_moment(first_ns)
    if moment_ns >= first_ns:
        raise InvalidValue("period", f"{to_moment(moment_ns)} is too far in the future")
    raise InvalidValue("period", f"{to_moment(moment_ns)} is before {begins}, where billing begins")


def _by_label(calendar: Calendar, first_ns: int, text: str) -> Span:
    found = []
    for span in walk(calendar, first_ns):
        own = label(calendar, span)[: len(text)]
        if own == text:
            found.append(span)
        elif own > text:
            break
    if not found:
        begins = to_moment(first_ns)
        raise InvalidValue("period", f"none begins in {text}; billing begins on {begins}")
    if len(found) > 1:
        days = ", ".join(label(calendar, span) for span in found)
        raise InvalidValue(
            "period",
            f"{len(found)} begin in {text}",
            remedy=f"name a moment in the one you mean, or its first day: {days}",
        )
    return found[0]
