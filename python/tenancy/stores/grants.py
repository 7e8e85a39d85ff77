"""No escalation: who grants must hold what is granted.

`system` and `operator:<name>` act from outside the tenants and are exempt. Everybody else must hold
it in the tenant at that moment: a principal by its roles, an API key without principal by its
scopes. Principals and roles are different name spaces; a role's name gives nobody its rights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import sqlalchemy as sa

from .. import _core
from ..errors import Escalation, InvalidValue
from .host import Change, Host
from .schema import keys

__all__ = [
    "OPERATOR",
    "SYSTEM",
    "check_patterns",
    "must_hold_patterns",
    "must_hold_role",
    "outside",
]


SYSTEM = "system"
OPERATOR = "operator:"
_GRANT = "tenancy-grant"


def outside(by: str) -> bool:
    """Whether `by` acts from outside the tenants."""
    return by == SYSTEM or by.startswith(OPERATOR)


def check_patterns(patterns: Iterable[str], field: str) -> list[str]:
    """Permission patterns `resource:action`, with `*` on either side; sorted, each once."""
    if isinstance(patterns, (str, bytes)):
        raise InvalidValue(field, "expected a list of permissions", remedy=f"[{patterns!r}]")
    every = list(patterns)
    for pattern in every:
        if not isinstance(pattern, str) or not _core.valid_permission(pattern, True):
            raise InvalidValue(
                field,
                f"{pattern!r} is no permission",
                remedy="resource:action, with * for a whole side, such as ticket:read or ticket:*",
            )
    return sorted(set(every))


def must_hold_patterns(host: Host, change: Change, tenant_id: str, patterns: Sequence[str]) -> None:
    """Raise `Escalation` unless the change's author holds everything the patterns cover."""
    by = change.by
    if outside(by) or not patterns:
        return
    scopes = _scopes_of_key(change, tenant_id, by)
    if scopes is not None:
        for pattern in patterns:
            if not any(_covers(scope, pattern) for scope in scopes):
                raise _escalation(tenant_id, by, pattern)
        return
    role: tuple[Any, ...] = (tenant_id, _GRANT, list(patterns), [], [])
    engine = host.rehearse(change, tenant_id, field="scopes", principal=by, extra={"roles": [role]})
    missing = engine.access_missing_for_grant(tenant_id, by, _GRANT)
    if missing is not None:
        raise _escalation(tenant_id, by, missing)


def must_hold_role(host: Host, change: Change, tenant_id: str, role: str) -> None:
    """Raise `Escalation` unless the change's author holds everything the role gives."""
    by = change.by
    if outside(by):
        return
    if _scopes_of_key(change, tenant_id, by) is not None:
        raise Escalation(
            f"API key {by} cannot grant role {role}",
            tenant=tenant_id,
            remedy="make the key for a principal who holds the role, or grant it as that principal",
        )
    engine = host.rehearse(change, tenant_id, field="role", principal=by)
    missing = engine.access_missing_for_grant(tenant_id, by, role)
    if missing is not None:
        raise _escalation(tenant_id, by, missing)


def _scopes_of_key(change: Change, tenant_id: str, by: str) -> list[str] | None:
    """The scopes of a key that is its own principal; None when `by` is no such key."""
    found = change.execute(
        sa.select(keys.c.scopes).where(
            keys.c.id == by, keys.c.tenant_id == tenant_id, keys.c.principal.is_(None)
        )
    ).one_or_none()
    if found is None:
        return None
    return [] if found.scopes is None else list(json.loads(found.scopes))


def _covers(wide: str, narrow: str) -> bool:
    return all(a in ("*", b) for a, b in zip(wide.split(":", 1), narrow.split(":", 1), strict=True))


def _escalation(tenant_id: str, by: str, permission: str) -> Escalation:
    return Escalation(
        f"{by} does not hold {permission} and so cannot grant it",
        tenant=tenant_id,
        permission=permission,
    )
