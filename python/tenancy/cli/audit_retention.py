"""`tenancy audit retain` and `tenancy audit hold`: the end of records, and what puts it off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..audit import Hold, PurgeCertificate
from . import _common as c

__all__ = ["add_to"]

hold_app = c.make_app("Legal holds on the log.")

_COLUMNS: dict[str, Callable[[Hold], Any]] = {
    "id": lambda h: h.id,
    "tenant": lambda h: h.tenant or "everything",
    "reason": lambda h: h.reason,
    "placed": lambda h: h.placed,
    "by": lambda h: h.placed_by,
    "released": lambda h: h.released,
}


def add_to(app: typer.Typer) -> None:
    """Puts the commands beside those of `audit`."""
    app.command("retain")(retain)
    app.add_typer(hold_app, name="hold")


def retain(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be deleted; delete nothing.")
    ] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Delete records whose time is over; print the certificate. Status 1: something failed."""
    with c.opened(data, as_json) as t:
        made = t.audit.retain(dry_run=dry_run, by=c.operator())
    if as_json:
        print(made.to_json())
    else:
        _print(made)
    raise typer.Exit(c.DONE if made else c.REFUSED)


def _print(made: PurgeCertificate) -> None:
    word = "would be deleted" if made.dry_run else "deleted"
    print(f"{made.purged} records {word}")
    names = ("chain", "days", "deleted", "kept from", "not deleted")
    rows = [
        [
            chain,
            one.days,
            sum(purged.records for purged in one.purged),
            one.kept_from,
            "; ".join(f"{kept.reason}: {kept.text}" for kept in one.kept),
        ]
        for chain, one in made.chains.items()
    ]
    c.print_table(names, rows)
    if made.event is not None:
        print(f"certificate {made.sha256}, event {made.event}")


@hold_app.command("place")
def place(
    reason: Annotated[str, typer.Option(help="Why; such as the case.")],
    tenant: Annotated[
        str | None, typer.Option(help="Whose records; without it everything is held.")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Keep records whatever their age."""
    with c.opened(data, as_json) as t:
        placed = t.audit.holds.place(tenant=tenant, reason=reason, by=c.operator())
        c.print_record(placed, as_json)


@hold_app.command("release")
def release(
    hold: Annotated[str, typer.Argument(help="The hold's id.")],
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """End a hold."""
    with c.opened(data, as_json) as t:
        c.print_record(t.audit.holds.release(hold, by=c.operator()), as_json)


@hold_app.command("list")
def list_(
    released: Annotated[bool, typer.Option("--released", help="Released ones as well.")] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Holds, the oldest first."""
    with c.opened(data, as_json) as t:
        found = t.audit.holds.list(released=released)
    if as_json:
        c.print_json([hold.as_dict() for hold in found])
    else:
        c.print_table(tuple(_COLUMNS), [[get(h) for get in _COLUMNS.values()] for h in found])
