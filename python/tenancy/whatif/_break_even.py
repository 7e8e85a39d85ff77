"""The usage at which two price books cost the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

from .. import _core, _exact
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Number, Price, PriceBook

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_MOST = 10**15
_EDGES_MAX = 4_000_000


def break_even(
    base: PriceBook,
    other: PriceBook,
    metric: str,
    *,
    names: tuple[str, str] = ("base", "other"),
    usage: Mapping[str, Number] | None = None,
    up_to: int | None = None,
    at_least: int = 0,
) -> Frame:
    """Which of two price books is cheaper for which whole quantity of a metric.

    `usage` is what is used of the other metrics (nothing, where it is left out). The answer has a
    row for each range of quantities, in their order: from and to (inclusive; None for `up_to` and
    beyond), cheaper (one of `names`, or ``same``), and what both cost at ``from``. Every whole
    quantity up to `up_to` is looked at; without it twice the last bound of any tier, or `at_least`.
    Where a price rounds to its currency, amounts that differ by less than its smallest unit may
    cross more often than the answer says.

    >>> from tenancy.pricing import PriceBook
    >>> paid = PriceBook.from_dict(
    ...     {"price_book": "a", "currency": "USD", "metrics": {"calls": {"unit": 2}}})
    >>> flat = PriceBook.from_dict(
    ...     {"price_book": "b", "currency": "USD", "base_fee": 10, "metrics": {"calls": 0}})
    >>> [(row["from"], row["cheaper"]) for row in break_even(paid, flat, "calls")]
    [(0, 'base'), (5, 'same'), (6, 'other')]
    """
    for name, book in zip(names, (base, other), strict=True):
        if metric not in book:
            raise InvalidValue(
                "metric", f"{name} has no price for {metric}", remedy=f"it has {', '.join(book)}"
            )
    if base.currency != other.currency:
        raise InvalidValue(
            "currency", f"{names[0]} is in {base.currency} and {names[1]} in {other.currency}"
        )
    bounds = [end for book in (base, other) for end in _ends(book[metric])]
    if up_to is None:
        up_to = max(2 * int(max(bounds, default=Decimal(1000))), at_least, 1)
    if not isinstance(up_to, int) or not 0 < up_to <= _MOST:
        raise InvalidValue("up_to", f"expected a whole number from 1 to {_MOST}, got {up_to!r}")
    return _ranges(_Race(base, other, metric, usage or {}), bounds, up_to, names)


class _Race:
    """Two books side by side."""

    def __init__(
        self, base: PriceBook, other: PriceBook, metric: str, usage: Mapping[str, Number]
    ) -> None:
        self.books = (base, other)
        self.metric = metric
        self.usage = [
            {name: quantity for name, quantity in usage.items() if name != metric and name in book}
            for book in self.books
        ]

    def amounts(self, quantities: Any) -> tuple[_core.Amounts, _core.Amounts]:
        """What both cost at each of the quantities."""
        np = _exact.numpy()
        first, second = (
            book.amounts(
                {
                    self.metric: np.asarray(quantities, "int64"),
                    **{name: [value] * len(quantities) for name, value in usage.items()},
                }
            )
            for book, usage in zip(self.books, self.usage, strict=True)
        )
        return first, second

    def signs(self, quantities: Any) -> NDArray[np.int64]:
        """-1 where the other book is cheaper, 1 where it is dearer, 0 where both are the same."""
        first, second = self.amounts(quantities)
        return _exact.signs(_exact.subtract(_exact.words(second), _exact.words(first)))


def _ranges(race: _Race, bounds: list[Decimal], up_to: int, names: tuple[str, str]) -> Frame:
    np = _exact.numpy()
    points = np.unique(np.fromiter(_candidates(race, bounds, up_to), "int64"))
    points = _with_kinks(race, points[(points >= 0) & (points <= up_to)])
    signs = race.signs(points)
    starts = [(0, int(signs[0]))]
    # Between two candidates the difference runs straight: where the signs differ it passes once
    # from the one to the other, perhaps through quantities that cost the same.
    for at in np.flatnonzero(signs[:-1] != signs[1:]).tolist():
        starts += _crossings(race, int(points[at]), int(points[at + 1]), int(signs[at + 1]))
    kept = [start for at, start in enumerate(starts) if at == 0 or start[1] != starts[at - 1][1]]
    begins = [begin for begin, _ in kept]
    first, second = race.amounts(begins)
    label = {-1: names[1], 0: "same", 1: names[0]}
    return Frame(
        {
            "from": begins,
            "to": [*(begin - 1 for begin in begins[1:]), None],
            "cheaper": [label[sign] for _, sign in kept],
            names[0]: first,
            names[1]: second,
            "currency": [race.books[0].currency] * len(kept),
        }
    )


def _crossings(race: _Race, low: int, high: int, sign: int) -> list[tuple[int, int]]:
    """Where the sign of `low` ends and where that of `high` begins."""
    found = []
    before = int(race.signs([low])[0])
    end = _first(race, low, high, lambda value: value != before)
    middle = int(race.signs([end])[0])
    found.append((end, middle))
    if middle != sign:
        found.append((_first(race, end, high, lambda value: value == sign), sign))
    return found


def _first(race: _Race, low: int, high: int, holds: Any) -> int:
    """The first quantity in (low, high] whose sign `holds`: once it does, it does up to `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        if holds(int(race.signs([middle])[0])):
            high = middle
        else:
            low = middle
    return high


def _ends(price: Price) -> list[Decimal]:
    return [end for _, end in _core.price_ranges(price) if end is not None]


def _candidates(race: _Race, bounds: list[Decimal], up_to: int) -> Iterable[int]:
    """Every quantity at which the price of a unit may change, and the one after it."""
    yield from (0, 1, up_to)
    for bound in bounds:
        whole = int(bound.to_integral_value(ROUND_FLOOR))
        yield from (whole - 1, whole, whole + 1)
    for book in race.books:
        yield from _package_edges(book[race.metric], up_to)


def _package_edges(price: Price, up_to: int) -> Iterable[int]:
    """Where another package begins. Packages are counted from the beginning of their tier, which is
    one of the bounds, with or without the included units."""
    how = price.rules["package_rounding"]
    if how == "exact" or all(tier.package == 1 for tier in price.tiers):
        return
    lower = Decimal(0)
    for tier in price.tiers:
        upper = Decimal(up_to) if tier.up_to is None else tier.up_to + price.included
        for origin in dict.fromkeys((lower, lower + price.included, price.included)):
            first = origin + (tier.package / 2 if how == "half_up" else 0)
            count = int((min(upper, Decimal(up_to)) - first) / tier.package) + 1
            if count > _EDGES_MAX:
                raise InvalidValue(
                    "up_to", f"there are {count} packages up to {up_to}", remedy="give a lower one"
                )
            if tier.package != 1:
                for at in range(max(count, 0) + 1):
                    edge = int((first + at * tier.package).to_integral_value(ROUND_FLOOR))
                    yield from (edge - 1, edge, edge + 1)
        lower = tier.up_to or lower


def _with_kinks(race: _Race, points: NDArray[np.int64]) -> NDArray[np.int64]:
    """The points, and where a minimum ends or a maximum begins between two of them.

    Between two points each amount is one straight line, raised and cut: flat, sloped, flat. So the
    end of a flat beginning and the start of a flat end are found by halving.
    """
    np = _exact.numpy()
    gaps = np.flatnonzero(np.diff(points) > 1)
    found: list[Any] = [points]
    for side in range(2):
        low, high = points[gaps], points[gaps + 1]
        for forward in (True, False):
            begin, end = low.copy(), high.copy()
            level = _exact.words(race.amounts(low if forward else high)[side])
            while (end - begin > 1).any():
                middle = (begin + end) // 2
                same = (_exact.words(race.amounts(middle)[side]) == level).all(axis=1)
                inner = end - begin > 1
                begin = np.where(inner & (same == forward), middle, begin)
                end = np.where(inner & (same != forward), middle, end)
            found += [begin, end]
    return np.unique(np.concatenate(found))  # type: ignore[no-any-return]
