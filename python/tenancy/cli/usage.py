"""`tenancy usage`: what a tenant uses of its quotas, and mending it. `usage_events` is metering."""

from __future__ import annotations

from typing import Annotated

import typer

from . import _common as c

__all__ = ["app"]

app = c.make_app("Look at what a tenant uses of its quotas and metrics, and mend it.")

Quota = Annotated[str, typer.Argument(help="A quota of the catalog.")]


@app.command("show")
def show(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Show every quota of a tenant: used, reserved, limit, period."""
    with c.opened(data, as_json) as t:
        quotas = t.quotas.all(tenant)
    if as_json:
        c.print_json(quotas)
        return
    c.print_table(
        ("quota", "kind", "used", "reserved", "limit", "share", "period ends"),
        [
            (q.quota, q.kind, q.used, q.reserved, q.limit, f"{q.percent:.0f} %", q.period_end)
            for q in quotas.values()
        ],
    )


@app.command("set")
def set_(
    tenant: c.Tenant,
    quota: Quota,
    used: Annotated[int, typer.Argument(min=0, help="How much is used, by a recount.")],
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Say how much is used. What killed processes left charged is given back."""
    with c.opened(data, as_json) as t:
        c.print_record(t.quotas.set(tenant, quota, used, by=c.operator()), as_json)


@app.command("reconcile")
def reconcile(tenant: c.Tenant, quota: Quota, data: c.Data = None, as_json: c.Json = False) -> None:
    """Give back what killed processes left charged; what is used stays."""
    with c.opened(data, as_json) as t:
        c.print_record(t.quotas.reconcile(tenant, quota), as_json)


@app.command("end-leases")
def end_leases(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """End every lease of a tenant, whoever holds it."""
    with c.opened(data, as_json) as t:
        c.print_record({"ended": t.quotas.revoke_leases(tenant)}, as_json)
