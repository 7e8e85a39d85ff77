"""Forecasts of usage and cost, as distributions, and how good they were in the past.

>>> from datetime import datetime, timedelta, timezone
>>> from tenancy.forecast import forecast
>>> from tenancy.pricing import PerUnit
>>> start = datetime(2026, 1, 1, tzinfo=timezone.utc)
>>> days = [start + timedelta(days=i) for i in range(90)]
>>> usage = {
...     "tenant": [t for t in "abcdefghij" for _ in days],
...     "metric": ["calls"] * 900,
...     "time": days * 10,
...     "quantity": [100 + day.weekday() for day in days] * 10,
... }
>>> coming = forecast(usage, horizon=30)
>>> coming.cost(PerUnit("0.01")).probability_over(1000) == 0.0
True

What is known is exact, what remains is a distribution, calibrated on the past of all tenants. Cost
is the price of that distribution, not of its mean. An interval that the history cannot carry is
refused, with the reason. Needs NumPy (``pip install tenancy[analysis]``).
"""

from __future__ import annotations

from ..errors import ExtraMissing

try:
    import numpy as _numpy  # noqa: F401 - everything here is vectorised by it
except ImportError:
    raise ExtraMissing("analysis", "numpy") from None

from ._backtest import Backtest, backtest
from ._calendar import Zone
from ._calibration import Choice
from ._cost import CostForecast, Prices
from ._forecast import Forecast, forecast, from_quantiles, from_samples
from ._history import Step
from ._methods import METHODS, Method, Settings
from ._nested import NestedBacktest, nested_backtest
from ._peers import statsforecast_method

__all__ = [
    "METHODS",
    "Backtest",
    "Choice",
    "CostForecast",
    "Forecast",
    "Method",
    "NestedBacktest",
    "Prices",
    "Settings",
    "Step",
    "Zone",
    "backtest",
    "forecast",
    "from_quantiles",
    "from_samples",
    "nested_backtest",
    "statsforecast_method",
]
