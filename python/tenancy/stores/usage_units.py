"""Quantities as whole numbers of 10^-12, which is what one is exact to; and as SQLite keeps them.

SQLite adds integers of 64 bits exactly and tells when they overflow. A quantity has up to 26 digits
before the point and 12 behind, so it is kept as three numbers that are summed apart.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from .._text import shown
from ..errors import InvalidValue

__all__ = [
    "SCALE",
    "decimal_of",
    "joined",
    "parts_of",
    "quantity_text",
    "ratio",
    "units_of_text",
]

SCALE = 10**12
_LIMB = 10**13
_TEXT = re.compile(r"(?:0|[1-9][0-9]{0,25})(?:\.[0-9]{1,12})?")
_REMEDY = "digits, at most 26 before the point and 12 behind it, such as 3 or Decimal('0.25')"


def quantity_text(value: Any, field: str = "quantity") -> str:
    """The digits of a quantity that was given as int, `Decimal` or str. Raises `InvalidValue`."""
    if value.__class__ is int and 0 <= value < 10**26:
        return str(value)
    if isinstance(value, bool) or not isinstance(value, (int, str, Decimal)):
        if isinstance(value, float):
            raise InvalidValue(
                field,
                f"{shown(value)} is a float, which is not exact",
                remedy="an int, or a Decimal made from text: Decimal('0.1')",
            )
        raise InvalidValue(field, f"expected a number, got {shown(value)}", remedy=_REMEDY)
    text = value if isinstance(value, str) else _plain(value, field)
    if _TEXT.fullmatch(text):
        return text
    if text.startswith("-") and _TEXT.fullmatch(text[1:]):
        raise InvalidValue(
            field,
            f"{shown(text)} is negative",
            remedy="take an event back with `cancel`, or replace it with `correct`",
        )
    raise InvalidValue(field, f"{shown(value)} is no quantity", remedy=_REMEDY)


def _plain(value: int | Decimal, field: str) -> str:
    if isinstance(value, int):
        return str(int(value)) if abs(value) < 10**26 else "-"
    if not value.is_finite() or not -40 < value.adjusted() < 30:
        if value == 0:
            return "0"
        raise InvalidValue(field, f"{shown(value)} is no quantity", remedy=_REMEDY)
    text = f"{value:f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def units_of_text(text: str) -> int:
    """Of digits that `quantity_text` gave."""
    whole, _, rest = text.partition(".")
    return int(whole) * SCALE + (int(rest.ljust(12, "0")) if rest else 0)


def decimal_of(units: int) -> Decimal:
    """Exact, without needless zeros; the context's precision plays no part."""
    whole, rest = divmod(abs(units), SCALE)
    text = f"{whole}.{rest:012d}".rstrip("0").rstrip(".") if rest else str(whole)
    return Decimal(f"-{text}" if units < 0 else text)


def parts_of(units: int) -> tuple[int, int, int]:
    """Thirteen digits, thirteen digits, and the twelve behind the point."""
    whole, low = divmod(units, SCALE)
    high, middle = divmod(whole, _LIMB)
    return high, middle, low


def joined(high: int, middle: int, low: int) -> int:
    """Of parts, or of sums of parts."""
    return (high * _LIMB + middle) * SCALE + low


def ratio(numerator: int, denominator: int) -> int:
    """The quotient of two numbers from 0, rounded half up: half away from zero."""
    return (2 * numerator + denominator) // (2 * denominator)
