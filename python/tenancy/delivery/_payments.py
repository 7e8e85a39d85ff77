"""What a payment provider does for documents, whoever it is: values and a protocol.

A provider takes an issued invoice and collects what is due; what happens then comes as webhooks, in
any order and more than once. `PaymentEvent`s carry sums so far instead of steps, and `payment_of`
takes the largest of each, so that neither order nor repetition changes what it finds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, Protocol, runtime_checkable

from ..billing import Invoice
from ..errors import InvalidValue
from ._exact import exactly

__all__ = [
    "Payment",
    "PaymentEvent",
    "PaymentKind",
    "PaymentProvider",
    "ProviderInvoice",
    "payment_of",
]

PaymentKind = Literal["opened", "paid", "failed", "refunded", "voided", "uncollectible"]
PaymentStatus = Literal["open", "failed", "paid", "refunded", "voided", "uncollectible"]


@dataclass(frozen=True, slots=True)
class ProviderInvoice:
    """An invoice as a provider has it."""

    provider: str
    id: str
    """The provider's id, by which its events name the invoice."""
    number: str
    """Ours."""
    status: str
    """The provider's word: `open`, `paid`, …"""
    currency: str
    total: Decimal
    url: str | None = None
    """Where the buyer can pay."""


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """What a provider said of a payment, once its signature was verified."""

    provider: str
    id: str
    """The same each time the event comes."""
    kind: PaymentKind
    at: datetime
    invoice: str
    """The provider's id of the invoice, "" where the event names none."""
    number: str
    """Ours, "" where the event does not hold it."""
    object: str
    """What `amount` is a sum of: the invoice, or the one charge that was refunded."""
    currency: str
    amount: Decimal
    """Paid so far on the invoice, or refunded so far of the charge."""
    live: bool = True
    """False in a provider's test mode."""


@dataclass(frozen=True, slots=True)
class Payment:
    """What holds for an invoice after all that was heard of it."""

    status: PaymentStatus
    currency: str | None
    paid: Decimal
    refunded: Decimal


@runtime_checkable
class PaymentProvider(Protocol):
    """Whoever collects money: `StripeAdapter`, `PayPalAdapter`, or one of the application."""

    @property
    def name(self) -> str:
        """`stripe`, `paypal`, …: in events and in what is stored."""

    def send(self, invoice: Invoice) -> ProviderInvoice:
        """Has the provider collect what is due. Sent again, nothing is doubled.

        Raises `DeliveryFailed`, which says whether another try can help.
        """

    def events(self, headers: Mapping[str, str], body: bytes) -> tuple[PaymentEvent, ...]:
        """What a webhook says; none for an event that is not about payments.

        Raises `SignatureInvalid` for one that the provider did not send.
        """


@exactly
def payment_of(events: Iterable[PaymentEvent]) -> Payment:
    """Where an invoice stands. The events of one invoice, in any order, repeated or not.

    What was paid counts more than a failure, whenever that came. Raises `InvalidValue` for events
    of several currencies: they are not of one invoice.
    """
    heard: set[PaymentKind] = set()
    currencies: set[str] = set()
    paid: dict[str, Decimal] = {}
    refunded: dict[str, Decimal] = {}
    for event in events:
        heard.add(event.kind)
        currencies.add(event.currency)
        sums = refunded if event.kind == "refunded" else paid
        sums[event.object] = max(sums.get(event.object, Decimal(0)), event.amount)
    if len(currencies) > 1:
        raise InvalidValue("events", f"are in {', '.join(sorted(currencies))}: of several invoices")
    paid_sum = sum(paid.values(), Decimal(0))
    refunded_sum = sum(refunded.values(), Decimal(0))
    return Payment(
        _status(heard, paid_sum, refunded_sum),
        next(iter(currencies), None),
        paid_sum,
        refunded_sum,
    )


def _status(heard: set[PaymentKind], paid: Decimal, refunded: Decimal) -> PaymentStatus:
    if "paid" in heard:
        return "refunded" if refunded and refunded >= paid else "paid"
    for kind in ("voided", "uncollectible", "failed"):
        if kind in heard:
            return kind
    return "open"
