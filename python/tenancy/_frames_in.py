"""The frames of others: columns of pandas, polars, DuckDB, pyarrow and plain lists, where they lie.

Whatever does not fit is `InvalidValue` with the column, where it is about one value with the first
row that is wrong, and with the remedy.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from math import isnan
from typing import Any

from . import _core
from .errors import InvalidValue

__all__ = ["NO_VALUE", "arrow_columns", "as_table", "check_kinds", "read_columns"]

NO_VALUE = "leave the row out, or fill it"
"""What to do about a row without a value."""

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_INT_END = 1 << 63


def read_columns(
    frame: Any, names: Sequence[str], *, ids: Sequence[str], times: Sequence[str] = ()
) -> dict[str, Any]:
    """The named columns of a data frame of pandas, polars, DuckDB, pyarrow or this package, of
    anything with ``__arrow_c_stream__`` or ``__arrow_c_array__``, or of a mapping of columns.

    The answer is `tenancy._core.FrameColumn` by name. Columns named in ``ids`` may be texts; lists
    named in ``times`` have to be datetimes. No column is copied that need not be. Raises
    `InvalidValue` for a column that is not there, is of a type that is not read, or of another
    length.
    """
    found = _all_columns(frame, names)
    columns = {}
    for name in names:
        if name not in found:
            there = ", ".join(map(str, found)) or "none"
            raise InvalidValue(
                name, f"there is no such column; there are {there}", remedy="name it in columns="
            )
        columns[name] = _column(found[name], name, ids=name in ids, times=name in times)
    first = names[0]
    for name in names[1:]:
        if len(columns[name]) != len(columns[first]):
            raise InvalidValue(
                name,
                f"has {len(columns[name])} rows, but the column {first} has {len(columns[first])}",
                remedy="one value for each row",
            )
    return columns


def as_table(frame: Any, names: Sequence[str]) -> Any:
    """A frame whose columns can be read: a lazy one of polars is computed.

    Raises `InvalidValue` for a single column, and for a name that several columns have.
    """
    if type(frame).__name__ == "LazyFrame":
        return frame.collect()
    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):
        raise InvalidValue(
            "usage", f"expected a data frame, got a {type(frame).__name__}, which is one column",
            remedy=".reset_index() makes columns of the index of a Series of pandas",
        )  # fmt: skip
    if not isinstance(frame, Mapping) and hasattr(frame, "columns"):
        there = list(frame.columns)
        for name in names:
            if there.count(name) > 1:
                raise InvalidValue(
                    name,
                    f"there are {there.count(name)} columns of this name",
                    remedy="rename or drop all but one",
                )
    return frame


def arrow_columns(frame: Any) -> dict[str, Any] | None:
    """The columns of a frame by Arrow's stream; those that are of no type that is read are errors.

    None where the library at hand cannot make Arrow columns of it: its columns are read one by one.
    """
    if not hasattr(frame, "__arrow_c_stream__") and not hasattr(frame, "__arrow_c_array__"):
        return None
    try:
        read = _core.read_frame(frame)
    except InvalidValue:
        raise
    except (ImportError, NotImplementedError, TypeError, ValueError):
        # pandas asks for pyarrow, which is not there, or refuses what an object column holds.
        if hasattr(frame, "columns") and hasattr(frame, "__getitem__"):
            return None
        raise
    found = {
        name: _unread(name, column) if isinstance(column, str) else column for name, column in read
    }
    if getattr(frame, "shape", (1,))[0] == 0:  # an empty column may have no type
        return {name: [] if isinstance(of, InvalidValue) else of for name, of in found.items()}
    return found | _times_of_objects(frame, found)


def _unread(name: str, why: str) -> InvalidValue:
    if why.startswith('Arrow type "n" '):  # of nothing but missing values
        return InvalidValue(name, "row 0: no value", remedy=NO_VALUE)
    return InvalidValue(name, why)


def _times_of_objects(frame: Any, found: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of a pandas frame whose datetimes are objects: on the way through Arrow each of them
    would silently get the time zone of the first."""
    if not hasattr(frame, "dtypes") or not hasattr(frame, "iloc"):
        return {}
    return {
        name: frame.iloc[:, place]
        for place, (name, dtype) in enumerate(zip(frame.columns, frame.dtypes, strict=True))
        if getattr(dtype, "kind", "") == "O" and getattr(found.get(name), "kind", "") == "time"
    }


def _all_columns(frame: Any, names: Sequence[str]) -> Mapping[str, Any]:
    if isinstance(frame, Mapping):
        return frame
    frame = as_table(frame, names)
    if (columns := arrow_columns(frame)) is not None:
        return columns
    if hasattr(frame, "columns") and hasattr(frame, "__getitem__"):
        return {name: frame[name] for name in frame.columns if name in names}
    raise InvalidValue(
        "usage",
        f"expected a data frame or a mapping of columns, got {type(frame).__name__}",
        remedy="pass a frame of pandas (pandas.DataFrame(rows)), polars, DuckDB or pyarrow, or "
        "{'tenant': [...], ...}",
    )


