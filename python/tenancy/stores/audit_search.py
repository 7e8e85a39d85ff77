"""Facts, newest first: what the projection has and what has not left the outbox.

The order is (time, serial of the outbox, event id), the same for a fact in either place, so the
cursor of a page holds while facts move. The outbox is read before the projection: a fact that moves
meanwhile is found twice, never not at all. Before both, what decisions left in the log's ring is
brought into the projection: a refusal is found as soon as it was answered.
"""

from __future__ import annotations

import base64
import math
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

from .._text import check_page, listed, shown, storable
from ..errors import InvalidValue, StoreBusy
from .audit_events import (
    CHAINS,
    LogRow,
    OutboxRow,
    event_of_log,
    event_of_outbox,
    log_id_of,
    outbox_serial,
)
from .database import Database
from .drain import OUTBOX_COLUMNS, Drain
from .outbox import RESULTS
from .projection import COLUMNS, SHIFT, Projection
from .records import AuditEvent, Page

__all__ = ["AuditSearch", "Key"]

Key = tuple[int, int, str]
"""Time, serial and id: the place of a fact in the order."""

READY_S = 60.0
SEEN_MAX = 16_384
_FIELDS = ("principal", "type", "action", "resource", "resource_id", "result")
_CONTEXT = {"ip": "ip", "session": "session_id", "request": "request_id"}
_ROW = f"position & {(1 << SHIFT) - 1}, 0, {', '.join(COLUMNS)}"


