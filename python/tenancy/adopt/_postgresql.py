"""Adopting tables of PostgreSQL 14 and newer, while the application works on them.

One session does everything, each statement in a transaction of its own. It holds the advisory lock
that keeps a second run away, so the lock lives exactly as long as the work.

- A new column comes with NOT NULL and a constant DEFAULT: since PostgreSQL 11 that changes the
  catalog alone, whatever the size of the table, and rows inserted meanwhile get the tenant too.
- A column that is there and may be NULL is filled by ranges of pages, which every table has,
  whatever its key, and which are read in order (TID range scans, PostgreSQL 14). A row that moved
  to a page already done is found by the next pass; passes end when one fills nothing.
- Statements that need ACCESS EXCLUSIVE wait for it half a second at a time: whoever waits for that
  lock makes all others queue behind, readers too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa

from ..errors import AdoptionRefused, InvalidValue, StoreBusy
from ._parts import (
    BOOKKEEPING,
    Options,
    Plan,
    Progress,
    Report,
    Statement,
    Step,
    fitting,
    literals,
    patiently,
    unknown,
)

_T = TypeVar("_T")

LONGEST = 63  # bytes of a name, NAMEDATALEN - 1
LOCK_TIMEOUT_MS = 500
CONNECT_TIMEOUT_S = 10
_ADVISORY = (0x74656E61, 0x61646F70)  # "tena", "adop": one adoption at a time in a database
_ROWS_A_PAGE = 20  # how batches of rows become windows of pages; only a guess is needed

_BUSY = ("55P03", "40P01")  # lock_not_available, deadlock_detected
_KINDS = {
    "v": "is a view: adopt the tables it reads; row-level security holds under a view only with "
    "security_invoker=true",
    "m": "is a materialized view, which no policy can protect: adopt the tables it reads and let "
    "it group by tenant",
    "f": "is a foreign table: adopt it on the server where its rows are",
    "p": "is partitioned: an index on it cannot be made concurrently; docs/migrating.md has the "
    "statements",
}

_TABLES = """
SELECT c.oid, n.oid AS schema_oid, n.nspname AS schema, c.relname AS name, c.relkind AS kind,
       c.relispartition AS partition, c.relrowsecurity AS secured, c.relforcerowsecurity AS forced,
       pg_has_role(c.relowner, 'USAGE') AS owned, has_schema_privilege(n.oid, 'CREATE') AS create,
       pg_get_userbyid(c.relowner) AS owner, n.nspname = ANY (current_schemas(false)) AS on_path,
       EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhparent, i.inhrelid)) AS inherits,
       EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass
                  AND d.objid = c.oid AND d.deptype = 'e') AS of_extension
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
   AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
 ORDER BY array_position(current_schemas(false), n.nspname), n.nspname, c.relname
"""
_COLUMN = """
SELECT a.attnum AS number, format_type(a.atttypid, a.atttypmod) AS type, a.attnotnull AS not_null,
       a.attgenerated <> '' OR a.attidentity <> '' AS generated,
       pg_get_expr(d.adbin, d.adrelid) AS standard
  FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
 WHERE a.attrelid = :oid AND a.attname = :column AND NOT a.attisdropped
"""
_CHECK = """
SELECT convalidated AS valid FROM pg_constraint WHERE conrelid = :oid AND conname = :name
"""
_INDEX = """
SELECT i.indrelid = :oid AS here, i.indisvalid AS valid, i.indpred IS NULL AS whole,
       (SELECT a.attname FROM pg_attribute a
         WHERE a.attrelid = i.indrelid AND a.attnum = i.indkey[0]) AS first
  FROM pg_class x LEFT JOIN pg_index i ON i.indexrelid = x.oid
 WHERE x.relnamespace = :schema AND x.relname = :name
"""
_POLICIES = """
SELECT polname AS name, polpermissive AS permissive, polcmd = '*' AND polroles = '{0}' AS everyone,
       pg_get_expr(polqual, polrelid) AS reads, pg_get_expr(polwithcheck, polrelid) AS writes
  FROM pg_policy WHERE polrelid = :oid
