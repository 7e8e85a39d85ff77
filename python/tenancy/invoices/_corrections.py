"""What comes after an invoice, which never changes: credit notes, refunds, payments."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from .. import _core
from .._text import check_text, shown, to_moment
from ..billing import CreditNote, Invoice, Part, credit_note, to_json
from ..errors import BillingRefused, Conflict
from ..pricing import Number
from ..stores import billing_tables as tables
from ..stores import schema
from ..stores.billing_rows import add
from ..stores.change import Change
from ..stores.twins import twin
from . import _ledger
from ._checks import check_parts
from ._documents import credit_notes_of, document_of, open_amount, payments_of
from ._issue import Issuing
from ._money import minus, total
from ._numbering import Numbering
from ._records import Payment
from ._reductions import check_amount, check_currency, new_credit
from ._store import Heads, document_row, outbox_row

__all__ = ["Corrections"]

_REFERENCE_MAX = 255


class Corrections(Issuing):
    """Base of `Billing`: credit notes and payments."""

    def credit_note(
        self,
        number: str,
        parts: Sequence[Part] | None = None,
        *,
        reason: str,
        refund: Number = 0,
        credits: Literal["return", "keep"] = "return",  # noqa: A002 - what they are
        by: str | None = None,
    ) -> CreditNote:
        """Take back parts of an invoice, or without `parts` all that is left of it.

        `refund` is what of it is to be paid back: at most what was paid and not yet granted back.
        The rest lowers what is still to be paid of the invoice; what then remains becomes a credit
        of the tenant. What credits of the tenant paid of the parts goes back to them, to the one
        that was used last first, unless `credits` is ``"keep"``; a credit that has expired since
        gets it too, and it expires with the next invoice. All credit notes of an invoice together
        never take back more than it, nor give back more than it used of credits. Raises
        `UnknownDocument`, `InvalidValue`, and `BillingRefused` for a refund of more than was paid.
        """
        wanted = check_parts(parts)
        with self._host.write(by) as change:
            invoice = document_of(change.connection, number)
            if not isinstance(invoice, Invoice):
                raise BillingRefused(f"{number} is a credit note; only invoices are taken back")
            earlier = credit_notes_of(change.connection, number)
            note, row = self._new_note(change, invoice, wanted, earlier, reason, refund, credits)
            _check_refund(change.connection, invoice, earlier, note)
            still_open = open_amount(change.connection, invoice)
            rest = minus(note.total, note.refund)
            lowered = min(rest, still_open)
            credited = minus(rest, lowered)
            add(change, tables.documents, [row])
            back = _paid_by_credits(change.connection, invoice, earlier, note, credited, credits)
            rest = minus(credited, minus(back, note.credit))
            if rest:
                new_credit(
                    change,
                    note.tenant,
                    note.currency,
                    rest,
                    name=f"Credit note {note.number}",
                    source=note.number,
                )
            _give_back(change, invoice, earlier, note, back)
            posting = _ledger.of_credit_note(note, lowered, credited, change.now_ns)
            _ledger.post(change, [posting])
            add(change, schema.outbox, [_fact(change, note)])
        return note

    def pay(
        self,
        number: str,
        amount: Number | None = None,
        *,
        reference: str | None = None,
        currency: str | None = None,
        by: str | None = None,
    ) -> Payment:
        """Record that money came in for an invoice, or that a credit note's refund was paid out.

        Without `amount` it is all that is open. A `reference`, such as a provider's id of the
        payment, counts once: recording it again with the same amount gives the first record, with
        another is a `Conflict`. Raises `BillingRefused` for more than is open.
        """
        if reference is not None:
            check_text(reference, "reference", _REFERENCE_MAX)
        with self._host.write(by) as change:
            document = document_of(change.connection, number)
            own = document.bill.currency if isinstance(document, Invoice) else document.currency
            check_currency(currency or own, own, document.tenant)
            before = _payment(change.connection, number, reference)
            if before is not None:
                return _known(before, amount, open_amount(change.connection, document))
            still_open = open_amount(change.connection, document)
            money = still_open if amount is None else check_amount(amount, own, "amount")
            if money > still_open or money <= 0:
                what = f"{money:f} {own} for {number}, of which {still_open:f} is open"
                raise BillingRefused(what, tenant=document.tenant)
            return _pay(change, document, own, money, minus(still_open, money), reference)

    # ------------------------------------------------------------------------------ inside

    def _new_note(
        self,
        change: Change,
        invoice: Invoice,
        parts: Sequence[Part] | None,
        earlier: Sequence[CreditNote],
        reason: str,
        refund: Number,
        credits_: Literal["return", "keep"],
    ) -> tuple[CreditNote, dict[str, Any]]:
        issued_at = to_moment(change.now_ns)
        settings = self._settings(change)
        numbering = Numbering(settings.credit_notes)
        series = numbering.series(issued_at)
        ordinal, previous = Heads(change).next(series)
        note = credit_note(
            invoice,
            parts,
            earlier=earlier,
            reason=reason,
            issued_at=issued_at,
            refund=refund,
            credits=credits_,
            id=f"crn_{_core.uuid7(change.now_ns)}",
            number=numbering.number(issued_at, ordinal),
            previous=previous,
        )
        if not note.lines or (note.total <= 0 and not note.credit):
            raise BillingRefused(
                f"of {invoice.number} nothing is left to take back", tenant=invoice.tenant
            )
        row = document_row(change, note.id, note.number, series, ordinal, note.digest)
        row |= {
            "kind": "credit_note",
            "tenant_id": note.tenant,
            "about": invoice.number,
            "period_start_ns": None,
            "period_end_ns": None,
            "currency": note.currency,
            "total": f"{note.total:f}",
            "document": to_json(note),
        }
        return note, row

    acredit_note = twin(credit_note)
    apay = twin(pay)


def _paid_by_credits(
    connection: Connection,
    invoice: Invoice,
    earlier: Sequence[CreditNote],
    note: CreditNote,
    credited: Decimal,
    credits_: str,
) -> Decimal:
    """What of a note goes back to credits. Where they pay after tax, what they paid is in its total
    and neither open nor refunded: it is in `credited`."""
    if credits_ == "keep" or not invoice.bill.credit_after_tax:
        return note.credit
    used = _used(connection, invoice, earlier)
    return min(credited, total(used.values()))


def _used(
    connection: Connection, invoice: Invoice, earlier: Sequence[CreditNote]
) -> dict[str, Decimal]:
    """By credit, what an invoice used of it and has not gone back; the one used last is first."""
    uses = tables.uses.c
    numbers = [invoice.number, *(note.number for note in earlier)]
    query = (
        sa.select(uses.kind, uses.ref, uses.amount)
        .where(uses.tenant_id == invoice.tenant, uses.number.in_(numbers))
        .where(uses.kind.in_(("credit", "returned")))
        .order_by(uses.seq.desc())
    )
    rows = connection.execute(query).all()
    used = {row.ref: Decimal(row.amount) for row in rows if row.kind == "credit"}
    for row in rows:
        if row.kind == "returned":
            used[row.ref] = minus(used[row.ref], Decimal(row.amount))
    return used


def _give_back(
    change: Change,
    invoice: Invoice,
    earlier: Sequence[CreditNote],
    note: CreditNote,
    amount: Decimal,
) -> None:
    rows = []
    for credit, used in _used(change.connection, invoice, earlier).items():
        part = min(used, amount)
        if part:
            amount = minus(amount, part)
            rows.append(
                {
                    "tenant_id": note.tenant,
                    "number": note.number,
                    "kind": "returned",
                    "ref": credit,
                    "amount": f"{part:f}",
                }
            )
    assert not amount, "no more goes back than was used"
    add(change, tables.uses, rows)


def _check_refund(
    connection: Connection, invoice: Invoice, earlier: Sequence[CreditNote], note: CreditNote
) -> None:
    paid = payments_of(connection, invoice.number)
    left = minus(paid, total(one.refund for one in earlier))
    if note.refund > left:
        raise BillingRefused(
            f"a refund of {note.refund:f} {note.currency}, and of what was paid for "
            f"{invoice.number} {left:f} is left",
            tenant=invoice.tenant,
            remedy="refund less; the rest lowers the invoice or becomes a credit",
        )


def _pay(
    change: Change,
    document: Invoice | CreditNote,
    currency: str,
    money: Decimal,
    left: Decimal,
    reference: str | None,
) -> Payment:
    payment = f"pay_{_core.uuid7(change.now_ns)}"
    row = {
        "id": payment,
        "tenant_id": document.tenant,
        "number": document.number,
        "currency": currency,
        "amount": f"{money:f}",
        "reference": reference,
        "recorded_ns": change.now_ns,
        "recorded_by": change.by,
    }
    add(change, tables.payments, [row])
    post = _ledger.of_payment if isinstance(document, Invoice) else _ledger.of_refund
    _ledger.post(change, [post(payment, document.tenant, currency, money, change.now_ns)])
    context = {"amount": f"{money:f}", "currency": currency, "id": payment}
    action = "billing:pay" if isinstance(document, Invoice) else "billing:refund"
    fact = outbox_row(change, "payment_recorded", action, document.tenant, document.number, context)
    add(change, schema.outbox, [fact])
    moment = to_moment(change.now_ns)
    return Payment(
        payment, document.tenant, document.number, currency, money, moment, reference, left
    )


def _payment(connection: Connection, number: str, reference: str | None) -> Any:
    if reference is None:
        return None
    payments = tables.payments
    return connection.execute(
        sa.select(payments).where(payments.c.number == number, payments.c.reference == reference)
    ).one_or_none()


def _known(row: Any, amount: Number | None, left: Decimal) -> Payment:
    money = Decimal(row.amount)
    if amount is not None and _core.exact(amount, "amount") != money:
        raise Conflict(
            f"payment {shown(row.reference)} of {row.number} was recorded with {money:f}",
            tenant=row.tenant_id,
        )
    moment = to_moment(row.recorded_ns)
    return Payment(
        row.id, row.tenant_id, row.number, row.currency, money, moment, row.reference, left
    )


def _fact(change: Change, note: CreditNote) -> dict[str, Any]:
    context = {
        "digest": note.digest,
        "invoice": note.invoice,
        "total": f"{note.total:f}",
        "refund": f"{note.refund:f}",
        "credit": f"{note.credit:f}",
        "currency": note.currency,
        "reason": note.reason,
    }
    return outbox_row(
        change, "credit_note_issued", "billing:credit_note", note.tenant, note.number, context
    )
