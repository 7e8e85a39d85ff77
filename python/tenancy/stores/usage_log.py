"""Usage events on their way into the chain `usage` of the log, and out of it."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import _core
from ..errors import InvalidValue
from .audit_log import AuditLog, translated_log

__all__ = [
    "CONFLICT",
    "DUPLICATE",
    "ID_BYTES_MAX",
    "PROPERTIES_BYTES_MAX",
    "RECORDED",
    "SOURCE_BYTES_MAX",
    "UNKNOWN",
    "Draft",
    "LogEvent",
    "UsageLog",
]

ID_BYTES_MAX = 256
SOURCE_BYTES_MAX = 1024
PROPERTIES_BYTES_MAX = 16_384
CHAIN = "usage"
ACKS = ("ring", "os", "disk")
SHIFT = 12
"""A record holds fewer events than 2^12."""
READABLE_NS = 10_000_000_000
"""How long a reader waits for what is in the log's ring to come onto the disk."""
RECORDED, DUPLICATE, CONFLICT, UNKNOWN = range(4)
"""What became of an event."""


class Draft(NamedTuple):
    """An event that is to be recorded."""

    tenant: str
    metric: str
    id: str
    source: str
    time_ns: int | None
    """None: when it is recorded."""
    quantity: str
    properties: str | None


class LogEvent(NamedTuple):
    """An event of the log."""

    position: int
    """Sequence of its record, shifted, and its place in it."""
    tenant: str
    metric: str
    id: str
    source: str
    time_ns: int
    recorded_ns: int
    quantity: str
    properties: str | None
    action: str


class UsageLog:
    """The chain `usage` of one data directory. Any thread; survives forks."""

    def __init__(self, log: AuditLog, directory: Path, clock: _core.Clock) -> None:
        self._log = log
        self._directory = directory
        self._clock = clock
        self._native: _core.UsageLog | None = None
        self._opening = threading.Lock()
        self._readable = -1

    @property
    def id(self) -> str:
        return self._log.id

    def position(self) -> int:
        """The next sequence of the chain."""
        with translated_log(self._log.directory):
            return self._log.core.position(CHAIN)

    def kept_from(self) -> int:
        """The first sequence whose record was not pruned."""
        return self._log.kept_from()[CHAIN]

    @staticmethod
    def first_of(sequence: int) -> int:
        """Place of the first event of a record."""
        return sequence << SHIFT

    def readable(self) -> int:
        """Make what was recorded so far readable: synced, since a reader never sees what a loss of
        power takes back. Up to which sequence. Raises `StoreNotWritable` when the disk does not
        take it: a sum that lacks something would be wrong without saying so."""
        end = self.position()
        if end != self._readable:
            with translated_log(self._log.directory):
                self._log.core.flush("disk", wait_ns=READABLE_NS)
            self._readable = end
        return end

    def record(self, drafts: Sequence[Draft], action: str, ack: str) -> bytes:
        """What became of each event, in order: `RECORDED`, `DUPLICATE`, `CONFLICT`, `UNKNOWN`."""
        tenants, metrics, ids, sources, times, quantities, properties = zip(*drafts, strict=True)
        columns = {
            "tenants": list(tenants),
            "metrics": list(metrics),
            "ids": list(ids),
            "sources": list(sources),
            "times_ns": list(times),
            "quantities": list(quantities),
            "properties": list(properties),
            "actions": action,
        }
        return self.record_columns(columns, ack)

    def record_columns(self, columns: Mapping[str, Any], ack: str) -> bytes:
        """The same of whole columns, as `_core.UsageLog.record` takes them."""
        if ack not in ACKS:
            raise InvalidValue("ack", f"{ack!r}", remedy=f"one of {', '.join(ACKS)}")
        with translated_log(self._log.directory):
            return self._core().record(**columns, ack=ack).statuses

    def read(self, after: int, limit: int, end: int) -> tuple[list[LogEvent], int]:
        """Events of the records from sequence `after` on and before `end`, about `limit`, as far as
        they can be read; and where to go on."""
        with translated_log(self._log.directory):
            batch = self._core().read(after, limit)
            rows = batch.rows()
        reached = batch.next
        if reached > end:
            rows = [row for row in rows if row[0] < end]
            reached = end
        return [_event(*row) for row in rows], reached

    def settle(self) -> None:
        """Make the index of ids durable, where this process has it open."""
        if self._native is not None:
            with translated_log(self._log.directory):
                self._native.settle()

    def close(self) -> None:
        """Let go of the index of ids; the log is closed by whoever opened it."""
        native, self._native = self._native, None
        if native is not None:
            with translated_log(self._log.directory):
                native.close()

    def _core(self) -> _core.UsageLog:
        if self._native is None:
            with self._opening:
                if self._native is None:
                    log = self._log.core
                    self._native = _core.UsageLog(log, str(self._directory), clock=self._clock)
        return self._native


def _event(
    sequence: int,
    number: int,
    recorded_ns: int,
    tenant: str,
    metric: str,
    source: str,
    id: str,  # noqa: A002 - the field's name
    time_ns: int,
    quantity: str,
    properties: str | None,
    action: str,
) -> LogEvent:
    place = sequence << SHIFT | number
    return LogEvent(
        place, tenant, metric, id, source, time_ns, recorded_ns, quantity, properties, action
    )
