"""A block of rows taken by its columns: checked at once, and one call of the log.

What is not plainly right is not judged here: the whole block is then read row by row, where each
row is told what is wrong with it. So both ways come to the same, and this one has only to be sure
of what it takes.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .. import _core
from .._text import NS
from ..errors import InvalidValue, NotFound
from ..stores.usage_log import ID_BYTES_MAX, RECORDED, SOURCE_BYTES_MAX
from ._columns import Columns, cell_of
from ._events import (
    PER_SECOND,
    SECONDS_MAX,
    Checks,
    Ns,
    lacks,
    parse_time,
    properties_json,
    text_of,
)

__all__ = ["Bulk", "bulk"]

_PLAIN = r"\A[!-~](?:[ -~]*[!-~])?\z"
"""Text that is neither stripped nor refused."""
_DIGITS = r"\A(?:0|[1-9][0-9]{0,25})(?:\.[0-9]{1,12})?\z"
_ISO = (
    r"\A(?:19[7-9]\d|20\d\d|21\d\d)-\d\d-\d\d[T ]"
    r"(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,9})?Z?\z"
)


class _ByRow(Exception):  # noqa: N818 - no error, another way
    """The block is read row by row."""


class _Coded(NamedTuple):
    """A few different values, and which one each event has."""

    values: list[Any]
    codes: Any
    """Arrow integers without nulls."""

    def repeated(self, index: Any) -> _Coded:
        return self if index is None else self._replace(codes=self.codes.take(index))


class Bulk(NamedTuple):
    """The events of a block in the order of its rows, all of them right."""

    tenants: _Coded
    times: Any
    """Arrow integers, Unix nanoseconds; None: no event has a time."""
    arguments: Mapping[str, Any]
    """Of `UsageLog.record`."""
    events: int
    per_row: int

    def earliest(self) -> dict[str, int]:
        """The first time of each tenant that has one."""
        if self.times is None:
            return {}
        pyarrow = _pyarrow()
        pairs = pyarrow.table({"tenant": self.tenants.codes, "time": self.times})
        found: dict[str, int] = {}
        for row in pairs.group_by("tenant").aggregate([("time", "min")]).to_pylist():
            tenant, first = self.tenants.values[row["tenant"]], row["time_min"]
            if first is not None:
                found[tenant] = min(first, found.get(tenant, first))
        return found

    def recorded_by_tenant(self, statuses: bytes) -> dict[str, int]:
        """How many were recorded, tenants in the order of their first."""
        pyarrow, compute = _pyarrow(), _compute()
        each = pyarrow.Array.from_buffers(
            pyarrow.uint8(), len(statuses), [None, pyarrow.py_buffer(statuses)]
        )
        codes = self.tenants.codes.filter(compute.equal(each, RECORDED))
        found: dict[str, int] = {}
        for row in codes.value_counts().to_pylist():
            tenant = self.tenants.values[row["values"]]
            found[tenant] = found.get(tenant, 0) + row["counts"]
        return found


def bulk(
    table: Mapping[str, Any] | None, first: int, columns: Columns, checks: Checks
) -> Bulk | None:
    """The events of rows from number `first` on; None: read them one by one."""
    if not table or "specversion" in table:
        return None
    pyarrow = _pyarrow()
    try:
        return _Reader(table, first, columns, checks).read()
    except (_ByRow, InvalidValue, NotFound, OverflowError, UnicodeError):
        return None
    except pyarrow.ArrowException:  # a cast that is not exact, a kind of column that it cannot
        return None


class _Reader:
    def __init__(
        self, table: Mapping[str, Any], first: int, columns: Columns, checks: Checks
    ) -> None:
        self._pa, self._pc = _pyarrow(), _compute()
        self._table = table
        self._length = len(next(iter(table.values())))
        self._first = first
        self._columns = columns
        self._checks = checks

    def read(self) -> Bulk:
        names = list(self._columns.quantities.values())
        columns = list(self._columns.quantities) or [self._columns.names["quantity"]]
        quantities = [self._quantity(name, bool(names)) for name in columns]
        several = len(columns)
        index = None
        if several > 1:
            index = self._pa.array([i for i in range(self._length) for _ in range(several)])
        tenants = self._coded("tenant", self._checks.tenant).repeated(index)
        sources = self._coded("source", _source).repeated(index)
        properties = self._properties()
        texts = properties._replace(values=[properties_json(one) for one in properties.values])
        metrics = self._metrics(names, properties)
        times = self._times()
        arguments = {
            "tenants": self._argument(tenants),
            "metrics": self._argument(metrics),
            "ids": self._ids(names),
            "sources": self._argument(sources),
            "times_ns": times if times is None or index is None else times.take(index),
            "quantities": self._interleaved(quantities),
            "properties": self._argument(texts.repeated(index)),
        }
        return Bulk(tenants, arguments["times_ns"], arguments, self._length * several, several)

    # ------------------------------------------------------------------ few different values

    def _coded(self, field: str, of: Any) -> _Coded:
        """What the field's values stand for, each different one looked up once."""
        constant = self._columns.constants.get(field)
        found = self._distinct([self._columns.names[field]])
        return found._replace(
            values=[of(constant if (own := cell_of(v)) is None else own) for (v,) in found.values]
        )

    def _metrics(self, names: Sequence[str], properties: _Coded) -> _Coded:
        if names:
            known = [self._checks.metric(name) for name in names]
            codes = self._pa.array([*range(len(known))] * self._length)
            for metric in known:
                self._check_unique(metric, properties, None)
        else:
            found = self._coded("metric", self._checks.metric)
            known, codes = found.values, found.codes
            for number, metric in enumerate(known):
                self._check_unique(metric, properties, self._pc.equal(codes, number))
        return _Coded([metric.name for metric in known], codes)

    def _check_unique(self, metric: Any, properties: _Coded, chosen: Any) -> None:
        if metric.unique_by is None:
            return
        lacking = self._pa.array([lacks(one, metric.unique_by) for one in properties.values])
        events = lacking.take(properties.codes)
        if chosen is not None:
            events = self._pc.and_(events, chosen)
        if self._pc.any(events).as_py():
            raise _ByRow

    def _properties(self) -> _Coded:
        own = self._columns.properties
        found = self._distinct([self._columns.names["properties"], *own])
        return found._replace(
            values=[
                self._columns.object(dict(zip(own, cells, strict=True)), cell_of(text))
                for text, *cells in found.values
            ]
        )

    def _distinct(self, names: Sequence[str]) -> _Coded:
        """The different rows of these columns; a column that is not there is all None."""
        columns = [self._column(name) for name in names]
        if any(c is not None and not self._encodes(c.type) for c in columns):
            cells = [[None] * self._length if c is None else c.to_pylist() for c in columns]
            return _Coded(list(zip(*cells, strict=True)), self._pa.array(range(self._length)))
        found = _Coded([()], None)
        for column in columns:
            if column is None:
                found = found._replace(values=[(*cells, None) for cells in found.values])
                continue
            values, codes = self._codes(column)
            if found.codes is None:
                found = _Coded([(*found.values[0], value) for value in values], codes)
                continue
            size = len(values)
            pairs = self._pc.add(self._pc.multiply(found.codes, size), codes).dictionary_encode()
            rows = [
                (*found.values[pair // size], values[pair % size])
                for pair in pairs.dictionary.to_pylist()
            ]
            found = _Coded(rows, pairs.indices.cast(self._pa.int64()))
        if found.codes is None:
            found = found._replace(codes=self._pa.repeat(self._pa.scalar(0), self._length))
        return found

    def _codes(self, column: Any) -> tuple[list[Any], Any]:
        if self._pa.types.is_dictionary(column.type):
            # Of a large dictionary only what these rows use.
            used = column.indices.dictionary_encode()
            values, codes = column.dictionary.take(used.dictionary).to_pylist(), used.indices
        else:
            used = column.dictionary_encode()
            values, codes = used.dictionary.to_pylist(), used.indices
        codes = codes.cast(self._pa.int64())
        if codes.null_count:
            codes = self._pc.fill_null(codes, len(values))
            values.append(None)
        return values, codes

    def _encodes(self, kind: Any) -> bool:
        """Floats are not: 0.0 and -0.0 are equal, but not the same text."""
        types = self._pa.types
        if types.is_dictionary(kind):
            kind = kind.value_type
        return not (types.is_floating(kind) or types.is_nested(kind))

    def _argument(self, coded: _Coded) -> Any:
        if len(coded.values) == 1:
            return coded.values[0]
        codes = coded.codes
        nothing = [code for code, value in enumerate(coded.values) if value is None]
        if nothing:
            gone = self._pc.is_in(codes, self._pa.array(nothing))
            codes = self._pc.if_else(gone, self._pa.scalar(None, codes.type), codes)
        texts = self._pa.array(["" if v is None else v for v in coded.values], self._pa.string())
        return self._pa.DictionaryArray.from_arrays(codes.cast(self._pa.int32()), texts)

    # -------------------------------------------------------------------- a value of each row

    def _ids(self, names: Sequence[str]) -> Any:
        ids = self._texts(self._columns.names["id"])
        if ids is None or ids.null_count:
            fresh = self._fresh_ids()
            ids = fresh if ids is None else self._pc.coalesce(ids, fresh)
        if names:
            join = self._pc.binary_join_element_wise
            ids = self._interleaved([join(ids, self._pa.scalar(name), "/") for name in names])
        if self._longest(ids) > ID_BYTES_MAX or not self._all(ids, _PLAIN):
            ids = self._pa.array([text_of(one, "id", ID_BYTES_MAX) for one in ids.to_pylist()])
        return ids

    def _fresh_ids(self) -> Any:
        if not self._columns.numbered:
            now_ns = self._checks.now_ns
            return self._pa.array([_core.uuid7(now_ns) for _ in range(self._length)])
        numbers = self._pa.array(range(self._first, self._first + self._length))
        texts = numbers.cast(self._pa.string())
        return self._pc.binary_join_element_wise(self._pa.scalar("row"), texts, " ")

    def _times(self) -> Any:
        column = self._column(self._columns.names["time"])
        if column is None:
            return None
        types, unit = self._pa.types, self._columns.time_unit
        if types.is_integer(column.type):  # a timestamp as well: those are nanoseconds
            whole = self._wholes_as_ns(column, unit)
        else:
            whole = self._text_as_ns(column, unit)
        bounds = self._pc.min_max(whole).as_py()
        if bounds["min"] is None:
            return None
        for bound in bounds.values():
            self._checks.time_ns(Ns(bound))
        return whole

    def _wholes_as_ns(self, column: Any, unit: str | None) -> Any:
        if self._pa.types.is_timestamp(self._table[self._columns.names["time"]].type):
            return column
        bounds = self._pc.min_max(column).as_py()
        if bounds["min"] is None:
            return column.cast(self._pa.int64())
        if unit is None or bounds["min"] < 0:
            raise _ByRow
        scale = NS // PER_SECOND[unit]
        if bounds["max"] * scale >= SECONDS_MAX * NS:
            raise _ByRow
        return self._pc.multiply(column.cast(self._pa.int64()), scale)

    def _text_as_ns(self, column: Any, unit: str | None) -> Any:
        texts = self._strings(column)
        if texts is not None and self._all(texts, _ISO):
            texts = self._pc.utf8_rtrim(texts, "Z")
            return texts.cast(self._pa.timestamp("ns")).cast(self._pa.int64())
        cells = map(cell_of, column.to_pylist())
        times = [None if v is None else self._checks.time_ns(parse_time(v, unit)) for v in cells]
        return self._pa.array(times, self._pa.int64())

    def _quantity(self, name: str, needed: bool) -> Any:
        column = self._column(name)
        if column is None:
            if needed or name in self._table:
                raise _ByRow
            return None
        types = self._pa.types
        if not (types.is_integer(column.type) or types.is_decimal(column.type)):
            column = self._texts(name)
            if column is None or column.null_count or not self._all(column, _DIGITS):
                raise _ByRow
            whole = (
                self._longest(column) <= 18
                and not self._pc.any(self._pc.match_substring(column, ".")).as_py()
            )
            return column.cast(self._pa.int64() if whole else self._pa.decimal128(38, 12))
        if column.null_count or self._pc.min(column).as_py() < 0:
            raise _ByRow
        if types.is_decimal(column.type):
            return column.cast(self._pa.decimal128(38, 12))
        return column.cast(self._pa.int64())

    def _interleaved(self, columns: Sequence[Any]) -> Any:
        """One value of each in turn."""
        if len(columns) == 1:
            return columns[0]
        if len({column.type for column in columns}) > 1:  # quantities, some of them whole
            columns = [column.cast(self._pa.decimal128(38, 12)) for column in columns]
        size = self._length
        turns = [place for row in range(size) for place in range(row, size * len(columns), size)]
        return self._pa.concat_arrays(columns).take(self._pa.array(turns))

    # ------------------------------------------------------------------------------ columns

    def _column(self, name: str) -> Any:
        """An Arrow array with a value in it, timestamps as nanoseconds; else None."""
        column = self._table.get(name)
        if column is None:
            return None
        if not hasattr(column, "null_count"):
            raise _ByRow  # values of several types
        if column.null_count == len(column):
            return None
        if self._pa.types.is_timestamp(column.type):
            ns = self._pa.timestamp("ns", column.type.tz)
            return column.cast(ns).cast(self._pa.int64())
        return column

    def _texts(self, name: str) -> Any:
        """Stripped, None where nothing is left; integers as their digits; None: all are none."""
        column = self._column(name)
        if column is None:
            return None
        if self._pa.types.is_integer(column.type):
            return column.cast(self._pa.string())
        texts = self._strings(column)
        if texts is None:
            raise _ByRow
        if self._all(texts, _PLAIN):
            return texts
        return self._pa.array([cell_of(one) for one in texts.to_pylist()], self._pa.string())

    def _strings(self, column: Any) -> Any:
        types = self._pa.types
        if types.is_dictionary(column.type):
            column = column.dictionary_decode()
        kind = column.type
        if types.is_string(kind):
            return column
        if types.is_large_string(kind) or str(kind) == "string_view":
            return column.cast(self._pa.string())
        return None

    def _all(self, texts: Any, pattern: str) -> bool:
        """Whether every text that is there matches."""
        return self._pc.all(self._pc.match_substring_regex(texts, pattern)).as_py() is not False

    def _longest(self, texts: Any) -> int:
        return self._pc.max(self._pc.binary_length(texts)).as_py() or 0


def _pyarrow() -> Any:
    """Where this is called, it made the table, and is loaded."""
    return importlib.import_module("pyarrow")


def _compute() -> Any:
    return importlib.import_module("pyarrow.compute")


def _source(value: Any) -> str:
    return "" if value is None or value == "" else text_of(value, "source", SOURCE_BYTES_MAX)
