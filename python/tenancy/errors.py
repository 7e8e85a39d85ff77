"""Everything `tenancy` raises, as one tree.

::

    TenancyError
    ├── Refused                      a decision said no; raised by `Tenancy.require` and `raise_for`
    │   ├── MissingTenant            401  MISSING_TENANT
    │   ├── InvalidTenant            401  INVALID_TENANT
    │   ├── InvalidCredential        401  INVALID_CREDENTIAL
    │   │   └── ExpiredCredential    401  EXPIRED_CREDENTIAL
    │   ├── SuspendedTenant          401  SUSPENDED_TENANT
    │   ├── TenantConflict           403  TENANT_CONFLICT
    │   ├── PermissionDenied         403  PERMISSION_DENIED
    │   │   ├── Escalation                a grant of more than its giver holds
    │   │   └── DutyViolated              two duties that must stay apart
    │   ├── FeatureNotInPlan         403  FEATURE_NOT_IN_PLAN
    │   ├── MfaRequired              403  MFA_REQUIRED
    │   ├── QuotaExceeded            403  QUOTA_EXCEEDED
    │   │   └── ConcurrencyExceeded  403  CONCURRENCY_EXCEEDED
    │   ├── RateLimitExceeded        429  RATE_LIMIT_EXCEEDED
    │   ├── ModelNotAllowed          403  MODEL_NOT_ALLOWED
    │   ├── RegionNotAllowed         403  REGION_NOT_ALLOWED
    │   └── StateUnavailable         503  STATE_UNAVAILABLE
    ├── NotFound (LookupError)
    │   ├── UnknownTenant   ├── UnknownPlan   ├── UnknownRole      ├── UnknownQuota
    │   └── UnknownKey      └── UnknownSession └── UnknownResource
    ├── Conflict                     the change contradicts what is there
    │   ├── AlreadyExists            a slug, external id, … that is taken
    │   ├── IllegalTransition        the status machine has no such step
    │   ├── LegalHold                a purge that a legal hold stops
    │   ├── RoleInUse                a role that is still assigned or inherited
    │   └── HookRefused              a `before` hook said no
    ├── InvalidValue (ValueError)    an argument; names the field
    │   └── CatalogError             a catalog; carries every problem with its path and line
    ├── StoreError                   the data directory or database
    │   ├── StoreNotWritable ├── StoreUnsafe     owner or mode of the directory
    │   ├── StoreBusy        ├── StoreDamaged
    │   └── VersionMismatch  └── StoreUnsupported
    ├── StoreClosed                  a `Tenancy` that was closed
    └── ExtraMissing (ImportError)   an optional dependency; names the extra to install

Every error has `code` (a machine's word for it), `tenant`, `limit`, `permission` where they apply,
`retry_after` in seconds where waiting helps, `remedy` (what to do), and a message that holds the
remedy.
"""

# ruff: noqa: N818 - the names are the field's: `except QuotaExceeded` reads as it is meant

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NoReturn

if TYPE_CHECKING:
    from ._core import Decision

__all__ = [
    "AlreadyExists",
    "CatalogError",
    "ConcurrencyExceeded",
    "Conflict",
    "DutyViolated",
    "Escalation",
    "ExpiredCredential",
    "ExtraMissing",
    "FeatureNotInPlan",
    "HookRefused",
    "IllegalTransition",
    "InvalidCredential",
    "InvalidTenant",
    "InvalidValue",
    "LegalHold",
    "MfaRequired",
    "MissingTenant",
    "ModelNotAllowed",
    "NotFound",
    "PermissionDenied",
    "Problem",
    "QuotaExceeded",
    "RateLimitExceeded",
    "Reason",
    "Refused",
    "RegionNotAllowed",
    "RoleInUse",
    "StateUnavailable",
    "StoreBusy",
    "StoreClosed",
    "StoreDamaged",
    "StoreError",
    "StoreNotWritable",
    "StoreUnsafe",
    "StoreUnsupported",
    "SuspendedTenant",
    "TenancyError",
    "TenantConflict",
    "UnknownKey",
    "UnknownPlan",
    "UnknownQuota",
    "UnknownResource",
    "UnknownRole",
    "UnknownSession",
    "UnknownTenant",
    "VersionMismatch",
    "raise_core",
    "raise_for",
    "refusal",
]


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


# ----------------------------------------------------------------------------------- refusals


class Refused(TenancyError):
    """A decision was negative. `decision` is the decision, when there was one."""

    code = "REFUSED"
    status = 403

    decision: Decision | None = None


