"""Usage as billing takes it; `tenancy.billing` exports it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

__all__ = ["Cumulative"]


@dataclass(frozen=True, slots=True)
class Cumulative:
    """What the usage of one metric comes to from the start of a span until a moment in it.

    For sums and counts the quantity grows from one moment to the next; for the other aggregations
    (the largest, the last, distinct, weighted by time) it is what it is at that moment.
    """

    until: datetime
    """Usage before this moment counts."""
    quantity: Decimal
    events: int = 0
    """How many events it was computed from."""
    digest: str = ""
    """Hexadecimal SHA-256 over those events; "" where there is none."""
