"""Tables of a single-tenant service are adopted on a real PostgreSQL, while others work on them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from adopt_support import HALF, ORDERS, OTHER, TENANT, Database, steps
from postgres_support import Server
from store_support import killed, run_python
from tenancy.adopt import Names, adopt
from tenancy.errors import (
    StoreBusy,
    StoreError,
)

DEADLINE_S = 120


@pytest.fixture
def db(postgres: Server) -> Database:
    return Database(postgres)


RULE = "(tenant_id = current_setting('app.tenant_id'::text))"
INDEX = "CREATE INDEX idx_orders_tenant ON public.orders USING btree (tenant_id)"
ADOPTED = {
    "column": [(True, "text")],
    "index": [(True, False, INDEX)],
    "policy": [("tenant_isolation", "PERMISSIVE", "ALL", RULE, RULE)],
    "secured": [(True, False)],
    "checks": [],
}


def wait_for(what: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@contextmanager
def in_background(run: Callable[[], Any]) -> Iterator[list[Any]]:
    """Runs beside the test; what it returned or raised is in the list afterwards."""
    result: list[Any] = []

    def target() -> None:
        try:
            result.append(run())
        except Exception as error:
            result.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    try:
        yield result
    finally:
        thread.join(DEADLINE_S)


# ------------------------------------------------------------------------------------ the steps


def test_a_table_without_the_column_is_adopted_at_once(db: Database) -> None:
    db.sql(ORDERS)
    before = db.sql("SELECT pg_relation_filenode('orders')")
    done = db.adopt()
    assert steps(done) == ["column", "index", "policy"]
    assert (done.filled, done.rows, done.others) == (2500, 2500, 0)
    assert db.shape() == ADOPTED
    assert db.sql("SELECT pg_relation_filenode('orders')") == before, "the table was rewritten"
    db.sql("INSERT INTO orders (item) VALUES ('of the old application')")
    assert db.by_tenant() == {TENANT: 2501}


def test_a_second_run_has_nothing_to_do(db: Database) -> None:
    db.sql(ORDERS)
    db.adopt(force=True)
    again = db.adopt(force=True)
    assert (steps(again), again.filled) == ([], 0)
    assert (again.rows, again.others) == (None, None), "forced, it hides rows from the owner too"
    assert db.adopt().table == "orders"
    assert adopt(db.server.url(db.name), TENANT, tables=["orders"]).tables[0].rows == 2500


def test_a_column_that_may_be_null_is_filled_in_batches(db: Database) -> None:
    db.sql(HALF)
    seen = []
    done = db.adopt(batch=100, progress=seen.append)
    assert steps(done) == ["default", "backfill", "not_null", "index", "policy"]
    assert (done.filled, done.rows, done.others) == (2400, 2490, 10)
    assert db.by_tenant() == {OTHER: 10, TENANT: 2490}, "rows of another tenant are kept"
    assert db.shape() == ADOPTED
    assert len({at.done for at in seen if at.step == "backfill"}) > 2
    assert seen[-1].done == seen[-1].total


def test_no_batch_is_larger_than_asked_for(db: Database) -> None:
    db.sql(HALF)
    db.sql("""
        CREATE TABLE batches (rows int);
        CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
          'BEGIN INSERT INTO batches SELECT count(*) FROM changed; RETURN NULL; END';
        CREATE TRIGGER note AFTER UPDATE ON orders REFERENCING NEW TABLE AS changed
          FOR EACH STATEMENT EXECUTE FUNCTION note();
    """)
    db.adopt(batch=70)
    sizes = [row[0] for row in db.sql("SELECT rows FROM batches")]
    assert max(sizes) == 70
    assert sum(sizes) == 2400


@pytest.mark.parametrize("start", [ORDERS, HALF], ids=["no column", "half done"])
def test_a_run_goes_on_wherever_the_one_before_was_stopped(db: Database, start: str) -> None:
    db.sql(start)
    statements = db.adopt(dry_run=True, batch=100_000).sql
    assert len(statements) > 3
    for count in range(len(statements) + 1):
        db.sql("DROP TABLE orders")
        db.sql(start)
        for statement in statements[:count]:
            db.sql(statement)
        db.adopt()
        assert db.shape() == ADOPTED, statements[:count]
        assert None not in db.by_tenant()


def test_a_dry_run_prints_and_changes_nothing(db: Database) -> None:
    db.sql(ORDERS)
    before = db.shape()
    done = db.adopt(dry_run=True, force=True)
    assert db.shape() == before
    assert (done.rows, done.filled) == (None, 0)
    for statement in done.sql:
        db.sql(statement)
    assert db.shape() == {**ADOPTED, "secured": [(True, True)]}
    assert db.adopt(dry_run=True, force=True).sql == ()


def test_killed_in_the_back_fill_it_is_finished_by_the_next_run(db: Database) -> None:
    db.sql(HALF)
    code = """
        import os, signal, sys
        from tenancy.adopt import adopt
        def stop(at):
            if at.step == "backfill" and at.done > 3:
                os.kill(os.getpid(), signal.SIGKILL)
        adopt(sys.argv[1], sys.argv[2], tables=["orders"], batch=50, progress=stop)
    """
    assert killed(run_python(code, db.url, TENANT))
    left = db.by_tenant()[None]
    assert 0 < left < 2400, "killed in the middle"
    wait_for(lambda: not db.sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"))
    done = db.adopt()
    assert (done.filled, done.others) == (left, 10)
    assert db.shape() == ADOPTED


def test_an_invalid_index_is_made_again(db: Database) -> None:
    db.sql(HALF)
    with pytest.raises(psycopg.errors.UniqueViolation):
        db.sql("CREATE UNIQUE INDEX CONCURRENTLY idx_orders_tenant ON orders (tenant_id)")
    assert db.shape()["index"][0][0] is False, "the failure leaves an invalid index"
    assert "index" in steps(db.adopt())
    assert db.shape() == ADOPTED


@pytest.mark.parametrize("start", [ORDERS, HALF], ids=["no column", "half done"])
def test_writers_go_on_meanwhile(db: Database, start: str) -> None:
    db.sql(start)
    stop = threading.Event()

    def work() -> int:
        count = 0
        with db.server.connect(db.name, "app") as connection:
            while not stop.is_set():
                connection.execute("INSERT INTO orders (item) VALUES ('meanwhile')")
                connection.execute(
                    "UPDATE orders SET updated = updated + 1 WHERE id = %s", [count * 37 % 2500 + 1]
                )
                count += 1
        return count

    with in_background(work) as first, in_background(work) as second:
        try:
            wait_for(
                lambda: db.sql("SELECT count(*) > 20 FROM orders WHERE item = 'meanwhile'")[0][0]
            )
            done = db.adopt(batch=50)
        finally:
            stop.set()
    assert all(isinstance(count, int) for count in first + second), (first, second)
    assert db.shape() == ADOPTED
    rows = db.by_tenant()
    assert rows.pop(OTHER, 0) == done.others
    assert rows == {TENANT: 2500 - (done.others or 0) + first[0] + second[0]}


def test_rows_written_with_null_meanwhile_are_filled_too(db: Database) -> None:
    """An application that knows the column and writes NULL: the check stops it, not the run."""
    db.sql(HALF)
    added = []

    def write_null(at: Any) -> None:
        if at.step == "backfill" and not added:
            added.append(db.sql("INSERT INTO orders (item, tenant_id) VALUES ('x', NULL)"))

    assert db.adopt(batch=50, progress=write_null).filled == 2401
    assert db.shape() == ADOPTED


def test_it_waits_for_locks_without_blocking_others(db: Database) -> None:
    db.sql(ORDERS)
    with db.server.connect(db.name, "app") as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT count(*) FROM orders")  # a long report
        with pytest.raises(StoreBusy, match="no lock within 0"):
            db.adopt(lock_wait=0)
        assert db.shape()["column"] == []
        with in_background(db.adopt) as result:
            try:
                wait_for(
                    lambda: db.sql(
                        "SELECT 1 FROM pg_stat_activity WHERE application_name = 'tenancy adopt'"
                        " AND wait_event_type = 'Lock'"
                    )
                )
                assert db.sql("SELECT count(*) FROM orders") == [(2500,)], "readers get through"
            finally:
                holder.execute("COMMIT")
    assert steps(result[0]) == ["column", "index", "policy"]


def test_two_runs_at_once_are_refused(db: Database) -> None:
    db.sql(HALF)
    reached, go_on = threading.Event(), threading.Event()

    def hold(at: Any) -> None:
        reached.set()
        go_on.wait(DEADLINE_S)

    with in_background(lambda: db.adopt(progress=hold)) as first:
        try:
            assert reached.wait(DEADLINE_S)
            with pytest.raises(StoreBusy, match=r"another adoption runs .*server process \d+"):
                db.adopt()
            assert db.adopt(dry_run=True).sql, "looking is allowed"
        finally:
            go_on.set()
    assert first[0].filled == 2400


def test_a_lost_connection_is_told_and_mended(db: Database) -> None:
    db.sql(HALF)

    def cut(at: Any) -> None:
        db.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'tenancy adopt' AND datname = %s",
            db.name,
            user="boss",
        )

    with pytest.raises(StoreError, match="run it again"):
        db.adopt(batch=50, progress=cut)
    db.adopt()
    assert db.shape() == ADOPTED


# --------------------------------------------------------------------------- row-level security


def test_trap_27_the_policy_holds_for_others_and_forced_for_the_owner(db: Database) -> None:
    db.sql(HALF)
    told = db.adopt().warnings
    assert any("app owns the table and is exempt" in text for text in told)
    db.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO clerk")
    db.sql("GRANT USAGE ON SEQUENCE orders_id_seq TO clerk")
    assert db.sql("SELECT count(*) FROM orders") == [(2500,)], "the owner is exempt"
    _holds_for(db, "clerk")
    assert steps(db.adopt(force=True)) == ["policy"]
    _holds_for(db, "app")


def _holds_for(db: Database, user: str) -> None:
    with pytest.raises(psycopg.errors.UndefinedObject):
        db.sql("SELECT count(*) FROM orders", user=user)  # no tenant: an error, not every row
    with db.server.connect(db.name, user) as connection:
        connection.execute("SELECT set_config('app.tenant_id', %s, false)", [OTHER])

        def count(sql: str) -> int:
            return connection.execute(sql).rowcount

        assert count("SELECT * FROM orders") == 10
        assert count("UPDATE orders SET updated = 1") == 10
        assert count(f"DELETE FROM orders WHERE tenant_id = '{TENANT}'") == 0
        for sql in (
            f"UPDATE orders SET tenant_id = '{TENANT}'",
            f"INSERT INTO orders (item, tenant_id) VALUES ('x', '{TENANT}')",
            "INSERT INTO orders (item) VALUES ('x')",  # the default is another tenant
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(sql)
        connection.execute("SELECT set_config('app.tenant_id', '', false)")
        assert count("SELECT * FROM orders") == 0


def test_the_default_is_dropped_when_the_application_writes_the_tenant(db: Database) -> None:
    db.sql(ORDERS)
    db.adopt(policy=False)
    assert db.shape()["secured"] == [(False, False)]
    assert steps(db.adopt(drop_default=True)) == ["policy", "drop_default"]
    assert steps(db.adopt(drop_default=True)) == []
    with pytest.raises(psycopg.errors.NotNullViolation):
        db.sql("INSERT INTO orders (item) VALUES ('of the old application')")
    assert db.by_tenant() == {TENANT: 2500}


def test_what_a_policy_cannot_mend_is_said(db: Database) -> None:
    db.sql(ORDERS)
    db.sql("""
        CREATE UNIQUE INDEX one_item ON orders (item);
        CREATE VIEW shown AS SELECT * FROM orders;
        CREATE VIEW safe WITH (security_invoker = true) AS SELECT * FROM orders;
        CREATE MATERIALIZED VIEW summed AS SELECT count(*) FROM orders;
        CREATE POLICY everybody ON orders USING (true);
    """)
    told = "\n".join(db.adopt(force=True).warnings)
    assert "view shown shows" in told
    assert "materialized view summed" in told
    assert "policy everybody is permissive" in told
    assert "one_item is unique over all tenants" in told
    assert "safe" not in told
    assert "exempt" not in told


# ----------------------------------------------------------------------------------- the tables


def test_names_are_quoted_and_taken_from_the_catalog(db: Database) -> None:
    hostile = 'a"b; DROP TABLE orders; -- 100% :x %s \\'
    db.sql(ORDERS)
    db.sql('CREATE SCHEMA "My Schema"; CREATE TABLE "My Schema"."Select" ("Order" int)')
    with db.server.connect(db.name, "app") as connection:
        name = psycopg.sql.Identifier(hostile)
        connection.execute(psycopg.sql.SQL("CREATE TABLE {} (a int, b int)").format(name))
        connection.execute(psycopg.sql.SQL("INSERT INTO {} VALUES (1, 2)").format(name))
    names = Names("Tenant :y %s", "my.app.tenant", 'p"q %', 'i"x {table}')
    for _ in range(2):
        done = adopt(db.url, TENANT, tables=[hostile, "My Schema.Select"], names=names)
        assert [(t.table, t.rows) for t in done.tables] == [(hostile, 1), ("My Schema.Select", 0)]
    assert not [step for t in done.tables for step in t.steps if step.done]
    assert db.sql("SELECT count(*) FROM orders") == [(2500,)]
    assert [r[0] for r in db.sql("SELECT DISTINCT policyname FROM pg_policies")] == ['p"q %']


@pytest.mark.parametrize(
    "key", ["", "PRIMARY KEY (a, b)", "PRIMARY KEY (b)"], ids=["none", "composite", "text"]
)
def test_any_key_and_no_key_will_do(db: Database, key: str) -> None:
    comma = "," if key else ""
    db.sql(f"CREATE TABLE things (a int, b text, tenant_id varchar(40){comma} {key})")
    db.sql("INSERT INTO things SELECT n % 7, n::text FROM generate_series(1, 777) n")
    done = db.adopt("things", batch=10)
    assert (done.filled, done.rows) == (777, 777)
    assert not steps(db.adopt("things"))


def test_long_names_get_indexes_of_their_own(db: Database) -> None:
    tables = [f"{'t' * 59}{n}" for n in range(3)]
    for table in tables:
        db.sql(f"CREATE TABLE {table} (a int)")
    adopt(db.url, TENANT, tables=tables)
    names = [
        row[0] for row in db.sql("SELECT indexname FROM pg_indexes WHERE tablename LIKE 'tt%'")
    ]
    assert len(set(names)) == 3
    assert all(len(name) <= 63 for name in names)
    assert not any(steps(t) for t in adopt(db.url, TENANT, tables=tables).tables)


def test_all_tables_but_views_and_books(db: Database) -> None:
    db.sql(ORDERS)
    db.sql("""
        CREATE TABLE invoices (a int); CREATE TABLE countries (a int);
        CREATE TABLE alembic_version (version_num text); CREATE VIEW seen AS SELECT 1;
        CREATE SCHEMA elsewhere; CREATE TABLE elsewhere.things (a int);
    """)
    done = adopt(db.url, TENANT, all_tables=True, exclude=["countries"])
    assert [t.table for t in done.tables] == ["invoices", "orders"]
    assert done.left_out.keys() == {"alembic_version", "countries", "seen"}
