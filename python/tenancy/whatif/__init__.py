"""What if: a customer base under other prices, recorded traffic under other limits.

>>> from datetime import datetime
>>> from tenancy.pricing import PriceBook
>>> from tenancy.whatif import reprice
>>> usage = {
...     "tenant": ["acme", "globex"], "metric": ["hash_operations"] * 2,
...     "time": [datetime(2026, 1, 5), datetime(2026, 1, 9)], "quantity": [2_000_000, 500],
... }
>>> today = PriceBook.load("tiered")
>>> flat = PriceBook.from_dict(
...     {"price_book": "flat", "currency": "USD", "metrics": {"hash_operations": "0.0005"}})
>>> result = reprice(usage, {"today": today, "flat": flat})
>>> [(row["tenant"], row["change"]) for row in result.winners_losers()]
[('globex', Decimal('-0.25')), ('acme', Decimal('168'))]

Everything is exact; everything that comes out is a `tenancy.frames.Frame`. Needs the extra
``analysis`` (NumPy).
"""

from __future__ import annotations

from ._break_even import break_even
from ._reprice import Repricing, reprice
from ._samples import SampledRevenue, reprice_samples
from ._scenarios import Books
from ._table import Customers, PeriodUnit
from ._traffic import Limits, replay_limits, replay_quotas

__all__ = [
    "Books",
    "Customers",
    "Limits",
    "PeriodUnit",
    "Repricing",
    "SampledRevenue",
    "break_even",
    "replay_limits",
    "replay_quotas",
    "reprice",
    "reprice_samples",
]
