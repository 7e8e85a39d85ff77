"""What a forecast costs: its draws priced, exactly, by tenant, plan and in total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import _core
from ..errors import InvalidValue
from ..frames import Frame
from ..pricing import Number, Price, PriceBook
from ._source import Wholes, check_share
from ._windows import level_name

if TYPE_CHECKING:
    from ._forecast import Forecast

Prices: TypeAlias = PriceBook | Price | Mapping[str, PriceBook] | Mapping[str, Price]
"""A book; the price of the only metric; books by plan; prices by metric."""

_SHARES = (0.1, 0.5, 0.9)
_NEVER_FALLS = frozenset({"per_unit", "graduated", "package"})


class Pricer:
    """The prices of a group of tenants."""

    def __init__(self, prices: PriceBook | Mapping[str, Price], name: str) -> None:
        self.prices, self.name = prices, name
        currencies = {p.currency for p in prices.values() if p.currency is not None}
        if isinstance(prices, PriceBook):
            currencies = {prices.currency}
        if len(currencies) > 1:
            raise InvalidValue(
                "prices", f"mixed currencies: {', '.join(sorted(currencies))}",
                remedy="one currency for all metrics of a tenant",
            )  # fmt: skip
        self.currency: str | None = next(iter(currencies), None)

    def check(self, metrics: Sequence[str]) -> None:
        """That every metric has a price."""
        for metric in metrics:
            if metric not in self.prices:
                there = ", ".join(self.prices)
                raise InvalidValue(
                    "prices", f"{self.name} has no price of {metric}; it has {there}"
                )

    def amounts(self, usage: Mapping[str, Any]) -> _core.Amounts:
        """The cost of each element of columns by metric."""
        if isinstance(self.prices, PriceBook):
            return self.prices.amounts(usage)
        total: _core.Amounts | None = None
        for metric, column in usage.items():
            found = self.prices[metric].amounts(column)
            total = found if total is None else _core.add_amounts(total, found)
        assert total is not None, "a group has usage of some metric"
        return total

    def never_falls(self, metric: str) -> bool:
        """Whether more usage never costs less, so that quantiles go through the price."""
        price = self.prices[metric]
        tiers = price.tiers
        if price.rules["negative"] != "refuse" or any(t.unit < 0 or t.flat < 0 for t in tiers):
            return False
        if price.model in _NEVER_FALLS:
            return True
        if price.model == "stairstep":
            flats = [tier.flat for tier in tiers]
            return flats == sorted(flats)
        return False


class CostForecast:
    """The cost of a period as a distribution: of each tenant, each plan and all together.

    Made by `Forecast.cost`. Draw s of every tenant is the same future, so sums over tenants are
    sums of draws: the parts and the whole agree.
    """

    def __init__(
        self,
        forecast: Forecast,
        plan_of: list[str | None],
        pricers: list[Pricer],
        budgets: list[Decimal | None],
    ) -> None:
        self.tenants = forecast.tenants
        """The tenants, in the order of `frame`."""
        self.levels = forecast.levels
        self.samples = forecast.samples
        self._forecast, self._plan_of, self._pricers = forecast, plan_of, pricers
        self._budgets = budgets
        self._rows: list[list[int]] = [[] for _ in self.tenants]
        for row, tenant in enumerate(forecast._tenant_of.tolist()):
            self._rows[tenant].append(row)
        self._reasons = [self._first_reason(rows) for rows in self._rows]
        self._so_far = self._priced(
            lambda rows: forecast._known[rows][:, None], range(len(self.tenants)), 1
        )
        self._matrix = self._draws()

    def __repr__(self) -> str:
        return f"<CostForecast: {len(self.tenants)} tenants, {self.samples} draws>"

    def _repr_html_(self) -> str:
        return self.frame()._repr_html_()

    def _first_reason(self, rows: list[int]) -> str | None:
        found = (self._forecast._source.reason(row) for row in rows)
        return next((reason for reason in found if reason is not None), None)

    def _priced(self, draw: Any, tenants: Sequence[int], width: int) -> _core.Amounts:
        """``width`` amounts for each of these tenants, in this order.

        ``draw`` gives the quantities of some series, a row of that width for each.
        """
        parts: list[_core.Amounts] = []
        order: list[int] = []
        for pricer in dict.fromkeys(self._pricers):
            group = [t for t in tenants if self._pricers[t] is pricer]
            if not group:
                continue
            usage = self._usage(draw, group, width)
            pricer.check(list(usage))
            columns = {metric: self._forecast._column_of(table) for metric, table in usage.items()}
            parts.append(pricer.amounts(columns))
            order += group
        joined = _core.concat_amounts(parts)
        place = {tenant: i for i, tenant in enumerate(order)}
        return _core.take_rows(joined, width, np.array([place[t] for t in tenants], "int64"))

    def _usage(self, draw: Any, tenants: list[int], width: int) -> dict[str, Wholes]:
        """A table by metric; a tenant without usage of a metric has zeros."""
        forecast = self._forecast
        place = {tenant: i for i, tenant in enumerate(tenants)}
        usage: dict[str, Wholes] = {}
        for number, metric in enumerate(forecast.metrics):
            rows = [r for t in tenants for r in self._rows[t] if forecast._metric_of[r] == number]
            if not rows:
                continue
            table = draw(np.array(rows))
            where = np.array([place[int(forecast._tenant_of[r])] for r in rows])
            if len(rows) < len(tenants):
                padded = np.zeros((len(tenants), width), "int64")
                padded[where] = table
                table = padded
            usage[metric] = table
        return usage

    def _draws(self) -> _core.Amounts:
        """A row of draws for each tenant; of those without a forecast, what they owe so far."""
        given = [t for t, reason in enumerate(self._reasons) if reason is None]
        others = [t for t, reason in enumerate(self._reasons) if reason is not None]
        parts = []
        if given:
            parts.append(self._priced(self._forecast._drawn, given, self.samples))
        if others:
            so_far = _core.take_rows(
                self._so_far, 1, np.repeat(np.array(others, "int64"), self.samples)
            )
            parts.append(so_far)
        place = {tenant: i for i, tenant in enumerate(given + others)}
        order = np.array([place[t] for t in range(len(self.tenants))], "int64")
        return _core.take_rows(_core.concat_amounts(parts), self.samples, order)

    # --- answers

    def draws(self, tenant: Any) -> _core.Amounts:
        """Equally likely costs of a tenant's period."""
        return _core.take_rows(self._matrix, self.samples, np.array([self._index(tenant)]))

    def _index(self, tenant: Any) -> int:
        try:
            return self.tenants.index(tenant)
        except ValueError:
            raise InvalidValue("tenant", f"no usage of {tenant!r}") from None

    def interval(
        self, tenant: Any, level: float = 0.8
    ) -> tuple[Decimal, tuple[Decimal, Decimal] | None, str | None]:
        """The median of a tenant's cost and the ends of its interval, as `frame` has them.

        Where the history cannot carry the interval its ends are missing, and the third has the
        reason. Raises `InvalidValue` for a tenant without a forecast.
        """
        check_share("level", level)
        row = self._index(tenant)
        if (reason := self._reasons[row]) is not None:
            raise InvalidValue("tenant", reason)
        shares = [(1 - level) / 2, 0.5, (1 + level) / 2]
        sampled = _core.row_quantiles(self.draws(tenant), self.samples, shares).tolist()
        exact = self._exact_ends(shares)
        low, median, high = (
            exact.get(share, {}).get(row, value)
            for share, value in zip(shares, sampled, strict=True)
        )
        refused = self._refused(row, (level,)).get(level)
        return median, None if refused else (low, high), refused

    def budget(self, tenant: Any) -> Decimal | None:
        """The budget that `Forecast.cost` was given for a tenant."""
        return self._budgets[self._index(tenant)]

    def currency(self, tenant: Any) -> str | None:
        """The currency of a tenant's prices."""
        return self._pricers[self._index(tenant)].currency

    def probability_over(self, budget: Number, tenant: Any = None) -> float:
        """How likely the cost passes a budget: of one tenant, or of all together."""
        exact = _core.amounts_of_numbers([budget], "budget")
        row = self._sum([0] * len(self.tenants), 1) if tenant is None else self.draws(tenant)
        above = int(np.asarray(_core.row_counts_above(row, self.samples, exact))[0])
        return above / self.samples

    def frame(self) -> Frame:
        """One row for each tenant.

        ``so_far`` is the cost of what is known; ``mean``, ``median`` and the ends of the intervals
        are of the whole period. With budgets, ``budget`` and ``over_budget``, the probability to
        pass it. What the history cannot carry is missing, and ``refused`` says why.
        """
        columns: dict[str, Any] = {"tenant": self.tenants}
        if any(plan is not None for plan in self._plan_of):
            columns["plan"] = self._plan_of
        columns["currency"] = [pricer.currency for pricer in self._pricers]
        columns["so_far"] = self._so_far
        refused = [self._refused(tenant) for tenant in range(len(self.tenants))]
        columns |= self._spread(self._matrix, refused, exact=self._exact_ends(self._shares()))
        if any(budget is not None for budget in self._budgets):
            columns["budget"] = self._budgets
            columns["over_budget"] = self._over_budget()
        columns["refused"] = [next(iter(each.values()), None) for each in refused]
        return _money_frame(columns)

    def _refused(self, tenant: int, levels: Sequence[float] | None = None) -> dict[float, str]:
        """The reason by level; 0 is that of the whole forecast."""
        levels = self.levels if levels is None else levels
        if (reason := self._reasons[tenant]) is not None:
            return {0.0: reason, **dict.fromkeys(levels, reason)}
        found: dict[float, str] = {}
        for level in levels:
            for row in self._rows[tenant]:
                if (reason := self._forecast._source.refusal(row, level)) is not None:
                    found.setdefault(level, reason)
        return found

    def _over_budget(self) -> list[float | None]:
        limits = _core.amounts_of_numbers([b or 0 for b in self._budgets], "budgets")
        above = np.asarray(_core.row_counts_above(self._matrix, self.samples, limits)).tolist()
        return [
            None if budget is None or reason is not None else count / self.samples
            for budget, count, reason in zip(self._budgets, above, self._reasons, strict=True)
        ]

    def _exact_ends(self, shares: Sequence[float]) -> dict[float, dict[int, Decimal]]:
        """Quantiles of tenants with one metric whose price never falls: by share and tenant."""
        simple = [
            t
            for t, rows in enumerate(self._rows)
            if len(rows) == 1
            and self._reasons[t] is None
            and self._pricers[t].never_falls(
                self._forecast.metrics[int(self._forecast._metric_of[rows[0]])]
            )
        ]
        found: dict[float, dict[int, Decimal]] = {}
        if not simple:
            return found
        for share in shares:
            totals = self._forecast._totals(share)
            amounts = self._priced(lambda rows, of=totals: of[rows][:, None], simple, 1)
            found[share] = dict(zip(simple, amounts.tolist(), strict=True))
        return found

    def _shares(self) -> list[float]:
        ends = [end for level in self.levels for end in ((1 - level) / 2, (1 + level) / 2)]
        return sorted({0.5, *ends})

    def _spread(
        self,
        matrix: _core.Amounts,
        refused: list[dict[float, str]],
        exact: Mapping[float, Mapping[int, Decimal]],
    ) -> dict[str, list[Decimal | None]]:
        """Mean, median and intervals of each row of draws."""
        shares = self._shares()
        quantiles = _core.row_quantiles(matrix, self.samples, shares).tolist()
        means = _core.row_means(matrix, self.samples).tolist()

        def quantile(row: int, share: float) -> Decimal:
            sampled = quantiles[row * len(shares) + shares.index(share)]
            return exact.get(share, {}).get(row, sampled)

        rows = range(len(refused))
        columns: dict[str, list[Decimal | None]] = {
            "mean": [None if 0.0 in refused[row] else means[row] for row in rows],
            "median": [None if 0.0 in refused[row] else quantile(row, 0.5) for row in rows],
        }
        for level in self.levels:
            for end, share in (("low", (1 - level) / 2), ("high", (1 + level) / 2)):
                columns[f"{end}_{level_name(level)}"] = [
                    None if level in refused[row] else quantile(row, share) for row in rows
                ]
        return columns

    # --- sums

    def _sum(self, group_of: list[int], count: int) -> _core.Amounts:
        for group in range(count):
            found = {self._pricers[t].currency for t, g in enumerate(group_of) if g == group} - {
                None
            }
            if len(found) > 1:
                raise InvalidValue(
                    "prices", f"mixed currencies: {', '.join(sorted(map(str, found)))}",
                    remedy="sum tenants of one currency: forecast them apart",
                )  # fmt: skip
        groups = np.array(group_of, "int64")
        return _core.sum_rows(self._matrix, self.samples, groups, count)

    def _groups(self, name: str, names: list[str], group_of: list[int]) -> Frame:
        matrix = self._sum(group_of, len(names))
        members = [[t for t, g in enumerate(group_of) if g == i] for i in range(len(names))]
        refused: list[dict[float, str]] = []
        notes: list[str | None] = []
        for tenants in members:
            young = sum(self._reasons[t] is not None for t in tenants)
            levels: dict[float, str] = {}
            for t in tenants:
                if self._reasons[t] is None:
                    levels |= {k: v for k, v in self._refused(t).items() if k not in levels}
            refused.append(levels)
            note = f"{young} tenants are in it with what they owe so far" if young else None
            notes.append(next(iter(levels.values()), note))
        columns: dict[str, Any] = {} if not name else {name: names}
        columns["tenants"] = [len(tenants) for tenants in members]
        columns["currency"] = [self._pricers[tenants[0]].currency for tenants in members]
        columns["so_far"] = _core.sum_rows(self._so_far, 1, np.array(group_of, "int64"), len(names))
        columns |= self._spread(matrix, refused, {})
        columns["refused"] = notes
        return _money_frame(columns)

    def by_plan(self) -> Frame:
        """One row for each plan: the sums of its tenants' draws.

        The intervals of sums hold for futures like those windows of the past that calibrated them:
        few windows know few common shocks.
        """
        plans = sorted({plan or "" for plan in self._plan_of})
        return self._groups("plan", plans, [plans.index(plan or "") for plan in self._plan_of])

    def total(self) -> Frame:
        """One row: all tenants together. Raises `InvalidValue` for several currencies."""
        return self._groups("", ["all"], [0] * len(self.tenants))

    def passing(self, budgets: Mapping[Any, Number] | None = None) -> Frame:
        """By when budgets will be passed; by default those that were given to `Forecast.cost`.

        A row for each tenant with a budget: the probability that its cost is above the budget at
        the period's end, and by when it is with 10, 50 and 90 % (``by_10``, …: the end of the step;
        missing where that is not before the period's end; ``as_of`` where it is by now).
        """
        from ._forecast import passing_frame

        limits = _budget_list(budgets, self.tenants) if budgets is not None else self._budgets
        wanted = [t for t, limit in enumerate(limits) if limit is not None]
        columns: dict[str, Any] = {
            "tenant": [self.tenants[t] for t in wanted],
            "currency": [self._pricers[t].currency for t in wanted],
            "budget": [limits[t] for t in wanted],
        }
        shares = [self._passed(t, limits[t] or Decimal(0)) for t in wanted]
        columns["probability"] = [None if each is None else float(each[-1]) for each in shares]
        for share in _SHARES:
            columns[f"by_{share * 100:.0f}"] = [
                self._by(tenant, each, share, limits[tenant] or Decimal(0))
                for tenant, each in zip(wanted, shares, strict=True)
            ]
        return passing_frame(columns, ["budget"])

    def _passed(self, tenant: int, budget: Decimal) -> Any:
        """The share of draws above the budget at the end of each step; None without a forecast."""
        if self._reasons[tenant] is not None:
            return None
        forecast = self._forecast
        usage = {}
        for row in self._rows[tenant]:
            ways = forecast._source.paths(row) + forecast._known[row]
            metric = forecast.metrics[int(forecast._metric_of[row])]
            usage[metric] = forecast._column_of(np.ascontiguousarray(ways.T))
        amounts = self._pricers[tenant].amounts(usage)
        limits = _core.amounts_of_numbers([budget] * len(forecast.times), "budget")
        above = np.asarray(_core.row_counts_above(amounts, self.samples, limits))
        return above / self.samples

    def _by(self, tenant: int, shares: Any, share: float, budget: Decimal) -> datetime | None:
        if self._so_far[tenant] > budget:
            return self._forecast._now(tenant)
        return self._forecast._by(shares, share, tenant)


