"""What methods said of horizons of the past, and the measures of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import _scores
from ._methods import Floats

SHARES = tuple((i + 0.5) / 50 for i in range(50))


def level_name(level: float) -> str:
    """0.8 is ``80``, 0.975 is ``97_5``."""
    return f"{level * 100:g}".replace(".", "_")


@dataclass
class Windows:
    """What one method said: an element for each series and origin that it could serve."""

    levels: tuple[float, ...]
    series: list[int] = field(default_factory=list)
    origin: list[int] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    median: list[float] = field(default_factory=list)
    quantiles: list[Floats] = field(default_factory=list)
    mase: list[float] = field(default_factory=list)
    smape: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    """Empty without prices, as is `cost_median`."""
    cost_median: list[float] = field(default_factory=list)
    hits: dict[float, list[float]] = field(default_factory=dict)
    """1 where the interval of a level held what came, 0 where not, NaN where it was refused."""
    widths: dict[float, list[float]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.series)

    def pick(self, chosen: NDArray[np.bool_]) -> Windows:
        """Some of them, in their order."""
        return self.ordered(np.flatnonzero(chosen))

    def ordered(self, order: NDArray[np.int64]) -> Windows:
        """Those at these places, in this order."""
        places = order.tolist()

        def some(values: list[Any]) -> list[Any]:
            return [values[place] for place in places] if values else []

        found = Windows(self.levels)
        for name in _LISTS:
            setattr(found, name, some(getattr(self, name)))
        found.hits = {level: some(values) for level, values in self.hits.items()}
        found.widths = {level: some(values) for level, values in self.widths.items()}
        return found

    def add(self, other: Windows) -> None:
        """Append those of another one."""
        for name in _LISTS:
            getattr(self, name).extend(getattr(other, name))
        for level in self.levels:
            self.hits.setdefault(level, []).extend(other.hits.get(level, []))
            self.widths.setdefault(level, []).extend(other.widths.get(level, []))

    def measures(self) -> list[str]:
        """Names of what `by_series` knows; smaller errors are better."""
        costs = ["wape_cost"] if self.cost else []
        intervals = [
            f"{what}_{level_name(level)}" for level in self.levels for what in ("coverage", "width")
        ]
        return ["mase", "smape", "wape", "pinball", "crps", *costs, *intervals]

    def by_series(self, measure: str) -> dict[int, Floats]:
        """The values of a measure, whose mean over all series is its score.

        Errors of sums (``wape``, ``wape_cost``) have one for each series, so that every series
        counts the same; the others one for each window.
        """
        series = np.array(self.series)
        if measure in ("wape", "wape_cost"):
            actual, said = (
                (self.total, self.median) if measure == "wape" else (self.cost, self.cost_median)
            )
            came, predicted = np.array(actual), np.array(said)
            return {
                int(each): np.array([_scores.wape(came[series == each], predicted[series == each])])
                for each in np.unique(series)
            }
        values = self._values(measure, series)
        return {int(each): values[series == each] for each in np.unique(series)}

    def _values(self, measure: str, series: NDArray[np.int64]) -> Floats:
        if measure in ("pinball", "crps"):
            total = np.array(self.total)
            losses: Floats = _scores.pinball(total, np.array(self.quantiles), SHARES)
            losses = losses / _sizes(series, total)
            return 2 * losses if measure == "crps" else losses
        for level in self.levels:
            for what, found in (("coverage", self.hits), ("width", self.widths)):
                if measure == f"{what}_{level_name(level)}":
                    return np.array(found[level], "float64")
        return np.array(getattr(self, measure), "float64")

    def score(self, measure: str) -> float:
        """The mean over all values that there are; NaN without any."""
        values = np.concatenate([np.empty(0), *self.by_series(measure).values()])
        values = values[~np.isnan(values)]
        return float(values.mean()) if len(values) else float("nan")

    def answered(self, level: float) -> float:
        """The share of windows with an interval of this level."""
        return float(np.mean(~np.isnan(np.array(self.hits[level], "float64"))))


_LISTS = (
    *("series", "origin", "total", "median", "quantiles", "mase", "smape", "cost"),
    "cost_median",
)


def _sizes(series: NDArray[np.int64], total: Floats) -> Floats:
    """The mean total of the series of each window; 1 where it used nothing."""
    sums = np.bincount(series, total)[series]
    sizes = sums / np.bincount(series)[series]
    return np.where(sizes > 0, sizes, 1.0)
