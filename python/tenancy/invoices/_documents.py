"""Reading what was issued: documents, lists, balances, the ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .._text import check_page, shown, storable, to_moment
from ..billing import CreditNote, Invoice, from_json
from ..errors import InvalidValue, UnknownDocument
from ..stores import billing_tables as tables
from ..stores.outbox import decode_cursor, encode_cursor
from ..stores.records import Page, Tenant
from ..stores.twins import twin
from ._drafts import Drafts
from ._ledger import ACCOUNTS, Balance, Entry, Minor, balances
from ._money import ZERO, minus, total
from ._periods import period_of
from ._records import DocumentRow
from ._reductions import Reductions

__all__ = ["Documents", "credit_notes_of", "document_of", "open_amount", "payments_of"]

KINDS = ("invoice", "credit_note")


class Documents(Drafts, Reductions):
    """Base of `Billing`: what was issued."""

    def invoice(self, number: str, *, tenant: Tenant | str | None = None) -> Invoice:
        """The invoice of this number; see `document`. Raises `UnknownDocument`."""
        found = self.document(number, tenant=tenant)
        if not isinstance(found, Invoice):
            raise UnknownDocument(f"{number} is a credit note, not an invoice")
        return found

    def document(self, number: str, *, tenant: Tenant | str | None = None) -> Invoice | CreditNote:
        """The invoice or credit note of this number, as it was issued.

        Numbers can be guessed: where a tenant asks, name it as `tenant`, and another's document is
        not found. Raises `UnknownDocument`, and `InvalidValue` when it is not what its digest was
        made of.
        """
        with self._host.read() as connection:
            found = document_of(connection, number)
        if tenant is not None and found.tenant != self._tenant_id(tenant):
            raise UnknownDocument(f"no document has the number {shown(number)}")
        return found

    def credit_notes(self, number: str) -> Sequence[CreditNote]:
        """The credit notes of an invoice, the oldest first."""
        with self._host.read() as connection:
            document_of(connection, number)
            return credit_notes_of(connection, number)

    def list(
        self,
        tenant: Tenant | str | None = None,
        *,
        kind: str | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[DocumentRow]:
        """Documents in the order in which they were issued; of one tenant, or all.

        `kind` is ``invoice`` or ``credit_note``; pass a page's `cursor` for the next.
        """
        check_page(limit)
        documents = tables.documents.c
        query = sa.select(tables.documents).order_by(documents.seq).limit(limit + 1)
        if tenant is not None:
            query = query.where(documents.tenant_id == self._tenant_id(tenant))
        if kind is not None:
            if kind not in KINDS:
                raise InvalidValue("kind", shown(kind), remedy="invoice or credit_note")
            query = query.where(documents.kind == kind)
        if cursor is not None:
            query = query.where(documents.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(_row(row) for row in rows[:limit]), more)

    def invoices(
        self, tenant: Tenant | str | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> Page[DocumentRow]:
        """`list` of invoices alone."""
        return self.list(tenant, kind="invoice", limit=limit, cursor=cursor)

    def every(self, tenant: Tenant | str | None = None) -> Iterator[DocumentRow]:
        """All that `list` has, page after page."""
        page = self.list(tenant, limit=1000)
        while True:
            yield from page
            if page.cursor is None:
                return
            page = self.list(tenant, limit=1000, cursor=page.cursor)

    # ------------------------------------------------------------------------------ ledger

    def open(self, number: str) -> Decimal:
        """What is still to be paid of an invoice, or to be paid out of a credit note's refund."""
        with self._host.read() as connection:
            return open_amount(connection, document_of(connection, number))

    def balance(self, tenant: Tenant | str) -> Sequence[Balance]:
        """What a tenant owes and has, from the ledger, for each currency."""
        with self._host.read() as connection:
            found = balances(connection, self._tenant_id(tenant))
        return tuple(
            Balance(
                currency,
                accounts.get("receivable", ZERO),
                minus(ZERO, accounts.get("customer_credits", ZERO)),
                minus(ZERO, accounts.get("refunds", ZERO)),
            )
            for currency, accounts in sorted(found.items())
        )

    def accounts(self, tenant: Tenant | str | None = None) -> dict[str, dict[str, Decimal]]:
        """By currency, the sum of every account of the ledger; each currency's sum to zero."""
        with self._host.read() as connection:
            found = balances(connection, None if tenant is None else self._tenant_id(tenant))
        return {
            currency: {account: sums.get(account, ZERO) for account in ACCOUNTS}
            for currency, sums in sorted(found.items())
        }

    def ledger(
        self, tenant: Tenant | str | None = None, *, limit: int = 100, cursor: str | None = None
    ) -> Page[Entry]:
        """The entries of the ledger in the order in which they were made."""
        check_page(limit)
        entries = tables.entries.c
        query = sa.select(tables.entries).order_by(entries.seq).limit(limit + 1)
        if tenant is not None:
            query = query.where(entries.tenant_id == self._tenant_id(tenant))
        if cursor is not None:
            query = query.where(entries.seq > decode_cursor(cursor))
        with self._host.read() as connection:
            rows = connection.execute(query).all()
        more = encode_cursor(rows[limit - 1].seq) if len(rows) > limit else None
        return Page(tuple(_entry(row) for row in rows[:limit]), more)

    ainvoice = twin(invoice)
    adocument = twin(document)
    acredit_notes = twin(credit_notes)
    alist = twin(list)  # noqa: A003
    ainvoices = twin(invoices)
    aopen = twin(open)  # noqa: A003
    abalance = twin(balance)
    aaccounts = twin(accounts)
    aledger = twin(ledger)


