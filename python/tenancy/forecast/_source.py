"""Where a forecast's distribution comes from: calibrated records, or samples that were given."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import InvalidValue
from ._calibration import Fit, Pool
from ._methods import Floats
from ._random import keys_of, uniforms

Wholes = NDArray[np.int64]

_MOST = 2.0**61


class Source(Protocol):
    """The remaining usage of each series, in the units of its history."""

    @property
    def samples(self) -> int:
        """How many draws there are."""

    def reason(self, row: int) -> str | None:
        """Why a series has no distribution."""

    def refusal(self, row: int, level: float) -> str | None:
        """Why a series has no interval of this level."""

    def remaining(self, share: float) -> Floats:
        """A quantile of every series; NaN where there is no distribution."""

    def draw(self, rows: Wholes) -> Wholes:
        """``samples`` whole numbers of each of these series."""

    def paths(self, row: int) -> Wholes:
        """What is used up to the end of each step, a row for each sample."""


def check_share(field: str, share: float) -> None:
    """That it is a probability that a quantile can have."""
    if isinstance(share, bool) or not isinstance(share, float | int) or not 0 < share < 1:
        raise InvalidValue(field, f"{share!r}, expected a number between 0 and 1")


def whole(values: Floats) -> Wholes:
    """Not below zero, and to whole units."""
    return np.rint(np.clip(values, 0.0, _MOST)).astype("int64")


class Calibrated:
    """Points and scales of now with the residuals of the past.

    ``weights`` say how much of each step lies ahead: less than one where a period begins or ends
    inside it.
    """

    def __init__(
        self,
        fit: Fit,
        weights: Floats,
        tenants: list[Any],
        tenant_of: Wholes,
        samples: int,
        seed: int,
    ) -> None:
        self.fit, self.tenants, self.tenant_of, self.seed = fit, tenants, tenant_of, seed
        self._samples = samples
        self._ahead = np.cumsum(fit.points * weights, axis=1)

    @property
    def samples(self) -> int:
        return self._samples

    def _pool(self, row: int) -> Pool | None:
        number = int(self.fit.pool_of[row])
        return None if number < 0 else self.fit.pools[number]

    def reason(self, row: int) -> str | None:
        if self.fit.reasons[row] is not None:
            return self.fit.reasons[row]
        return None if self._pool(row) else "nothing to calibrate by"

    def refusal(self, row: int, level: float) -> str | None:
        pool = self._pool(row)
        return self.reason(row) if pool is None else pool.refusal(level)

    def remaining(self, share: float) -> Floats:
        total = self._ahead[:, -1]
        offsets = np.array([*(pool.quantile(share) for pool in self.fit.pools), np.nan])
        # The middle is the point itself: the pool was centred.
        found = total if share == 0.5 else total + self.fit.scales * offsets[self.fit.pool_of]
        return np.where(self.fit.pool_of < 0, np.nan, np.maximum(0.0, found))

    def _records(self, pool: Pool, rows: Wholes) -> Wholes:
        """The record of each sample: one origin for all series, so that what happens to all of them
        at once does so in their sum too; then a record of that origin for each tenant."""
        shared = ((np.arange(self.samples) + 0.5) / self.samples * pool.records).astype("int64")
        origin = np.searchsorted(pool.ends, shared, side="right")
        begin = np.concatenate(([0], pool.ends))[origin]
        count = pool.ends[origin] - begin
        keys = keys_of([self.tenants[t] for t in self.tenant_of[rows]], self.seed)
        within = (uniforms(keys, self.samples) * count[None, :]).astype("int64")
        records: Wholes = begin[None, :] + within
        return records

    def draw(self, rows: Wholes) -> Wholes:
        found = np.empty((len(rows), self.samples), "int64")
        for number, pool in enumerate(self.fit.pools):
            mine = np.flatnonzero(self.fit.pool_of[rows] == number)
            if len(mine):
                some = rows[mine]
                residuals = pool.paths[:, -1][self._records(pool, some)]
                residuals *= self.fit.scales[some, None]
                residuals += self._ahead[some, -1][:, None]
                found[mine] = whole(residuals)
        return found

    def paths(self, row: int) -> Wholes:
        pool = self._pool(row)
        if pool is None:
            raise InvalidValue("tenant", self.reason(row) or "has no forecast")
        record = self._records(pool, np.array([row]))[0]
        way = np.maximum(0.0, self._ahead[row] + self.fit.scales[row] * pool.paths[record])
        # Usage does not go back, and ends where the sample of the total ends.
        risen = np.maximum.accumulate(way, axis=1)
        return whole(np.minimum(risen, way[:, -1:]))


@dataclass
class Given:
    """Samples of the caller, of the remaining usage; they grow evenly over the steps."""

    table: Wholes
    steps: int

    @property
    def samples(self) -> int:
        return int(self.table.shape[1])

    def reason(self, row: int) -> str | None:  # noqa: ARG002 - the protocol's
        return None

    def refusal(self, row: int, level: float) -> str | None:  # noqa: ARG002 - the protocol's
        return None

    def remaining(self, share: float) -> Floats:
        place = int(np.clip(np.ceil(share * self.samples - 1e-9) - 1, 0, self.samples - 1))
        return np.partition(self.table, place, axis=1)[:, place].astype("float64")

    def draw(self, rows: Wholes) -> Wholes:
        return self.table[rows]

    def paths(self, row: int) -> Wholes:
        share = np.arange(1, self.steps + 1) / self.steps
        return whole(self.table[row][:, None] * share[None, :])
