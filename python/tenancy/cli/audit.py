"""`tenancy audit`: search what changed, who did it, what was refused.

What proves that the log is whole is in `audit_log`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..audit import AuditEvent
from . import _common as c

__all__ = ["app"]

app = c.make_app("Search what changed, who did it, what was refused; prove that it is all there.")

_COLUMNS: dict[str, Callable[[AuditEvent], Any]] = {
    "time": lambda e: e.time,
    "tenant": lambda e: e.tenant,
    "principal": lambda e: e.principal,
    "type": lambda e: e.type,
    "action": lambda e: e.action,
    "resource": lambda e: "/".join(part for part in (e.resource, e.resource_id) if part),
    "result": lambda e: e.result,
}

Reason = Annotated[str, typer.Option(help="Why you look across tenants; it is recorded.")]


@app.command("search")
def search(
    tenant: Annotated[str | None, typer.Option(help="One tenant; else all, audited.")] = None,
    type_: Annotated[str | None, typer.Option("--type", help="Such as role_assigned.")] = None,
    principal: Annotated[str | None, typer.Option(help="Who did it.")] = None,
    action: Annotated[str | None, typer.Option(help="Such as tenant:suspend.")] = None,
    result: Annotated[str | None, typer.Option(help="success, failure or denied.")] = None,
    resource: Annotated[str | None, typer.Option(help="Its type; with --tenant.")] = None,
    ip: Annotated[str | None, typer.Option(help="Address; with --tenant.")] = None,
    session: Annotated[str | None, typer.Option(help="Session id; with --tenant.")] = None,
    request: Annotated[str | None, typer.Option(help="Request id; with --tenant.")] = None,
    since: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 2h ago.")] = None,
    until: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 1h ago.")] = None,
    reason: Reason = "tenancy audit search",
    limit: c.Limit = 50,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Facts, newest first."""
    narrow = {"resource": resource, "ip": ip, "session": session, "request": request}
    if tenant is None and any(narrow.values()):
        raise typer.BadParameter("--resource, --ip, --session and --request need --tenant")
    with c.opened(data, as_json) as t:
        filters = {
            "type": type_,
            "principal": principal,
            "action": action,
            "result": result,
        }
        start, end = c.parse_time(since, "--since"), c.parse_time(until, "--until")
        if tenant is None:
            looking = t.operator(by=c.operator(), reason=reason)
            page = looking.audit(**filters, since=start, until=end, limit=limit, cursor=cursor)
        else:
            page = t.audit.search(
                tenant, **filters, **narrow, since=start, until=end, limit=limit, cursor=cursor
            )
        c.print_page(page, _COLUMNS, as_json)


@app.command("show")
def show(
    event: Annotated[str, typer.Argument(help="The event's id.")],
    reason: Reason = "tenancy audit show",
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """One fact in full."""
    with c.opened(data, as_json) as t:
        c.print_record(t.operator(by=c.operator(), reason=reason).event(event), as_json)


@app.command("follow")
def follow(
    tenant: c.Tenant,
    for_s: Annotated[
        float | None, typer.Option("--for", min=0.0, help="Seconds; else until interrupted.")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Facts of one tenant as they come, a line each."""
    with c.opened(data, as_json) as t:
        try:
            for event in t.audit.follow(tenant, for_s=for_s):
                if as_json:
                    print(json.dumps(c.plain(event), ensure_ascii=False), flush=True)
                else:
                    print("  ".join(c.show(get(event)) for get in _COLUMNS.values()), flush=True)
        except KeyboardInterrupt:
            return
