"""Writing invoices: number, digest, ledger and fact, in the transaction that gives the number."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from .. import _core
from .._text import to_moment
from ..billing import Invoice, sealed_text
from ..errors import BillingRefused
from ..stores import billing_tables as tables
from ..stores import schema
from ..stores.billing_rows import Marks, add, last_of_series
from ..stores.change import Change
from . import _ledger
from ._drafts import Draft, expired_of
from ._money import ZERO, minus
from ._numbering import numbering_of
from ._quantities import usage_to_text
from ._reductions import new_credit

__all__ = ["Heads", "check_issuable", "document_row", "outbox_row", "store_invoices"]


class Heads:
    """The ends of the series in one transaction."""

    def __init__(self, change: Change) -> None:
        self._change = change
        self._of: dict[str, tuple[int, str]] = {}

    def next(self, series: str) -> tuple[int, str]:
        """The next ordinal, and the digest of the document before it."""
        if series not in self._of:
            self._of[series] = last_of_series(self._change.connection, series)
        ordinal, digest = self._of[series]
        return ordinal + 1, digest

    def took(self, series: str, ordinal: int, digest: str) -> None:
        self._of[series] = (ordinal, digest)


def store_invoices(
    change: Change, drafts: Sequence[Draft], marks: Marks, metadata: Mapping[str, Any]
) -> list[Invoice]:
    """Issue drafts whose rows are still those of the store, in their order."""
    heads = Heads(change)
    written = [_number(change, heads, draft, metadata) for draft in drafts]
    invoices = [invoice for invoice, _ in written]
    try:
        add(change, tables.documents, [row for _, row in written])
    except sqlite3.IntegrityError as error:  # the period is not issued, so it is the number
        raise BillingRefused(
            f"a number of {invoices[0].number} and after is taken ({error})",
            remedy="choose a template that no series before has used: `billing.configure`",
        ) from error
    as_of = json.dumps(marks, sort_keys=True)
    add(
        change,
        tables.usage,
        [
            {
                "number": invoice.number,
                "as_of": as_of,
                "quantities": usage_to_text(draft.usage, draft.labels),
            }
            for invoice, draft in zip(invoices, drafts, strict=True)
        ],
    )
    uses = [
        {"tenant_id": invoice.tenant, "number": invoice.number, **use._asdict()}
        for invoice, draft in zip(invoices, drafts, strict=True)
        for use in draft.uses
    ]
    add(change, tables.uses, uses)
    postings = []
    for invoice, draft in zip(invoices, drafts, strict=True):
        credited = _give_rest(change, invoice)
        expired = expired_of(draft.uses)
        postings.append(_ledger.of_invoice(invoice, expired, credited, change.now_ns))
    _ledger.post(change, postings)
    add(change, schema.outbox, [_fact(change, invoice) for invoice in invoices])
    return invoices


def _number(
    change: Change, heads: Heads, draft: Draft, metadata: Mapping[str, Any]
) -> tuple[Invoice, dict[str, Any]]:
    issued_at = to_moment(change.now_ns)
    settings = draft.timeline.settings_at(change.now_ns)
    numbering = numbering_of(settings.numbering)
    series = numbering.series(issued_at)
    ordinal, previous = heads.next(series)
    invoice, text = sealed_text(
        Invoice(
            id=f"inv_{_core.uuid7(change.now_ns)}",
            number=numbering.number(issued_at, ordinal),
            tenant=draft.timeline.tenant,
            issued_at=issued_at,
            due_at=issued_at + timedelta(days=settings.due_days),
            seller=settings.seller,
            buyer=draft.timeline.account_at(change.now_ns).party,
            bill=draft.bill,
            digest="",
            previous=previous,
            notes=settings.notes,
            metadata=metadata,
        ),
        draft.text,
    )
    heads.took(series, ordinal, invoice.digest)
    row = document_row(change, invoice.id, invoice.number, series, ordinal, invoice.digest)
    row |= {
        "kind": "invoice",
        "tenant_id": invoice.tenant,
        "about": None,
        # The opening bill is of no period; NULL keeps its place before that of the first.
        "period_start_ns": draft.span[0] if draft.span[0] < draft.span[1] else None,
        "period_end_ns": draft.span[1],
        "currency": invoice.bill.currency,
        "total": f"{invoice.bill.total:f}",
        "document": text,
    }
    return invoice, row


def document_row(
    change: Change, id_: str, number: str, series: str, ordinal: int, digest: str
) -> dict[str, Any]:
    """What rows of invoices and of credit notes have in common."""
    return {
        "id": id_,
        "number": number,
        "series": series,
        "ordinal": ordinal,
        "issued_ns": change.now_ns,
        "digest": digest,
    }


def _fact(change: Change, invoice: Invoice) -> dict[str, Any]:
    """The fact that goes into the log: number and digest, so that it proves what was issued."""
    bill = invoice.bill
    context = {
        "digest": invoice.digest,
        "total": f"{bill.total:f}",
        "currency": bill.currency,
        "period": f"{bill.period.start.isoformat()}/{bill.period.end.isoformat()}",
    }
    return outbox_row(
        change, "invoice_issued", "billing:issue", invoice.tenant, invoice.number, context
    )


def outbox_row(
    change: Change, type_: str, action: str, tenant: str, number: str, context: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "event_id": _core.uuid7(change.now_ns),
        "time_ns": change.now_ns,
        "tenant_id": tenant,
        "principal": change.by,
        "type": type_,
        "action": action,
        "resource": "invoice",
        "resource_id": number,
        "result": "success",
        "context": _write(context),
        "revision": change.base,
    }


_write = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def _give_rest(change: Change, invoice: Invoice) -> Decimal:
    """A bill below zero leaves the tenant a credit."""
    rest = minus(ZERO, invoice.bill.total) if invoice.bill.total < 0 else ZERO
    if rest:
        currency = invoice.bill.currency
        name = f"Balance of {invoice.number}"
        new_credit(change, invoice.tenant, currency, rest, name=name, source=invoice.number)
    return rest


def check_issuable(draft: Draft) -> None:
    """Raise `BillingRefused` while a change of plan is due in the period and could not be made, and
    `InvalidValue` for more than the ledger can hold."""
    minor = _ledger.Minor(draft.bill.currency)
    for amount in (draft.bill.subtotal, draft.bill.total):
        minor(amount)
    for kind, due_ns in draft.rows.due:
        if due_ns < draft.span[1]:
            raise BillingRefused(
                f"{kind} of the tenant is due since {to_moment(due_ns)} and not yet done",
                tenant=draft.timeline.tenant,
                remedy="see `tenancy health` for what stops it, or call it off",
            )
