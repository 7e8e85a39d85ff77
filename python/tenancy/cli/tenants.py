"""`tenancy tenants`: make, find, change and end tenants."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Annotated, Any

import typer

from ..catalog import Effective, QuotaGrant, RateLimit
from . import _common as c

__all__ = ["app"]

app = c.make_app("Make, find, change and end tenants.")

Owner = Annotated[str | None, typer.Option(help="JSON object: user_id, email, name.")]
Contacts = Annotated[str | None, typer.Option(help="JSON list of objects: name, email, role.")]
Company = Annotated[str | None, typer.Option(help="JSON object.")]
Billing = Annotated[str | None, typer.Option(help="JSON object: customer_id, currency, ….")]
Isolation = Annotated[str | None, typer.Option(help="shared, schema, database or instance.")]
Anchor = Annotated[str | None, typer.Option(help="Start of the subscription, ISO 8601.")]

_COLUMNS = {
    "id": lambda t: t.id,
    "slug": lambda t: t.slug,
    "name": lambda t: t.name,
    "plan": lambda t: t.plan,
    "status": lambda t: t.status,
    "created": lambda t: t.created,
}


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="The organisation's name.")],
    slug: Annotated[str | None, typer.Option(help="By default made from the name.")] = None,
    plan: Annotated[str | None, typer.Option(help="By default the catalog's.")] = None,
    status: Annotated[str, typer.Option(help="active, trial or pending.")] = "active",
    external_id: Annotated[str | None, typer.Option(help="Your own id for it.")] = None,
    owner_email: Annotated[str | None, typer.Option(help="The owner's e-mail.")] = None,
    owner: Owner = None,
    contacts: Contacts = None,
    company: Company = None,
    billing: Billing = None,
    metadata: Annotated[str | None, typer.Option(help="JSON object.")] = None,
    isolation: Isolation = None,
    anchor: Anchor = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA name; by default UTC.")] = None,
    settings: Annotated[str | None, typer.Option(help="JSON object.")] = None,
    overrides: Annotated[str | None, typer.Option(help="JSON object.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Make a tenant."""
    with c.opened(data, as_json) as t:
        tenant = t.tenants.create(
            name,
            slug=slug,
            plan=plan,
            status=status,
            external_id=external_id,
            owner=_owner(owner, owner_email),
            contacts=c.parse_list(contacts, "--contacts"),
            company=c.parse_object(company, "--company"),
            billing=c.parse_object(billing, "--billing"),
            metadata=c.parse_object(metadata, "--metadata"),
            isolation=isolation,
            anchor=c.parse_time(anchor, "--anchor"),
            time_zone=time_zone,
            settings=c.parse_object(settings, "--settings"),
            overrides=c.parse_object(overrides, "--overrides"),
            by=c.operator(),
        )
        c.print_record(tenant, as_json)


def _owner(text: str | None, email: str | None) -> dict[str, Any] | None:
    owner = c.parse_object(text, "--owner")
    return owner if email is None else {**(owner or {}), "email": email}


