"""How sure a revenue is: sums over tenants drawn with replacement."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from .. import _core, _exact
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import round_money

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_DIGITS = 12
_AT_ONCE = 2_000_000  # tenants drawn at once: what stays in the cache of a processor


def check_level(level: float) -> Fraction:
    """A share between 0 and 1, as it is written."""
    try:
        share = Fraction(str(level))
    except ValueError:
        share = Fraction(0)
    if not 0 < share < 1:
        raise InvalidValue("level", f"expected a share between 0 and 1, got {level!r}")
    return share


def revenue_intervals(
    totals: Mapping[str, _core.Amounts],
    base: str,
    currency: str,
    level: float,
    samples: int,
    seed: int,
) -> Frame:
    """Revenue under each book, and its change against `base`, with their intervals."""
    np = _exact.numpy()
    share = check_level(level)
    if not isinstance(samples, int) or samples < 2 / (1 - share):
        raise InvalidValue(
            "samples", f"{samples} are too few for {level}: expected {int(2 / (1 - share)) + 1}"
        )
    if len(totals[base]) < 2:
        raise InvalidValue("usage", "an interval needs two tenants at least")
    digits, units = _whole(totals)
    order = list(totals)
    drawn = _drawn(units, samples, np.random.default_rng(seed))
    changes = drawn - drawn[:, [order.index(base)]]

    def ends(values: Any) -> tuple[list[Decimal], list[Decimal]]:
        """The middle of the samples: as many are cut off below as above."""
        ranked = np.sort(values, axis=0)
        cut = int((1 - share) / 2 * samples)
        low, high = ranked[cut].tolist(), ranked[samples - 1 - cut].tolist()
        return [_money(x, digits, currency) for x in low], [
            _money(x, digits, currency) for x in high
        ]

    low, high = ends(drawn)
    change_low, change_high = ends(changes)
    revenue = [totals[name].sum() for name in order]
    return Frame(
        {
            "book": order,
            "revenue": revenue,
            "low": low,
            "high": high,
            "change": [amount - totals[base].sum() for amount in revenue],
            "change_low": change_low,
            "change_high": change_high,
            "currency": [currency] * len(order),
        },
        amounts=["revenue", "low", "high", "change", "change_low", "change_high"],
    )


def _money(units: int, digits: int, currency: str) -> Decimal:
    return round_money(Decimal(units).scaleb(-digits), currency)


def _whole(totals: Mapping[str, _core.Amounts]) -> tuple[int, NDArray[np.int64]]:
    """Each tenant's amounts in whole units of as many digits as no sum can overflow with.

    Whole numbers make the sums the same on every machine.
    """
    np = _exact.numpy()
    columns = [values.tolist() for values in totals.values()]
    most = max((abs(amount) for column in columns for amount in column), default=Decimal(0))
    count = len(columns[0])
    digits = _DIGITS
    while digits > 0 and int(most.scaleb(digits)) * count >= 1 << 61:
        digits -= 1
    if int(most.scaleb(digits)) * count >= 1 << 61:
        raise InvalidValue("usage", "the revenue is above what an interval is computed for")
    whole = [[int(amount.scaleb(digits)) for amount in column] for column in columns]
    return digits, np.array(whole, "int64").T


def _drawn(units: NDArray[np.int64], samples: int, source: Any) -> NDArray[np.int64]:
    """The sums of so many draws: a row for each, a column for each book."""
    np = _exact.numpy()
    count = len(units)
    sums = np.empty((samples, units.shape[1]), "int64")
    columns = np.ascontiguousarray(units.T)
    step = max(1, _AT_ONCE // count)
    for begin in range(0, samples, step):
        end = min(samples, begin + step)
        drawn = source.integers(0, count, size=(end - begin, count), dtype="int64")
        for at, column in enumerate(columns):
            sums[begin:end, at] = column[drawn].sum(axis=1)
    return sums  # type: ignore[no-any-return]
