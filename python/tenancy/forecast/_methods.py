"""Built-in methods: what the next steps bring, for all series at once.

A method is a function of the past: ``method(past, first, horizon, season)``. ``past`` has a row for
each series and a column for each step, as floats; a series begins at its ``first`` step, before
which its row is zero. It gives a row of ``horizon`` steps for each series.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue

Floats: TypeAlias = NDArray[np.float64]
Method: TypeAlias = Callable[[Floats, NDArray[np.int64], int, int], Any]

_CAP_SHARE = 0.1
_BLOCKS = 3


@dataclass(frozen=True)
class Settings:
    """The constants of the built-in methods and of how wide intervals are.

    Numbers above zero; `nested_backtest` compares several without being flattered by the choice.
    """

    half_life: float = 0.25
    """After how many horizons the weight of the past halves in the level of ``profile``; that of
    ``trend_profile`` is four times as slow."""
    cap: float = 5.0
    """How many deviations above the median steps are cut to."""
    prior: float = 2.0
    """With how many seasons of no profile at all the profile is mixed."""
    level_share: float = 0.5
    """How far the width of an interval follows the level of a series (1) instead of how much it
    changes (0)."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise InvalidValue(each.name, f"{value!r}, expected a number above zero")
        if self.level_share > 1:
            raise InvalidValue("level_share", f"{self.level_share!r}, expected at most 1")


DEFAULTS = Settings()


def run_rate(
    past: Floats,
    first: NDArray[np.int64],
    horizon: int,
    season: int,  # noqa: ARG001 - a method
) -> Floats:
    """The mean of the last ``horizon`` steps, for ever: what a dashboard extrapolates."""
    steps = past.shape[1]
    begin = np.maximum(first, steps - horizon)
    recent = past[:, max(0, steps - horizon) :].sum(axis=1) / np.maximum(1, steps - begin)
    return np.repeat(recent[:, None], horizon, axis=1)


def seasonal_naive(past: Floats, first: NDArray[np.int64], horizon: int, season: int) -> Floats:
    """The last season again; a series that is younger than a season goes on at its run-rate."""
    steps = past.shape[1]
    length = min(season, steps)
    repeated = past[:, steps - length :][:, np.arange(horizon) % length]
    young = steps - first < length
    if young.any():
        repeated[young] = run_rate(past[young], first[young], horizon, season)
    return repeated


def profile(past: Floats, first: NDArray[np.int64], horizon: int, season: int) -> Floats:
    """A recent level times the profile of the season.

    Outliers are cut to five deviations above the median before (not where most steps are zero).
    Weights of the level halve every quarter of the horizon.
    """
    return _recent(DEFAULTS, past, first, horizon, season)


def steady_profile(past: Floats, first: NDArray[np.int64], horizon: int, season: int) -> Floats:
    """As `profile`, with a level of the whole past: for usage that only fluctuates."""
    return _steady(DEFAULTS, past, first, horizon, season)


def trend_profile(past: Floats, first: NDArray[np.int64], horizon: int, season: int) -> Floats:
    """As `profile`, with a slower level and a trend that is shrunk by its own uncertainty and
    grows weaker with every step."""
    return _trending(DEFAULTS, past, first, horizon, season)


def _recent(
    settings: Settings, past: Floats, first: NDArray[np.int64], horizon: int, season: int
) -> Floats:
    half_life = horizon * settings.half_life
    return _profile(settings, past, first, horizon, season, half_life=half_life, trend=False)


def _steady(
    settings: Settings, past: Floats, first: NDArray[np.int64], horizon: int, season: int
) -> Floats:
    return _profile(settings, past, first, horizon, season, half_life=None, trend=False)


def _trending(
    settings: Settings, past: Floats, first: NDArray[np.int64], horizon: int, season: int
) -> Floats:
    half_life = horizon * settings.half_life * 4
    return _profile(settings, past, first, horizon, season, half_life=half_life, trend=True)


METHODS: dict[str, Method] = {
    "profile": profile,
    "steady_profile": steady_profile,
    "trend_profile": trend_profile,
    "run_rate": run_rate,
    "seasonal_naive": seasonal_naive,
}


def methods_of(settings: Settings) -> dict[str, Method]:
    """`METHODS` with other constants."""
    return {
        **METHODS,
        "profile": partial(_recent, settings),
        "steady_profile": partial(_steady, settings),
        "trend_profile": partial(_trending, settings),
    }


