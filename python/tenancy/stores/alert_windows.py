"""Sliding windows over the times of facts, for one rule and one group.

Invariants:
 1. A window is `within` long and open at its start: (end − within, end]. It ends at a counted fact.
 2. Of the windows that a new fact makes full, the earliest becomes an alert. Its facts are spent,
    and so is everything from its start to `cooldown` behind its end: the quiet time.
 3. The order of arrival decides nothing else: a fact that comes late is counted where its time is.
 4. A rule of single facts has windows of no length: each fact outside a quiet time is an alert.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from .alert_rules import Rule

__all__ = ["Hit", "Quiet", "Windows", "tenant_of"]


class Hit(NamedTuple):
    """A counted fact. Sorts by time."""

    time_ns: int
    event_id: str
    tenant: str | None
    value: str
    """Of the field in `distinct`; else empty."""


@dataclass
class Quiet:
    """A time in which an alert stands for what comes."""

    alert: str
    after_ns: int
    until_ns: int
    more: int = 0
    """Facts that came in it, in this turn."""

    def covers(self, time_ns: int) -> bool:
        return self.after_ns < time_ns <= self.until_ns


@dataclass
class Windows:
    """The facts of one group that may still become an alert, and its quiet times."""

    rule: Rule
    hits: list[Hit] = field(default_factory=list)
    """Sorted."""
    quiet: list[Quiet] = field(default_factory=list)

    def add(self, hit: Hit) -> Sequence[Hit] | None:
        """Count a fact; the facts of the window that it made full, in order of their times."""
        for quiet in self.quiet:
            if quiet.covers(hit.time_ns):
                quiet.more += 1
                return None
        if self.rule.at_least == 1:
            return (hit,)
        if any(known.event_id == hit.event_id for known in self._from(hit.time_ns, hit.time_ns)):
            return None
        bisect.insort(self.hits, hit)
        window = self._full(hit.time_ns)
        if window is None and self.rule.distinct is not None:
            self._thin(hit.value)
        return window

    def raised(self, alert: str, end_ns: int) -> Quiet:
        """Begin the quiet time of an alert whose window ends there."""
        quiet = Quiet(alert, end_ns - self.rule.within_ns, end_ns + self.rule.cooldown_ns)
        self.quiet.append(quiet)
        self.hits = [hit for hit in self.hits if not quiet.covers(hit.time_ns)]
        return quiet

    def _full(self, time_ns: int) -> Sequence[Hit] | None:
        """The earliest window with the fact of that time in it that has enough."""
        within = self.rule.within_ns
        for end in sorted({hit.time_ns for hit in self._from(time_ns, time_ns + within - 1)}):
            window = self._from(end - within + 1, end)
            enough = len(window) if self.rule.distinct is None else len({h.value for h in window})
            if enough >= self.rule.at_least:
                return window
        return None

    def _from(self, first_ns: int, last_ns: int) -> list[Hit]:
        low = bisect.bisect_left(self.hits, first_ns, key=_time)
        high = bisect.bisect_right(self.hits, last_ns, key=_time)
        return self.hits[low:high]

    def _thin(self, value: str) -> None:
        """Forget a fact between two of the same value that are no further apart than a window is
        long: each window that holds it holds one of them, so a flood of one value takes no room."""
        times = [hit for hit in self.hits if hit.value == value]
        kept: list[Hit] = []
        for place, hit in enumerate(times):
            between = kept and place + 1 < len(times)
            if between and times[place + 1].time_ns - kept[-1].time_ns <= self.rule.within_ns:
                self.hits.remove(hit)
            else:
                kept.append(hit)


def _time(hit: Hit) -> int:
    return hit.time_ns


def tenant_of(hits: Iterable[Hit]) -> str | None:
    """The tenant that all facts of an alert belong to, if there is one."""
    tenants = {hit.tenant for hit in hits}
    return tenants.pop() if len(tenants) == 1 else None
