"""A decision said no."""

# ruff: noqa: N818 - the names are the field's: `except QuotaExceeded` reads as it is meant

from __future__ import annotations

from typing import TYPE_CHECKING

from ._base import Reason, TenancyError

if TYPE_CHECKING:
    from .._core import Decision


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


class RequestInProgress(Refused):
    """Another request with the same idempotency key has not ended yet."""

    code = Reason.REQUEST_IN_PROGRESS.value
    status = 409
    default_remedy = "try again when it has"


class IdempotencyKeyReused(Refused):
    """The idempotency key stands for another request, or was repeated too often."""

    code = Reason.IDEMPOTENCY_KEY_REUSED.value
    status = 422
    default_remedy = "make a new key for each request, and send it again only to repeat that one"


class InvalidIdempotencyKey(Refused):
    """What was sent as idempotency key cannot be one."""

    code = Reason.INVALID_IDEMPOTENCY_KEY.value
    status = 400
    default_remedy = "send one key of 1 to 255 visible ASCII characters, such as a UUID"


class StateUnavailable(Refused):
    """What the decision needs cannot be read; refusing is the safe answer."""

    code = Reason.STATE_UNAVAILABLE.value
    status = 503
    default_remedy = "look at the data directory and the disk"
