"""Roles and who holds them. `Tenancy.roles`.

Roles come from the catalog, from the store for every tenant, or from one tenant. Assignments are
per tenant, may end at a time and may be for one resource. Nobody grants what they do not hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from ._text import check_page, check_principal, check_text, deadline_ns, listed, to_datetime
from .errors import Conflict, DutyViolated, InvalidValue, RoleInUse, UnknownRole
from .stores.change import Change
from .stores.grants import check_patterns, must_hold_patterns, must_hold_role, outside
from .stores.host import Host
from .stores.outbox import decode_cursor, encode_cursor
from .stores.records import Assignment, Page, Role, Tenant
from .stores.schema import assignments, roles
from .stores.twins import twin

__all__ = ["Assignment", "Role", "Roles"]


class Roles:
    """Every call has an `a…` twin."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def define(
        self,
        name: str,
        *,
        permissions: Iterable[str] = (),
        denies: Iterable[str] = (),
        inherits: Iterable[str] = (),
        tenant: Tenant | str | None = None,
        by: str | None = None,
    ) -> Role:
        """Make or replace a role, of one tenant or (without `tenant`) of all.

        Deny wins over everything that any role allows. Raises `InvalidValue` for a cycle or an
        unknown parent, `Escalation` when `by` does not hold what the role would give.
        """
        check_text(name, "name", 64)
        if name in self._host.catalog.roles:
            raise Conflict(f"role {name!r} belongs to the catalog", remedy="choose another name")
        row = {
            "permissions": json.dumps(check_patterns(permissions, "permissions")),
            "denies": json.dumps(check_patterns(denies, "denies")),
            "inherits": json.dumps(_names(inherits, "inherits")),
        }
        tenant_id = "" if tenant is None else self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            if not tenant_id and not outside(change.by):
                raise InvalidValue(
                    "tenant",
                    "a role of every tenant is made from outside the tenants",
                    remedy="pass tenant=…, or by='operator:<name>'",
                )
            if tenant_id:
                self._check_holder(change, tenant_id, row)
            values = {**row, "updated_ns": change.now_ns}
            change.execute(
                insert(roles)
                .values(tenant_id=tenant_id, name=name, created_ns=change.now_ns, **values)
                .on_conflict_do_update(index_elements=["tenant_id", "name"], set_=values)
            )
            self._host.rehearse(change, tenant_id or None, field="role")
            change.touched("role", tenant_id, name)
            change.fact(
                "permission_granted",
                "role:define",
                tenant=tenant_id or None,
                resource="role",
                resource_id=name,
                context={key: json.loads(text) for key, text in row.items()},
            )
        return self.get(name, tenant=tenant)

    def remove(
        self, name: str, *, tenant: Tenant | str | None = None, by: str | None = None
    ) -> None:
        """Remove a role. Raises `RoleInUse` while it is assigned or inherited, and `Conflict` for a
        role of the catalog."""
        tenant_id = "" if tenant is None else self._host.tenant_id(tenant)
        if name in self._host.catalog.roles:
            told = f"role {name!r} belongs to the catalog"
            raise Conflict(told, remedy="take it out of the catalog, and put that in force")
        with self._host.write(by) as change:
            which = sa.and_(roles.c.tenant_id == tenant_id, roles.c.name == name)
            if change.execute(sa.select(roles.c.seq).where(which)).first() is None:
                raise UnknownRole(f"no role {name!r}", tenant=tenant_id or None)
            self._check_unused(change, tenant_id, name)
            change.execute(sa.delete(roles).where(which))
            change.touched("role", tenant_id, name)
            change.fact(
                "permission_granted",
                "role:remove",
                tenant=tenant_id or None,
                resource="role",
                resource_id=name,
            )

    def get(self, name: str, *, tenant: Tenant | str | None = None) -> Role:
        """The role as the tenant sees it: its own, the store's or the catalog's."""
        for role in self.list(tenant):
            if role.name == name:
                return role
        raise UnknownRole(f"no role {name!r}")

    def list(self, tenant: Tenant | str | None = None) -> Sequence[Role]:
        """Roles that a tenant sees, its own first; without `tenant` those that every tenant has."""
        tenant_id = "" if tenant is None else self._host.tenant_id(tenant)
        query = (
            sa.select(roles)
            .where(roles.c.tenant_id.in_({tenant_id, ""}))
            .order_by(roles.c.tenant_id.desc(), roles.c.name)
        )
        with self._host.read() as connection:
            found = [_role(row) for row in connection.execute(query)]
        ready = [
            Role(r.name, None, r.permissions, r.denies, r.inherits, "catalog")
            for r in self._host.catalog.roles.values()
        ]
        return (*found, *ready)

    # ------------------------------------------------------------------------------ holders

    def assign(
        self,
        tenant: Tenant | str,
        principal: str,
        role: str,
        *,
        until: datetime | timedelta | float | None = None,
        resource: str | None = None,
        by: str | None = None,
    ) -> Assignment:
        """Give a principal a role in one tenant; doing it again moves `until`.

        `until` is a moment, or a length of time from now; it is compared at each check. `resource`
        (`type/id`) limits it to one instance. Raises `UnknownRole`, `Escalation`, `DutyViolated`.
        """
        check_principal(principal)
        if resource is not None:
            check_resource(resource)
        tenant_id = self._host.tenant_id(tenant)
        self.get(role, tenant=tenant_id)
        with self._host.write(by) as change:
            until_ns = deadline_ns(until, change.now_ns, "until")
            must_hold_role(self._host, change, tenant_id, role)
            values = {"until_ns": until_ns, "created_by": change.by}
            change.execute(
                insert(assignments)
                .values(
                    tenant_id=tenant_id,
                    principal=principal,
                    role=role,
                    resource=resource or "",
                    created_ns=change.now_ns,
                    **values,
                )
                .on_conflict_do_update(
                    index_elements=["tenant_id", "principal", "role", "resource"], set_=values
                )
            )
            self._check_duties(change, tenant_id, principal, role)
            change.touched("assignment", tenant_id, principal, role, resource or "")
            change.fact(
                "role_assigned",
                "role:assign",
                tenant=tenant_id,
                resource="role",
                resource_id=role,
                context={"principal": principal, "resource": resource, "until_ns": until_ns},
            )
        return Assignment(
            tenant_id,
            principal,
            role,
            resource,
            to_datetime(until_ns),
            to_datetime(change.now_ns),
            change.by,
        )

    def revoke(
        self,
        tenant: Tenant | str,
        principal: str,
        role: str,
        *,
        resource: str | None = None,
        by: str | None = None,
    ) -> bool:
        """Take a role away; refused from the next decision on. False: it was not assigned."""
        tenant_id = self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            done = change.execute(
                sa.delete(assignments).where(
                    assignments.c.tenant_id == tenant_id,
                    assignments.c.principal == principal,
                    assignments.c.role == role,
                    assignments.c.resource == (resource or ""),
                )
            )
            if not done.rowcount:
                return False
            change.touched("assignment", tenant_id, principal, role, resource or "")
            change.fact(
                "role_revoked",
                "role:revoke",
                tenant=tenant_id,
                resource="role",
                resource_id=role,
                context={"principal": principal, "resource": resource},
            )
        return True

    def assignments(
        self,
        tenant: Tenant | str,
        principal: str | None = None,
        *,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[Assignment]:
        """Assignments of a tenant, or of one of its principals; expired ones too."""
        query = (
            sa.select(assignments)
            .where(assignments.c.tenant_id == self._host.tenant_id(tenant))
            .order_by(assignments.c.seq)
            .limit(check_page(limit) + 1)
        )
        if principal is not None:
            query = query.where(assignments.c.principal == principal)
        if cursor is not None:
            query = query.where(assignments.c.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(_assignment(row) for row in rows[:limit]), more)

    # ------------------------------------------------------------------------------ inside

    def _check_holder(self, change: Change, tenant_id: str, row: dict[str, str]) -> None:
        must_hold_patterns(self._host, change, tenant_id, json.loads(row["permissions"]))
        for parent in json.loads(row["inherits"]):
            must_hold_role(self._host, change, tenant_id, parent)

    def _check_duties(self, change: Change, tenant_id: str, principal: str, role: str) -> None:
        try:
            self._host.rehearse(change, tenant_id, field="role", principal=principal)
        except Conflict as error:
            raise DutyViolated(
                f"{principal} cannot hold {role}: {error.message}", tenant=tenant_id
            ) from error

    def _check_unused(self, change: Change, tenant_id: str, name: str) -> None:
        # A tenant's role of the same name hides the common one: its assignments do not count.
        own = sa.select(roles.c.tenant_id).where(roles.c.name == name, roles.c.tenant_id != "")
        used = sa.select(assignments.c.principal).where(
            assignments.c.role == name,
            assignments.c.tenant_id == tenant_id
            if tenant_id
            else assignments.c.tenant_id.not_in(own),
        )
        holder = change.execute(used.limit(1)).scalar()
        if holder is not None:
            raise RoleInUse(f"role {name} is assigned to {holder}", tenant=tenant_id or None)
        visible = sa.true() if not tenant_id else roles.c.tenant_id == tenant_id
        for row in change.execute(sa.select(roles).where(visible)):
            if name in json.loads(row.inherits):
                raise RoleInUse(f"role {name} is inherited by {row.name}", tenant=tenant_id or None)

    adefine = twin(define)
    aremove = twin(remove)
    aget = twin(get)
    alist = twin(list)  # noqa: A003
    aassign = twin(assign)
    arevoke = twin(revoke)
    aassignments = twin(assignments)


def check_resource(resource: str) -> str:
    """`type/id`, both given."""
    check_text(resource, "resource", 512)
    kind, slash, name = resource.partition("/")
    if not (kind and slash and name):
        raise InvalidValue("resource", f"{resource!r}", remedy="type/id, such as ticket/42")
    return resource


def _names(names: Iterable[str], field: str) -> Sequence[str]:
    if isinstance(names, (str, bytes)):
        raise InvalidValue(field, "expected a list of role names", remedy=listed([str(names)]))
    return sorted({check_text(name, field, 64) for name in names})


def _role(row: Any) -> Role:
    return Role(
        row.name,
        row.tenant_id or None,
        tuple(json.loads(row.permissions)),
        tuple(json.loads(row.denies)),
        tuple(json.loads(row.inherits)),
    )


def _assignment(row: Any) -> Assignment:
    return Assignment(
        row.tenant_id,
        row.principal,
        row.role,
        row.resource or None,
        to_datetime(row.until_ns),
        to_datetime(row.created_ns),
        row.created_by,
    )
