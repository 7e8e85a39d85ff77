"""Rows out of files, frames and programs, whatever is wrong with some: in blocks, which may have
their columns as Arrow arrays as well."""

from __future__ import annotations

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from decimal import Decimal
from itertools import count, islice
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar, cast

from .._text import NS, shown, to_ns
from ..errors import ExtraMissing, InvalidValue
from ._columns import Columns
from ._events import PER_SECOND, Ns, parse_time, properties_json

__all__ = ["Block", "Row", "Rows", "of_file", "of_objects"]

LINE_BYTES_MAX = 1 << 20
BLOCK_ROWS = 65_536
"""Events in a block: a row may be several."""
CSV_ROWS = 16_384
CSV_CHARS = 1 << 24
"""What a block of a CSV holds, apart from its last row."""
WORTH_ROWS = 1024
"""Fewer rows of what is no Arrow data are not worth loading PyArrow."""
_EXACT = {bool, int, str}
"""Types whose lists become Arrow arrays without a change of any value."""
_T = TypeVar("_T")
_Line = list[str] | tuple[list[str], str]


class Row(NamedTuple):
    number: int
    values: Mapping[str, Any]
    problem: str = ""
    """What is wrong with the row as a whole."""


class Block(NamedTuple):
    """Some rows, one after the other."""

    rows: Callable[[], Iterable[Row]]
    """Where there is a table, any number of times; else once."""
    table: Callable[[], Mapping[str, Any] | None] | None = None
    """Their columns as Arrow arrays, a list where the values have several types."""
    first: int = 1


class Rows(NamedTuple):
    """Rows, and how far through their file they are."""

    blocks: Iterable[Block]
    done: Callable[[], int] | None
    """Bytes of the file; None: rows are counted."""
    total: int | None


# ---------------------------------------------------------------------------------------- files


def of_file(path: Path, columns: Columns, opened: ExitStack, format: str | None = None) -> Rows:  # noqa: A002
    """The rows of a CSV, JSON Lines or Parquet file, by its name: `.csv`, `.jsonl`, `.ndjson`,
    `.parquet`, and `.gz` behind the first three."""
    kind = format or _kind(path)
    try:
        raw = opened.enter_context(path.open("rb"))
        total = path.stat().st_size
    except OSError as error:
        raise InvalidValue("path", f"{path}: {error.strerror}") from None
    if kind == "parquet":
        return _parquet(raw, path, columns)
    stream: IO[bytes] = raw
    if path.name.endswith(".gz"):
        stream = cast(IO[bytes], opened.enter_context(gzip.GzipFile(fileobj=raw)))
    if kind == "csv":
        blocks = _csv(stream, columns, opened)
    else:
        blocks = iter([Block(lambda: _whole(_json_lines(stream), path))])
    return Rows(_whole(blocks, path), raw.tell, total)


def _kind(path: Path) -> str:
    name = path.name.lower().removesuffix(".gz")
    for suffix, kind in (
        (".csv", "csv"), (".jsonl", "jsonl"), (".ndjson", "jsonl"), (".parquet", "parquet"),
    ):  # fmt: skip
        if name.endswith(suffix):
            return kind
    raise InvalidValue(
        "path",
        f"{path.name}: no known kind of file",
        remedy='.csv, .jsonl, .parquet or format="csv"',
    )


def _whole(parts: Iterator[_T], path: Path) -> Iterator[_T]:
    try:
        yield from parts
    except (OSError, EOFError) as error:  # a torn or damaged .gz
        raise InvalidValue(
            "path", f"{path} cannot be read to its end ({error})", remedy="mend it, import it again"
        ) from None


def _csv(stream: IO[bytes], columns: Columns, opened: ExitStack) -> Iterator[Block]:
    # What is no UTF-8 becomes lone surrogates, which no field may hold: the row is rejected.
    text = io.TextIOWrapper(stream, "utf-8-sig", errors="surrogateescape", newline="")
    opened.callback(text.detach)  # the file is closed by whoever opened it
    reader = csv.reader(text, strict=True)
    try:
        header = [name.strip() for name in next(reader)]
    except StopIteration:
        raise InvalidValue(
            "path", "the file is empty", remedy="a line with the columns' names"
        ) from None
    except csv.Error as error:
        raise InvalidValue("path", f"the first line is no heading ({error})") from None
    columns.check_header(header)
    lines = _csv_lines(reader, len(header))
    first = 1
    while part := _some(lines):
        yield _csv_block(header, part, first, columns)
        first += len(part)


def _csv_lines(reader: Any, width: int) -> Iterator[_Line]:
    """The cells of each row; what is wrong with it where something is."""
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield [], f"no CSV near line {reader.line_num} ({error})"
            continue
        if len(cells) == width:
            yield cells
        elif cells:  # an empty line is no row
            yield cells, f"{len(cells)} cells, the heading has {width}"


def _some(lines: Iterator[_Line]) -> list[_Line]:
    part, room = [], CSV_CHARS
    for line in islice(lines, CSV_ROWS):
        part.append(line)
        room -= sum(map(len, line[0] if isinstance(line, tuple) else line))
        if room < 0:
            break
    return part


