"""Usage as a grid: one row for each tenant and metric, one column for each step of time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, Literal, TypeAlias

import numpy as np

from .._core import FrameColumn
from .._frames_in import NO_VALUE, read_columns
from ..errors import InvalidValue
from ._calendar import NS, Calendar, Wholes, Zone

Step: TypeAlias = Literal["minute", "hour", "day", "week"] | timedelta
"""How long a step of the grid is; days and weeks are those of UTC or of ``zone``, weeks begin on
Monday."""

_STEPS = {"minute": 60, "hour": 3600, "day": 86_400, "week": 604_800}
_WEEK_ORIGIN_NS = 4 * 86_400 * NS  # 1970-01-05 was a Monday
_DIGITS_MAX = 12
_CELLS_MAX = 200_000_000
_TOTAL_MAX = 1 << 61

COLUMNS = ("tenant", "metric", "time", "quantity")


@dataclass(frozen=True)
class History:
    """What was used, exactly.

    ``counts[i, j]`` is what series ``i`` used in step ``j``, in units of ``10 ** -digits``.
    ``partial[i]`` is what it used after the last whole step, before ``as_of``.
    """

    tenants: list[Any]
    metrics: list[str]
    tenant_of: Wholes
    metric_of: Wholes
    counts: Wholes
    partial: Wholes
    first: Wholes
    """The first step of each series that has a row."""
    start_ns: int
    """Where the first step begins, in the time of the calendar."""
    step_ns: int
    as_of_ns: int
    """The end of what is known, in the time of the calendar."""
    as_of_real_ns: int
    """The same in the time of the world."""
    digits: int
    calendar: Calendar
    time: str
    """What the column of times is called."""
    first_row: int
    """The row with the earliest time."""

    @property
    def steps(self) -> int:
        """How many whole steps there are."""
        return int(self.counts.shape[1])

    @property
    def end_ns(self) -> int:
        """The end of the last whole step."""
        return self.start_ns + self.steps * self.step_ns

    def too_short(self, why: str, remedy: str) -> InvalidValue:
        """The error of a history that does not carry what is asked of it."""
        length = f"{self.steps} step" + ("s" * (self.steps != 1))
        return InvalidValue(
            self.time,
            f"row {self.first_row}: the history begins here and has {length}; {why}",
            remedy=remedy,
        )


def step_length(step: Step) -> int:
    """The length of a step in nanoseconds."""
    if isinstance(step, timedelta):
        length = step // timedelta(microseconds=1) * 1000
    else:
        if step not in _STEPS:
            raise InvalidValue("step", f"{step!r}", remedy=f"{', '.join(_STEPS)}, or a timedelta")
        length = _STEPS[step] * NS
    if length <= 0:
        raise InvalidValue("step", f"{step!r}, expected more than nothing")
    return length


def read_history(
    usage: Any,
    *,
    step: Step,
    as_of: datetime | date | None,
    columns: Mapping[str, str] | None,
    gaps: Literal["refuse", "zero"],
    duplicates: Literal["refuse", "sum"],
    naive: Literal["refuse", "utc"],
    digits: int | None,
    zone: Zone | None = None,
) -> History:
    """The grid of a frame of usage; `forecast` says what the options mean."""
    check_choice("gaps", gaps, ("refuse", "zero"))
    check_choice("duplicates", duplicates, ("refuse", "sum"))
    check_choice("naive", naive, ("refuse", "utc"))
    names = [{**dict.fromkeys(COLUMNS), **(columns or {})}[each] or each for each in COLUMNS]
    for each in columns or {}:
        check_choice("columns", each, COLUMNS)
    held = read_columns(usage, names, ids=names[:3], times=names[2:3])
    tenant, metric, time, quantity = (held[name] for name in names)
    if len(tenant) == 0:
        raise InvalidValue(names[0], "the frame has no rows", remedy="give at least one")
    counts, digits = _counts(quantity, names[3], digits)
    times = _times(time, names[2], naive)
    keys, tenants, metrics = _keys(tenant, metric, names)
    step_ns = step_length(step)
    calendar = Calendar(zone, tenants, step_ns)
    local = calendar.local(times, keys // len(metrics))
    origin = _WEEK_ORIGIN_NS % step_ns if step == "week" else 0
    places = (local - origin) // step_ns
    first_place = int(places.min())
    end_ns = (int(places.max()) + 1) * step_ns + origin
    as_of_ns, real_ns = end_ns, calendar.real(end_ns)
    if as_of is not None:
        as_of_ns, real_ns = calendar.point("as_of", as_of)
    _check_before(times if calendar.one else local, real_ns, names[2], calendar)
    steps = (as_of_ns - origin) // step_ns - first_place
    grid = _Grid(keys, places - first_place, counts, names)
    grid.check_size(steps)
    table, partial = grid.fill(steps, duplicates)
    first = grid.first()
    if gaps == "refuse":
        start_ns = first_place * step_ns + origin
        grid.check_gaps(steps, first, start_ns, step_ns, tenants, metrics, calendar)
    series = np.unique(keys)
    return History(
        tenants=tenants,
        metrics=metrics,
        tenant_of=series // len(metrics),
        metric_of=series % len(metrics),
        counts=table,
        partial=partial,
        first=np.minimum(first, steps),
        start_ns=first_place * step_ns + origin,
        step_ns=step_ns,
        as_of_ns=as_of_ns,
        as_of_real_ns=real_ns,
        digits=digits,
        calendar=calendar,
        time=names[2],
        first_row=int(np.argmin(places)),
    )


def check_choice(field: str, value: Any, choices: Sequence[str]) -> None:
    """That a word is one of those that are known."""
    if value not in choices:
        raise InvalidValue(field, f"{value!r}", remedy=f"one of {', '.join(choices)}")


def _refuse_nulls(column: FrameColumn, name: str) -> None:
    row = column.first_null()
    if row is not None:
        raise InvalidValue(name, f"row {row}: no value", remedy=NO_VALUE)


def _first(bad: Any) -> int | None:
    return int(np.argmax(bad)) if bad.any() else None


def _counts(column: FrameColumn, name: str, digits: int | None) -> tuple[Wholes, int]:
    """Quantities as whole numbers of ``10 ** -digits``, exactly."""
    if digits is not None and (isinstance(digits, bool) or not 0 <= digits <= _DIGITS_MAX):
        raise InvalidValue("digits", f"{digits!r}, expected 0 to {_DIGITS_MAX}")
    if column.kind in ("text", "time"):
        raise InvalidValue(
            name, f"expected numbers, got a column of {column.kind}",
            remedy='whole numbers, such as of .astype("int64"), or Decimal',
        )  # fmt: skip
    if column.kind == "float":
        counts, used = _counts_of_floats(np.asarray(column.floats(name)), name, digits)
    else:
        _refuse_nulls(column, name)
        if column.kind == "int" and not digits:
            counts, used = np.asarray(column.wholes(name)), 0
        else:
            units = column.units(name)
            used = units.digits() if digits is None else digits
            try:
                counts = np.asarray(units.to_wholes(used))
            except InvalidValue as error:
                told = str(error).partition(": ")[2]
                raise InvalidValue(name, told, remedy="a larger unit, or other digits") from None
    row = _first(counts < 0)
    if row is not None:
        raise InvalidValue(
            name, f"row {row}: negative usage", remedy="apply corrections to their events first"
        )
    if float(counts.sum(dtype="float64")) > _TOTAL_MAX:
        raise InvalidValue(name, "all together are more than 64 bits hold", remedy="a larger unit")
    return counts, used


def _counts_of_floats(values: Any, name: str, digits: int | None) -> tuple[Wholes, int]:
    row = _first(~np.isfinite(values))
    if row is not None:
        raise InvalidValue(
            name,
            f"row {row}: {values[row]}, which is no quantity",
            remedy="fill it or leave it out",
        )
    scaled = values * 10.0 ** (digits or 0)
    row = _first(np.abs(scaled) >= 2.0**53)
    if row is not None:
        raise InvalidValue(
            name, f"row {row}: {values[row]} is more than floats hold exactly",
            remedy="int64 or decimal128",
        )  # fmt: skip
    whole = np.rint(scaled)
    row = _first(whole != scaled) if digits is None else None
    if row is not None:
        raise InvalidValue(
            name, f"row {row}: {values[row]} is binary floating point, which is not exact",
            remedy="digits=… rounds to so many digits; or give int64 or decimal128",
        )  # fmt: skip
    return whole.astype("int64"), digits or 0


def _times(column: FrameColumn, name: str, naive: str) -> Wholes:
    if column.kind != "time":
        raise InvalidValue(
            name, f"expected times, got a column of {column.kind}", remedy="timestamps in UTC"
        )
    _refuse_nulls(column, name)
    if not column.zone and naive == "refuse":
        raise InvalidValue(
            name, "row 0: the times have no time zone",
            remedy='naive="utc" says that they are UTC; or give times with a time zone',
        )  # fmt: skip
    times: Wholes = np.asarray(column.times_ns(name))
    row = _first(times == np.iinfo("int64").min)  # NumPy's "not a time"
    if row is not None:
        raise InvalidValue(name, f"row {row}: no value", remedy=NO_VALUE)
    return times


def _check_before(times: Wholes, as_of_ns: int, name: str, calendar: Calendar) -> None:
    row = _first(times >= as_of_ns)
    if row is not None:
        raise InvalidValue(
            name,
            f"row {row}: {calendar.shown(int(times[row])).isoformat()} is not before as_of",
            remedy="as_of is the end of what is known",
        )


def _keys(
    tenant: FrameColumn, metric: FrameColumn, names: Sequence[str]
) -> tuple[Wholes, list[Any], list[str]]:
    """For each row the number of its series; tenants and metrics sorted."""
    _refuse_nulls(tenant, names[0])
    _refuse_nulls(metric, names[1])
    tenant_codes, tenants = _sorted_codes(tenant, names[0])
    metric_codes, metrics = _sorted_codes(metric, names[1])
    if metrics and not isinstance(metrics[0], str):
        raise InvalidValue(names[1], "expected texts, got numbers", remedy="names of metrics")
    return tenant_codes * len(metrics) + metric_codes, tenants, metrics


def _sorted_codes(column: FrameColumn, name: str) -> tuple[Wholes, list[Any]]:
    codes, values = column.codes(name)
    order = sorted(range(len(values)), key=values.__getitem__)
    rank = np.empty(len(values), "int64")
    rank[order] = np.arange(len(values))
    return rank[np.asarray(codes)], [values[i] for i in order]


class _Grid:
    """Rows of usage on their way into the grid."""

    def __init__(self, keys: Wholes, places: Wholes, counts: Wholes, names: Sequence[str]) -> None:
        self.series, self.row_of = np.unique(keys, return_inverse=True)
        self.keys, self.places, self.counts, self.names = keys, places, counts, names

    def check_size(self, steps: int) -> None:
        if steps < 1:
            raise InvalidValue(
                self.names[2], "there is no whole step before as_of", remedy="a later as_of"
            )
        if (steps + 1) * len(self.series) > _CELLS_MAX:
            raise InvalidValue(
                "step", f"{len(self.series)} series of {steps} steps are too many at once",
                remedy="a longer step, or fewer tenants in one call",
            )  # fmt: skip

    def fill(self, steps: int, duplicates: str) -> tuple[Wholes, Wholes]:
        """The whole steps, and what came after them."""
        cells = self.row_of * (steps + 1) + self.places
        size = len(self.series) * (steps + 1)
        self.seen = np.bincount(cells, minlength=size)
        if duplicates == "refuse" and self.seen.max() > 1:
            order = np.argsort(cells, kind="stable")
            again = np.flatnonzero(np.diff(cells[order]) == 0) + 1
            row = int(order[again].min())
            earlier = int(np.flatnonzero(cells[:row] == cells[row])[0])
            raise InvalidValue(
                self.names[2],
                f"row {row}: the same tenant, metric and step as row {earlier}",
                remedy='duplicates="sum" adds them, for frames of single events',
            )
        table = np.zeros(size, "int64")
        if self.seen.max() > 1:
            np.add.at(table, cells, self.counts)
        else:
            table[cells] = self.counts
        grid = table.reshape(len(self.series), steps + 1)
        self.seen = self.seen.reshape(grid.shape)
        return np.ascontiguousarray(grid[:, :steps]), grid[:, steps].copy()

    def first(self) -> Wholes:
        """The first step of each series that has a row."""
        first: Wholes = np.argmax(self.seen > 0, axis=1)
        return first

    def check_gaps(
        self,
        steps: int,
        first: Wholes,
        start_ns: int,
        step_ns: int,
        tenants: list[Any],
        metrics: list[str],
        calendar: Calendar,
    ) -> None:
        missing = (self.seen[:, :steps] == 0) & (np.arange(steps) > first[:, None])
        if not missing.any():
            return
        series, place = (int(found[0]) for found in np.nonzero(missing))
        before = np.flatnonzero((self.row_of == series) & (self.places < place))
        row = int(before[np.argmax(self.places[before])])
        number = int(self.series[series]) // len(metrics)
        metric = metrics[int(self.series[series]) % len(metrics)]
        begin = calendar.shown(calendar.real(start_ns + place * step_ns), number)
        raise InvalidValue(
            self.names[2],
            f"after row {row}: tenant {tenants[number]!r} has no row of {metric} for the step of "
            f"{begin.isoformat()}",
            remedy='gaps="zero" says that a step without a row had no usage',
        )
