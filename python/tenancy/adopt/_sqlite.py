"""Adopting tables of SQLite, while other processes work on them.

- A new column comes with NOT NULL and a constant DEFAULT, which SQLite adds without touching rows.
- A column that is there and may be NULL is filled by ranges of the table's key, each batch one
  short transaction. SQLite cannot forbid NULL in a column that exists without rebuilding the table
  under everybody's feet, so a pair of triggers does.
- SQLite has no row-level security: the application's queries, or a database for each tenant,
  must keep tenants apart.

One run at a time: it locks the directory of the database, which leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa

from ..errors import AdoptionRefused, InvalidValue, StoreBusy, StoreError
from ._parts import (
    BOOKKEEPING,
    Options,
    Plan,
    Progress,
    Report,
    Statement,
    Step,
    literals,
    patiently,
    unknown,
)

_T = TypeVar("_T")

LONGEST = 1000  # SQLite has no limit of its own; an honest name is shorter
_BUSY_MS = 500

_OBJECTS = """
SELECT l.name, l.type AS kind, l.wr AS without_rowid FROM pragma_table_list AS l
 WHERE l.schema = 'main' AND l.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY l.name
"""
_COLUMNS = """
SELECT name, type, "notnull" AS not_null, dflt_value AS standard, pk, hidden
  FROM pragma_table_xinfo(:table)
"""
_INDEX = """
SELECT s.tbl_name AS "table", s.type AS kind, s.sql LIKE '% WHERE %' AS part,
       (SELECT name FROM pragma_index_info(s.name) WHERE seqno = 0) AS first
  FROM sqlite_master AS s WHERE s.name = :name COLLATE NOCASE
"""
_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = :table"
_UNIQUE = """
SELECT l.name FROM pragma_index_list(:table) AS l
 WHERE l."unique" AND l.origin <> 'pk' AND NOT EXISTS (
       SELECT 1 FROM pragma_index_info(l.name) AS i WHERE i.name = :column COLLATE NOCASE)
 ORDER BY l.name
