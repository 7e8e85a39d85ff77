"""Operators' endpoints without a protocol: who may ask, what is asked, what is answered.

An operator is a caller of one tenant, the operators' own, who holds one permission *by name*: a
pattern that covers it (`*:*`, an administrator's) does not count, nor a claim of a token, nor
anything that another tenant gives. Whoever is none gets one and the same answer to everything below
the prefix, whether it exists or not. Every access is an audit fact, refused ones too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from . import _core
from .errors import InvalidValue, NotFound, PermissionDenied, TenancyError, UnknownKey
from .problem import of_error

if TYPE_CHECKING:
    from .context import TenantContext
    from .operators import Operator

PERMISSION = "operator:read"
REASON_HEADER = "X-Operator-Reason"

DOCUMENTED = {
    "/tenants": "Tenants, by status, plan and text",
    "/tenants/{tenant}": "The record of a tenant",
    "/tenants/{tenant}/limits": "What is left of a tenant's rate limits",
    "/tenants/{tenant}/quotas": "The status of a tenant's quotas",
    "/tenants/{tenant}/sessions": "Live sessions of a tenant",
    "/sessions": "Live sessions of all tenants",
    "/audit": "Audit facts of all tenants, newest first",
    "/audit/{event}": "One audit fact",
}
"""The endpoints, for frameworks that document theirs."""

_LIMIT_MAX = 1000
_REFERENCE_MAX = 255
_DEPTH_MAX = 64


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, JSON members of the body, and further headers."""

    status: int
    members: Mapping[str, Any]
    headers: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """One request, as every protocol can say it. `path` is what follows the prefix, decoded."""

    method: str
    path: str
    query: str
    reason: str | None


class OperatorRoutes:
    """Immutable; any thread. `tenant` is the operators' own tenant (id, external id or slug)."""

    def __init__(
        self,
        tenancy: Any,
        *,
        tenant: str,
        permission: str = PERMISSION,
        reason_header: str = REASON_HEADER,
    ) -> None:
        if not _core.valid_permission(permission, False):
            raise InvalidValue("permission", f"{permission!r}", remedy="such as operator:read")
        self._tenancy = tenancy
        self._tenant = tenant
        self._permission = permission
        self.reason_header = reason_header

    def answer(self, context: TenantContext | None, question: Question) -> Reply:
        """Never raises what is the caller's fault. Blocks on the store: call it on a thread."""
        path = question.path
        if context is None or not self._is_operator(context):
            self._tenancy.refused_operator(
                context, "operator:refuse", path=path[:_REFERENCE_MAX], method=question.method
            )
            return _problem(PermissionDenied("this is for operators", permission=self._permission))
        try:
            if question.method not in ("GET", "HEAD"):
                return Reply(405, {"code": "METHOD_NOT_ALLOWED"}, (("Allow", "GET, HEAD"),))
            reason = (question.reason or "").strip()
            if not reason:
                raise InvalidValue(
                    self.reason_header, "is missing", remedy="say why you look, for the record"
                )
            by = context.principal or context.decision.key  # type: ignore[union-attr]
            operator = self._tenancy.operator(by=by, reason=reason)
            return Reply(200, self._members(operator, path, _Query(question.query)))
        except (NotFound, InvalidValue) as error:
            self._tenancy.refused_operator(
                context, "operator:fail", path=path[:_REFERENCE_MAX], code=error.code
            )
            return _problem(error)

    # ------------------------------------------------------------------------------ who

    def _is_operator(self, context: TenantContext) -> bool:
        decision = context.decision
        found = self._tenancy.engine.tenant(self._tenant)
        if decision is None or found is None or found[0] != context.tenant_id:
            return False
        # Roles and scopes alone: what a token claims is its issuer's word.
        path = decision.explain_permission(self._permission)
        if path is None or not path["allowed"] or decision.principal_is_hint:
            return False
        key = decision.key
        if key is not None and not self._key_names_it(key, context.tenant_id, decision.principal):
            return False
        principal = decision.principal
        return principal is None or self._role_names_it(context.tenant_id, principal)

    def _key_names_it(self, key: str, tenant: str, principal: str | None) -> bool:
        try:
            scopes = self._tenancy.keys.get(key, tenant=tenant).scopes
        except UnknownKey:
            return False
        return principal is not None if scopes is None else self._permission in scopes

    def _role_names_it(self, tenant: str, principal: str) -> bool:
        """Whether a role that the principal holds now, on the tenant as a whole, gives the
        permission by its name."""
        known: dict[str, Any] = {}
        for role in self._tenancy.roles.list(tenant):
            known.setdefault(role.name, role)
        now = datetime.fromtimestamp(self._tenancy.clock.wall_ns() / 1e9, timezone.utc)
        cursor: str | None = None
        for _ in range(_DEPTH_MAX):
            page = self._tenancy.roles.assignments(tenant, principal, cursor=cursor)
            for held in page:
                in_force = held.until is None or held.until > now
                if in_force and held.resource is None and self._names_it(held.role, known, set()):
                    return True
            cursor = page.cursor
            if cursor is None:
                return False
        return False

    def _names_it(self, name: str, known: Mapping[str, Any], seen: set[str]) -> bool:
        role = known.get(name)
        if role is None or name in seen:
            return False
        seen.add(name)
        if self._permission in role.permissions:
            return True
        return any(self._names_it(parent, known, seen) for parent in role.inherits)

    # ------------------------------------------------------------------------------ what

    def _members(self, operator: Operator, path: str, query: _Query) -> Mapping[str, Any]:
        parts = [part for part in path.split("/") if part]
        if any(len(part) > _REFERENCE_MAX or "\0" in part for part in parts):
            raise NotFound("no such route")
        match parts:
            case ["tenants"]:
                page = operator.tenants(
                    status=query.text("status"),
                    plan=query.text("plan"),
                    text=query.text("text"),
                    **query.page(),
                )
                return _page("tenants", page)
            case ["tenants", tenant]:
                return operator.tenant(tenant).as_dict()
            case ["tenants", tenant, "limits"]:
                limits = operator.limits(tenant)
                return {"limits": {name: list(map(_window, of)) for name, of in limits.items()}}
            case ["tenants", tenant, "quotas"]:
                return {
                    "quotas": {
                        name: {**status.as_dict(), "remaining": status.remaining}
                        for name, status in operator.quotas(tenant).items()
                    }
                }
            case ["tenants", tenant, "sessions"]:
                return _page("sessions", operator.sessions(tenant=tenant, **query.page()))
            case ["sessions"]:
                of = query.text("tenant")
                return _page("sessions", operator.sessions(tenant=of, **query.page()))
            case ["audit"]:
                return _page("events", operator.audit(**query.audit(), **query.page()))
            case ["audit", event]:
                return operator.event(event).as_dict()
        raise NotFound("no such route")


