"""What both databases share: the options, a plan of steps, the report, patience with locks.

A plan is a pure function of what the database holds: a step either says why there is nothing to
do, or lists its statements. `--dry-run` prints the plan; a run carries it out. A run that was
killed is continued by planning again.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, NoReturn, TypeVar, cast

import sqlalchemy as sa

from ..errors import AdoptionRefused, InvalidValue, StoreBusy, StoreError, UnknownTable
from ..stores.records import Record

_T = TypeVar("_T")

# Tables in which tools keep their own books: they belong to no tenant. `--all` leaves them out.
BOOKKEEPING = ("alembic_version", "django_migrations", "schema_migrations")

_SETTING = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)+", re.ASCII)
_TENANT_ID = re.compile(r"ten_[0-9A-Za-z]{1,60}", re.ASCII)

AGAIN = "run it again: it goes on where it stopped"
LOCKED = "a transaction of somebody else is in the way"


@dataclass(frozen=True)
class Names:
    """What is made in the database is called so; `{table}` stands for the table's name."""

    column: str = "tenant_id"
    setting: str = "app.tenant_id"
    policy: str = "tenant_isolation"
    index: str = "idx_{table}_tenant"

    def check(self, longest: int) -> None:
        """Raise `InvalidValue` for what cannot be a name; `longest` is the database's, in bytes."""
        for option in ("column", "policy", "index"):
            value: str = getattr(self, option)
            if not value.strip() or not value.isprintable():
                raise InvalidValue(option, f"{value!r} is no name")
            if option != "index" and len(value.encode()) > longest:
                raise InvalidValue(option, f"{value!r} is longer than {longest} bytes")
        if "{table}" not in self.index:
            remedy = "put {table} where the table's name belongs, as in idx_{table}_tenant"
            raise InvalidValue(
                "index", f"{self.index!r} is the same for every table", remedy=remedy
            )
        if not _SETTING.fullmatch(self.setting):
            remedy = "two words with a dot, such as app.tenant_id"
            raise InvalidValue("setting", f"{self.setting!r} is no setting", remedy=remedy)

    def index_of(self, table: str, longest: int) -> str:
        return fitting(self.index.replace("{table}", table), longest)


def fitting(name: str, longest: int) -> str:
    """The name itself, or one that fits and differs from those of other long names."""
    raw = name.encode()
    if len(raw) <= longest:
        return name
    mark = hashlib.sha256(raw).hexdigest()[:8]
    return raw[: longest - 9].decode(errors="ignore") + "_" + mark


@dataclass(frozen=True)
class Options:
    tenant: str
    names: Names = Names()
    batch: int = 1000
    policy: bool = True
    force: bool = False
    drop_default: bool = False
    lock_wait: float = 60.0

    def check(self, longest: int) -> None:
        self.names.check(longest)
        if not _TENANT_ID.fullmatch(self.tenant):
            remedy = "give a Tenant, such as that of `tenants.ensure_default()`, or its id"
            raise InvalidValue("tenant", f"{self.tenant!r} is no id of a tenant", remedy=remedy)
        if not 1 <= self.batch <= 1_000_000:
            raise InvalidValue("batch", f"{self.batch}: expected 1 to 1,000,000 rows")
        if not 0 <= self.lock_wait <= 86_400:
            raise InvalidValue("lock_wait", f"{self.lock_wait}: expected 0 to 86,400 seconds")


def literals(dialect: sa.Dialect) -> Callable[[str], str]:
    """How a dialect writes a text in a statement that takes no parameters."""
    written = sa.String().literal_processor(dialect)  # type: ignore[no-untyped-call]
    assert written is not None
    return cast(Callable[[str], str], written)


# ----------------------------------------------------------------------------------- the plan


@dataclass(frozen=True)
class Statement:
    """One statement, and how it is run.

    `brief` needs a lock that stops writers, so it waits for it but an instant at a time; `patient`
    needs none and may wait; `batches` stands for the whole back-fill.
    """

    sql: str
    how: Literal["brief", "patient", "batches"] = "brief"


