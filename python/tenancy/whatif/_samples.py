"""Revenue as a distribution: samples of usage priced under several price books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from .. import _core, _exact
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Number, PriceBook
from ._bootstrap import check_level
from ._scenarios import Books, book_for, check_books, known, pair
from ._table import Tenant, plans_of, seats_of


def reprice_samples(
    samples: Mapping[str, Any],
    books: Mapping[str, Books],
    *,
    tenants: Sequence[Tenant],
    plans: Any = None,
    seats: Any = None,
) -> SampledRevenue:
    """Price samples of one period's usage, such as those of a forecast, under several price books.

    `samples` has a matrix for each metric: a row for each tenant, a column for each sample, as an
    array of whole numbers of two dimensions, as `Amounts`, row after row, or as a list of such rows
    (``[forecast.draws(tenant, metric) for tenant in tenants]``). Column k of all of
    them is one possible future, so what tenants and metrics have in common stays in the sums.
    `books`, `plans` and `seats` are those of `reprice`. Raises `InvalidValue`, which names the
    metric, the tenant or the book.
    """
    np = _exact.numpy()
    currency = check_books(books)
    samples = {metric: _joined(metric, rows) for metric, rows in samples.items()}
    count = _count(samples, len(tenants))
    plan_by_tenant, seats_by_tenant = plans_of(plans), seats_of(seats)
    labels = [plan_by_tenant.get(tenant) for tenant in tenants]
    kept = list(dict.fromkeys(labels))
    codes = np.array([kept.index(label) for label in labels], "int64")
    totals: dict[str, _core.Amounts] = {}
    for name, scenario in books.items():
        sums = np.zeros((len(kept), count, 2), "int64")
        for at, plan in enumerate(kept):
            rows = np.flatnonzero(codes == at)
            book = book_for(name, scenario, plan, tenants[int(rows[0])])
            usage = {
                metric: _rows(values, rows, count, len(tenants))
                for metric, values in samples.items()
                if metric in _priced(name, book, samples)
            }
            amounts = book.amounts(usage, _seats(book, seats_by_tenant, tenants, rows, count))
            one = _core.sum_rows(amounts, count, np.zeros(len(rows), "int64"), 1)
            sums[at] = _exact.words(one)
        totals[name] = _exact.amounts(sums.reshape(-1, 2))
    sizes = np.bincount(codes, minlength=len(kept)).tolist()
    return SampledRevenue(totals, kept, sizes, count, currency)


class SampledRevenue:
    """Revenue of one period under each price book, as samples. Made by `reprice_samples`."""

    __slots__ = ("_plans", "_sizes", "_totals", "currency", "samples")

    samples: int
    """How many."""
    currency: str

    def __init__(
        self,
        totals: Mapping[str, _core.Amounts],
        plans: Sequence[str | None],
        sizes: Sequence[int],
        samples: int,
        currency: str,
    ) -> None:
        self._totals = totals
        self._plans = list(plans)
        self._sizes = list(sizes)
        self.samples = samples
        self.currency = currency

    @property
    def books(self) -> tuple[str, ...]:
        """The names of the scenarios."""
        return tuple(self._totals)

    def revenue(self, book: str) -> _core.Amounts:
        """The sum over all tenants, for each sample."""
        np = _exact.numpy()
        values = self._totals[known(self.books, book)]
        return _core.sum_rows(values, self.samples, np.zeros(len(self._plans), "int64"), 1)

    def totals(self, by: str | None = None, *, level: float = 0.8) -> Frame:
        """Mean and the middle `level` of revenue under each book, of all or of each plan.

        The columns are book, plan, tenants, mean, low, median, high and currency.
        """
        if by not in (None, "plan"):
            raise InvalidValue("by", f'expected "plan" or nothing, got {by!r}')
        share = float(check_level(level))
        levels = [(1 - share) / 2, 0.5, (1 + share) / 2]
        held: dict[str, list[Any]] = {"mean": [], "low": [], "median": [], "high": []}
        for name in self.books:
            values = self._totals[name] if by else self.revenue(name)
            held["mean"] += _core.row_means(values, self.samples).tolist()
            quantiles = _core.row_quantiles(values, self.samples, levels).tolist()
            for at, column in enumerate(("low", "median", "high")):
                held[column] += quantiles[at::3]
        labels = self._plans if by else [None]
        sizes = self._sizes if by else [sum(self._sizes)]
        key = {"plan": labels * len(self.books)} if by else {}
        return Frame(
            {
                "book": [name for name in self.books for _ in labels],
                **key,
                "tenants": sizes * len(self.books),
                **held,
                "currency": [self.currency] * len(held["mean"]),
            },
            amounts=list(held),
        )

    def probability(self, book: str, above: Number) -> float:
        """The share of the samples in which revenue is above an amount."""
        limit = _core.amounts_of_numbers([above], "above")
        counts = _core.row_counts_above(self.revenue(book), self.samples, limit)
        return int(_exact.numpy().asarray(counts)[0]) / self.samples

    def probability_of_more(self, base: str | None = None, other: str | None = None) -> float:
        """The share of the samples in which `other` brings more than `base`."""
        base, other = pair(self.books, base, other)
        more = _exact.above(_exact.words(self.revenue(other)), _exact.words(self.revenue(base)))
        return int(more.sum()) / self.samples


def _joined(metric: str, values: Any) -> Any:
    """A list of rows as one matrix."""
    if not isinstance(values, list):
        return values
    if all(isinstance(row, _core.Amounts) for row in values):
        if len({len(row) for row in values}) > 1:
            raise InvalidValue(metric, "its rows have different numbers of samples")
        return _core.concat_amounts(values)
    return _exact.numpy().array(values)


def _count(samples: Mapping[str, Any], tenants: int) -> int:
    """How many samples there are, the same for each metric."""
    if not samples or not tenants:
        raise InvalidValue("samples", "expected at least one metric and one tenant")
    first, count = "", 0
    for metric, values in samples.items():
        if isinstance(values, _core.Amounts):
            rows, found = tenants, len(values) // tenants
            fits = len(values) == rows * found
        else:
            shape: Any = getattr(values, "shape", ())
            fits = len(shape) == 2 and shape[0] == tenants
            found = shape[1] if fits else 0
        if not fits or found == 0:
            raise InvalidValue(
                metric, f"expected a matrix with a row for each of the {tenants} tenants"
            )
        if first and found != count:
            raise InvalidValue(metric, f"has {found} samples, but {first} has {count}")
        first, count = first or metric, found
    return count


def _rows(values: Any, rows: Any, count: int, tenants: int) -> Any:
    if len(rows) == tenants:
        return values if isinstance(values, _core.Amounts) else values.reshape(-1)
    if isinstance(values, _core.Amounts):
        return _core.take_rows(values, count, rows)
    return values[rows].reshape(-1)


def _priced(name: str, book: PriceBook, samples: Mapping[str, Any]) -> Sequence[str]:
    for metric in samples:
        if metric not in book:
            raise InvalidValue(
                "metric", f"{name} has no price for {metric}", remedy=f"it has {', '.join(book)}"
            )
    return list(samples)


def _seats(
    book: PriceBook,
    seats: Mapping[Tenant, Decimal],
    tenants: Sequence[Tenant],
    rows: Any,
    count: int,
) -> _core.Amounts | None:
    if not seats or book.seats is None:
        return None
    np = _exact.numpy()
    counts = [seats.get(tenants[row], Decimal(0)) for row in rows.tolist()]
    by_tenant = _core.amounts_of_numbers(counts, "seats")
    return _core.take_rows(by_tenant, 1, np.arange(len(rows)).repeat(count))