def _money_frame(columns: dict[str, Any]) -> Frame:
    exact = [
        name
        for name in columns
        if name in ("mean", "median", "budget") or name.startswith(("low_", "high_"))
    ]
    texts = [name for name in ("plan", "currency", "refused") if name in columns]
    return Frame(columns, amounts=exact, floats=["over_budget"], texts=texts)


def _budget_list(
    budgets: Mapping[Any, Number] | Number | None, tenants: list[Any]
) -> list[Decimal | None]:
    if budgets is None:
        return [None] * len(tenants)
    if not isinstance(budgets, Mapping):
        return [_core.exact(budgets, "budgets")] * len(tenants)
    for tenant in budgets:
        if tenant not in tenants:
            raise InvalidValue("budgets", f"no usage of {tenant!r}")
    return [
        _core.exact(budgets[tenant], f"budgets[{tenant!r}]") if tenant in budgets else None
        for tenant in tenants
    ]


def _pricer_of_plan(
    prices: PriceBook | Mapping[str, Any], plan: str | None, tenant: Any
) -> PriceBook:
    if isinstance(prices, PriceBook):
        return prices.for_plan(plan) if plan is not None and plan in prices.plans else prices
    if plan is None:
        raise InvalidValue(
            "plans", f"tenant {tenant!r} has no plan, but the prices are books by plan"
        )
    book = prices.get(plan)
    if not isinstance(book, PriceBook):
        raise InvalidValue(
            "prices", f"no price book of plan {plan!r}; there are {', '.join(prices)}"
        )
    return book.for_plan(plan) if plan in book.plans else book


def price(
    forecast: Forecast,
    prices: Prices,
    plans: Mapping[Any, str],
    budgets: Mapping[Any, Number] | Number | None,
) -> CostForecast:
    """`Forecast.cost`."""
    plan_of = [plans.get(tenant) for tenant in forecast.tenants]
    if isinstance(prices, Price):
        if len(forecast.metrics) > 1:
            raise InvalidValue(
                "prices",
                f"one price for the metrics {', '.join(forecast.metrics)}",
                remedy="a price book, or a mapping of metrics to prices",
            )
        prices = {forecast.metrics[0]: prices}
    known: dict[str | None, Pricer] = {}
    by_metric = not isinstance(prices, PriceBook) and all(
        isinstance(each, Price) for each in prices.values()
    )
    pricers = []
    for tenant, plan in zip(forecast.tenants, plan_of, strict=True):
        key = None if by_metric else plan
        if key not in known:
            if by_metric:
                known[key] = Pricer(prices, "prices")  # type: ignore[arg-type]
            else:
                book = _pricer_of_plan(prices, plan, tenant)
                known[key] = Pricer(book, f"price book {book.name}")
        pricers.append(known[key])
    return CostForecast(forecast, plan_of, pricers, _budget_list(budgets, forecast.tenants))
