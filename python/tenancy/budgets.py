"""Budgets: which thresholds a running cost has passed, and when it will pass the next one.

>>> status = budget("acme", 200, "164.50")
>>> [str(threshold.percent) for threshold in status.passed], status.next.amount
(['50', '80'], Decimal('200'))

Pure functions of numbers: nothing is stored and nobody is told. With samples of what is to come
(the extra ``analysis``) each threshold that is not passed yet gets its probability and its day.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_UP, Context, Decimal, localcontext
from typing import Any, TypeAlias

from . import _core, _exact
from .errors import InvalidValue
from .frames import Frame
from .pricing import Number

__all__ = ["BudgetStatus", "Costs", "Threshold", "budget"]

_WIDE = Context(prec=100)
_PERCENT_DIGITS = Decimal("0.0001")

Costs: TypeAlias = Number | Sequence[tuple[datetime, Number]]
"""What was spent so far: one number, or the running total at several times, which ascend."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """One threshold of a budget. It is passed when the cost reaches its amount."""

    percent: Decimal
    amount: Decimal
    passed: bool
    passed_at: datetime | None = None
    """The first time given at which it was; None when only the last cost is known."""
    probability: float | None = None
    """Of being passed by the last day of the samples; 1 where it is; None without samples."""
    early: datetime | None = None
    """A tenth of the samples has passed it by then; None where fewer ever do."""
    median: datetime | None = None
    """Half of them."""
    late: datetime | None = None
    """Nine tenths."""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """A budget and what has become of it. Thresholds ascend."""

    tenant: Any
    amount: Decimal
    spent: Decimal
    thresholds: tuple[Threshold, ...]

    @property
    def percent(self) -> Decimal:
        """What is spent, in percent of the budget, to four digits."""
        with localcontext(_WIDE):
            exact = self.spent * 100 / self.amount
            return exact.quantize(_PERCENT_DIGITS, ROUND_HALF_UP).normalize() + 0

    @property
    def passed(self) -> tuple[Threshold, ...]:
        """The thresholds that are passed."""
        return tuple(threshold for threshold in self.thresholds if threshold.passed)

    @property
    def next(self) -> Threshold | None:
        """The first one that is not; None when all are."""
        return next((threshold for threshold in self.thresholds if not threshold.passed), None)

    def frame(self) -> Frame:
        """A row for each threshold."""
        names = ("percent", "amount", "passed_at", "probability", "early", "median", "late")
        columns: dict[str, list[Any]] = {"tenant": [self.tenant] * len(self.thresholds)}
        for name in names:
            columns[name] = [getattr(threshold, name) for threshold in self.thresholds]
        columns["passed"] = [int(threshold.passed) for threshold in self.thresholds]
        return Frame(columns, amounts=["percent", "amount"])


def budget(
    tenant: Any,
    amount: Number,
    spent: Costs,
    *,
    thresholds: Sequence[Number] = (50, 80, 100),
    samples: Any = None,
    days: Sequence[datetime] = (),
) -> BudgetStatus:
    """Judge a budget by what was spent, and by samples of what will be.

    `thresholds` are percents of `amount`, also above 100. `samples` are possible futures: a row for
    each, a column for each of `days`, with the whole cost of the period by the end of that day,
    what is spent already included; as rows of int, str or Decimal, as an array of whole numbers, or
    as `Amounts`, row after row. Raises `InvalidValue` for an amount that is not above zero and for
    costs whose times do not ascend.
    """
    limit = _core.exact(amount, "amount")
    if limit <= 0:
        raise InvalidValue("amount", f"expected an amount above zero, got {amount}")
    history = _history(spent)
    percents = sorted({_core.exact(percent, "thresholds") for percent in thresholds})
    if not percents or percents[0] <= 0:
        raise InvalidValue("thresholds", "expected percents above zero, at least one")
    futures = None if samples is None else _Futures(samples, days)
    found = []
    for percent in percents:
        due = _core.exact(_due(limit, percent), "thresholds")
        found.append(_threshold(percent, due, history, futures))
    return BudgetStatus(tenant, limit, history[-1][1], tuple(found))


def _due(limit: Decimal, percent: Decimal) -> Decimal:
    """So many percent of an amount, exactly; more than 100 are more than the amount."""
    with localcontext(_WIDE):
        return (limit * percent).scaleb(-2)


def _threshold(
    percent: Decimal,
    due: Decimal,
    history: Sequence[tuple[datetime | None, Decimal]],
    futures: _Futures | None,
) -> Threshold:
    for at, cost in history:
        if cost >= due:
            return Threshold(percent, due, True, at, None if futures is None else 1.0)
    if futures is None:
        return Threshold(percent, due, False)
    days = futures.first_days(due)
    return Threshold(
        percent,
        due,
        False,
        None,
        sum(day is not None for day in days) / len(days),
        *(
            futures.quantile(days, share)
            for share in (Decimal("0.1"), Decimal("0.5"), Decimal("0.9"))
        ),
    )


def _history(spent: Costs) -> list[tuple[datetime | None, Decimal]]:
    if isinstance(spent, int | str | Decimal) or not isinstance(spent, Sequence):
        return [(None, _core.exact(spent, "spent"))]
    found: list[tuple[datetime | None, Decimal]] = []
    last: datetime | None = None
    for row, (at, cost) in enumerate(spent):
        if not isinstance(at, datetime) or at.utcoffset() is None:
            raise InvalidValue("spent", f"row {row}: expected a time with a zone, got {at!r}")
        if last is not None and at <= last:
            raise InvalidValue("spent", f"row {row}: {at.isoformat()} is not after the row before")
        found.append((at, _core.exact(cost, f"spent[{row}]")))
        last = at
    if not found:
        raise InvalidValue("spent", "expected at least one cost", remedy="0 when nothing was spent")
    return found


class _Futures:
    """Samples of the cost by the end of each day."""

    def __init__(self, samples: Any, days: Sequence[datetime]) -> None:
        if not days or isinstance(samples, Mapping):
            raise InvalidValue("days", "expected the day of each column of the samples")
        self._days = list(days)
        values = _amounts(samples, len(self._days))
        self._costs = _exact.words(values)
        if len(values) == 0 or len(values) % len(self._days):
            raise InvalidValue("samples", f"expected rows of {len(self._days)} days")

    def first_days(self, due: Decimal) -> list[int | None]:
        """Of each sample the first day on which the cost reaches an amount."""
        level = _exact.words(_core.amounts_of_numbers([due], "amount"))
        below = _exact.above(level.repeat(len(self._costs), axis=0), self._costs)
        reached = ~below.reshape(-1, len(self._days))
        first: list[int] = reached.argmax(axis=1).tolist()
        return [day if row[day] else None for day, row in zip(first, reached, strict=True)]

    def quantile(self, days: Sequence[int | None], share: Decimal) -> datetime | None:
        """The day by which this share of the samples is there."""
        reached = sorted(day for day in days if day is not None)
        needed = math.ceil(share * len(days))
        return self._days[reached[needed - 1]] if len(reached) >= needed else None


def _amounts(samples: Any, days: int) -> _core.Amounts:
    if isinstance(samples, _core.Amounts):
        return samples
    shape = getattr(samples, "shape", None)
    if shape is not None and getattr(getattr(samples, "dtype", None), "kind", "O") in "iu":
        if len(shape) != 2 or shape[1] != days:
            raise InvalidValue("samples", f"expected rows of {days} days, got the shape {shape}")
        return _core.amounts_of_wholes(samples.reshape(-1).astype("int64"), 0)
    rows = [list(row) for row in samples]
    for row, values in enumerate(rows):
        if len(values) != days:
            raise InvalidValue("samples", f"row {row}: has {len(values)} days, not {days}")
    return _core.amounts_of_numbers([value for values in rows for value in values], "samples")