def _column(values: Any, name: str, *, ids: bool, times: bool) -> _core.FrameColumn:
    values = _of_library(values, name)
    if isinstance(values, _core.FrameColumn):
        return values
    if isinstance(values, InvalidValue):
        raise values
    if isinstance(values, str | bytes):
        raise InvalidValue(
            name, "expected a column of values, got a text", remedy="a list with one for each row"
        )
    if hasattr(values, "to_numpy") and not hasattr(values, "__arrow_c_array__"):
        values = values.to_numpy()
    letter = getattr(getattr(values, "dtype", None), "kind", "")
    if letter == "M":
        return _core.FrameColumn.of(
            values.astype("datetime64[ns]", copy=False).view("int64"), name, False
        ).read_as("time", "")
    if letter == "f":
        return _float_column(values.astype("float64").tolist(), name)
    if letter == "c":
        raise InvalidValue(
            name, "holds complex numbers, which are no quantities", remedy="their real parts"
        )
    if letter in ("O", "S", "b") or (letter == "U" and (times or not ids)):
        values = values.tolist()
    if isinstance(values, Sequence):
        return _of_objects(values, name, ids=ids, times=times)
    return _core.FrameColumn.of(values, name, ids)


def _of_library(values: Any, name: str) -> Any:
    """A column that is one of pyarrow or polars by itself, as a frame of it alone has it."""
    library = type(values).__module__.partition(".")[0]
    if library == "pyarrow":
        return _alone(sys.modules[library].table({name: values}), name)
    if library == "polars" and hasattr(values, "to_frame"):
        return _alone(values.to_frame(name), name)
    return values


def _alone(frame: Any, name: str) -> Any:
    columns = arrow_columns(frame)
    return frame if columns is None else columns[name]


def _of_objects(items: Sequence[Any], name: str, *, ids: bool, times: bool) -> _core.FrameColumn:
    first = next((item for item in items if not _is_nothing(item)), None)
    if isinstance(first, datetime) or (times and len(items)):
        return _time_column(items, name)
    if not ids and any(isinstance(item, float) for item in items):
        return _float_column(items, name)
    try:
        return _core.FrameColumn.of(items, name, ids)
    except InvalidValue:
        check_kinds(items, name, ids=ids)
        raise


def _is_nothing(item: Any) -> bool:
    """None, or what pandas and NumPy have for it; NaN is nothing where floats are not read."""
    return item is None or type(item).__name__ in ("NAType", "NaTType")


def _refuse_nothing(item: Any, name: str, row: int) -> None:
    if _is_nothing(item):
        raise InvalidValue(name, f"row {row}: no value", remedy=NO_VALUE)


def check_kinds(items: Sequence[Any], name: str, *, ids: bool) -> None:
    """Name the first value of a list that is none, or of another kind than those before it."""
    wanted: tuple[type[Any], ...] = (str, int) if ids else (int, str, Decimal)
    for row, item in enumerate(items):
        _refuse_nothing(None if isinstance(item, float) and isnan(item) else item, name, row)
        if type(item) not in wanted:
            words = ", ".join(each.__name__ for each in wanted)
            what = f"row {row}: expected {words}, got {type(item).__name__}"
            raise InvalidValue(name, what, remedy="values of one kind in a column")
        if ids and type(item) is int and not -_INT_END <= item < _INT_END:
            what = f"row {row}: a number of {item.bit_length()} bits does not fit 64 bits"
            raise InvalidValue(name, what, remedy="give such ids as texts")
        if ids:
            wanted = (type(item),)


def _float_column(items: Sequence[Any], name: str) -> _core.FrameColumn:
    for row, item in enumerate(items):
        _refuse_nothing(item, name, row)
        if isinstance(item, bool) or not isinstance(item, int | float):
            what = f"row {row}: expected a number, got {type(item).__name__}"
            raise InvalidValue(name, what, remedy="floats alone, or int and Decimal alone")
    bits = array("q", array("d", items).tobytes())
    return _core.FrameColumn.of(bits, name, False).read_as("float", "")


def _time_column(items: Sequence[Any], name: str) -> _core.FrameColumn:
    """Of datetimes that all have one time zone, or all have none."""
    zones: dict[str, int] = {}
    found = array("q")
    for row, item in enumerate(items):
        _refuse_nothing(item, name, row)
        if not isinstance(item, datetime):
            got = "text" if isinstance(item, str) else type(item).__name__
            raise InvalidValue(
                name,
                f"row {row}: expected times, got {got}",
                remedy="give datetime64 or datetimes, as of pandas.to_datetime(…, utc=True)",
            )
        zones.setdefault("none" if item.tzinfo is None else str(item.tzinfo), row)
        if len(zones) > 1:
            first, second = zones
            raise InvalidValue(
                name,
                f"row {row}: the time zone is {second}, of the rows before {first}",
                remedy="convert all of them to UTC",
            )
        aware = item if item.tzinfo is not None else item.replace(tzinfo=timezone.utc)
        found.append((aware - _EPOCH) // _MICROSECOND * 1000)
    zone = next(iter(zones), "UTC")
    return _core.FrameColumn.of(found, name, False).read_as("time", "" if zone == "none" else zone)
