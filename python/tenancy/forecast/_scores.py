"""How good forecasts were: the usual measures, each with its formula.

``actual`` and ``predicted`` are arrays of floats of the same shape. Measures of money take exact
amounts as floats: they compare methods, they are not booked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._methods import Floats


def mase(actual: Floats, predicted: Floats, past: Floats, season: int) -> Floats:
    """Of each row: the mean absolute error of the steps, divided by that of repeating the last
    season within the past (Hyndman and Koehler, 2006). NaN where the past repeats itself."""
    naive = np.abs(past[:, season:] - past[:, :-season]).mean(axis=1)
    error = np.abs(actual - predicted).mean(axis=1)
    return np.where(naive > 0, error / np.where(naive > 0, naive, 1.0), np.nan)


def smape(actual: Floats, predicted: Floats) -> Floats:
    """Of each row: the mean of |a - p| / (|a| + |p|) over the steps, 0 to 1; 0 where both are 0."""
    size = np.abs(actual) + np.abs(predicted)
    shares: Floats = np.abs(actual - predicted) / np.where(size > 0, size, 1.0)
    means: Floats = shares.mean(axis=1)
    return means


def wape(actual: Floats, predicted: Floats) -> float:
    """The sum of absolute errors, divided by the sum of what came. NaN where nothing came."""
    total = float(np.abs(actual).sum())
    return float(np.abs(actual - predicted).sum()) / total if total > 0 else float("nan")


def pinball(actual: Floats, quantiles: Floats, shares: Sequence[float]) -> Floats:
    """Of each row: the mean over the shares of the quantile loss
    ``max(share * (a - q), (share - 1) * (a - q))``; ``quantiles`` has a column for each share."""
    off = actual[:, None] - quantiles
    share = np.asarray(shares)[None, :]
    losses: Floats = np.maximum(share * off, (share - 1) * off)
    means: Floats = losses.mean(axis=1)
    return means


def crps(actual: Floats, quantiles: Floats, shares: Sequence[float]) -> Floats:
    """Of each row: the continuous ranked probability score as twice the mean quantile loss over
    evenly spaced shares (Laio and Tamea, 2007)."""
    return 2 * pinball(actual, quantiles, shares)


def block_bootstrap(
    hits: Sequence[Floats], draws: int = 2000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """An interval of the mean of ``hits``, where all values of one block are drawn together.

    A block is what one series did: its windows overlap, so that only whole series are independent.
    """
    source = np.random.Generator(np.random.PCG64(seed))
    sums = np.array([each.sum() for each in hits], "float64")
    counts = np.array([len(each) for each in hits], "float64")
    picks = source.integers(0, len(hits), (draws, len(hits)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
