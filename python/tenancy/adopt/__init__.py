"""Adopt the tables of a service that had one customer: every row gets a tenant.

>>> from tenancy.adopt import adopt
>>> done = adopt("postgresql://localhost/app", t.tenants.ensure_default(), tables=["orders"])
>>> done.tables[0].rows
1000000

The application goes on working meanwhile. A run that was stopped at any moment, by `kill -9` too,
is finished by running it again: each step looks at what is there and does what is missing. The
same on the command line is `tenancy adopt`; docs/migrating.md is the guide.
"""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from ..errors import AdoptionRefused, ExtraMissing, InvalidValue, StoreBusy, StoreError
from ..stores.records import Tenant
from . import _postgresql, _sqlite
from ._parts import (
    AGAIN,
    LOCKED,
    AdoptedTable,
    Adoption,
    Names,
    Options,
    Plan,
    Progress,
    Report,
    StepDone,
    first_line,
    refuse,
    shown_url,
    step_done,
    unreachable,
)

__all__ = ["AdoptedTable", "Adoption", "Names", "Progress", "StepDone", "adopt"]

_Database = _postgresql.PostgreSQL | _sqlite.SQLite
_MODULES = {"postgresql": _postgresql, "sqlite": _sqlite}
_CLASSES: dict[str, type[_postgresql.PostgreSQL] | type[_sqlite.SQLite]] = {
    "postgresql": _postgresql.PostgreSQL,
    "sqlite": _sqlite.SQLite,
}


def adopt(
    database: str | sa.URL,
    tenant: Tenant | str,
    *,
    tables: Sequence[str] = (),
    all_tables: bool = False,
    exclude: Sequence[str] = (),
    names: Names | None = None,
    batch: int = 1000,
    policy: bool = True,
    force: bool = False,
    drop_default: bool = False,
    lock_wait: float = 60.0,
    dry_run: bool = False,
    progress: Report | None = None,
) -> Adoption:
    """Give every row of `tables` to `tenant`, online and resumable; what each table came to.

    `database`: the URL of a PostgreSQL (14 or newer; the extra `postgres`) or an SQLite file.
    Whatever driver it names, psycopg and sqlite3 are used.
    `tenant`: a `Tenant`, such as that of `tenants.ensure_default()`, or its id.
    `tables`: names as the database has them, `schema.table` outside the search path; or
    `all_tables` of the search path but those to `exclude`, views, and books of migration tools.

    The steps of each table, those that are done already left out:

    - `column`: `names.column`, NOT NULL, with the tenant as DEFAULT: rows that are there have it
      at once without being rewritten, and rows that the old application inserts get it too.
    - `default`, `backfill`, `not_null`: for a column that is there and may be NULL: a DEFAULT,
      then `batch` rows a transaction, then NOT NULL by way of a check that is validated without
      stopping writers. Rows of other tenants are kept and counted. SQLite: triggers.
    - `index`: `names.index`, made concurrently; an invalid one of an interrupted run is replaced.
    - `policy`: `names.policy` lets a row be read and written only where `names.setting` is its
      tenant. PostgreSQL exempts the owner of a table: `force` ends that. SQLite has no policies.
    - `drop_default`: only when asked for, once the application itself writes the tenant.

    Nothing is changed unless every table can be adopted. A lock that stops writers is waited for
    half a second at a time, `lock_wait` seconds in all. `dry_run` changes nothing: the report has
    the SQL. `progress` is called during the back-fill.

    Raises `UnknownTable`; `AdoptionRefused` with everything that stands in the way: views,
    partitioned and foreign tables, a column of another type, missing rights; `StoreBusy` when
    another run is at work or a lock is not to be had; `StoreError` when the database cannot be
    reached or the connection is lost; `InvalidValue`, `ExtraMissing`.
    """
    url = _url(database)
    kind = url.get_backend_name()
    options = Options(
        tenant.id if isinstance(tenant, Tenant) else tenant,
        names or Names(),
        batch,
        policy,
        force,
        drop_default,
        lock_wait,
    )
    options.check(_MODULES[kind].LONGEST)
    if bool(tables) == all_tables:
        remedy = "name the tables, or ask for all of them, not both"
        raise InvalidValue("tables", "expected tables or all_tables", remedy=remedy)
    if force and not policy:
        raise InvalidValue("force", "there is nothing to force without the policy")
    report = progress or (lambda _: None)
    with _session(url, options, report) as target:
        target.begin()
        if not dry_run:
            target.lock()
        rows, left_out = target.find(tables, all_tables, exclude)
        states = [target.state(row) for row in rows]
        refuse([problem for state in states for problem in target.problems(state)])
        work = _planned if dry_run else _adopted
        done = tuple(work(target, state) for state in states)
    return Adoption(kind, options.tenant, dry_run, done, left_out)


