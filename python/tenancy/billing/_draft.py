"""A line of a bill while it is made: money is whole smallest units of the currency."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from ._documents import BillLine, EventsRef, LineKind, Period, TierLine
from ._numbers import amount_of
from ._tax import NO_RULES, Due


class Draft:
    """A line whose parts are filled in one after the other."""

    __slots__ = (
        "accrued",
        "amount",
        "book",
        "credit",
        "description",
        "discount",
        "due",
        "events",
        "hidden",
        "kind",
        "metric",
        "period",
        "pico",
        "plan",
        "quantity",
        "span",
        "tax",
        "tiers",
        "unit",
        "unit_price",
        "version",
    )

    def __init__(
        self,
        kind: LineKind,
        description: str,
        period: Period,
        *,
        pico: int = 0,
        span: int = -1,
        plan: str | None = None,
        metric: str | None = None,
    ) -> None:
        self.kind: LineKind = kind
        self.description = description
        self.period = period
        self.pico = pico  # the exact amount, in units of 1e-12
        self.span = span  # -1: of none
        self.plan = plan
        self.metric = metric
        self.book: str | None = None
        self.version: str | None = None
        self.quantity = _ONE
        self.unit = ""
        self.unit_price: Decimal | None = None
        self.tiers: tuple[TierLine, ...] = ()
        self.events: EventsRef | None = None
        # When it fell due: moments and the exact amount that was due before the next of them.
        self.accrued: Sequence[tuple[datetime, int]] = ((period.start, 1),)
        self.hidden = False  # charged already, and shown on that bill
        self.amount = self.discount = self.credit = self.tax = 0
        self.due: Due = NO_RULES

    @property
    def left(self) -> int:
        """What is to be paid of it, without what tax adds."""
        return self.amount - self.discount - self.credit

    def line(self, digits: int) -> BillLine:
        return BillLine(
            self.kind,
            self.description,
            self.period,
            amount_of(self.amount, digits),
            self.quantity,
            self.unit_price,
            self.unit,
            self.metric,
            self.plan,
            self.book,
            self.version,
            self.tiers,
            amount_of(self.discount, digits),
            amount_of(self.credit, digits),
            self.due.category,
            self.due.rate,
            amount_of(self.tax, digits),
            self.events,
        )


_ONE = Decimal(1)
