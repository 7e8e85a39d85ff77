"""`tenancy roles`: define roles and say who holds them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from .._core import valid_permission
from .._text import shown
from ..stores.records import Page
from . import _common as c

__all__ = ["app"]

app = c.make_app("Define roles and say who holds them.")

Principal = Annotated[str, typer.Argument(help="The user or service.")]
Role = Annotated[str, typer.Argument(help="The role's name.")]
ForTenant = Annotated[str | None, typer.Option("--tenant", help="Only this tenant's.")]
ForResource = Annotated[str | None, typer.Option("--resource", help="type/id of one instance.")]


@app.command("list")
def list_(tenant: ForTenant = None, data: c.Data = None, as_json: c.Json = False) -> None:
    """List the roles that a tenant sees, or those of every tenant."""
    with c.opened(data, as_json) as t:
        columns = {
            "role": lambda r: r.name,
            "origin": lambda r: r.origin,
            "tenant": lambda r: r.tenant,
            "permissions": lambda r: r.permissions,
            "denies": lambda r: r.denies,
            "inherits": lambda r: r.inherits,
        }
        c.print_page(Page(tuple(t.roles.list(tenant))), columns, as_json)


@app.command("define")
def define(
    role: Role,
    permission: Annotated[list[str] | None, typer.Option(help="Repeatable.")] = None,
    deny: Annotated[list[str] | None, typer.Option(help="Repeatable; deny wins.")] = None,
    inherits: Annotated[list[str] | None, typer.Option(help="Repeatable.")] = None,
    tenant: ForTenant = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Make or replace a role."""
    with c.opened(data, as_json) as t:
        made = t.roles.define(
            role,
            permissions=permission or (),
            denies=deny or (),
            inherits=inherits or (),
            tenant=tenant,
            by=c.operator(),
        )
        c.print_record(made, as_json)


@app.command("remove")
def remove(
    role: Role, tenant: ForTenant = None, data: c.Data = None, as_json: c.Json = False
) -> None:
    """Remove a role that nobody holds."""
    with c.opened(data, as_json) as t:
        t.roles.remove(role, tenant=tenant, by=c.operator())
        c.print_record({"removed": role}, as_json)


@app.command("assign")
def assign(
    tenant: c.Tenant,
    principal: Principal,
    role: Role,
    until: Annotated[str | None, typer.Option(help="ISO 8601 time, or such as 8h.")] = None,
    resource: ForResource = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Give a principal a role."""
    with c.opened(data, as_json) as t:
        moment = c.parse_moment(until, "--until")
        given = t.roles.assign(
            tenant, principal, role, until=moment, resource=resource, by=c.operator()
        )
        c.print_record(given, as_json)


@app.command("revoke")
def revoke(
    tenant: c.Tenant,
    principal: Principal,
    role: Role,
    resource: ForResource = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Take a role away. Exit status 1 when it was not assigned."""
    with c.opened(data, as_json) as t:
        done = t.roles.revoke(tenant, principal, role, resource=resource, by=c.operator())
        c.print_record({"revoked": done}, as_json)
    if not done:
        raise typer.Exit(c.REFUSED)


@app.command("assignments")
def assignments(
    tenant: c.Tenant,
    principal: Annotated[str | None, typer.Option(help="Only this one's.")] = None,
    limit: c.Limit = 100,
    cursor: c.Cursor = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """List who holds which role."""
    with c.opened(data, as_json) as t:
        columns = {
            "principal": lambda a: a.principal,
            "role": lambda a: a.role,
            "resource": lambda a: a.resource,
            "until": lambda a: a.until,
            "by": lambda a: a.created_by,
        }
        page = t.roles.assignments(tenant, principal, limit=limit, cursor=cursor)
        c.print_page(page, columns, as_json)


@app.command("permissions")
def permissions(
    tenant: c.Tenant,
    principal: Principal,
    resource: ForResource = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """List everything that somebody may do."""
    with c.opened(data, as_json) as t:
        found = t.access.permissions(tenant, principal, resource=resource)
    _print_names(found, as_json)


@app.command("who-can")
def who_can(
    tenant: c.Tenant,
    permission: Annotated[str, typer.Argument(help="resource:action")],
    resource: ForResource = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """List who may do something."""
    if not valid_permission(permission, False):
        raise typer.BadParameter(
            f"{shown(permission)} is no permission: resource:action, such as ticket:read"
        )
    with c.opened(data, as_json) as t:
        found = t.access.who_can(tenant, permission, resource=resource)
    _print_names(found, as_json)


def _print_names(names: Sequence[str], as_json: bool) -> None:
    if as_json:
        c.print_json(list(names))
    else:
        print("".join(f"{name}\n" for name in names), end="")


@app.command("report")
def report(
    tenant: Annotated[
        str | None, typer.Argument(help="Id, external id or slug. None: the roles of all tenants.")
    ] = None,
    data: c.Data = None,
    as_json: c.Json = False,
) -> None:
    """Unused, duplicate and over-broad roles, and expired assignments."""
    with c.opened(data, as_json) as t:
        c.print_record(t.access.report(tenant), as_json)
