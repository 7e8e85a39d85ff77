"""Where usage lies among the tiers of a price."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Context, Decimal
from typing import TYPE_CHECKING, Any

from .. import _core, _exact
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Number, Price

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_STEP = Decimal("1e-12")
_FLOOR = Context(prec=60, rounding=ROUND_FLOOR)


def heatmap(price: Price, used: _core.Amounts, bins: int) -> Frame:
    """Counts and sums of the quantities by tier and part of the tier."""
    np = _exact.numpy()
    if not isinstance(bins, int) or isinstance(bins, bool) or not 1 <= bins <= 1000:
        raise InvalidValue("bins", f"expected a whole number from 1 to 1000, got {bins!r}")
    tiers, parts, lasts = [], [], []
    above: Decimal | None = None
    for tier, last in _core.price_ranges(price):
        cuts = _cuts(above, last, bins)
        tiers += [tier] * len(cuts)
        parts += list(range(1, len(cuts) + 1))
        lasts += cuts
        above = last
    bounds = [last for last in lasts if last is not None]
    buckets = _buckets(price, used, bounds)
    return Frame(
        {
            "tier": tiers,
            "bin": parts,
            "above": [None, *lasts[:-1]],
            "up_to": lasts,
            "customers": np.bincount(buckets, minlength=len(tiers)).tolist(),
            "quantity": _exact.sums(used, buckets, len(tiers)),
        },
        amounts=["above", "up_to"],
    )


def near(
    price: Price, used: _core.Amounts, percent: Number
) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """The rows that lie within so many percent below the end of their tier, the nearest first, and
    what there is to say of them."""
    np = _exact.numpy()
    share = _core.exact(percent, "percent")
    if not 0 < share <= 100:
        raise InvalidValue("percent", f"expected a number above 0 and up to 100, got {percent}")
    ranges = _core.price_ranges(price)
    ends = [last for _, last in ranges if last is not None]
    # The part of each tier that counts as near its end, as a range of its own.
    bounds: list[Decimal] = []
    for at, end in enumerate(ends):
        below = _FLOOR.multiply(end, 1 - share / 100).quantize(_STEP, ROUND_FLOOR, _FLOOR)
        bounds += [max(below, ends[at - 1] if at else below), end]
    buckets = _buckets(price, used, bounds)
    rows = np.flatnonzero((buckets % 2 == 1) & (buckets < len(bounds)))
    tiers = buckets[rows] // 2
    quantities = _core.take_rows(used, 1, rows)
    boundaries = _core.amounts_of_numbers([ends[at] for at in tiers.tolist()], "boundary")
    left = _exact.subtract(_exact.words(boundaries), _exact.words(quantities))
    shares = _exact.floats(_exact.amounts(left)) / np.maximum(_exact.floats(boundaries), 1e-12)
    ranks = np.argsort(shares, kind="stable")
    columns = {
        "tier": [ranges[at][0] for at in tiers[ranks].tolist()],
        "quantity": _core.take_rows(quantities, 1, ranks),
        "boundary": _core.take_rows(boundaries, 1, ranks),
        "left": _exact.amounts(left[ranks]),
        "percent": (shares[ranks] * 100).tolist(),
    }
    return rows[ranks], columns


def _cuts(above: Decimal | None, last: Decimal | None, bins: int) -> list[Decimal | None]:
    """Where the parts of a range end."""
    lower = Decimal(0) if above is None else above
    if last is None or last <= lower:
        return [last]
    width = last - lower
    cuts: list[Decimal | None] = []
    before = lower
    for part in range(1, bins):
        cut = _FLOOR.add(lower, _FLOOR.divide(_FLOOR.multiply(width, Decimal(part)), Decimal(bins)))
        cut = cut.quantize(_STEP, ROUND_FLOOR, _FLOOR)
        if cut > before:
            cuts.append(cut)
            before = cut
    return [*cuts, last]


def _buckets(price: Price, used: _core.Amounts, bounds: list[Decimal]) -> NDArray[np.int64]:
    np = _exact.numpy()
    found = np.frombuffer(_core.tier_buckets(price, used, bounds), "<u4")
    return found.astype("int64")  # type: ignore[no-any-return]
