"""Is what was issued still what was issued? Digests, chains, numbers, ledger, log, and every bill
computed again from the facts that were known when it was issued."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from .._text import shown, storable
from ..billing import Bill, CreditNote, Invoice, Terms, compute, from_json, to_json
from ..errors import TenancyError, UnknownDocument
from ..stores import billing_rows
from ..stores import billing_tables as tables
from ..stores.billing_rows import DocumentRow
from ..stores.twins import twin
from . import _ledger
from ._base import State, read_state
from ._corrections import Corrections
from ._quantities import usage_from_text
from ._records import BillingReport, Progress
from ._terms import make_terms
from ._timeline import Timeline

__all__ = ["Verification"]

PROBLEMS_MAX = 1000
_PAGE = 500


class Verification(Corrections):
    """Base of `Billing`: computing again, and checking everything."""

    def recompute(self, number: str) -> Bill:
        """The bill of an invoice, computed again from the facts that were known when it was issued.

        It equals the invoice's, to the digest, as long as nothing was tampered with. Raises
        `UnknownDocument`.
        """
        return self._again(self._invoice_row(number))

    def verify(self, *, recompute: bool = True, progress: Progress | None = None) -> BillingReport:
        """Check every document, the ledger, and what the log says of them.

        Each document has its digest and continues its series without a gap; it is in the ledger
        with just its amounts, and in the log; and no document is missing that the log has. With
        `recompute` every bill is computed again. The report is truthy when there is no problem.
        """
        check = _Check()
        again = 0
        with self._host.read() as connection:
            count = connection.execute(sa.select(sa.func.count(tables.documents.c.seq))).scalar()
        for row, entries, inputs in self._every_row(recompute):
            document = check.document(row)
            if document is None:
                continue
            if recompute and isinstance(document, Invoice):
                again += 1
                self._check_again(check, row, document, inputs)
            check.ledger(row, document, entries)
            if progress is not None and len(check.digests) % _PAGE == 0:
                progress(len(check.digests), int(count or 0))
        with self._host.read() as connection:
            for source, currency, minor in _ledger.unbalanced(connection):
                check.problem(f"ledger: the entries of {source} sum to {minor} of {currency}")
        self._check_log(check)
        return BillingReport(len(check.digests), again, tuple(check.problems))

    # ------------------------------------------------------------------------------ inside

    def _every_row(
        self, recompute: bool
    ) -> Iterator[tuple[DocumentRow, dict[str, int], _Inputs | None]]:
        """Each document, what it has in the ledger by account, and what it was computed from."""
        after = 0
        while True:
            with self._host.cursor() as cursor:
                rows = billing_rows.document_rows(cursor, after, _PAGE)
                entries = billing_rows.entries_of(cursor, [row.number for row in rows])
                inputs: dict[str, _Inputs] = {}
                # Where one of them was tampered with, each is read alone, and told of.
                with suppress(TenancyError, LookupError, ValueError):
                    inputs = _inputs(cursor, rows) if recompute else {}
            if not rows:
                return
            yield from ((row, entries[row.number], inputs.get(row.number)) for row in rows)
            after = rows[-1].seq

    def _check_again(
        self, check: _Check, row: DocumentRow, invoice: Invoice, inputs: _Inputs | None
    ) -> None:
        try:
            bill = self._again(row, inputs)
        except (TenancyError, LookupError, ValueError) as error:
            check.problem(f"{row.number}: cannot be computed again: {error}")
            return
        if to_json(bill) != to_json(invoice.bill):
            check.problem(
                f"{row.number}: computed again it comes to {bill.total:f}, issued was "
                f"{invoice.bill.total:f} {invoice.bill.currency}"
            )

    def _again(self, row: DocumentRow, inputs: _Inputs | None = None) -> Bill:
        terms, quantities = self._terms_of(row, inputs)
        return compute(terms, usage_from_text(quantities)[0])

    def _terms_of(self, row: DocumentRow, inputs: _Inputs | None = None) -> tuple[Terms, str]:
        """From what was known when it was issued: the terms of an invoice, and its quantities."""
        if inputs is None:
            with self._host.cursor() as cursor:
                inputs = _inputs(cursor, [row]).get(row.number)
        if inputs is None:
            raise UnknownDocument(f"{row.number}: what it was computed from is not there")
        state, quantities = inputs
        rows = state.rows[row.tenant]
        assert row.end_ns is not None
        span = (row.end_ns if row.start_ns is None else row.start_ns, row.end_ns)
        _, labels = usage_from_text(quantities)
        terms = make_terms(rows, Timeline.of(rows), span, state.prices, self._books, labels)
        if terms is None:
            raise UnknownDocument(f"{row.number}: no part of its period is billed")
        return terms, quantities

    def _invoice_row(self, number: str) -> DocumentRow:
        with self._host.cursor() as cursor:
            row = billing_rows.document_row(cursor, number) if storable(number) else None
        if row is None or row.kind != "invoice":
            raise UnknownDocument(f"no invoice has the number {shown(number)}")
        return row

    def _check_log(self, check: _Check) -> None:
        for type_ in ("invoice_issued", "credit_note_issued"):
            seen = set()
            oldest: datetime | None = None
            for event in self._host.facts.every({"type": type_}):
                number = str(event.resource_id)
                seen.add(number)
                oldest = event.time  # the newest come first
                digest = check.digests.get(number)
                if digest is None:
                    check.problem(f"{number}: the log has it, and there is no such document")
                elif digest != event.context.get("digest"):
                    check.problem(
                        f"{number}: it is not the document of which the log has the digest"
                    )
            kind = "invoice" if type_ == "invoice_issued" else "credit_note"
            for number, issued_at in check.issued[kind].items():
                # What is older than all that the log still has of its kind may have been pruned.
                if number not in seen and (oldest is None or issued_at >= oldest):
                    check.problem(f"{number}: the log does not have it")

    arecompute = twin(recompute)
    averify = twin(verify)


_Inputs = tuple[State, str]
"""What was known when an invoice was issued, and its quantities."""


def _inputs(cursor: sqlite3.Cursor, rows: Sequence[DocumentRow]) -> dict[str, _Inputs]:
    """By number; those that were issued in one transaction have one state of the tables."""
    known = billing_rows.inputs_of(cursor, [row.number for row in rows])
    together: dict[str, list[str]] = {}
    for row in rows:
        if row.number in known:
            together.setdefault(known[row.number][0], []).append(row.tenant)
    states = {
        as_of: read_state(cursor, tenants, json.loads(as_of)) for as_of, tenants in together.items()
    }
    return {number: (states[as_of], quantities) for number, (as_of, quantities) in known.items()}


class _Check:
    """What is known while documents pass by in the order of their issue."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.digests: dict[str, str] = {}
        self.issued: dict[str, dict[str, datetime]] = {"invoice": {}, "credit_note": {}}
        self._heads: dict[str, tuple[int, str]] = {}

    def problem(self, text: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(text)

    def document(self, row: DocumentRow) -> Invoice | CreditNote | None:
        self.digests[row.number] = row.digest
        ordinal, previous = self._heads.get(row.series, (0, ""))
        self._heads[row.series] = (row.ordinal, row.digest)
        if row.ordinal != ordinal + 1:
            self.problem(f"{row.number}: it follows number {ordinal} of its series")
        try:
            document = from_json(row.document)
        except TenancyError as error:
            self.problem(f"{row.number}: {error}")
            return None
        if isinstance(document, Bill):
            self.problem(f"{row.number}: it is a bill, not a document")
            return None
        self.issued[row.kind][row.number] = document.issued_at
        if document.previous != previous:
            self.problem(f"{row.number}: it does not continue its series")
        for name, stored, said in _columns(row, document):
            if stored != said:
                self.problem(f"{row.number}: {name} is {stored} in the table and {said} in it")
        return document

    def ledger(
        self, row: DocumentRow, document: Invoice | CreditNote, entries: dict[str, int]
    ) -> None:
        minor = _ledger.Minor(row.currency)
        if isinstance(document, Invoice):
            bill = document.bill
            expected = {"receivable": minor(bill.due), "tax": -minor(bill.tax)}
        else:
            expected = {
                "revenue": minor(document.net) + minor(document.credit),
                "tax": minor(document.tax),
            }
        for account, amount in expected.items():
            found = entries.get(account, 0)
            if found != amount:
                self.problem(f"{row.number}: {account} is {found} in the ledger, not {amount}")


def _columns(row: DocumentRow, document: Invoice | CreditNote) -> Iterator[tuple[str, Any, Any]]:
    invoice = document if isinstance(document, Invoice) else None
    money = document if isinstance(document, CreditNote) else document.bill
    yield "number", row.number, document.number
    yield "tenant", row.tenant, document.tenant
    yield "kind", row.kind, "credit_note" if invoice is None else "invoice"
    yield "digest", row.digest, document.digest
    yield "currency", row.currency, money.currency
    yield "total", row.total, f"{money.total:f}"
    yield "about", row.about, document.invoice if isinstance(document, CreditNote) else None
