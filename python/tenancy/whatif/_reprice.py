"""A customer base priced under several price books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from .. import _core, _exact
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Number, PerUnit, PriceBook
from . import _tiers
from ._bootstrap import revenue_intervals
from ._break_even import break_even
from ._scenarios import Base, Books, check_books, known, metrics_of, pair, seats_by_row
from ._table import (
    Customers,
    PeriodUnit,
    Tenant,
    moment,
    plans_of,
    seats_of,
    table_of,
    with_customers,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def reprice(
    usage: Any,
    books: Mapping[str, Books],
    *,
    period: PeriodUnit = "month",
    zone: str = "UTC",
    plans: Any = None,
    seats: Any = None,
    customers: Customers = "used",
    unpriced: Literal["refuse", "free"] = "refuse",
    columns: Mapping[str, str] | None = None,
) -> Repricing:
    """Price a customer base under several price books.

    `usage` is a frame of pandas, polars, DuckDB, pyarrow or this package, or a mapping of columns:
    ``tenant`` (text or whole number), ``time`` (without a zone: UTC), ``metric`` and ``quantity``
    (whole numbers or decimals); events, or sums of any grain that is finer than the period.
    `columns` says what they are called. Quantities are summed by tenant and calendar period in
    `zone`, exactly and in any order, and each sum is priced.

    `books` gives each scenario its name: one price book for all, of which the plans that it names
    get their included units, or price books by plan. `plans` is the plan of each tenant: a mapping,
    or a frame with the columns tenant and plan. `seats` is the same with the column seats.

    `customers` says which periods are billed: those with usage (``"used"``), from a tenant's first
    to its last usage (``"span"``), from its first usage on (``"since"``), or every period, also for
    tenants that only `plans` or `seats` name (``"all"``). `unpriced` says what usage of a metric
    that a book does not price is: an error, or free.

    Raises `InvalidValue`, which names the column and the row, or the tenant, the period and the
    book.
    """
    currency = check_books(books)
    if unpriced not in ("refuse", "free"):
        raise InvalidValue("unpriced", f'expected "refuse" or "free", got {unpriced!r}')
    metrics = None if unpriced == "free" else metrics_of(books)
    table = table_of(usage, metrics, period, zone, customers, columns)
    plan_by_tenant, seats_by_tenant = plans_of(plans), seats_of(seats)
    if customers == "all":
        there = set(table.ids)
        named = dict.fromkeys([*plan_by_tenant, *seats_by_tenant])
        table = with_customers(table, [tenant for tenant in named if tenant not in there])
    base = Base(
        table,
        tuple(map(plan_by_tenant.get, table.ids)),
        seats_by_row(table, seats_by_tenant),
        plans is not None,
        unpriced == "free",
    )
    amounts = {name: base.priced(name, scenario) for name, scenario in books.items()}
    return Repricing(base, dict(books), amounts, currency)


class Repricing:
    """What a customer base comes to under each price book. Made by `reprice`; immutable.

    A *customer period* is a tenant in a period. Scenarios are compared two at a time: `base` and
    `other` name them, and may be left out where there are just two.
    """

    __slots__ = ("_amounts", "_base", "_books", "currency")

    currency: str

    def __init__(
        self,
        base: Base,
        books: Mapping[str, Books],
        amounts: Mapping[str, _core.Amounts],
        currency: str,
    ) -> None:
        self._base = base
        self._books = books
        self._amounts = amounts
        self.currency = currency

    @property
    def books(self) -> tuple[str, ...]:
        """The names of the scenarios."""
        return tuple(self._books)

    @property
    def tenants(self) -> tuple[Tenant, ...]:
        """Every tenant."""
        return self._base.table.ids

    @property
    def periods(self) -> tuple[datetime, ...]:
        """Where the periods begin, in UTC."""
        return tuple(moment(ns) for ns in self._base.table.starts[:-1])

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric."""
        return tuple(self._base.table.columns)

    def __len__(self) -> int:
        return len(self._base.table)

    def __repr__(self) -> str:
        return (
            f"<Repricing: {len(self.tenants)} tenants, {len(self)} customer periods, "
            f"{', '.join(self.books)} in {self.currency}>"
        )

    def amounts(self, book: str) -> _core.Amounts:
        """What each customer period comes to under a book, in the order of `frame`."""
        return self._amounts[known(self.books, book)]

    def quantities(self, metric: str) -> _core.Amounts:
        """What each customer period used."""
        return self._base.table.amounts(known(self.metrics, metric))

    # --- frames

    def frame(self) -> Frame:
        """A row for each customer period: tenant, period, plan, the amount under each book."""
        rows = _exact.numpy().arange(len(self))
        return Frame({**self._keys(rows), **self._amounts, "currency": self._money(len(self))})

    def by_tenant(self) -> Frame:
        """A row for each tenant: plan, and the amount under each book over all periods."""
        totals = {name: self._tenant_totals(name) for name in self.books}
        keys = {"tenant": list(self.tenants), **self._plan_column(range(len(self.tenants)))}
        return Frame({**keys, **totals, "currency": self._money(len(self.tenants))})

    def totals(self, by: Literal["plan", "period"] | None = None) -> Frame:
        """Revenue under each book: of all, of each plan, or of each period.

        The columns are book, plan or period, tenants, revenue and currency.
        """
        np = _exact.numpy()
        table = self._base.table
        labels: list[Any]
        if by is None:
            labels, codes = [None], np.zeros(len(self), "int64")
            tenants = [len(self.tenants)]
        elif by == "period":
            labels, codes = list(self.periods), table.periods
            tenants = np.bincount(codes, minlength=len(labels)).tolist()
        elif by == "plan":
            labels = list(dict.fromkeys(self._base.plans))
            places = {plan: at for at, plan in enumerate(labels)}
            of_tenant = np.array([places[plan] for plan in self._base.plans], "int64")
            codes = of_tenant[table.tenants]
            tenants = np.bincount(of_tenant, minlength=len(labels)).tolist()
        else:
            raise InvalidValue("by", f'expected "plan", "period" or nothing, got {by!r}')
        revenue = [
            amount
            for name in self.books
            for amount in _exact.sums(self._amounts[name], codes, len(labels))
        ]
        count = len(self.books)
        key: dict[str, Any] = {} if by is None else {by: labels * count}
        return Frame(
            {
                "book": [name for name in self.books for _ in labels],
                **key,
                "tenants": tenants * count,
                "revenue": revenue,
                "currency": self._money(len(revenue)),
            },
            amounts=["revenue"],
        )

    # --- two books

    def winners_losers(self, base: str | None = None, other: str | None = None) -> Frame:
        """Each tenant under both books, from who saves most to who pays most more.

        The columns are tenant, plan, the two amounts, change (other - base), percent (of base; None
        where that is zero), outcome (``pays less``, ``pays more``, ``same``) and currency.
        """
        base, other = pair(self.books, base, other)
        before, after = self._tenant_totals(base), self._tenant_totals(other)
        change = _exact.subtract(_exact.words(after), _exact.words(before))
        rows = _exact.order(change)
        names = {-1: "pays less", 0: "same", 1: "pays more"}
        return Frame(
            {
                "tenant": _exact.pick(self.tenants, rows),
                **self._plan_column(rows.tolist()),
                base: _core.take_rows(before, 1, rows),
                other: _core.take_rows(after, 1, rows),
                "change": _exact.amounts(change[rows]),
                "percent": _percents(before, after, rows),
                "outcome": _exact.pick(names, _exact.signs(change)[rows]),
                "currency": self._money(len(rows)),
            }
        )

    def bill_shock(
        self,
        percent: Number,
        base: str | None = None,
        other: str | None = None,
        *,
        least: Number = 0,
    ) -> Frame:
        """The customer periods whose bill rises by more than `percent`, and by more than `least`.

        From the largest rise on. Where nothing was due before, any amount is more than any percent.
        """
        base, other = pair(self.books, base, other)
        before, after = self._amounts[base], self._amounts[other]
        share = _core.exact(percent, "percent")
        if share <= -100:
            raise InvalidValue("percent", f"expected a number above -100, got {percent}")
        change = _exact.subtract(_exact.words(after), _exact.words(before))
        grown = PerUnit(1 + share / 100, rules={"negative": "credit"}).amounts(before)
        floor = _exact.words(_core.amounts_of_numbers([least], "least"))
        shocked = _exact.above(_exact.words(after), _exact.words(grown))
        shocked &= _exact.above(change, floor.repeat(len(self), axis=0))
        ranks = _exact.order(change)[::-1]
        rows = ranks[shocked[ranks]]
        return Frame(
            {
                **self._keys(rows),
                base: _core.take_rows(before, 1, rows),
                other: _core.take_rows(after, 1, rows),
                "change": _exact.amounts(change[rows]),
                "percent": _percents(before, after, rows),
                "currency": self._money(len(rows)),
            }
        )

    def break_even(
        self,
        metric: str,
        base: str | None = None,
        other: str | None = None,
        *,
        plan: str | None = None,
        up_to: int | None = None,
    ) -> Frame:
        """`break_even` of the two books of a plan, with how many customer periods lie where.

        It adds the columns customers and quantity: those whose usage of the metric lies in a range.
        """
        np = _exact.numpy()
        base, other = pair(self.books, base, other)
        known(self.metrics, metric)
        first, rows = self._book(base, plan)
        second, _ = self._book(other, plan)
        used = self.quantities(metric)
        if rows is not None:
            used = _core.take_rows(used, 1, rows)
        most = int(max(used.tolist(), default=Decimal(0)))
        found = break_even(
            first, second, metric, names=(base, other), up_to=up_to, at_least=most + 1
        )
        starts = _core.amounts_of_wholes(np.array(found["from"], "int64"), 0)
        # A quantity between two whole ones belongs to the range of the lower one.
        bounds = [start - Decimal("1e-12") for start in starts.tolist()[1:]]
        buckets = np.frombuffer(
            _core.tier_buckets(_COUNT, used, bounds), "<u4"
        ).astype("int64")  # fmt: skip
        held = {name: found[name] for name in found.columns}
        held["customers"] = np.bincount(buckets, minlength=len(found)).tolist()
        held["quantity"] = _exact.sums(used, buckets, len(found))
        return Frame(held)

    # --- one book

    def tier_heatmap(
        self, book: str, metric: str, *, plan: str | None = None, bins: int = 10
    ) -> Frame:
        """How many customer periods and how much usage lie in which part of which tier.

        Each tier is cut into `bins` parts of equal width; the open tier is one part. The columns
        are tier (from 1; 0 for no usage and included units), bin (from 1), above and up_to (the
        quantities of the part; up_to is None at the open end), customers and quantity (their usage,
        whole). Where plans have prices of their own, `plan` chooses one.
        """
        price, rows = self._price(book, metric, plan)
        return _tiers.heatmap(price, self._used(metric, rows), bins)

    def near_boundary(
        self, book: str, metric: str, *, percent: Number = 10, plan: str | None = None
    ) -> Frame:
        """The customer periods within `percent` below the end of their tier, the nearest first.

        The columns are tenant, period, plan, tier, quantity, boundary, left (what is missing to the
        boundary) and percent (of the boundary).
        """
        np = _exact.numpy()
        price, rows = self._price(book, metric, plan)
        if rows is None:
            rows = np.arange(len(self))
        found, columns = _tiers.near(price, self._used(metric, rows), percent)
        return Frame({**self._keys(rows[found]), **columns})

    def interval(
        self,
        *,
        level: float = 0.95,
        base: str | None = None,
        samples: int = 2000,
        seed: int = 0,
    ) -> Frame:
        """Revenue under each book with an interval: what it would be with other such tenants.

        By the bootstrap over tenants: as many tenants are drawn with replacement, `samples` times,
        the same ones for each book, and the interval holds the middle `level` of the sums. The
        columns are book, revenue, low, high, change, change_low, change_high (against `base`, the
        first book unless named) and currency. The same seed gives the same interval.
        """
        totals = {name: self._tenant_totals(name) for name in self.books}
        base = known(self.books, base or self.books[0])
        return revenue_intervals(totals, base, self.currency, level, samples, seed)

    # --- parts

    def _keys(self, rows: NDArray[np.int64]) -> dict[str, Any]:
        table = self._base.table
        tenants = table.tenants[rows]
        return {
            "tenant": _exact.pick(table.ids, tenants),
            "period": _exact.pick(self.periods, table.periods[rows]),
            **self._plan_column(tenants.tolist()),
        }

    def _plan_column(self, tenants: Sequence[int] | range) -> dict[str, Any]:
        if not self._base.planned:
            return {}
        return {"plan": [self._base.plans[tenant] for tenant in tenants]}

    def _money(self, rows: int) -> list[str]:
        return [self.currency] * rows

    def _tenant_totals(self, book: str) -> _core.Amounts:
        return _exact.sums(self._amounts[book], self._base.table.tenants, len(self.tenants))

    def _used(self, metric: str, rows: Any) -> _core.Amounts:
        used = self._base.table.amounts(metric)
        return used if rows is None else _core.take_rows(used, 1, rows)

    def _book(self, book: str, plan: str | None) -> tuple[PriceBook, Any]:
        """The book of a plan, and its rows (None: all of them)."""
        groups = self._base.groups(book, self._books[known(self.books, book)])
        if plan is not None:
            for found, of, rows in groups:
                if of == plan:
                    return found, rows
            raise InvalidValue("plan", f"no tenant has the plan {plan!r}")
        if not groups:
            raise InvalidValue("usage", "there is none")
        if any(found != groups[0][0] for found, _, _ in groups[1:]):
            raise InvalidValue(
                "plan",
                f"plans have books of their own under {book}",
                remedy=f"name one of {', '.join(str(of) for _, of, _ in groups)}",
            )
        return groups[0][0], None

    def _price(self, book: str, metric: str, plan: str | None) -> tuple[Any, Any]:
        found, rows = self._book(book, plan)
        if metric not in found or metric not in self._base.table.columns:
            raise InvalidValue(
                "metric", f"{book} has no price for {metric}", remedy=f"it has {', '.join(found)}"
            )
        return found[metric], rows


_COUNT = PerUnit(0)


def _percents(
    before: _core.Amounts, after: _core.Amounts, rows: NDArray[np.int64]
) -> list[float | None]:
    np = _exact.numpy()
    old, new = _exact.floats(before)[rows], _exact.floats(after)[rows]
    with np.errstate(divide="ignore", invalid="ignore"):
        percents: list[float | None] = ((new - old) / abs(old) * 100).tolist()
    for row in np.flatnonzero(old == 0).tolist():
        percents[row] = None
    return percents
