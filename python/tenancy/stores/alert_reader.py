"""The log as alert rules read it: the records of all chains in the order of their times.

A chain is read in its own order; between chains the one whose times are behind goes first, so that
a long way to catch up does not tear apart what happened together.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from itertools import islice

from .alert_store import Place
from .audit_events import CHAINS, LogRow
from .audit_log import AuditLog

__all__ = ["LogMoved", "read"]


class LogMoved(Exception):  # noqa: N818 - it is no error of anybody
    """The log has another record where a chain was read to: it was cut and went on."""


def read(
    log: AuditLog, places: Mapping[str, Place], most: int
) -> tuple[list[LogRow], dict[str, Place]]:
    """At most `most` records from these places on, and the places behind them.

    Raises `LogMoved`.
    """
    ends = log.positions()
    behind = [chain for chain in CHAINS if ends[chain] != places.get(chain, (0, ""))[0]]
    kept = log.kept_from() if behind else {}
    ordered = heapq.merge(
        *(_timed(log, chain, places.get(chain, (0, "")), kept[chain]) for chain in behind),
        key=lambda item: item[0],
    )
    rows, after = [], dict(places)
    for _, chain, row in islice(ordered, most):
        rows.append(row)
        after[chain] = (row.sequence + 1, _mark(row))
    return rows, after


def _timed(log: AuditLog, chain: str, place: Place, kept: int) -> Iterator[tuple[int, str, LogRow]]:
    """Records behind a place, each with the newest time so far; `kept` is the first that was not
    pruned."""
    start, mark = place
    newest = 0
    found = log.rows(chain, max(start - 1, kept))
    if start > kept:  # the record before it is still the one that was read
        last = next(found, None)
        if last is None or _mark(last) != mark:
            raise LogMoved
    for row in found:
        newest = max(newest, row.time_ns)
        yield newest, chain, row


def _mark(row: LogRow) -> str:
    """What tells a record from another in its place, also when its texts were erased."""
    return f"{row.time_ns} {row.event_id or ''}"
