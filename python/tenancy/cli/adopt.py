"""`tenancy adopt`: give the tables of a single-tenant service a tenant."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from ..adopt import Adoption, Names, Progress
from ..adopt import adopt as run
from ..app import Tenancy
from ..errors import AdoptionRefused, UnknownTenant
from . import _common as c

__all__ = ["adopt"]

_ENDED = ("deleted", "purged")
_NOT_MADE = "ten_default00000000000000000000"  # in a dry run before there is a default tenant


def adopt(
    database: Annotated[
        str,
        typer.Argument(
            envvar="DATABASE_URL",
            help="postgresql://… or sqlite:///FILE: the application's database.",
        ),
    ],
    table: Annotated[
        list[str] | None, typer.Option("--table", help="Adopt this table; several are allowed.")
    ] = None,
    all_tables: Annotated[bool, typer.Option("--all", help="Adopt every table.")] = False,
    exclude: Annotated[
        list[str] | None, typer.Option("--exclude", help="With --all: but not this one.")
    ] = None,
    tenant: Annotated[
        str, typer.Option(help="Whose the rows are; `default` is made when it is missing.")
    ] = "default",
    column: Annotated[str, typer.Option(help="The tenant's column.")] = Names.column,
    setting: Annotated[str, typer.Option(help="Names the tenant to the policy.")] = Names.setting,
    policy_name: Annotated[str, typer.Option(help="The policy's name.")] = Names.policy,
    index_name: Annotated[str, typer.Option(help="The index's name.")] = Names.index,
    batch: Annotated[int, typer.Option(help="Rows of a transaction of the back-fill.")] = 1000,
    policy: Annotated[
        bool, typer.Option("--policy/--no-policy", help="Row-level security (PostgreSQL).")
    ] = True,
    force: Annotated[
        bool, typer.Option("--force-rls", help="Hold the owner of a table to the policy too.")
    ] = False,
    drop_default: Annotated[
        bool,
        typer.Option("--drop-default", help="The application writes the tenant now: no default."),
    ] = False,
    lock_wait: Annotated[float, typer.Option(help="Seconds to wait for a lock in all.")] = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the SQL, do nothing.")] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Give every row of a single-tenant database to one tenant, while the application runs.

    Adds the column, back-fills, forbids NULL, makes an index and a policy; what is there already is
    left as it is, so a run that was stopped is finished by running it again.
    """
    with c.opened(data, as_json) as t, _progress(as_json) as progress:
        owner = _NOT_MADE if dry_run and _missing(t, tenant) else _owner(t, tenant)
        done = run(
            database,
            owner,
            tables=table or (),
            all_tables=all_tables,
            exclude=exclude or (),
            names=Names(column, setting, policy_name, index_name),
            batch=batch,
            policy=policy,
            force=force,
            drop_default=drop_default,
            lock_wait=lock_wait,
            dry_run=dry_run,
            progress=progress,
        )
    if as_json:
        c.print_json(done)
    elif dry_run:
        _print_sql(done)
        if owner == _NOT_MADE:
            _say(f"the default tenant is made by the run itself; {owner} stands for its id")
    else:
        _print(done)


def _missing(t: Tenancy, tenant: str) -> bool:
    """Whether it is the default tenant, and not made yet."""
    try:
        t.tenants.get(tenant)
    except UnknownTenant:
        return tenant == "default"
    return False


def _owner(t: Tenancy, tenant: str) -> str:
    made = tenant == "default"
    found = t.tenants.ensure_default(by=c.operator()) if made else t.tenants.get(tenant)
    if found.status in _ENDED:
        told = f"tenant {tenant} is {found.status}: nothing can be given to it"
        raise AdoptionRefused(told, remedy="restore it, or name another with --tenant")
    return found.id


@contextmanager
def _progress(as_json: bool) -> Iterator[Callable[[Progress], None]]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    quiet = as_json or not console.is_terminal
    with Bar(*columns, TimeRemainingColumn(), console=console, disable=quiet) as bar:
        tasks: dict[tuple[str, str], TaskID] = {}

        def show(at: Progress) -> None:
            key = (at.table, at.step)
            if key not in tasks:
                tasks[key] = bar.add_task(f"{escape(at.table)}: {at.step}", total=at.total)
            bar.update(tasks[key], completed=at.done, total=at.total)

        yield show


def _print(done: Adoption) -> None:
    rows = [
        (
            each.table,
            each.filled,
            each.rows,
            each.others,
            [step.step for step in each.steps if step.done],
            [f"{step.step}: {step.note}" for step in each.steps if not step.done],
        )
        for each in done.tables
    ]
    heads = ("table", "filled", f"rows of {done.tenant}", "of others", "done", "not needed")
    c.print_table(heads, rows)
    _print_notes(done)


def _print_sql(done: Adoption) -> None:
    for each in done.tables:
        print(f"-- {each.table}")
        print("\n".join(each.sql) or "-- nothing to do")
    _print_notes(done)


def _print_notes(done: Adoption) -> None:
    """On standard error: what is left to a person."""
    for each in done.tables:
        for warning in each.warnings:
            _say(f"{each.table}: {warning}")
    for table, why in done.left_out.items():
        _say(f"{table}: left out, {why}")


def _say(text: str) -> None:
    print(f"note: {text}", file=sys.stderr)
