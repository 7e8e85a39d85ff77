"""Double-entry book-keeping of what documents, payments and credits say.

A posting is entries that sum to zero: debits are positive, credits negative. What a customer owes
is the sum of `receivable`; what it has in credits is minus the sum of `customer_credits`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from ..billing import CreditNote, Invoice
from ..errors import InvalidValue
from ..pricing import minor_digits
from ..stores import billing_rows
from ..stores import billing_tables as tables
from ..stores.change import Change
from ..stores.records import Record
from ._money import WIDE

__all__ = [
    "ACCOUNTS",
    "Balance",
    "Entry",
    "Minor",
    "Posting",
    "balances",
    "of_credit",
    "of_credit_note",
    "of_invoice",
    "of_payment",
    "of_refund",
    "post",
    "unbalanced",
]

ACCOUNTS = (
    "receivable",
    "revenue",
    "tax",
    "customer_credits",
    "promotions",
    "expired_credits",
    "refunds",
    "cash",
)
"""What customers owe; what was earned; tax that is owed to the state; credits that customers have;
credits given away; what expired of credits; refunds that are still to be paid out; money."""

_MINOR_MAX = (1 << 63) - 1


@dataclass(frozen=True)
class Posting:
    """Entries of one source; they sum to zero."""

    source: str
    tenant: str
    currency: str
    amounts: tuple[tuple[str, int], ...]
    """By account, in the smallest units of the currency."""
    time_ns: int


@dataclass(frozen=True)
class Entry(Record):
    """One line of the ledger. A debit is positive, a credit negative."""

    source: str
    """Number of a document, or id of a payment or a credit."""
    tenant: str
    account: str
    currency: str
    amount: Decimal
    time: datetime


@dataclass(frozen=True)
class Balance(Record):
    """What a customer owes and has, in one currency."""

    currency: str
    owed: Decimal
    """Of issued invoices, less payments and credit notes."""
    credits: Decimal
    """Credits not yet used; what expired counts until the bill of the period in which it did."""
    refunds: Decimal
    """Refunds granted and not yet paid out."""


class Minor:
    """Amounts of one currency in its smallest units, as whole numbers."""

    def __init__(self, currency: str) -> None:
        self.digits = minor_digits(currency)
        self.currency = currency

    def __call__(self, amount: Decimal) -> int:
        """Raises `InvalidValue` for more digits than the currency has, and for too much."""
        scaled = WIDE.scaleb(amount, self.digits)
        minor = int(scaled)
        if minor != scaled:
            raise InvalidValue("amount", f"{amount:f} has more digits than {self.currency}")
        if abs(minor) > _MINOR_MAX:
            what = f"{amount:f} {self.currency} is more than the ledger can hold"
            raise InvalidValue("amount", what)
        return minor

    def back(self, minor: int) -> Decimal:
        """The amount with the fewest digits, as everywhere in documents."""
        digits = self.digits if minor else 0
        while digits and not minor % 10:
            minor //= 10
            digits -= 1
        return WIDE.scaleb(Decimal(minor), -digits)


def _posting(
    source: str, tenant: str, currency: str, amounts: list[tuple[str, int]], time_ns: int
) -> Posting:
    kept = tuple((account, amount) for account, amount in amounts if amount)
    assert sum(amount for _, amount in kept) == 0, "a posting sums to zero"
    return Posting(source, tenant, currency, kept, time_ns)


def of_invoice(invoice: Invoice, expired: Decimal, credited: Decimal, time_ns: int) -> Posting:
    """The customer owes what is due; credits that were used, or expired in its period, are gone.
    What a bill below zero leaves it is `credited`.

    Credits are means of payment: revenue is what was sold, whether money or credits paid for it.
    """
    bill = invoice.bill
    minor = Minor(bill.currency)
    due, credit, tax = minor(bill.due), minor(bill.credit), minor(bill.tax)
    amounts = [
        ("receivable", due),
        ("customer_credits", credit),
        ("tax", -tax),
        ("revenue", tax - due - credit + minor(credited)),
        ("customer_credits", -minor(credited)),
        ("customer_credits", minor(expired)),
        ("expired_credits", -minor(expired)),
    ]
    return _posting(invoice.number, invoice.tenant, bill.currency, amounts, time_ns)


def of_credit_note(note: CreditNote, lowered: Decimal, credited: Decimal, time_ns: int) -> Posting:
    """Revenue and tax go back: the invoice is lowered, a refund is owed, the rest is a credit. What
    credits paid before tax was revenue as well, and is theirs again."""
    minor = Minor(note.currency)
    amounts = [
        ("revenue", minor(note.net) + minor(note.credit)),
        ("tax", minor(note.tax)),
        ("receivable", -minor(lowered)),
        ("refunds", -minor(note.refund)),
        ("customer_credits", -minor(credited) - minor(note.credit)),
    ]
    return _posting(note.number, note.tenant, note.currency, amounts, time_ns)


def of_credit(
    credit: str, tenant: str, currency: str, amount: Decimal, *, paid: bool, time_ns: int
) -> Posting:
    """A credit that was paid for, or given away."""
    minor = Minor(currency)(amount)
    other = "cash" if paid else "promotions"
    amounts = [(other, minor), ("customer_credits", -minor)]
    return _posting(credit, tenant, currency, amounts, time_ns)


def of_payment(payment: str, tenant: str, currency: str, amount: Decimal, time_ns: int) -> Posting:
    minor = Minor(currency)(amount)
    amounts = [("cash", minor), ("receivable", -minor)]
    return _posting(payment, tenant, currency, amounts, time_ns)


def of_refund(payment: str, tenant: str, currency: str, amount: Decimal, time_ns: int) -> Posting:
    """A refund that was granted is paid out."""
    minor = Minor(currency)(amount)
    amounts = [("refunds", minor), ("cash", -minor)]
    return _posting(payment, tenant, currency, amounts, time_ns)


def post(change: Change, postings: Iterable[Posting]) -> None:
    """Write postings in the transaction of what they tell about."""
    rows = [
        {
            "source": posting.source,
            "tenant_id": posting.tenant,
            "account": account,
            "currency": posting.currency,
            "amount_minor": amount,
            "time_ns": posting.time_ns,
        }
        for posting in postings
        for account, amount in posting.amounts
    ]
    billing_rows.add(change, tables.entries, rows)


def balances(connection: Connection, tenant_id: str | None) -> dict[str, dict[str, Decimal]]:
    """By currency and account, the sums of one tenant or of all."""
    entries = tables.entries.c
    query = sa.select(
        entries.currency, entries.account, sa.func.sum(entries.amount_minor)
    ).group_by(entries.currency, entries.account)
    if tenant_id is not None:
        query = query.where(entries.tenant_id == tenant_id)
    found: dict[str, dict[str, Decimal]] = {}
    for currency, account, minor in connection.execute(query):
        found.setdefault(currency, {})[account] = Minor(currency).back(int(minor))
    return found


def unbalanced(connection: Connection) -> list[tuple[str, str, int]]:
    """Sources whose entries do not sum to zero; empty for a sound ledger."""
    entries = tables.entries.c
    total = sa.func.sum(entries.amount_minor)
    query = (
        sa.select(entries.source, entries.currency, total)
        .group_by(entries.source, entries.currency)
        .having(total != 0)
        .order_by(entries.source)
    )
    return [(source, currency, int(minor)) for source, currency, minor in connection.execute(query)]
