"""A change or a question that cannot be."""

# ruff: noqa: N818 - the names are the field's: `except QuotaExceeded` reads as it is meant

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ._base import TenancyError


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


class UnknownMetric(NotFound):
    """Neither the catalog nor a price book of it has this metric."""

    code = "UNKNOWN_METRIC"


class UnknownUsageEvent(NotFound):
    """The tenant has no usage event of this source and id, or it was taken back."""

    code = "UNKNOWN_USAGE_EVENT"
    default_remedy = "`usage.events` lists those there are, each with its source"


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


class UnknownDocument(NotFound):
    """No invoice or credit note has this number, or it is another tenant's."""

    code = "UNKNOWN_DOCUMENT"
    default_remedy = "`billing.list(tenant)` shows those there are"


class UnknownTable(NotFound):
    """The database to adopt has no such table."""

    code = "UNKNOWN_TABLE"


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
    """A legal hold stops the purge, or the erasure of a person."""

    code = "LEGAL_HOLD"
    default_remedy = "lift it with `tenants.legal_hold(tenant, False)` first"


class UsageConflict(Conflict):
    """A usage event of this id was recorded before, with other content."""

    code = "USAGE_CONFLICT"
    default_remedy = "give it an id of its own, or use `usage.correct` to replace the other one"


class PeriodClosed(Conflict):
    """A usage event comes too late: its period is closed."""

    code = "PERIOD_CLOSED"
    default_remedy = "record it with `backfill=True` if the period shall be changed all the same"


class RoleInUse(Conflict):
    """The role is still assigned, or inherited by another."""

    code = "ROLE_IN_USE"
    default_remedy = "revoke its assignments and change the roles that inherit it first"


class HookRefused(Conflict):
    """A `before` hook raised; the step was not taken. The hook's own exception is `__cause__`."""

    code = "HOOK_REFUSED"


class BillingRefused(Conflict):
    """An invoice, a credit note, a credit or a payment that cannot be, as things stand."""

    code = "BILLING_REFUSED"


class NothingToBill(BillingRefused):
    """Nothing was used or due in the period, so there is no invoice of it."""

    code = "NOTHING_TO_BILL"


class AdoptionRefused(Conflict):
    """A table cannot be given a tenant as it is; the message says why and what to do."""

    code = "ADOPTION_REFUSED"


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
    """A catalog or a price book was refused.

    `problems` lists everything that is wrong with it, `source` is its file or name.
    """

    code = "INVALID_CATALOG"

    def __init__(self, source: str, problems: Sequence[Problem], what: str = "catalog") -> None:
        self.source = source
        self.problems = tuple(problems)
        lines = "\n".join(
            f"  {source}{'' if p.line is None else f':{p.line}'}: {p}" for p in self.problems
        )
        count = len(self.problems)
        TenancyError.__init__(
            self, f"{source}: {count} problem{'' if count == 1 else 's'} in the {what}\n{lines}"
        )
        self.field = what.replace(" ", "_")
