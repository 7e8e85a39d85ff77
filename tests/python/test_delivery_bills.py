"""Whatever bill is computed can be delivered, in every form, and stays what it was."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import event, given, settings

from billing_cases import Case, cases
from document_support import BUYER, SELLER, make_invoice
from einvoice_support import broken_rules
from tenancy.billing import Bill, CreditNote, Invoice, compute, credit_note, sealed
from tenancy.delivery import to_cii, to_csv, to_html, to_pdf
from tenancy.errors import InvalidValue


def issued(bill: Bill) -> Invoice:
    invoice = replace(make_invoice(seller=SELLER, buyer=BUYER), bill=bill, notes=("Thanks",))
    return sealed(replace(invoice, digest=""))


def e_invoice(document: Invoice | CreditNote) -> list[str]:
    """What the official rules find, or the rule of the standard that the refusal names."""
    try:
        return broken_rules(to_cii(document))
    except InvalidValue as error:
        known = ("BR-DEC", "BR-16", "BR-CO-17")
        event(f"refused: {next(rule for rule in known if rule in str(error))}")
        return []


def check(invoice: Invoice) -> None:
    bill = invoice.bill
    assert f"{bill.currency}" in to_html(invoice)
    rows = list(csv.DictReader(io.StringIO(to_csv(invoice).decode(), newline="")))
    assert sum((Decimal(row["net"]) for row in rows), Decimal(0)) == bill.net
    assert sum((Decimal(row["tax"]) for row in rows), Decimal(0)) == bill.tax
    assert e_invoice(invoice) == []


@settings(max_examples=40, deadline=None)
@given(cases())
def test_a_computed_bill_goes_out(case: Case) -> None:
    check(issued(compute(case.terms, case.usage)))


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(cases())
def test_many_computed_bills_go_out(case: Case) -> None:
    invoice = issued(compute(case.terms, case.usage))
    check(invoice)
    if invoice.bill.total > 0:
        note = credit_note(invoice, reason="all", issued_at=invoice.issued_at, number="CN-1")
        assert e_invoice(note) == []
        assert "CN-1" in to_html(note)


@pytest.mark.slow
@settings(max_examples=15, deadline=None)
@given(cases())
def test_some_of_them_in_print(case: Case) -> None:
    invoice = issued(compute(case.terms, case.usage))
    assert to_pdf(invoice).startswith(b"%PDF-1.7")
