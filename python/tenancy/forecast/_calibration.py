"""How far a method was off: rolling origins, pooled over tenants, and what that says of the next
horizon (split conformal prediction on normalised residuals of the horizon's total).

At each origin of the past a method forecasts the horizon that followed. What was missing, in units
of the `scale` that the past of that series showed, is one record. Records of many tenants form a
pool: its quantiles, times the scale that a series has now, are the interval around its forecast. A
record keeps its way through the horizon, so that paths can be drawn from the same pool.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from ._methods import DEFAULTS, METHODS, Floats, Method, Settings, methods_of, scale

DEFAULT = "profile"
ORIGINS_MIN, ORIGINS_MAX = 6, 12
_RECORDS_WANTED = 4_000
_CELLS_MAX = 8_000_000
_UNITS_TO_CHOOSE = 8
_CHOOSE_BY = 500  # series of a metric: more would not change the choice
_BETTER_BY = 0.03
_LEAST_PERCENT = 50  # narrower intervals are hardly asked for


@dataclass(frozen=True)
class Pool:
    """Records of one group of series."""

    name: str
    sorted: Floats
    """Residuals of the total, ascending; their median is zero."""
    paths: Floats
    """Of each record the residual up to each step, origin after origin."""
    ends: NDArray[np.int64]
    """Where the records of each origin end."""
    independent: int
    """How many windows do not overlap: those of one series that do tell the same story twice."""

    @property
    def records(self) -> int:
        return len(self.sorted)

    def refusal(self, level: float) -> str | None:
        """Why it cannot carry an interval of this level; None where it can."""
        wanted = math.ceil(1 / (1 - level) - 1e-9)
        if self.independent < wanted:
            return (
                f"{self.independent} independent windows to calibrate by, "
                f"{level:.0%} needs {wanted}{self._instead()}"
            )
        least = math.ceil(2 / (1 - level) - 1e-9) - 1
        if self.records < least:
            return (
                f"{self.records} residuals to calibrate by, {level:.0%} needs {least}"
                f"{self._instead()}"
            )
        return None

    def _instead(self) -> str:
        """The highest level, in whole percents, that it can carry."""
        most = min(1 - 1 / self.independent, 1 - 2 / (self.records + 1))
        percent = math.floor(most * 100 + 1e-9)
        return f"; at most {percent}% can be given" if percent >= _LEAST_PERCENT else ""

    def quantile(self, share: float) -> float:
        """Conservative: the lower one below the middle, the upper one above it."""
        place = (self.records + 1) * share
        rank = math.floor(place + 1e-9) if share < 0.5 else math.ceil(place - 1e-9)
        return float(self.sorted[min(max(rank, 1), self.records) - 1])


@dataclass(frozen=True)
class Choice:
    """Which method a metric got, and why."""

    metric: str
    method: str
    why: str
    errors: dict[str, float]
    """The mean absolute residual of each method that was tried, in units of the scale."""


@dataclass(frozen=True)
class Fit:
    """What is known about the next horizon of every series."""

    horizon: int
    points: Floats
    """A row of steps for each series."""
    scales: Floats
    pools: list[Pool]
    pool_of: NDArray[np.int64]
    """The pool of each series; -1 where there is none."""
    reasons: list[str | None]
    """Of each series: why it has no forecast at all."""
    choices: list[Choice]


def _least(horizon: int) -> int:
    """How many steps a series has to have before an origin."""
    return max(2, 2 * max(1, round(horizon / 3)))


def steps_needed(horizon: int) -> int:
    """Of how many steps a history has one origin at least to test so many steps ahead on."""
    return horizon + _least(horizon)


def fit(
    past: Floats,
    first: NDArray[np.int64],
    metric_of: NDArray[np.int64],
    metrics: list[str],
    horizon: int,
    seasons: list[int],
    method: str | Method,
    window: int,
    levels: tuple[float, ...],
    settings: Settings = DEFAULTS,
) -> Fit:
    """Forecast every series and calibrate. `past` has at least `steps_needed` steps."""
    work = _Work(past, first, metric_of, metrics, horizon, seasons, window, settings)
    chosen, choices = work.choose(method)
    points = work.points(chosen, past.shape[1])
    scales, dormant = work.scales(past.shape[1])
    pools, pool_of = work.pools(chosen, dormant, levels)
    young = past.shape[1] - first < work.least
    reasons = [
        f"{past.shape[1] - int(first[i])} steps of history, {horizon} steps ahead need {work.least}"
        if young[i]
        else None
        for i in range(len(past))
    ]
    return Fit(horizon, points, scales, pools, np.where(young, -1, pool_of), reasons, choices)


class _Work:
    """The grid, and what every step of the calibration needs of it."""

    def __init__(
        self,
        past: Floats,
        first: NDArray[np.int64],
        metric_of: NDArray[np.int64],
        metrics: list[str],
        horizon: int,
        seasons: list[int],
        window: int,
        settings: Settings,
    ) -> None:
        self.past, self.first, self.metric_of, self.metrics = past, first, metric_of, metrics
        self.horizon, self.seasons, self.window = horizon, seasons, window
        self.settings, self.methods = settings, methods_of(settings)
        self.least = _least(horizon)
        self.members = [np.flatnonzero(metric_of == m) for m in range(len(metrics))]
        self.origins = self._origins()

    def _origins(self) -> list[int]:
        steps = self.past.shape[1]
        last = steps - self.horizon
        begin = max(self.least, min(self.horizon, last))
        count = min(max(ORIGINS_MIN, -(-_RECORDS_WANTED // len(self.past))), ORIGINS_MAX)
        count = min(count, last - begin + 1)
        parts = (count - 1) * self.horizon // max(1, last - begin)
        if parts == 0:
            return sorted({round(float(each)) for each in np.linspace(begin, last, count)})
        # Origins part the horizon evenly, so that as many windows as there is room for touch each
        # other without overlapping.
        apart = self.horizon / parts
        back = np.arange(int((last - begin) / apart + 1e-9) + 1)
        return sorted({round(last - float(each)) for each in back * apart})

    def _seen(self, origin: int, rows: Any) -> tuple[Floats, NDArray[np.int64]]:
        """What is known of some series at an origin."""
        begin = max(0, origin - self.window)
        past = self.past[:, begin:origin]
        first = np.clip(self.first - begin, 0, origin - begin)
        if len(rows) == len(self.past):
            return past, first
        return past[rows], first[rows]

    def _usable(self, origin: int) -> NDArray[np.bool_]:
        return origin - self.first >= self.least

    def points(self, chosen: list[Method], origin: int) -> Floats:
        found = np.empty((len(self.past), self.horizon))
        for metric, rows in enumerate(self.members):
            if len(rows):
                seen = self._seen(origin, rows)
                made = np.asarray(chosen[metric](*seen, self.horizon, self.seasons[metric]))
                if made.shape != (len(rows), self.horizon) or not np.isfinite(made).all():
                    raise InvalidValue(
                        "method",
                        f"gave an array of the shape {made.shape}, or numbers that are not finite",
                        remedy=f"{len(rows)} rows of {self.horizon} steps",
                    )
                found[rows] = made
        return found

    def scales(self, origin: int) -> tuple[Floats, NDArray[np.bool_]]:
        """The scale of each series, and which of them sleep: no usage for a horizon."""
        past, first = self._seen(origin, self.members[0] if len(self.members) == 1 else self._all)
        found = scale(past, first, self.horizon, self.settings.level_share)
        dormant = past[:, -self.horizon :].sum(axis=1) == 0
        for rows in self.members:
            some = found[rows]
            awake = some[some > 0]
            least = 0.01 * float(np.median(awake)) if len(awake) else 1.0
            found[rows] = np.maximum(some, least)
        return found, dormant

    @property
    def _all(self) -> NDArray[np.int64]:
        return np.arange(len(self.past))

    # --- which method

    def choose(self, method: str | Method) -> tuple[list[Method], list[Choice]]:
        if callable(method):
            name = getattr(method, "__name__", type(method).__name__)
            return [method] * len(self.metrics), [
                Choice(metric, name, "it was given", {}) for metric in self.metrics
            ]
        if method != "auto":
            if method not in METHODS:
                raise InvalidValue(
                    "method", f"{method!r}", remedy=f"auto, {', '.join(METHODS)} or a function"
                )
            return [self.methods[method]] * len(self.metrics), [
                Choice(metric, method, "it was asked for", {}) for metric in self.metrics
            ]
        rows = np.concatenate([each[:: -(-len(each) // _CHOOSE_BY) or 1] for each in self.members])
        some = _Work(
            self.past[rows], self.first[rows], self.metric_of[rows], self.metrics,
            self.horizon, self.seasons, self.window, self.settings,
        )  # fmt: skip
        errors = {name: some._errors(each) for name, each in self.methods.items()}
        choices = [some._choice(m, errors) for m in range(len(self.metrics))]
        return [self.methods[choice.method] for choice in choices], choices

    def _errors(self, method: Method) -> Floats:
        """The absolute residual of each series at each origin; NaN where it was too young."""
        found = np.empty((len(self.past), len(self.origins)))
        for number, origin in enumerate(self.origins):
            points = self.points([method] * len(self.metrics), origin).sum(axis=1)
            actual = self.past[:, origin : origin + self.horizon].sum(axis=1)
            residual = np.abs(actual - points) / self.scales(origin)[0]
            found[:, number] = np.where(self._usable(origin), residual, np.nan)
        return found

    def _choice(self, metric: int, errors: dict[str, Floats]) -> Choice:
        """By whole series, each of which counts once; where these are few, by windows of theirs
        that do not overlap; where these are few as well, the default."""
        name = self.metrics[metric]
        rows = self.members[metric]
        rows = rows[~np.isnan(errors[DEFAULT][rows]).all(axis=1)]
        if not len(rows):
            return Choice(name, DEFAULT, "no series is old enough to choose by", {})
        by_series = {each: np.nanmean(found[rows], axis=1) for each, found in errors.items()}
        means = {each: float(found.mean()) for each, found in by_series.items()}
        if len(rows) >= _UNITS_TO_CHOOSE:
            return self._best(name, by_series, means, f"{len(rows)} series")
        apart = self._apart(~np.isnan(errors[DEFAULT][rows]))
        windows = {each: found[rows][apart] for each, found in errors.items()}
        count = f"{int(apart.sum())} windows of {len(rows)} series"
        if apart.sum() >= _UNITS_TO_CHOOSE:
            return self._best(name, windows, means, count)
        why = f"{count} are too few to choose by, {_UNITS_TO_CHOOSE} are needed"
        return Choice(name, DEFAULT, why, means)

    @staticmethod
    def _best(name: str, units: dict[str, Floats], means: dict[str, float], over: str) -> Choice:
        """The default, unless another one is clearly closer in units that are independent."""
        best, least = DEFAULT, float(units[DEFAULT].mean())
        why = f"no other is closer by 3 % and by two standard errors over {over}"
        for each, found in units.items():
            gain = units[DEFAULT] - found
            error = float(gain.std(ddof=1)) / math.sqrt(len(gain))
            clear = gain.mean() > max(2 * error, _BETTER_BY * units[DEFAULT].mean())
            if clear and found.mean() < least:
                best, least = each, float(found.mean())
                better = 1 - least / units[DEFAULT].mean()
                why = f"closer than {DEFAULT} by {better:.0%} over {over}"
        return Choice(name, best, why, means)

    def _apart(self, usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Of each series the windows that do not overlap, from the last one on."""
        found = np.zeros_like(usable)
        begun = np.full(len(usable), self.past.shape[1] + 1)
        for number in reversed(range(len(self.origins))):
            free = usable[:, number] & (begun - self.origins[number] >= self.horizon)
            found[free, number] = True
            begun[free] = self.origins[number]
        return found

    # --- pools

    def pools(
        self, chosen: list[Method], dormant: NDArray[np.bool_], levels: tuple[float, ...]
    ) -> tuple[list[Pool], NDArray[np.int64]]:
        """The narrowest group of each series that can carry the highest level."""
        records = _Records(self, chosen)
        wanted = math.ceil(1 / (1 - max(levels)) - 1e-9)
        pools: list[Pool] = []
        known: dict[tuple[int, int], int] = {}
        pool_of = np.full(len(self.past), -1)
        for metric, rows in enumerate(self.members):
            for asleep in (0, 1):
                some = rows[dormant[rows] == bool(asleep)]
                if not len(some):
                    continue
                for group in ((metric, asleep), (-1, asleep), (-1, -1)):
                    if group not in known and (made := records.pool(*group)) is not None:
                        known[group] = len(pools)
                        pools.append(made)
                    if group in known:
                        pool_of[some] = known[group]
                        if pools[known[group]].independent >= wanted:
                            break
        return pools, pool_of


