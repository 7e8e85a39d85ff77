"""`tenancy limits`: look at a tenant's rate limits and quotas, and reset them."""

from __future__ import annotations

from typing import Annotated

import typer

from . import _common as c

__all__ = ["app"]

app = c.make_app("Look at a tenant's rate limits and quotas, and reset them.")

Action = Annotated[str | None, typer.Option(help="Of the catalog; by default its default action.")]
Principal = Annotated[str | None, typer.Option(help="The user whose limits are meant.")]


@app.command("show")
def show(
    tenant: c.Tenant,
    action: Action = None,
    principal: Principal = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Show every window of the limits as it stands, and the quotas."""
    with c.opened(data, as_json) as t:
        names: list[str | None] = [action] if action is not None else [*t.catalog.actions]
        windows = {
            (window.name, window.policy): window
            for name in (names or [None])
            for window in t.limits.peek(tenant, name, principal=principal)
        }
        quotas = t.quotas.all(tenant)
    limits = [
        {
            "limit": window.name,
            "policy": window.policy,
            "remaining": window.remaining,
            "of": window.limit,
            "reset_after": window.reset_after,
        }
        for window in windows.values()
    ]
    if as_json:
        c.print_json({"limits": limits, "quotas": quotas})
        return
    columns = ("limit", "policy", "remaining", "of", "full again in s")
    c.print_table(columns, [list(limit.values()) for limit in limits])
    c.print_table(
        ("quota", "used", "reserved", "limit", "period ends"),
        [(q.quota, q.used, q.reserved, q.limit, q.period_end) for q in quotas.values()],
    )


@app.command("reset")
def reset(
    tenant: c.Tenant,
    action: Action = None,
    principal: Principal = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Give the full limit back at once."""
    with c.opened(data, as_json) as t:
        t.limits.reset(tenant, action, principal=principal, by=c.operator())
        c.print_record({"reset": action or t.catalog.default_action}, as_json)
