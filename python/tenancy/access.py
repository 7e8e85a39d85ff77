"""Questions about rights. `Tenancy.access`. What is granted is changed through `Tenancy.roles`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from . import _core
from ._text import shown, storable, to_datetime
from .errors import InvalidValue, raise_core
from .stores.host import Host
from .stores.records import Record, Tenant
from .stores.schema import assignments, roles
from .stores.twins import twin

__all__ = ["Access", "AccessExplanation", "AccessReport"]


@dataclass(frozen=True)
class AccessExplanation(Record):
    """Why a principal may do something, or what came nearest."""

    allowed: bool
    reason: str
    """allowed, no_assignment, not_granted, denied, outside_scopes, malformed or
    separation_of_duty."""
    pattern: str
    """The pattern that decided."""
    roles: Sequence[str]
    """From the assigned role to the one that holds the pattern."""
    resource: str | None
    until: datetime | None
    nearest_miss: str

    def __bool__(self) -> bool:
        return self.allowed


@dataclass(frozen=True)
class AccessReport(Record):
    """What a reviewer of rights looks at first."""

    unused: Sequence[str]
    """Roles of the store that nobody holds and no role inherits."""
    duplicate: Sequence[Sequence[str]]
    """Groups of roles that give and deny exactly the same."""
    over_broad: Sequence[str]
    """Roles with `*:*` or a wildcard for every resource, and who holds them."""
    expired: Sequence[Mapping[str, Any]]
    """Assignments whose time is over."""


class Access:
    """Answers from the engine, by the newest definitions. Principals and roles never mix."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def check(
        self,
        tenant: Tenant | str,
        principal: str,
        permission: str,
        *,
        resource: str | None = None,
    ) -> bool:
        """Whether the principal holds `resource:action`, perhaps on one instance `type/id`."""
        if not _askable(principal, permission, resource):
            return False
        return self._host.current().access_check(
            self._host.tenant_id(tenant), principal, permission, resource
        )

    def check_many(
        self,
        tenant: Tenant | str,
        principal: str,
        permissions: Sequence[str],
        *,
        resource: str | None = None,
    ) -> Mapping[str, bool]:
        """`check` for several permissions, all by one state of the definitions."""
        if isinstance(permissions, str):
            raise InvalidValue(
                "permissions", "expected a list of permissions", remedy=f"[{shown(permissions)}]"
            )
        if not _askable(principal, *permissions, resource):
            return {
                one: self.check(tenant, principal, one, resource=resource) for one in permissions
            }
        answers = self._host.current().access_check_many(
            self._host.tenant_id(tenant), principal, list(permissions), resource
        )
        return dict(zip(permissions, answers, strict=True))

    def explain(
        self,
        tenant: Tenant | str,
        principal: str | None,
        permission: str,
        *,
        resource: str | None = None,
        scopes: Sequence[str] | None = None,
    ) -> AccessExplanation:
        """Which role gives it, by which path; or why not and what came nearest."""
        engine, tenant_id = self._host.current(), self._host.tenant_id(tenant)
        try:
            told = engine.access_explain(
                tenant_id, principal, permission, resource, None if scopes is None else list(scopes)
            )
        except _core.CoreError as error:
            raise_core(error, field="scopes", tenant=tenant_id)
        return AccessExplanation(
            allowed=told["allowed"],
            reason=told["reason"],
            pattern=told["pattern"],
            roles=tuple(told["roles"]),
            resource=told["resource"],
            until=to_datetime(told["until_wall_ns"]),
            nearest_miss=told["nearest_miss"],
        )

    def permissions(
        self, tenant: Tenant | str, principal: str, *, resource: str | None = None
    ) -> Sequence[str]:
        """Everything the principal may do: exactly the known permissions that `check` allows."""
        if not _askable(principal, resource):
            return ()
        return self._host.current().access_permissions(
            self._host.tenant_id(tenant), principal, resource
        )

    def who_can(
        self, tenant: Tenant | str, permission: str, *, resource: str | None = None
    ) -> Sequence[str]:
        """The principals of the tenant who may do it."""
        if not _askable(permission, resource):
            return ()
        return self._host.current().access_who_can(
            self._host.tenant_id(tenant), permission, resource
        )

    def validate_access(self, tenant: Tenant | str, type: str, id: str) -> bool:  # noqa: A002
        """Whether the tenant owns the resource (type, id)."""
        tenant_id = self._host.tenant_id(tenant)
        return _askable(type, id) and self._host.current().owns(tenant_id, type, id)

    def report(self, tenant: Tenant | str) -> AccessReport:
        """Unused, duplicate and over-broad roles, and assignments that have expired."""
        tenant_id = self._host.tenant_id(tenant)
        now_ns = self._host.clock.wall_ns()
        with self._host.read() as connection:
            own = connection.execute(
                sa.select(roles).where(roles.c.tenant_id.in_((tenant_id, "")))
            ).all()
            held = connection.execute(
                sa.select(assignments).where(assignments.c.tenant_id == tenant_id)
            ).all()
        live = {row.role for row in held if row.until_ns is None or row.until_ns > now_ns}
        inherited = {parent for row in own for parent in json.loads(row.inherits)}
        expired = tuple(
            {"principal": r.principal, "role": r.role, "until": to_datetime(r.until_ns)}
            for r in held
            if r.until_ns is not None and r.until_ns <= now_ns
        )
        return AccessReport(
            unused=tuple(sorted(r.name for r in own if r.name not in live | inherited)),
            duplicate=_duplicates(own),
            over_broad=_over_broad(own, held),
            expired=expired,
        )

    acheck = twin(check)
    acheck_many = twin(check_many)
    aexplain = twin(explain)
    apermissions = twin(permissions)
    awho_can = twin(who_can)
    avalidate_access = twin(validate_access)
    areport = twin(report)


def _askable(*texts: str | None) -> bool:
    """False where one is no text that the store could hold: nobody holds it, nobody owns it."""
    for text in texts:
        if text is not None and not isinstance(text, str):
            raise InvalidValue("argument", f"expected text, got {shown(text)}")
    return all(text is None or storable(text) for text in texts)


def _duplicates(rows: Sequence[Any]) -> tuple[tuple[str, ...], ...]:
    groups: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        groups.setdefault((row.permissions, row.denies, row.inherits), []).append(row.name)
    return tuple(tuple(sorted(names)) for names in groups.values() if len(names) > 1)


def _over_broad(rows: Sequence[Any], held: Sequence[Any]) -> tuple[str, ...]:
    broad = []
    for row in rows:
        if any(pattern.startswith("*:") for pattern in json.loads(row.permissions)):
            holders = sorted({a.principal for a in held if a.role == row.name})
            broad.append(f"{row.name} ({', '.join(holders) or 'nobody'})")
    return tuple(sorted(broad))
