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
    │   ├── RequestInProgress        409  REQUEST_IN_PROGRESS
    │   ├── IdempotencyKeyReused     422  IDEMPOTENCY_KEY_REUSED
    │   ├── InvalidIdempotencyKey    400  INVALID_IDEMPOTENCY_KEY
    │   └── StateUnavailable         503  STATE_UNAVAILABLE
    ├── NotFound (LookupError)
    │   ├── UnknownTenant   ├── UnknownPlan   ├── UnknownRole      ├── UnknownQuota
    │   ├── UnknownKey      ├── UnknownSession └── UnknownResource
    │   ├── UnknownDocument               an invoice or a credit note
    │   ├── UnknownMetric   ├── UnknownUsageEvent
    │   └── UnknownTable                  of a database that is adopted
    ├── Conflict                     the change contradicts what is there
    │   ├── AlreadyExists            a slug, external id, … that is taken
    │   ├── IllegalTransition        the status machine has no such step
    │   ├── LegalHold                a purge or an erasure that a legal hold stops
    │   ├── PeriodClosed             a usage event of a period that takes no more
    │   ├── UsageConflict            a usage event whose id has other content
    │   ├── RoleInUse                a role that is still assigned or inherited
    │   ├── HookRefused              a `before` hook said no
    │   ├── BillingRefused           an invoice, credit note, credit or payment that cannot be
    │   │   └── NothingToBill        a period without anything to invoice
    │   └── AdoptionRefused          a table that cannot be given a tenant as it is
    ├── InvalidValue (ValueError)    an argument; names the field
    │   └── CatalogError             a catalog; carries every problem with its path and line
    ├── StoreError                   the data directory or database
    │   ├── StoreNotWritable ├── StoreUnsafe     owner or mode of the directory
    │   ├── StoreBusy        ├── StoreDamaged
    │   └── VersionMismatch  └── StoreUnsupported
    ├── ProofInvalid                 a receipt or an export of audit events that proves nothing
    ├── DeliveryFailed               a document was not taken by whoever it was sent to
    │   └── ProviderRefused          by a payment provider; carries what it said
    ├── SignatureInvalid             a webhook that was not signed with the secret, or not just now
    ├── StoreClosed                  a `Tenancy` that was closed
    └── ExtraMissing (ImportError)   an optional dependency; names the extra to install

Every error has `code` (a machine's word for it), `tenant`, `limit`, `permission` where they apply,
`retry_after` in seconds where waiting helps, `remedy` (what to do), and a message that holds the
remedy.
"""

from __future__ import annotations

from ._administration import (
    AdoptionRefused,
    AlreadyExists,
    BillingRefused,
    CatalogError,
    Conflict,
    HookRefused,
    IllegalTransition,
    InvalidValue,
    LegalHold,
    NotFound,
    NothingToBill,
    PeriodClosed,
    Problem,
    RoleInUse,
    UnknownDocument,
    UnknownKey,
    UnknownMetric,
    UnknownPlan,
    UnknownQuota,
    UnknownResource,
    UnknownRole,
    UnknownSession,
    UnknownTable,
    UnknownTenant,
    UnknownUsageEvent,
    UsageConflict,
)
from ._base import Reason, TenancyError
from ._delivery import DeliveryFailed, ProviderRefused
from ._refusals import (
    ConcurrencyExceeded,
    DutyViolated,
    Escalation,
    ExpiredCredential,
    FeatureNotInPlan,
    IdempotencyKeyReused,
    InvalidCredential,
    InvalidIdempotencyKey,
    InvalidTenant,
    MfaRequired,
    MissingTenant,
    ModelNotAllowed,
    PermissionDenied,
    QuotaExceeded,
    RateLimitExceeded,
    Refused,
    RegionNotAllowed,
    RequestInProgress,
    StateUnavailable,
    SuspendedTenant,
    TenantConflict,
)
from ._store import (
    ExtraMissing,
    ProofInvalid,
    SignatureInvalid,
    StoreBusy,
    StoreClosed,
    StoreDamaged,
    StoreError,
    StoreNotWritable,
    StoreUnsafe,
    StoreUnsupported,
    VersionMismatch,
)
from ._translation import raise_core, raise_for, refusal

__all__ = [
    "AdoptionRefused",
    "AlreadyExists",
    "BillingRefused",
    "CatalogError",
    "ConcurrencyExceeded",
    "Conflict",
    "DeliveryFailed",
    "DutyViolated",
    "Escalation",
    "ExpiredCredential",
    "ExtraMissing",
    "FeatureNotInPlan",
    "HookRefused",
    "IdempotencyKeyReused",
    "IllegalTransition",
    "InvalidCredential",
    "InvalidIdempotencyKey",
    "InvalidTenant",
    "InvalidValue",
    "LegalHold",
    "MfaRequired",
    "MissingTenant",
    "ModelNotAllowed",
    "NotFound",
    "NothingToBill",
    "PeriodClosed",
    "PermissionDenied",
    "Problem",
    "ProofInvalid",
    "ProviderRefused",
    "QuotaExceeded",
    "RateLimitExceeded",
    "Reason",
    "Refused",
    "RegionNotAllowed",
    "RequestInProgress",
    "RoleInUse",
    "SignatureInvalid",
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
    "UnknownDocument",
    "UnknownKey",
    "UnknownMetric",
    "UnknownPlan",
    "UnknownQuota",
    "UnknownResource",
    "UnknownRole",
    "UnknownSession",
    "UnknownTable",
    "UnknownTenant",
    "UnknownUsageEvent",
    "UsageConflict",
    "VersionMismatch",
    "raise_core",
    "raise_for",
    "refusal",
]

for _name in __all__:
    globals()[_name].__module__ = __name__  # where users find it
del _name
