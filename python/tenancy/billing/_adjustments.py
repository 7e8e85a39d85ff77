"""What an earlier bill lacked or had too much; `tenancy.billing` exports it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .._text import check_text, shown
from ..errors import InvalidValue
from ..pricing import Number
from ._documents import EventsRef, Period
from ._numbers import assign, aware, exact

__all__ = ["Adjustment"]


@dataclass(frozen=True, slots=True)
class Adjustment:
    """A line for a period that was billed before, such as for usage that came late.

    `amount` is what is still to be paid for it, or below zero what was billed too much; discounts
    are in it already. Credits that were valid at the start of `period` may pay for it, and it is
    taxed as the bill is that it stands on. Raises `InvalidValue`.
    """

    description: str
    amount: Decimal
    period: Period
    metric: str | None = None
    plan: str | None = None
    events: EventsRef | None = None

    def __init__(
        self,
        description: str,
        amount: Number,
        period: Period,
        *,
        metric: str | None = None,
        plan: str | None = None,
        events: EventsRef | None = None,
    ) -> None:
        check_text(description, "adjustment.description", 1000)
        if not isinstance(period, Period):
            raise InvalidValue("adjustment.period", f"expected a Period, got {shown(period)}")
        start = aware(period.start, "adjustment.period")
        end = aware(period.end, "adjustment.period")
        if end <= start:
            raise InvalidValue("adjustment.period", f"{end} is not after the start, {start}")
        assign(
            self,
            description=description,
            amount=exact(amount, "adjustment.amount"),
            period=Period(start, end),
            metric=metric,
            plan=plan,
            events=events,
        )
