"""Refused decisions and errors of the engine, as errors of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from ._administration import AlreadyExists, Conflict, InvalidValue, NotFound
from ._base import TenancyError
from ._refusals import (
    ConcurrencyExceeded,
    ExpiredCredential,
    FeatureNotInPlan,
    IdempotencyKeyReused,
    InvalidCredential,
    InvalidIdempotencyKey,
    InvalidTenant,
    MfaRequired,
    MissingTenant,
    PermissionDenied,
    QuotaExceeded,
    RateLimitExceeded,
    Refused,
    RequestInProgress,
    StateUnavailable,
    SuspendedTenant,
    TenantConflict,
)
from ._store import StoreDamaged, StoreError, StoreNotWritable, StoreUnsafe, VersionMismatch

if TYPE_CHECKING:
    from .._core import Decision


_BY_CODE: dict[str, type[Refused]] = {
    kind.code: kind
    for kind in (
        MissingTenant,
        InvalidTenant,
        InvalidCredential,
        ExpiredCredential,
        SuspendedTenant,
        TenantConflict,
        PermissionDenied,
        FeatureNotInPlan,
        MfaRequired,
        QuotaExceeded,
        ConcurrencyExceeded,
        RateLimitExceeded,
        StateUnavailable,
        RequestInProgress,
        IdempotencyKeyReused,
        InvalidIdempotencyKey,
    )
}

_SENTENCES = {
    "MISSING_TENANT": "no tenant is named",
    "INVALID_TENANT": "the tenant is not valid",
    "INVALID_CREDENTIAL": "the credential is not valid",
    "EXPIRED_CREDENTIAL": "the credential has expired",
    "SUSPENDED_TENANT": "the tenant is suspended",
    "TENANT_CONFLICT": "the request names another tenant than its credential",
    "PERMISSION_DENIED": "permission {detail} is missing",
    "FEATURE_NOT_IN_PLAN": "feature {detail} is not in the plan",
    "MFA_REQUIRED": "{detail} asks for a second factor",
    "QUOTA_EXCEEDED": "quota {detail} is exceeded",
    "CONCURRENCY_EXCEEDED": "every lease of {detail} is taken",
    "RATE_LIMIT_EXCEEDED": "rate limit {detail} is exceeded",
    "STATE_UNAVAILABLE": "the state that the decision needs is not available",
    "REQUEST_IN_PROGRESS": "another request with this idempotency key has not ended",
    "IDEMPOTENCY_KEY_REUSED": "the idempotency key stands for another request, "
    "or was repeated too often",
    "INVALID_IDEMPOTENCY_KEY": "the idempotency key is not 1 to 255 visible ASCII characters",
}


def refusal(decision: Decision) -> Refused:
    """The error that says what a refused decision said."""
    code = decision.code
    kind = _BY_CODE[code]
    detail = decision.detail
    permission = detail if code in ("PERMISSION_DENIED", "MFA_REQUIRED") else None
    sentence = _SENTENCES[code].format(detail=detail or "(unnamed)")
    if decision.roles_refused:
        sentence, permission = detail, None
    named = code in ("QUOTA_EXCEEDED", "CONCURRENCY_EXCEEDED", "RATE_LIMIT_EXCEEDED")
    error = kind(
        sentence,
        tenant=decision.tenant,
        limit=(detail or None) if named else None,
        permission=permission or None,
        retry_after=decision.retry_after,
    )
    error.decision = decision
    error.status = decision.status  # quotas are answered by 403 or 429, as configured
    return error


def raise_for(decision: Decision) -> None:
    """Raise the error of a refused decision; do nothing for an allowed one."""
    if not decision:
        raise refusal(decision)


_CORE_CODES: dict[str, type[TenancyError]] = {
    "NOT_FOUND": NotFound,
    "ALREADY_EXISTS": AlreadyExists,
    "CONFLICT": Conflict,
    "FULL": StateUnavailable,
    "DAMAGED": StoreDamaged,
    "FOREIGN": StoreDamaged,
    "VERSION": VersionMismatch,
    "PERMISSION": StoreNotWritable,
    "UNSUPPORTED": StoreUnsafe,
    "IO": StoreError,
}


def raise_core(error: Exception, *, field: str = "value", tenant: str | None = None) -> NoReturn:
    """Raise a `_core.CoreError` as the error of this tree that means the same."""
    code, message = (*error.args, "", "")[:2]
    kind = _CORE_CODES.get(str(code))
    if kind is None:
        raise InvalidValue(field, str(message or code), tenant=tenant) from error
    raise kind(str(message or code), tenant=tenant) from error
