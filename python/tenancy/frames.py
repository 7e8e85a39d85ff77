"""Frames: tables of named columns that go in and out of pandas, polars, DuckDB and Arrow.

What an analyst gets from this package is a `Frame`. It needs none of these libraries itself: it
speaks Arrow's C data interface (``__arrow_c_stream__``), which all of them read.

>>> frame = Frame({"tenant": ["acme", "globex"], "amount": ["11.60", "0.005"]}, amounts=["amount"])
>>> frame["amount"].sum()
Decimal('11.605')

Money and quantities are exact: decimal128(38, 12) in Arrow and polars, `Decimal` in pandas. They
become floats only where ``floats=True`` asks for it. Money has its currency in a column beside it.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from . import _core
from .errors import ExtraMissing, InvalidValue

__all__ = ["Frame", "Kind"]

Kind: TypeAlias = Literal["int", "text", "float", "time", "decimal"]
"""What a column holds: int64, text, float64, times in UTC, exact decimals."""

_SHOWN = 20
_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MICROSECOND = timedelta(microseconds=1)
_INT_END = 1 << 63
_PLAIN: dict[Kind, set[type[Any]]] = {
    "text": {str, type(None)},
    "float": {int, float, type(None)},
    "int": {int, type(None)},
}


class Frame:
    """A table: columns by name, all of one length. Immutable.

    ``columns`` are lists or arrays of int, str, float, datetime (with a time zone), or
    `tenancy.pricing.Amounts`; None is a missing value. Those named in ``amounts`` are lists of int,
    str or `Decimal` that become exact decimals; ``floats``, ``texts`` and ``times`` name columns
    that may have no value at all. Raises `InvalidValue` with the column's name.

    `frame["name"]` is a column, iterating gives the rows as dictionaries. pandas, polars, DuckDB
    and pyarrow take a frame as it is where they know ``__arrow_c_stream__``.
    """

    __slots__ = ("_held",)

    _held: dict[str, tuple[Kind, Any]]

    def __init__(
        self,
        columns: Mapping[str, Any],
        *,
        amounts: Sequence[str] = (),
        floats: Sequence[str] = (),
        texts: Sequence[str] = (),
        times: Sequence[str] = (),
    ) -> None:
        kinds: dict[str, Kind] = dict.fromkeys(amounts, "decimal")
        kinds |= dict.fromkeys(floats, "float")
        kinds |= dict.fromkeys(texts, "text")
        kinds |= dict.fromkeys(times, "time")
        for name in amounts:
            if name not in columns:
                there = ", ".join(columns) or "none"
                raise InvalidValue(name, f"there is no such column; there are {there}")
        self._held = {
            name: _member(name, values, kinds.get(name)) for name, values in columns.items()
        }
        lengths = {name: len(values) for name, (_, values) in self._held.items()}
        for name, length in lengths.items():
            first = next(iter(lengths))
            if length != lengths[first]:
                raise InvalidValue(
                    name, f"has {length} rows, but the column {first} has {lengths[first]}"
                )

    def _members(self) -> dict[str, tuple[Kind, Any]]:
        return self._held

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns, in their order."""
        return tuple(self._members())

    @property
    def kinds(self) -> dict[str, Kind]:
        """What each column holds."""
        return {name: kind for name, (kind, _) in self._members().items()}

    def __getitem__(self, name: str) -> Any:
        """A column: a list of int, str, float or datetime, or `Amounts`."""
        try:
            kind, values = self._members()[name]
        except KeyError:
            raise KeyError(f"no column {name!r}; there are {', '.join(self.columns)}") from None
        return [_time(ns) for ns in values] if kind == "time" else values

    def __contains__(self, name: object) -> bool:
        return name in self._members()

    def __len__(self) -> int:
        for _, values in self._members().values():
            return len(values)
        return 0

    def __iter__(self) -> Iterator[Any]:
        names = self.columns
        for row in zip(*(self[name] for name in names), strict=True):
            yield dict(zip(names, row, strict=True))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Frame):
            return NotImplemented
        return self._members() == other._members()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {len(self)} rows of {', '.join(self.columns)}>"

    def _repr_html_(self) -> str:
        """What notebooks show: the first rows."""
        names = self.columns
        shown = [[_cell(value) for value in self._first(name)] for name in names]
        head = "".join(f"<th>{html.escape(name)}</th>" for name in names)
        body = "".join(
            f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>"
            for row in zip(*shown, strict=True)
        )
        more = len(self) - _SHOWN
        note = f"<p>{more:,} more rows</p>" if more > 0 else ""
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        return f"<div>{table}{note}</div>"

    def _first(self, name: str) -> list[Any]:
        kind, values = self._members()[name]
        first = [values[i] for i in range(min(_SHOWN, len(values)))]
        return [_time(ns) for ns in first] if kind == "time" else first

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The Arrow C stream of the table; a consumer that asks for another schema casts itself."""
        return _core.arrow_stream(
            [(name, kind, values) for name, (kind, values) in self._members().items()]
        )

    def with_floats(self) -> Frame:
        """The same with its exact decimals as the nearest floats; NaN where a value is missing."""
        made = Frame({})
        made._held = {
            name: ("float", _floats(values)) if kind == "decimal" else (kind, values)
            for name, (kind, values) in self._members().items()
        }
        return made

    def to_arrow(self, *, floats: bool = False) -> Any:
        """A `pyarrow.Table`; raises `ExtraMissing` without pyarrow."""
        try:
            import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise ExtraMissing("arrow", "pyarrow") from None
        return pyarrow.table(self.with_floats() if floats else self)

    def to_polars(self, *, floats: bool = False) -> Any:
        """A `polars.DataFrame`; raises `ExtraMissing` without polars."""
        try:
            import polars  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise ExtraMissing("polars", "polars") from None
        return polars.DataFrame(self.with_floats() if floats else self)

    def to_pandas(self, *, floats: bool = False) -> Any:
        """A `pandas.DataFrame` whose exact columns are objects: `Decimal`, None where missing.

        Raises `ExtraMissing` without pandas.
        """
        try:
            import pandas  # type: ignore[import-not-found, import-untyped, unused-ignore]
        except ImportError:
            raise ExtraMissing("pandas", "pandas") from None
        made = {}
        for name, (kind, values) in (self.with_floats() if floats else self)._members().items():
            if kind == "decimal":
                made[name] = pandas.Series(values.tolist(), dtype=object)
            elif kind == "time":
                made[name] = pandas.to_datetime(pandas.Series(values, dtype="Int64"), utc=True)
            elif kind == "int" and None in values:
                made[name] = pandas.Series(values, dtype="Int64")
            else:
                made[name] = pandas.Series(values, dtype=object if kind == "text" else None)
        return pandas.DataFrame(made)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):  # as people read it; the column has all digits
        return f"{value:.6g}" if abs(value) < 1e6 else f"{value:.1f}"
    return f"{value:f}" if isinstance(value, Decimal) else str(value)


def _time(ns: int | None) -> datetime | None:
    return None if ns is None else _EPOCH + timedelta(microseconds=ns // 1000)


def _floats(values: _core.Amounts) -> list[float]:
    return [float(value) for value in memoryview(values.to_floats())]


def _ns(name: str, row: int, value: datetime | None) -> int | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidValue(name, f"row {row}: expected a datetime, got {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidValue(
            name, f"row {row}: the time {value} has no time zone", remedy="give one, such as UTC"
        )
    ns = (value - _EPOCH) // _MICROSECOND * 1000
    if not -_INT_END <= ns < _INT_END:
        raise InvalidValue(name, f"row {row}: the time {value} lies outside the years 1678 to 2261")
    return ns


def _member(name: str, values: Any, kind: Kind | None) -> tuple[Kind, Any]:
    if isinstance(values, _core.Amounts):
        return "decimal", values
    items = values.tolist() if hasattr(values, "tolist") else list(values)
    kind = kind or _kind_of(items)
    if kind == "decimal":
        return kind, _core.amounts_of_numbers(items, name)
    if kind == "time":
        return kind, [_ns(name, row, item) for row, item in enumerate(items)]
    if not _is_plain(kind, items):
        _check_items(name, kind, items)
    return kind, items


def _is_plain(kind: Kind, items: list[Any]) -> bool:
    """Whether all are None or of the very type of the kind, and whole numbers of 64 bits.

    Columns are long, and this looks at them without a loop of Python's.
    """
    types = set(map(type, items))
    if not types <= _PLAIN[kind]:
        return False
    if kind != "int":
        return True
    numbers = [item for item in items if item is not None] if type(None) in types else items
    return not numbers or (min(numbers) >= -_INT_END and max(numbers) < _INT_END)


def _check_items(name: str, kind: Kind, items: list[Any]) -> None:
    wanted: Any = {"text": str, "float": (int, float), "int": int}[kind]
    for row, item in enumerate(items):
        if item is not None and (not isinstance(item, wanted) or isinstance(item, bool)):
            raise InvalidValue(
                name, f"row {row}: expected {kind} like the rows before, got {type(item).__name__}"
            )
        if kind == "int" and item is not None and not -_INT_END <= item < _INT_END:
            raise InvalidValue(
                name,
                f"row {row}: a number of {item.bit_length()} bits does not fit 64 bits",
                remedy=f'name the column in amounts=["{name}"], which hold 26 digits',
            )


def _kind_of(items: list[Any]) -> Kind:
    first = next((item for item in items if item is not None), None)
    if isinstance(first, datetime):
        return "time"
    if isinstance(first, Decimal):
        return "decimal"
    if isinstance(first, int) and not any(
        issubclass(each, float) for each in set(map(type, items))
    ):
        return "int"
    return "float" if isinstance(first, int | float) else "text"
