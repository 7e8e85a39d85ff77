"""Computed bills against a model of their own in `Fraction`, and the sums that documents keep."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from billing_cases import DIGITS, END, START, Case, cases
from tenancy.billing import (
    Bill,
    Credit,
    Cumulative,
    Span,
    Terms,
    compute,
    digest,
    from_json,
    to_json,
)
from tenancy.pricing import PriceBook

SETTINGS = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@SETTINGS
@given(cases())
def test_a_bill_is_what_the_model_says(case: Case) -> None:
    bill, model = compute(case.terms, case.usage), case.model()
    event(f"{len(bill.lines)} lines")
    found = [
        (line.kind, line.metric, line.amount, line.discount, line.credit, line.tax_rate, line.tax)
        for line in bill.lines
    ]
    expected = [
        (row.kind, row.metric, row.amount, row.discount, row.credit, row.rate[1] * 100, row.tax)
        for row in model.rows
    ]
    assert found == expected
    assert {one.id: one.amount for one in bill.discounts} == model.discounts
    assert {one.id: one.amount for one in bill.credits} == model.credits
    assert {(t.category, Fraction(t.rate) / 100): (t.base, t.amount) for t in bill.taxes} == (
        model.taxes
    )
    assert (bill.subtotal, bill.discount, bill.credit) == (
        model.subtotal,
        model.discount_total,
        model.credit_total,
    )
    assert (bill.net, bill.tax, bill.total, bill.due) == (
        model.net,
        model.tax_total,
        model.total,
        model.due,
    )


def check_sums(bill: Bill) -> None:
    """Every sum that the documents promise."""
    lines = bill.lines
    assert bill.subtotal == sum(line.amount for line in lines)
    assert bill.discount == sum(line.discount for line in lines)
    assert bill.discount == sum(one.amount for one in bill.discounts)
    assert bill.credit == sum(one.amount for one in bill.credits)
    assert bill.tax == sum(line.tax for line in lines) == sum(one.amount for one in bill.taxes)
    assert bill.net == sum(one.base for one in bill.taxes)
    assert bill.total == bill.net + bill.tax
    taken = sum(line.credit for line in lines)
    assert taken == (0 if bill.credit_after_tax else bill.credit)
    charged = bill.subtotal - bill.discount - taken
    assert bill.net == (charged - bill.tax if bill.tax_inclusive else charged)
    after = bill.credit if bill.credit_after_tax else 0
    assert bill.due == max(bill.total - after, 0)
    for rate in bill.taxes:
        own = [x for x in lines if (x.tax_category, x.tax_rate) == (rate.category, rate.rate)]
        assert rate.amount == sum(line.tax for line in own)
    for line in lines:
        assert line.discount >= 0
        assert line.credit >= 0
        assert line.amount < 0 or line.discount + line.credit <= line.amount


@settings(SETTINGS, max_examples=150)
@given(cases())
def test_every_sum_holds_to_the_last_unit_and_survives_json(case: Case) -> None:
    bill = compute(case.terms, case.usage)
    check_sums(bill)
    unit = Decimal(1).scaleb(-DIGITS[bill.currency])
    for line in bill.lines:
        for amount in (line.amount, line.discount, line.credit, line.tax):
            assert amount % unit == 0
    for credit in case.terms.credits:
        used = sum(one.amount for one in bill.credits if one.id == credit.id)
        assert 0 <= used <= credit.amount
    text = to_json(bill)
    assert from_json(text) == bill
    assert to_json(from_json(text)) == text
    assert bill.digest == digest(bill)
    assert compute(case.terms, case.usage) == bill


@settings(max_examples=60, deadline=None)
@given(cases(), st.integers(1, 10))
def test_credits_only_ever_lower_what_is_due(case: Case, more: int) -> None:
    """One more credit never makes a bill dearer, and never takes it below nothing."""
    terms = case.terms
    gift = Credit("gift", more, terms.currency)
    arguments: dict[str, Any] = {
        name: getattr(terms, name) for name in ("discounts", "tax", "buyer", "rules")
    }
    span = terms.spans
    plain = Terms("acme", terms.period, terms.currency, span, **arguments)
    given_ = Terms("acme", terms.period, terms.currency, span, credits=[gift], **arguments)
    usage = [{m: found[-1:] for m, found in one.items()} for one in case.usage]
    before, after = compute(plain, usage), compute(given_, usage)
    assert 0 <= after.due <= before.due
    if before.due == 0:
        assert after.credit == 0 or before.total < 0


@pytest.mark.parametrize("whole", [True, False])
def test_a_whole_period_costs_what_the_price_book_says(whole: bool) -> None:
    book = PriceBook.from_dict(
        {
            "price_book": "shop",
            "currency": "EUR",
            "base_fee": 10,
            "minimum": 20 if whole else 500,
            "seats": {"unit": 12, "included": 3},
            "metrics": {"calls": "0.5", "exports": {"model": "package", "unit": 2, "package": 10}},
        }
    )
    terms = Terms("acme", (START, END), "EUR", [Span(START, END, book, seats=5)])
    usage = [{"calls": [Cumulative(END, Decimal(40))], "exports": [Cumulative(END, Decimal(11))]}]
    expected = book.amount({"calls": 40, "exports": 11}, seats=5)
    assert compute(terms, usage).total == expected
