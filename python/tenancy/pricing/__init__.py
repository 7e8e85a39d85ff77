"""Money, quantities and prices: exact, and without tenants, a store or a server.

>>> from tenancy.pricing import Graduated, PriceBook, Tier
>>> price = Graduated([Tier(10_000, "0.001"), Tier(100_000, "0.0008"), Tier(None, "0.0005")])
>>> price.amount(25_000)
Decimal('22')
>>> PriceBook.load("tiered").amount({"hash_operations": 2_000_000})
Decimal('832')

Numbers go in as `int`, `str` or `Decimal` and come out as `Decimal` of exactly the right digits; a
`float` is refused. Amounts hold 12 digits after the point and 26 before it; one that passes that is
an error. Nothing is rounded to a currency unless the rules of a price name where.
"""

from __future__ import annotations

from .._core import CURRENCIES_AS_OF, Amounts
from ._book import BookAmount, PriceBook, schema, shipped
from ._money import allocate, currency_codes, minor_digits, prorate, round_money
from ._prices import (
    Explanation,
    Graduated,
    GraduatedPercentage,
    Line,
    Number,
    Package,
    Percentage,
    PerUnit,
    Price,
    Rules,
    Stairstep,
    Tier,
    Volume,
    presets,
)
from ._usage import Usage, UsageRow, aggregate, rate

__all__ = [
    "CURRENCIES_AS_OF",
    "Amounts",
    "BookAmount",
    "Explanation",
    "Graduated",
    "GraduatedPercentage",
    "Line",
    "Number",
    "Package",
    "PerUnit",
    "Percentage",
    "Price",
    "PriceBook",
    "Rules",
    "Stairstep",
    "Tier",
    "Usage",
    "UsageRow",
    "Volume",
    "aggregate",
    "allocate",
    "currency_codes",
    "minor_digits",
    "presets",
    "prorate",
    "rate",
    "round_money",
    "schema",
    "shipped",
]
