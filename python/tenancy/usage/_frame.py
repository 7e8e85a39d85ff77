"""Metered usage as a frame, for forecasts, what-if and data frames of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..frames import Frame
from ._records import Usage, UsageRow

__all__ = ["usage_frame"]


def usage_frame(found: Iterable[Usage]) -> Frame:
    """The rows of aggregates without groups, each series from its first row with events on."""
    rows = [(usage, row) for usage in found for row in _begun(usage.rows)]
    return Frame(
        {
            "tenant": [usage.tenant for usage, _ in rows],
            "metric": [usage.metric for usage, _ in rows],
            "time": [row.since for _, row in rows],
            "quantity": [row.quantity for _, row in rows],
            "events": [row.events for _, row in rows],
        },
        amounts=["quantity"],
        texts=["tenant", "metric"],
        times=["time"],
    )


def _begun(rows: Iterable[UsageRow]) -> Iterator[UsageRow]:
    begun = False
    for row in rows:
        begun = begun or row.events > 0
        if begun:
            yield row
