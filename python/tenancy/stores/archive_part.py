"""One part of an archive: a file of records, and the manifest beside it.

The file has a row for each record of a range of one chain: columns that people read, and the bytes
of the record, on which alone a check relies. The manifest holds sums of the file and the proof that
these bytes are the records of that range in the log of a signed checkpoint: the inclusion proofs
(RFC 9162) of the first and the last of them give all hashes left and right of the range.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from .._audit_proofs import canonical, decoded, encoded
from .._log_format import Record as LogRecord
from ..errors import ExtraMissing, StoreDamaged
from .audit_events import CHAINS, event_of_log
from .log_records import parsed, row_of, sealed_of
from .records import Record

__all__ = [
    "COLUMNS",
    "FORMATS",
    "ArchivePart",
    "manifest_of",
    "manifest_text",
    "part_name",
    "read_part",
    "view_of",
    "write_part",
]

FORMATS = ("parquet", "jsonl")
FORMAT = "tenancy-archive-part"
KINDS = (
    *("event", "genesis", "epoch", "heartbeat", "opened", "closed", "repair", "checkpoint"),
    *("pruned", "erased", "alarm", "usage"),
)
COLUMNS = (
    *("chain", "sequence", "kind", "time", "tenant", "tenant_sequence", "event_id", "type"),
    *("action", "resource", "resource_id", "principal", "result", "ip", "user_agent"),
    *("request_id", "session_id", "policy_revision", "reason", "source", "key_id"),
    *("context", "sealed", "record"),
)
_BATCH = 4096
_NUMBERS = ("sequence", "tenant_sequence", "policy_revision")
_NS = 1_000_000_000


@dataclass(frozen=True)
class ArchivePart(Record):
    """A range of one chain in an archive."""

    url: str
    """Of the archive; without credentials."""
    name: str
    """Of the file, below the archive's URL."""
    log: str
    """Id of the log."""
    chain: str
    first: int
    """Sequence of the first record."""
    last: int
    """Sequence of the last record."""
    records: int
    format: str
    """parquet or jsonl."""
    bytes: int
    """Of the file."""
    sha256: str
    """Of the file, in hexadecimal digits."""
    records_sha256: str
    """Of the records' bytes one after the other: the same in every format."""
    tags: tuple[str, str]
    """The tag of the record before the first one, and that of the last one: parts link by them."""
    first_time_ns: int
    last_time_ns: int
    public_key: str
    """The log's verifier key, as the writer named it."""
    checkpoint: str
    """The signed note whose log has these records."""
    before: tuple[str, ...]
    """Hashes of the tree left of the range, in base64, from the root down."""
    after: tuple[str, ...]
    """The same to the right of it."""

    @property
    def manifest(self) -> str:
        """Name of the manifest, below the archive's URL."""
        return f"{self.name}.json"


# ---------------------------------------------------------------------------------- manifest


def part_name(log: str, chain: str, first: int, last: int, format: str) -> str:  # noqa: A002
    return f"{log}/{chain}/{chain}-{first:020d}-{last:020d}.{format}"


def manifest_text(part: ArchivePart) -> str:
    body = {field.name: getattr(part, field.name) for field in fields(part) if field.name != "url"}
    for name in ("first_time_ns", "last_time_ns"):
        body[name] = str(body[name])
    body = {"kind": FORMAT, "version": 1, **body}
    return canonical({**body, "manifest_sha256": _sum(body)}) + "\n"


def manifest_of(text: bytes, url: str, name: str) -> ArchivePart:
    """The part that a manifest of that name describes; ValueError says what is wrong with it."""
    try:
        body = json.loads(text)
        if body.pop("kind") != FORMAT or body.pop("version") != 1:
            raise ValueError("not a manifest that this release reads")
        told = body.pop("manifest_sha256")
        if told != _sum({"kind": FORMAT, "version": 1, **body}):
            raise ValueError("it was changed: its own sum does not fit it")
        for field in ("first_time_ns", "last_time_ns"):
            body[field] = int(body[field])
        for field in ("tags", "before", "after"):
            body[field] = tuple(map(str, body[field]))
        part = ArchivePart(url=url, **body)
        expected = part_name(part.log, part.chain, part.first, part.last, part.format)
        if part.manifest != name or part.name != expected or part.chain not in CHAINS:
            raise ValueError("it names another part")
        if not 0 <= part.first <= part.last or part.records != part.last - part.first + 1:
            raise ValueError("its range has not the records that it tells of")
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not a manifest ({type(error).__name__})") from None
    return part


def _sum(body: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical(body).encode()).hexdigest()


# -------------------------------------------------------------------------------------- rows