def _csv_block(header: list[str], part: list[_Line], first: int, columns: Columns) -> Block:
    def rows() -> Iterator[Row]:
        for number, line in enumerate(part, first):
            if isinstance(line, tuple):
                yield Row(number, {"row": line[0]} if line[0] else {}, line[1])
            else:
                yield Row(number, dict(zip(header, line, strict=True)))

    def table() -> Mapping[str, Any] | None:
        if len(part) < WORTH_ROWS or any(isinstance(line, tuple) for line in part):
            return None
        return _arrays(dict(zip(header, zip(*part, strict=True), strict=True)), columns)

    return Block(rows, table, first)


def _json_lines(stream: IO[bytes]) -> Iterator[Row]:
    number = 0
    while line := stream.readline(LINE_BYTES_MAX):
        number += 1
        if len(line) == LINE_BYTES_MAX and not line.endswith(b"\n"):
            while (more := stream.readline(LINE_BYTES_MAX)) and not more.endswith(b"\n"):
                pass
            yield Row(number, {"row": _start(line)}, f"longer than {LINE_BYTES_MAX} bytes")
        elif line.strip():
            yield _of_line(line, number)
        else:
            number -= 1


def _of_line(line: bytes, number: int) -> Row:
    try:
        value = json.loads(line.decode("utf-8-sig"), parse_float=Decimal, parse_constant=_refuse)
    except UnicodeDecodeError:
        return Row(number, {"row": _start(line)}, "no UTF-8")
    except (ValueError, RecursionError) as error:
        return Row(number, {"row": _start(line)}, f"not JSON ({error})")
    if not isinstance(value, dict):
        return Row(number, {"row": value}, "not a JSON object")
    return Row(number, value)


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _start(line: bytes) -> str:
    return line[:200].decode("utf-8", "replace").rstrip("\n")


# ---------------------------------------------------------------------------- frames and programs


def of_objects(source: Any, columns: Columns) -> Rows:
    """Rows of a data frame or Arrow table, of a mapping of columns, or of an iterable of
    mappings."""
    if hasattr(source, "__arrow_c_stream__"):
        reader = _pyarrow().RecordBatchReader.from_stream(source)
        total = getattr(source, "num_rows", None)
        if total is None and hasattr(source, "__len__"):
            total = len(source)
        return _of_batches(reader, reader.schema, columns, total)
    if isinstance(source, Mapping):
        return _of_columns(source, columns)
    if isinstance(source, (str, bytes)) or not isinstance(source, Iterable):
        raise InvalidValue(
            "rows", f"expected rows, columns or a frame, got {shown(source)}",
            remedy="files are for `import_`",
        )  # fmt: skip
    if isinstance(source, (list, tuple)):
        return _of_mappings(source, columns)
    rows = map(_mapping_row, count(1), source)
    return Rows([Block(lambda: rows)], None, None)


def _mapping_row(number: int, value: Any) -> Row:
    if isinstance(value, Mapping):
        return Row(number, value)
    return Row(number, {}, "not a mapping")


def _of_mappings(source: Sequence[Any], columns: Columns) -> Rows:
    """Mappings that are all there. Of an iterator each is read before the next is asked for, since
    it may be the same object again."""
    total = len(source)
    size = _rows_of_block(columns)

    def block(start: int) -> Block:
        part = source[start : start + size]
        return Block(
            lambda: map(_mapping_row, count(start + 1), part),
            lambda: None if total < WORTH_ROWS else _transposed(part, columns),
            start + 1,
        )

    return Rows(map(block, range(0, total, size)), None, total)


def _transposed(rows: Sequence[Any], columns: Columns) -> Mapping[str, Any] | None:
    """The columns of mappings as Arrow arrays; None where some have what others lack, and that is
    not the same as None."""
    if set(map(type, rows)) != {dict}:
        return None
    cells: dict[str, Sequence[Any]] = {}
    for name in columns.used:
        try:
            values = [row[name] for row in rows]
        except KeyError:
            if not any(name in row for row in rows):
                continue
            if name in columns.quantity_columns or name == "specversion":
                return None
            values = [row.get(name) for row in rows]
        cells[name] = values
    try:
        return _arrays(_with_json(cells, columns), columns)
    except InvalidValue:
        return None


def _with_json(cells: dict[str, Sequence[Any]], columns: Columns) -> dict[str, Sequence[Any]]:
    """Objects of properties as their JSON, which is read back once where it comes again."""
    name = columns.names["properties"]
    values = cells.get(name, ())
    if _for_one_use(name, columns) and set(map(type, values)) - {type(None)} == {dict}:
        cells[name] = list(map(properties_json, values))
    return cells


