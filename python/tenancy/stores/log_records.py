"""The bytes of a log's records, read from its segments (cpp/LOG_FORMAT.md, 5 and 6), and what
people read in them.

`_core.LogReader` gives rows without the bytes that prove them; who copies records elsewhere needs
both. Only whole, durable records are asked for: their number is known from somewhere else.
"""

from __future__ import annotations

import json
import re
import struct
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from .. import _core
from .._audit_proofs import canonical, encoded, raw_fields
from .._log_format import CLASSES, Record, joined, path_of
from .._log_stub import Stub
from ..errors import StoreBusy, StoreDamaged, StoreUnsupported
from .audit_events import EVENT_FIELDS, LogRow

__all__ = [
    "Front",
    "first_kept",
    "front_of",
    "parsed",
    "read_records",
    "row_of",
    "sealed_of",
    "segments",
]

_HEADER = 4096
_BYTES_MIN = 156
_NULL, _BOOL, _INT, _UINT, _TEXT, _BYTES, _JSON, _UUID, _SEALED = range(9)
_EXACT = 2**53
_OWN = (
    *("host", "public_key", "key_check", "heartbeat_ns", "next_epoch", "boot", "cut_segment"),
    *("cut_offset", "discarded_bytes", "discarded_hash", "repair_reason", "checkpoint_number"),
    *("checkpoint_hash", "kept_from", "stubs_hash", "subject_key"),
)
_USAGE_BATCH = 18
_MORE = {16: "metric", 17: "quantity", **dict(enumerate(_OWN, 256))}


def segments(directory: Path, chain: str) -> list[tuple[int, Path]]:
    """The segments of a chain that are there, each with its first sequence, in order."""
    found = []
    for path in (directory / "segments").iterdir():
        match = re.fullmatch(rf"{chain}-(\d{{20}})\.seg", path.name)
        if match is not None:
            found.append((int(match[1]), path))
    return sorted(found)


class Front(NamedTuple):
    """What stubs say of the pruned records of a chain."""

    kept_from: int
    nodes: list[tuple[int, int, bytes]]
    """The largest subtrees over the records before: first leaf, leaves, hash."""
    heads: dict[bytes, bytes]
    """By tenant key, tenant sequence and tag of the tenant's last record before."""


def front_of(directory: Path, chain: str) -> Front:
    """What is left of the records of a chain that were pruned. Its MACs are not checked: whoever
    compares roots with a checkpoint need not."""
    kept = _core.log_kept_from(str(directory))[chain]
    front = Front(kept, [], {})
    at = 0
    while at < kept:
        path = directory / path_of(chain, at, "stub")
        try:
            stub = Stub(path.read_bytes(), None, CLASSES.index(chain), at)
        except (OSError, ValueError) as error:
            raise StoreDamaged(
                f"{path}: {error}", remedy="`tenancy audit verify` says what is wrong"
            ) from None
        front.nodes[:] = joined(front.nodes + stub.nodes)
        front.heads.update((entry[:24], entry[24:]) for entry in stub.tenants)
        at = stub.end
    return front


def first_kept(directory: Path, chain: str) -> int | None:
    """The first sequence whose record is still there; None: the chain has no segment."""
    return next((first for first, _ in segments(directory, chain)), None)


def read_records(directory: Path, chain: str, start: int, end: int) -> Iterator[bytes]:
    """The bytes of the records `start` ≤ sequence < `end`, as the segments have them."""
    if start >= end:
        return
    files = segments(directory, chain)
    if not files or files[0][0] > start:
        raise StoreUnsupported(
            f"{directory}: record {start} of chain {chain} is not there any more",
            remedy="read it from an archive",
        )
    for number, (first, path) in enumerate(files):
        behind = files[number + 1][0] if number + 1 < len(files) else end
        if behind <= start:
            continue
        if first >= end:
            return
        for sequence, data in _of_segment(path, first, min(behind, end)):
            if sequence >= start:
                yield data


def _of_segment(path: Path, first: int, end: int) -> Iterator[tuple[int, bytes]]:
    try:
        data, at = path.read_bytes(), _HEADER
    except FileNotFoundError:
        raise StoreBusy(f"{path}: was pruned while it was to be read") from None
    for sequence in range(first, end):
        (length,) = struct.unpack_from("<I", data, at) if at + 4 <= len(data) else (0,)
        if not _BYTES_MIN <= length <= len(data) - at:
            raise StoreDamaged(f"{path}: no record {sequence} at offset {at}")
        yield sequence, data[at : at + length]
        at += length


def parsed(data: bytes) -> Record:
    """The record in exactly these bytes; ValueError when they are none."""
    record = Record(data, 0)
    if len(record.data) != len(data) or not record.parse():
        raise ValueError("not one record")
    return record


def row_of(record: Record) -> LogRow:
    """What `_core.LogReader.rows` says of it; what is sealed is None."""
    columns: list[Any] = [None] * len(EVENT_FIELDS)
    rest: dict[str, Any] = {}
    for field, named, kind, value in raw_fields(record):
        if kind == _SEALED or field == _USAGE_BATCH:
            continue
        if 1 <= field <= len(EVENT_FIELDS):
            columns[field - 1] = _column(kind, value)
        else:
            name = named if named is not None else _MORE.get(field, f"field_{field}")
            rest[name] = _member(kind, value)
    owner = None if record.tenant is None else record.tenant.decode()
    sequence = None if owner is None else record.tenant_sequence
    head = (record.sequence, record.kind, record.time, owner, sequence)
    key = record.sealed[0].hex() if record.sealed else None
    names = canonical(list(sealed_of(record))) if record.sealed else None
    return LogRow._make((*head, *columns, canonical(rest) if rest else None, key, names))


def sealed_of(record: Record) -> dict[str, str]:
    """Its sealed fields, by name, in base64."""
    found = {}
    for field, named, kind, value in raw_fields(record):
        if kind == _SEALED:
            known = EVENT_FIELDS[field - 1] if 1 <= field <= len(EVENT_FIELDS) else _MORE.get(field)
            found[named or known or f"field_{field}"] = encoded(value)
    return found


def _column(kind: int, value: bytes) -> Any:
    if kind == _NULL:
        return None
    if kind in (_TEXT, _JSON):
        return value.decode()
    if kind == _UUID:
        return str(uuid.UUID(bytes=value))
    if kind == _BYTES:
        return value.hex()
    number = int.from_bytes(value, "little", signed=kind == _INT)
    return bool(number) if kind == _BOOL else number


def _member(kind: int, value: bytes) -> Any:
    """As JSON can hold it: numbers beyond 2**53 are texts."""
    if kind == _JSON:
        return json.loads(value)
    plain = _column(kind, value)
    exact = isinstance(plain, (str, bool)) or plain is None or abs(plain) <= _EXACT
    return plain if exact else str(plain)