@dataclass(frozen=True)
class Step:
    """One step of a table: its statements, or why there is nothing to do.

    The statements of an `atomic` step are one transaction.
    """

    name: str
    statements: tuple[Statement, ...] = ()
    note: str = ""
    atomic: bool = False

    @property
    def due(self) -> bool:
        return bool(self.statements)


@dataclass(frozen=True)
class Plan:
    table: str
    steps: tuple[Step, ...]
    warnings: tuple[str, ...] = ()

    def sql(self) -> tuple[str, ...]:
        return tuple(s.sql + ";" for step in self.steps for s in step.statements)


# --------------------------------------------------------------------------------- the report


@dataclass(frozen=True)
class StepDone(Record):
    """`done` is false when there was nothing to do; `note` says why, or what was done."""

    step: str
    done: bool
    note: str = ""


@dataclass(frozen=True)
class AdoptedTable(Record):
    """What came of one table.

    `filled`: rows that this run gave the tenant. `rows`: rows that are the tenant's now, and
    `others` those of other tenants, which were kept; None when they were not counted (a dry run,
    or forced row-level security hides them). `sql`: the statements, of a dry run.
    """

    table: str
    steps: tuple[StepDone, ...]
    filled: int = 0
    rows: int | None = None
    others: int | None = None
    warnings: tuple[str, ...] = ()
    sql: tuple[str, ...] = ()


@dataclass(frozen=True)
class Adoption(Record):
    """What came of a run: `database` is `postgresql` or `sqlite`; `left_out` says why by table."""

    database: str
    tenant: str
    dry_run: bool
    tables: tuple[AdoptedTable, ...]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """How far a table's step is: `done` of `total` units, pages or rows."""

    table: str
    step: str
    done: int
    total: int


Report = Callable[[Progress], None]


# ---------------------------------------------------------------------------------- patience


def patiently(run: Callable[[], _T], busy: Callable[[Exception], bool], wait_s: float) -> _T:
    """Run until it gets its lock. Between attempts those that queued behind it go first."""
    deadline = time.monotonic() + wait_s
    pause = 0.05
    while True:
        try:
            return run()
        except sa.exc.DBAPIError as error:
            if not busy(error):
                raise
            if time.monotonic() >= deadline:
                told = f"no lock within {wait_s:g} s ({first_line(error)})"
                raise StoreBusy(told, remedy=f"{LOCKED}; {AGAIN}") from error
        time.sleep(pause)
        pause = min(pause * 2, 2.0)


# ------------------------------------------------------------------------------------- errors


def first_line(error: sa.exc.DBAPIError) -> str:
    """What the database said, without the statement and its parameters."""
    lines = str(error.orig).strip().splitlines()
    return lines[0] if lines else type(error.orig).__name__


def unknown(names: Sequence[str], known: Iterable[str]) -> NoReturn:
    candidates = sorted(known)
    near = [n for name in names for n in difflib.get_close_matches(name, candidates, 3, 0.6)]
    listed = ", ".join(dict.fromkeys(near)) or ", ".join(candidates[:10]) or "none"
    word = "near it" if near else "there are"
    text = ", ".join(repr(name) for name in names)
    plural = "s" if len(names) > 1 else ""
    raise UnknownTable(f"no such table{plural}: {text}", remedy=f"{word}: {listed}")


def refuse(problems: Sequence[str]) -> None:
    """Raise one error that lists everything that stands in the way; nothing was changed."""
    if problems:
        text = problems[0] if len(problems) == 1 else "\n  ".join(["", *problems])
        raise AdoptionRefused(text)


def shown_url(url: sa.URL) -> str:
    """How messages name a database."""
    return url.render_as_string(hide_password=True)


def unreachable(url: sa.URL, error: sa.exc.DBAPIError) -> StoreError:
    return StoreError(
        f"{shown_url(url)}: cannot be reached ({first_line(error)})",
        remedy="check the address, the credentials, and that the database runs",
    )


def step_done(step: Step, note: str = "") -> StepDone:
    return StepDone(step.name, step.due, note or step.note)
