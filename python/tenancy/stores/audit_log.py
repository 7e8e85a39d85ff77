"""The log of a data directory as this process has it open.

Invariants:
 1. The compiled log is opened once per process and directory; a forked child goes on with it.
 2. The log's thread runs in every process, also where the host's background work is off: the
    process that leads the flushing serves all others, and must not fall asleep as the leader.
 3. Errors of the log come out as ours, with what was found and the remedy.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, cast

from .. import _core
from .._text import NS
from ..errors import StateUnavailable, StoreClosed, StoreDamaged, StoreNotWritable, raise_core
from .audit_events import CHAINS, LogRecord, LogRow
from .directory import DataDirectory
from .log_waits import LogWaits

__all__ = ["AuditLog", "Erased", "read_chain", "translated_log"]

Submit = Callable[[], tuple[str, int] | None]
"""Commits a fact: its id and its end in the ring; None: it was not for this function."""

_BATCH = 4096
_LARGE_BATCH = 16_384
_NOT_WRITTEN = ("IO", "IO_ERROR")
_RECORDED_BUT = "recorded, but"
_LOOP_WAIT_NS = 1_000_000
"""How long an event loop stands still for room in the log, before a thread waits for it."""


class Erased(NamedTuple):
    """A key that was destroyed, and the record of chain `security` that says so."""

    key: str
    sequence: int
    time_ns: int


class AuditLog:
    """`log/` of a data directory. Any thread; survives forks."""

    def __init__(self, directory: DataDirectory, clock: _core.Clock) -> None:
        self.directory = directory.path / "log"
        self.keys = directory.path / "keys"
        with translated_log(self.directory):
            self.core = _core.Log(str(directory.path), clock=clock)
        self._waits = LogWaits(self.core)
        self._closed = False

    @property
    def id(self) -> str:
        return self.core.id

    @property
    def public_key(self) -> str:
        """The verifier key (C2SP): all that a receipt or an export is checked with."""
        return self.core.public_key.strip()

    def positions(self) -> dict[str, int]:
        """The next sequence of each chain."""
        with translated_log(self.directory):
            return {chain: self.core.position(chain) for chain in CHAINS}

    def kept_from(self) -> dict[str, int]:
        """By chain, the first sequence whose record was not pruned."""
        with translated_log(self.directory):
            return _core.log_kept_from(str(self.directory))

    def prune(self, chain: str, before: int) -> dict[str, Any]:
        """As `_core.Log.prune`: whole segments that end at or before that sequence go for good."""
        with translated_log(self.directory):
            return self.core.prune(chain, before)

    def append(self, events: list[LogRecord]) -> None:
        """Write facts in this order; they are synced to disk when this returns."""
        with translated_log(self.directory):
            self.core.append_many(events, ack="disk")

    def committed(self, submit: Submit, ack: str) -> str | None:
        """The id of the fact that `submit` has committed, if it has; it is at `ack` then."""
        core = self.core  # that takes the fact, whoever closes it meanwhile
        plain = submit()
        if plain is None:
            return None
        with translated_log(self.directory):
            core.wait(plain[1], ack)
        return plain[0]

    async def acommitted(self, submit: Submit, ack: str) -> str | None:
        """`committed` for asyncio."""
        waits = self._waits  # as there
        plain = submit()
        if plain is None:
            return None
        if ack != "ring":
            with translated_log(self.directory):
                await waits.future(plain[1], ack)
        return plain[0]

    def emit(self, record: LogRecord, ack: str) -> None:
        """Write one fact; it is at `ack` when this returns."""
        chain, tenant, time_ns, fields, subject, sealed = record
        with translated_log(self.directory):
            self.core.append(
                chain, fields, tenant=tenant, time_ns=time_ns, ack=ack, subject=subject,
                sealed=sealed,
            )  # fmt: skip

    async def aemit(self, record: LogRecord, ack: str) -> None:
        """`emit` for asyncio; while there is no room, a thread waits for it."""
        chain, tenant, time_ns, fields, subject, sealed = record
        waits = self._waits  # with the log that takes the fact, whoever closes it meanwhile
        submit = partial(
            self.core.submit, chain, fields, tenant=tenant, time_ns=time_ns, subject=subject,
            sealed=sealed,
        )  # fmt: skip
        with translated_log(self.directory):
            try:
                _, end = submit(wait_ns=_LOOP_WAIT_NS)
            except _core.CoreError as error:
                if error.args[0] != "FULL":
                    raise
                _, end = await asyncio.to_thread(submit)
            if ack != "ring":
                await waits.future(end, ack)

    def flush(self, ack: str = "disk") -> None:
        with translated_log(self.directory):
            self.core.flush(ack)

    def readable(self, wait_s: float) -> bool:
        """Wait until what was appended so far can be read: synced, since a reader never sees what
        a loss of power takes back. False: the log cannot be written, or not within `wait_s`
        seconds."""
        with translated_log(self.directory):
            if self.core.health()["failing"]:
                return False
            try:
                self.core.flush("disk", wait_ns=int(wait_s * NS))
            except _core.CoreError as error:
                if error.args[0] not in _NOT_WRITTEN:
                    raise
                return False
        return True

    def checkpoint(self) -> str:
        with translated_log(self.directory):
            return self.core.checkpoint()

    def tend(self) -> None:
        """What falls due by the clock; done by the log's own thread where it has one."""
        with translated_log(self.directory):
            self.core.tend()

    def rows(self, chain: str, start: int, end: int | None = None) -> Iterator[LogRow]:
        with translated_log(self.directory):
            yield from read_chain(self.reader(), chain, start, end)

    def batches(
        self, chain: str, start: int, end: int | None = None
    ) -> Iterator[list[tuple[Any, ...]]]:
        """As `rows`, many at a time and as plain tuples, for who takes all there are; what would
        be None is 0 among texts and "" among numbers."""
        with translated_log(self.directory):
            yield from _batches(self.reader(), chain, start, end, _LARGE_BATCH, marked=True)

    def reader(self) -> _core.LogReader:
        """Opens what is sealed, as far as its keys are there."""
        return _core.LogReader(str(self.directory), str(self.keys))

    def subject_key(self, subject: str, tenant: str | None) -> str | None:
        """The id of the key that seals what is about a subject; None when it has none."""
        with translated_log(self.directory):
            return self.core.subject_key(subject, tenant=tenant)

    def erase(self, subject: str, tenant: str | None, by: str, reason: str) -> Erased | None:
        """Destroy the key of a subject; None when nothing is sealed under one."""
        with translated_log(self.directory):
            try:
                done = self.core.erase(subject, tenant=tenant, by=by, reason=reason)
            except _core.CoreError as error:
                if error.args[:1] == ("NOT_FOUND",):
                    return None
                raise
        return Erased(*done)

    def finish_erasure(self) -> None:
        """Finish an erasure whose process died."""
        with translated_log(self.directory):
            self.core.finish_erasure()

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        with translated_log(self.directory):
            self.core.close()
        self.core = self._waits = cast(Any, _Closed())


