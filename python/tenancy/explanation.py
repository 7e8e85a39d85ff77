"""`Tenancy.explain`: the answer a request would get, stage by stage, taking nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._core import Decision, Gate, Limit

__all__ = ["Explainer"]

_CREDENTIAL = {"INVALID_CREDENTIAL", "EXPIRED_CREDENTIAL"}
_TENANT = {"MISSING_TENANT", "INVALID_TENANT", "SUSPENDED_TENANT", "TENANT_CONFLICT"}
_QUOTA = {"QUOTA_EXCEEDED", "CONCURRENCY_EXCEEDED"}
_STAGES = ("credential", "tenant", "limits", "permission", "feature", "quotas")


class Explainer:
    """Callable with the arguments of `check`.

    The answer is a dictionary: ``allowed``, ``code``, ``status``, ``detail``, ``retry_after``,
    ``revision``; who it is (``tenant``, ``plan``, ``principal``, ``key``); ``stages``, a list of
    ``{"stage", "outcome", "detail"}`` whose outcome is ``passed``, ``refused``, ``not asked`` or
    ``not reached``; ``limits`` and ``quotas`` with what would be left; and ``access``, which role
    grants the permission by which path, or the nearest miss.
    """

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, **request: Any) -> dict[str, Any]:
        decision = self._gate.dry_run(**request)
        return {
            "allowed": decision.allowed,
            "code": decision.code,
            "status": decision.status,
            "detail": decision.detail,
            "retry_after": decision.retry_after,
            "revision": decision.revision,
            "tenant": decision.tenant,
            "tenant_slug": decision.tenant_slug,
            "plan": decision.plan,
            "principal": decision.principal,
            "key": decision.key,
            "stages": _stages(decision, request),
            "limits": [_limit(entry) for entry in decision.limits],
            "quotas": [dict(quota) for quota in decision.quotas],
            "access": _access(decision, request),
        }


def _access(decision: Decision, request: dict[str, Any]) -> dict[str, Any] | None:
    permission = request.get("permission")
    if permission is None:
        return None
    return decision.explain_permission(permission, request.get("resource"))


def _refusing_stage(decision: Decision) -> str | None:
    """The stage that refused, or `None` when the request would be allowed."""
    if decision.allowed:
        return None
    code = decision.code
    if code in _CREDENTIAL:
        return "credential"
    if code in _TENANT:
        return "tenant"
    if code == "RATE_LIMIT_EXCEEDED" or any(not limit.allowed for limit in decision.limits):
        return "limits"
    if code in _QUOTA or any(not quota["allowed"] for quota in decision.quotas):
        return "quotas"
    return "feature" if code == "FEATURE_NOT_IN_PLAN" else "permission"


def _asked(stage: str, request: dict[str, Any]) -> bool:
    if stage == "credential":
        return any(request.get(name) for name in ("api_key", "session", "identity"))
    if stage == "permission":
        return bool(request.get("permission") or request.get("resource"))
    if stage == "feature":
        return bool(request.get("feature"))
    if stage == "quotas":
        return bool(request.get("consume"))
    return True


def _stages(decision: Decision, request: dict[str, Any]) -> list[dict[str, Any]]:
    refusing = _refusing_stage(decision)
    # Limits per address come before the credential, so that guessing keys is limited too.
    early = refusing == "limits" and decision.tenant is None
    order = ("limits", *(s for s in _STAGES if s != "limits")) if early else _STAGES
    stages = []
    reached = True
    for stage in order:
        if not reached:
            outcome = "not reached"
        elif stage == refusing:
            outcome, reached = "refused", False
        else:
            outcome = "passed" if _asked(stage, request) else "not asked"
        detail = f"{decision.code} {decision.detail}".strip() if outcome == "refused" else ""
        stages.append({"stage": stage, "outcome": outcome, "detail": detail})
    return stages


def _limit(entry: Limit) -> dict[str, Any]:
    return {
        "name": entry.name,
        "policy": entry.policy,
        "allowed": entry.allowed,
        "shadow": entry.shadow,
        "limit": entry.limit,
        "remaining": entry.remaining,
        "reset_after": entry.reset_after,
        "retry_after": entry.retry_after,
    }
