"""`audit.sqlite`: the log's events as a table to search in. Made from the log, and only from it.

Invariants:
 1. Exactly once: the place in the log up to which a chain was read is stored in the transaction of
    its rows, with a digest of the last record; when the log has another record there, the table is
    made anew.
 2. One writer at a time: whoever has the seat of `drain`. A reader sees one state of the table.
 3. It has no event of a record that was pruned, once it has caught up.
 4. It may be deleted at any time, and is then made anew; so it need not survive a loss of power.
 5. What is sealed in the log is open here, until the record of its key's erasure is read: then it
    is overwritten, in the transaction that says so.
"""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from ..errors import InvalidValue, StoreDamaged
from . import derived
from .audit_closing import closed, erased_key
from .audit_events import CHAINS, LogRow
from .audit_log import AuditLog

__all__ = ["COLUMNS", "ERASED", "EVENT", "SHIFT", "Projection"]

_T = TypeVar("_T")

FORMAT = 2
APPLICATION_ID = 0x74656E62  # "tenb"
SHIFT = 60
"""A position is the chain's code, shifted, and the sequence."""
_IDS = 500
_LAST = 1000
_FORGET = "DELETE FROM events WHERE position >= ? AND position < ?"
EVENT, ERASED = 0, 9
_ANOTHER = 1 << 62
"""How far a table of another log has come: further than any log is."""

COLUMNS = (
    *("time_ns", "tenant", "tenant_sequence", "event_id", "type", "action", "resource"),
    *("resource_id", "principal", "result", "ip", "user_agent", "request_id", "session_id"),
    *("policy_revision", "reason", "source", "key_id", "rest", "subject_key", "sealed"),
)
"""Those of a reader's row, behind sequence and kind."""

_SCHEMA = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    """CREATE TABLE progress (
        chain INTEGER PRIMARY KEY, log_id TEXT NOT NULL, next INTEGER NOT NULL,
        digest TEXT NOT NULL) STRICT""",
    # position: chain << 60 | sequence, so that each chain is one range.
    # serial: the row of the outbox that the event came from; 0 for the engine's own.
    """CREATE TABLE events (
        position INTEGER PRIMARY KEY, serial INTEGER NOT NULL, time_ns INTEGER NOT NULL,
        tenant TEXT, tenant_sequence INTEGER, event_id TEXT, type TEXT, action TEXT,
        resource TEXT, resource_id TEXT, principal TEXT, result TEXT, ip TEXT, user_agent TEXT,
        request_id TEXT, session_id TEXT, policy_revision INTEGER, reason TEXT, source TEXT,
        key_id TEXT, rest TEXT, subject_key TEXT, sealed TEXT) STRICT""",
)
_INDEX = "CREATE INDEX events_tenant ON events (tenant, time_ns)"
_SEARCH_INDEXES = (
    "CREATE INDEX events_time ON events (time_ns)",
    "CREATE INDEX events_id ON events (event_id)",
    "CREATE INDEX events_principal ON events (tenant, principal, time_ns)",
    "CREATE INDEX events_type ON events (tenant, type, time_ns)",
    "CREATE INDEX events_ip ON events (tenant, ip, time_ns) WHERE ip IS NOT NULL",
    "CREATE INDEX events_request ON events (tenant, request_id) WHERE request_id IS NOT NULL",
    "CREATE INDEX events_session ON events (tenant, session_id, time_ns)"
    " WHERE session_id IS NOT NULL",
    "CREATE INDEX events_subject ON events (subject_key) WHERE subject_key IS NOT NULL",
    f"PRAGMA user_version = {FORMAT}",
)


_NUMBERS = ("sequence", "kind", "time_ns", "tenant_sequence", "policy_revision")
_MARKS = tuple("" if name in _NUMBERS else 0 for name in LogRow._fields)
"""What stands for None in the rows of `AuditLog.batches`: `sqlite3` takes 0.3 µs to find that a
None is nothing that has to be adapted, and a row has half a dozen."""


def _insert(chain: int) -> str:
    """One statement that takes a reader's row as it is, marks and all."""
    sequence, source = "?1", f"?{3 + COLUMNS.index('source')}"
    values = ", ".join(
        f"nullif(?{number}, {mark!r})" for number, mark in enumerate(_MARKS[2:], start=3)
    )
    serial = f"iif({source} GLOB 'outbox [0-9]*', CAST(substr({source}, 8) AS INTEGER), 0)"
    return (
        f"INSERT INTO events (position, serial, {', '.join(COLUMNS)})"  # noqa: S608
        f" VALUES ({chain << SHIFT} | {sequence} | (?2 * 0), {serial}, {values})"
    )