class _Query:
    """What follows the question mark; each name once."""

    def __init__(self, text: str) -> None:
        try:
            self._values = parse_qs(text, keep_blank_values=True, max_num_fields=32)
        except ValueError:
            raise InvalidValue("query", "too many parameters") from None

    def text(self, name: str) -> str | None:
        values = self._values.get(name)
        if values is None:
            return None
        if len(values) > 1 or len(values[0]) > _REFERENCE_MAX or not values[0].isprintable():
            raise InvalidValue(name, "expected one text of at most 255 characters")
        return values[0]

    def page(self) -> dict[str, Any]:
        limit = self.text("limit")
        if limit is not None and not (limit.isascii() and limit.isdigit() and len(limit) <= 4):
            raise InvalidValue("limit", f"{limit!r}", remedy=f"1 to {_LIMIT_MAX}")
        number = 100 if limit is None else int(limit)
        if not 1 <= number <= _LIMIT_MAX:
            raise InvalidValue("limit", f"{number}", remedy=f"1 to {_LIMIT_MAX}")
        return {"limit": number, "cursor": self.text("cursor")}

    def time(self, name: str) -> datetime | None:
        text = self.text(name)
        if text is None:
            return None
        try:
            moment = datetime.fromisoformat(text.replace("Z", "+00:00").replace(" ", "+"))
        except ValueError:
            raise InvalidValue(name, f"{text!r}", remedy="ISO 8601, such as 2026-01-31") from None
        return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)

    def audit(self) -> dict[str, Any]:
        names = ("tenant", "type", "principal", "action", "result")
        texts = {name: self.text(name) for name in names}
        return {**texts, "since": self.time("since"), "until": self.time("until")}


def body_of(reply: Reply) -> bytes:
    return json.dumps(dict(reply.members)).encode("ascii")


def headers_of(reply: Reply) -> dict[str, str]:
    """Beside the length."""
    return {"Content-Type": "application/json", "Cache-Control": "no-store", **dict(reply.headers)}


def _page(name: str, page: Any) -> dict[str, Any]:
    return {name: [item.as_dict() for item in page], "cursor": page.cursor}


def _window(window: Any) -> dict[str, Any]:
    names = ("name", "policy", "limit", "remaining", "window", "reset_after", "shadow")
    return {name: getattr(window, name) for name in names}


def _problem(error: TenancyError) -> Reply:
    problem = of_error(error, now_ns=0)
    headers = (("Content-Type", "application/problem+json"), *problem.headers)
    return Reply(problem.status, problem.members, headers)
