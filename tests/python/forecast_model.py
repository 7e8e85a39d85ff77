"""Forecast methods of one series, step by step: the model that the vectorised ones are held to."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable


def run_rate(past: list[float], horizon: int, season: int) -> list[float]:
    return [statistics.fmean(past[-horizon:])] * horizon


def seasonal_naive(past: list[float], horizon: int, season: int) -> list[float]:
    if len(past) < season:
        return run_rate(past, horizon, season)
    return [past[len(past) - season + i % season] for i in range(horizon)]


def _capped(past: list[float]) -> list[float]:
    median = statistics.median(past)
    if median <= 0:
        return past
    spread = 1.4826 * statistics.median(abs(value - median) for value in past)
    return [min(value, median + 5 * max(spread, 0.1 * median)) for value in past]


def _factors(past: list[float], season: int, steps: int) -> list[float]:
    """By the distance from the end; `steps` is how long the grid is, older series or not."""
    if season < 2 or steps < 2 * season or sum(past) <= 0:
        return [1.0] * season
    mean = statistics.fmean(past)
    factors = []
    for phase in range(season):
        same = [v for i, v in enumerate(past) if (i - len(past)) % season == phase]
        factors.append((sum(same) / mean + 2) / (len(same) + 2))
    return factors


def profile(
    past: list[float], horizon: int, season: int, steps: int, half_life: float | None
) -> list[float]:
    capped = _capped(past)
    factors = _factors(capped, season, steps)
    total = weights = 0.0
    for i, value in enumerate(capped):
        age = len(past) - i
        weight = 1.0 if half_life is None else 0.5 ** (age / max(1.0, half_life))
        total += weight * value / factors[(i - len(past)) % season]
        weights += weight
    return [total / weights * factors[i % season] for i in range(horizon)]


def scale(past: list[float], horizon: int, steps: int) -> float:
    total = horizon * statistics.fmean(past)
    block = max(1, round(horizon / 3))
    if steps // block < 2:
        return total
    sums = []
    end = len(past)
    while end - block >= 0:
        sums.insert(0, sum(past[end - block : end]))
        end -= block
    changes = [abs(b - a) for a, b in itertools.pairwise(sums)]
    change = statistics.fmean(changes) * horizon / block if changes else 0.0
    return math.sqrt((change + 0.02 * total) * total)


def interval(
    residuals: list[float], level: float, point: float, unit: float
) -> tuple[float, float]:
    """Split conformal: ranks of n + 1, the middle at zero."""
    middle = statistics.median(residuals)
    ordered = sorted(each - middle for each in residuals)
    n = len(ordered)
    low = math.floor((n + 1) * (1 - level) / 2 + 1e-9)
    high = math.ceil((n + 1) * (1 + level) / 2 - 1e-9)
    return (
        max(0.0, point + unit * ordered[max(low, 1) - 1]),
        max(0.0, point + unit * ordered[min(high, n) - 1]),
    )


Method = Callable[[list[float], int, int], list[float]]
