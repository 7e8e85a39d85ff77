"""`tenancy keys`: make, rotate and revoke API keys."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

import typer

from ..errors import InvalidValue
from ..stores.records import NewKey
from . import _common as c

__all__ = ["app"]

app = c.make_app("Make, rotate and revoke API keys.")

Key = Annotated[str, typer.Argument(help="Public id of the key (tk_…).")]


def _print_new(new: NewKey, as_json: bool) -> None:
    c.print_record(new.key, as_json, secret=new.secret)
    if not as_json:
        print("The secret is shown this once; it is not stored.")


@app.command("create")
def create(
    tenant: c.Tenant,
    name: Annotated[str, typer.Option(help="For people.")] = "key",
    scope: Annotated[
        list[str] | None, typer.Option(help="resource:action, * for a side; repeatable.")
    ] = None,
    principal: Annotated[str | None, typer.Option(help="Whose rights it has.")] = None,
    expires: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 90d.")] = None,
    limit: Annotated[str | None, typer.Option(help='Its own limit, such as "100/minute".')] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Make a key and show its secret once."""
    with c.opened(data, as_json) as t:
        new = t.keys.create(
            tenant,
            name=name,
            scopes=scope or None,
            principal=principal,
            expires=c.parse_moment(expires, "--expires"),
            limit=limit,
            by=c.operator(),
        )
        _print_new(new, as_json)


@app.command("list")
def list_(
    tenant: c.Tenant,
    revoked: Annotated[bool, typer.Option("--revoked", help="Revoked ones too.")] = False,
    limit: c.Limit = 100,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """List a tenant's keys."""
    with c.opened(data, as_json) as t:
        now = datetime.now(timezone.utc)
        columns = {
            "id": lambda k: k.id,
            "name": lambda k: k.name,
            "state": lambda k: k.state(now),
            "principal": lambda k: k.principal,
            "scopes": lambda k: k.scopes,
            "expires": lambda k: k.expires,
            "last used": lambda k: k.last_used,
        }
        page = t.keys.list(tenant, revoked=revoked, limit=limit, cursor=cursor)
        c.print_page(page, columns, as_json)


@app.command("show")
def show(key: Key, data: c.Data = None, as_json: c.Json = False) -> None:
    """Show a key's record and its last use."""
    with c.opened(data, as_json) as t:
        c.print_record(t.keys.get(key), as_json)


@app.command("rotate")
def rotate(
    key: Key,
    grace: Annotated[str, typer.Option(help="How long the old one works on.")] = "1d",
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Replace a key; the old one works on for the grace period."""
    with c.opened(data, as_json) as t:
        length = c.parse_duration(grace, "--grace")
        if length is None:
            raise InvalidValue("--grace", "empty")
        _print_new(t.keys.rotate(key, grace=length, by=c.operator()), as_json)


@app.command("renew")
def renew(
    key: Key,
    expires: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 90d.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Move a key's expiry, or take it away."""
    with c.opened(data, as_json) as t:
        moment = c.parse_moment(expires, "--expires")
        c.print_record(t.keys.renew(key, moment, by=c.operator()), as_json)


@app.command("revoke")
def revoke(key: Key, data: c.Data = None, as_json: c.Json = False) -> None:
    """End a key, from the next decision of every worker on."""
    with c.opened(data, as_json) as t:
        c.print_record(t.keys.revoke(key, by=c.operator()), as_json)
