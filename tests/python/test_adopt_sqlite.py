"""Tables of a single-tenant service are adopted on SQLite, while others work on them."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store_support import killed, run_python
from tenancy.adopt import AdoptedTable, Names, adopt
from tenancy.errors import AdoptionRefused, InvalidValue, StoreBusy, StoreError, UnknownTable

TENANT, OTHER = "ten_0000000000default", "ten_00000000000000acme"
DEADLINE_S = 120
ORDERS = """
CREATE TABLE orders (id INTEGER PRIMARY KEY, item TEXT);
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 2500)
INSERT INTO orders (item) SELECT 'item ' || n FROM n;
"""
HALF = f"""
{ORDERS}
ALTER TABLE orders ADD COLUMN tenant_id TEXT;
UPDATE orders SET tenant_id = '{OTHER}' WHERE id <= 10;
"""


class Database:
    """A file of one test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"sqlite:///{path}"

    def sql(self, text: str) -> list[Any]:
        with closing(sqlite3.connect(self.path, timeout=DEADLINE_S)) as connection:
            if ";" in text:
                connection.executescript(text)
                return []
            with connection:
                return connection.execute(text).fetchall()

    def adopt(self, *tables: str, **options: Any) -> AdoptedTable:
        return adopt(self.url, TENANT, tables=tables or ["orders"], **options).tables[0]

    def by_tenant(self, table: str = "orders") -> dict[str | None, int]:
        return dict(self.sql(f"SELECT tenant_id, count(*) FROM {table} GROUP BY 1"))

    def schema(self) -> list[Any]:
        return self.sql("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2")


@pytest.fixture
def db(tmp_path: Path) -> Database:
    return Database(tmp_path / "app.db")


def steps(table: AdoptedTable) -> list[str]:
    return [step.step for step in table.steps if step.done]


def test_a_table_without_the_column_is_adopted_at_once(db: Database) -> None:
    db.sql(ORDERS)
    done = db.adopt()
    assert steps(done) == ["column", "index"]
    assert (done.filled, done.rows, done.others) == (2500, 2500, 0)
    assert {"step": "policy", "done": False, "note": "SQLite has no row-level security"} in [
        step.as_dict() for step in done.steps
    ]
    db.sql("INSERT INTO orders (item) VALUES ('of the old application')")
    assert db.by_tenant() == {TENANT: 2501}
    with pytest.raises(sqlite3.IntegrityError, match="NOT NULL"):
        db.sql("UPDATE orders SET tenant_id = NULL")
    again = db.adopt()
    assert (steps(again), again.filled, again.rows) == ([], 0, 2501)


def test_a_column_that_may_be_null_is_filled_and_guarded(db: Database) -> None:
    db.sql(HALF)
    seen = []
    done = db.adopt(batch=100, progress=seen.append)
    assert steps(done) == ["not_null", "backfill", "index"]
    assert (done.filled, done.rows, done.others) == (2490, 2490, 10)
    assert db.by_tenant() == {OTHER: 10, TENANT: 2490}
    assert len(seen) == 26
    assert (seen[-1].done, seen[-1].total) == (2500, 2500)
    db.sql("INSERT INTO orders (item) VALUES ('of the old application')")
    assert db.by_tenant() == {OTHER: 10, TENANT: 2491}
    with pytest.raises(sqlite3.IntegrityError, match="tenant_id must not be NULL"):
        db.sql("UPDATE orders SET tenant_id = NULL")
    assert db.adopt().filled == 0


def test_with_the_default_dropped_a_row_without_a_tenant_is_refused(db: Database) -> None:
    db.sql(HALF)
    db.adopt()
    assert steps(db.adopt(drop_default=True)) == ["drop_default"]
    assert steps(db.adopt(drop_default=True)) == []
    assert steps(db.adopt()) == []
    with pytest.raises(sqlite3.IntegrityError, match="tenant_id must not be NULL"):
        db.sql("INSERT INTO orders (item) VALUES ('of the old application')")


@pytest.mark.parametrize("start", [ORDERS, HALF], ids=["no column", "half done"])
def test_a_run_goes_on_wherever_the_one_before_was_stopped(tmp_path: Path, start: str) -> None:
    whole = Database(tmp_path / "whole.db")
    whole.sql(start)
    statements = whole.adopt(dry_run=True).sql
    whole.adopt()
    for count in range(len(statements) + 1):
        db = Database(tmp_path / f"{count}.db")
        db.sql(start)
        for statement in statements[:count]:
            db.sql(statement)
        db.adopt()
        assert db.schema() == whole.schema()
        assert None not in db.by_tenant()


def test_killed_in_the_back_fill_it_is_finished_by_the_next_run(db: Database) -> None:
    db.sql(HALF)
    code = """
        import os, signal, sys
        from tenancy.adopt import adopt
        def stop(at):
            if at.done >= 500:
                os.kill(os.getpid(), signal.SIGKILL)
        adopt(sys.argv[1], sys.argv[2], tables=["orders"], batch=100, progress=stop)
    """
    assert killed(run_python(code, db.url, TENANT))
    assert db.by_tenant()[None] == 2000
    assert db.adopt().filled == 2000


def test_writers_go_on_meanwhile(db: Database) -> None:
    db.sql(HALF)
    stop, started = threading.Event(), threading.Event()
    counts: list[Any] = []

    def work() -> None:
        count = 0
        with closing(sqlite3.connect(db.path, timeout=DEADLINE_S)) as connection:
            while not stop.is_set():
                with connection:
                    connection.execute("INSERT INTO orders (item) VALUES ('meanwhile')")
                count += 1
                started.set()
                # SQLite queues nobody: who locks again at once keeps others out for minutes.
                stop.wait(0.002)
        counts.append(count)

    writer = threading.Thread(target=work)
    writer.start()
    try:
        assert started.wait(DEADLINE_S)
        db.adopt(batch=100)
    finally:
        stop.set()
        writer.join()
    assert db.by_tenant() == {OTHER: 10, TENANT: 2490 + counts[0]}


