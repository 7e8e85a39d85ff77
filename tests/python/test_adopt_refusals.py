"""What cannot be adopted is refused with a reason, before anything changes; the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from adopt_support import HALF, ORDERS, TENANT, Database
from postgres_support import Server
from store_support import write_catalog
from tenancy import Tenancy
from tenancy.adopt import Names, adopt
from tenancy.cli import app
from tenancy.errors import AdoptionRefused, InvalidValue, StoreError, TenancyError, UnknownTable


@pytest.fixture
def db(postgres: Server) -> Database:
    return Database(postgres)


REFUSED = {
    "a view": ("CREATE VIEW x AS SELECT 1 AS a", "x is a view"),
    "a materialized view": ("CREATE MATERIALIZED VIEW x AS SELECT 1", "x is a materialized view"),
    "partitioned": ("CREATE TABLE x (a int) PARTITION BY LIST (a)", "x is partitioned"),
    "inherited": ("CREATE TABLE x (a int); CREATE TABLE y () INHERITS (x)", "inherits"),
    "another type": ("CREATE TABLE x (tenant_id uuid)", "x.tenant_id is uuid, expected text"),
    "too short": ("CREATE TABLE x (tenant_id varchar(9))", "too short for a tenant's id"),
    "generated": (
        "CREATE TABLE x (a text, tenant_id text GENERATED ALWAYS AS (a) STORED)",
        "is generated",
    ),
    "index taken": (
        "CREATE TABLE x (a int, tenant_id text); CREATE INDEX idx_x_tenant ON x (a)",
        "idx_x_tenant exists and is something else",
    ),
    "index partial": (
        "CREATE TABLE x (a int, tenant_id text);"
        " CREATE INDEX idx_x_tenant ON x (tenant_id) WHERE a = 1",
        "idx_x_tenant exists and is something else",
    ),
    "policy differs": (
        "CREATE TABLE x (tenant_id text); CREATE POLICY tenant_isolation ON x USING (true)",
        "has another rule, true",
    ),
    "forced": (
        "CREATE TABLE x (tenant_id text); ALTER TABLE x ENABLE ROW LEVEL SECURITY;"
        " ALTER TABLE x FORCE ROW LEVEL SECURITY",
        "NO FORCE ROW LEVEL SECURITY first",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_adopted_is_refused_before_anything_changes(db: Database, case: str) -> None:
    sql, reason = REFUSED[case]
    db.sql(ORDERS)
    db.sql(sql)
    with pytest.raises(AdoptionRefused) as caught:
        adopt(db.url, TENANT, tables=["orders", "x"])
    assert reason in str(caught.value)
    assert db.shape()["column"] == []


def test_foreign_tables_and_tables_of_others_are_refused(db: Database) -> None:
    db.sql(
        "CREATE FOREIGN DATA WRAPPER far; CREATE SERVER far FOREIGN DATA WRAPPER far;"
        " CREATE FOREIGN TABLE x (a int) SERVER far; CREATE TABLE bosses (a int);"
        " CREATE SCHEMA closed CREATE TABLE apps (a int); GRANT USAGE ON SCHEMA closed TO app;"
        " ALTER TABLE closed.apps OWNER TO app",
        user="boss",
    )
    with pytest.raises(AdoptionRefused) as caught:
        adopt(db.url, TENANT, tables=["x", "bosses", "closed.apps"])
    told = str(caught.value)
    assert "x is a foreign table" in told
    assert "bosses belongs to boss: connect as" in told
    assert "no right to make an index in the schema closed" in told


def test_an_unknown_table_is_named_with_those_near_it(db: Database) -> None:
    db.sql(ORDERS)
    with pytest.raises(UnknownTable, match=r"no such table: 'order': near it: .*orders"):
        db.adopt("order")
    with pytest.raises(UnknownTable, match="'pg_class'"):
        db.adopt("pg_class")


def test_an_unreachable_database_is_told_without_its_password(db: Database) -> None:
    for url in (
        f"{db.url}/nowhere",
        db.server.url("none"),
        db.url.replace(db.server.password, "x"),
    ):
        with pytest.raises(StoreError, match="cannot be reached") as caught:
            adopt(url, TENANT, tables=["orders"])
        assert db.server.password not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"tables": []},
        {"all_tables": True},
        {"batch": 0},
        {"batch": 2_000_000},
        {"lock_wait": -1.0},
        {"lock_wait": float("nan")},
        {"policy": False, "force": True},
        {"names": Names(column="")},
        {"names": Names(column="x" * 64)},
        {"names": Names(column="a\0b")},
        {"names": Names(column="ctid")},
        {"names": Names(index="one_for_all")},
        {"names": Names(setting="app'; DROP TABLE orders; --")},
        {"names": Names(setting="tenant")},
    ],
    ids=str,
)
def test_bad_options_are_named(db: Database, options: dict[str, Any]) -> None:
    db.sql(ORDERS)
    with pytest.raises(InvalidValue):
        adopt(db.url, TENANT, **{"tables": ["orders"], **options})
    assert db.shape()["column"] == []


@pytest.mark.parametrize("tenant", ["acme", "ten_", "ten_a'b", "ten_" + "a" * 99, ""])
def test_only_a_tenants_id_goes_into_rows(db: Database, tenant: str) -> None:
    with pytest.raises(InvalidValue, match="no id of a tenant"):
        adopt(db.url, tenant, tables=["orders"])


@pytest.mark.parametrize("url", ["", "orders", "mysql://host/x", "postgresql://h:port/x", "redis:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(TenancyError) as caught:
        adopt(url, TENANT, tables=["orders"])
    assert isinstance(caught.value, InvalidValue)


# ----------------------------------------------------------------------------- the command line


def test_one_command_adopts(db: Database, tmp_path: Path) -> None:
    db.sql(HALF)

    def run(*words: str, status: int = 0) -> Any:
        result = CliRunner().invoke(app, [*words, "--data", str(tmp_path / "data")])
        assert result.exit_code == status, (words, result.output, result.exception)
        return result

    run("plans", "use", str(write_catalog(tmp_path)))
    command = ("adopt", db.url, "--table", "orders")
    dry = run(*command, "--dry-run")
    assert "SET NOT NULL;" in dry.stdout
    assert "the default tenant is made by the run" in dry.stderr
    with Tenancy.open(tmp_path / "data") as t:
        assert list(t.tenants.list()) == []
    done = json.loads(run(*command, "--json").stdout)
    with Tenancy.open(tmp_path / "data") as t:
        default = t.tenants.by_slug("default")
        assert (default.name, default.id) == ("Default", done["tenant"])
    assert (done["database"], done["dry_run"], done["left_out"]) == ("postgresql", False, {})
    (table,) = done["tables"]
    assert (table["filled"], table["rows"], table["others"]) == (2400, 2400, 100)
    assert {"step": "index", "done": True, "note": ""} in table["steps"]
    shown = run(*command)
    assert "2,400" in shown.stdout
    assert "exempt" in shown.stderr
    assert "-- nothing to do" in run(*command, "--dry-run").stdout
    run("adopt", db.url, "--table", "none", status=1)
    run("adopt", db.url, status=2)
    run("adopt", "mysql://x/y", "--all", status=2)
    run(*command, "--tenant", "nobody", status=1)
    run("tenants", "delete", "default")
    gone = run(*command, status=1)
    assert "is deleted" in gone.stderr
