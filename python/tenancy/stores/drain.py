"""The outbox drains into the log: every fact once, in the order of its chain.

What may be killed at any instruction:

    A  the batch is announced: up to which serial, and where the chains end before it   (store)
    B  its facts are appended and synced                                                (log)
    C  the batch is done                                                                (store)

A drain that finds a batch announced and not done reads the log from the announced places on and
appends what is not there; before it does, it announces again, at places that are not later. Only
one drain of the host runs at a time: the seat is a file lock that the kernel frees at death.

A fact is in the log once by its id, whatever else happens: what the projection knows is not
appended. So a store that was put back to an older copy beside its log, which has rows that the log
has already, doubles nothing; `_check_age` notices it and says so with a fact.

Rows leave the outbox when the projection has them as well, so that a search which reads the outbox
and then the projection always finds every fact.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import Connection

from .. import _core
from ..errors import StoreBusy
from . import outbox
from .audit_events import CHAINS, OutboxRow, log_id_of, outbox_serial, record_of
from .audit_log import AuditLog
from .database import Database
from .directory import DataDirectory
from .election import Election
from .loading import catalog_document
from .projection import Projection
from .revision import newest_revision

__all__ = ["EVERY_S", "OUTBOX_COLUMNS", "Drain"]

EVERY_S = 0.5
BATCH = 1000
WAIT_S = 5.0
"""How long a writer may hold the store before a turn is given up; the next one follows soon."""
READABLE_S = 2.0
"""How long a search waits for what is in the log's ring to come onto the disk."""
CATCH_UP_S = 60.0
ROWS = 20_000
"""What one turn in the background, opening and closing project at most: a flood of refusals must
hold up neither the decisions of the same process nor its end."""

OUTBOX_COLUMNS = (
    "seq, event_id, time_ns, tenant_id, principal, type, action, resource, resource_id, result, "
    "context, revision, subject"
)


@dataclass(frozen=True)
class _State:
    """The row of `drain`."""

    log_id: str
    drained: int
    through: int
    positions: dict[str, int]

    @property
    def under_way(self) -> bool:
        return self.through > self.drained


