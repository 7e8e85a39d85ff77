"""What billing computes and issues: bills, invoices, credit notes. Values, without behaviour.

Amounts are `Decimal`s in the currency of the document, rounded to its smallest unit where they
stand in a document. For every document

    subtotal  = sum of the lines' amounts
    net       = subtotal - discount - credit (unless the rules take credits after tax)
    total     = net + tax                    (tax-inclusive prices: net = total - tax)

and every one of those sums is also the sum of the lines' own parts, to the last unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

__all__ = [
    "AppliedCredit",
    "AppliedDiscount",
    "Bill",
    "BillLine",
    "CreditNote",
    "CreditNoteLine",
    "EventsRef",
    "Invoice",
    "LineKind",
    "Party",
    "Period",
    "TaxCategory",
    "TaxTotal",
    "TierLine",
]

LineKind = Literal["usage", "base_fee", "seats", "minimum", "maximum", "adjustment"]

TaxCategory = Literal["S", "Z", "E", "AE", "K", "G", "O"]
"""Codes of UNTDID 5305 as EN 16931 uses them: standard rate, zero rate, exempt, reverse charge,
intra-community supply, export, outside the scope of tax."""


@dataclass(frozen=True, slots=True)
class Period:
    """`start` ≤ time < `end`; both aware."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Party:
    """Who sells or who pays."""

    name: str
    country: str
    """ISO 3166-1 alpha-2."""
    street: str = ""
    city: str = ""
    postcode: str = ""
    region: str = ""
    """A subdivision where tax depends on it: the part of ISO 3166-2 behind the country."""
    email: str = ""
    tax_id: str = ""
    """VAT identifier with its country prefix, or the local equivalent."""
    registration: str = ""
    """Number in the register of companies."""
    contact: str = ""
    iban: str = ""
    reference: str = ""
    """The buyer's own reference (order number, routing id), printed on the invoice."""


@dataclass(frozen=True, slots=True)
class EventsRef:
    """The usage events behind a line: how many, and a digest by which they can be compared."""

    events: int
    digest: str = ""
    """Hexadecimal SHA-256 over what the line was computed from, "" where it came from a caller."""


@dataclass(frozen=True, slots=True)
class TierLine:
    """One row of a charge's explanation; see `tenancy.pricing.Line`."""

    kind: str
    tier: int | None
    quantity: Decimal
    unit: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class BillLine:
    """One charge. `amount` - `discount` - `credit` is what tax is due on (tax-exclusive prices)."""

    kind: LineKind
    description: str
    period: Period
    amount: Decimal
    """Before discounts and credits; tax is in it when the bill's prices are tax-inclusive."""
    quantity: Decimal = Decimal(1)
    unit_price: Decimal | None = None
    """Where one price holds for the whole quantity; None: see `tiers`."""
    unit: str = ""
    """What is counted: the metric's unit, "seat", "month"."""
    metric: str | None = None
    plan: str | None = None
    price_book: str | None = None
    price_version: str | None = None
    tiers: tuple[TierLine, ...] = ()
    discount: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)
    tax_category: TaxCategory = "S"
    tax_rate: Decimal = Decimal(0)
    """In percent."""
    tax: Decimal = Decimal(0)
    """This line's part of its rate's tax."""
    events: EventsRef | None = None


@dataclass(frozen=True, slots=True)
class AppliedDiscount:
    """What a discount or coupon took off, at least 0."""

    id: str
    name: str
    amount: Decimal
    code: str | None = None


@dataclass(frozen=True, slots=True)
class AppliedCredit:
    """What was taken from one credit, at least 0."""

    id: str
    name: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class TaxTotal:
    """One row for each category and rate: tax is computed here, on the sum, and allocated back."""

    category: TaxCategory
    rate: Decimal
    """In percent."""
    name: str
    base: Decimal
    """What tax is due on, without the tax."""
    amount: Decimal
    reason: str = ""
    """Why no tax is due, for categories other than S and Z: a text that belongs on the invoice."""


@dataclass(frozen=True, slots=True)
class Bill:
    """What one tenant owes for one period: a pure function of usage, prices, timeline and rules."""

    tenant: str
    period: Period
    currency: str
    lines: tuple[BillLine, ...]
    subtotal: Decimal
    discounts: tuple[AppliedDiscount, ...]
    discount: Decimal
    credits: tuple[AppliedCredit, ...]
    credit: Decimal
    net: Decimal
    """The charges without discounts, tax, and credits that the rules take before tax."""
    taxes: tuple[TaxTotal, ...]
    tax: Decimal
    total: Decimal
    """Net and tax together."""
    due: Decimal
    """What is to be paid: the total, less credits that the rules take after tax; never below 0."""
    tax_inclusive: bool
    rules: str
    """Version of the rules of billing, and the preset or options in force."""
    digest: str = ""
    """Hexadecimal SHA-256 of the canonical JSON (RFC 8785) of everything else."""
    credit_after_tax: bool = False
    """The rules take credits after tax: they are no part of the lines, and `net` has them in it."""


@dataclass(frozen=True, slots=True)
class Invoice:
    """An issued bill. It never changes; corrections are credit notes."""

    id: str
    number: str
    """Without gaps in its series."""
    tenant: str
    issued_at: datetime
    due_at: datetime
    seller: Party
    buyer: Party
    bill: Bill
    digest: str
    """Hexadecimal SHA-256 of the canonical JSON of everything else."""
    previous: str = ""
    """Digest of the document before it in the series; "" for the first."""
    notes: tuple[str, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CreditNoteLine:
    """The part of an invoice's line that is taken back.

    Amounts are at least 0, except those of lines that took something off the invoice.
    """

    line: int
    """Index of the line in the invoice."""
    description: str
    net: Decimal
    tax_category: TaxCategory
    tax_rate: Decimal
    tax: Decimal
    credit: Decimal = Decimal(0)
    """What goes back to the credits that paid for it before tax; not in `net`."""


@dataclass(frozen=True, slots=True)
class CreditNote:
    """Takes back a part of an invoice, or all of it. The parts of all credit notes of an invoice
    never exceed it, line by line, and sum to it exactly when all of it is taken back."""

    id: str
    number: str
    invoice: str
    """Number of the invoice."""
    tenant: str
    currency: str
    issued_at: datetime
    reason: str
    seller: Party
    buyer: Party
    lines: tuple[CreditNoteLine, ...]
    taxes: tuple[TaxTotal, ...]
    net: Decimal
    tax: Decimal
    total: Decimal
    refund: Decimal
    """What of it is paid back; the rest lowers what is still due, or becomes a credit."""
    digest: str
    previous: str = ""
    invoice_issued_at: datetime | None = None
    credit: Decimal = Decimal(0)
    """What goes back to credits, besides `total`: the sum of the lines'."""
