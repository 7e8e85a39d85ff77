"""Questions to `usage.sqlite`: rows of events, and what SQLite itself can tell exactly."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import NamedTuple

from .usage_log import SHIFT
from .usage_units import joined

__all__ = [
    "Change",
    "Found",
    "Names",
    "Question",
    "State",
    "changes",
    "events",
    "find",
    "largest",
    "last_before",
    "newest",
    "page",
    "recorded",
    "state",
    "tenants",
    "total",
]


class Found(NamedTuple):
    """A row."""

    position: int
    metric: str
    time_ns: int
    units: int
    source: str
    event_id: str
    properties: str | None
    recorded_ns: int
    corrects: bool


class Question(NamedTuple):
    """Which events: of a metric (None: of all) of a tenant, `since_ns` ≤ time < `until_ns`."""

    tenant: str
    metric: str | None
    since_ns: int
    until_ns: int
    as_of: int | None = None
    """Only what counted at this place of the log."""

    def where(self) -> tuple[str, list[object]]:
        clause = "tenant = (SELECT id FROM names WHERE name = ?)"
        values: list[object] = [self.tenant]
        if self.metric is not None:
            clause += " AND metric = (SELECT id FROM names WHERE name = ?)"
            values.append(self.metric)
        clause += " AND time_ns >= ? AND time_ns < ?"
        values += [self.since_ns, self.until_ns]
        if self.as_of is None:
            return f"{clause} AND ended IS NULL", values
        clause += " AND position < ? AND (ended IS NULL OR ended >= ?)"
        return clause, [*values, self.as_of, self.as_of]


class State(NamedTuple):
    """Which state of the table a transaction reads."""

    log_id: str
    next: int
    """The first sequence of the log that it has not."""
    kept_from: int
    """The first one that was not pruned."""


class Change(NamedTuple):
    """What became of the events of a metric of a tenant from one state to a later one, in sums."""

    tenant: str
    metric: str
    first_ns: int
    """The earliest of their times."""
    last_ns: int
    events: int
    """How many more; of those that do not count any more, below zero."""
    units: int


_COLUMNS = (
    "position, metric, time_ns, high, middle, low, source, event_id, properties, recorded_ns,"
    " corrects"
)
_ORDER = "ORDER BY time_ns, position"
_GROUP = (
    "+tenant AS tenant, +metric AS metric, min(time_ns) AS first, max(time_ns) AS last,"
    " count(*) AS number, sum(high) AS high, sum(middle) AS middle, sum(low) AS low"
)
_SUMS = "t.name, m.name, first, last, number, high, middle, low"
_NAMED = "JOIN names t ON t.id = tenant JOIN names m ON m.id = metric"


class Names(dict[int, str]):
    """Texts by their numbers, read when they are asked for. Of one state of the table."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        super().__init__()
        self._connection = cursor.connection

    def __missing__(self, number: int) -> str:
        query = "SELECT name FROM names WHERE id = ?"
        text: str = self._connection.execute(query, (number,)).fetchone()[0]
        self[number] = text
        return text


def events(
    cursor: sqlite3.Cursor, question: Question, names: Names | None = None
) -> Iterator[Found]:
    """In the order of their times, then of their places in the log.

    Who asks many questions of one state keeps the `names` from one to the next.
    """
    clause, values = question.where()
    query = f"SELECT {_COLUMNS} FROM events WHERE {clause} {_ORDER}"  # noqa: S608
    return _found(cursor, query, values, names)


def page(
    cursor: sqlite3.Cursor, question: Question, after: tuple[int, int] | None, limit: int
) -> list[Found]:
    """`limit` events behind the time and place `after`."""
    clause, values = question.where()
    if after is not None:
        clause += " AND (time_ns, position) > (?, ?)"
        values += after
    query = f"SELECT {_COLUMNS} FROM events WHERE {clause} {_ORDER} LIMIT ?"  # noqa: S608
    return list(_found(cursor, query, [*values, limit]))


def last_before(cursor: sqlite3.Cursor, question: Question) -> Found | None:
    """The newest event before `since_ns`."""
    clause, values = question._replace(since_ns=-(1 << 62), until_ns=question.since_ns).where()
    query = (
        f"SELECT {_COLUMNS} FROM events WHERE {clause}"  # noqa: S608
        " ORDER BY time_ns DESC, position DESC LIMIT 1"
    )
    return next(_found(cursor, query, values), None)


