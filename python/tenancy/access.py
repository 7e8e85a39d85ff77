"""Questions about rights. `Tenancy.access`. What is granted is changed through `Tenancy.roles`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ._active_roles import activating
from ._text import shown, storable, to_datetime
from .errors import InvalidValue, PermissionDenied
from .stores.host import Host
from .stores.records import Record, Tenant
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
    """Roles that are neither assigned, even if the assignment has ended, nor inherited."""
    duplicate: Sequence[Sequence[str]]
    """Groups of roles that give and deny exactly the same, with all they inherit. Roles of every
    tenant are named beside the tenant's own."""
    over_broad: Sequence[str]
    """Roles with `*:*` or a wildcard for every resource, inherited or their own, and (of a tenant)
    who holds them."""
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
        roles: Sequence[str] | None = None,
    ) -> bool:
        """Whether the principal holds `resource:action`, perhaps on one instance `type/id`.

        A question: a no leaves a fact only where the catalog's `audit: {questions: …}` says so.
        `require` is what refuses.

        `roles` are those to be active, some of what it holds or inherits; None: all that it holds.
        Raises `InvalidValue` for one that it does not hold, `DutyViolated` for a set that a dynamic
        duty forbids.
        """
        if not _askable(principal, permission, resource):
            return False
        tenant_id = self._host.tenant_id(tenant)
        held = self._holds(tenant_id, principal, permission, resource, roles)
        if not held:
            self._host.refusals.question(tenant_id, principal, permission, resource)
        return held

    def require(
        self,
        tenant: Tenant | str,
        principal: str,
        permission: str,
        *,
        resource: str | None = None,
        roles: Sequence[str] | None = None,
    ) -> None:
        """Go on only if the principal holds the permission, as `check` has it.

        Raises `PermissionDenied`, which leaves its fact like every refusal, and what `check` does.
        """
        askable = _askable(principal, permission, resource)
        tenant_id = self._host.tenant_id(tenant)
        if askable and self._holds(tenant_id, principal, permission, resource, roles):
            return
        if askable:
            self._host.refusals.right(tenant_id, principal, permission, resource)
        raise PermissionDenied(
            f"permission {shown(permission)} is missing", tenant=tenant_id, permission=permission
        )

    def _holds(
        self,
        tenant_id: str,
        principal: str,
        permission: str,
        resource: str | None,
        roles: Sequence[str] | None,
    ) -> bool:
        with activating(roles) as active:
            return self._host.current().access_check(
                tenant_id, principal, permission, resource, active
            )

    def check_many(
        self,
        tenant: Tenant | str,
        principal: str,
        permissions: Sequence[str],
        *,
        resource: str | None = None,
        roles: Sequence[str] | None = None,
    ) -> Mapping[str, bool]:
        """`check` for several permissions, all by one state of the definitions."""
        if isinstance(permissions, str):
            raise InvalidValue(
                "permissions", "expected a list of permissions", remedy=f"[{shown(permissions)}]"
            )
        if not _askable(principal, *permissions, resource):
            return {
                one: self.check(tenant, principal, one, resource=resource, roles=roles)
                for one in permissions
            }
        tenant_id = self._host.tenant_id(tenant)
        with activating(roles) as active:
            answers = self._host.current().access_check_many(
                tenant_id, principal, list(permissions), resource, active
            )
        for permission, held in zip(permissions, answers, strict=True):
            if not held:
                self._host.refusals.question(tenant_id, principal, permission, resource)
        return dict(zip(permissions, answers, strict=True))

    def explain(
        self,
        tenant: Tenant | str,
        principal: str | None,
        permission: str,
        *,
        resource: str | None = None,
        scopes: Sequence[str] | None = None,
        roles: Sequence[str] | None = None,
    ) -> AccessExplanation:
        """Which role gives it, by which path; or why not and what came nearest.

        `roles` as in `check`, with its errors.
        """
        engine, tenant_id = self._host.current(), self._host.tenant_id(tenant)
        limited = None if scopes is None else list(scopes)
        with activating(roles, field="scopes" if roles is None else "roles") as active:
            told = engine.access_explain(
                tenant_id, principal, permission, resource, limited, active
            )
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
        self,
        tenant: Tenant | str,
        principal: str,
        *,
        resource: str | None = None,
        roles: Sequence[str] | None = None,
    ) -> Sequence[str]:
        """Everything the principal may do: exactly the permissions known by name (to the catalog
        and the roles) that `check` allows. `roles` as there."""
        if not _askable(principal, resource):
            return ()
        with activating(roles) as active:
            return self._host.current().access_permissions(
                self._host.tenant_id(tenant), principal, resource, active
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

    def report(self, tenant: Tenant | str | None = None) -> AccessReport:
        """The tenant's own roles that are unused, give the same as another, or give too much, and
        its assignments that have expired. None: the roles that every tenant has."""
        engine, now_ns = self._host.current(), self._host.clock.wall_ns()
        tenant_id = None if tenant is None else self._host.tenant_id(tenant)
        told = engine.access_report(tenant_id)
        held = [] if tenant_id is None else engine.access_assignments(tenant_id, "")
        holders: dict[str, set[str]] = {}
        for principal, role, _, _ in held:
            holders.setdefault(role, set()).add(principal)
        broad = {role for role, _ in told["over_broad"]}
        return AccessReport(
            unused=tuple(told["unused"]),
            duplicate=tuple(tuple(group) for group in told["duplicates"]),
            over_broad=tuple(
                role
                if tenant_id is None
                else f"{role} ({', '.join(sorted(holders.get(role, ()))) or 'nobody'})"
                for role in sorted(broad)
            ),
            expired=tuple(
                {"principal": principal, "role": role, "until": to_datetime(until_ns)}
                for principal, role, _, until_ns in held
                if until_ns is not None and until_ns <= now_ns
            ),
        )

    acheck = twin(check)
    arequire = twin(require)
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