"""
_VIEWS = """
SELECT DISTINCT v.oid::regclass::text AS name, v.relkind AS kind
  FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid JOIN pg_class v ON v.oid = r.ev_class
 WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass
   AND d.refobjid = :oid AND v.oid <> :oid
   AND array_to_string(coalesce(v.reloptions, '{}'), ' ') !~ 'security_invoker=(true|on|yes|1)'
 ORDER BY name
"""
_UNIQUE = """
SELECT x.relname AS name FROM pg_index i JOIN pg_class x ON x.oid = i.indexrelid
 WHERE i.indrelid = :oid AND i.indisunique AND NOT i.indisprimary
   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = i.indrelid
                      AND a.attname = :column AND a.attnum = ANY (i.indkey::int2[]))
 ORDER BY x.relname
"""
_HOLDERS = """
SELECT a.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid)
 WHERE l.locktype = 'advisory' AND l.classid = :first AND l.objid = :second AND l.granted
   AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


@dataclass(frozen=True)
class Found:
    """A table and what the plan depends on."""

    row: Any
    column: Any
    check_valid: bool | None  # None: there is no such constraint
    index: Any
    policies: tuple[Any, ...]


def prepared(url: sa.URL) -> sa.Engine:
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        poolclass=sa.NullPool,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "tenancy adopt",
            "prepare_threshold": None,
        },
    )


def busy(error: Exception) -> bool:
    return getattr(getattr(error, "orig", None), "sqlstate", None) in _BUSY


