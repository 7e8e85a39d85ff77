"""What lowers a bill: discounts and credits; `tenancy.billing` exports them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol, get_args

from .._text import check_text
from ..errors import InvalidValue
from ..pricing import Number, minor_digits, round_money
from ._documents import LineKind
from ._numbers import assign, aware, exact, one_of, several

__all__ = ["Credit", "Discount"]


class Charge(Protocol):
    """What offers and taxes look at: a line of a bill, also while it is made."""

    @property
    def kind(self) -> str: ...
    @property
    def metric(self) -> str | None: ...
    @property
    def plan(self) -> str | None: ...


class Offer(ABC):
    """What discounts and credits have in common: which lines they are for, and when."""

    __slots__ = ()
    starts: datetime | None
    metrics: tuple[str, ...]
    plans: tuple[str, ...]
    kinds: tuple[str, ...]

    @property
    @abstractmethod
    def _end(self) -> datetime | None:
        """The first moment at which it does not hold any more."""

    def covers(self, line: Charge) -> bool:
        """Whether it is for this line, whatever the time."""
        return (
            (not self.metrics or line.metric in self.metrics)
            and (not self.plans or line.plan in self.plans)
            and (not self.kinds or line.kind in self.kinds)
        )

    def valid_at(self, moment: datetime) -> bool:
        """Whether it holds for what is used at that moment."""
        start, end = self.starts, self._end
        return (start is None or start <= moment) and (end is None or moment < end)

    def valid_until(self, end: datetime) -> bool:
        """Whether it holds just before that moment."""
        start, last = self.starts, self._end
        return (start is None or start < end) and (last is None or end <= last)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discount(Offer):
    """A percentage or an amount taken off the lines it is for. A coupon is a discount with a code.

    Exactly one of `percent` (more than 0, at most 100) and `amount` (of the bill's currency, more
    than 0) is given. Without `metrics`, `plans` and `kinds` it is for every line, otherwise for
    those that fit all of the three that are given. Raises `InvalidValue`.
    """

    id: str
    name: str = ""
    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None
    """Of `amount` and `cap`; None: the bill's."""
    cap: Decimal | None = None
    """The most that it takes off one bill."""
    code: str | None = None
    starts: datetime | None = None
    ends: datetime | None = None
    """The first moment at which it is not valid any more."""
    periods_left: int | None = None
    """For how many more bills it is good, this one included; None: no limit. At 0 it is spent."""
    metrics: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __init__(
        self,
        id: str,  # noqa: A002 - the name of the member
        name: str = "",
        *,
        percent: Number | None = None,
        amount: Number | None = None,
        currency: str | None = None,
        cap: Number | None = None,
        code: str | None = None,
        starts: datetime | None = None,
        ends: datetime | None = None,
        periods_left: int | None = None,
        metrics: Sequence[str] = (),
        plans: Sequence[str] = (),
        kinds: Sequence[str] = (),
    ) -> None:
        check_text(id, "discount.id", 255)
        if (percent is None) == (amount is None):
            raise InvalidValue(
                "discount",
                "expected either percent or amount",
                remedy='percent=20, or amount=5 with currency="EUR"',
            )
        if periods_left is not None and (type(periods_left) is not int or periods_left < 0):
            raise InvalidValue("discount.periods_left", f"expected 0 or more, got {periods_left}")
        share = _more_than_none(percent, "discount.percent")
        if share is not None and share > 100:
            raise InvalidValue("discount.percent", f"expected at most 100, got {share:f}")
        starts, ends = _interval(starts, ends, "discount.ends")
        assign(
            self,
            id=id,
            name=name or id,
            percent=share,
            amount=_more_than_none(amount, "discount.amount"),
            currency=_known(currency),
            cap=None if cap is None else exact(cap, "discount.cap", least=0),
            code=code,
            starts=starts,
            ends=ends,
            periods_left=periods_left,
            metrics=several(metrics, str, "discount.metrics"),
            plans=several(plans, str, "discount.plans"),
            kinds=_kinds(kinds, "discount.kinds"),
        )

    @property
    def _end(self) -> datetime | None:
        return self.ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit(Offer):
    """Money that pays for usage: prepaid, granted, or a balance. It is never taken below 0.

    Of several credits the one with the smallest `priority` is taken first, then the one that
    expires first, then the one granted first. Raises `InvalidValue`.
    """

    id: str
    name: str = ""
    amount: Decimal
    """What is left of it."""
    currency: str
    priority: int = 0
    starts: datetime | None = None
    """Usage before this moment is not paid from it."""
    expires: datetime | None = None
    """Nor is usage from this moment on."""
    metrics: tuple[str, ...] = ()
    plans: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def __init__(
        self,
        id: str,  # noqa: A002 - the name of the member
        amount: Number,
        currency: str,
        name: str = "",
        *,
        priority: int = 0,
        starts: datetime | None = None,
        expires: datetime | None = None,
        metrics: Sequence[str] = (),
        plans: Sequence[str] = (),
        kinds: Sequence[str] = (),
    ) -> None:
        check_text(id, "credit.id", 255)
        if isinstance(priority, bool) or not isinstance(priority, int):
            raise InvalidValue("credit.priority", f"expected a whole number, got {priority!r}")
        starts, expires = _interval(starts, expires, "credit.expires")
        digits = minor_digits(currency)
        number = exact(amount, "credit.amount", least=0)
        if number != round_money(number, digits=digits):
            raise InvalidValue(
                "credit.amount", f"{number:f} {currency} has more than {digits} digits"
            )
        assign(
            self,
            id=id,
            name=name or id,
            amount=number,
            currency=currency,
            priority=priority,
            starts=starts,
            expires=expires,
            metrics=several(metrics, str, "credit.metrics"),
            plans=several(plans, str, "credit.plans"),
            kinds=_kinds(kinds, "credit.kinds"),
        )

    @property
    def _end(self) -> datetime | None:
        return self.expires


def _more_than_none(value: Number | None, field: str) -> Decimal | None:
    if value is None:
        return None
    number = exact(value, field)
    if number <= 0:
        raise InvalidValue(field, f"expected more than 0, got {number:f}")
    return number


def _kinds(kinds: Sequence[str], field: str) -> tuple[str, ...]:
    return tuple(one_of(kind, get_args(LineKind), field) for kind in several(kinds, str, field))


def _known(currency: str | None) -> str | None:
    if currency is not None:
        minor_digits(currency)
    return currency


def _interval(
    start: datetime | None, end: datetime | None, field: str
) -> tuple[datetime | None, datetime | None]:
    start = None if start is None else aware(start, field.split(".")[0] + ".starts")
    end = None if end is None else aware(end, field)
    if start is not None and end is not None and end <= start:
        raise InvalidValue(field, f"{end} is not after the start, {start}")
    return start, end