class MissingTenant(Refused):
    """Nothing in the request or the context says which tenant is meant."""

    code = Reason.MISSING_TENANT.value
    status = 401
    default_remedy = "send a credential, or bind a tenant with `tenancy.bind(...)`"


class InvalidTenant(Refused):
    """The tenant does not exist, is not served, or is not the caller's; which is not told."""

    code = Reason.INVALID_TENANT.value
    status = 401
    default_remedy = "check the tenant's id or slug, and that the credential belongs to it"


class InvalidCredential(Refused):
    """The API key, session or token is not valid."""

    code = Reason.INVALID_CREDENTIAL.value
    status = 401
    default_remedy = "send a valid key, session or token"


class ExpiredCredential(InvalidCredential):
    """The credential was valid once."""

    code = Reason.EXPIRED_CREDENTIAL.value
    default_remedy = "renew or replace it"


class SuspendedTenant(Refused):
    """The tenant is suspended; only its own callers are told."""

    code = Reason.SUSPENDED_TENANT.value
    status = 401
    default_remedy = "an operator resumes it with `tenants.resume(...)`"


class TenantConflict(Refused):
    """The request names another tenant than its credential allows."""

    code = Reason.TENANT_CONFLICT.value
    default_remedy = "name the credential's own tenant, or none"


class PermissionDenied(Refused):
    """The principal lacks `permission`."""

    code = Reason.PERMISSION_DENIED.value
    default_remedy = "`access.explain(...)` says which role would give it"


class Escalation(PermissionDenied):
    """Nobody may grant what they do not hold."""

    default_remedy = (
        "let a principal who holds it grant it, "
        "or act from outside the tenant with by='operator:<name>'"
    )


class DutyViolated(PermissionDenied):
    """The roles must not be held by one principal."""

    default_remedy = "revoke the other role first, or give this one to another principal"


class FeatureNotInPlan(Refused):
    """The tenant's plan lacks the feature."""

    code = Reason.FEATURE_NOT_IN_PLAN.value
    default_remedy = "change the plan, or add an override for this tenant"


class MfaRequired(Refused):
    """The permission asks for a second factor."""

    code = Reason.MFA_REQUIRED.value
    default_remedy = "authenticate again with the second factor"


class QuotaExceeded(Refused):
    """The quota named by `limit` has no room for what was asked."""

    code = Reason.QUOTA_EXCEEDED.value
    default_remedy = "free some of it, wait for the next period, or change the plan"


class ConcurrencyExceeded(QuotaExceeded):
    """Every lease of the quota is taken."""

    code = Reason.CONCURRENCY_EXCEEDED.value
    default_remedy = "try again when one ends"


class RateLimitExceeded(Refused):
    """The rate limit named by `limit` is used up; `retry_after` says for how long."""

    code = Reason.RATE_LIMIT_EXCEEDED.value
    status = 429
    default_remedy = "wait, then send fewer requests"


class ModelNotAllowed(Refused):
    """The tenant's settings do not list this model."""

    code = "MODEL_NOT_ALLOWED"
    default_remedy = "choose one of the tenant's `allowed_models`"


class RegionNotAllowed(Refused):
    """The tenant's data must stay in another region."""

    code = "REGION_NOT_ALLOWED"
    default_remedy = "serve the tenant from its `data_residency` region"


class StateUnavailable(Refused):
    """What the decision needs cannot be read; refusing is the safe answer."""

    code = Reason.STATE_UNAVAILABLE.value
    status = 503
    default_remedy = "look at the data directory and the disk"


# ------------------------------------------------------------------------------ administration


class NotFound(TenancyError, LookupError):
    """There is no such thing, or not in this tenant."""

    code = "NOT_FOUND"
    status = 404


class UnknownTenant(NotFound):
    """No tenant has this id, external id or slug."""

    code = "UNKNOWN_TENANT"
    default_remedy = "`tenants.list()` shows those there are"


class UnknownPlan(NotFound):
    """The catalog has no such plan."""

    code = "UNKNOWN_PLAN"


class UnknownRole(NotFound):
    """Neither the tenant nor the catalog has this role."""

    code = "UNKNOWN_ROLE"
    default_remedy = "`roles.list(tenant)` shows those there are"


class UnknownQuota(NotFound):
    """The catalog has no such quota."""

    code = "UNKNOWN_QUOTA"


class UnknownKey(NotFound):
    """No API key of this tenant has this public id."""

    code = "UNKNOWN_KEY"
    default_remedy = "`keys.list(tenant)` shows those there are"


class UnknownSession(NotFound):
    """No live session of this tenant has this id."""

    code = "UNKNOWN_SESSION"


