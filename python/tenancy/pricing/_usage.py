"""Usage events, summed by tenant and metric and priced; `tenancy.pricing` exports them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from .. import _core
from .._frames_in import check_kinds
from ..errors import InvalidValue
from ..frames import Frame, Kind
from ._book import PriceBook
from ._prices import Price


@dataclass(frozen=True, slots=True)
class UsageRow:
    """The usage of one metric by one tenant."""

    tenant: int | str
    metric: str
    events: int
    quantity: Decimal
    amount: Decimal | None
    """``None`` where no prices were given."""


class Usage(Frame):
    """Sums of usage events, sorted by tenant and then in the order of the metrics.

    Iterating gives `UsageRow`. As a `Frame` it has the columns tenant, metric, events, quantity,
    and with prices amount and (where they name one) currency.
    """

    __slots__ = ("_currencies", "_names", "_rows", "amounts", "quantities")

    quantities: _core.Amounts
    """Exact sums; Arrow takes them as decimal128(38, 12)."""
    amounts: _core.Amounts | None
    """What each row costs; ``None`` where no prices were given."""

    def __init__(
        self, found: Mapping[str, Any], names: Sequence[str], currencies: Sequence[str | None] = ()
    ) -> None:
        self._rows: _core.UsageSums = found["rows"]
        self._names = tuple(names)
        self._currencies = tuple(currencies)
        self.quantities = found["quantities"]
        self.amounts = found.get("amounts")

    def _members(self) -> dict[str, tuple[Kind, Any]]:
        tenants = self.tenants
        members: dict[str, tuple[Kind, Any]] = {
            "tenant": ("int" if tenants and isinstance(tenants[0], int) else "text", tenants),
            "metric": ("text", self.metrics),
            "events": ("int", self.events),
            "quantity": ("decimal", self.quantities),
        }
        if self.amounts is not None:
            members["amount"] = ("decimal", self.amounts)
            if any(self._currencies):
                by_metric = dict(zip(self._names, self._currencies, strict=True))
                members["currency"] = ("text", [by_metric[metric] for metric in self.metrics])
        return members

    @property
    def tenants(self) -> list[int | str]:
        """The tenant of each row."""
        return self._rows.tenants()

    @property
    def metrics(self) -> list[str]:
        """The metric of each row."""
        return [self._names[i] for i in self._rows.metrics()]

    @property
    def events(self) -> list[int]:
        """How many events each row sums."""
        return self._rows.events()

    @property
    def total(self) -> Decimal:
        """What all rows cost together. Raises `InvalidValue` without prices, and where they are in
        several currencies."""
        if self.amounts is None:
            raise InvalidValue("prices", "no prices were given", remedy="use rate(…, prices=…)")
        if len(found := {each for each in self._currencies if each is not None}) > 1:
            raise InvalidValue(
                "prices",
                f"amounts in {' and '.join(sorted(found))} have no sum",
                remedy="sum the column amount by the column currency",
            )
        return self.amounts.sum()

    def __len__(self) -> int:
        return len(self.quantities)

    def __iter__(self) -> Iterator[UsageRow]:
        amounts: Any = [None] * len(self) if self.amounts is None else self.amounts
        rows = zip(self.tenants, self.metrics, self.events, self.quantities, amounts, strict=True)
        for tenant, metric, events, quantity, amount in rows:
            yield UsageRow(tenant, metric, events, quantity, amount)

    def __repr__(self) -> str:
        return f"<Usage: {len(self)} rows of {', '.join(self._names)}>"


def aggregate(
    tenants: Any,
    quantities: Any = None,
    metrics: Any = None,
    names: Sequence[str] = ("usage",),
) -> Usage:
    """Sum usage events by tenant and metric, exactly and in any order.

    Each argument is an array with one value for each event: NumPy, Arrow, pandas, polars or a list.
    `tenants` are whole numbers or texts. `quantities` are whole numbers or decimals; without them
    each event counts 1. `metrics` are texts out of `names`, or their positions there; without them
    all events are of the one metric that is named. Raises `InvalidValue` with the first event that
    is wrong: a missing value, an unknown metric, a float.
    """
    return Usage(_summed(tenants, metrics, quantities, list(names), None), names)


def rate(
    tenants: Any,
    quantities: Any = None,
    metrics: Any = None,
    *,
    prices: PriceBook | Mapping[str, Price] | Price,
) -> Usage:
    """Sum usage events as `aggregate` does, and price every sum.

    `prices` is a price book, prices by metric, or the price of the only metric. Rows that no event
    names are not there: fees of tenants without usage are the bill's.
    """
    by_metric = {"usage": prices} if isinstance(prices, Price) else dict(prices)
    for metric, price in by_metric.items():
        if not isinstance(price, Price):
            raise InvalidValue(
                "prices", f"expected a price for {metric}, got {type(price).__name__}"
            )
    names = list(by_metric)
    found = _summed(tenants, metrics, quantities, names, list(by_metric.values()))
    of_book = prices.currency if isinstance(prices, PriceBook) else None
    return Usage(found, names, [of_book or price.currency for price in by_metric.values()])


def _summed(
    tenants: Any, metrics: Any, quantities: Any, names: list[str], prices: list[Price] | None
) -> Mapping[str, Any]:
    try:
        return _core.rate_usage(tenants, metrics, quantities, names, prices)
    except InvalidValue:
        for name, values in (("tenants", tenants), ("metrics", metrics)):
            if isinstance(values, list | tuple):
                check_kinds(values, name, ids=True)
        raise