class Projection:
    """The table of one data directory. Any thread, any process; nothing is held between calls."""

    def __init__(self, path: Path, *, search_indexes: bool = True) -> None:
        self.path = path
        self.on_damage: Callable[[str], object] = len
        """Called before the table is made anew because of what is wrong with it."""
        self._search_indexes = search_indexes

    # ------------------------------------------------------------------------------ reading

    def ready(self) -> bool:
        """Whether there is a whole table to read."""
        if not self.path.exists():
            return False
        with self.cursor() as cursor:
            return _format(cursor) == FORMAT

    def usable(self) -> bool:
        """`ready`; a file that SQLite cannot read is not, and is made anew like an absent one."""
        try:
            return self.ready()
        except StoreDamaged:
            return False

    def intact(self) -> bool:
        """Whether SQLite finds nothing wrong with its files."""
        try:
            with self.cursor() as cursor:
                return bool(cursor.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except StoreDamaged:
            return False

    def cursor(self) -> AbstractContextManager[sqlite3.Cursor]:
        """A cursor in one read transaction."""
        return derived.reading(self.path)

    def progress(self) -> dict[str, int]:
        """The next sequence to be read, by chain."""
        with self.cursor() as cursor:
            found = dict(cursor.execute("SELECT chain, next FROM progress"))
        return {chain: found.get(code, 0) for code, chain in enumerate(CHAINS)}

    def covers(self, positions: dict[str, int]) -> bool:
        """Whether it was read up to these places."""
        if not self.usable():
            return False
        progress = self.progress()
        return all(progress[chain] >= place for chain, place in positions.items())

    def known(self, event_ids: Sequence[str]) -> set[str]:
        """Which of these ids, as the log has them, events bear. A table that is not there knows
        none."""
        found: set[str] = set()
        if not self.usable():
            return found
        with self.cursor() as cursor:
            for start in range(0, len(event_ids), _IDS):
                some = event_ids[start : start + _IDS]
                marks = ", ".join("?" * len(some))
                cursor.execute(f"SELECT event_id FROM events WHERE event_id IN ({marks})", some)  # noqa: S608
                found.update(event_id for (event_id,) in cursor)
        return found

    def newest_serial(self) -> int:
        """The newest row of an outbox among the last records of each class; 0: there is none."""
        if not self.usable():
            return 0
        newest = 0
        with self.cursor() as cursor:
            for code in range(len(CHAINS)):
                cursor.execute(
                    "SELECT max(serial) FROM (SELECT serial FROM events WHERE position >= ?"
                    " AND position < ? ORDER BY position DESC LIMIT ?)",
                    (code << SHIFT, (code + 1) << SHIFT, _LAST),
                )
                newest = max(newest, cursor.fetchone()[0] or 0)
        return newest

    # ------------------------------------------------------------------------------ writing

    def catch_up(self, log: AuditLog, rows_max: int | None = None) -> bool:
        """Read what is new in the log, as far as it is on the disk now. False: `rows_max` was the
        end, and there is more. For who has the seat of `drain`."""
        return _beside_prunes(log, lambda: self._catch_up(log, rows_max))

    def _catch_up(self, log: AuditLog, rows_max: int | None) -> bool:
        if not self.usable():
            if self.path.exists() and not self.intact():
                self.on_damage("SQLite cannot read it")
            self.rebuild(log)
            return True
        progress, digests = self._state(log.id)
        positions = log.positions()
        if progress == positions:
            return True
        kept = log.kept_from()
        for chain, done in progress.items():
            # What was pruned cannot be compared any more.
            same = done <= kept[chain] or self._agrees(log, chain, done, digests[chain])
            if done > positions[chain] or not same:
                if done != _ANOTHER:
                    self.on_damage("it has records that the log has not")
                self.rebuild(log)
                return True
        left = rows_max
        with derived.writing(self.path) as connection:
            for code, chain in enumerate(CHAINS):
                if kept[chain]:
                    connection.execute(_FORGET, (code << SHIFT, code << SHIFT | kept[chain]))
                start = max(progress[chain], kept[chain])
                # Not to the end of the files: others may write faster than this reads.
                end = positions[chain] if left is None else min(positions[chain], start + left)
                for rows in log.batches(chain, start, end):
                    connection.execute("BEGIN IMMEDIATE")
                    _take(connection, code, log.id, rows)
                    connection.execute("COMMIT")
                    left = None if left is None else left - len(rows)
                if left == 0:
                    return False
        return True

    def rebuild(self, log: AuditLog) -> int:
        """Make the table anew, in one transaction: readers have the old one until then, unless
        SQLite cannot read it any more."""
        return _beside_prunes(log, lambda: self._rebuild(log))

    def _rebuild(self, log: AuditLog) -> int:
        if self.path.exists() and not self.intact():
            self.remove()
        with derived.writing(self.path) as connection:
            connection.execute("BEGIN IMMEDIATE")
            try:
                self._make(connection)
                count = 0
                kept = log.kept_from()
                for code, chain in enumerate(CHAINS):
                    for rows in log.batches(chain, kept[chain]):
                        count += _take(connection, code, log.id, rows)
                # Sorting what is there costs less than keeping it sorted.
                for statement in (_INDEX, *(_SEARCH_INDEXES if self._search_indexes else ())):
                    connection.execute(statement)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
        return count

    def forget(self) -> bool:
        """Let go of what was overwritten: empties the file of changes. False: somebody reads."""
        with derived.writing(self.path) as connection:
            return derived.empty_changes(connection)

    def remove(self) -> None:
        """Delete the files, for a table that SQLite cannot read any more."""
        derived.remove(self.path)

    @staticmethod
    def _make(connection: sqlite3.Connection) -> None:
        for kind, name in connection.execute(
            "SELECT type, name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            connection.execute(f'DROP {kind} "{name}"')
        for statement in _SCHEMA:
            connection.execute(statement)

    def _state(self, log_id: str) -> tuple[dict[str, int], dict[str, str]]:
        with self.cursor() as cursor:
            rows = cursor.execute("SELECT chain, log_id, next, digest FROM progress").fetchall()
        found = {chain: (done, digest) for chain, log, done, digest in rows if log == log_id}
        if rows and not found:
            found = dict.fromkeys(range(len(CHAINS)), (_ANOTHER, ""))
        progress = {chain: found.get(code, (0, ""))[0] for code, chain in enumerate(CHAINS)}
        return progress, {c: found.get(code, (0, ""))[1] for code, c in enumerate(CHAINS)}

    @staticmethod
    def _agrees(log: AuditLog, chain: str, done: int, digest: str) -> bool:
        """Whether the last record that was read is the log's still: a power cut may take what
        nobody had waited for, and other records get its place."""
        last = next(log.rows(chain, done - 1, done), None) if done else None
        return done == 0 or (last is not None and _digest(last) == digest)


def _beside_prunes(log: AuditLog, read: Callable[[], _T]) -> _T:
    """What `read` gives; once more when another process pruned what it was about to read."""
    while True:
        kept = log.kept_from()
        try:
            return read()
        except InvalidValue:
            if log.kept_from() == kept:
                raise


def _take(
    connection: sqlite3.Connection, code: int, log_id: str, rows: list[tuple[Any, ...]]
) -> int:
    events = [row for row in rows if row[1] == EVENT]
    connection.executemany(_insert(code), events)
    if len(events) < len(rows):
        for row in rows:
            if row[1] == ERASED:
                _close(connection, erased_key(_unmarked(row)))
    last = _unmarked(rows[-1])
    connection.execute(
        "INSERT INTO progress (chain, log_id, next, digest) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (chain) DO UPDATE SET log_id = excluded.log_id, next = excluded.next,"
        " digest = excluded.digest",
        (code, log_id, last.sequence + 1, _digest(last)),
    )
    return len(events)


def _close(connection: sqlite3.Connection, key: str) -> None:
    """Overwrite what was sealed with that key."""
    columns = ", ".join(COLUMNS)
    query = f"SELECT position, 0, {columns} FROM events WHERE subject_key = ?"  # noqa: S608
    rows = [closed(LogRow._make(row)) for row in connection.execute(query, (key,))]
    values = ", ".join(f"{name} = ?" for name in COLUMNS)
    connection.executemany(
        f"UPDATE events SET {values} WHERE position = ?",  # noqa: S608
        [(*row[2:], row.sequence) for row in rows],
    )


def _unmarked(row: tuple[Any, ...]) -> LogRow:
    return LogRow._make(
        None if type(value) is type(mark) and value == mark else value
        for value, mark in zip(row, _MARKS, strict=True)
    )


def _digest(row: LogRow) -> str:
    """Tells a record from another one at its place, and is the same before and after an erasure."""
    place = (row.sequence, row.kind, row.time_ns, row.tenant, row.tenant_sequence)
    lasting = (*place, row.event_id, row.type, row.source, row.subject_key)
    return hashlib.sha256(repr(lasting).encode()).hexdigest()


def _format(cursor: sqlite3.Cursor) -> int:
    return int(cursor.execute("PRAGMA user_version").fetchone()[0])