def _profile(
    settings: Settings,
    past: Floats,
    first: NDArray[np.int64],
    horizon: int,
    season: int,
    *,
    half_life: float | None,
    trend: bool,
) -> Floats:
    steps = past.shape[1]
    # One row for all where every series has the whole window.
    valid = np.arange(steps) >= (first if first.any() else first[:1])[:, None]
    capped = np.minimum(past, _cap(past, first, settings.cap)[:, None])
    factors = _factors(capped, valid, season, settings.prior)
    phases = np.arange(-steps, horizon) % factors.shape[1]
    level_steps = capped / factors[:, phases[:steps]]
    age = np.arange(steps, 0, -1)
    weights = np.ones(steps) if half_life is None else 0.5 ** (age / max(1.0, half_life))
    known = np.maximum(_weighted(valid, weights), 1e-300)
    level = _weighted(level_steps, weights) / known
    ahead = np.repeat(level[:, None], horizon, axis=1)
    if trend:
        slope = _slope(level_steps, valid)
        damping = np.cumsum(0.5 ** (np.arange(1, horizon + 1) / max(1.0, horizon / 2)))
        # The level is that of some time ago.
        lag = _weighted(valid, weights * age) / known - 1
        ahead = ahead + slope[:, None] * (lag[:, None] + damping)
    found: Floats = np.maximum(0.0, ahead) * factors[:, phases[steps:]]
    return found


def _weighted(rows: Any, weights: Any) -> Any:
    """The weighted sum of each row. Not by ``@``: what a BLAS sums in threads depends on them."""
    return np.einsum("ij,j->i", rows.astype("float64", copy=False), weights)


def _median(values: Floats, first: NDArray[np.int64]) -> Floats:
    """Of the steps from ``first`` on, for each row."""
    steps = values.shape[1]
    # Sorting is faster than parting: NumPy sorts short rows by vector instructions.
    padded = np.where(np.arange(steps) >= first[:, None], values, np.inf)
    padded.sort(axis=1)
    count = np.maximum(steps - first, 1)
    rows = np.arange(len(values))
    median: Floats = (padded[rows, (count - 1) // 2] + padded[rows, count // 2]) / 2
    return median


def _cap(past: Floats, first: NDArray[np.int64], deviations: float) -> Floats:
    median = _median(past, first)
    spread = 1.4826 * _median(np.abs(past - median[:, None]), first)
    cap = median + deviations * np.maximum(spread, _CAP_SHARE * median)
    return np.where(median > 0, cap, np.inf)


def _factors(past: Floats, valid: NDArray[np.bool_], season: int, prior: float) -> Floats:
    """Each phase of the season in shares of the mean, drawn towards one; counted from the end."""
    series, steps = past.shape
    if season < 2 or steps < 2 * season:
        return np.ones((series, 1))
    sums = np.empty((series, season))
    counts = np.empty((len(valid), season))
    for phase in range(season):
        same = slice((phase + steps) % season, None, season)
        sums[:, phase] = past[:, same].sum(axis=1)
        counts[:, phase] = valid[:, same].sum(axis=1)
    mean = sums.sum(axis=1) / np.maximum(1.0, counts.sum(axis=1))
    share = sums / np.where(mean > 0, mean, 1.0)[:, None]
    return np.where((mean > 0)[:, None], (share + prior) / (counts + prior), 1.0)


def _slope(level_steps: Floats, valid: NDArray[np.bool_]) -> Floats:
    """The change per step between the first and the last third, shrunk by its uncertainty."""
    steps = level_steps.shape[1]
    third = max(1, steps // 3)
    old, new = slice(0, third), slice(steps - third, steps)
    counts = [np.maximum(1, valid[:, part].sum(axis=1)) for part in (old, new)]
    means = [
        level_steps[:, part].sum(axis=1) / n for part, n in zip((old, new), counts, strict=True)
    ]
    distance = float(max(1, steps - third))
    slope = (means[1] - means[0]) / distance
    variance = np.var(level_steps[:, new], axis=1) * (1 / counts[0] + 1 / counts[1])
    squared = np.maximum((slope * distance) ** 2, 1e-300)
    shrunk = np.maximum(0.0, 1 - 4 * variance / squared)
    # A series that began inside of the window has no first third.
    return np.where(valid[:, 0], slope * shrunk, 0.0)


def scale(past: Floats, first: NDArray[np.int64], horizon: int, level_share: float = 0.5) -> Floats:
    """How far the total of a horizon may be off, as far as the past of a series itself shows.

    A geometric mean of how much thirds of a horizon change from one to the next and of the level,
    which has the weight ``level_share``: totals of calm series are off by a small part of their
    level, totals of restless ones by all of it. Calibration finds the factor.
    """
    steps = past.shape[1]
    block = max(1, round(horizon / _BLOCKS))
    count = steps // block
    valid = np.maximum(1, steps - first)
    level = past.sum(axis=1) / valid
    total: Floats = horizon * level
    if count < 2:
        return total
    blocks = past[:, steps - count * block :].reshape(len(past), count, block).sum(axis=2)
    whole = np.arange(steps - count * block, steps, block)[None, :] >= first[:, None]
    both = whole[:, 1:] & whole[:, :-1]
    change = (np.abs(np.diff(blocks, axis=1)) * both).sum(axis=1) / np.maximum(1, both.sum(axis=1))
    change *= horizon / block
    restless = change + 0.02 * total
    if level_share == 0.5:
        together: Floats = np.sqrt(restless * total)
        return together
    weighted: Floats = restless ** (1 - level_share) * total**level_share
    return weighted
