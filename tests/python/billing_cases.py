"""Generated terms and usage of bills, each with what the model needs to know of them."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st

from billing_model import BillModel, SpanModel
from pricing_model import Model, kept
from tenancy.billing import (
    Adjustment,
    Advance,
    BillingRules,
    Charged,
    Credit,
    Cumulative,
    Discount,
    Period,
    SeatCount,
    Span,
    TaxRate,
    TaxRules,
    TaxStatus,
    Terms,
    cuts,
)
from tenancy.pricing import PriceBook

START = datetime(2026, 1, 1, tzinfo=timezone.utc)
END = datetime(2026, 2, 1, tzinfo=timezone.utc)
BEFORE = datetime(2025, 12, 1, tzinfo=timezone.utc)
NEXT_END = datetime(2026, 3, 1, tzinfo=timezone.utc)
HOURS = 31 * 24
DIGITS = {"USD": 2, "JPY": 0, "KWD": 3}
METRICS = ("calls", "storage")

MONEY = st.one_of(
    st.integers(0, 200).map(Decimal),
    st.decimals("0", "200", places=2),
    st.decimals("0", "9", places=4),
)
PRICE = st.one_of(st.sampled_from(["0.001", "0.01", "0.333", "1", "0", "0.0005"]).map(Decimal))
QUANTITY = st.one_of(
    st.integers(0, 50).map(Decimal),
    st.integers(0, 200_000).map(Decimal),
    st.decimals("0", "1000", places=3),
)
MOMENT = st.integers(-48, HOURS + 48).map(lambda hour: START + timedelta(hours=hour))
INSIDE = st.integers(1, HOURS - 1).map(lambda hour: START + timedelta(hours=hour))

RULES = st.builds(
    BillingRules,
    order=st.sampled_from(
        [
            "minimum discount credit tax",
            "discount minimum credit tax",
            "minimum discount tax credit",
            "discount minimum tax credit",
        ]
    ),
    round_at=st.sampled_from(["line", "invoice"]),
    rounding=st.sampled_from(["half_up", "half_even", "half_down", "up", "down", "floor"]),
    proration=st.sampled_from(["book", "second", "day", "day_inclusive", "none"]),
    proration_digits=st.sampled_from([-1, -1, 4, 9]),
    prorate_commitments=st.booleans(),
    prorate_included=st.booleans(),
    stacking=st.sampled_from(["sequential", "parallel"]),
    discount_order=st.sampled_from(["given", "percent_first", "fixed_first"]),
    discount_when=st.sampled_from(["service", "bill"]),
    credit_when=st.sampled_from(["usage", "usage", "bill"]),
    tax_at=st.sampled_from(["rate", "rate", "line"]),
    negative=st.sampled_from(["credit", "zero"]),
    zero_lines=st.sampled_from(["used", "all", "none"]),
)


@dataclass
class Case:
    terms: Terms
    usage: list[dict[str, tuple[Cumulative, ...]]]
    spans: list[SpanModel]

    def model(self) -> BillModel:
        quantities = [
            {m: [(c.until, Fraction(c.quantity)) for c in found] for m, found in one.items()}
            for one in self.usage
        ]
        return BillModel(self.terms, self.spans, quantities, DIGITS[self.terms.currency])


def optional(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), strategy)


@st.composite
def metric(draw: Any, rules: BillingRules, commitment: str) -> tuple[dict[str, Any], Any]:
    """A price as a book writes it, and what the model makes of it for a part of the period."""
    model = draw(st.sampled_from(["graduated", "volume"]))
    bounds = sorted(draw(st.sets(st.integers(1, 2000).map(Decimal), max_size=2)))
    flats = st.sampled_from([Decimal(0), Decimal(0), Decimal("1.5")])
    tiers = [(bound, draw(PRICE), draw(flats)) for bound in [*bounds, None]]
    options = {
        "included": draw(st.sampled_from([Decimal(0), Decimal(0), Decimal(100)])),
        "base_fee": draw(st.sampled_from([Decimal(0), Decimal(0), Decimal("4.99")])),
        "minimum": draw(st.sampled_from([None, None, Decimal("12.5")])),
        "maximum": draw(st.sampled_from([None, None, Decimal(90)])),
    }
    document: dict[str, Any] = {
        "model": model,
        "tiers": [
            {"unit": unit, "flat": flat, **({} if bound is None else {"up_to": bound})}
            for bound, unit, flat in tiers
        ],
        **{name: value for name, value in options.items() if value is not None},
    }

    def price_of(part: Fraction) -> Any:
        cut = {"base_fee"}
        cut |= {"minimum", "maximum"} if rules.prorate_commitments else set()
        cut |= {"included"} if rules.prorate_included else set()
        exact = {
            name: None if value is None else kept(Fraction(value) * (part if name in cut else 1))
            for name, value in options.items()
        }
        found: Any = Model(
            model,
            [
                (None if b is None else Fraction(b), Fraction(u), Fraction(f), Fraction(1))
                for b, u, f in tiers
            ],
            {**PriceBook.load("tiered").rules, "commitment": commitment},
            **exact,
        )
        return found.amount

    return document, price_of


@st.composite
def span_parts(
    draw: Any, start: datetime, end: datetime, currency: str, rules: BillingRules
) -> tuple[Span, SpanModel]:
    count = draw(st.integers(1, 2))
    fees_count = draw(st.booleans())
    commitment = "all" if fees_count else "usage"
    metrics = {name: draw(metric(rules, commitment)) for name in METRICS[:count]}
    base_fee = draw(st.sampled_from([Decimal(0), Decimal(30), Decimal("9.99")]))
    minimum, maximum = (
        draw(optional(MONEY)),
        draw(optional(st.sampled_from([Decimal(20), Decimal(150)]))),
    )
    if minimum is not None and maximum is not None and minimum > maximum:
        minimum = maximum
    seat = draw(optional(PRICE))
    book: dict[str, Any] = {
        "price_book": "shop",
        "currency": currency,
        "rules": {"commitment": commitment},
        "metrics": {name: document for name, (document, _) in metrics.items()},
        "base_fee": base_fee,
    }
    book |= {} if minimum is None else {"minimum": minimum}
    book |= {} if maximum is None else {"maximum": maximum}
    book |= {} if seat is None else {"seats": seat}
    seats: list[SeatCount] = []
    if seat is not None and draw(st.booleans()):
        hours = int((end - start) / timedelta(hours=1))
        later = draw(st.sets(st.integers(1, hours - 1), max_size=2)) if hours > 1 else ()
        for hour in sorted({0, *later}):
            number = draw(st.integers(0, 40))
            seats.append(SeatCount(start + timedelta(hours=hour), number))
    model = SpanModel(
        {name: price_of for name, (_, price_of) in metrics.items()},
        Fraction(base_fee),
        None if seat is None else lambda number: kept(number * Fraction(seat)),
        None if minimum is None else Fraction(minimum),
        None if maximum is None else Fraction(maximum),
        fees_count,
    )
    plan = draw(st.sampled_from(["team", "pro"]))
    return Span(start, end, PriceBook.from_dict(book), plan, seats), model


@st.composite
def discounts(draw: Any) -> list[Discount]:
    found = []
    for i in range(draw(st.integers(0, 3))):
        percent = draw(st.booleans())
        amount = draw(st.decimals("0.5", "100", places=1))
        limits = draw(st.tuples(optional(MOMENT), optional(MOMENT)))
        if None not in limits and limits[0] >= limits[1]:
            limits = (None, limits[1])
        found.append(
            Discount(
                f"d{i}",
                percent=amount if percent else None,
                amount=None if percent else amount,
                cap=draw(optional(st.decimals("0", "40", places=3))),
                starts=limits[0],
                ends=limits[1],
                periods_left=draw(st.sampled_from([None, None, 0, 3])),
                metrics=draw(st.sampled_from([(), (), ("calls",)])),
                plans=draw(st.sampled_from([(), (), ("team",)])),
                kinds=draw(st.sampled_from([(), (), ("usage", "minimum"), ("base_fee",)])),
            )
        )
    return found


@st.composite
def credit_list(draw: Any, currency: str) -> list[Credit]:
    found = []
    for i in range(draw(st.integers(0, 3))):
        limits = draw(st.tuples(optional(MOMENT), optional(MOMENT)))
        if None not in limits and limits[0] >= limits[1]:
            limits = (None, limits[1])
        amount = draw(st.integers(0, 60_000)) * Decimal(1).scaleb(-DIGITS[currency])
        found.append(
            Credit(
                f"c{i}",
                amount,
                currency,
                priority=draw(st.integers(0, 2)),
                starts=limits[0],
                expires=limits[1],
                metrics=draw(st.sampled_from([(), (), ("storage",)])),
                kinds=draw(st.sampled_from([(), (), ("usage",)])),
            )
        )
    return found


@st.composite
def settlements(draw: Any, spans: list[Span]) -> dict[str, Any]:
    """What is charged in advance, was charged then, and is left of earlier bills."""
    found: dict[str, Any] = {}
    first = spans[0]
    if draw(st.integers(0, 3)) == 0:
        seats = None if first.book.seats is None else draw(optional(st.integers(0, 9)))
        found["advance"] = Advance(END, NEXT_END, first.book, first.plan, seats)
    if draw(st.booleans()):
        whole = len(spans) == 1 and spans[0].start == START
        amount = first.book.base_fee if whole and draw(st.integers(0, 3)) else draw(MONEY)
        off = draw(st.sampled_from([Decimal(0), amount, round(amount / 3, 2)]))
        found["charged"] = [Charged("base_fee", amount, off, first.plan)]
    found["adjustments"] = [
        Adjustment(
            "late",
            draw(MONEY) * draw(st.sampled_from([1, 1, -1])),
            Period(BEFORE, START),
            metric=draw(st.sampled_from([None, "storage"])),
        )
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2])))
    ]
    return found


@st.composite
def cases(draw: Any) -> Case:
    currency = draw(st.sampled_from(sorted(DIGITS)))
    rules = draw(RULES)
    inner = sorted(draw(st.one_of(st.just(set()), st.sets(INSIDE, max_size=2))))
    edges = [START, *inner, END]
    if draw(st.integers(0, 4)) == 0:
        edges = edges[1:] if len(edges) > 2 else edges  # began within the period
    both = [
        draw(span_parts(start, end, currency, rules)) for start, end in itertools.pairwise(edges)
    ]
    tax = draw(st.sampled_from(["none", "exclusive", "inclusive", "exempt"]))
    status = TaxStatus("DE", exempt="a school" if tax == "exempt" else "")
    rates = [TaxRate("DE", "19", "VAT"), TaxRate("DE", 7, "VAT", product="low")]
    products = draw(st.sampled_from([{}, {"storage": "low"}, {"base_fee": "low"}]))
    taxing = TaxRules("DE", rates, inclusive=tax == "inclusive", products=products)
    terms = Terms(
        "acme",
        (START, END),
        currency,
        [span for span, _ in both],
        discounts=draw(discounts()),
        credits=draw(credit_list(currency)),
        tax=None if tax == "none" else taxing,
        buyer=status,
        rules=rules,
        **draw(settlements([span for span, _ in both])),
    )
    usage = []
    for span, model in both:
        moments = [moment for moment in cuts(terms) if span.start < moment <= span.end]
        by_metric = {}
        for name in model.metrics:
            if draw(st.integers(0, 5)):
                values = [draw(QUANTITY) for _ in moments]
                if draw(st.integers(0, 3)):
                    values.sort()  # sums grow; the largest or the last need not
                by_metric[name] = tuple(map(Cumulative, moments, values))
        usage.append(by_metric)
    return Case(terms, usage, [model for _, model in both])