def _planned(target: Any, state: Any) -> AdoptedTable:
    plan: Plan = target.plan(state)
    steps = tuple(step_done(step) for step in plan.steps)
    sql = tuple(target.shown(each) for each in plan.sql())
    return AdoptedTable(plan.table, steps, warnings=plan.warnings, sql=sql)


def _adopted(target: Any, state: Any) -> AdoptedTable:
    plan: Plan = target.plan(state)
    added = state.column is None
    filled, counts, steps = 0, None, []
    for step in plan.steps:
        if step.name == "policy":  # forced, it would hide rows from being counted
            counts = target.count(state)
        got = target.carry_out(state, step) if step.due else 0
        filled += got
        steps.append(step_done(step, f"{got} rows" if got else ""))
    counts = counts or target.count(target.state(state.row))
    rows, others = counts or (None, None)
    if added:
        filled = rows or 0
    return AdoptedTable(plan.table, tuple(steps), filled, rows, others, plan.warnings)


# --------------------------------------------------------------------------------- the database


def _url(database: str | sa.URL) -> sa.URL:
    text = database
    if isinstance(text, str) and text.startswith("postgres://"):
        text = "postgresql" + text.removeprefix("postgres")
    try:
        url = sa.make_url(text)
    except (sa.exc.ArgumentError, ValueError):
        remedy = "such as postgresql://user@host/name or sqlite:///app.db"
        raise InvalidValue("database", "this is no URL of a database", remedy=remedy) from None
    kind = url.get_backend_name()
    if kind not in _MODULES:
        raise InvalidValue("database", f"{kind}: expected postgresql:// or sqlite://")
    if kind == "postgresql" and importlib.util.find_spec("psycopg") is None:
        raise ExtraMissing("postgres", "psycopg")
    return url


@contextmanager
def _session(url: sa.URL, options: Options, report: Report) -> Iterator[Any]:
    kind = url.get_backend_name()
    engine = _MODULES[kind].prepared(url)
    try:
        try:
            connection = engine.connect()
        except sa.exc.DBAPIError as error:
            raise unreachable(url, error) from error
        with connection:
            target: Any = _CLASSES[kind](connection, options, report)
            try:
                yield target
            except sa.exc.DBAPIError as error:
                raise _translated(url, error, _MODULES[kind].busy(error)) from error
            finally:
                target.end()
    finally:
        engine.dispose()


def _translated(url: sa.URL, error: sa.exc.DBAPIError, busy: bool) -> Exception:
    told = f"{shown_url(url)}: {first_line(error)}"
    if busy:
        return StoreBusy(told, remedy=f"{LOCKED}; {AGAIN}")
    state = getattr(error.orig, "sqlstate", None)
    if state == "42501":
        remedy = "connect as the owner of the tables, with CREATE on their schema"
        return AdoptionRefused(told, remedy=remedy)
    if error.connection_invalidated or (state or "")[:2] in ("08", "57"):
        return StoreError(told, remedy=AGAIN)
    if isinstance(error.orig, sqlite3.Error):
        return StoreError(told, remedy="see that the file is an SQLite database and can be written")
    return AdoptionRefused(told, remedy=f"mend it, then {AGAIN}")
