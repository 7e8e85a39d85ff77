"""What metering answers: frozen records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from ..stores.records import Record

__all__ = [
    "Closed",
    "Recorded",
    "Rejected",
    "Usage",
    "UsageEvent",
    "UsagePeriod",
    "UsageReport",
    "UsageRow",
]


@dataclass(frozen=True)
class Recorded(Record):
    """An event that is in the log."""

    tenant: str
    metric: str
    id: str
    source: str
    duplicate: bool = False
    """It was there before, with the same content, and counts once."""


@dataclass(frozen=True)
class UsageEvent(Record):
    """One event as it counts now."""

    id: str
    source: str
    tenant: str
    metric: str
    quantity: Decimal
    time: datetime
    properties: Mapping[str, Any] = field(default_factory=dict)
    recorded_at: datetime | None = None
    position: int = 0
    """Its place in the log: sequence of its record and place in it."""
    corrected: bool = False
    """It replaced what an earlier event of its id said."""


@dataclass(frozen=True)
class UsageRow(Record):
    """The usage of one stretch of time, and of one group."""

    since: datetime
    until: datetime
    quantity: Decimal
    events: int
    group: Mapping[str, str | None] = field(default_factory=dict)
    """By property; None: events without it."""


@dataclass(frozen=True)
class Usage(Record):
    """What the events of a metric come to from `since` on and before `until`."""

    tenant: str
    metric: str
    aggregation: str
    unit: str | None
    since: datetime
    until: datetime
    quantity: Decimal
    """Of the whole time and all groups."""
    events: int
    rows: tuple[UsageRow, ...] = ()
    """By stretch of time and group, where those were asked for."""

    def __iter__(self) -> Iterator[UsageRow]:
        return iter(self.rows)


@dataclass(frozen=True)
class UsagePeriod(Record):
    """A billing period of a tenant: `start` ≤ time < `end`."""

    tenant: str
    start: datetime
    end: datetime
    grace_until: datetime
    """Late events are taken until then, unless it was closed before."""
    state: Literal["open", "grace", "closed"]
    """``open``: it has not ended. ``grace``: it has, and takes late events. ``closed``: no more."""


@dataclass(frozen=True)
class Closed(Record):
    """Usage of a tenant that is closed for good."""

    tenant: str
    until: datetime
    """Events before this time are not taken any more, but as a back-fill."""
    position: int
    """Place in the log behind all events that came in time; `as_of` of `quantities`."""


@dataclass(frozen=True)
class Rejected(Record):
    """A row that was not recorded."""

    row: int
    """From 1; a CSV's heading is not counted."""
    column: str
    reason: str
    """What is wrong, and how to mend it."""
    values: Mapping[str, Any]
    """The row as it came."""


@dataclass(frozen=True)
class UsageReport(Record):
    """What became of the rows of a batch or an import: each is recorded, a duplicate or
    rejected."""

    rows: int = 0
    events: int = 0
    """Rows times the quantities in each, without those that were rejected."""
    recorded: int = 0
    duplicates: int = 0
    """Events that were there before, with the same content; they count once."""
    rejected: int = 0
    """Rows of which something was not recorded."""
    rejections: tuple[Rejected, ...] = ()
    """What was wrong, row by row; not more than the bound of the call."""
    rejected_path: str | None = None
    """The CSV with all of them."""

    @property
    def ok(self) -> bool:
        return not self.rejected

    def __bool__(self) -> bool:
        return self.ok
