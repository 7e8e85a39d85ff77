"""Amounts as Stripe counts them: whole numbers of a currency's smallest unit, with exceptions.

From https://docs.stripe.com/currencies: ISK and UGX are given with two digits that must be zero,
MGA without any, and the last of three digits must be zero.
"""

from __future__ import annotations

from decimal import Decimal

from ..errors import InvalidValue
from ..pricing import minor_digits
from ._exact import exactly

__all__ = ["major_units", "minor_units"]

_DIGITS = {"ISK": 2, "UGX": 2, "MGA": 0}
_WHOLE = frozenset({"ISK", "UGX"})
_MOST = 99_999_999
"""Stripe takes at most eight digits for an amount."""


def _digits(currency: str) -> int:
    return _DIGITS.get(currency, minor_digits(currency))


@exactly
def minor_units(amount: Decimal, currency: str, field: str) -> int:
    """The amount for Stripe. Raises `InvalidValue` for one that it cannot take."""
    digits = _digits(currency)
    if digits > 3:
        raise InvalidValue(field, f"Stripe takes no {currency}")
    scaled = amount.scaleb(digits)
    whole = int(scaled)
    if whole != scaled:
        raise InvalidValue(field, f"{amount} {currency} has more than {digits} digits for Stripe")
    step = 10 if digits == 3 else 100 if currency in _WHOLE else 1
    if whole % step:
        raise InvalidValue(
            field,
            f"Stripe takes {currency} in steps of {Decimal(step).scaleb(-digits)}, not {amount}",
            remedy="collect it another way, or round the invoice to that",
        )
    if abs(whole) > _MOST:
        raise InvalidValue(field, f"{amount} {currency} has more than eight digits for Stripe")
    return whole


@exactly
def major_units(whole: int, currency: str) -> Decimal:
    """What Stripe's number means, with the currency's own digits."""
    exact = Decimal(whole).scaleb(-_digits(currency))
    own = Decimal(1).scaleb(-minor_digits(currency))
    return exact.quantize(own) if exact == exact.quantize(own) else exact
