"""Which records go into an archive next: ranges of chains, cut where the log's segments are cut, so
that no part is larger than a segment and pruning finds the same parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from .._text import to_ns
from .audit_log import AuditLog
from .log_records import first_kept, segments

__all__ = ["new_ranges", "time_ranges"]


def new_ranges(
    log: AuditLog, covered: Sequence[tuple[str, int, int]]
) -> Iterator[tuple[str, int, int]]:
    """What the log has behind these parts (chain, first, last; ascending), which may not follow
    one another; cut where the log's segments are, so that each is a part of limited size."""
    log.flush()
    for chain, end in log.positions().items():
        start = first_kept(log.directory, chain) or 0
        for name, first, last in covered:
            if name == chain and first <= start:
                start = max(start, last + 1)
        yield from _cut(log.directory, chain, start, end)


def time_ranges(
    log: AuditLog, since: datetime | None, until: datetime | None
) -> Iterator[tuple[str, int, int]]:
    """The shortest range of each chain with all its records of `since` ≤ time < `until`."""
    low = -(1 << 63) if since is None else to_ns(since, "since")
    high = (1 << 63) - 1 if until is None else to_ns(until, "until")
    log.flush()
    for chain, end in log.positions().items():
        start = first_kept(log.directory, chain) or 0
        wanted = [row.sequence for row in log.rows(chain, start, end) if low <= row.time_ns < high]
        if wanted:
            yield from _cut(log.directory, chain, wanted[0], wanted[-1] + 1)


def _cut(directory: Path, chain: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    firsts = [first for first, _ in segments(directory, chain) if start < first < end]
    bounds = [start, *firsts, end]
    for low, high in pairwise(bounds):
        if low < high:
            yield chain, low, high