def document_of(connection: Connection, number: str) -> Invoice | CreditNote:
    row = None
    if storable(number):
        query = sa.select(tables.documents.c.document).where(tables.documents.c.number == number)
        row = connection.execute(query).first()
    if row is None:
        raise UnknownDocument(f"no document has the number {shown(number)}")
    found = from_json(row.document)
    assert isinstance(found, (Invoice, CreditNote))
    return found


def credit_notes_of(connection: Connection, number: str) -> tuple[CreditNote, ...]:
    documents = tables.documents.c
    query = sa.select(documents.document).where(documents.about == number).order_by(documents.seq)
    found = tuple(from_json(text) for text in connection.execute(query).scalars())
    return tuple(note for note in found if isinstance(note, CreditNote))


def payments_of(connection: Connection, number: str) -> Decimal:
    payments = tables.payments.c
    query = sa.select(payments.amount).where(payments.number == number)
    return total(Decimal(text) for text in connection.execute(query).scalars())


def open_amount(connection: Connection, document: Invoice | CreditNote) -> Decimal:
    """An invoice: due, less payments and what credit notes took off. A credit note: its refund,
    less what was paid out."""
    paid = payments_of(connection, document.number)
    if isinstance(document, CreditNote):
        minor = Minor(document.currency)
        return minor.back(minor(document.refund) - minor(paid))
    entries = tables.entries.c
    notes = [note.number for note in credit_notes_of(connection, document.number)]
    lowered = connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(entries.amount_minor), 0)).where(
            entries.source.in_(notes), entries.account == "receivable"
        )
    ).scalar_one()
    minor = Minor(document.bill.currency)
    # The entries of credit notes are negative.
    return minor.back(minor(document.bill.due) - minor(paid) + int(lowered))


def _row(row: Any) -> DocumentRow:
    issued_at = to_moment(row.issued_ns)
    span = (row.period_start_ns, row.period_end_ns)
    return DocumentRow(
        number=row.number,
        kind=row.kind,
        tenant=row.tenant_id,
        issued_at=issued_at,
        currency=row.currency,
        total=Decimal(row.total),
        about=row.about,
        period=None if span[0] is None else period_of(span),
    )


def _entry(row: Any) -> Entry:
    time = to_moment(row.time_ns)
    amount = Minor(row.currency).back(row.amount_minor)
    return Entry(row.source, row.tenant_id, row.account, row.currency, amount, time)