def _of_columns(source: Mapping[str, Any], columns: Columns) -> Rows:
    names = list(source)
    columns.check_header(names)
    lists = [_list(name, column) for name, column in source.items()]
    if len({len(column) for column in lists}) > 1:
        lengths = ", ".join(f"{n} {len(c)}" for n, c in zip(names, lists, strict=True))
        raise InvalidValue("rows", f"columns of different lengths: {lengths}")
    total = len(lists[0]) if lists else 0
    size = _rows_of_block(columns)

    def block(start: int) -> Block:
        part = dict(zip(names, (column[start : start + size] for column in lists), strict=True))

        def rows() -> Iterator[Row]:
            cells = zip(*part.values(), strict=True)
            for number, each in enumerate(cells, start + 1):
                yield Row(number, dict(zip(names, each, strict=True)))

        return Block(
            rows, lambda: None if total < WORTH_ROWS else _arrays(part, columns), start + 1
        )

    return Rows(map(block, range(0, total, size)), None, total)


def _list(name: str, column: Any) -> Sequence[Any]:
    if hasattr(column, "to_pylist"):
        return cast(Sequence[Any], _cells(column))
    convert = getattr(column, "tolist", None)
    values = convert() if convert is not None else column
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise InvalidValue("rows", f"column {name}: expected a list or an array")
    return values


def _arrays(cells: Mapping[str, Sequence[Any]], columns: Columns) -> Mapping[str, Any] | None:
    """The columns that are read as Arrow arrays; None without PyArrow."""
    try:
        pyarrow = _pyarrow()
    except ExtraMissing:
        return None
    table: dict[str, Any] = {}
    for name in columns.used.intersection(cells):
        values = cells[name]
        types = set(map(type, values)) - {type(None)}
        table[name] = values
        if len(types) != 1:
            continue
        kind = types.pop()
        # Numbers may be too large, texts none, and fractions too fine.
        with suppress(OverflowError, UnicodeError, pyarrow.ArrowException):
            if kind in _EXACT:
                table[name] = pyarrow.array(values)
            elif kind is Decimal and name in columns.quantity_columns:
                table[name] = pyarrow.array(values, pyarrow.decimal128(38, 12))
            elif issubclass(kind, datetime) and name == columns.names["time"]:
                table[name] = _times(values) if _for_one_use(name, columns) else values
    return table or None


def _times(moments: Sequence[datetime | None]) -> Any:
    """Datetimes as timestamps; as they are where one cannot be."""
    try:
        ns = [None if one is None else to_ns(parse_time(one), "time") for one in moments]
    except InvalidValue:
        return moments
    pyarrow = _pyarrow()
    return pyarrow.array(ns, pyarrow.timestamp("ns", "UTC"))


def _for_one_use(name: str, columns: Columns) -> bool:
    """Whether the column is one field and nothing else: a property would be another text."""
    return [*columns.names.values(), *columns.properties, *columns.quantities].count(name) == 1


def _rows_of_block(columns: Columns) -> int:
    return max(1, BLOCK_ROWS // len(columns.quantity_columns))


def _parquet(raw: IO[bytes], path: Path, columns: Columns) -> Rows:
    _pyarrow()
    import pyarrow.parquet as parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]

    try:
        file = parquet.ParquetFile(raw)
    except (ValueError, OSError) as error:
        raise InvalidValue("path", f"{path} is no Parquet file ({error})") from None
    batches = file.iter_batches(_rows_of_block(columns))
    return _of_batches(batches, file.schema_arrow, columns, file.metadata.num_rows)


def _of_batches(batches: Iterable[Any], schema: Any, columns: Columns, total: int | None) -> Rows:
    pyarrow = _pyarrow()
    columns.check_header(schema.names)
    for name in columns.quantity_columns:
        if name in schema.names and pyarrow.types.is_floating(schema.field(name).type):
            raise InvalidValue(
                name,
                f"{schema.field(name).type}: floats are not exact",
                remedy="cast the column to int64 or to decimal128",
            )
    size = _rows_of_block(columns)

    def blocks() -> Iterator[Block]:
        first = 1
        for batch in batches:
            for start in range(0, batch.num_rows, size):
                part = batch.slice(start, size)
                yield _batch_block(part, first)
                first += part.num_rows

    return Rows(blocks(), None, total)


def _batch_block(batch: Any, first: int) -> Block:
    table = dict(zip(batch.schema.names, batch.columns, strict=True))

    def rows() -> Iterator[Row]:
        lists = [_cells(column) for column in table.values()]
        for number, cells in enumerate(zip(*lists, strict=True), first):
            yield Row(number, dict(zip(table, cells, strict=True)))

    return Block(rows, lambda: table, first)


def _cells(column: Any) -> list[Any]:
    """Timestamps as nanoseconds: `datetime` would lose some. A time without a zone is UTC."""
    pyarrow = _pyarrow()
    if not pyarrow.types.is_timestamp(column.type):
        return cast(list[Any], column.to_pylist())
    scale = NS // PER_SECOND[column.type.unit]
    whole = column.cast(pyarrow.int64()).to_pylist()
    return [None if value is None else Ns(value * scale) for value in whole]


def _pyarrow() -> Any:
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise ExtraMissing("arrow", "pyarrow") from None
    return pyarrow
