"""Published worked examples of billing, computed under the presets of their names.

Each test names its source. Where a source shows one step of a calculation, the terms are those of
that step.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from tenancy.billing import (
    Bill,
    Charged,
    Credit,
    Cumulative,
    Discount,
    Invoice,
    Part,
    Party,
    Period,
    Span,
    TaxRate,
    TaxRules,
    TaxStatus,
    Terms,
    compute,
    credit_note,
)
from tenancy.pricing import PriceBook

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
JANUARY = Period(START, datetime(2026, 2, 1, tzinfo=timezone.utc))


def tax(rate: Any, *, inclusive: bool = False) -> dict[str, Any]:
    rules = TaxRules("US", [TaxRate("US", rate)], inclusive=inclusive, union=frozenset())
    return {"tax": rules, "buyer": TaxStatus("US")}


def bill(rules: Any, *amounts: Any, **terms: Any) -> Bill:
    """A bill with one line for each amount, of metrics a, b, …"""
    metrics = {"abcdefgh"[i]: str(amount) for i, amount in enumerate(amounts)}
    book = PriceBook.from_dict({"price_book": "shop", "currency": "USD", "metrics": metrics})
    span = Span(JANUARY.start, JANUARY.end, book)
    usage = {metric: [Cumulative(JANUARY.end, Decimal(1))] for metric in metrics}
    return compute(Terms("acme", JANUARY, "USD", [span], rules=rules, **terms), [usage])


def fees(rules: Any, *parts: tuple[datetime, datetime, Any], **terms: Any) -> Bill:
    """A bill of base fees, each for its part of January."""
    spans = [
        Span(
            start,
            end,
            PriceBook.from_dict(
                {
                    "price_book": "plan",
                    "currency": "USD",
                    "base_fee": str(fee),
                    "metrics": {"unused": 0},
                }
            ),
        )
        for start, end, fee in parts
    ]
    period = terms.pop("period", JANUARY)
    made = Terms("acme", period, "USD", spans, rules=rules, **terms)
    return compute(made, [{}] * len(spans))


def line_amounts(found: Bill) -> Sequence[Decimal]:
    return [line.amount for line in found.lines]


def at(day: int) -> datetime:
    return START + timedelta(days=day - 1)


# ------------------------------------------------------------------------------------- Stripe


def test_stripe_upgrade_half_way_through_the_period() -> None:
    """docs.stripe.com/billing/subscriptions/prorations: from a plan of 10 USD that was paid in
    advance to one of 20 USD half-way through the period; 5 USD more are billed."""
    period = Period(START, START + timedelta(days=30))
    half = START + timedelta(days=15)
    found = fees(
        "stripe",
        (period.start, half, 10),
        (half, period.end, 20),
        period=period,
        charged=[Charged("base_fee", 10)],
    )
    assert line_amounts(found) == [5, 10, -10]
    assert found.due == 5


def test_stripe_inclusive_and_exclusive_tax() -> None:
    """support.stripe.com/questions/inclusive-and-exclusive-tax-options-in-the-tax-rate-api-and-
    stripe-tax: 10 percent on 600 are a total of 600, or of 660."""
    assert bill("stripe", 600, **tax(10, inclusive=True)).total == 600
    exclusive = bill("stripe", 600, **tax(10))
    assert (exclusive.tax, exclusive.total) == (60, 660)


def test_stripe_rounds_the_tax_of_each_line() -> None:
    """support.stripe.com/questions/rounding-rules-for-stripe-fees: 15 percent of 0.43 and 4.84."""
    found = bill("stripe", "0.43", "4.84", **tax(15))
    assert [str(line.tax) for line in found.lines] == ["0.06", "0.73"]
    assert (found.subtotal, found.tax, found.total) == (
        Decimal("5.27"),
        Decimal("0.79"),
        Decimal("6.06"),
    )


def test_stripe_balance_pays_the_total_with_its_tax() -> None:
    """docs.stripe.com/billing/customer/balance: a balance changes what is due, not the invoice."""
    found = bill("stripe", 100, credits=[Credit("balance", 30, "USD")], **tax(10))
    assert (found.total, found.credit, found.due) == (110, 30, 80)


# --------------------------------------------------------------------------------------- Lago


def test_lago_plan_change_in_arrears() -> None:
    """getlago.com/docs/guide/subscriptions/upgrades-downgrades: A at 100 from the first of January,
    B at 200 from the fifteenth: 14 of 31 days of A are 45.16."""
    found = fees("lago", (at(1), at(15), 100), (at(15), at(32), 200))
    assert line_amounts(found) == [Decimal("45.16"), Decimal("109.68")]


def test_lago_before_credits_moved_behind_the_tax() -> None:
    """getlago.com/changelog/nvoice-calculation-method, "current": 50 + 20 less a coupon of 10 and
    credits of 30 are 30, with 10 percent of tax 33. Our default order is that one."""
    found = bill(
        "default",
        50,
        20,
        discounts=[Discount("coupon", amount=10)],
        credits=[Credit("prepaid", 30, "USD")],
        **tax(10),
    )
    assert (found.net, found.tax, found.due) == (30, 3, 33)


def test_lago_prepaid_credits_after_tax() -> None:
    """The same page, "new": 70 and 7 of tax are 77, of which prepaid credits pay 30."""
    found = bill("lago", 50, 20, credits=[Credit("prepaid", 30, "USD")], **tax(10))
    assert (found.subtotal, found.tax, found.total, found.due) == (70, 7, 77, 47)


def test_lago_coupons_before_tax() -> None:
    """getlago.com/changelog/coupons-before-tax: the coupon of the same invoice lowers the tax."""
    found = bill("lago", 50, 20, discounts=[Discount("coupon", amount=10)], **tax(10))
    assert (found.net, found.tax, found.total) == (60, 6, 66)


@pytest.mark.parametrize(
    ("coupons", "off"),
    [
        ([Discount("first", amount="0.10"), Discount("second", percent=20)], "0.32"),
        ([Discount("first", amount="0.10"), Discount("second", amount="0.20")], "0.30"),
        ([Discount("first", percent=15), Discount("second", percent=20)], "0.38"),
    ],
)
def test_lago_coupons_one_after_the_other(coupons: list[Discount], off: str) -> None:
    """spec/services/credits/applied_coupons_service_spec.rb of getlago/lago-api: off 1.20, coupons
    in the order in which they were applied."""
    assert bill("lago", "1.20", discounts=coupons).discount == Decimal(off)


def test_lago_true_up_to_a_minimum() -> None:
    """getlago.com/docs/guide/plans/charges/spending-minimum: 5,000 users at 0.010 are 50, of a
    minimum of 100: a true-up of 50."""
    book = PriceBook.from_dict(
        {"price_book": "mtu", "currency": "USD", "minimum": 100, "metrics": {"users": "0.010"}}
    )
    span = Span(JANUARY.start, JANUARY.end, book)
    terms = Terms("acme", JANUARY, "USD", [span], rules="lago")
    found = compute(terms, [{"users": [Cumulative(JANUARY.end, Decimal(5000))]}])
    assert [(line.kind, line.amount) for line in found.lines] == [("usage", 50), ("minimum", 50)]


# ---------------------------------------------------------------------------------- OpenMeter


def openmeter(units: int, **commitments: Any) -> Bill:
    """Units at 10, as in priceunit_test.go of openmeterio/openmeter."""
    book = {"price_book": "unit", "currency": "USD", "metrics": {"feature": 10}}
    book |= {name: value for name, value in commitments.items() if name in ("minimum", "maximum")}
    span = Span(JANUARY.start, JANUARY.end, PriceBook.from_dict(book))
    discounts = commitments.get("discounts", ())
    terms = Terms("acme", JANUARY, "USD", [span], rules="openmeter", discounts=discounts)
    return compute(terms, [{"feature": [Cumulative(JANUARY.end, Decimal(units))]}])


def test_openmeter_minimum_without_usage() -> None:
    """openmeter/billing/service/lineservice/priceunit_test.go: a minimum of 100 is due."""
    assert openmeter(0, minimum=100).total == 100


def test_openmeter_maximum() -> None:
    """The same file: 7 and 5 units at 10 are 120, of which 20 are over the maximum of 100."""
    assert line_amounts(openmeter(12, maximum=100)) == [120, -20]


def test_openmeter_discounts_come_before_the_maximum() -> None:
    """The same file, and openmeter.io/docs/billing/invoicing/discounts: 7 and 20 units at 10, half
    of them off, are 35 and 100; 35 of that are over the maximum of 100."""
    found = openmeter(27, maximum=100, discounts=[Discount("half", percent=50)])
    assert (found.discount, found.lines[-1].amount, found.total) == (135, -35, 100)


# ---------------------------------------------------------------------------------- Kill Bill


def test_kill_bill_account_credit() -> None:
    """docs.killbill.io/latest/invoice_examples.html, "Add account credit": a credit of 20 against
    a charge of 100 leaves a balance of 80; the charged amount stays 100."""
    found = bill("killbill", 100, credits=[Credit("cba", 20, "USD")])
    assert (found.total, found.credit, found.due) == (100, 20, 80)


def test_kill_bill_recurring_charge() -> None:
    """The same page, "Recurring subscription": 24.95 are charged."""
    assert fees("killbill", (at(1), at(32), "24.95")).due == Decimal("24.95")


def test_kill_bill_item_adjustment() -> None:
    """docs.killbill.io/latest/invoice_subsystem.html, "Invoice item adjustment": 10 of a paid
    charge of 249.95 become a credit, or with a refund are paid back."""
    charge = fees("killbill", (at(1), at(32), "249.95"))
    party = Party("Shotgun Inc.", "US")
    invoice = Invoice("i", "1", "acme", START, START, party, party, charge, "")
    for refund in (0, 10):
        note = credit_note(
            invoice, [Part(0, 10)], reason="Adjusted", issued_at=START, refund=refund
        )
        assert (note.total, note.refund) == (10, refund)


def test_kill_bill_counts_days() -> None:
    """The preset of prices counts days, to nine digits of the fraction: 14 of 31 days of 100."""
    assert fees("killbill", (at(1), at(15), 100)).due == Decimal("45.16")


# ------------------------------------------------------------------------------------- others


def test_zuora_stacked_discounts() -> None:
    """docs.zuora.com, "Stacked discounts": 5, 10 and 15 percent of 100, stacked (each of the
    charge) or one after the other."""
    offers = [Discount(f"d{percent}", percent=percent) for percent in (5, 10, 15)]
    assert bill({"stacking": "parallel"}, 100, discounts=offers).discount == 30
    one_by_one = bill("default", 100, discounts=offers)
    assert [one.amount for one in one_by_one.discounts] == [5, Decimal("9.5"), Decimal("12.83")]


def test_zuora_inclusive_tax_is_rounded_and_the_rest_is_net() -> None:
    """docs.zuora.com, "Rounding rule for inclusive tax mode", rounding the tax: 4 percent in 2.99
    are 0.115, which is 0.12."""
    found = bill("default", "2.99", **tax(4, inclusive=True))
    assert (found.tax, found.net, found.total) == (
        Decimal("0.12"),
        Decimal("2.87"),
        Decimal("2.99"),
    )


def test_flexprice_order_of_calculation() -> None:
    """docs.flexprice.io/docs/invoices/calculation: 80 of usage with 25 percent off and a fee of 20,
    10 off the whole, credits of 5, and 8.25 percent of tax on 70."""
    found = bill(
        {"order": "minimum discount tax credit"},
        80,
        20,
        discounts=[
            Discount("line", percent=25, metrics=["a"]),
            Discount("whole", amount=10),
        ],
        credits=[Credit("wallet", 5, "USD")],
        **tax("8.25"),
    )
    assert (found.discount, found.net, found.tax) == (30, 70, Decimal("5.78"))
    assert found.due == Decimal("70.78")


def test_wafeq_rounds_the_tax_of_each_line() -> None:
    """developer.wafeq.com/reference/calculations-and-rounding: 5 percent of 45.30 and 10 percent of
    33.45 are 2.265 and 3.345, rounded half up 2.27 and 3.35, together 5.62."""
    rates = [TaxRate("US", 5), TaxRate("US", 10, product="b")]
    rules = TaxRules("US", rates, products={"b": "b"}, union=frozenset())
    found = bill({"tax_at": "line"}, "45.30", "33.45", tax=rules, buyer=TaxStatus("US"))
    assert [line.tax for line in found.lines] == [Decimal("2.27"), Decimal("3.35")]
    assert found.tax == Decimal("5.62")