class Drain:
    """Moves facts from the outbox through the log into the projection. Any thread."""

    def __init__(
        self,
        directory: DataDirectory,
        database: Database,
        log: AuditLog,
        projection: Projection,
        clock: _core.Clock,
    ) -> None:
        self._clock = clock
        self._database = database
        self._log = log
        self._projection = projection
        self._seat = Election(directory.path / "drain")
        self._lock = threading.Lock()
        self._projected: dict[str, int] = {}
        self._age_checked = False
        self._document = ""
        self._names: frozenset[str] = frozenset()

    def run(self, turns: int = 20, *, wait_s: float = 0.0, rows: int | None = None) -> bool:
        """Move what there is, in at most `turns` batches, and project at most `rows` rows. False:
        another drain is at it, and was for `wait_s` seconds."""
        end = time.monotonic() + wait_s
        while not self._run(turns, rows):
            if time.monotonic() >= end:
                return False
            time.sleep(0.005)
        return True

    def catch_up(self) -> None:
        """Bring into the projection what the log has now, so that decisions made before this call
        are found. Next to nothing where nothing is new.

        While the log cannot be written, what has not left its ring stays unseen. Raises `StoreBusy`
        when another process projects and does not come to an end.
        """
        positions = self._log.positions()
        if positions == self._projected:
            return
        readable = self._log.readable(READABLE_S)
        end = time.monotonic() + (CATCH_UP_S if readable else 0.0)
        while not self._project() and not self._projection.covers(positions):
            if time.monotonic() >= end:
                if not readable:
                    return
                raise StoreBusy("another process moves audit facts and does not come to an end")
            time.sleep(0.002)
        if readable:
            self._projected = positions

    def _project(self) -> bool:
        """False: another thread or process has the seat."""
        with self._database.operation():
            if not self._lock.acquire(blocking=False):
                return False
            try:
                if not self._seat.win():
                    return False
                try:
                    self._projection.catch_up(self._log)
                finally:
                    self._seat.resign()
            finally:
                self._lock.release()
        return True

    def rebuild(self, wait_s: float = CATCH_UP_S) -> int:
        """Make the projection anew, whatever state its file is in; returns how many events it has.

        Raises `StoreBusy` when another drain does not come to an end.
        """
        end = time.monotonic() + wait_s
        while True:
            with self._database.operation(), self._lock:
                if self._seat.win():
                    try:
                        self._log.flush()
                        return self._projection.rebuild(self._log)
                    finally:
                        self._seat.resign()
            if time.monotonic() >= end:
                raise StoreBusy("another process moves audit facts and does not come to an end")
            time.sleep(0.005)

    def _run(self, turns: int, rows_max: int | None) -> bool:
        with self._database.operation(), self._lock:
            if not self._seat.win():
                return False
            try:
                self._check_age()
                for _ in range(turns):
                    state, rows = self._look()
                    if not rows:
                        break
                    self._batch(state, rows)
                if self._projection.catch_up(self._log, rows_max):
                    self._forget()
            finally:
                self._seat.resign()
        return True

    def _check_age(self) -> None:
        """Once in each process: is the store older than its log? Then the next facts must not get
        serials that facts in the log have."""
        if self._age_checked:
            return
        newest = self._projection.newest_serial()
        state, _ = self._look(0)
        if state.log_id == self._log.id and newest > state.through:
            with self._database.write(timeout_s=WAIT_S) as connection:
                connection.exec_driver_sql(
                    "UPDATE sqlite_sequence SET seq = ? WHERE name = 'outbox' AND seq < ?",
                    (newest, newest),
                )
                outbox.suspect(
                    connection,
                    now_ns=self._clock.wall_ns(),
                    action="store:restored",
                    resource="store",
                    revision=newest_revision(connection),
                    context={
                        "reason": "tenancy.db is older than the log: put back from a backup?",
                        "drained": state.through,
                        "in_log": newest,
                    },
                )
                connection.commit()
        self._age_checked = True

    def __call__(self) -> Sequence[str]:
        """As a background job. Also finishes an erasure whose process died."""
        self.run(rows=ROWS)
        self._log.finish_erasure()
        return ()

    def _look(self, batch: int = BATCH) -> tuple[_State, list[OutboxRow]]:
        with self._database.cursor() as cursor:
            found = cursor.execute(
                "SELECT log_id, drained, through, positions FROM drain WHERE id = 1"
            ).fetchone()
            state = _State(self._log.id, 0, 0, {})
            if found is not None:
                state = _State(found[0], found[1], found[2], json.loads(found[3]))
            # A batch under way is finished as it was announced, however long one is elsewhere:
            # each of its rows may be in the log.
            last, most = (state.through, -1) if state.under_way else (1 << 62, batch)
            cursor.execute(
                f"SELECT {OUTBOX_COLUMNS} FROM outbox"  # noqa: S608
                " WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?",
                (state.drained, last, most),
            )
            return state, [OutboxRow(*row) for row in cursor]

    def _batch(self, state: _State, rows: list[OutboxRow]) -> None:
        positions = self._log.positions()
        present: set[int] = set()
        if state.under_way:
            if state.log_id == self._log.id:
                positions = {c: min(positions[c], state.positions.get(c, 0)) for c in CHAINS}
            else:
                positions = dict.fromkeys(CHAINS, 0)  # another log took its place
            present = self._present(positions, rows)
        ids = {log_id_of(row.event_id): row.seq for row in rows}
        present.update(ids[known] for known in self._projection.known(list(ids)))
        through = rows[-1].seq
        self._write(_State(self._log.id, state.drained, through, positions))
        personal = self._personal()
        events = [record_of(row, personal) for row in rows if row.seq not in present]
        if events:
            self._log.append(events)
        self._write(_State(self._log.id, through, through, positions))

    def _personal(self) -> frozenset[str]:
        """Names of the fields that the catalog in force wants sealed."""
        with self._database.cursor() as cursor:
            stored = catalog_document(cursor)
        if stored is None:
            return frozenset()
        if stored[1] != self._document:
            audit = json.loads(stored[1]).get("audit", {})
            self._document, self._names = stored[1], frozenset(audit.get("personal", ()))
        return self._names

    def _present(self, positions: dict[str, int], rows: list[OutboxRow]) -> set[int]:
        """Serials of the rows that the log has from these places on."""
        self._log.flush()  # what the dead one committed comes into the files
        ids = {log_id_of(row.event_id): row.seq for row in rows}
        found = set()
        for chain, start in positions.items():
            for record in self._log.rows(chain, start):
                seq = ids.get(record.event_id or "")
                if seq is not None and outbox_serial(record.source) == seq:
                    found.add(seq)
        return found

    def _write(self, state: _State) -> None:
        with self._database.write(timeout_s=WAIT_S) as connection:
            connection.exec_driver_sql(
                "INSERT INTO drain (id, log_id, drained, through, positions) VALUES (1, ?, ?, ?, ?)"
                " ON CONFLICT (id) DO UPDATE SET log_id = excluded.log_id,"
                " drained = excluded.drained, through = excluded.through,"
                " positions = excluded.positions",
                (state.log_id, state.drained, state.through, json.dumps(state.positions)),
            )
            connection.commit()

    def _forget(self) -> None:
        """Takes rows out of the outbox that log and projection have."""
        while True:
            with self._database.cursor() as cursor:
                found: Any = cursor.execute(
                    "SELECT max(seq) FROM (SELECT seq FROM outbox WHERE seq <="
                    " (SELECT drained FROM drain WHERE id = 1) ORDER BY seq LIMIT ?)",
                    (BATCH,),
                ).fetchone()
            if found is None or found[0] is None:
                return
            with self._database.write(timeout_s=WAIT_S) as connection:
                _delete(connection, found[0])
                connection.commit()


def _delete(connection: Connection, seq: int) -> None:
    # A fact that is sealed in the log shall not stay readable in pages that are free.
    connection.exec_driver_sql("PRAGMA secure_delete = ON")
    # What is told once per period is remembered: its id must not be written a second time.
    connection.exec_driver_sql(
        "INSERT OR IGNORE INTO told (event_id, time_ns) SELECT event_id, time_ns FROM outbox"
        " WHERE seq <= ? AND type IN ('budget_threshold', 'quota_threshold')",
        (seq,),
    )
    connection.exec_driver_sql("DELETE FROM outbox WHERE seq <= ?", (seq,))