class _Records:
    """Residuals of all origins and series."""

    def __init__(self, work: _Work, chosen: list[Method]) -> None:
        self.work = work
        paths, series, origins, asleep = [], [], [], []
        for number, origin in enumerate(work.origins):
            rows = np.flatnonzero(work._usable(origin))
            scales, dormant = work.scales(origin)
            actual = work.past[rows, origin : origin + work.horizon]
            off = np.cumsum(actual - work.points(chosen, origin)[rows], axis=1)
            paths.append(off / scales[rows, None])
            series.append(rows)
            origins.append(np.full(len(rows), number))
            asleep.append(dormant[rows])
        self.paths = np.concatenate(paths)
        self.series = np.concatenate(series)
        self.origins = np.concatenate(origins)
        self.asleep = np.concatenate(asleep)

    def pool(self, metric: int, asleep: int) -> Pool | None:
        """The records of a metric (-1: of all) that were asleep (1), awake (0) or either (-1)."""
        work = self.work
        mask = np.ones(len(self.series), dtype=bool)
        if metric >= 0:
            mask &= work.metric_of[self.series] == metric
        if asleep >= 0:
            mask &= self.asleep == bool(asleep)
        found = np.flatnonzero(mask)
        if not len(found):
            return None
        independent = self._independent(found)
        stride = -(-len(found) * work.horizon // _CELLS_MAX)
        found = found[::stride]
        paths = self.paths[found]
        way = np.arange(1, work.horizon + 1) / work.horizon
        paths = paths - np.median(paths[:, -1]) * way
        counts = np.bincount(self.origins[found], minlength=len(work.origins))
        name = "all metrics" if metric < 0 else work.metrics[metric]
        if asleep == 1:
            name += ", asleep"
        return Pool(name, np.sort(paths[:, -1]), paths, np.cumsum(counts), independent)

    def _independent(self, found: NDArray[np.int64]) -> int:
        """Windows that do not overlap, counted greedily series by series."""
        work = self.work
        last = np.full(len(work.past), -work.horizon)
        count = 0
        for number, origin in enumerate(work.origins):
            rows = self.series[found[self.origins[found] == number]]
            free = rows[origin - last[rows] >= work.horizon]
            last[free] = origin
            count += len(free)
        return count