def find(cursor: sqlite3.Cursor, tenant: str, source: str, event_id: str) -> Found | None:
    """The event of that id as it counts now; of several the newest."""
    query = (
        f"SELECT {_COLUMNS} FROM events WHERE event_id = ?"  # noqa: S608
        " AND tenant = (SELECT id FROM names WHERE name = ?)"
        " AND source = (SELECT id FROM names WHERE name = ?)"
        " AND ended IS NULL ORDER BY position DESC LIMIT 1"
    )
    return next(_found(cursor, query, [event_id, tenant, source]), None)


def recorded(cursor: sqlite3.Cursor, tenant: str) -> set[str]:
    """Metrics that a tenant has events of."""
    rows = cursor.execute(
        "SELECT name FROM names WHERE EXISTS (SELECT 1 FROM events WHERE metric = names.id"
        " AND tenant = (SELECT id FROM names WHERE name = ?))",
        (tenant,),
    )
    return {name for (name,) in rows}


def tenants(cursor: sqlite3.Cursor) -> list[str]:
    """Tenants that have events."""
    rows = cursor.execute(
        "SELECT name FROM names WHERE EXISTS (SELECT 1 FROM events WHERE tenant = names.id)"
        " ORDER BY name"
    )
    return [name for (name,) in rows]


def state(cursor: sqlite3.Cursor) -> State:
    """The state that the cursor's transaction reads."""
    query = "SELECT log_id, next, kept_from FROM progress"
    return State(*cursor.execute(query).fetchone())


def changes(cursor: sqlite3.Cursor, before: State) -> Iterator[Change]:
    """What was recorded, and what was ended, since an earlier state of the same table. No row is
    read but these. Raises `OverflowError` where SQLite cannot sum them."""
    place = before.next << SHIFT
    for clause, sign, values in (
        ("position >= ? AND ended IS NULL", 1, (place,)),
        ("ended >= ? AND +position < ?", -1, (place, place)),
    ):
        # What was recorded and ended since plays no part. A unary plus keeps SQLite from walking
        # through the table by that column.
        groups = f"SELECT {_GROUP} FROM events WHERE {clause} GROUP BY +tenant, +metric"  # noqa: S608
        query = f"SELECT {_SUMS} FROM ({groups}) {_NAMED}"  # noqa: S608
        try:
            rows = cursor.connection.execute(query, values).fetchall()
        except sqlite3.OperationalError as error:
            if "overflow" not in str(error):
                raise
            raise OverflowError(str(error)) from None
        for tenant, metric, first, last, count, *parts in rows:
            yield Change(tenant, metric, first, last, sign * count, sign * joined(*parts))


def total(cursor: sqlite3.Cursor, question: Question) -> tuple[int, int]:
    """Sum of the quantities in 10^-12, and how many events there are."""
    clause, values = question.where()
    query = "SELECT count(*), sum(high), sum(middle), sum(low) FROM events WHERE "
    try:
        count, *parts = cursor.execute(query + clause, values).fetchone()
    except sqlite3.OperationalError as error:
        if "overflow" not in str(error):
            raise
        # More than nine million events of nearly a unit each: added up here instead.
        units = [found.units for found in events(cursor, question)]
        return sum(units), len(units)
    return (joined(*parts) if count else 0), count


def largest(cursor: sqlite3.Cursor, question: Question) -> tuple[int, int]:
    """The largest quantity in 10^-12, 0 without events, and how many events there are."""
    return _first(cursor, question, "high DESC, middle DESC, low DESC")


def newest(cursor: sqlite3.Cursor, question: Question) -> tuple[int, int]:
    """The quantity of the newest event in 10^-12, 0 without one, and how many events there are."""
    return _first(cursor, question, "time_ns DESC, position DESC")


def _first(cursor: sqlite3.Cursor, question: Question, order: str) -> tuple[int, int]:
    clause, values = question.where()
    query = f"SELECT high, middle, low FROM events WHERE {clause} ORDER BY {order} LIMIT 1"  # noqa: S608
    row = cursor.execute(query, values).fetchone()
    if row is None:
        return 0, 0
    count = cursor.execute(f"SELECT count(*) FROM events WHERE {clause}", values).fetchone()[0]  # noqa: S608
    return joined(*row), count


def _found(
    cursor: sqlite3.Cursor, query: str, values: list[object], names: Names | None = None
) -> Iterator[Found]:
    names = Names(cursor) if names is None else names
    for row in cursor.connection.execute(query, values):
        position, metric, time_ns, high, middle, low, source, event_id, properties, at_ns, new = row
        units = joined(high, middle, low)
        texts = (names[metric], names[source])
        yield Found(
            position, texts[0], time_ns, units, texts[1], event_id, properties, at_ns, bool(new)
        )