@app.command("default")
def default(
    plan: Annotated[str | None, typer.Option(help="By default the catalog's.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Make the tenant for data from before there were tenants, if it is missing."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.ensure_default(plan=plan, by=c.operator()), as_json)


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option(help="Only this status.")] = None,
    plan: Annotated[str | None, typer.Option(help="Only this plan.")] = None,
    text: Annotated[str | None, typer.Option(help="In name, slug, external id, owner.")] = None,
    limit: c.Limit = 100,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """List tenants in the order of their making."""
    with c.opened(data, as_json) as t:
        page = t.tenants.list(status=status, plan=plan, text=text, limit=limit, cursor=cursor)
        c.print_page(page, _COLUMNS, as_json)


@app.command("show")
def show(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Show a tenant's record and what it uses of its quotas."""
    with c.opened(data, as_json) as t:
        record = t.tenants.get(tenant)
        usage = {} if record.status == "purged" else t.quotas.all(record)
        if as_json:
            c.print_record(record, True, quotas=usage)
            return
        c.print_record(record, False)
        rows = [(q.quota, q.used, q.limit, f"{q.percent:.0f} %") for q in usage.values()]
        if rows:
            c.print_table(("quota", "used", "limit", "share"), rows)


@app.command("update")
def update(
    tenant: c.Tenant,
    name: Annotated[str | None, typer.Option(help="New name.")] = None,
    slug: Annotated[str | None, typer.Option(help="New slug.")] = None,
    settings: Annotated[str | None, typer.Option(help="JSON object to merge.")] = None,
    overrides: Annotated[str | None, typer.Option(help="JSON object to merge.")] = None,
    metadata: Annotated[str | None, typer.Option(help="JSON object to merge.")] = None,
    external_id: Annotated[str | None, typer.Option(help="New id; empty: none.")] = None,
    owner_email: Annotated[str | None, typer.Option(help="The owner's e-mail.")] = None,
    owner: Owner = None,
    contacts: Contacts = None,
    company: Company = None,
    billing: Billing = None,
    isolation: Isolation = None,
    anchor: Anchor = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA name; empty: UTC.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Change fields; JSON objects are merged key by key, null takes a key away."""
    nullable = {
        "external_id": external_id,
        "time_zone": time_zone,
        "isolation": isolation,
        "anchor": anchor,
    }
    with c.opened(data, as_json) as t:
        given: dict[str, Any] = {k: v or None for k, v in nullable.items() if v is not None}
        if anchor:
            given["anchor"] = c.parse_time(anchor, "--anchor")
        record = t.tenants.update(
            tenant,
            name=name,
            slug=slug,
            owner=_owner(owner, owner_email),
            contacts=c.parse_list(contacts, "--contacts"),
            company=c.parse_object(company, "--company"),
            billing=c.parse_object(billing, "--billing"),
            **given,
            settings=c.parse_object(settings, "--settings"),
            overrides=c.parse_object(overrides, "--overrides"),
            metadata=c.parse_object(metadata, "--metadata"),
            by=c.operator(),
        )
        c.print_record(record, as_json)


@app.command("suspend")
def suspend(
    tenant: c.Tenant,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the record.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Refuse everything of a tenant, from the next decision of every worker on."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.suspend(tenant, reason, by=c.operator()), as_json)


@app.command("resume")
def resume(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Serve a suspended tenant again."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.resume(tenant, by=c.operator()), as_json)


@app.command("activate")
def activate(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Make a pending or trial tenant a customer."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.activate(tenant, by=c.operator()), as_json)


@app.command("trial")
def trial(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Let a pending tenant try."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.start_trial(tenant, by=c.operator()), as_json)


@app.command("churn")
def churn(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """The customer left: nothing is served, the data stays; `resume` takes it back."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.churn(tenant, by=c.operator()), as_json)


@app.command("plan")
def plan(
    tenant: c.Tenant,
    name: Annotated[str, typer.Argument(metavar="PLAN", help="The new plan.")],
    at: Annotated[str, typer.Option(help="now, period_end, an ISO 8601 time, or 30d.")] = "now",
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Change the plan; what is over the new limits is listed and left alone."""
    with c.opened(data, as_json) as t:
        moment = at if at in ("now", "period_end") else c.parse_moment(at, "--at")
        if isinstance(moment, timedelta):
            moment = datetime.now(timezone.utc) + moment
        change = t.tenants.change_plan(tenant, name, at=moment or "now", by=c.operator())
        c.print_record(change, as_json)


@app.command("keep-plan")
def keep_plan(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Call off a scheduled change of plan. Exit status 1 when there was none."""
    with c.opened(data, as_json) as t:
        done = t.tenants.cancel_plan_change(tenant, by=c.operator())
        c.print_record({"called_off": done}, as_json)
    if not done:
        raise typer.Exit(c.REFUSED)


@app.command("effective")
def effective(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Show what is in force for a tenant, and whether plan, override or default says so."""
    with c.opened(data, as_json) as t:
        own = t.tenants.effective(tenant)
    named: list[tuple[str, Effective[Any]]] = [
        *((f"quota {name}", value) for name, value in own.quotas.items()),
        *((f"limit {name}", value) for name, value in own.rate_limits.items()),
        ("default limit", own.default_limit),
        *((f"feature {name}", value) for name, value in own.features.items()),
        ("isolation", own.isolation),
        ("retention days", own.retention_days),
    ]
    if as_json:
        values = [
            {"name": name, "value": _plain(each.value), "origin": str(each.origin)}
            for name, each in named
        ]
        c.print_json({"plan": own.plan, "values": values})
        return
    rows = [(name, _plain(each.value), each.origin) for name, each in named]
    c.print_table(("what", "value", "from"), rows, title=f"plan {own.plan}")


def _plain(value: object) -> object:
    if isinstance(value, QuotaGrant):
        return c.grant_value(value)
    return c.limit_value(value) if isinstance(value, RateLimit) else value


@app.command("delete")
def delete(
    tenant: c.Tenant,
    purge_after: Annotated[str | None, typer.Option(help="Such as 30d; else by the plan.")] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Delete softly and schedule the purge; `restore` undoes it until then."""
    with c.opened(data, as_json) as t:
        due = c.parse_moment(purge_after, "--purge-after")
        c.print_record(t.tenants.delete(tenant, purge_after=due, by=c.operator()), as_json)


@app.command("restore")
def restore(tenant: c.Tenant, data: c.Data = None, as_json: c.Json = False) -> None:
    """Undo a deletion; the tenant is suspended until `resume`."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.restore(tenant, by=c.operator()), as_json)


@app.command("purge")
def purge(
    tenant: c.Tenant,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Erase a deleted tenant for good."""
    with c.opened(data, as_json) as t:
        record = t.tenants.get(tenant)
        if not yes:
            typer.confirm(f"Erase {record.name!r} ({record.id}) for good?", abort=True, err=True)
        c.print_record(t.tenants.purge(record, by=c.operator()), as_json)


@app.command("hold")
def hold(
    tenant: c.Tenant,
    release: Annotated[bool, typer.Option("--release", help="Lift the hold.")] = False,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Put a tenant under legal hold: no purge until it is lifted."""
    with c.opened(data, as_json) as t:
        c.print_record(t.tenants.legal_hold(tenant, not release, by=c.operator()), as_json)


@app.command("process-due")
def process_due(data: c.Data = None, as_json: c.Json = False) -> None:
    """Do what was scheduled and is due: purges, changes of plan, ended sessions."""
    with c.opened(data, as_json) as t:
        c.print_record({"done": t.process_due()}, as_json)
