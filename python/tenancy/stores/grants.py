"""No escalation: who grants must hold what is granted.

`system` and `operator:<name>` act from outside the tenants and are exempt. Everybody else must hold
it in the tenant at that moment: a principal by its roles, an API key without principal by its
scopes. Principals and roles are different name spaces; a role's name gives nobody its rights.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from .. import _core
from .._text import shown, storable
from ..errors import Escalation, InvalidValue
from .change import Change
from .host import Host
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
        if not storable(pattern) or not _core.valid_permission(pattern, True):
            raise InvalidValue(
                field,
                f"{shown(pattern)} is no permission",
                remedy="resource:action, with * for a whole side, such as ticket:read or ticket:*",
            )
    return sorted(set(every))


def must_hold_patterns(host: Host, change: Change, tenant_id: str, patterns: Sequence[str]) -> None:
    """Raise `Escalation` unless the change's author holds everything the patterns cover."""
    if outside(change.by) or not patterns:
        return
    own = _key_alone(change, tenant_id, patterns)
    if not own:
        role: tuple[Any, ...] = (tenant_id, _GRANT, list(patterns), [], [])
        _must_hold(host, change, tenant_id, _GRANT, "scopes", {"roles": [role]})


def must_hold_role(host: Host, change: Change, tenant_id: str, role: str) -> None:
    """Raise `Escalation` unless the change's author holds everything the role gives."""
    if outside(change.by):
        return
    # What a role gives changes with the role: only a key without bounds may pass it on.
    own = _key_alone(change, tenant_id, ("*:*",))
    if not own:
        _must_hold(host, change, tenant_id, role, "role", {})


def _must_hold(
    host: Host,
    change: Change,
    tenant_id: str,
    role: str,
    field: str,
    extra: Mapping[str, Sequence[tuple[Any, ...]]],
) -> None:
    by = change.by
    engine = host.rehearse(change, tenant_id, field=field, principal=by, extra=extra)
    missing = engine.access_missing_for_grant(tenant_id, by, role)
    if missing is not None:
        raise _escalation(tenant_id, by, missing)


def _key_alone(change: Change, tenant_id: str, patterns: Sequence[str]) -> bool:
    """Judge the key that the author is or came with. True: it is its own principal, all is said."""
    actor = change.actor
    if actor.tenant not in (None, tenant_id):
        raise Escalation(f"{actor.name} belongs to another tenant", tenant=tenant_id)
    found = change.execute(
        sa.select(keys.c.scopes, keys.c.principal).where(
            keys.c.id == (actor.key or actor.name), keys.c.tenant_id == tenant_id
        )
    ).one_or_none()
    if found is None:
        return False
    if found.scopes is not None:
        scopes = json.loads(found.scopes)
        for pattern in patterns:
            if not any(_covers(scope, pattern) for scope in scopes):
                raise _escalation(tenant_id, actor.name, pattern)
    return found.principal is None


def _covers(wide: str, narrow: str) -> bool:
    return all(a in ("*", b) for a, b in zip(wide.split(":", 1), narrow.split(":", 1), strict=True))


def _escalation(tenant_id: str, by: str, permission: str) -> Escalation:
    return Escalation(
        f"{by} does not hold {permission} and so cannot grant it",
        tenant=tenant_id,
        permission=permission,
    )
