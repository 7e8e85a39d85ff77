"""Back-tests: what forecasts of the past would have said; `tenancy.forecast` exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Price, PriceBook
from . import _scores
from ._calibration import fit
from ._cost import Pricer
from ._forecast import check_count, check_levels, level_name, seasons_of
from ._history import History, Step, read_history
from ._methods import Floats, Method
from ._source import Calibrated

COMPARED = ("run_rate", "seasonal_naive")
_SHARES = tuple((i + 0.5) / 50 for i in range(50))


@dataclass
class _Windows:
    """What one method said of all windows: a row for each series and origin that it could serve."""

    series: list[int] = field(default_factory=list)
    total: list[float] = field(default_factory=list)
    median: list[float] = field(default_factory=list)
    quantiles: list[Floats] = field(default_factory=list)
    mase: list[float] = field(default_factory=list)
    smape: list[float] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    cost_median: list[float] = field(default_factory=list)
    hits: dict[float, list[float]] = field(default_factory=dict)
    widths: dict[float, list[float]] = field(default_factory=dict)
    hit_series: dict[float, list[int]] = field(default_factory=dict)


class Backtest:
    """How good methods were on the past. Made by `backtest`."""

    def __init__(
        self, history: History, names: list[str], levels: tuple[float, ...], currency: str | None
    ) -> None:
        self.methods = tuple(names)
        """The methods, the one that was asked for first."""
        self.levels = levels
        self.currency = currency
        """Of the costs; None where no prices were given or they have none."""
        self._history = history
        self._found = {name: _Windows() for name in names}

    def __repr__(self) -> str:
        return f"<Backtest of {', '.join(self.methods)}: {self.windows} windows>"

    def _repr_html_(self) -> str:
        return self.scores()._repr_html_()

    @property
    def windows(self) -> int:
        """How many horizons of single series were forecast."""
        return len(self._found[self.methods[0]].series)

    @property
    def independent(self) -> int:
        """How many series: windows of one series overlap, or go on where another one ended."""
        return len(set(self._found[self.methods[0]].series))

    def scores(self, metric: str | None = None) -> Frame:
        """One row for each method, on all series or those of one metric.

        ``mase`` and ``smape`` are of the steps; ``wape``, ``pinball`` and ``crps`` of the total of
        the horizon; ``wape_cost`` of its cost. ``pinball`` and ``crps`` are divided by what the
        series used in the mean, so that large tenants do not hide small ones. ``coverage_80`` is
        how much of the windows with an interval it held, ``width_80`` its mean width, in shares of
        what came; ``answered_80`` how much of the windows had one.
        """
        columns: dict[str, list[Any]] = {}
        for name in self.methods:
            for key, value in self._row(self._found[name], metric).items():
                columns.setdefault(key, []).append(value)
        return Frame({"method": list(self.methods), **columns})

    def _row(self, found: _Windows, metric: str | None) -> dict[str, float | int]:
        series = np.array(found.series)
        chosen = self._of_metric(series, metric)
        if not chosen.any():
            raise InvalidValue("metric", f"no window of {metric!r}")
        total, median = np.array(found.total)[chosen], np.array(found.median)[chosen]
        losses = (
            _scores.pinball(total, np.array(found.quantiles)[chosen], _SHARES)
            / self._sizes(series, np.array(found.total))[chosen]
        )
        row: dict[str, float | int] = {
            "series": len(set(series[chosen].tolist())),
            "windows": int(chosen.sum()),
            "mase": float(np.nanmean(np.array(found.mase)[chosen])),
            "smape": float(np.array(found.smape)[chosen].mean()),
            "wape": self._by_series(series[chosen], total, median),
            "pinball": float(losses.mean()),
            "crps": float(2 * losses.mean()),
        }
        if found.cost:
            row["wape_cost"] = self._by_series(
                series[chosen], np.array(found.cost)[chosen], np.array(found.cost_median)[chosen]
            )
        for level in self.levels:
            name = level_name(level)
            some = self._of_metric(np.array(found.hit_series.get(level, []), "int64"), metric)
            hits = np.array(found.hits.get(level, []))[some]
            row[f"coverage_{name}"] = float(hits.mean()) if len(hits) else float("nan")
            widths = np.array(found.widths.get(level, []))[some]
            row[f"width_{name}"] = float(widths.mean()) if len(hits) else float("nan")
            row[f"answered_{name}"] = len(hits) / int(chosen.sum())
        return row

    def _of_metric(self, series: NDArray[np.int64], metric: str | None) -> NDArray[np.bool_]:
        if metric is None:
            return np.ones(len(series), dtype=bool)
        if metric not in self._history.metrics:
            raise InvalidValue("metric", f"no usage of {metric!r}")
        wanted: NDArray[np.bool_] = self._history.metric_of[series] == self._history.metrics.index(
            metric
        )
        return wanted

    @staticmethod
    def _sizes(series: NDArray[np.int64], total: Floats) -> Floats:
        """The mean total of the series of each window; 1 where it used nothing."""
        sums = np.bincount(series, total)[series]
        sizes = sums / np.bincount(series)[series]
        return np.where(sizes > 0, sizes, 1.0)

    @staticmethod
    def _by_series(series: NDArray[np.int64], actual: Floats, predicted: Floats) -> float:
        """The mean over series of their WAPE, so that every tenant counts the same."""
        found = [
            _scores.wape(actual[series == each], predicted[series == each])
            for each in np.unique(series)
        ]
        return float(np.nanmean(found))

    def coverage_interval(self, level: float, method: str | None = None) -> tuple[float, float]:
        """A 95 % interval of the coverage, from drawing whole series (block bootstrap)."""
        found = self._found[self.methods[0] if method is None else method]
        series = np.array(found.hit_series.get(level, []))
        hits = np.array(found.hits.get(level, []), "float64")
        if not len(hits):
            raise InvalidValue("level", f"no window had an interval of {level}")
        return _scores.block_bootstrap([hits[series == each] for each in np.unique(series)])

    def verdict(self) -> str:
        """Whether the method beats the simple ones, in a sentence with the numbers."""
        scores = {row["method"]: row for row in self.scores()}
        own = scores[self.methods[0]]
        measures = [each for each in ("wape_cost", "wape", "crps") if each in own]
        parts = []
        for other in self.methods[1:]:
            for measure in measures[:1] + measures[-1:]:
                ours, theirs = own[measure], scores[other][measure]
                word = "beats" if ours < theirs * 0.99 else "equals"
                word = word if ours <= theirs * 1.01 else "loses to"
                parts.append(f"{word} {other} on {measure} ({ours:.3f} against {theirs:.3f})")
        return f"{self.methods[0]} " + ", ".join(parts)


def backtest(
    usage: Any,
    *,
    horizon: int = 30,
    history: int | None = None,
    origins: int = 6,
    method: str | Method = "auto",
    prices: PriceBook | Price | Mapping[str, Price] | None = None,
    levels: Sequence[float] = (0.8, 0.95),
    step: Step = "day",
    season: int | Mapping[str, int] | None = None,
    columns: Mapping[str, str] | None = None,
    gaps: Literal["refuse", "zero"] = "refuse",
    duplicates: Literal["refuse", "sum"] = "refuse",
    naive: Literal["refuse", "utc"] = "refuse",
    digits: int | None = None,
) -> Backtest:
    """Forecast horizons of the past that are known by now, and compare.

    At each of ``origins`` times, evenly spaced, a forecast is made of what was known then: the last
    ``history`` steps (by default three horizons) of each series that is so old. ``method`` stands
    beside ``run_rate`` and ``seasonal_naive``, which are calibrated in the same way. With
    ``prices``, the cost of each series by itself is compared too. The other arguments are those of
    `forecast`. Raises `InvalidValue` where the history is too short for one origin.
    """
    levels = check_levels(levels)
    check_count("horizon", horizon, 1, 100_000)
    check_count("origins", origins, 1, 1000)
    window = 3 * horizon if history is None else check_count("history", history, horizon, 1 << 31)
    past = read_history(
        usage, step=step, as_of=None, columns=columns, gaps=gaps, duplicates=duplicates,
        naive=naive, digits=digits,
    )  # fmt: skip
    last = past.steps - horizon
    if last < window:
        raise InvalidValue(
            "time", f"{past.steps} steps of history, {window} before and {horizon} after an origin "
            "are needed", remedy="a shorter horizon or history",
        )  # fmt: skip
    own = method if isinstance(method, str) else getattr(method, "__name__", type(method).__name__)
    methods: dict[str, str | Method] = {own: method}
    methods |= {name: name for name in COMPARED if name != own}
    pricer = None if prices is None else _pricer(prices, past.metrics)
    result = Backtest(past, list(methods), levels, pricer.currency if pricer else None)
    seasons = seasons_of(season, past.metrics, past.step_ns, window)
    for origin in sorted({round(float(o)) for o in np.linspace(window, last, origins)}):
        for name, each in methods.items():
            _test(result._found[name], past, origin, window, horizon, seasons, each, levels, pricer)
    if not result.windows:
        raise InvalidValue("time", f"no series has {window} steps of history before an origin")
    return result


def _pricer(prices: PriceBook | Price | Mapping[str, Price], metrics: list[str]) -> Pricer:
    if isinstance(prices, Price):
        prices = dict.fromkeys(metrics, prices)
    pricer = Pricer(prices, "prices")
    pricer.check(metrics)
    return pricer


def _test(
    found: _Windows,
    past: History,
    origin: int,
    window: int,
    horizon: int,
    seasons: list[int],
    method: str | Method,
    levels: tuple[float, ...],
    pricer: Pricer | None,
) -> None:
    """One method at one origin, on the series that are old enough."""
    begin = origin - window
    rows = np.flatnonzero(past.first <= begin)
    if not len(rows):
        return
    seen = past.counts[rows, begin:origin].astype("float64")
    coming = past.counts[rows, origin : origin + horizon].astype("float64")
    metric_of = past.metric_of[rows]
    fitted = fit(
        seen, np.zeros(len(rows), "int64"), metric_of, past.metrics, horizon, seasons, method,
        window, levels,
    )  # fmt: skip
    source = Calibrated(fitted, np.ones(horizon), past.tenants, past.tenant_of[rows], 1, 0)
    total = coming.sum(axis=1)
    median = source.remaining(0.5)
    found.series += rows.tolist()
    found.total += total.tolist()
    found.median += median.tolist()
    found.quantiles += list(np.stack([source.remaining(share) for share in _SHARES], axis=1))
    found.smape += _scores.smape(coming, fitted.points).tolist()
    steps = np.empty(len(rows))
    for metric, season in enumerate(seasons):
        mine = metric_of == metric
        steps[mine] = _scores.mase(coming[mine], fitted.points[mine], seen[mine], season)
    found.mase += steps.tolist()
    if pricer is not None:
        found.cost += _costs(pricer, past, metric_of, total)
        found.cost_median += _costs(pricer, past, metric_of, median)
    for level in levels:
        _intervals(found, source, rows, total, level)


def _costs(pricer: Pricer, past: History, metric_of: Any, totals: Floats) -> list[float]:
    """The price of each total by itself."""
    costs = np.empty(len(totals))
    for number, metric in enumerate(past.metrics):
        mine = metric_of == number
        if mine.any():
            counts = np.rint(totals[mine]).astype("int64")
            quantities = _core.amounts_of_wholes(counts, past.digits)
            costs[mine] = np.asarray(pricer.prices[metric].amounts(quantities).to_floats())
    return [float(cost) for cost in costs]


def _intervals(found: _Windows, source: Calibrated, rows: Any, total: Floats, level: float) -> None:
    low, high = source.remaining((1 - level) / 2), source.remaining((1 + level) / 2)
    carried = np.array([source.refusal(i, level) is None for i in range(len(rows))])
    # Usage is counted in whole units: an end inside of a unit holds it.
    hits = (total >= np.floor(low)) & (total <= np.ceil(high))
    width = (high - low) / np.where(total > 0, total, 1.0)
    found.hits.setdefault(level, []).extend(hits[carried].astype("float64").tolist())
    found.widths.setdefault(level, []).extend(width[carried].tolist())
    found.hit_series.setdefault(level, []).extend(rows[carried].tolist())
