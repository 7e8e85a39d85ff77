"""`usage.sqlite`: the usage events of the log as a table to sum. Made from the log, only from it.

Invariants:
 1. Exactly once: the place in the log up to which it was read is stored in the transaction of its
    rows. A table of another log, or one that is further than the log, is made anew.
 2. One writer at a time: whoever has the lock of `usage.lock`. A reader sees one state.
 3. A row stays when a correction or a cancellation ends it: `ended` is the place from which on it
    does not count. So what counted at an earlier place of the log can be told at any time.
 4. It has no event of a record that was pruned, once it has caught up.
 5. It has no event of a tenant whose usage was purged, once it has caught up; nor after it was made
    anew from a log that still has them.
 6. It may be deleted at any time, and is then made anew; so it need not survive a loss of power.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from ..errors import StateUnavailable, StoreDamaged
from . import derived
from .database import translated
from .usage_log import LogEvent, UsageLog
from .usage_units import parts_of, units_of_text

__all__ = ["UsageProjection"]

FORMAT = 1
APPLICATION_ID = 0x74656E75  # "tenu"
_CHUNK = 16_384

_ENDED = "CREATE INDEX IF NOT EXISTS events_ended ON events (ended) WHERE ended IS NOT NULL"
"""What ended since a place. No format of its own: a program that does not know it keeps it up."""
_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """CREATE TABLE progress (
        id INTEGER PRIMARY KEY, log_id TEXT NOT NULL, next INTEGER NOT NULL,
        kept_from INTEGER NOT NULL) STRICT""",
    # Tenants, metrics and sources: each text once.
    "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE) STRICT",
    # The quantity is high * 10^13 + middle, and low * 10^-12.
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY, tenant INTEGER NOT NULL, metric INTEGER NOT NULL,
        time_ns INTEGER NOT NULL, high INTEGER NOT NULL, middle INTEGER NOT NULL,
        low INTEGER NOT NULL, source INTEGER NOT NULL, event_id TEXT NOT NULL, properties TEXT,
        recorded_ns INTEGER NOT NULL, corrects INTEGER NOT NULL, ended INTEGER) STRICT""",
    "CREATE INDEX events_time ON events (tenant, metric, time_ns)",
    "CREATE INDEX events_id ON events (event_id)",
    _ENDED,
    f"PRAGMA user_version = {FORMAT}",
)
_INSERT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"
_END = (
    "UPDATE events SET ended = ? WHERE event_id = ? AND tenant = ? AND source = ?"
    " AND ended IS NULL AND position < ?"
)


