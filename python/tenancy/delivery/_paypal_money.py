"""Amounts as PayPal takes them: decimal texts, in the currencies of its list.

From https://developer.paypal.com/api/rest/reference/currency-codes/ (no decimals in HUF, JPY and
TWD) and https://developer.paypal.com/docs/api/invoicing/v2/ (at most a million for an item, with
two decimals).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from ..errors import InvalidValue, ProviderRefused
from ..pricing import minor_digits
from ._exact import exactly

__all__ = ["check_currency", "money", "sum_of", "value_of"]

_CURRENCIES = frozenset(
    (
        "AUD",
        "BRL",
        "CAD",
        "CHF",
        "CNY",
        "CZK",
        "DKK",
        "EUR",
        "GBP",
        "HKD",
        "HUF",
        "ILS",
        "JPY",
        "MXN",
        "MYR",
        "NOK",
        "NZD",
        "PHP",
        "PLN",
        "SEK",
        "SGD",
        "THB",
        "TWD",
        "USD",
    )
)
_WHOLE = frozenset({"HUF", "JPY", "TWD"})
_MOST = Decimal(1_000_000)
_VALUE = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,4})?")


def check_currency(currency: str, field: str) -> None:
    """Raises `InvalidValue` for a currency that PayPal does not take."""
    if currency not in _CURRENCIES:
        raise InvalidValue(
            field,
            f"PayPal takes no {currency}",
            remedy=f"collect it another way; PayPal takes {', '.join(sorted(_CURRENCIES))}",
        )


@exactly
def money(amount: Decimal, currency: str, field: str) -> dict[str, str]:
    """The amount for PayPal. Raises `InvalidValue` for one that it cannot take."""
    digits = 0 if currency in _WHOLE else 2
    exact = amount.quantize(Decimal(1).scaleb(-digits))
    if exact != amount:
        raise InvalidValue(
            field,
            f"PayPal takes {currency} with {digits or 'no'} decimals, not {amount}",
            remedy="collect it another way, or round the invoice to that",
        )
    if abs(exact) > _MOST:
        raise InvalidValue(
            field,
            f"{amount} {currency} is more than the {_MOST:,} that PayPal takes for one item",
            remedy="collect it another way, or in several invoices",
        )
    return {"currency_code": currency, "value": str(exact)}


@exactly
def sum_of(found: Mapping[str, Any], *names: str) -> Decimal:
    """A sum in an invoice of PayPal's, such as `payments`, `paid_amount`; 0 where there is none,
    with the digits of its currency."""
    at: object = found
    for name in names:
        at = at.get(name) if isinstance(at, Mapping) else None
    return Decimal(0) if at is None else value_of(at, ".".join(names))[0]


@exactly
def value_of(found: object, name: str) -> tuple[Decimal, str]:
    """The amount and the currency of an object of PayPal's. Raises `ProviderRefused` for none."""
    value = found.get("value") if isinstance(found, Mapping) else None
    currency = found.get("currency_code") if isinstance(found, Mapping) else None
    if (
        not isinstance(value, str)
        or not _VALUE.fullmatch(value)
        or not isinstance(currency, str)
        or currency not in _CURRENCIES
    ):
        raise ProviderRefused(f"PayPal answered an invoice without {name}", final=False)
    exact = Decimal(value)
    own = exact.quantize(Decimal(1).scaleb(-minor_digits(currency)))
    return (own if own == exact else exact), currency
