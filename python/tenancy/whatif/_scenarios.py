"""Which price book each tenant is billed by, and what that comes to."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from .. import _core, _exact
from ..errors import InvalidValue
from ..pricing import Price, PriceBook
from ._negative import Taken
from ._table import Tenant, UsageTable, moment

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Books: TypeAlias = PriceBook | Mapping[str, PriceBook]
"""One book for all (with the included units of the plans that it names), or books by plan."""

_TAKEN = {"tenant", "period", "plan", "currency", "customers", "quantity", "outcome", "change"}
_TAKEN |= {"percent", "from", "to", "cheaper"}


def check_books(books: Mapping[str, Books]) -> str:
    """Their one currency."""
    if not isinstance(books, Mapping) or not books:
        raise InvalidValue("books", "expected at least one price book", remedy="{'today': book}")
    currency: dict[str, str] = {}
    for name, scenario in books.items():
        if not isinstance(name, str) or not name or name in _TAKEN:
            raise InvalidValue("books", f"{name!r} cannot be the name of a scenario")
        if isinstance(scenario, Mapping) and not isinstance(scenario, PriceBook) and not scenario:
            raise InvalidValue("books", f"{name}: expected a price book for each plan, got none")
        for plan, book in _parts(scenario):
            where = name if plan is None else f"{name}, plan {plan}"
            if not isinstance(book, PriceBook):
                raise InvalidValue(
                    "books", f"{where}: expected a PriceBook, got {type(book).__name__}"
                )
            currency.setdefault(book.currency, where)
            for metric, price in book.items():
                if _is_per_event(price):
                    raise InvalidValue(
                        "books",
                        f"{where}: the price of {metric} depends on single events, and only their "
                        "sums are priced here",
                        remedy="leave out fixed fees, free events and limits per event",
                    )
    if len(currency) > 1:
        (one, first), (other, second) = list(currency.items())[:2]
        raise InvalidValue(
            "books",
            f"{first} is in {one} and {second} in {other}",
            remedy="amounts of several currencies have no sum: reprice each by itself",
        )
    return next(iter(currency))


def _is_per_event(price: Price) -> bool:
    """A percentage whose amount is not one of the whole volume."""
    if price.model != "percentage":
        return False
    document = price.to_dict()
    fixed = Decimal(document.get("fixed", "0")) != 0 or document["free_events"] != 0
    return fixed or any(f"{end}_per_event" in document for end in ("minimum", "maximum"))


def metrics_of(books: Mapping[str, Books]) -> list[str]:
    """Every metric that any of the books prices."""
    found: dict[str, None] = {}
    for scenario in books.values():
        for _, book in _parts(scenario):
            found.update(dict.fromkeys(book))
    return list(found)


def _parts(scenario: Books) -> list[tuple[str | None, PriceBook]]:
    if isinstance(scenario, PriceBook):
        return [(None, scenario)]
    if not isinstance(scenario, Mapping):
        raise InvalidValue("books", f"expected a PriceBook, got {type(scenario).__name__}")
    return [(plan, cast("Any", book)) for plan, book in scenario.items()]


def book_for(name: str, scenario: Books, plan: str | None, tenant: Tenant) -> PriceBook:
    """What a tenant of a plan is billed by."""
    if isinstance(scenario, PriceBook):
        return scenario.for_plan(plan) if plan is not None and plan in scenario.plans else scenario
    if plan is None:
        raise InvalidValue(
            "plans", f"tenant {tenant} has no plan, and {name} has books by plan only"
        )
    if plan not in scenario:
        raise InvalidValue(
            "books", f"{name} has no book for plan {plan} (of tenant {tenant})",
            remedy=f"it has {', '.join(scenario)}",
        )  # fmt: skip
    return scenario[plan]


@dataclass(frozen=True, slots=True)
class Base:
    """A customer base: usage as a table, and the plan and seats of each tenant."""

    table: UsageTable
    plans: tuple[str | None, ...]
    """Of each tenant, in the order of the table's ids."""
    seats: _core.Amounts | None
    """Of each row."""
    planned: bool
    """Plans were given."""
    free: bool
    """A metric that a book does not price costs nothing; otherwise it is an error."""

    def groups(
        self, name: str, scenario: Books
    ) -> list[tuple[PriceBook, str | None, NDArray[np.int64] | None]]:
        """The books of a scenario, each with a plan and its rows; None = all of them."""
        np = _exact.numpy()
        by_plan = {
            plan: book_for(name, scenario, plan, self.table.ids[self.plans.index(plan)])
            for plan in dict.fromkeys(self.plans)
        }
        if len(by_plan) <= 1:
            return [(book, plan, None) for plan, book in by_plan.items()]
        positions = {plan: at for at, plan in enumerate(by_plan)}
        codes = np.array([positions[plan] for plan in self.plans])[self.table.tenants]
        return [
            (book, plan, np.flatnonzero(codes == positions[plan])) for plan, book in by_plan.items()
        ]

    def priced(self, name: str, scenario: Books) -> _core.Amounts:
        """What each row comes to."""
        np = _exact.numpy()
        groups = self.groups(name, scenario)
        if not groups:
            return _core.amounts_of_wholes(np.zeros(0, "int64"), 0)
        if len(groups) == 1:
            return self._priced(name, groups[0][0], None)
        out = np.zeros((len(self.table), 2), "int64")
        for book, _, rows in groups:
            out[rows] = _exact.words(self._priced(name, book, rows))
        return _exact.amounts(out)

    def _priced(self, name: str, book: PriceBook, rows: Any) -> _core.Amounts:
        np = _exact.numpy()
        table = self.table
        usage = {}
        for metric, column in table.columns.items():
            if metric in book:
                usage[metric] = column if rows is None else table.take(metric, rows)
            elif not self.free and table.is_used(metric):
                self._refuse_metric(name, book, metric, rows)
        seats = None if self.seats is None or book.seats is None else self.seats
        if seats is not None and rows is not None:
            seats = _core.take_rows(seats, 1, rows)
        if not usage:  # the rows are counted by a column
            some = next(iter(book))
            usage[some] = np.zeros(len(table) if rows is None else len(rows), "int64")
        try:
            return book.amounts(usage, seats)
        except InvalidValue as error:
            raise self._placed(name, error, rows) from None

    def _refuse_metric(self, name: str, book: PriceBook, metric: str, rows: Any) -> None:
        np = _exact.numpy()
        used = _exact.signs(_exact.words(self.table.amounts(metric))) != 0
        if rows is not None:
            mask = np.zeros(len(used), bool)
            mask[rows] = True
            used &= mask
        if used.any():
            row = int(np.flatnonzero(used)[0])
            raise InvalidValue(
                "metric",
                f"{self.place(row)}: {name} has no price for {metric}",
                remedy=f'book {book.name} has {", ".join(book)}; or unpriced="free"',
            )

    def _placed(self, name: str, error: InvalidValue, rows: Any) -> InvalidValue:
        """The error of a column with the tenant and period of its element."""
        text = str(error).partition(": ")[2]
        found = re.search(r"element (\d+): ", text)
        if found is None:
            return InvalidValue("usage", f"{name}: {text}")
        row = int(found[1]) if rows is None else int(rows[int(found[1])])
        text = f"{self.place(row)}: {name}: {text.replace(found[0], '', 1)}"
        table = self.table
        of = table.ids[table.tenants[row]], int(table.periods[row])
        for metric in table.columns:
            event = table.taken.get(Taken(*of, metric))
            if event is not None and f": {metric}: " in text:
                return InvalidValue(table.quantity, f"row {event}: {text}")
        return InvalidValue("usage", text)

    def place(self, row: int) -> str:
        """A row in words."""
        start = moment(self.table.starts[self.table.periods[row]])
        return f"tenant {self.table.ids[self.table.tenants[row]]}, period from {start.isoformat()}"


def seats_by_row(table: UsageTable, seats: Mapping[Tenant, Decimal]) -> _core.Amounts | None:
    """The seats of each row; a tenant that is not named has none."""
    if not seats:
        return None
    by_tenant = [seats.get(tenant, Decimal(0)) for tenant in table.ids]
    known = _core.amounts_of_numbers(by_tenant, "seats")
    return _core.take_rows(known, 1, table.tenants)


def pair(names: Sequence[str], base: str | None, other: str | None) -> tuple[str, str]:
    """The two scenarios that are compared: those named, or the only two."""
    if base is None and other is None and len(names) == 2:
        return names[0], names[1]
    if base is None or other is None:
        raise InvalidValue("base", f"there are {', '.join(names)}", remedy="name base and other")
    for name in (base, other):
        known(names, name)
    return base, other


def known(names: Sequence[str], name: str) -> str:
    """The name of a scenario, or an error."""
    if name not in names:
        raise InvalidValue("book", f"there is no {name!r}; there are {', '.join(names)}")
    return name