class UsageProjection:
    """The table of one data directory. Any thread, any process; nothing is held between calls."""

    def __init__(
        self, directory: Path, gone: Callable[[], frozenset[str]] = frozenset[str]
    ) -> None:
        """`gone` says of which tenants nothing is kept."""
        self.path = directory / "usage.sqlite"
        self._gone = gone
        self._lock = directory / "usage.lock"

    def cursor(self) -> AbstractContextManager[sqlite3.Cursor]:
        """A cursor in one read transaction."""
        return derived.reading(self.path)

    @contextmanager
    def caught_up(self, log: UsageLog, end: int) -> Iterator[sqlite3.Cursor]:
        """A cursor on what the log has before sequence `end`, or more."""
        with ExitStack() as opened:
            cursor = self._at(log, end, opened)
            if cursor is None:
                self.catch_up(log, end)
                cursor = opened.enter_context(self.cursor())
            yield cursor

    def catch_up(self, log: UsageLog, end: int, chunks: int | None = None) -> bool:
        """Read the log up to the record before sequence `end`. False: `chunks` batches were not
        enough."""
        with self._locked(), derived.writing(self.path) as connection:
            self._prepare(connection, log, end)
            self._forget_pruned(connection, log)
            gone = self._gone()
            _forget_tenants(connection, gone)
            while self._next(connection) < end:
                if chunks is not None:
                    if not chunks:
                        return False
                    chunks -= 1
                if not self._step(connection, log, end, gone):
                    raise StateUnavailable(f"{self.path}: the log ends before record {end}")
        return True

    def rebuild(self, log: UsageLog, end: int) -> None:
        """Make it anew, whatever state its files are in."""
        with self._locked():
            derived.remove(self.path)
        self.catch_up(log, end)

    # ------------------------------------------------------------------------------ inside

    def _at(self, log: UsageLog, end: int, opened: ExitStack) -> sqlite3.Cursor | None:
        """A cursor where the table is the log's and has enough of it."""
        if not self.path.exists():
            return None
        try:
            with ExitStack() as kept:
                cursor = kept.enter_context(self.cursor())
                if cursor.execute("PRAGMA user_version").fetchone()[0] != FORMAT:
                    return None
                found = cursor.execute("SELECT log_id, next FROM progress").fetchone()
                if found is None or found[0] != log.id or found[1] < end:
                    return None
                if found[1] > end and found[1] > log.position():
                    return None
                opened.push(kept.pop_all())
                return cursor
        except StoreDamaged:
            with self._locked():
                derived.remove(self.path)
            return None

    def _prepare(self, connection: sqlite3.Connection, log: UsageLog, end: int) -> None:
        """An empty table where there is none that goes with the log."""
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version == FORMAT:
            log_id, done = connection.execute("SELECT log_id, next FROM progress").fetchone()
            # `end` was asked for before the lock was there: others may have gone beyond it.
            if log_id == log.id and (done <= end or done <= log.position()):
                connection.execute(_ENDED)  # tables of earlier versions have none
                return
        connection.execute("BEGIN IMMEDIATE")
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            connection.execute(f'DROP TABLE "{name}"')
        for statement in _SCHEMA:
            connection.execute(statement)
        connection.execute("INSERT INTO progress VALUES (1, ?, ?, 0)", (log.id, log.kept_from()))
        connection.execute("COMMIT")

    def _forget_pruned(self, connection: sqlite3.Connection, log: UsageLog) -> None:
        kept = log.kept_from()
        before = connection.execute("SELECT kept_from FROM progress").fetchone()[0]
        if kept > before:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("DELETE FROM events WHERE position < ?", (log.first_of(kept),))
            connection.execute(
                "UPDATE progress SET kept_from = ?, next = max(next, ?)", (kept,) * 2
            )
            connection.execute("COMMIT")

    @staticmethod
    def _next(connection: sqlite3.Connection) -> int:
        return int(connection.execute("SELECT next FROM progress").fetchone()[0])

    def _step(
        self, connection: sqlite3.Connection, log: UsageLog, end: int, gone: frozenset[str]
    ) -> bool:
        """One batch. False: there is nothing to read."""
        connection.execute("BEGIN IMMEDIATE")
        try:
            start = self._next(connection)
            events, reached = log.read(start, _CHUNK, end)
            _take(connection, [one for one in events if one.tenant not in gone] if gone else events)
            connection.execute("UPDATE progress SET next = ?", (reached,))
            connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        return reached > start

    @contextmanager
    def _locked(self) -> Iterator[None]:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        with translated(self._lock):
            handle = os.open(self._lock, flags, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _forget_tenants(connection: sqlite3.Connection, gone: frozenset[str]) -> None:
    """Delete what is there of tenants whose usage was purged, and empty the file of changes."""
    if not gone:
        return
    query = (
        "SELECT id FROM names WHERE name IN (SELECT value FROM json_each(?))"
        " AND EXISTS (SELECT 1 FROM events WHERE tenant = names.id)"
    )
    numbers = connection.execute(query, (json.dumps(sorted(gone)),)).fetchall()
    if not numbers:
        return
    connection.execute("BEGIN IMMEDIATE")
    connection.executemany("DELETE FROM events WHERE tenant = ?", numbers)
    connection.execute("COMMIT")
    derived.empty_changes(connection)


def _take(connection: sqlite3.Connection, events: Sequence[LogEvent]) -> None:
    """Rows in the order of the log: a correction ends what was there before it, in this batch or
    earlier."""
    names = _numbers(connection, {n for e in events for n in (e.tenant, e.metric, e.source)})
    rows: list[tuple[object, ...]] = []
    for event in events:
        place = (names[event.tenant], names[event.source])
        if event.action != "record":
            connection.executemany(_INSERT, rows)
            rows.clear()
            ended = (event.position, event.id, *place, event.position)
            connection.execute(_END, ended)
            if event.action == "cancel":
                continue
        rows.append(
            (
                event.position, place[0], names[event.metric], event.time_ns,
                *parts_of(units_of_text(event.quantity)), place[1], event.id, event.properties,
                event.recorded_ns, int(event.action != "record"),
            )
        )  # fmt: skip
    connection.executemany(_INSERT, rows)


def _numbers(connection: sqlite3.Connection, names: Iterable[str]) -> dict[str, int]:
    numbers = {}
    for name in sorted(names):
        connection.execute("INSERT OR IGNORE INTO names (name) VALUES (?)", (name,))
        found = connection.execute("SELECT id FROM names WHERE name = ?", (name,)).fetchone()
        numbers[name] = int(found[0])
    return numbers
