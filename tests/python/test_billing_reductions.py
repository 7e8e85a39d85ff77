"""Discounts, credits and tax of bills, worked by hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from billing_support import FEBRUARY, JANUARY, amounts, bill, book, day
from tenancy.billing import (
    Advance,
    Credit,
    Cumulative,
    Discount,
    Span,
    TaxRate,
    TaxRules,
    TaxStatus,
    Terms,
    compute,
    cuts,
)
from tenancy.errors import InvalidValue

# ---------------------------------------------------------------------------------- discounts


def discounted(*discounts: Discount, calls: int = 100, **rules: Any) -> list[tuple[str, Decimal]]:
    found = bill(book(base_fee=50), calls, discounts=discounts, rules=rules)
    return [(one.id, one.amount) for one in found.discounts]


TENTH = Discount("tenth", percent=10)
FIFTY = Discount("fifty", amount=50)


def test_discounts_stack_in_the_order_that_the_rules_say() -> None:
    assert discounted(TENTH, FIFTY) == [("tenth", 15), ("fifty", 50)]
    assert discounted(FIFTY, TENTH) == [("fifty", 50), ("tenth", 10)]
    assert discounted(FIFTY, TENTH, stacking="parallel") == [("fifty", 50), ("tenth", 15)]
    assert discounted(FIFTY, TENTH, discount_order="percent_first") == [
        ("tenth", 15),
        ("fifty", 50),
    ]
    assert discounted(TENTH, FIFTY, discount_order="fixed_first") == [
        ("fifty", 50),
        ("tenth", 10),
    ]


def test_a_discount_takes_off_no_more_than_there_is_and_than_its_cap() -> None:
    assert discounted(Discount("much", amount=1000)) == [("much", 150)]
    assert discounted(Discount("half", percent=50, cap="20.009")) == [("half", 20)]
    assert discounted(Discount("half", percent=50, cap=0)) == []
    assert discounted(Discount("spent", percent=50, periods_left=0)) == []
    assert discounted(Discount("last", percent=50, periods_left=1)) == [("last", 75)]


def test_a_discount_is_for_the_lines_that_it_names() -> None:
    assert discounted(Discount("calls", percent=50, metrics=["calls"])) == [("calls", 50)]
    assert discounted(Discount("fee", percent=50, kinds=["base_fee"])) == [("fee", 25)]
    assert discounted(Discount("other", percent=50, plans=["other"])) == []
    both = bill(
        book(base_fee=50),
        100,
        discounts=[Discount("calls", amount=30, kinds=["usage"])],
    )
    assert [line.discount for line in both.lines] == [30, 0]


def test_a_percentage_is_of_what_lines_below_zero_leave() -> None:
    """100 used, 60 are the most: a tenth is 6, and lies on the line that it can be taken from."""
    found = bill(book(maximum=60), 100, discounts=[TENTH])
    assert amounts(found) == [("usage", 100), ("maximum", -40)]
    assert [line.discount for line in found.lines] == [6, 0]


def test_a_maximum_cuts_what_a_discount_of_some_lines_is_of() -> None:
    """100 used, 10 are the most: half of the calls is 5, not 50 of which 40 would be given."""
    half = Discount("half", percent=50, metrics=["calls"])
    found = bill(book(maximum=10), 100, discounts=[half])
    assert (found.discount, found.total) == (5, 5)
    fixed = Discount("fixed", amount=30, metrics=["calls"])
    assert bill(book(maximum=10), 100, discounts=[fixed]).total == 0
    first = {"order": "discount minimum credit tax"}
    assert bill(book(maximum=10), 100, discounts=[half], rules=first).total == 10
    # Of a fee beside it, which the maximum does not reach, half is half.
    fee = Discount("fee", percent=50, kinds=["base_fee"])
    apart = book(maximum=10, base_fee=50, rules={"commitment": "usage"})
    assert bill(apart, 100, discounts=[fee]).total == 35
    # A cut of one half of the month leaves the discount of the other as it is.
    spans = [
        Span(day(1), day(16), book(maximum=20)),
        Span(day(16), day(1, 2), book()),
    ]
    rules = {"prorate_commitments": False}
    assert bill(spans, 100, 100, discounts=[half], rules=rules).discount == 60


def test_a_fixed_discount_is_spread_by_largest_remainder() -> None:
    prices = book(metrics={"calls": 1, "mails": 1, "files": 1})
    usage = [{name: [Cumulative(JANUARY.end, Decimal(1))] for name in prices}]
    spans = [Span(JANUARY.start, JANUARY.end, prices)]
    terms = Terms("acme", JANUARY, "EUR", spans, discounts=[Discount("euro", amount=1)])
    found = compute(terms, usage)
    assert [str(line.discount) for line in found.lines] == ["0.34", "0.33", "0.33"]


def test_a_time_limit_is_compared_with_the_service_or_with_the_bill() -> None:
    """A discount from the tenth on: January's fee began before it, February's did not."""
    terms: dict[str, Any] = {
        "discounts": [Discount("late", percent=50, starts=day(10))],
        "advance": Advance(FEBRUARY.start, FEBRUARY.end, book(base_fee=50)),
    }
    assert bill(book(base_fee=50), **terms).discount == 25
    assert bill(book(base_fee=50), rules={"discount_when": "bill"}, **terms).discount == 50
    ended = [Discount("early", percent=50, ends=JANUARY.end)]
    assert bill(book(base_fee=50), discounts=ended, rules={"discount_when": "bill"}).discount == 25


@pytest.mark.parametrize(("order", "lines"), [("minimum", (40, 10)), ("discount", (40, 30))])
def test_the_minimum_comes_before_discounts_or_after(order: str, lines: tuple[int, int]) -> None:
    """40 used, 50 are the least, half is off: 25 are due, or 20 lifted to 50."""
    other = "discount" if order == "minimum" else "minimum"
    found = bill(
        book(minimum=50),
        40,
        discounts=[Discount("half", percent=50)],
        rules={"order": f"{order} {other} credit tax"},
    )
    assert tuple(line.amount for line in found.lines) == lines
    assert found.total == (25 if order == "minimum" else 50)


# ------------------------------------------------------------------------------------ credits


def test_a_credit_that_expires_within_the_period_pays_for_what_was_used_before() -> None:
    """Trap 22: 30 calls until the eleventh, 100 in all; the bill is made in February."""
    credit = Credit("promo", 50, "EUR", expires=day(11))
    found = bill(book(), 30, 100, credits=[credit])
    assert found.credit == 30
    assert found.due == 70


def test_a_credit_granted_within_the_period_pays_for_what_was_used_after() -> None:
    credit = Credit("late", 90, "EUR", starts=day(11))
    found = bill(book(), 30, 100, credits=[credit])
    assert found.credit == 70
    assert found.due == 30


def test_credits_are_taken_by_priority_then_expiry_then_age() -> None:
    credits_ = [
        Credit("purchased", 100, "EUR", priority=2),
        Credit("older", 10, "EUR", starts=day(1), priority=1),
        Credit("newer", 10, "EUR", starts=day(5), priority=1),
        Credit("expiring", 10, "EUR", expires=day(21), priority=1),
    ]
    found = bill(book(), 4, 24, 60, credits=credits_)
    # Until the fifth 4 are used, of the one that expires; until the 21st 20 more, its other 6
    # and all of the oldest, then 4 of the newer one; the rest is the newer's 6 and purchased.
    assert {one.id: one.amount for one in found.credits} == {
        "expiring": 10,
        "older": 10,
        "newer": 10,
        "purchased": 30,
    }
    assert [one.id for one in found.credits] == ["expiring", "older", "newer", "purchased"]
    assert found.due == 0


def test_usage_that_became_cheaper_again_is_not_paid_twice() -> None:
    """Volume prices: 10 calls cost 10, but 20 cost 4. A credit for the first days pays 4."""
    prices = book(
        metrics={"calls": {"model": "volume", "tiers": [{"up_to": 10, "unit": 1}, {"unit": "0.2"}]}}
    )
    found = bill(prices, 10, 20, credits=[Credit("promo", 50, "EUR", expires=day(11))])
    assert (found.subtotal, found.credit, found.due) == (4, 4, 0)


def test_a_charge_that_rises_and_falls_is_due_as_far_as_it_lasts() -> None:
    """2, then 10, then 4 are due: 2 until the eleventh and 2 more until the 21st, nothing after."""
    prices = book(
        metrics={"calls": {"model": "volume", "tiers": [{"up_to": 10, "unit": 1}, {"unit": "0.2"}]}}
    )
    early = Credit("early", 50, "EUR", expires=day(11))
    late = Credit("late", 50, "EUR", starts=day(21))
    found = bill(prices, 2, 10, 20, credits=[early, late])
    assert [(one.id, one.amount) for one in found.credits] == [("early", 2)]
    assert found.due == 2


def test_a_credit_that_begins_when_the_period_ends_is_not_for_it() -> None:
    for rule in ("usage", "bill"):
        rules = {"credit_when": rule}
        next_month = Credit("next", 50, "EUR", starts=JANUARY.end)
        assert bill(book(), 10, credits=[next_month], rules=rules).credit == 0
        this_month = Credit("this", 50, "EUR", expires=JANUARY.end)
        assert bill(book(), 10, credits=[this_month], rules=rules).credit == 10


def test_a_maximum_leaves_credits_only_what_is_due() -> None:
    found = bill(book(maximum=60), 100, credits=[Credit("much", 500, "EUR")])
    assert (found.credit, found.due) == (60, 0)


def test_fees_fall_due_when_their_time_begins() -> None:
    prices = book(base_fee=20)
    early = bill(prices, 0, 0, credits=[Credit("promo", 50, "EUR", expires=day(2))])
    assert early.credit == 20
    late = bill(prices, 0, 0, credits=[Credit("late", 50, "EUR", starts=day(2))])
    assert late.credit == 0
    at_end = bill(
        prices, credits=[Credit("late", 50, "EUR", starts=day(2))], rules={"credit_when": "bill"}
    )
    assert at_end.credit == 20


def test_a_credit_pays_only_for_what_it_is_for() -> None:
    found = bill(book(base_fee=20), 5, credits=[Credit("calls", 50, "EUR", metrics=["calls"])])
    assert [line.credit for line in found.lines] == [5, 0]


def test_credits_after_tax_pay_the_tax_too() -> None:
    terms: dict[str, Any] = {
        "tax": TaxRules("DE", [TaxRate("DE", 19)]),
        "buyer": TaxStatus("DE"),
        "credits": [Credit("balance", 200, "EUR")],
    }
    before = bill(book(), 100, **terms)
    assert (before.net, before.tax, before.total, before.due) == (0, 0, 0, 0)
    assert (before.credit, before.credit_after_tax) == (100, False)
    after = bill(book(), 100, rules={"order": "minimum discount tax credit"}, **terms)
    assert (after.net, after.tax, after.total, after.due) == (100, 19, 119, 0)
    assert (after.credit, after.credit_after_tax) == (119, True)
    assert [line.credit for line in after.lines] == [0]


def test_cuts_are_where_quantities_are_needed() -> None:
    credits_ = [
        Credit("a", 1, "EUR", starts=day(5), expires=day(20)),
        Credit("b", 1, "EUR", starts=day(1), expires=day(1, 3)),
    ]
    spans = [Span(day(1), day(16), book()), Span(day(16), day(1, 2), book())]
    by_usage = Terms("acme", JANUARY, "EUR", spans, credits=credits_)
    assert cuts(by_usage) == (day(5), day(16), day(20), day(1, 2))
    by_bill = Terms("acme", JANUARY, "EUR", spans, credits=credits_, rules="stripe")
    assert cuts(by_bill) == (day(16), day(1, 2))


# ---------------------------------------------------------------------------------------- tax


GERMANY = TaxRules(
    "DE",
    [
        TaxRate("DE", 19, "USt"),
        TaxRate("DE", 7, "USt", product="book"),
        TaxRate("FR", 20, "TVA"),
        TaxRate("FR", "8.5", "TVA", region="974"),
        TaxRate("LI", 0, "none"),
    ],
    products={"base_fee": "book"},
    abroad="G",
)


@pytest.mark.parametrize(
    ("buyer", "category", "rate"),
    [
        (TaxStatus("DE"), "S", 19),
        (TaxStatus("DE", tax_id="DE123456789"), "S", 19),
        (TaxStatus("DE", exempt="An embassy"), "E", 0),
        (TaxStatus("FR"), "S", 20),
        (TaxStatus("FR", region="974"), "S", "8.5"),
        (TaxStatus("FR", region="75"), "S", 20),
        (TaxStatus("FR", tax_id="FR12345678901"), "AE", 0),
        (TaxStatus("LI"), "Z", 0),
        (TaxStatus("US", region="CA"), "G", 0),
    ],
)
def test_where_the_buyer_is_decides_the_tax(buyer: TaxStatus, category: str, rate: Any) -> None:
    found = bill(book(), 100, tax=GERMANY, buyer=buyer)
    (row,) = found.taxes
    assert (row.category, row.rate) == (category, Decimal(rate))
    assert row.amount == found.tax == Decimal(rate)
    assert (category in ("S", "Z")) != bool(row.reason)


def test_no_rate_is_an_error_and_not_no_tax() -> None:
    with pytest.raises(InvalidValue, match=r"no rate of IT for standard"):
        bill(book(), 1, tax=GERMANY, buyer=TaxStatus("IT"))
    with pytest.raises(InvalidValue, match=r"no rate of FR for book"):
        bill(book(base_fee=1), 1, tax=GERMANY, buyer=TaxStatus("FR"))
    strict = TaxRules("DE", [TaxRate("DE", 19)], abroad="refuse")
    with pytest.raises(InvalidValue, match=r"no rate of US"):
        bill(book(), 1, tax=strict, buyer=TaxStatus("US"))
    assert bill(book(), 1).taxes[0].category == "O"


def test_tax_is_rounded_on_the_sum_of_a_rate_and_allocated_back() -> None:
    """Three lines of 0.05 at 10 percent: 0.015 is 0.02 in all, where line by line it would be 3."""
    prices = book(metrics={"calls": "0.05", "mails": "0.05", "files": "0.05"})
    usage = [{name: [Cumulative(JANUARY.end, Decimal(1))] for name in prices}]
    spans = [Span(JANUARY.start, JANUARY.end, prices)]
    terms: dict[str, Any] = {
        "tax": TaxRules("DE", [TaxRate("DE", 10)]),
        "buyer": TaxStatus("DE"),
    }
    found = compute(Terms("acme", JANUARY, "EUR", spans, **terms), usage)
    assert [str(line.tax) for line in found.lines] == ["0.01", "0.01", "0"]
    assert found.tax == Decimal("0.02")
    each = compute(Terms("acme", JANUARY, "EUR", spans, rules={"tax_at": "line"}, **terms), usage)
    assert each.tax == Decimal("0.03")


def test_prices_that_include_tax_stay_what_they_are() -> None:
    tax = TaxRules("DE", [TaxRate("DE", 19), TaxRate("DE", 7, product="book")], inclusive=True)
    with_books = TaxRules("DE", tax.rates, inclusive=True, products={"base_fee": "book"})
    found = bill(book(base_fee=107), 119, tax=with_books, buyer=TaxStatus("DE"))
    assert (found.subtotal, found.net, found.tax, found.total) == (226, 200, 26, 226)
    assert [(row.rate, row.base, row.amount) for row in found.taxes] == [
        (19, 100, 19),
        (7, 100, 7),
    ]
