"""Back-tests: what forecasts of the past would have said; `tenancy.forecast` exports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import _core
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Price, PriceBook
from . import _scores
from ._calendar import Zone
from ._calibration import fit, steps_needed
from ._cost import Pricer
from ._forecast import check_count, check_levels, seasons_of
from ._history import History, Step, read_history
from ._methods import DEFAULTS, Floats, Method, Settings
from ._source import Calibrated
from ._windows import SHARES, Windows, level_name

COMPARED = ("run_rate", "seasonal_naive")
_TENANTS_MIN = 5
"""Of fewer, drawing them again says nothing about others."""


class Backtest:
    """How good methods were on the past. Made by `backtest`."""

    def __init__(self, history: History, found: dict[str, Windows], currency: str | None) -> None:
        self.methods = tuple(found)
        """The methods, the one that was asked for first."""
        self.levels = found[self.methods[0]].levels
        self.currency = currency
        """Of the costs; None where no prices were given or they have none."""
        self._history = history
        self._found = found

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self.methods)}: {self.windows} windows>"

    def _repr_html_(self) -> str:
        return self.scores()._repr_html_()

    @property
    def windows(self) -> int:
        """How many horizons of single series were forecast."""
        return len(self._found[self.methods[0]])

    @property
    def independent(self) -> int:
        """How many tenants: windows of one series overlap, or go on where another one ended, and
        the metrics of one tenant rise and fall together."""
        return len(set(self._history.tenant_of[self._found[self.methods[0]].series].tolist()))

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
            for key, value in self._row(self._of_metric(self._found[name], metric)).items():
                columns.setdefault(key, []).append(value)
        return Frame({"method": list(self.methods), **columns})

    @staticmethod
    def _row(found: Windows) -> dict[str, float | int]:
        row: dict[str, float | int] = {"series": len(set(found.series)), "windows": len(found)}
        row |= {measure: found.score(measure) for measure in found.measures()}
        row |= {f"answered_{level_name(each)}": found.answered(each) for each in found.levels}
        return row

    def _of_metric(self, found: Windows, metric: str | None) -> Windows:
        if metric is None:
            return found
        if metric not in self._history.metrics:
            raise InvalidValue("metric", f"no usage of {metric!r}")
        number = self._history.metrics.index(metric)
        chosen: NDArray[np.bool_] = self._history.metric_of[found.series] == number
        if not chosen.any():
            raise InvalidValue("metric", f"no window of {metric!r}")
        return found.pick(chosen)

    def interval(
        self, measure: str, method: str | None = None, *, against: str | None = None
    ) -> tuple[float, float]:
        """A 95 % interval of a measure of `scores`, from drawing whole tenants (block bootstrap).

        With ``against``, of how much larger it is than that method's: below zero all through, the
        method is better by more than the choice of these tenants explains. Raises `InvalidValue`
        for a measure or method that is not there.
        """
        name = self.methods[0] if method is None else method
        blocks = self._blocks(measure, name)
        if against is not None:
            other = self._blocks(measure, against)
            blocks = {key: values - other[key] for key, values in blocks.items()}
        some = [values[~np.isnan(values)] for values in blocks.values()]
        some = [values for values in some if len(values)]
        if not some:
            raise InvalidValue("measure", f"no window has a {measure} of {name}")
        return _scores.block_bootstrap(some)

    def _blocks(self, measure: str, method: str) -> dict[int, Floats]:
        if method not in self._found:
            raise InvalidValue("method", f"{method!r}", remedy=f"one of {', '.join(self.methods)}")
        found = self._found[method]
        if measure not in found.measures():
            remedy = f"one of {', '.join(found.measures())}"
            raise InvalidValue("measure", f"{measure!r}", remedy=remedy)
        blocks: dict[int, list[Floats]] = {}
        for series, values in found.by_series(measure).items():
            blocks.setdefault(int(self._history.tenant_of[series]), []).append(values)
        return {tenant: np.concatenate(parts) for tenant, parts in blocks.items()}

    def coverage_interval(self, level: float, method: str | None = None) -> tuple[float, float]:
        """A 95 % interval of the coverage, from drawing whole tenants (block bootstrap)."""
        if level not in self.levels:
            raise InvalidValue("level", f"no window had an interval of {level}")
        return self.interval(f"coverage_{level_name(level)}", method)

    def verdict(self) -> str:
        """Whether the method beats the simple ones, in a sentence with the numbers.

        It does, or loses, where the `interval` of the difference leaves zero out; else it equals
        the other, as far as these tenants can tell. Fewer than five tell nothing.
        """
        own = self._found[self.methods[0]]
        measures = [each for each in ("wape_cost", "wape") if each in own.measures()][:1]
        parts = [
            self._compared(measure, other)
            for other in self.methods[1:]
            for measure in [*measures, "crps"]
        ]
        return f"{self.methods[0]} " + ", ".join(parts)

    def _compared(self, measure: str, other: str) -> str:
        ours, theirs = (self._found[each].score(measure) for each in (self.methods[0], other))
        numbers = f"{ours:.3f} against {theirs:.3f}"
        tenants = self.independent
        if tenants < _TENANTS_MIN:
            few = "1 tenant is" if tenants == 1 else f"{tenants} tenants are"
            return f"equals {other} on {measure} ({numbers}; {few} too few to tell)"
        low, high = self.interval(measure, against=other)
        word = "beats" if high < 0 else "loses to" if low > 0 else "equals"
        drawn = f"{low:+.3f} to {high:+.3f} as {tenants} tenants are drawn"
        return f"{word} {other} on {measure} ({numbers}; {drawn})"


@dataclass(frozen=True)
class Plan:
    """Which windows of a history are tested."""

    past: History
    window: int
    horizon: int
    origins: list[int]
    seasons: list[int]
    levels: tuple[float, ...]
    pricer: Pricer | None

    def run(self, method: str | Method, settings: Settings = DEFAULTS) -> Windows:
        """What one method would have said of all of them."""
        found = Windows(self.levels)
        for origin in self.origins:
            _test(self, found, origin, method, settings)
        if not len(found):
            raise InvalidValue(
                "time", f"no series has {self.window} steps of history before an origin"
            )
        return found


def plan(
    past: History,
    horizon: int,
    history: int | None,
    origins: int,
    levels: Sequence[float],
    season: int | Mapping[str, int] | None,
    prices: PriceBook | Price | Mapping[str, Price] | None,
) -> Plan:
    """The windows of a back-test."""
    check_count("horizon", horizon, 1, 100_000)
    check_count("origins", origins, 1, 1000)
    window = 3 * horizon if history is None else check_count("history", history, horizon, 1 << 31)
    needed = steps_needed(horizon)
    if window < needed:
        raise InvalidValue(
            "history", f"{window} steps cannot be tested on {horizon} steps ahead",
            remedy=f"at least {needed}",
        )  # fmt: skip
    last = past.steps - horizon
    if last < window:
        raise past.too_short(
            f"{window} before and {horizon} after an origin are needed",
            "a shorter horizon or history",
        )
    return Plan(
        past,
        window,
        horizon,
        sorted({round(float(o)) for o in np.linspace(window, last, origins)}),
        seasons_of(season, past.metrics, past.step_ns, window),
        check_levels(levels),
        None if prices is None else _pricer(prices, past.metrics),
    )


def backtest(
    usage: Any,
    *,
    horizon: int = 30,
    history: int | None = None,
    origins: int = 6,
    method: str | Method = "auto",
    settings: Settings | None = None,
    prices: PriceBook | Price | Mapping[str, Price] | None = None,
    levels: Sequence[float] = (0.8, 0.95),
    step: Step = "day",
    zone: Zone | None = None,
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

    Who tries several settings and reports the best is flattered: `nested_backtest` is not.
    """
    past = read_history(
        usage, step=step, as_of=None, columns=columns, gaps=gaps, duplicates=duplicates,
        naive=naive, digits=digits, zone=zone,
    )  # fmt: skip
    made = plan(past, horizon, history, origins, levels, season, prices)
    own = method if isinstance(method, str) else getattr(method, "__name__", type(method).__name__)
    methods: dict[str, str | Method] = {own: method}
    methods |= {name: name for name in COMPARED if name != own}
    found = {name: made.run(each, settings or DEFAULTS) for name, each in methods.items()}
    return Backtest(past, found, made.pricer.currency if made.pricer else None)