class PostgreSQL:
    kind = "postgresql"
    longest = LONGEST

    def __init__(self, connection: sa.Connection, options: Options, report: Report) -> None:
        self._connection = connection
        self._options = options
        self._report = report
        self._names = options.names
        quote = connection.dialect.identifier_preparer.quote
        self._quote: Callable[[str], str] = lambda name: str(quote(name))
        literal = literals(connection.dialect)
        self._tenant = literal(options.tenant)
        self._column = self._quote(self._names.column)
        self._rule = f"{self._column} = current_setting({literal(self._names.setting)})"

    # ------------------------------------------------------------------------------- session

    def begin(self) -> None:
        version, replica = self._one("SELECT current_setting('server_version_num')::int AS v, "
                                     "pg_is_in_recovery() AS r")  # fmt: skip
        if version < 140000:
            told = f"the server is PostgreSQL {version // 10000}; 14 or newer is needed"
            raise AdoptionRefused(told, remedy="upgrade it, or take the steps of docs/migrating.md")
        if replica:
            raise AdoptionRefused("the server is a replica", remedy="name the primary")
        (self._sees_all,) = self._one(
            "SELECT rolsuper OR rolbypassrls AS b FROM pg_roles WHERE rolname = current_user"
        )
        # A server whose client was killed notices within a second, and lets go of the lock.
        self._run("SET client_connection_check_interval = 1000")
        for setting in ("statement_timeout", "lock_timeout", "idle_session_timeout"):
            self._run(f"SET {setting} = 0")

    def lock(self) -> None:
        """Keep other runs away; the lock ends with the session."""
        first, second = _ADVISORY

        if not self._one("SELECT pg_try_advisory_lock(:a, :b) AS ours", a=first, b=second).ours:
            holders = self._all(_HOLDERS, first=first, second=second)
            pids = ", ".join(str(row.pid) for row in holders) or "just ended"
            told = f"another adoption runs in this database (server process {pids})"
            raise StoreBusy(told, remedy="wait for it to end, or end it with pg_terminate_backend")

    def end(self) -> None:
        """Nothing: the lock ends with the session."""

    # ------------------------------------------------------------------------------- finding

    def find(
        self, wanted: Sequence[str], every: bool, exclude: Sequence[str]
    ) -> tuple[list[Any], dict[str, str]]:
        rows = self._all(_TABLES)
        known = {self.title(row): row for row in rows} | {f"{r.schema}.{r.name}": r for r in rows}
        for row in rows:
            if row.on_path:
                known.setdefault(row.name, row)
        missing = [name for name in (*wanted, *exclude) if name not in known]
        if missing:
            unknown(missing, known)
        excluded = {known[name].oid for name in exclude}
        found = {known[name].oid: known[name] for name in wanted}
        left_out = {}
        for row in rows if every else ():
            if not row.on_path or row.partition or row.oid in found:
                continue
            if row.oid in excluded:
                left_out[self.title(row)] = "excluded"
            elif row.kind in "vm":
                left_out[self.title(row)] = "a view"
            elif row.of_extension or row.name in BOOKKEEPING:
                left_out[self.title(row)] = "the books of a tool or an extension"
            else:
                found[row.oid] = row
        return [row for oid, row in found.items() if oid not in excluded], left_out

    def title(self, row: Any) -> str:
        return row.name if row.on_path else f"{row.schema}.{row.name}"

    def state(self, row: Any) -> Found:
        oid = row.oid
        names = {"oid": oid, "column": self._names.column}
        fresh = next(r for r in self._all(_TABLES) if r.oid == oid)
        check = self._all(_CHECK, oid=oid, name=self._check_name(row))
        index = self._all(_INDEX, oid=oid, schema=row.schema_oid, name=self._index_name(row))
        return Found(
            fresh,
            next(iter(self._all(_COLUMN, **names)), None),
            check[0].valid if check else None,
            index[0] if index else None,
            tuple(self._all(_POLICIES, oid=oid)),
        )

    # ---------------------------------------------------------------------------- refusing

    def problems(self, found: Found) -> list[str]:
        """Everything about this table that stands in the way."""
        row, title = found.row, self.title(found.row)
        if row.kind in _KINDS:
            return [f"{title} {_KINDS[row.kind]}"]
        if row.inherits or row.partition:
            return [f"{title} inherits or is inherited from: adopt such tables by hand"]
        if not row.owned:
            return [f"{title} belongs to {row.owner}: connect as a role that is one with its owner"]
        told = []
        if not row.create:
            told.append(f"{title}: no right to make an index in the schema {row.schema}: GRANT "
                        f"CREATE ON SCHEMA {self._quote(row.schema)}")  # fmt: skip
        told += [f"{title}.{self._names.column} {why}" for why in self._column_problems(found)]
        index = found.index
        if index is not None and not (
            index.here and index.whole and index.first == self._names.column
        ):
            name = self._index_name(row)
            told.append(f"{title}: {name} exists and is something else: choose another index name")
        policy = self._own_policy(found)
        if self._options.policy and policy is not None and not self._is_ours(policy):
            told.append(
                f"{title}: the policy {policy.name} has another rule, {policy.reads}: drop it, or "
                "choose another policy name"
            )
        if found.column is not None and not found.column.not_null and self._hides(row):
            told.append(
                f"{title}: its forced row-level security hides rows that have no tenant yet: "
                f"ALTER TABLE {self._full(row)} NO FORCE ROW LEVEL SECURITY first, or connect as "
                "a role with BYPASSRLS"
            )
        return told

    def _column_problems(self, found: Found) -> list[str]:
        column = found.column
        if column is None:
            return []
        if column.number < 0:
            raise InvalidValue("column", f"{self._names.column} is a column of the system")
        if column.generated:
            return ["is generated: choose another column"]
        size = re.fullmatch(r"character varying(?:\((\d+)\))?|text", column.type)
        if size is None:
            return [f"is {column.type}, expected text: choose another column, or change its type"]
        if size.group(1) and int(size.group(1)) < len(self._options.tenant):
            need = len(self._options.tenant)
            return [f"is {column.type}, too short for a tenant's id of {need}: widen it"]
        return []

    def warnings(self, found: Found) -> tuple[str, ...]:
        """What row-level security and one column cannot mend. Owners are exempt (trap 27)."""
        row, told = found.row, []
        if self._options.policy:
            if not (self._options.force or row.forced):
                told.append(
                    f"{row.owner} owns the table and is exempt from its policy, and so is every "
                    "application that connects as that role: connect as another, or force it"
                )
            told += [
                f"{'materialized view' if view.kind == 'm' else 'view'} {view.name} shows rows of "
                "every tenant to whoever may read it"
                for view in self._all(_VIEWS, oid=row.oid)
            ]
            told += [
                f"policy {p.name} is permissive: rows it allows are allowed, whatever the tenant"
                for p in found.policies
                if p.permissive and p.name != self._names.policy
            ]
        told += [
            f"{unique.name} is unique over all tenants, not in each"
            for unique in self._all(_UNIQUE, oid=row.oid, column=self._names.column)
        ]
        return tuple(told)

    # ------------------------------------------------------------------------------ planning

    def plan(self, found: Found) -> Plan:
        steps = [*self._column_steps(found), self._index_step(found)]
        if self._options.policy:
            steps.append(self._policy_step(found))
        if self._options.drop_default:
            steps.append(self._drop_default_step(found))
        return Plan(self.title(found.row), tuple(steps), self.warnings(found))

    def _column_steps(self, found: Found) -> list[Step]:
        table, c = self._full(found.row), self._column
        alter = f"ALTER TABLE {table} "
        drop_check = Statement(f"{alter}DROP CONSTRAINT {self._quote(self._check_name(found.row))}")
        if found.column is None:
            add = f"{alter}ADD COLUMN {c} text DEFAULT {self._tenant} NOT NULL"
            return [
                Step("column", (Statement(add),)),
                Step("backfill", note="the new column holds the tenant in every row"),
                Step("not_null", note="made with the column"),
            ]
        steps = [Step("column", note="there")]
        if found.column.not_null:
            left = () if found.check_valid is None else (drop_check,)
            return [
                *steps,
                Step("backfill", note="no row is without a tenant"),
                Step("not_null", left, note="there"),
            ]
        if found.column.standard is None:
            standard = f"{alter}ALTER COLUMN {c} SET DEFAULT {self._tenant}"
            steps.append(Step("default", (Statement(standard),)))
        else:
            steps.append(Step("default", note=f"there: {found.column.standard}"))
        fill = Statement(self._batch_sql(found.row), "batches")
        name = self._quote(self._check_name(found.row))
        check = Statement(f"{alter}ADD CONSTRAINT {name} CHECK ({c} IS NOT NULL) NOT VALID")
        validate = Statement(f"{alter}VALIDATE CONSTRAINT {name}", "patient")
        forbid = Statement(f"{alter}ALTER COLUMN {c} SET NOT NULL")
        # Between the back-fill and the check somebody may have written NULL: a second pass.
        not_null = [check, fill, validate, forbid, drop_check]
        if found.check_valid is not None:
            not_null = not_null[3:] if found.check_valid else not_null[2:]
        return [*steps, Step("backfill", (fill,)), Step("not_null", tuple(not_null))]

    def _index_step(self, found: Found) -> Step:
        name = self._quote(self._index_name(found.row))
        make = f"CREATE INDEX CONCURRENTLY {name} ON {self._full(found.row)} ({self._column})"
        if found.index is None:
            return Step("index", (Statement(make, "patient"),))
        if found.index.valid:
            return Step("index", note="there")
        drop = f"DROP INDEX CONCURRENTLY {self._quote(found.row.schema)}.{name}"
        statements = (Statement(drop, "patient"), Statement(make, "patient"))
        return Step("index", statements, note="an interrupted run had left an invalid one")

    def _policy_step(self, found: Found) -> Step:
        table, row = self._full(found.row), found.row
        name = self._quote(self._names.policy)
        statements = []
        if self._own_policy(found) is None:
            rules = f"USING ({self._rule}) WITH CHECK ({self._rule})"
            statements.append(Statement(f"CREATE POLICY {name} ON {table} {rules}"))
        if not row.secured:
            statements.append(Statement(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY"))
        if self._options.force and not row.forced:
            statements.append(Statement(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY"))
        return Step("policy", tuple(statements), note="" if statements else "there", atomic=True)

    def _drop_default_step(self, found: Found) -> Step:
        column = found.column
        if column is not None and column.not_null and column.standard is None:
            return Step("drop_default", note="there is none")
        if (
            column is not None
            and column.standard is not None
            and self._tenant not in column.standard
        ):
            return Step("drop_default", note=f"kept: {column.standard}")
        sql = f"ALTER TABLE {self._full(found.row)} ALTER COLUMN {self._column} DROP DEFAULT"
        return Step("drop_default", (Statement(sql),))

    # ------------------------------------------------------------------------------- running

    def carry_out(self, found: Found, step: Step) -> int:
        """Run one step; how many rows it filled."""
        if step.atomic:
            self._briefly(lambda: self._together(step.statements))
            return 0
        filled = 0
        for statement in step.statements:
            if statement.how == "batches":
                filled += self._fill(found, step.name)
            elif statement.how == "brief":
                self._briefly(partial(self._run, statement.sql))
            else:
                self._run(statement.sql)
        return filled

    def count(self, found: Found) -> tuple[int, int] | None:
        """Rows of the tenant, and those of others."""
        if self._hides(found.row):
            return None
        c = self._column
        own, every = self._row(
            f"SELECT count(*) FILTER (WHERE {c} = {self._tenant}) AS own, count(*) AS every"  # noqa: S608 - quoted by the dialect
            f" FROM {self._full(found.row)}"
        )
        return own, every - own

    def shown(self, sql: str) -> str:
        return sql.replace("%%", "%")  # the driver's escape of its placeholder

    def _fill(self, found: Found, step: str) -> int:
        size, page = self._one(
            "SELECT pg_relation_size(CAST(:oid AS oid)) AS size, "
            "current_setting('block_size')::int AS page", oid=found.row.oid
        )  # fmt: skip
        pages, window = size // page, max(1, self._options.batch // _ROWS_A_PAGE)
        sql = self._batch_sql(found.row, "ctid >= %(low)s::tid AND ctid < %(high)s::tid AND ")
        full, title, filled = self._full(found.row), self.title(found.row), 0
        left = f"SELECT EXISTS (SELECT FROM {full} WHERE {self._column} IS NULL)"  # noqa: S608
        while True:
            before = filled
            for low in range(0, pages + 1, window):
                bounds = {"low": f"({low},0)", "high": f"({low + window},0)"}
                done = self._options.batch
                while done >= self._options.batch:
                    done = self._briefly(partial(self._run, sql, bounds))
                    filled += done
                self._report(Progress(title, step, min(low + window, pages), pages))
            if filled == before or not self._row(left)[0]:
                return filled

    def _batch_sql(self, row: Any, bounds: str = "") -> str:
        table, c = self._full(row), self._column
        return (
            f"UPDATE {table} SET {c} = {self._tenant} WHERE {c} IS NULL AND ctid = ANY (ARRAY ("  # noqa: S608
            f"SELECT ctid FROM {table} WHERE {bounds}{c} IS NULL LIMIT {self._options.batch}))"
        )

    def _briefly(self, run: Callable[[], _T]) -> _T:
        self._run(f"SET lock_timeout = {LOCK_TIMEOUT_MS}")
        try:
            return patiently(run, busy, self._options.lock_wait)
        finally:
            if not self._connection.invalidated:
                self._run("SET lock_timeout = 0")

    def _together(self, statements: Sequence[Statement]) -> None:
        self._run("BEGIN")
        try:
            for statement in statements:
                self._run(statement.sql)
        except BaseException:
            if not self._connection.invalidated:
                self._run("ROLLBACK")
            raise
        self._run("COMMIT")

    # ------------------------------------------------------------------------------- helpers

    def _full(self, row: Any) -> str:
        return f"{self._quote(row.schema)}.{self._quote(row.name)}"

    def _index_name(self, row: Any) -> str:
        return self._names.index_of(row.name, LONGEST)

    def _check_name(self, row: Any) -> str:
        return fitting(f"{row.name}_{self._names.column}_adopting", LONGEST)

    def _own_policy(self, found: Found) -> Any:
        return next((p for p in found.policies if p.name == self._names.policy), None)

    def _is_ours(self, policy: Any) -> bool:
        def bare(rule: str | None) -> str:
            return re.sub(r'[()\s"]|::text', "", rule or "")

        rule = bare(self.shown(self._rule))
        both = {bare(policy.reads), bare(policy.writes)}
        return bool(policy.permissive and policy.everyone and both == {rule})

    def _hides(self, row: Any) -> bool:
        return bool(row.forced and not self._sees_all)

    def _run(self, sql: str, parameters: dict[str, str] | None = None) -> int:
        return self._connection.exec_driver_sql(sql, parameters or {}).rowcount

    def _row(self, sql: str) -> Any:
        """Of a statement with names in it, which may hold colons."""
        return self._connection.exec_driver_sql(sql, {}).one()

    def _all(self, sql: str, **values: Any) -> Sequence[Any]:
        return self._connection.execute(sa.text(sql), values).all()

    def _one(self, sql: str, **values: Any) -> Any:
        return self._connection.execute(sa.text(sql), values).one()