def view_of(record: LogRecord) -> dict[str, Any]:
    """The columns of a record but its bytes; `time` in nanoseconds."""
    row = row_of(record)
    sealed = sealed_of(record)
    kind = KINDS[row.kind] if row.kind < len(KINDS) else str(row.kind)
    known = {name: getattr(row, name) for name in row._fields if name in COLUMNS}
    context: Any = None if row.rest is None else json.loads(row.rest)
    if row.kind == 0:
        event = event_of_log(row)
        known["event_id"] = event.id or None
        context = dict(event.context)
    view = {
        **known,
        "chain": CHAINS[record.chain],
        "kind": kind,
        "time": row.time_ns,
        "context": None if context is None else canonical(context),
        "sealed": canonical(sealed) if sealed else None,
    }
    return {name: view[name] for name in COLUMNS if name != "record"}


def write_part(path: Path, format: str, records: Iterable[bytes]) -> None:  # noqa: A002
    """Write the records' rows into a new file on the disk."""
    rows = ((data, view_of(parsed(data))) for data in records)
    if format == "jsonl":
        with path.open("x", encoding="utf-8", newline="\n") as file:
            file.writelines(_line(data, view) + "\n" for data, view in rows)
        return
    _write_parquet(path, rows)


def read_part(path: Path, format: str) -> Iterator[tuple[bytes, dict[str, Any]]]:  # noqa: A002
    """The bytes of each record and its other columns. Raises `StoreDamaged`."""
    reader = _read_jsonl if format == "jsonl" else _read_parquet
    try:
        yield from reader(path)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError) as error:
        raise StoreDamaged(
            f"{path.name}: not a file of the format {format} ({type(error).__name__})", remedy=""
        ) from None


def _line(data: bytes, view: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in view.items() if value is not None}
    for name in ("context", "sealed"):
        if name in shown:
            shown[name] = json.loads(shown[name])
    for name in _NUMBERS:
        if isinstance(shown.get(name), int) and shown[name] > 2**53:
            shown[name] = str(shown[name])
    shown["time"] = _time_text(shown["time"])
    return canonical({**shown, "record": encoded(data)})


def _read_jsonl(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            shown = json.loads(line)
            data = decoded(shown.pop("record"))
            view = {name: shown.get(name) for name in COLUMNS if name != "record"}
            for name in ("context", "sealed"):
                view[name] = None if view[name] is None else canonical(view[name])
            for name in _NUMBERS:
                view[name] = None if view[name] is None else int(view[name])
            view["time"] = _time_ns(view["time"])
            yield data, view


def _time_text(time_ns: int) -> str:
    """RFC 3339 with nanoseconds."""
    seconds, ns = divmod(time_ns, _NS)
    moment = datetime.fromtimestamp(seconds, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{ns:09d}Z"


def _time_ns(text: str) -> int:
    moment, _, fraction = text.rstrip("Z").partition(".")
    whole = datetime.fromisoformat(moment).replace(tzinfo=timezone.utc)
    return int(whole.timestamp()) * _NS + int(fraction)


def _arrow() -> Any:
    try:
        import pyarrow  # type: ignore[import-not-found, import-untyped, unused-ignore]
        import pyarrow.parquet  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise ExtraMissing("archive", "pyarrow") from None
    return pyarrow


def _schema(pa: Any) -> Any:
    def type_of(name: str) -> Any:
        if name == "time":
            return pa.timestamp("ns", tz="UTC")
        if name == "record":
            return pa.binary()
        if name == "policy_revision":
            return pa.uint64()
        return pa.int64() if name in _NUMBERS else pa.string()

    needed = {"chain", "sequence", "kind", "time", "record"}
    return pa.schema([pa.field(n, type_of(n), nullable=n not in needed) for n in COLUMNS])


def _write_parquet(path: Path, rows: Iterator[tuple[bytes, dict[str, Any]]]) -> None:
    pa = _arrow()
    schema = _schema(pa)
    plain = [name for name in COLUMNS if name not in ("record", "sequence", "time", "event_id")]
    with pa.parquet.ParquetWriter(path, schema, compression="zstd", use_dictionary=plain) as out:
        while batch := list(islice(rows, _BATCH)):
            views = [{**view, "record": data} for data, view in batch]
            columns = [
                pa.array([view[field.name] for view in views], field.type) for field in schema
            ]
            out.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))


def _read_parquet(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    pa = _arrow()
    with pa.parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(_BATCH, columns=list(COLUMNS)):
            # Python's own times have no nanoseconds.
            columns = {
                name: (
                    batch.column(name).cast(pa.int64()) if name == "time" else batch.column(name)
                ).to_pylist()
                for name in COLUMNS
            }
            for values in zip(*columns.values(), strict=True):
                view = dict(zip(columns, values, strict=True))
                yield view.pop("record"), view