def _pricer(prices: PriceBook | Price | Mapping[str, Price], metrics: list[str]) -> Pricer:
    if isinstance(prices, Price):
        prices = dict.fromkeys(metrics, prices)
    pricer = Pricer(prices, "prices")
    pricer.check(metrics)
    return pricer


def _test(
    made: Plan, found: Windows, origin: int, method: str | Method, settings: Settings
) -> None:
    """One method at one origin, on the series that are old enough."""
    past, horizon = made.past, made.horizon
    begin = origin - made.window
    rows = np.flatnonzero(past.first <= begin)
    if not len(rows):
        return
    seen = past.counts[rows, begin:origin].astype("float64")
    coming = past.counts[rows, origin : origin + horizon].astype("float64")
    metric_of = past.metric_of[rows]
    fitted = fit(
        seen, np.zeros(len(rows), "int64"), metric_of, past.metrics, horizon, made.seasons, method,
        made.window, made.levels, settings,
    )  # fmt: skip
    source = Calibrated(fitted, np.ones(horizon), past.tenants, past.tenant_of[rows], 1, 0)
    total = coming.sum(axis=1)
    median = source.remaining(0.5)
    found.series += rows.tolist()
    found.origin += [origin] * len(rows)
    found.total += total.tolist()
    found.median += median.tolist()
    found.quantiles += list(np.stack([source.remaining(share) for share in SHARES], axis=1))
    found.smape += _scores.smape(coming, fitted.points).tolist()
    steps = np.empty(len(rows))
    for metric, season in enumerate(made.seasons):
        mine = metric_of == metric
        steps[mine] = _scores.mase(coming[mine], fitted.points[mine], seen[mine], season)
    found.mase += steps.tolist()
    if made.pricer is not None:
        found.cost += _costs(made.pricer, past, metric_of, total)
        found.cost_median += _costs(made.pricer, past, metric_of, median)
    for level in made.levels:
        _intervals(found, source, total, level)


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


def _intervals(found: Windows, source: Calibrated, total: Floats, level: float) -> None:
    low, high = source.remaining((1 - level) / 2), source.remaining((1 + level) / 2)
    carried = np.array([source.refusal(i, level) is None for i in range(len(total))])
    # Usage is counted in whole units: an end inside of a unit holds it.
    hits = (total >= np.floor(low)) & (total <= np.ceil(high))
    width = (high - low) / np.where(total > 0, total, 1.0)
    found.hits.setdefault(level, []).extend(np.where(carried, hits, np.nan).tolist())
    found.widths.setdefault(level, []).extend(np.where(carried, width, np.nan).tolist())
