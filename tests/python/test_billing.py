"""Charges of bills worked by hand, and terms that are refused."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from billing_support import FEBRUARY, JANUARY, amounts, bill, book, day
from tenancy.billing import (
    Adjustment,
    Advance,
    BillingRules,
    Charged,
    Credit,
    Cumulative,
    Discount,
    EventsRef,
    Part,
    Period,
    SeatCount,
    Span,
    TaxRate,
    TaxRules,
    TaxStatus,
    Terms,
    compute,
)
from tenancy.billing._numbers import split
from tenancy.errors import InvalidValue
from tenancy.pricing import PriceBook

# ------------------------------------------------------------------------------------ charges


def test_a_bill_shows_where_every_line_comes_from() -> None:
    prices = book(
        base_fee=30,
        seats={"unit": 12, "included": 3},
        metrics={
            "calls": {"tiers": [{"up_to": 1000, "unit": "0.01"}, {"unit": "0.005"}]},
            "storage": "0.1",
        },
    )
    terms = Terms(
        "acme",
        JANUARY,
        "EUR",
        [Span(JANUARY.start, JANUARY.end, prices, "team", seats=5)],
        names={"calls": "API calls", "base_fee": "Subscription"},
        units={"storage": "GB"},
    )
    usage = {
        "calls": [Cumulative(JANUARY.end, Decimal(3000), 2900, "ab" * 32)],
        "storage": [Cumulative(JANUARY.end, Decimal("12.5"))],
    }
    found = compute(terms, [usage])
    expected = [("usage", 20), ("usage", Decimal("1.25")), ("base_fee", 30), ("seats", 24)]
    assert amounts(found) == expected
    calls, storage, fee, seats = found.lines
    assert (calls.description, calls.quantity, calls.unit_price) == ("API calls", 3000, None)
    assert [(tier.quantity, tier.unit, tier.amount) for tier in calls.tiers] == [
        (1000, Decimal("0.01"), 10),
        (2000, Decimal("0.005"), 10),
    ]
    assert calls.events == EventsRef(2900, "ab" * 32)
    assert (storage.unit_price, storage.unit, storage.tiers) == (Decimal("0.1"), "GB", ())
    assert storage.events is None
    assert (fee.description, fee.unit_price) == ("Subscription (team)", 30)
    assert (seats.quantity, seats.unit) == (5, "seat")
    assert {line.price_book for line in found.lines} == {"shop"}
    assert {line.plan for line in found.lines} == {"team"}
    assert found.total == found.due == Decimal("75.25")


def test_a_plan_change_in_the_middle_of_a_month_by_hand() -> None:
    """Fifteen days of January at 31 euros with calls at 1, then sixteen at 62 with calls at 0.5.

    31 x 15/31 = 15 and 62 x 16/31 = 32; 10 calls at 1 and 20 at 0.5 cost 10 each.
    """
    spans = [
        Span(day(1), day(16), book(base_fee=31), "starter"),
        Span(day(16), day(1, 2), book(base_fee=62, metrics={"calls": "0.5"}), "team"),
    ]
    found = bill(spans, 10, 20)
    assert amounts(found) == [("usage", 10), ("usage", 10), ("base_fee", 15), ("base_fee", 32)]
    assert [line.period for line in found.lines[2:]] == [
        Period(day(1), day(16)),
        Period(day(16), day(1, 2)),
    ]
    prorated = found.lines[2].tiers[0]
    assert (prorated.kind, prorated.unit, prorated.amount) == ("prorated", 31, 15)
    assert prorated.quantity == Decimal("0.483870967742")


def test_tiers_and_included_units_begin_anew_with_a_span() -> None:
    prices = book(metrics={"calls": {"unit": 1, "included": 100, "model": "per_unit"}})
    spans = [Span(day(1), day(16), prices), Span(day(16), day(1, 2), prices)]
    assert bill(spans, 60, 60).total == 0
    # 100 x 15/31 and 100 x 16/31 units are included: 48.387… and 51.613…
    cut = bill(spans, 60, 60, rules={"prorate_included": True})
    assert amounts(cut) == [("usage", Decimal("11.61")), ("usage", Decimal("8.39"))]


def test_commitments_count_their_part_of_the_period() -> None:
    spans = [
        Span(day(1), day(16), book(minimum=62), "a"),
        Span(day(16), day(1, 2), book(maximum=62), "b"),
    ]
    found = bill(spans, 10, 50)
    assert amounts(found) == [("usage", 10), ("usage", 50), ("minimum", 20), ("maximum", -18)]
    whole = bill(spans, 10, 50, rules={"prorate_commitments": False})
    assert amounts(whole) == [("usage", 10), ("usage", 50), ("minimum", 52)]


@pytest.mark.parametrize(("commitment", "minimum"), [("all", 10), ("usage", 40)])
def test_the_price_book_says_whether_its_fee_counts_for_the_minimum(
    commitment: str, minimum: int
) -> None:
    found = bill(book(base_fee=30, minimum=50, rules={"commitment": commitment}), 10)
    assert amounts(found) == [("usage", 10), ("base_fee", 30), ("minimum", minimum)]


def test_seats_are_prorated_as_their_number_changes() -> None:
    counts = [SeatCount(day(1), 2), SeatCount(day(11), 5), SeatCount(day(21), 3)]
    found = bill([Span(day(1), day(1, 2), book(seats=31), seats=counts)])
    assert amounts(found) == [("seats", 20), ("seats", 50), ("seats", 33)]


@pytest.mark.parametrize(
    ("rule", "amount"),
    [("second", "15.5"), ("day", "15"), ("day_inclusive", "15.5"), ("none", "31")],
)
def test_rules_of_proration(rule: str, amount: str) -> None:
    """The first half of January, until noon of the sixteenth, of 31 euros."""
    half = [Span(day(1), day(16) + timedelta(hours=12), book(base_fee=31))]
    assert bill(half, rules={"proration": rule}).total == Decimal(amount)


def test_days_are_those_of_the_customer() -> None:
    """Until 23:30 UTC of the fifteenth is sixteen begun days in Berlin, where it is half past."""
    until = day(15) + timedelta(hours=23, minutes=30)
    berlin = ZoneInfo("Europe/Berlin")
    month = Period(
        datetime(2026, 1, 1, tzinfo=berlin),
        datetime(2026, 2, 1, tzinfo=berlin),
    )
    span = [Span(month.start, until, book(base_fee=31))]
    rules = {"proration": "day"}
    assert bill(span, period=month, rules=rules, time_zone="Europe/Berlin").total == 15
    assert bill(span, period=month, rules=rules).total == 15
    later = [Span(month.start, until + timedelta(hours=1), book(base_fee=31))]
    assert bill(later, period=month, rules=rules, time_zone="Europe/Berlin").total == 15
    assert bill(later, period=month, rules=rules).total == 16


def test_seconds_of_a_month_with_summer_time_are_counted_as_they_pass() -> None:
    """March in Berlin is an hour short: 743 hours. 743 euros until noon of the second."""
    berlin = ZoneInfo("Europe/Berlin")
    month = Period(datetime(2026, 3, 1, tzinfo=berlin), datetime(2026, 4, 1, tzinfo=berlin))
    part = [Span(month.start, datetime(2026, 3, 2, 12, tzinfo=berlin), book(base_fee=743))]
    assert bill(part, period=month).total == 36


def test_lines_are_rounded_alone_or_together() -> None:
    prices = book(metrics={"calls": "0.005", "mails": "0.005", "files": "0.005"})
    usage = [{name: [Cumulative(JANUARY.end, Decimal(1))] for name in prices}]
    spans = [Span(JANUARY.start, JANUARY.end, prices)]
    alone = compute(Terms("acme", JANUARY, "EUR", spans), usage)
    assert [str(line.amount) for line in alone.lines] == ["0.01", "0.01", "0.01"]
    together = compute(Terms("acme", JANUARY, "EUR", spans, rules={"round_at": "invoice"}), usage)
    assert [str(line.amount) for line in together.lines] == ["0.01", "0.01", "0"]
    assert together.total == Decimal("0.02")


def test_many_lines_do_not_drift() -> None:
    """200 bills of 250 lines of a third of a cent and some: each is right to half a cent, where
    lines rounded alone lose a third of a cent each."""
    names = [f"m{i}" for i in range(250)]
    prices = book(metrics=dict.fromkeys(names, "0.003333333333"))
    spans = [Span(JANUARY.start, JANUARY.end, prices)]
    together = Terms("acme", JANUARY, "EUR", spans, rules={"round_at": "invoice"})
    lost = Decimal(0)
    for number in range(1, 201):
        usage = [{name: [Cumulative(JANUARY.end, Decimal(number))] for name in names}]
        found = compute(together, usage)
        exact = 250 * number * Decimal("0.003333333333")
        assert abs(found.subtotal - exact) <= Decimal("0.005")
        assert found.subtotal == sum(line.amount for line in found.lines)
        lost += exact - found.subtotal
    assert abs(lost) < 1
    alone = compute(
        Terms("acme", JANUARY, "EUR", spans),
        [{name: [Cumulative(JANUARY.end, Decimal(1))] for name in names}],
    )
    assert alone.subtotal == 0


@pytest.mark.parametrize("total", [0, 1, 999_999, 10**15 + 7])
def test_a_million_parts_sum_to_the_whole(total: int) -> None:
    weights = [(i * 7919) % 1009 for i in range(1_000_000)]
    every = sum(weights)
    parts = split(total, weights)
    assert sum(parts) == total
    assert all(
        abs(part * every - total * weight) < every
        for part, weight in zip(parts, weights, strict=True)
    )


# ------------------------------------------------------------------------- charged in advance


def test_a_subscription_begins_with_its_first_fee() -> None:
    found = bill([], advance=Advance(day(1), day(1, 2), book(base_fee=30), "team"))
    assert amounts(found) == [("base_fee", 30)]
    assert found.lines[0].period == JANUARY


def test_a_fee_charged_in_advance_is_not_charged_again() -> None:
    prices = book(base_fee=30)
    found = bill(
        prices,
        7,
        charged=[Charged("base_fee", 30)],
        advance=Advance(FEBRUARY.start, FEBRUARY.end, prices),
    )
    assert amounts(found) == [("usage", 7), ("base_fee", 30)]
    assert found.lines[1].period == FEBRUARY


def test_a_change_of_plan_settles_what_was_charged_in_advance() -> None:
    spans = [
        Span(day(1), day(16), book(base_fee=31), "starter"),
        Span(day(16), day(1, 2), book(base_fee=62), "team"),
    ]
    found = bill(spans, charged=[Charged("base_fee", 31, plan="starter")])
    assert amounts(found) == [("base_fee", 15), ("base_fee", 32), ("adjustment", -31)]
    assert found.total == 16


def test_what_a_discount_took_off_then_is_not_given_back_again() -> None:
    """31 euros were charged with 10 percent off. Half of it comes back as 13.95, not 15.50."""
    ended = [Span(day(1), day(16) + timedelta(hours=12), book(base_fee=31))]
    found = bill(
        ended,
        charged=[Charged("base_fee", 31, "3.1")],
        discounts=[Discount("ten", percent=10)],
    )
    assert amounts(found) == [("base_fee", Decimal("15.5")), ("adjustment", Decimal("-27.9"))]
    assert (found.discount, found.total, found.due) == (
        Decimal("1.55"),
        Decimal("-13.95"),
        0,
    )


def test_a_discount_is_not_given_twice_on_a_fee_that_was_charged() -> None:
    found = bill(
        book(base_fee=30),
        10,
        charged=[Charged("base_fee", 30, 3)],
        discounts=[Discount("tenth", percent=10)],
    )
    assert amounts(found) == [("usage", 10)]
    assert (found.discount, found.total) == (1, 9)


def test_hidden_fees_count_for_the_minimum() -> None:
    found = bill(book(base_fee=30, minimum=50), 5, charged=[Charged("base_fee", 30)])
    assert amounts(found) == [("usage", 5), ("minimum", 15)]
    gross = bill(book(base_fee=30, minimum=50), 5, charged=[Charged("base_fee", 30, 10)])
    assert amounts(gross) == [("usage", 5), ("minimum", 15)]
    discounted = bill(
        book(base_fee=30, minimum=50),
        5,
        charged=[Charged("base_fee", 30, 10)],
        rules={"order": "discount minimum credit tax"},
    )
    assert amounts(discounted) == [("usage", 5), ("minimum", 25)]


@pytest.mark.parametrize(("rule", "total"), [("credit", -31), ("zero", 0)], ids=["credit", "zero"])
def test_a_bill_below_zero(rule: str, total: int) -> None:
    ended = [Span(day(1), day(16) + timedelta(hours=12), book(base_fee=62))]
    found = bill(ended, charged=[Charged("base_fee", 62)], rules={"negative": rule})
    assert (found.total, found.due) == (total, 0)
    with pytest.raises(InvalidValue, match=r"comes to -31 EUR"):
        bill(ended, charged=[Charged("base_fee", 62)], rules={"negative": "refuse"})


def test_lifting_to_zero_takes_the_tax_along() -> None:
    ended = [Span(day(1), day(16) + timedelta(hours=12), book(base_fee=62))]
    tax = TaxRules("DE", [TaxRate("DE", 19)])
    found = bill(
        ended,
        charged=[Charged("base_fee", 62)],
        rules={"negative": "zero"},
        tax=tax,
        buyer=TaxStatus("DE"),
    )
    assert (found.net, found.tax, found.total) == (0, 0, 0)
    assert found.lines[-1].amount == 31


def test_an_adjustment_of_an_earlier_bill_is_taxed_but_not_discounted() -> None:
    """Usage of January that came late stands on February's bill, with January's discount in it."""
    late = Adjustment("Calls of January", "9.995", JANUARY, metric="calls", events=EventsRef(7))
    found = bill(
        book(),
        100,
        period=FEBRUARY,
        adjustments=[late],
        discounts=[Discount("tenth", percent=10)],
        credits=[
            Credit("january", 4, "EUR", expires=JANUARY.end),
            Credit("february", 50, "EUR", starts=FEBRUARY.start),
        ],
        tax=TaxRules("DE", [TaxRate("DE", 10)]),
        buyer=TaxStatus("DE"),
    )
    assert amounts(found) == [("usage", 100), ("adjustment", 10)]
    assert (found.lines[1].period, found.lines[1].events) == (JANUARY, EventsRef(7))
    assert [line.discount for line in found.lines] == [10, 0]
    assert [line.credit for line in found.lines] == [50, 4]
    assert (found.net, found.tax) == (46, Decimal("4.6"))


def test_adjustments_can_stand_alone() -> None:
    too_much = Adjustment("Calls of January", -3, JANUARY)
    found = bill([], period=FEBRUARY, adjustments=[too_much])
    assert (found.total, found.due) == (-3, 0)
    with pytest.raises(InvalidValue, match=r"expected some text"):
        Adjustment("", 1, JANUARY)
    with pytest.raises(InvalidValue, match=r"is not after the start"):
        Adjustment("late", 1, Period(day(2), day(1)))


# ------------------------------------------------------------------------------------ refusals


def span(start: int = 1, end: int = 31, prices: PriceBook | None = None, **more: Any) -> Span:
    return Span(day(start), day(end), prices or book(), **more)


REFUSED: list[tuple[str, Any, str]] = [
    ("overlapping spans", lambda: bill([span(1, 16), span(15, 31)]), "overlaps the one before"),
    ("a gap", lambda: bill([span(1, 15), span(16, 31)]), "leaves a gap"),
    ("no span", lambda: bill([]), "expected at least one"),
    ("a span outside", lambda: bill([span()], period=FEBRUARY), "not within the period"),
    ("a span backwards", lambda: span(16, 1), "is not after the start"),
    ("a naive time", lambda: Span(datetime(2026, 1, 1), day(2), book()), "without a time zone"),
    (
        "a book of another currency",
        lambda: bill(book(), currency="USD"),
        "is in EUR, the bill in USD",
    ),
    (
        "a credit of another currency",
        lambda: bill(book(), credits=[Credit("c", 1, "USD")]),
        "is in USD, the bill in EUR",
    ),
    (
        "a discount of another currency",
        lambda: bill(book(), discounts=[Discount("d", amount=1, currency="USD")]),
        "is in USD, the bill in EUR",
    ),
    ("an unknown currency", lambda: bill(book(), currency="XXY"), "ISO 4217"),
    ("a negative discount", lambda: Discount("d", amount=-1), "more than 0"),
    ("a discount of 0 percent", lambda: Discount("d", percent=0), "more than 0"),
    ("more than all", lambda: Discount("d", percent=101), "at most 100"),
    ("two discounts in one", lambda: Discount("d", percent=1, amount=1), "either percent or"),
    ("a float", lambda: Discount("d", percent=0.5), "pass an int"),  # type: ignore[arg-type]
    ("a negative credit", lambda: Credit("c", -1, "EUR"), "at least 0"),
    ("a credit of half cents", lambda: Credit("c", "0.005", "EUR"), "more than 2 digits"),
    (
        "a credit that ends before it begins",
        lambda: Credit("c", 1, "EUR", starts=day(2), expires=day(1)),
        "is not after the start",
    ),
    (
        "two of one id",
        lambda: bill(book(), credits=[Credit("c", 1, "EUR"), Credit("c", 2, "EUR")]),
        "is there twice",
    ),
    ("a negative rate", lambda: TaxRate("DE", -1), "at least 0"),
    ("a country by its name", lambda: TaxRate("Germany", 19), "two letters"),
    (
        "two rates of one place",
        lambda: TaxRules("DE", [TaxRate("DE", 19), TaxRate("DE", 7)]),
        "two rates of DE",
    ),
    ("tax without a buyer", lambda: bill(book(), tax=TaxRules("DE", [])), "where the buyer is"),
    ("an unknown rule", lambda: BillingRules.of({"round": "line"}), "no such option"),
    ("an unknown value", lambda: BillingRules.of({"round_at": "tier"}), "expected one of line"),
    ("an unknown preset", lambda: BillingRules.of("acme"), "expected one of default, stripe"),
    ("an unknown time zone", lambda: bill(book(), time_zone="Mars/Base"), "not a time zone"),
    ("seats without a price", lambda: span(seats=3), "no price for seats"),
    (
        "seats that begin late",
        lambda: span(prices=book(seats=1), seats=[SeatCount(day(2), 1)]),
        "counts from the start",
    ),
    ("a kind of line that is none", lambda: Discount("d", percent=1, kinds=["fee"]), "base_fee"),
    ("a kind of line that is none", lambda: Credit("c", 1, "EUR", kinds=["fee"]), "base_fee"),
    ("half a period", lambda: Discount("d", percent=1, periods_left=-1), "0 or more"),
    ("half a part", lambda: Part(0, 1, total=1), "not both"),
    # Letter by letter it would be for no metric at all, and take nothing off.
    ("one metric", lambda: Discount("d", percent=1, metrics="calls"), "metrics: expected a list"),
    ("one plan", lambda: Credit("c", 1, "EUR", plans="team"), "plans: expected a list of str"),
    ("one kind", lambda: Discount("d", percent=1, kinds="usage"), "kinds: expected a list of str"),
    (
        "a metric that is none",
        lambda: Credit("c", 1, "EUR", metrics=[7]),
        r"metrics\[0\]: expected",
    ),  # type: ignore[list-item]
    ("half a seat", lambda: span(prices=book(seats=1), seats=2.5), "seats: got a float"),
    (
        "seats of no time",
        lambda: span(prices=book(seats=1), seats=[2]),
        r"seats\[0\]: expected Seat",
    ),
    ("one rate", lambda: TaxRules("DE", TaxRate("DE", 19)), "tax.rates: expected a list"),  # type: ignore[arg-type]
    (
        "one discount",
        lambda: bill(book(), discounts=Discount("d", percent=1)),
        "expected a list of",
    ),
    (
        "a discount among credits",
        lambda: bill(book(), credits=[Discount("d", percent=1)]),
        r"credits\[0\]: expected Credit, got Discount",
    ),
    ("tax as a rate", lambda: bill(book(), tax=19), "tax: expected TaxRules, got 19"),
    ("half of a period", lambda: Terms("acme", (day(1),), "EUR", []), r"Period or \(start, end\)"),  # type: ignore[arg-type]
    (
        "a name that is none",
        lambda: bill(book(), names={"calls": 5}),
        r"names\['calls'\]: expected",
    ),
    ("names that are none", lambda: bill(book(), names="calls"), "names: expected a mapping"),
    ("no span", lambda: Terms("acme", JANUARY, "EUR", [None]), r"spans\[0\]: expected Span"),  # type: ignore[list-item]
    (
        "a time without an end",
        lambda: Adjustment("late", 1, (day(1), day(2))),  # type: ignore[arg-type]
        "adjustment.period: expected a Period",
    ),
]


@pytest.mark.parametrize(("make", "message"), [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_terms_that_cannot_be_meant_are_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidValue, match=message):
        make()


def test_usage_below_zero_lowers_the_bill_where_the_prices_say_so() -> None:
    prices = book(rules={"negative": "credit"}, metrics={"calls": 1})
    credits_ = [Credit("early", 50, "EUR", expires=day(11))]
    assert amounts(bill(prices, -5, -3, credits=credits_)) == [("usage", -3)]
    rising = bill(prices, -5, 7, credits=credits_)
    assert (rising.credit, rising.due) == (0, 7)
    back = bill(prices, 5, -3, credits=credits_)
    assert (back.credit, back.total, back.due) == (0, -3, 0)


def test_a_bill_that_passes_what_an_amount_holds_is_refused() -> None:
    prices = book(metrics={"calls": 1, "mails": 1})
    most = [Cumulative(JANUARY.end, Decimal(10**26 - 1))]
    terms = Terms("acme", JANUARY, "EUR", [Span(JANUARY.start, JANUARY.end, prices)])
    assert compute(terms, [{"calls": most}]).total == 10**26 - 1
    with pytest.raises(InvalidValue, match=r"more than 26 digits"):
        compute(terms, [{"calls": most, "mails": most}])


def test_quantities_may_be_whole_numbers_but_no_floats() -> None:
    terms = Terms("acme", JANUARY, "EUR", [Span(JANUARY.start, JANUARY.end, book())])
    whole: Any = Cumulative(JANUARY.end, 5)  # type: ignore[arg-type]
    assert compute(terms, [{"calls": [whole]}]).lines[0].quantity == Decimal(5)
    with pytest.raises(InvalidValue, match=r"pass an int"):
        compute(terms, [{"calls": [Cumulative(JANUARY.end, 0.5)]}])  # type: ignore[arg-type]


def test_usage_that_does_not_fit_the_terms_is_refused() -> None:
    terms = Terms("acme", JANUARY, "EUR", [Span(day(1), day(1, 2), book())])
    with pytest.raises(InvalidValue, match=r"has no metric 'mails'.*it has calls"):
        compute(terms, [{"mails": []}])
    with pytest.raises(InvalidValue, match=r"has no quantity until 2026-02-01"):
        compute(terms, [{"calls": [Cumulative(day(20), Decimal(1))]}])
    with pytest.raises(InvalidValue, match=r"one mapping for each of 1 spans"):
        compute(terms, [])
    used = Cumulative(day(1, 2), Decimal(1))
    with pytest.raises(InvalidValue, match=r"^usage: expected a list with one mapping"):
        compute(terms, {"calls": [used]})  # type: ignore[arg-type]
    with pytest.raises(
        InvalidValue, match=r"^usage\[0\].calls: expected a list of Cumulative, got"
    ):
        compute(terms, [{"calls": used}])  # type: ignore[dict-item]
    with pytest.raises(InvalidValue, match=r"negative|below"):
        compute(terms, [{"calls": [Cumulative(day(1, 2), Decimal(-1))]}])


def test_the_rules_say_what_they_are() -> None:
    assert str(BillingRules()) == "1 default"
    rules = BillingRules.of({"preset": "stripe", "round_at": "invoice"})
    assert str(rules) == "1 stripe round_at=invoice"
    assert BillingRules.presets()["lago"].proration == "day"