class UnknownResource(NotFound):
    """The tenant owns no such resource."""

    code = "UNKNOWN_RESOURCE"


class Conflict(TenancyError):
    """The change contradicts what is there; nothing was changed."""

    code = "CONFLICT"
    status = 409


class AlreadyExists(Conflict):
    """The name is taken."""

    code = "ALREADY_EXISTS"


class IllegalTransition(Conflict):
    """The status machine has no step from `before` to `after`; `allowed` lists the steps it has."""

    code = "ILLEGAL_TRANSITION"

    def __init__(self, tenant: str, before: str, after: str, allowed: Sequence[str]) -> None:
        self.before = before
        self.after = after
        self.allowed = tuple(allowed)
        listed = ", ".join(self.allowed) or "nothing (it is final)"
        super().__init__(
            f"tenant {tenant} is {before} and cannot become {after}",
            tenant=tenant,
            remedy=f"from {before} it can become {listed}",
        )


class LegalHold(Conflict):
    """A legal hold stops the purge."""

    code = "LEGAL_HOLD"
    default_remedy = "lift it with `tenants.legal_hold(tenant, False)` first"


class RoleInUse(Conflict):
    """The role is still assigned, or inherited by another."""

    code = "ROLE_IN_USE"
    default_remedy = "revoke its assignments and change the roles that inherit it first"


class HookRefused(Conflict):
    """A `before` hook raised; the step was not taken. The hook's own exception is `__cause__`."""

    code = "HOOK_REFUSED"


class InvalidValue(TenancyError, ValueError):
    """An argument is wrong; `field` names it."""

    code = "INVALID_VALUE"
    status = 422

    def __init__(
        self, field: str, message: str, *, tenant: str | None = None, remedy: str | None = None
    ) -> None:
        self.field = field
        super().__init__(f"{field}: {message}", tenant=tenant, remedy=remedy)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a catalog."""

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


class CatalogError(InvalidValue):
    """A catalog was refused.

    `problems` lists everything that is wrong with it, `source` is its file or name.
    """

    code = "INVALID_CATALOG"

    def __init__(self, source: str, problems: Sequence[Problem]) -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(
            f"  {source}{'' if p.line is None else f':{p.line}'}: {p}" for p in self.problems
        )
        count = len(self.problems)
        TenancyError.__init__(
            self, f"{source}: {count} problem{'' if count == 1 else 's'} in the catalog\n{lines}"
        )
        self.field = "catalog"


# --------------------------------------------------------------------------------------- store


class StoreError(TenancyError):
    """The data directory or the database cannot be used."""

    code = "STORE_ERROR"
    status = 503


class StoreNotWritable(StoreError):
    """The directory, the file system or the disk does not take writes."""

    code = "STORE_NOT_WRITABLE"


class StoreUnsafe(StoreError):
    """Others could read or change the data: wrong owner, wrong mode, or a network file system."""

    code = "STORE_UNSAFE"


class StoreBusy(StoreError):
    """Another writer held the store longer than we wait."""

    code = "STORE_BUSY"
    default_remedy = "try again; if it stays so, look for a process that hangs inside a change"


class StoreDamaged(StoreError):
    """The files are not what we wrote."""

    code = "STORE_DAMAGED"
    default_remedy = "restore the directory from a backup; nothing was changed"


class VersionMismatch(StoreError):
    """The directory was written by another major version."""

    code = "VERSION_MISMATCH"


class StoreUnsupported(StoreError):
    """This release has no store of that kind."""

    code = "STORE_UNSUPPORTED"


class StoreClosed(TenancyError):
    """The `Tenancy` was closed."""

    code = "CLOSED"
    default_remedy = "open it again with `Tenancy.open(...)`"


class ExtraMissing(TenancyError, ImportError):
    """An optional dependency is not installed."""

    code = "EXTRA_MISSING"

    def __init__(self, extra: str, needs: str) -> None:
        super().__init__(f"{needs} is not installed", remedy=f"pip install 'tenancy[{extra}]'")


# ---------------------------------------------------------------------------------- decisions

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
}


def refusal(decision: Decision) -> Refused:
    """The error that says what a refused decision said."""
    code = decision.code
    kind = _BY_CODE[code]
    detail = decision.detail
    permission = detail if code in ("PERMISSION_DENIED", "MFA_REQUIRED") else None
    named = code in ("QUOTA_EXCEEDED", "CONCURRENCY_EXCEEDED", "RATE_LIMIT_EXCEEDED")
    error = kind(
        _SENTENCES[code].format(detail=detail or "(unnamed)"),
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
