"""`tenancy sessions`: look at sessions and end them."""

from __future__ import annotations

from typing import Annotated

import typer

from . import _common as c

__all__ = ["app"]

app = c.make_app("Look at sessions and end them.")

_COLUMNS = {
    "ref": lambda s: s.ref,
    "tenant": lambda s: s.tenant,
    "principal": lambda s: s.principal,
    "platform": lambda s: s.platform,
    "created": lambda s: s.created,
    "roles": lambda s: None if s.roles is None else ", ".join(s.roles),
    "last activity": lambda s: s.last_activity,
    "expires": lambda s: s.expires,
}


@app.command("list")
def list_(
    tenant: Annotated[str | None, typer.Option(help="One tenant; else all, audited.")] = None,
    principal: Annotated[str | None, typer.Option(help="Only this one's; with --tenant.")] = None,
    platform: Annotated[str | None, typer.Option(help="Such as web; with --tenant.")] = None,
    reason: Annotated[
        str, typer.Option(help="Why you look across tenants; it is recorded.")
    ] = "tenancy sessions list",
    limit: c.Limit = 100,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """List live sessions. Their ids are secret: `ref` names one."""
    if tenant is None and (principal or platform):
        raise typer.BadParameter("--principal and --platform need --tenant")
    with c.opened(data, as_json) as t:
        if tenant is None:
            looking = t.operator(by=c.operator(), reason=reason)
            page = looking.sessions(limit=limit, cursor=cursor)
        else:
            page = t.sessions.list(
                tenant, principal=principal, platform=platform, limit=limit, cursor=cursor
            )
        c.print_page(page, _COLUMNS, as_json)


@app.command("end")
def end(
    tenant: c.Tenant,
    session: Annotated[str, typer.Argument(metavar="REF", help="As `list` names it.")],
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """End one session, from the next decision of every worker on."""
    with c.opened(data, as_json) as t:
        t.sessions.end(tenant, session, by=c.operator())
        c.print_record({"ended": 1}, as_json)


@app.command("end-all")
def end_all(
    tenant: c.Tenant,
    principal: Annotated[str | None, typer.Option(help="Only this one's.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """End every session of a tenant, or of one of its users."""
    with c.opened(data, as_json) as t:
        ended = t.sessions.end_all(tenant, principal=principal, by=c.operator())
        c.print_record({"ended": ended}, as_json)