"""


@dataclass(frozen=True)
class Found:
    """A table and what the plan depends on."""

    row: Any
    columns: tuple[Any, ...]
    column: Any
    index: Any
    triggers: frozenset[str]
    empty: bool  # whether a row has no tenant


def prepared(url: sa.URL) -> sa.Engine:
    path = Path(url.database or "")
    if not url.database or url.database == ":memory:":
        raise InvalidValue("database", "a database in memory has nothing to adopt")
    if not path.is_file():
        raise StoreError(f"{path}: no such file", remedy="name the file of an SQLite database")
    return sa.create_engine(
        url.set(drivername="sqlite", query={}),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
        connect_args={"timeout": _BUSY_MS / 1000},
    )


def busy(error: Exception) -> bool:
    original = getattr(error, "orig", None)
    text = str(original)
    return isinstance(original, sqlite3.OperationalError) and (
        text.startswith(("database is locked", "database table is locked", "database schema"))
    )


class SQLite:
    kind = "sqlite"
    longest = LONGEST

    def __init__(self, connection: sa.Connection, options: Options, report: Report) -> None:
        self._connection = connection
        self._options = options
        self._report = report
        self._names = options.names
        quote = connection.dialect.identifier_preparer.quote
        self._quote: Callable[[str], str] = lambda name: str(quote(name))
        self._literal = literal = literals(connection.dialect)
        self._tenant = literal(options.tenant)
        self._column = self._quote(self._names.column)
        self._path = Path(connection.engine.url.database or "")
        self._lock = -1

    # ------------------------------------------------------------------------------- session

    def begin(self) -> None:
        if self._options.force:
            told = "SQLite has no row-level security to force"
            raise InvalidValue("force", told, remedy="leave it out")
        self._all("SELECT count(*) FROM sqlite_master")  # says when the file is something else

    def lock(self) -> None:
        """Keep other runs away; the lock ends with the process."""
        if not os.access(self._path, os.W_OK):
            told = f"{self._path}: no right to write it"
            raise AdoptionRefused(told, remedy="run as the user whose database it is")
        self._lock = os.open(self._path.resolve().parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.end()
            told = f"another adoption runs in {self._path.resolve().parent}"
            raise StoreBusy(told, remedy="wait for it to end") from None

    def end(self) -> None:
        if self._lock >= 0:
            with suppress(OSError):
                os.close(self._lock)
            self._lock = -1

    # ------------------------------------------------------------------------------- finding

    def find(
        self, wanted: Sequence[str], every: bool, exclude: Sequence[str]
    ) -> tuple[list[Any], dict[str, str]]:
        rows = self._all(_OBJECTS)
        known = {row.name.casefold(): row for row in rows}
        missing = [n for n in (*wanted, *exclude) if self._plain(n).casefold() not in known]
        if missing:
            unknown(missing, [row.name for row in rows])
        excluded = {known[self._plain(name).casefold()].name for name in exclude}
        found = {(row := known[self._plain(name).casefold()]).name: row for name in wanted}
        left_out = {}
        for row in rows if every else ():
            if row.name in found:
                continue
            if row.name in excluded:
                left_out[row.name] = "excluded"
            elif row.kind in ("view", "shadow"):
                left_out[row.name] = f"a {row.kind}" + " table" * (row.kind == "shadow")
            elif row.name in BOOKKEEPING:
                left_out[row.name] = "the books of a tool"
            else:
                found[row.name] = row
        return [row for name, row in found.items() if name not in excluded], left_out

    def _plain(self, name: str) -> str:
        return name[5:] if name.casefold().startswith("main.") else name

    def title(self, row: Any) -> str:
        return str(row.name)

    def state(self, row: Any) -> Found:
        columns = tuple(self._all(_COLUMNS, table=row.name))
        wanted = self._names.column.casefold()
        index = self._all(_INDEX, name=self._index_name(row))
        column = next((c for c in columns if c.name.casefold() == wanted), None)
        triggers = frozenset(each.name for each in self._all(_TRIGGERS, table=row.name))
        empty = column is not None and not column.not_null and row.kind == "table"
        if empty:
            sql = f"SELECT 1 FROM {self._quote(row.name)} WHERE {self._column} IS NULL LIMIT 1"  # noqa: S608 - quoted by the dialect
            empty = bool(self._rows(sql))
        return Found(row, columns, column, index[0] if index else None, triggers, empty)

    # ---------------------------------------------------------------------------- refusing

    def problems(self, found: Found) -> list[str]:
        """Everything about this table that stands in the way."""
        title, column, index = found.row.name, found.column, found.index
        if found.row.kind != "table":
            kind = found.row.kind
            return [f"{title} is a {kind}{' table' * (kind != 'view')}: adopt the tables it reads"]
        told = []
        if column is not None:
            if column.hidden:
                told.append(f"{title}.{column.name} is generated: choose another column")
            elif not any(word in column.type.upper() for word in ("CHAR", "CLOB", "TEXT")):
                said = column.type or "without a type"
                told.append(
                    f"{title}.{column.name} is {said}, expected TEXT: choose another column"
                )
        if index is not None and not (
            index.kind == "index"
            and index.table == title
            and not index.part
            and (index.first or "").casefold() == self._names.column.casefold()
        ):
            name = self._index_name(found.row)
            told.append(f"{title}: {name} exists and is something else: choose another index name")
        return told

    # ------------------------------------------------------------------------------ planning

    def plan(self, found: Found) -> Plan:
        steps = [*self._column_steps(found), self._index_step(found)]
        if self._options.policy:
            steps.append(Step("policy", note="SQLite has no row-level security"))
        if self._options.drop_default:
            steps.append(self._drop_default_step(found))
        unique = self._all(_UNIQUE, table=found.row.name, column=self._names.column)
        warnings = [f"{each.name} is unique over all tenants, not in each" for each in unique]
        return Plan(found.row.name, tuple(steps), tuple(warnings))

    def _column_steps(self, found: Found) -> list[Step]:
        table = self._quote(found.row.name)
        if found.column is None:
            add = f"ALTER TABLE {table} ADD COLUMN {self._column} TEXT NOT NULL"
            return [
                Step("column", (Statement(f"{add} DEFAULT {self._tenant}"),)),
                Step("backfill", note="the new column holds the tenant in every row"),
                Step("not_null", note="made with the column"),
            ]
        there = Step("column", note="there")
        if found.column.not_null:
            full = Step("backfill", note="no row is without a tenant")
            return [there, full, Step("not_null", note="there")]
        # The triggers come first: after the back-fill nobody can add a row without a tenant.
        names, triggers = self._trigger_names(found), self._triggers(found)
        wanted = ["keeps", "requires" if names["requires"] in found.triggers else "gives"]
        made = [Statement(triggers[n]) for n in wanted if names[n] not in found.triggers]
        fill = [Statement(self._batch_sql(found), "batches")] * bool(found.empty or made)
        return [
            there,
            Step("not_null", tuple(made), "by triggers" if made else "there, as triggers"),
            Step("backfill", tuple(fill), "" if fill else "no row is without a tenant"),
        ]

    def _drop_default_step(self, found: Found) -> Step:
        if found.column is None or found.column.not_null:
            return Step("drop_default", note="SQLite cannot drop a column's default")
        names, triggers = self._trigger_names(found), self._triggers(found)
        if names["requires"] in found.triggers:
            return Step("drop_default", note="there is none")
        drop = f"DROP TRIGGER {self._quote(names['gives'])}"
        return Step("drop_default", (Statement(triggers["requires"]), Statement(drop)))

    def _trigger_names(self, found: Found) -> dict[str, str]:
        stem = f"{found.row.name}_{self._names.column}"
        return {role: f"{stem}_{role}" for role in ("keeps", "gives", "requires")}

    def _triggers(self, found: Found) -> dict[str, str]:
        """Keeps a tenant from being taken away; gives one to rows without, or requires it."""
        table, c = self._quote(found.row.name), self._column
        refuse = f"SELECT RAISE(ABORT, {self._literal(f'{self._names.column} must not be NULL')})"
        row = " AND ".join(f"{key} = NEW.{key}" for key in self._key(found))
        bodies = {
            "keeps": (f"BEFORE UPDATE OF {c}", refuse),
            "gives": ("AFTER INSERT", f"UPDATE {table} SET {c} = {self._tenant} WHERE {row}"),  # noqa: S608
            "requires": ("BEFORE INSERT", refuse),
        }
        return {
            role: f"CREATE TRIGGER {self._quote(self._trigger_names(found)[role])} {event}"
            f" ON {table} WHEN NEW.{c} IS NULL BEGIN {body}; END"
            for role, (event, body) in bodies.items()
        }

    def _index_step(self, found: Found) -> Step:
        if found.index is not None:
            return Step("index", note="there")
        name, table = self._quote(self._index_name(found.row)), self._quote(found.row.name)
        return Step("index", (Statement(f"CREATE INDEX {name} ON {table} ({self._column})"),))

    # ------------------------------------------------------------------------------- running

    def carry_out(self, found: Found, step: Step) -> int:
        """Run one step; how many rows it filled."""
        filled = 0
        for statement in step.statements:
            if statement.how == "batches":
                filled += self._fill(found, step.name)
            else:
                self._briefly(statement.sql)
        return filled

    def count(self, found: Found) -> tuple[int, int]:
        """Rows of the tenant, and those of others."""
        c = self._column
        own, every = self._rows(
            f"SELECT count(CASE WHEN {c} = {self._tenant} THEN 1 END), count(*)"  # noqa: S608
            f" FROM {self._quote(found.row.name)}"
        )[0]
        return own, every - own

    def shown(self, sql: str) -> str:
        return sql

    def _fill(self, found: Found, step: str) -> int:
        table, c, key = self._quote(found.row.name), self._column, self._key(found)
        names, marks = ", ".join(key), ", ".join("?" * len(key))
        every = self._rows(f"SELECT count(*) FROM {table}")[0][0]  # noqa: S608
        after = f"({names}) > ({marks})"
        low: tuple[Any, ...] = ()
        filled = seen = 0
        while True:
            rows = self._rows(
                f"SELECT {names} FROM {table} {f'WHERE {after}' if low else ''}"  # noqa: S608
                f" ORDER BY {names} LIMIT 1 OFFSET {self._options.batch - 1}",
                low,
            )
            high = tuple(rows[0]) if rows else ()
            bounds = [after] * bool(low) + [f"({names}) <= ({marks})"] * bool(high)
            where = " AND ".join([*bounds, f"{c} IS NULL"])
            sql = f"UPDATE {table} SET {c} = {self._tenant} WHERE {where}"  # noqa: S608
            filled += self._briefly(sql, low + high)
            seen += self._options.batch
            self._report(Progress(found.row.name, step, min(seen, every), every))
            if not high:
                return filled
            low = high

    def _batch_sql(self, found: Found) -> str:
        table, c, key = self._quote(found.row.name), self._column, ", ".join(self._key(found))
        return (
            f"UPDATE {table} SET {c} = {self._tenant} WHERE ({key}) IN (SELECT {key} FROM {table}"  # noqa: S608
            f" WHERE {c} IS NULL LIMIT {self._options.batch})"
        )

    def _key(self, found: Found) -> list[str]:
        """What names a row: the row id by a name that no column has taken, or the primary key."""
        taken = {c.name.casefold() for c in found.columns}
        if not found.row.without_rowid:
            for alias in ("rowid", "_rowid_", "oid"):
                if alias not in taken:
                    return [alias]
        keys = sorted((c for c in found.columns if c.pk), key=lambda c: c.pk)
        return [self._quote(c.name) for c in keys]

    def _briefly(self, sql: str, values: tuple[Any, ...] = ()) -> int:
        return self._patiently(lambda: self._connection.exec_driver_sql(sql, values).rowcount)

    # ------------------------------------------------------------------------------- helpers

    def _index_name(self, row: Any) -> str:
        return self._names.index_of(row.name, LONGEST)

    def _all(self, sql: str, **values: Any) -> Sequence[Any]:
        return self._patiently(lambda: self._connection.execute(sa.text(sql), values).all())

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> Sequence[Any]:
        return self._patiently(lambda: self._connection.exec_driver_sql(sql, values).all())

    def _patiently(self, run: Callable[[], _T]) -> _T:
        """Readers wait too: without a write-ahead log a writer keeps them out."""
        return patiently(run, busy, self._options.lock_wait)