def test_two_runs_at_once_are_refused_and_a_held_lock_is_told(db: Database) -> None:
    db.sql(HALF)

    def again(at: Any) -> None:
        with pytest.raises(StoreBusy, match="another adoption runs"):
            db.adopt()

    assert db.adopt(progress=again).filled == 2490
    with closing(sqlite3.connect(db.path, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreBusy, match="no lock within 0 s"):
            db.adopt(names=Names(index="other_{table}"), lock_wait=0)
    assert steps(db.adopt(names=Names(index="other_{table}"))) == ["index"]


@given(
    keys=st.lists(
        st.tuples(
            st.one_of(st.integers(-(2**63), 2**63 - 1), st.text(max_size=3), st.binary(max_size=3)),
            st.sampled_from(["a", "B", "b", ""]),
        ),
        unique=True,
        max_size=60,
    ),
    batch=st.integers(1, 9),
    form=st.sampled_from(["", "WITHOUT ROWID"]),
    carried=st.integers(0, 10),
)
def test_any_key_will_do(
    tmp_path_factory: pytest.TempPathFactory, keys: list[Any], batch: int, form: str, carried: int
) -> None:
    """The model: whoever had no tenant has the new one, everybody else the one he had."""
    db = Database(tmp_path_factory.mktemp("keys") / "app.db")
    with closing(sqlite3.connect(db.path)) as connection, connection:
        connection.execute(
            "CREATE TABLE things (rowid, oid TEXT, tenant_id VARCHAR(40), "
            f"PRIMARY KEY (rowid, oid)) {form}"
        )
        rows = [(*key, OTHER if n < carried else None) for n, key in enumerate(keys)]
        connection.executemany("INSERT INTO things VALUES (?, ?, ?)", rows)
    done = db.adopt("things", batch=batch)
    assert sorted(map(repr, db.sql("SELECT * FROM things"))) == sorted(
        repr((*row[:2], row[2] or TENANT)) for row in rows
    )
    assert done.filled == sum(row[2] is None for row in rows)
    assert done.others == sum(row[2] is not None for row in rows)


def test_names_are_quoted_and_taken_from_the_catalog(db: Database) -> None:
    hostile = "a\"b'; DROP TABLE orders; -- 100% :x ? \\"
    with closing(sqlite3.connect(db.path)) as connection, connection:
        quoted = hostile.replace('"', '""')
        connection.execute(f'CREATE TABLE "{quoted}" ("Tenant :y ?" TEXT, x)')
        connection.execute(f'INSERT INTO "{quoted}" (x) VALUES (1)')
    db.sql("CREATE TABLE Orders (x)")
    names = Names("tenant :Y ?", index='i"x {table}')
    for _ in range(2):
        done = adopt(db.url, TENANT, tables=[hostile, "main.orders"], names=names)
        assert [(t.table, t.rows) for t in done.tables] == [(hostile, 1), ("Orders", 0)]
    assert not steps(done.tables[1])


def test_all_tables_but_views_and_books(db: Database) -> None:
    db.sql("""
        CREATE TABLE a (x); CREATE TABLE c (x);
        CREATE TABLE b (x INTEGER PRIMARY KEY AUTOINCREMENT);
        CREATE VIEW v AS SELECT 1; CREATE TABLE alembic_version (x);
    """)
    done = adopt(db.url, TENANT, all_tables=True, exclude=["c"])
    assert [t.table for t in done.tables] == ["a", "b"]
    assert done.left_out.keys() == {"c", "v", "alembic_version"}


@pytest.mark.parametrize(
    ("sql", "reason"),
    [
        ("CREATE VIEW x AS SELECT 1 AS a", "x is a view"),
        ("CREATE VIRTUAL TABLE x USING fts5 (a)", "x is a virtual table"),
        ("CREATE TABLE x (tenant_id INTEGER)", "x.tenant_id is INTEGER, expected TEXT"),
        ("CREATE TABLE x (tenant_id)", "x.tenant_id is without a type"),
        ("CREATE TABLE x (a TEXT, tenant_id TEXT AS (a))", "x.tenant_id is generated"),
        ("CREATE TABLE x (a); CREATE INDEX idx_x_tenant ON x (a)", "is something else"),
        ("CREATE TABLE x (a); CREATE TABLE idx_x_tenant (a)", "is something else"),
    ],
)
def test_what_cannot_be_adopted_is_refused_before_anything_changes(
    db: Database, sql: str, reason: str
) -> None:
    db.sql(ORDERS)
    db.sql(sql)
    before = db.schema()
    with pytest.raises(AdoptionRefused) as caught:
        adopt(db.url, TENANT, tables=["orders", "x"])
    assert reason in str(caught.value)
    assert db.schema() == before


def test_what_is_not_there_is_told_and_not_made(db: Database, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no such file"):
        db.adopt()
    assert not db.path.exists()
    with pytest.raises(InvalidValue, match="in memory"):
        adopt("sqlite://", TENANT, tables=["orders"])
    db.path.write_text("no database at all, but long enough for a header of one hundred bytes" * 9)
    with pytest.raises(StoreError, match="SQLite"):
        db.adopt()
    other = Database(tmp_path / "other.db")
    other.sql(ORDERS)
    with pytest.raises(UnknownTable, match=r"'order': near it: orders"):
        other.adopt("order")
    with pytest.raises(InvalidValue, match="force"):
        other.adopt(force=True)