class _Closed:
    def __getattr__(self, name: str) -> Any:
        raise StoreClosed("this Tenancy was closed")


def read_chain(
    reader: _core.LogReader, chain: str, start: int, end: int | None = None
) -> Iterator[LogRow]:
    """Records of a chain from sequence `start` on, as far as they are in files, or to `end`."""
    for rows in _batches(reader, chain, start, end, _BATCH):
        yield from map(LogRow._make, rows)


def _batches(
    reader: _core.LogReader,
    chain: str,
    start: int,
    end: int | None,
    most: int,
    *,
    marked: bool = False,
) -> Iterator[list[tuple[Any, ...]]]:
    while end is None or start < end:
        limit = most if end is None else min(most, end - start)
        rows = reader.rows(chain, start, limit, marked=marked)
        if not rows:
            return
        yield rows
        start = rows[-1][0] + 1


@contextmanager
def translated_log(path: Path | str) -> Iterator[None]:
    try:
        yield
    except _core.CoreError as error:
        _raise(os.fspath(path), error)


def _raise(path: str, error: _core.CoreError) -> NoReturn:
    code, message = (*error.args, "", "")[:2]
    if code in ("DAMAGED", "FOREIGN", "CORRUPT"):
        raise StoreDamaged(
            f"{path}: {message}",
            remedy="`tenancy audit verify` says what is wrong; restore the directory from a backup",
        ) from error
    if code in _NOT_WRITTEN:
        raise StoreNotWritable(
            f"{path}: {message}", remedy="free some space, or mend the disk"
        ) from error
    if code == "CONFLICT" and message.startswith(_RECORDED_BUT):
        raise StoreClosed(f"{path}: {message}") from error
    if code in ("FULL", "UNAVAILABLE"):
        raise StateUnavailable(f"{path}: {message}") from error
    raise_core(error, field="log")
