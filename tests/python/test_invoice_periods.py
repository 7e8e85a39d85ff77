"""Periods of other lengths, fees in advance, prices that change: pure, against a slow model."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoice_model import Shop, boundaries, half_up, held
from tenancy._text import to_datetime, to_ns
from tenancy.billing import (
    Advance,
    BillingRules,
    Charged,
    Cumulative,
    Party,
    Period,
    Span,
    Terms,
    compute,
)
from tenancy.errors import InvalidValue
from tenancy.invoices._config import Account, Settings
from tenancy.invoices._drafts import _uses, to_issue
from tenancy.invoices._prices import PlanPrices
from tenancy.invoices._terms import make_terms
from tenancy.invoices._timeline import Timeline
from tenancy.pricing import PriceBook
from tenancy.stores.billing_rows import Fact, InvoiceRow, TenantRows
from tenancy.stores.periods import UNITS, period_bounds_ns

UTC = timezone.utc
ZONES = ["UTC", "Europe/Vienna", "America/New_York", "Asia/Kolkata", "Pacific/Apia"]
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2024, 1, 1), timezones=st.just(UTC))
BEGIN = datetime(2021, 3, 31, 10, 30, tzinfo=UTC)
DAYS = st.integers(1, 330)


@settings(deadline=None)
@given(
    now=TIMES,
    anchor=st.one_of(st.none(), TIMES),
    zone=st.sampled_from(ZONES),
    unit=st.sampled_from(UNITS),
)
def test_a_moment_is_in_the_period_that_a_list_of_all_periods_says(
    now: datetime, anchor: datetime | None, zone: str, unit: str
) -> None:
    anchor_ns = 0 if anchor is None else to_ns(anchor, "anchor")
    start_ns, end_ns = period_bounds_ns(to_ns(now, "now"), anchor_ns, zone, unit)
    found = boundaries(anchor, zone, unit)
    expected = next(span for span in pairwise(found) if span[0] <= now < span[1])
    assert (to_datetime(start_ns), to_datetime(end_ns)) == expected


@pytest.mark.parametrize(
    ("unit", "days"),
    [
        ("month", ["01-31", "02-28", "03-31", "04-30", "05-31"]),
        ("quarter", ["01-31", "04-30", "07-31", "10-31", "01-31"]),
        ("year", ["01-31", "01-31", "01-31", "01-31", "01-31"]),
        ("week", ["01-31", "02-07", "02-14", "02-21", "02-28"]),
    ],
)
def test_a_day_that_a_month_lacks_is_its_last_and_comes_back(unit: str, days: list[str]) -> None:
    anchor_ns = to_ns(datetime(2022, 1, 31, 23, tzinfo=UTC), "anchor")
    starts, at_ns = [], anchor_ns
    for _ in days:
        start_ns, at_ns = period_bounds_ns(at_ns, anchor_ns, None, unit)
        starts.append(f"{to_datetime(start_ns):%m-%d}")
    assert starts == days


# ------------------------------------------------------------------------------ whole bills


class Books:
    """Price books by digest, without a store; a digest is cents."""

    @staticmethod
    @cache
    def get(digest: str, plan: str | None) -> PriceBook:
        fee = Decimal(int(digest)).scaleb(-2)
        metrics = {"none": {"model": "per_unit", "unit": 0}}
        return PriceBook.from_dict(
            {"price_book": f"{plan}", "currency": "EUR", "base_fee": fee, "metrics": metrics}
        )

    def free(self, currency: str) -> PriceBook:
        return self.get("0", "none")


def fact(kind: str, since: datetime, value: Any) -> Fact:
    return Fact(kind, to_ns(since, "since"), json.dumps(value))


def rows_of(shop: Shop, *, in_advance: bool) -> TenantRows:
    """The same as facts of the store."""
    created = {
        "anchor_ns": to_ns(shop.anchors[0][1], "anchor"),
        "plan": shop.plans[0][1],
        "status": "active" if shop.billed[0][1] else "churned",
        "time_zone": shop.zone,
    }
    facts = [
        fact("created", shop.made, created),
        fact("account", shop.begin, Account(Party("B", "AT"), "EUR").to_value()),
        *(fact("plan", at, {"plan": plan}) for at, plan in shop.plans[1:]),
        *(
            fact("status", at, {"status": "active" if on else "churned"})
            for at, on in shop.billed[1:]
        ),
        *(
            fact("calendar", at, {"anchor_ns": to_ns(anchor, "anchor")})
            for at, anchor in shop.anchors[1:]
        ),
    ]
    rules = BillingRules(proration="second")
    usual = {"anchored": shop.anchored, "in_advance": in_advance, "units": shop.units}
    seller = [fact("settings", shop.begin, Settings(Party("S", "AT"), rules=rules).to_value())]
    for at, at_once, _ in shop.prices:
        seller.append(fact("catalog", at, {**usual, "at_once": at_once}))
    facts.sort(key=lambda one: one.since_ns)
    return TenantRows("t1", tuple(facts), tuple(seller), (), (), (), ())


def issue_until(shop: Shop, until: datetime, *, in_advance: bool) -> list[list[int]]:
    """The lines of every invoice that has ended by then, in cents; empty ones as well."""
    rows = rows_of(shop, in_advance=in_advance)
    prices = PlanPrices(
        [
            (plan, to_ns(at, "at"), str(cents[plan]))
            for at, _, cents in shop.prices
            for plan in cents
        ]
    )
    timeline = Timeline.of(rows)
    found = []
    for span in to_issue(timeline, rows):
        if span[0] >= to_ns(until, "until"):
            return found
        terms = make_terms(rows, timeline, span, prices, Books(), {})  # type: ignore[arg-type]
        if terms is None:
            found.append([])
            continue
        bill = compute(terms, [{} for _ in terms.spans])
        assert sum(line.amount for line in bill.lines) == bill.total
        found.append([int(line.amount * 100) for line in bill.lines if line.amount])
        start_ns = span[0] if span[0] < span[1] else None
        rows = replace(
            rows,
            uses=(*rows.uses, *_uses(rows, span, bill)),
            invoices=(*rows.invoices, InvoiceRow(f"{len(found)}", start_ns, span[1])),
        )
        # The facts that are known do not change what was billed: computed again it is the same.
        assert compute(terms, [{} for _ in terms.spans]).digest == bill.digest
    return found


@st.composite
def shops(draw: st.DrawFn) -> Shop:
    anchored = draw(st.booleans())
    zone = draw(st.sampled_from(ZONES))
    units = {plan: draw(st.sampled_from(["week", "month", "quarter", "year"])) for plan in "abc"}
    if draw(st.booleans()):
        units = dict.fromkeys(units, units["a"])
    days = sorted(draw(st.sets(DAYS, max_size=4)))
    plans = [(BEGIN, draw(st.sampled_from("abc")))]
    anchors = [(BEGIN, BEGIN)]
    for day in days:
        at = BEGIN + timedelta(days=day, hours=draw(st.integers(0, 23)))
        plans.append((at, draw(st.sampled_from("abc"))))
        if anchored and units[plans[-1][1]] != units[plans[-2][1]]:
            anchors.append((at, at))
    off = sorted(draw(st.sets(DAYS, max_size=3)))
    billed = [(BEGIN, True), *((BEGIN + timedelta(days=d), bool(i % 2)) for i, d in enumerate(off))]
    cents = st.integers(1, 100_000)
    prices = [(BEGIN, False, {plan: draw(cents) for plan in "abc"})]
    for day in sorted(draw(st.sets(DAYS, max_size=3))):
        at = BEGIN + timedelta(days=day, minutes=17)
        changed = {plan: draw(st.one_of(st.just(prices[-1][2][plan]), cents)) for plan in "abc"}
        prices.append((at, draw(st.booleans()), changed))
    return Shop(BEGIN, BEGIN, zone, anchored, units, plans, billed, prices, anchors)


UNTIL = BEGIN + timedelta(days=380)


@settings(deadline=None, max_examples=40)
@given(shops())
def test_fees_in_arrears_are_those_of_the_model(shop: Shop) -> None:
    expected = [[fee for fee in shop.fees(span) if fee] for span in shop.periods(UNTIL)]
    assert issue_until(shop, UNTIL, in_advance=False) == expected


@settings(deadline=None, max_examples=40)
@given(shops())
def test_fees_in_advance_come_to_those_in_arrears_and_the_next_period(shop: Shop) -> None:
    """With each invoice: all that was charged is what all ended periods cost, and what the next
    one is expected to; so plan changes, ends and new prices are settled to the cent."""
    periods = shop.periods(UNTIL)
    invoices = issue_until(shop, UNTIL, in_advance=True)
    assert len(invoices) == len(periods) + 1
    charged = sum(invoices[0])
    assert charged == shop.in_advance(periods[0])
    owed = 0
    for span, invoice in zip(periods, invoices[1:], strict=True):
        charged += sum(invoice)
        owed += sum(shop.fees(span))
        assert charged == owed + shop.in_advance((span[1], shop.end_of(span[1])))


def day(number: int, month: int = 1) -> datetime:
    return datetime(2026, month, number, tzinfo=UTC)


def test_a_part_of_a_period_costs_its_part_of_the_whole() -> None:
    """Fee, seats, minimum and the fee of a metric; usage costs what it costs."""
    book = PriceBook.from_dict(
        {
            "price_book": "b",
            "currency": "EUR",
            "base_fee": 31,
            "minimum": 620,
            "seats": {"unit": 62},
            "metrics": {"calls": {"model": "per_unit", "unit": 1, "base_fee": 93}},
        }
    )
    spans = [Span(day(1), day(11), book, seats=1)]
    whole = Period(day(1), day(1, 2))
    used = {"calls": [Cumulative(day(11), Decimal(7))]}
    rules = BillingRules(proration="day")
    bill = compute(Terms("t", (day(1), day(11)), "EUR", spans, whole=whole, rules=rules), [used])
    # 10 of 31 days: 7 + 30, 10, 20; and up to 200
    assert [line.amount for line in bill.lines] == [37, 10, 20, 133]
    again = compute(Terms("t", (day(1), day(11)), "EUR", spans, rules=rules), [used])
    assert [line.amount for line in again.lines] == [100, 31, 62, 427]
    advance = Advance(day(11), day(21), book, seats=1, whole=whole)
    bill = compute(Terms("t", (day(1), day(11)), "EUR", [], advance=advance, rules=rules), [])
    assert [line.amount for line in bill.lines] == [10, 20]


@pytest.mark.parametrize(
    ("start", "end", "what"),
    [
        (day(2), day(1, 2), "does not hold"),
        (day(1), day(10), "does not hold"),
        (day(1), day(1), "not after the start"),
        (datetime(2026, 1, 1), day(1, 2), "without a time zone"),
    ],
)
def test_a_whole_that_is_none_is_refused(start: datetime, end: datetime, what: str) -> None:
    book = Books.get("1", "a")
    spans = [Span(day(1), day(11), book)]
    with pytest.raises(InvalidValue, match=f"whole.*{what}"):
        Terms("t", (day(1), day(11)), "EUR", spans, whole=Period(start, end))
    with pytest.raises(InvalidValue, match=rf"advance\.whole.*{what}"):
        Advance(day(1), day(11), book, whole=Period(start, end))


def test_fees_alone_can_be_taken_off_again_without_a_span() -> None:
    """Who left before the period began that was charged."""
    terms = Terms("t", (day(1), day(11)), "EUR", [], charged=[Charged("base_fee", 10, 4)])
    bill = compute(terms, [])
    assert (bill.total, bill.due) == (-6, 0)
    with pytest.raises(InvalidValue, match=r"spans.*at least one"):
        Terms("t", (day(1), day(11)), "EUR", [])


def test_the_model_can_tell_a_wrong_cent() -> None:
    """Halves go up, and a history holds from its moment on."""
    from fractions import Fraction

    assert [half_up(Fraction(n, 2)) for n in (1, 2, 3)] == [1, 1, 2]
    history = [(BEGIN, "a"), (UNTIL, "b")]
    assert (held(history, UNTIL - timedelta(microseconds=1)), held(history, UNTIL)) == ("a", "b")
