"""Models of the library statsforecast as methods; `tenancy.forecast` exports this."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from ._methods import Floats, Method


def statsforecast_method(model: Any) -> Method:
    """A model of ``statsforecast.models`` as a method of `forecast` and `backtest`.

    Its point forecasts are taken; the intervals come from the calibration here, like those of the
    built-in methods, so the model is fitted once for each series and origin. Anything with
    ``forecast(y=, h=)`` that gives a mapping with ``mean`` will do. statsforecast itself comes with
    ``pip install tenancy[forecast]``. Raises `InvalidValue` for what is no model.

    >>> from statsforecast.models import AutoETS  # doctest: +SKIP
    >>> forecast(usage, method=statsforecast_method(AutoETS(season_length=7)))  # doctest: +SKIP
    """
    if not callable(getattr(model, "forecast", None)):
        raise InvalidValue("model", f"{type(model).__name__} has no method forecast(y, h)")

    def method(
        past: Floats,
        first: NDArray[np.int64],
        horizon: int,
        season: int,  # noqa: ARG001 - the model has its own
    ) -> Floats:
        rows = [
            model.forecast(y=row[begin:], h=horizon)["mean"]
            for row, begin in zip(past, first.tolist(), strict=True)
        ]
        found: Floats = np.maximum(0.0, np.asarray(rows, "float64"))
        return found

    method.__name__ = str(model)
    return method
