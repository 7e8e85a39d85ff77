"""What every error has, and the codes of refusals."""

from __future__ import annotations

import enum
from typing import ClassVar


class Reason(enum.Enum):
    """Why a decision came out as it did. The value is the code in errors and HTTP bodies."""

    # The order is the engine's.
    ALLOWED = "ALLOWED"
    MISSING_TENANT = "MISSING_TENANT"
    INVALID_TENANT = "INVALID_TENANT"
    INVALID_CREDENTIAL = "INVALID_CREDENTIAL"
    EXPIRED_CREDENTIAL = "EXPIRED_CREDENTIAL"
    SUSPENDED_TENANT = "SUSPENDED_TENANT"
    TENANT_CONFLICT = "TENANT_CONFLICT"
    PERMISSION_DENIED = "PERMISSION_DENIED"
    FEATURE_NOT_IN_PLAN = "FEATURE_NOT_IN_PLAN"
    MFA_REQUIRED = "MFA_REQUIRED"
    QUOTA_EXCEEDED = "QUOTA_EXCEEDED"
    CONCURRENCY_EXCEEDED = "CONCURRENCY_EXCEEDED"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    STATE_UNAVAILABLE = "STATE_UNAVAILABLE"
    REQUEST_IN_PROGRESS = "REQUEST_IN_PROGRESS"
    IDEMPOTENCY_KEY_REUSED = "IDEMPOTENCY_KEY_REUSED"
    INVALID_IDEMPOTENCY_KEY = "INVALID_IDEMPOTENCY_KEY"


class TenancyError(Exception):
    """Base of everything this package raises on purpose."""

    code: ClassVar[str] = "TENANCY_ERROR"
    status: int = 500
    """The HTTP status that fits."""
    default_remedy: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        tenant: str | None = None,
        limit: str | None = None,
        permission: str | None = None,
        retry_after: float | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.tenant = tenant
        self.limit = limit
        self.permission = permission
        self.retry_after = retry_after
        self.remedy = self.default_remedy if remedy is None else remedy
        super().__init__(f"{message}: {self.remedy}" if self.remedy else message)

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.__dict__.copy())


def _rebuild(kind: type[TenancyError], state: dict[str, object]) -> TenancyError:
    error = kind.__new__(kind)
    error.__dict__.update(state)
    message, remedy = state.get("message", ""), state.get("remedy", "")
    error.args = (f"{message}: {remedy}" if remedy else message,)
    return error
