"""What alerts are to users: frozen records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from .records import Record

__all__ = ["Alert", "Delivery"]


@dataclass(frozen=True)
class Alert(Record):
    """A rule found what it looks for."""

    id: str
    """The same wherever and however often it is delivered; also the id of its audit fact."""
    rule: str
    severity: str
    tenant: str | None
    """The tenant that all its facts belong to; None: of several, or of none."""
    group: Mapping[str, str]
    """The values of the rule's `by`."""
    time: datetime
    """When it was raised."""
    first: datetime
    last: datetime
    """Times of its first and its last fact."""
    count: int
    """Facts in its window, or different values where the rule counts those."""
    summary: str = ""
    facts: Sequence[str] = ()
    """Ids of its facts, the first twenty."""
    values: Sequence[str] = ()
    """The different values, the first twenty."""
    more: int = 0
    """Facts that came in the quiet time after it."""
    acknowledged: datetime | None = None
    acknowledged_by: str | None = None

    @property
    def title(self) -> str:
        """One line for people."""
        about = ", ".join(f"{name} {value}" for name, value in self.group.items())
        return f"{self.rule} ({self.severity}){': ' if about else ''}{about}"


@dataclass(frozen=True)
class Delivery(Record):
    """An alert on its way to one destination."""

    alert: str
    destination: str
    status: str
    """pending, delivered or dead."""
    attempts: int
    next: datetime | None = field(default=None)
    """When it is tried again; None unless pending."""
    delivered: datetime | None = None
    error: str | None = None
    """What went wrong the last time; never a secret."""
