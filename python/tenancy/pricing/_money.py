"""Currencies, rounding, allocation, proration; `tenancy.pricing` exports them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Literal

from .. import _core
from .._text import shown
from ..errors import InvalidValue
from ._prices import Number, presets

Rounding = Literal["half_up", "half_even", "half_down", "up", "down", "ceiling", "floor"]
Moment = datetime | date


def minor_digits(currency: str) -> int:
    """Digits after the point of a currency's smallest unit: 2 for USD, 0 for JPY, 3 for KWD.

    The table is ISO 4217 as of `CURRENCIES_AS_OF`, with codes withdrawn since 2021 for old bills.
    Raises `InvalidValue` for other codes and for those without a minor unit.
    """
    return _core.minor_digits(currency)


def currency_codes() -> tuple[str, ...]:
    """Every code that `minor_digits` knows, sorted."""
    return tuple(_core.currency_codes())


def round_money(
    amount: Number, currency: str | None = None, rounding: Rounding = "half_up", *, digits: int = -1
) -> Decimal:
    """The amount in the smallest units of `currency`, or to `digits` after the point.

    >>> round_money("0.125", "USD"), round_money("-0.125", "USD", "half_even")
    (Decimal('0.13'), Decimal('-0.12'))
    """
    return _core.round_money(amount, _digits(currency, digits), rounding)


def allocate(
    amount: Number, weights: Sequence[Number], currency: str | None = None, *, digits: int = -1
) -> list[Decimal]:
    """Split `amount` in proportion to `weights`; the parts sum to it exactly.

    By the largest remainder: shares are rounded towards zero, and the smallest units left over go
    to the largest remainders, earlier parts first.

    >>> allocate(100, [1, 1, 1], "USD")
    [Decimal('33.34'), Decimal('33.33'), Decimal('33.33')]
    """
    return _core.allocate(amount, weights, _digits(currency, digits))


def prorate(
    amount: Number,
    part: tuple[Moment, Moment],
    period: tuple[Moment, Moment],
    rules: str = "second",
) -> Decimal:
    """The share of `amount` for `part` of a `period`; both are (start, end).

    `rules` is ``second`` (time that passed, to the microsecond), ``day`` (days, the day of the end
    does not count), ``day_inclusive`` (days, both ends count), ``none`` (the whole amount), or a
    preset, which also says to how many digits the fraction is rounded first. Days are those of the
    dates as given: give datetimes in the time zone of the customer.

    >>> prorate(100, (date(2026, 1, 1), date(2026, 1, 15)), (date(2026, 1, 1), date(2026, 2, 1)),
    ...         "day")
    Decimal('45.161290322581')
    """
    way, digits = rules, -1
    known = presets()
    if isinstance(rules, str) and rules in known:
        way, digits = str(known[rules]["proration"]), int(known[rules]["proration_digits"])
    if way == "none":
        return _core.exact(amount, "amount")
    if way not in ("second", "day", "day_inclusive"):
        names = ", ".join(["second", "day", "day_inclusive", "none", *known])
        raise InvalidValue("rules", f"expected one of {names}, got {shown(rules)}")
    if way == "second":
        part, period = _in_utc(part), _in_utc(period)
    whole = _length(period, way, "period")
    used = _length(part, way, "part")
    try:
        inside = period[0] <= part[0] and part[1] <= period[1]
    except TypeError:
        raise InvalidValue(
            "part", "part and period must both be dates, or both datetimes with or without a zone"
        ) from None
    if not inside:
        raise InvalidValue("part", f"{part[0]} to {part[1]} is not within the period")
    return _core.prorate(amount, used, whole, digits)


def _digits(currency: str | None, digits: int) -> int:
    if currency is not None:
        return _core.minor_digits(currency)
    if digits < 0:
        raise InvalidValue("currency", "is missing", remedy="give a currency, or digits=")
    return digits


def _in_utc(interval: tuple[Moment, Moment]) -> tuple[Moment, Moment]:
    """Two datetimes of one zone are subtracted by their clocks, as if summer time never began."""
    start, end = (
        one.astimezone(timezone.utc)
        if isinstance(one, datetime) and one.utcoffset() is not None
        else one
        for one in interval
    )
    return start, end


def _length(interval: tuple[Moment, Moment], way: str, field: str) -> int:
    """Microseconds or days."""
    start, end = interval
    if way == "second":
        if not isinstance(start, datetime) or not isinstance(end, datetime):
            raise InvalidValue(field, "expected two datetimes", remedy='count days with "day"')
        try:
            passed = end - start
        except TypeError:
            raise InvalidValue(field, "one end has a time zone, the other has none") from None
        length = passed // timedelta(microseconds=1)
    else:
        days = _day(end) - _day(start)
        length = days.days + (1 if way == "day_inclusive" else 0)
    if length < 0:
        raise InvalidValue(field, f"ends before it starts: {start} to {end}")
    return length


def _day(moment: Moment) -> date:
    return moment.date() if isinstance(moment, datetime) else moment
