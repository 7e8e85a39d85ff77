"""HTTP answers to refusals and errors: problem details, RFC 9457.

`type` is `urn:problem-type:tenancy:` and the code in lower case; `code` is the code itself. A rate
limit adds
`tenant`, `limit_name`, `window` (seconds), `count`, `limit`, `remaining`, `reset` (ISO 8601) and
`exceeded`; a quota its own. Nothing internal gets in: errors that are ours or the store's say only
that they happened.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from .errors import CatalogError, Refused, TenancyError, refusal
from .headers import Window, retry_after_seconds

if TYPE_CHECKING:
    from ._core import Decision

__all__ = ["MEDIA_TYPE", "SCHEMA", "Problem", "gateway_error", "of_decision", "of_error"]

MEDIA_TYPE = "application/problem+json"

_INSTANCE_MAX = 1024
_RETRY_CODES = frozenset(
    {
        "RATE_LIMIT_EXCEEDED",
        "QUOTA_EXCEEDED",
        "CONCURRENCY_EXCEEDED",
        "STATE_UNAVAILABLE",
        "REQUEST_IN_PROGRESS",
    }
)
_CHALLENGES = {
    "INVALID_CREDENTIAL": 'Bearer realm="tenancy", error="invalid_token"',
    "EXPIRED_CREDENTIAL": 'Bearer realm="tenancy", error="invalid_token"',
}

_log = logging.getLogger("tenancy")

SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem details (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "examples": ["RATE_LIMIT_EXCEEDED"]},
        "detail": {"type": "string"},
        "instance": {"type": "string", "format": "uri-reference"},
        "tenant": {"type": "string"},
        "window": {"type": "number", "description": "Seconds."},
        "count": {"type": "integer"},
        "limit": {"type": "integer"},
        "remaining": {"type": "integer"},
        "reset": {"type": "string", "format": "date-time"},
        "exceeded": {"type": "boolean"},
        "retry_after": {"type": "number", "description": "Seconds."},
    },
}
"""JSON schema of the bodies."""


@dataclass(frozen=True)
class Problem:
    """One answer: `status`, `members` of the body, `headers` beside content type and length."""

    status: int
    members: dict[str, Any]
    headers: Sequence[tuple[str, str]] = field(default=())

    @property
    def code(self) -> str:
        return str(self.members["code"])

    def body(self) -> bytes:
        return json.dumps(self.members, separators=(",", ":"), allow_nan=False).encode("ascii")

    def all_headers(self, length: int) -> list[tuple[str, str]]:
        return [
            ("Content-Type", MEDIA_TYPE),
            ("Content-Length", str(length)),
            ("Cache-Control", "no-store"),
            *self.headers,
        ]

    def raw_headers(self, length: int) -> list[tuple[bytes, bytes]]:
        """As ASGI has them."""
        return [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in self.all_headers(length)
        ]


def of_decision(
    decision: Decision, *, now_ns: int, instance: str | None = None, code: str | None = None
) -> Problem:
    """The answer to a refused decision. `code` is a more exact one that the caller knows."""
    error = refusal(decision)
    code = code or decision.code
    members = _members(code, decision.status, error.message, instance)
    if code == "EXPIRED_CREDENTIAL":
        members["detail"] = "the credential has expired"
    if decision.tenant is not None and members["status"] != 401:
        members["tenant"] = decision.tenant
    window = decision.tightest
    if code == "RATE_LIMIT_EXCEEDED" and window is not None:
        members.update(_limit_state(window, now_ns))
    elif code in ("QUOTA_EXCEEDED", "CONCURRENCY_EXCEEDED"):
        members.update(_quota_state(decision))
    elif code == "PERMISSION_DENIED" and not decision.roles_refused:
        members["permission"] = decision.detail
    elif code == "FEATURE_NOT_IN_PLAN":
        members["feature"] = decision.detail
    return _answer(members, decision.retry_after)


def of_error(error: TenancyError, *, now_ns: int, instance: str | None = None) -> Problem:
    """The answer to an error that left a handler."""
    if isinstance(error, Refused) and error.decision is not None:
        return of_decision(error.decision, now_ns=now_ns, instance=instance)
    window = getattr(error, "window", None)
    if window is not None:
        return _of_window(window, error.tenant, now_ns, instance)
    if error.status >= 500 or isinstance(error, CatalogError):
        _log.error("answered as %d: %s", error.status, error.code, exc_info=error)
        if error.code == "STATE_UNAVAILABLE" or error.status == 503:
            detail = "the state that the decision needs is not available"
            return _answer(_members("STATE_UNAVAILABLE", 503, detail, instance), error.retry_after)
        return gateway_error(instance)
    members = _members(error.code, error.status, error.message, instance)
    for name in ("limit", "permission"):
        if getattr(error, name) is not None:
            members[name if name == "permission" else "limit_name"] = getattr(error, name)
    return _answer(members, error.retry_after)


def gateway_error(instance: str | None = None) -> Problem:
    """Something of ours failed. What it was is in the log."""
    return _answer(_members("GATEWAY_ERROR", 500, "the gateway failed", instance), None)


def _members(code: str, status: int, detail: str, instance: str | None) -> dict[str, Any]:
    members: dict[str, Any] = {
        "type": f"urn:problem-type:tenancy:{code.lower().replace('_', '-')}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "code": code,
        "detail": detail,
    }
    if instance is not None:
        members["instance"] = quote(instance[:_INSTANCE_MAX], errors="replace")
    return members


def _answer(members: dict[str, Any], retry_after: float | None) -> Problem:
    code, status = members["code"], members["status"]
    headers = []
    if status == 401:
        headers.append(("WWW-Authenticate", _CHALLENGES.get(code, 'Bearer realm="tenancy"')))
    if retry_after is not None and (code in _RETRY_CODES or status in (429, 503)):
        seconds = retry_after_seconds(retry_after)
        members["retry_after"] = retry_after
        headers.append(("Retry-After", str(seconds)))
    return Problem(status, members, headers)


def _iso(wall_ns: int) -> str:
    """ISO 8601 in UTC, whole seconds, rounded up: at that time it is over."""
    moment = datetime.fromtimestamp(-(-wall_ns // 1_000_000_000), timezone.utc)
    return moment.isoformat().replace("+00:00", "Z")


def _limit_state(window: Window, now_ns: int) -> dict[str, Any]:
    seconds = window.window
    return {
        "limit_name": window.name,
        "window": int(seconds) if seconds == int(seconds) else seconds,
        "count": window.limit - window.remaining,
        "limit": window.limit,
        "remaining": window.remaining,
        "reset": _iso(now_ns + int(window.reset_after * 1e9)),
        "exceeded": not window.allowed,
    }


def _quota_state(decision: Decision) -> dict[str, Any]:
    for quota in reversed(decision.quotas):
        if not quota["allowed"]:
            state = {
                "quota": quota["quota"],
                "used": quota["used"],
                "reserved": quota["reserved"],
                "limit": quota["limit"],
                "requested": quota["amount"],
                "exceeded": True,
            }
            if quota["period_end_wall_ns"]:
                state["reset"] = _iso(quota["period_end_wall_ns"])
            return state
    return {}


def _of_window(window: Window, tenant: str | None, now_ns: int, instance: str | None) -> Problem:
    """The answer to a refusal by a limit that stands at its endpoint."""
    detail = f"rate limit {window.name} is exceeded"
    members = _members("RATE_LIMIT_EXCEEDED", 429, detail, instance)
    if tenant is not None:
        members["tenant"] = tenant
    members.update(_limit_state(window, now_ns))
    return _answer(members, window.retry_after)
