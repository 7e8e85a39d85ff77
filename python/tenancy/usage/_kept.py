"""Totals that are asked for again and again: each time only what is new is read.

Invariants:
 1. What it says of a state of the table is what the table says of it, whatever was corrected, taken
    back or came late.
 2. From one state to the next it reads the rows that were recorded or ended in between, in sums by
    tenant and metric, and no others; between equal states none.
 3. Sums and counts are brought up by these sums. Where they tell too little, since some of the rows
    lie outside the stretch or the aggregation is another one, that stretch is read again.
 4. Of another log, of an earlier state, or after rows were pruned it knows nothing. A stretch for
    which nobody asked from one `turn` to the next is forgotten.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ..catalog import Metric
from ..stores import usage_reading as reading
from ..stores.usage_reading import Change, Question, State
from ..stores.usage_units import SCALE

__all__ = ["KeptTotals", "Total"]

STRETCHES_MAX = 200_000
"""A few hundred bytes each."""

Total = tuple[int, int]
"""The quantity in 10^-12, and of how many events."""


class _Stretch(NamedTuple):
    aggregation: str
    unique_by: str | None
    since_ns: int
    until_ns: int

    def holds(self, change: Change) -> bool:
        return self.since_ns <= change.first_ns and change.last_ns < self.until_ns

    def is_free_of(self, change: Change) -> bool:
        if change.first_ns >= self.until_ns:
            return True
        # The level with which a stretch begins was set before it.
        return change.last_ns < self.since_ns and self.aggregation != "time_weighted"


@dataclass(slots=True)
class _Kept:
    total: Total
    turn: int


class KeptTotals:
    """Totals of one `UsageMeter`, by tenant, metric and stretch of time. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._state: State | None = None
        self._kept: dict[tuple[str, str], dict[_Stretch, _Kept]] = {}
        self._count = 0
        self._turn = 0

    def of(
        self,
        cursor: sqlite3.Cursor,
        state: State,
        metric: Metric,
        question: Question,
        read: Callable[[Question], Total],
    ) -> Total:
        """The total of a question whose `as_of` is None, in the state that the cursor reads.

        `read` reads it from the table where it is not known.
        """
        stretch = _Stretch(
            metric.aggregation, metric.unique_by, question.since_ns, question.until_ns
        )
        with self._lock:
            self._bring_to(cursor, state)
            stretches = self._kept.setdefault((question.tenant, metric.name), {})
            found = stretches.get(stretch)
            if found is None:
                found = stretches[stretch] = _Kept(read(question), self._turn)
                self._count += 1
            found.turn = self._turn
            if self._count > STRETCHES_MAX:
                self._forget()
            return found.total

    def turn(self) -> None:
        """Forget the stretches for which nobody asked since the last turn."""
        with self._lock:
            for key, stretches in list(self._kept.items()):
                asked = {each: kept for each, kept in stretches.items() if kept.turn == self._turn}
                self._count -= len(stretches) - len(asked)
                if asked:
                    self._kept[key] = asked
                else:
                    del self._kept[key]
            self._turn += 1

    def _bring_to(self, cursor: sqlite3.Cursor, state: State) -> None:
        before, self._state = self._state, state
        if before == state or not self._kept:
            return
        if before is None or before._replace(next=state.next) != state or state.next < before.next:
            self._forget()
            return
        try:
            for change in reading.changes(cursor, before):
                self._take(change)
        except BaseException as error:
            # Half of what is new would be counted.
            self._forget()
            if not isinstance(error, OverflowError):
                raise

    def _take(self, change: Change) -> None:
        stretches = self._kept.get((change.tenant, change.metric), {})
        for stretch, kept in list(stretches.items()):
            if stretch.is_free_of(change):
                continue
            units, events = kept.total
            if stretch.holds(change) and stretch.aggregation == "sum":
                kept.total = units + change.units, events + change.events
            elif stretch.holds(change) and stretch.aggregation == "count":
                kept.total = units + change.events * SCALE, events + change.events
            else:
                del stretches[stretch]
                self._count -= 1

    def _forget(self) -> None:
        self._kept.clear()
        self._count = 0
