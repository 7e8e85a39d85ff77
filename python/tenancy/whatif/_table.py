"""Usage events as a table: one row for each tenant and period, one column for each metric."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from .. import _core, _exact
from .._frames_in import NO_VALUE, arrow_columns, as_table, read_columns
from ..errors import InvalidValue
from ..pricing import Number
from ._negative import Taken, rows_below_zero, some_below_zero

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PeriodUnit: TypeAlias = Literal["hour", "day", "week", "month", "quarter", "year"]

Customers: TypeAlias = Literal["used", "span", "since", "all"]
"""Which periods of a tenant are billed: those with usage; from the first one with usage to the last
one with usage; from the first one with usage to the end; or every one."""

Tenant: TypeAlias = int | str

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_NOT_A_TIME = -(1 << 63)  # NumPy's NaT
_TIMES_SAMPLED = 4096


def moment(ns: int) -> datetime:
    """Nanoseconds since 1970 as a time in UTC."""
    return _EPOCH + timedelta(microseconds=ns // 1000)


def names_of(columns: Mapping[str, str] | None, *wanted: str) -> dict[str, str]:
    """What the wanted columns are called in the frame at hand."""
    given = dict(columns or {})
    for name in given:
        if name not in wanted:
            raise InvalidValue(
                "columns",
                f"there is no column {name!r} to name",
                remedy=f"name {', '.join(wanted)}",
            )
    return {name: given.get(name, name) for name in wanted}


def read_usage(
    frame: Any,
    names: Mapping[str, str],
    ids: Sequence[str],
    labels: dict[str, list[Any]] | None = None,
) -> dict[str, Any]:
    """The columns of a frame under our names, without missing values.

    With `labels`, categorical columns of pandas may come as their codes; the categories are then
    put into it, by the name of the column.
    """
    wanted = list(names.values())
    texts = [names[name] for name in ids]
    columns = _where_it_lies(frame, wanted, texts, labels)
    times = [names["time"]] if "time" in names else []
    found = read_columns(columns, wanted, ids=texts, times=times)
    if not len(found[wanted[0]]):
        return _empty(names, ids, labels)
    for column in names.values():
        row = found[column].first_null()
        if row is not None:
            raise InvalidValue(column, f"row {row}: no value", remedy=NO_VALUE)
    return {ours: found[theirs] for ours, theirs in names.items()}


def _empty(
    names: Mapping[str, str], ids: Sequence[str], labels: dict[str, list[Any]] | None
) -> dict[str, Any]:
    """Columns without a row, of the kinds that are wanted: in frames such columns have any type."""
    if labels is not None:
        labels.clear()
    made = {ours: _core.FrameColumn.of([], name, ours in ids) for ours, name in names.items()}
    if "time" in made:
        made["time"] = made["time"].read_as("time", "")
    return made


def _where_it_lies(
    frame: Any, names: Sequence[str], ids: Sequence[str], labels: dict[str, list[Any]] | None
) -> Any:
    """The plain columns of a pandas frame as they lie in memory: by Arrow they would be copied."""
    frame = as_table(frame, names)
    if type(frame).__module__.split(".")[0] != "pandas" or not hasattr(frame, "dtypes"):
        return frame
    if not set(names) <= set(frame.columns):
        return frame
    kinds = {name: getattr(frame[name].dtype, "kind", "O") for name in names}
    plain = [
        name
        for name in names
        if kinds[name] in "iuM" and type(frame[name].dtype).__module__.startswith("numpy")
    ]
    columns: dict[str, Any] = {name: frame[name].to_numpy() for name in plain}
    if labels is not None:
        for name in names:
            categories = _categories(frame[name])
            if categories:
                labels[name] = categories
                columns[name] = _codes(frame[name], name)
    for name in ids:
        if kinds[name] == "O" and name not in columns:
            texts = _texts(frame[name], name)
            if texts is not None:
                columns[name] = texts
    others = [name for name in names if name not in columns]
    if others:
        read = arrow_columns(frame[others])
        columns |= {name: frame[name] for name in others} if read is None else read
    return columns


def _texts(series: Any, name: str) -> _core.FrameColumn | None:
    """A column of `str` objects alone; None for any other, of which Arrow tells what it holds."""
    if not type(series.dtype).__module__.startswith("numpy"):
        return None  # texts of Arrow lie where they can be read, and to_numpy makes objects of them
    values = series.to_numpy()
    if not isinstance(next(iter(values), None), str):
        return None
    try:
        return _core.FrameColumn.of(values, name, True)
    except InvalidValue:
        return None


def _categories(series: Any) -> list[Any]:
    """The categories of a categorical column of texts or whole numbers; none for any other."""
    categories = getattr(series.dtype, "categories", None)
    found = [] if categories is None else categories.tolist()
    kinds = set(map(type, found))
    return found if all(issubclass(kind, (str, int)) for kind in kinds) else []


def _codes(series: Any, name: str) -> Any:
    codes = series.array.codes  # where they lie: `series.cat.codes` would copy them
    if len(codes) and codes.min() < 0:
        raise InvalidValue(name, f"row {int(codes.argmin())}: no value", remedy=NO_VALUE)
    return codes


def check_numbers(
    column: _core.FrameColumn, name: str, kinds: Sequence[str], expected: str
) -> None:
    """That numbers are exact ones. Of floats the first row is named that is none at all, or that
    has a fraction."""
    if column.kind in kinds:
        return
    where = ""
    if column.kind == "float":
        np = _exact.numpy()
        values = np.asarray(column.floats(name))
        wrong = ~np.isfinite(values)
        if not wrong.any():
            wrong = values != np.rint(values)
        if wrong.any():
            where = f"row {wrong.argmax()}: {values[wrong.argmax()]}; "
    raise InvalidValue(
        name,
        f"{where}expected {expected}, got {column.kind}",
        remedy='round first, then .astype("int64")' + (", or give Decimal" * ("decimal" in kinds)),
    )


def check_times(column: _core.FrameColumn, name: str, step: int = 1) -> tuple[int, int]:
    """The first and the last time in nanoseconds since 1970. Times without a zone are UTC.

    With a `step` above 1 every such time and the last one are looked at, and no others.
    """
    if column.kind != "time":
        raise InvalidValue(
            name, f"expected times, got {column.kind}", remedy="give datetime64 or datetimes"
        )
    try:
        first, last = _core.time_range(column, step)
    except InvalidValue:
        column.times_ns(name)  # which tells the row
        raise
    if first == _NOT_A_TIME:
        row = int(_exact.numpy().asarray(column.times_ns(name)).argmin())
        raise InvalidValue(name, f"row {row}: no value", remedy=NO_VALUE)
    return first, last


def period_starts(
    unit: str, zone: str, column: _core.FrameColumn, name: str, step: int = 1
) -> list[int]:
    """Where the calendar periods begin that hold these times, and where the last one ends."""
    return _core.period_starts(unit, zone, *check_times(column, name, step))


@dataclass(frozen=True, slots=True)
class UsageTable:
    """Sums of usage by tenant, period and metric."""

    ids: tuple[Tenant, ...]
    starts: tuple[int, ...]
    """Nanoseconds since 1970; one more than there are periods."""
    tenants: NDArray[np.int64]
    """Of each row: the position of its tenant."""
    periods: NDArray[np.int64]
    columns: Mapping[str, Any]
    """By metric: an array of int64, or `Amounts` where there are fractions."""
    quantity: str = "quantity"
    """What the column of quantities is called."""
    taken: Mapping[Taken, int] = field(default_factory=dict)
    """Where a sum is below zero: the first row that is."""

    def __len__(self) -> int:
        return len(self.tenants)

    def amounts(self, metric: str) -> _core.Amounts:
        """A column as exact numbers."""
        column = self.columns[metric]
        if isinstance(column, _core.Amounts):
            return column
        return _core.amounts_of_wholes(column, 0)

    def take(self, metric: str, rows: NDArray[np.int64]) -> Any:
        """Some rows of a column."""
        column = self.columns[metric]
        if isinstance(column, _core.Amounts):
            return _core.take_rows(column, 1, rows)
        return column[rows]

    def is_used(self, metric: str) -> bool:
        """Whether any quantity is not zero."""
        column = self.columns[metric]
        if isinstance(column, _core.Amounts):
            return bool(_exact.words(column).any())
        return bool(column.any())


def table_of(
    usage: Any,
    metrics: Sequence[str] | None,
    unit: str,
    zone: str,
    customers: str,
    columns: Mapping[str, str] | None,
) -> UsageTable:
    """Sums the usage. With `metrics` another one is an error that names its row."""
    np = _exact.numpy()
    names = names_of(columns, "tenant", "time", "metric", "quantity")
    labels: dict[str, list[Any]] = {}
    found = read_usage(usage, names, ids=("tenant", "metric"), labels=labels)
    quantity = found["quantity"]
    check_numbers(quantity, names["quantity"], ("int", "decimal"), "whole numbers or decimals")
    times = found["time"]
    metric: Any = found["metric"]
    if names["metric"] in labels:
        categories = list(map(str, labels[names["metric"]]))
        if metrics is None or set(categories) <= set(metrics):
            metrics = categories
        else:
            metric = _positions(metric, categories, metrics, names["metric"])
    elif metrics is None:
        metric, metrics = metric.codes(names["metric"])
        metrics = list(map(str, metrics))

    def summed(starts: list[int]) -> dict[str, Any]:
        return _core.usage_table(
            found["tenant"], times, metric, quantity, list(metrics), starts, customers
        )

    # Some of the times mostly show all periods. Where they do not, or anything else is wrong, the
    # range of all times is found first.
    starts = period_starts(unit, zone, times, names["time"], max(1, len(times) // _TIMES_SAMPLED))
    try:
        made = summed(starts)
    except InvalidValue:
        starts = period_starts(unit, zone, times, names["time"])
        try:
            made = summed(starts)
        except InvalidValue as error:
            raise _placed(error, found, names) from None

    def column(values: bytes | _core.Amounts) -> Any:
        return np.frombuffer(values, "<i8") if isinstance(values, bytes) else values

    ids = made["ids"]
    if names["tenant"] in labels:
        ids = map(labels[names["tenant"]].__getitem__, ids)
    sums = {name: column(values) for name, values in zip(metrics, made["columns"], strict=True)}
    return UsageTable(
        tuple(ids),
        tuple(starts),
        np.frombuffer(made["tenants"], "<u4").astype("int64"),
        np.frombuffer(made["periods"], "<u4").astype("int64"),
        sums,
        names["quantity"],
        rows_below_zero(found, names, labels, starts) if some_below_zero(sums) else {},
    )


def _placed(error: InvalidValue, found: Mapping[str, Any], names: Mapping[str, str]) -> Exception:
    """What the sums say of an event, with the column and the row that it is about."""
    try:
        if found["tenant"].kind == "int":
            found["tenant"].wholes(names["tenant"])
        found["quantity"].units(names["quantity"])
    except InvalidValue as of_column:
        return of_column
    unknown = re.fullmatch(r"usage: event (\d+): (unknown metric .*)", str(error), re.DOTALL)
    if unknown is None:
        return error
    return InvalidValue(names["metric"], f"row {unknown[1]}: {unknown[2]}")


def _positions(
    column: _core.FrameColumn, categories: Sequence[str], metrics: Sequence[str], name: str
) -> NDArray[np.int64]:
    """Where the categories of a column stand among the metrics."""
    np = _exact.numpy()
    known = {metric: place for place, metric in enumerate(metrics)}
    places = np.array([known.get(category, -1) for category in categories], "int64")
    codes = np.asarray(column.wholes(name))
    found: NDArray[Any] = places[codes]
    if len(found) and found.min() < 0:
        row = int(found.argmin())
        raise InvalidValue(
            name,
            f'row {row}: unknown metric "{categories[codes[row]]}"',
            remedy=f"the books have {', '.join(metrics)}",
        )
    return found


def with_customers(table: UsageTable, others: Sequence[Tenant]) -> UsageTable:
    """The table with every period of tenants that used nothing."""
    np = _exact.numpy()
    if not others:
        return table
    periods = len(table.starts) - 1
    more = np.arange(len(table.ids), len(table.ids) + len(others)).repeat(periods)

    def longer(column: Any) -> Any:
        if isinstance(column, _core.Amounts):
            nothing = np.zeros((len(more), 2), "int64")
            return _exact.amounts(np.concatenate([_exact.words(column), nothing]))
        return np.concatenate([column, np.zeros(len(more), "int64")])

    return replace(
        table,
        ids=(*table.ids, *others),
        tenants=np.concatenate([table.tenants, more]),
        periods=np.concatenate([table.periods, np.tile(np.arange(periods), len(others))]),
        columns={name: longer(column) for name, column in table.columns.items()},
    )


# --- what is known of tenants besides their usage


def plans_of(plans: Any) -> dict[Tenant, str]:
    """The plan of each tenant, out of a mapping or a frame with the columns tenant and plan."""
    found: dict[Tenant, Any] = {}
    if plans is None:
        return {}
    if _is_frame(plans):
        columns = read_usage(plans, {"tenant": "tenant", "plan": "plan"}, ("tenant", "plan"))
        found = _joined(columns, "plan")
    else:
        found = dict(plans)
    for tenant, plan in found.items():
        if not isinstance(plan, str):
            raise InvalidValue(
                "plans", f"tenant {tenant}: expected the name of a plan, got {plan!r}"
            )
    return found


def seats_of(seats: Any) -> dict[Tenant, Decimal]:
    """The seats of each tenant, out of a mapping or a frame with the columns tenant and seats."""
    if seats is None:
        return {}
    if _is_frame(seats):
        columns = read_usage(seats, {"tenant": "tenant", "seats": "seats"}, ("tenant",))
        keys, ids = columns["tenant"].codes("tenant")
        _once(keys, ids, "seats")
        values = columns["seats"].units("seats").tolist()
        return dict(zip(_exact.pick(ids, _exact.numpy().asarray(keys)), values, strict=True))
    return {tenant: _core.exact(count, f"seats[{tenant}]") for tenant, count in seats.items()}


def _is_frame(values: Any) -> bool:
    """A mapping is a frame where its values are columns."""
    if not isinstance(values, Mapping):
        return True
    some: Number | Sequence[Any] | None = next(iter(values.values()), None)
    return some is not None and not isinstance(some, str | int | Decimal)


def _joined(columns: Mapping[str, Any], name: str) -> dict[Tenant, Any]:
    np = _exact.numpy()
    keys, ids = columns["tenant"].codes("tenant")
    _once(keys, ids, name)
    codes, values = columns[name].codes(name)
    tenants = _exact.pick(ids, np.asarray(keys))
    return dict(zip(tenants, _exact.pick(values, np.asarray(codes)), strict=True))


def _once(keys: Any, ids: Sequence[Any], name: str) -> None:
    np = _exact.numpy()
    codes = np.asarray(keys)
    if len(ids) == len(codes):
        return
    seen = set()
    for row, code in enumerate(codes.tolist()):
        if code in seen:
            raise InvalidValue("tenant", f"row {row}: {ids[code]} has a {name} already")
        seen.add(code)
