"""The periods of a tenant: billing months that follow one another without gap or overlap.

A month begins on the day of the tenant's anchor, in its time zone; a change of either holds from
the next period on, so the first period after it may be shorter or longer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from .._text import shown, to_datetime, to_ns
from ..billing import Period
from ..errors import InvalidValue
from ..stores.periods import month_end_ns

__all__ = ["Calendar", "PeriodLike", "Span", "find", "label", "period_of", "walk"]

_LABEL = re.compile(r"\d{4}-(0[1-9]|1[0-2])")
PERIODS_MAX = 12 * 400

Span = tuple[int, int]
"""Start and end in nanoseconds."""

PeriodLike = str | datetime | Period
"""A period as it is named: by the month in which it begins (``2026-01``), by a moment in it, or by
itself."""


class Calendar:
    """Since when which anchor and time zone hold."""

    def __init__(self, changes: Sequence[tuple[int, int, str | None]]) -> None:
        self._changes = changes

    def at(self, moment_ns: int) -> tuple[int, str | None]:
        found = self._changes[0]
        for change in self._changes[1:]:
            if change[0] > moment_ns:
                break
            found = change
        return found[1], found[2]

    def end_of(self, start_ns: int) -> int:
        anchor_ns, zone = self.at(start_ns)
        return month_end_ns(start_ns, anchor_ns, zone)

    def zone_at(self, moment_ns: int) -> str:
        return self.at(moment_ns)[1] or "UTC"


def walk(calendar: Calendar, start_ns: int) -> Iterator[Span]:
    """The periods from one start on."""
    for _ in range(PERIODS_MAX):
        end_ns = calendar.end_of(start_ns)
        yield start_ns, end_ns
        start_ns = end_ns


def label(calendar: Calendar, span: Span) -> str:
    """The month in which a period begins, where its tenant is."""
    return _label(span[0], calendar.zone_at(span[0]))


@lru_cache(maxsize=4096)
def _label(start_ns: int, zone: str) -> str:
    start = to_datetime(start_ns)
    assert start is not None
    return start.astimezone(ZoneInfo(zone)).strftime("%Y-%m")


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
        raise InvalidValue("period", f"{shown(text)} is not a month", remedy='such as "2026-01"')
    return text


def period_of(span: Span) -> Period:
    start, end = to_datetime(span[0]), to_datetime(span[1])
    assert start is not None
    assert end is not None
    return Period(start, end)


def _holding(calendar: Calendar, first_ns: int, moment_ns: int) -> Span:
    if moment_ns >= first_ns:
        for span in walk(calendar, first_ns):
            if moment_ns < span[1]:
                return span
    begins = to_datetime(first_ns)
    raise InvalidValue(
        "period", f"{to_datetime(moment_ns)} is before {begins}, where billing begins"
    )


def _by_label(calendar: Calendar, first_ns: int, text: str) -> Span:
    found = []
    for span in walk(calendar, first_ns):
        own = label(calendar, span)
        if own == text:
            found.append(span)
        elif own > text:
            break
    if not found:
        begins = to_datetime(first_ns)
        raise InvalidValue("period", f"none begins in {text}; billing begins on {begins}")
    if len(found) > 1:
        raise InvalidValue(
            "period", f"{len(found)} begin in {text}", remedy="name a moment in the one you mean"
        )
    return found[0]
