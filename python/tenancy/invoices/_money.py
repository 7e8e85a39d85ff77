"""Sums of amounts, whatever the caller's decimal context is, with the fewest digits."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Final

__all__ = ["WIDE", "ZERO", "minus", "total"]

WIDE: Final = Context(prec=80, Emax=999, Emin=-999)
ZERO: Final = Decimal(0)
_ONE: Final = Decimal(1)


def total(amounts: Iterable[Decimal]) -> Decimal:
    found = ZERO
    for amount in amounts:
        found = WIDE.add(found, amount)
    return _plain(found)


def minus(amount: Decimal, less: Decimal) -> Decimal:
    return _plain(WIDE.subtract(amount, less))


def _plain(amount: Decimal) -> Decimal:
    """``10``, not ``10.00`` and not ``1E+1``."""
    short = WIDE.normalize(amount)
    exponent = short.as_tuple().exponent
    assert isinstance(exponent, int)  # amounts are finite
    return WIDE.quantize(short, _ONE) if exponent > 0 else short
