"""Bills of one metric for the tests: months, price books, and what stands on a bill."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

from tenancy.billing import Bill, Cumulative, Period, Span, Terms, compute, cuts
from tenancy.pricing import PriceBook


def day(number: int, month: int = 1) -> datetime:
    return datetime(2026, month, number, tzinfo=timezone.utc)


JANUARY = Period(day(1), day(1, 2))
FEBRUARY = Period(day(1, 2), day(1, 3))


def book(**members: Any) -> PriceBook:
    document = {"price_book": "shop", "currency": "EUR", "metrics": {"calls": 1}}
    return PriceBook.from_dict({**document, **members})


def bill(
    prices: PriceBook | Sequence[Span],
    *quantities: Any,
    period: Period = JANUARY,
    currency: str = "EUR",
    **terms: Any,
) -> Bill:
    """The bill of one period; `quantities` are those of the metric `calls` at each cut."""
    spans = [Span(period.start, period.end, prices)] if isinstance(prices, PriceBook) else prices
    made = Terms("acme", period, currency, spans, **terms)
    usage: list[dict[str, list[Cumulative]]] = []
    values = iter(quantities)
    for span in made.spans:
        moments = [moment for moment in cuts(made) if span.start < moment <= span.end]
        usage.append({"calls": [Cumulative(m, Decimal(next(values, 0))) for m in moments]})
    return compute(made, usage)


def amounts(found: Bill) -> list[tuple[str, Decimal]]:
    return [(line.kind, line.amount) for line in found.lines]
