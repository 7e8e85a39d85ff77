"""What billing answers besides documents: frozen records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ..billing import Bill, Period
from ..stores.records import Record

__all__ = [
    "BillingReport",
    "Coupon",
    "CreditBalance",
    "DocumentRow",
    "IssueReport",
    "LateUsage",
    "Payment",
    "Redemption",
    "Running",
]

Progress = Callable[[int, int], None]
"""Called with the tenants that are done, and with how many there are."""


@dataclass(frozen=True)
class Coupon(Record):
    """A discount that tenants can redeem by its code."""

    id: str
    code: str
    terms: Mapping[str, Any]
    """What it takes off, as it was given."""
    redeemed: int = 0


@dataclass(frozen=True)
class Redemption(Record):
    """A coupon that a tenant redeemed."""

    id: str
    tenant: str
    code: str
    since: datetime


@dataclass(frozen=True)
class CreditBalance(Record):
    """A credit of a tenant, and what is left of it."""

    id: str
    tenant: str
    name: str
    currency: str
    amount: Decimal
    left: Decimal
    priority: int
    starts: datetime | None
    expires: datetime | None
    source: str
    """`granted`, `paid`, or the number of the document that it comes from."""
    expired: bool = False
    """Usage is not paid from it any more."""


@dataclass(frozen=True)
class Payment(Record):
    """Money that came in for an invoice, or was paid out for a credit note."""

    id: str
    tenant: str
    number: str
    currency: str
    amount: Decimal
    time: datetime
    reference: str | None = None
    open: Decimal = Decimal(0)
    """What is still to be paid after it."""


@dataclass(frozen=True)
class DocumentRow(Record):
    """An invoice or a credit note in a list."""

    number: str
    kind: str
    """`invoice` or `credit_note`."""
    tenant: str
    issued_at: datetime
    currency: str
    total: Decimal
    about: str | None = None
    """Of a credit note: the invoice."""
    period: Period | None = None
    """None of a credit note, and of the first invoice where fees are charged in advance."""


@dataclass(frozen=True)
class LateUsage(Record):
    """What `adjust` puts on the next bill."""

    id: str
    tenant: str
    invoice: str
    """Number of the invoice whose usage is another one now."""
    currency: str
    amount: Decimal
    """Before tax; below zero where too much was billed."""
    metrics: Mapping[str, Decimal]
    """The amount by metric; `other`: what minimum, maximum and fees came to."""


@dataclass(frozen=True)
class Running:
    """What the open period costs until now."""

    bill: Bill
    """As it would be if nothing more was used: fees count for the whole period."""
    until: datetime
    """Usage before this moment counts."""


@dataclass(frozen=True)
class IssueReport(Record):
    """What `issue_all` did."""

    issued: int
    """Invoices that are new."""
    already: int
    """Invoices of the periods asked for that were there before."""
    nothing: int
    """Periods without anything to bill."""
    waiting: int
    """Periods that have ended and whose usage still takes late events."""
    refused: Mapping[str, str]
    """By tenant, why there is no invoice; at most 1,000 of them."""
    refusals: int
    """How many tenants were refused."""

    def __bool__(self) -> bool:
        return not self.refusals


@dataclass(frozen=True)
class BillingReport(Record):
    """What `verify` found."""

    documents: int
    recomputed: int
    problems: tuple[str, ...]
    """What is not as it was issued; at most 1,000."""

    def __bool__(self) -> bool:
        return not self.problems