class AuditSearch:
    """Reads of one data directory's facts. Any thread, any process."""

    def __init__(self, database: Database, projection: Projection, drain: Drain) -> None:
        self._database = database
        self._projection = projection
        self._drain = drain

    def search(
        self, filters: Mapping[str, Any], limit: int, cursor: str | None
    ) -> Page[AuditEvent]:
        """Newest first. `filters` maps fields to values, and `since_ns`/`until_ns` to times."""
        check_page(limit)
        result = filters.get("result")
        if result is not None and result not in RESULTS:
            raise InvalidValue("result", shown(result), remedy=f"one of {listed(RESULTS)}")
        before = None if cursor is None else _decode(cursor)
        if any(isinstance(text, str) and not storable(text) for text in filters.values()):
            return Page(())  # no fact holds such a text
        self._drain.catch_up()
        found = dict(self._pending(filters, limit + 1, before))
        for key, event in self._projected(filters, limit + 1, before):
            found.setdefault(key, event)
        keys = sorted(found, reverse=True)
        more = _encode(keys[limit - 1]) if len(keys) > limit else None
        return Page(tuple(found[key] for key in keys[:limit]), more)

    def find(self, event_id: str) -> AuditEvent | None:
        if not storable(event_id):
            return None
        with self._database.cursor() as cursor:
            query = f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE event_id = ?"  # noqa: S608
            row = cursor.execute(query, (event_id,)).fetchone()
        if row is not None:
            return event_of_outbox(OutboxRow(*row))
        self._drain.catch_up()
        record = self.locate(event_id)
        return None if record is None else event_of_log(record[1])

    def locate(self, event_id: str) -> tuple[str, LogRow] | None:
        """The chain of a fact that is in the projection, and its row."""
        with self._reading() as cursor:
            query = f"SELECT position >> {SHIFT}, {_ROW} FROM events WHERE event_id = ?"  # noqa: S608
            row = cursor.execute(query, (log_id_of(event_id),)).fetchone()
        return None if row is None else (CHAINS[row[0]], LogRow(*row[1:]))

    def follow(
        self, tenant_id: str | None, *, every_s: float, for_s: float | None
    ) -> Iterator[AuditEvent]:
        """Facts as they come, from the call on, each once."""
        start = self._newest_serial()
        self._drain.catch_up()
        with self._reading() as cursor:
            places = dict(cursor.execute("SELECT chain, next FROM progress"))
        end = math.inf if for_s is None else time.monotonic() + for_s
        return self._following(tenant_id, start, places, every_s, end)

    def _following(
        self,
        tenant_id: str | None,
        start: int,
        places: dict[int, int],
        every_s: float,
        end: float,
    ) -> Iterator[AuditEvent]:
        outbox = start
        seen: OrderedDict[str, None] = OrderedDict()
        while True:
            batch = []
            self._drain.catch_up()
            for row in self._outbox_from(outbox, tenant_id):
                outbox = row.seq
                batch.append(event_of_outbox(row))
            # What lay in the outbox before we came is old when it gets here.
            batch += [
                event_of_log(record)
                for record in self._projected_from(places, tenant_id)
                if not 0 < outbox_serial(record.source) <= start
            ]
            for event in batch:
                if event.id not in seen:
                    seen[event.id] = None
                    yield event
            while len(seen) > SEEN_MAX:
                seen.popitem(last=False)
            if time.monotonic() >= end:
                return
            time.sleep(every_s)

    # ------------------------------------------------------------------------------ the outbox

    def _pending(
        self, filters: Mapping[str, Any], limit: int, before: Key | None
    ) -> Iterator[tuple[Key, AuditEvent]]:
        where, values = ["1"], []
        for name, value in filters.items():
            if value is None:
                continue
            if name in _CONTEXT:
                where.append(f"json_extract(context, '$.{_CONTEXT[name]}') = ?")
            else:
                where.append(_condition(name, "tenant_id"))
            values.append(value)
        if before is not None:
            where.append("(time_ns, seq, event_id) < (?, ?, ?)")
            values += before
        with self._database.cursor() as cursor:
            cursor.execute(
                f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE {' AND '.join(where)}"  # noqa: S608
                " ORDER BY time_ns DESC, seq DESC LIMIT ?",
                (*values, limit),
            )
            rows = [OutboxRow(*row) for row in cursor]
        for row in rows:
            yield (row.time_ns, row.seq, row.event_id), event_of_outbox(row)

    def _newest_serial(self) -> int:
        with self._database.cursor() as cursor:
            query = "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'"
            row = cursor.execute(query).fetchone()
        return 0 if row is None else int(row[0])

    def _outbox_from(self, serial: int, tenant_id: str | None) -> list[OutboxRow]:
        with self._database.cursor() as cursor:
            cursor.execute(
                f"SELECT {OUTBOX_COLUMNS} FROM outbox WHERE seq > ?"  # noqa: S608
                " AND (? IS NULL OR tenant_id = ?) ORDER BY seq",
                (serial, tenant_id, tenant_id),
            )
            return [OutboxRow(*row) for row in cursor]

    # ------------------------------------------------------------------------------ the projection

    def _projected(
        self, filters: Mapping[str, Any], limit: int, before: Key | None
    ) -> Iterator[tuple[Key, AuditEvent]]:
        where, values = ["1"], []
        for name, value in filters.items():
            if value is not None:
                where.append(_condition(_CONTEXT.get(name, name), "tenant"))
                values.append(value)
        if before is not None:
            where.append("time_ns <= ? AND (time_ns, serial, event_id) < (?, ?, ?)")
            values += (before[0], before[0], before[1], log_id_of(before[2]))
        with self._reading() as cursor:
            cursor.execute(
                f"SELECT {_ROW} FROM events WHERE {' AND '.join(where)}"  # noqa: S608
                " ORDER BY time_ns DESC, serial DESC, event_id DESC LIMIT ?",
                (*values, limit),
            )
            rows = [LogRow(*row) for row in cursor]
        for row in rows:
            event = event_of_log(row)
            yield (row.time_ns, outbox_serial(row.source), event.id), event

    def _projected_from(self, places: dict[int, int], tenant_id: str | None) -> list[LogRow]:
        rows = []
        with self._reading() as cursor:
            for code in range(len(CHAINS)):
                start = places.get(code, 0)
                cursor.execute(
                    f"SELECT {_ROW} FROM events WHERE position >= ? AND position < ?"  # noqa: S608
                    " AND (? IS NULL OR tenant = ?) ORDER BY position",
                    ((code << SHIFT) | start, (code + 1) << SHIFT, tenant_id, tenant_id),
                )
                rows += [LogRow(*row) for row in cursor]
            places.update(cursor.execute("SELECT chain, next FROM progress"))
        return rows

    def _reading(self) -> Any:
        """A cursor on a whole projection, made now if there is none."""
        end = time.monotonic() + READY_S
        while not self._projection.usable():
            if not self._drain.run() and time.monotonic() > end:
                raise StoreBusy(f"{self._projection.path}: another process makes it anew")
        return self._projection.cursor()


def _condition(name: str, tenant: str) -> str:
    if name == "since_ns":
        return "time_ns >= ?"
    if name == "until_ns":
        return "time_ns < ?"
    if name == "tenant_id":
        return f"{tenant} = ?"
    assert name in _FIELDS or name in _CONTEXT.values()
    return f"{name} = ?"


def _encode(key: Key) -> str:
    text = f"f{key[0]}.{key[1]}.{key[2]}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decode(cursor: str) -> Key:
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        time_ns, serial, event_id = text[1:].split(".", 2)
        if text[:1] != "f" or not -(1 << 63) <= int(time_ns) < 1 << 63:
            raise ValueError
        if not 0 <= int(serial) < 1 << 63:
            raise ValueError
        return int(time_ns), int(serial), event_id
    except (ValueError, AttributeError, TypeError):
        raise InvalidValue(
            "cursor", "not the cursor of a page", remedy="pass the `cursor` of the page before"
        ) from None
