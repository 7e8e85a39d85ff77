"""Exact numbers inside billing: money as whole smallest units, checked input, shares that sum.

Sums, shares and taxes are computed on `int`s, which are exact and have no context; `Decimal`s
stand at both ends only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from decimal import Context, Decimal
from typing import Final, TypeVar

from .. import _core
from .._text import shown
from ..errors import InvalidValue
from ..pricing import Number

PICO: Final = 10**12
"""Amounts of prices have twelve digits after the point."""

_T = TypeVar("_T")
_WIDE = Context(prec=80, Emax=999, Emin=-999)
_ZERO = Decimal(0)


def exact(value: Number, field: str, *, least: int | None = None) -> Decimal:
    """The number as a `Decimal`; `InvalidValue` for floats and for less than `least`."""
    number = _core.exact(value, field)
    if least is not None and number < least:
        raise InvalidValue(field, f"expected at least {least}, got {number:f}")
    return number


def aware(moment: datetime, field: str) -> datetime:
    """The moment in UTC: arithmetic on two datetimes of one zone would ignore its summer time."""
    if not isinstance(moment, datetime):
        raise InvalidValue(field, f"expected a datetime, got {type(moment).__name__}")
    if moment.tzinfo is timezone.utc:
        return moment
    if moment.utcoffset() is None:
        raise InvalidValue(
            field, "a datetime without a time zone", remedy="datetime(…, tzinfo=timezone.utc)"
        )
    return moment.astimezone(timezone.utc)


def several(values: object, kind: type[_T], field: str) -> tuple[_T, ...]:
    """The values as a tuple; `InvalidValue` for one that stands alone or is of another type."""
    if isinstance(values, (str, kind)) or not isinstance(values, Iterable):
        raise InvalidValue(
            field,
            f"expected a list of {kind.__name__}, got {shown(values)}",
            remedy="put a single one into a list",
        )
    found = tuple(values)
    for i, one in enumerate(found):
        if not isinstance(one, kind):
            raise InvalidValue(f"{field}[{i}]", f"expected {kind.__name__}, got {shown(one)}")
    return found


def assign(target: object, **members: object) -> None:
    """Fills a frozen value from its own `__init__`."""
    for name, value in members.items():
        object.__setattr__(target, name, value)


def units_of(amount: Decimal, digits: int) -> int:
    """An amount that is whole in units of `digits` after the point, as that many units."""
    return int(_WIDE.scaleb(amount, digits))


def pico_of(amount: Decimal) -> int:
    """An amount in units of 1e-12."""
    return int(_WIDE.scaleb(amount, 12))


def amount_of(units: int, digits: int) -> Decimal:
    """The amount with the fewest digits that hold it."""
    if not units:
        return _ZERO
    while digits and not units % 10:
        units //= 10
        digits -= 1
    return _WIDE.scaleb(Decimal(units), -digits)


def rounded(numerator: int, denominator: int, mode: str = "half_up") -> int:
    """The quotient as a whole number; `half_up` is half away from zero."""
    whole, rest = divmod(abs(numerator), denominator)
    positive = numerator >= 0
    twice = 2 * rest
    if mode == "half_up":
        up = twice >= denominator
    elif mode == "half_even":
        up = twice > denominator or (twice == denominator and whole % 2 == 1)
    elif mode == "half_down":
        up = twice > denominator
    elif mode == "down":
        up = False
    else:
        up = rest > 0 and (mode == "up" or (mode == "ceiling") == positive)
    whole += up
    return whole if positive else -whole


def shares(total: int, exact_parts: Sequence[int], scale: int) -> list[int]:
    """Whole parts that sum to `total`, as near to `exact_parts` / `scale` as they can be.

    Every part is rounded down; the units left over go to the largest remainders, earlier parts
    first. Parts may be negative. `total` is the rounded sum of the parts, so that no part moves by
    a unit or more.
    """
    parts = [part // scale for part in exact_parts]
    left = total - sum(parts)
    if left:
        order = sorted(
            range(len(parts)), key=lambda i: exact_parts[i] - parts[i] * scale, reverse=True
        )
        for i in order[:left]:
            parts[i] += 1
    return parts


def split(total: int, weights: Sequence[int]) -> list[int]:
    """`total` in proportion to `weights`, which are at least 0 and not all 0."""
    every = sum(weights)
    return shares(total, [total * weight for weight in weights], every)


def one_of(value: str, known: Sequence[str], field: str) -> str:
    if value not in known:
        raise InvalidValue(field, f"expected one of {', '.join(known)}, got {shown(value)}")
    return value
