"""What a receipt or an export proves, checked with the public key of the log alone.

Nothing here reads a log: the documents and cpp/LOG_FORMAT.md, 8.4 suffice.
"""

from __future__ import annotations

import base64
import json
import re
import struct
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ._log_format import CLASSES, Note, Record, sha
from .errors import ExtraMissing, InvalidValue, ProofInvalid

__all__ = [
    "EXPORT",
    "RECEIPT",
    "VerifierKey",
    "canonical",
    "check_export",
    "check_receipt",
    "decoded",
    "encoded",
    "event_view",
    "raw_fields",
    "tenant_key",
]

RECEIPT = "tenancy-audit-receipt"
EXPORT = "tenancy-audit-export"
EVENT, PRUNED = 0, 8
_ZEROS = bytes(32)
_EXACT = 2**53

_FIELDS = (
    *("event_id", "type", "action", "resource", "resource_id", "principal", "result", "ip"),
    *("user_agent", "request_id", "session_id", "policy_revision", "reason", "source", "key_id"),
    *("metric", "quantity"),
)
_NAMED = 65_535


class VerifierKey(NamedTuple):
    """The one line of `keys/log.pub`: `tenancy-log/<log id>+<key hash>+<key>`."""

    log_id: bytes
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> VerifierKey:
        match = re.fullmatch(
            r"tenancy-log/([0-9a-f]{32})\+([0-9a-f]{8})\+([A-Za-z0-9+/=]+)", text.strip()
        )
        raw = b"" if match is None else decoded(match[3])
        if match is None or len(raw) != 33 or raw[0] != 1:
            raise InvalidValue(
                "public_key",
                "not the verifier key of a log",
                remedy="the one line of keys/log.pub: tenancy-log/…+…+…",
            )
        name = text.strip().partition("+")[0].encode()
        if sha(name, b"\n\1", raw[1:])[:4].hex() != match[2]:
            raise InvalidValue("public_key", "its hash does not fit it; a character was changed")
        return cls(bytes.fromhex(match[1]), raw[1:])


# ------------------------------------------------------------------------------------- receipt


def check_receipt(receipt: Mapping[str, Any] | str, public_key: str) -> dict[str, Any]:
    """The event that a receipt proves to be in the log, read from the record itself.

    `receipt` is what `Audit.prove` gave, as mapping or JSON text; `public_key` the line of
    `keys/log.pub`, from somewhere the writer of the receipt cannot reach. Raises `ProofInvalid`.
    """
    key = VerifierKey.parse(public_key)
    body = _object(json_of(receipt) if isinstance(receipt, str) else receipt, RECEIPT)
    note = _note(body, key)
    record = _record(body.get("record"), key)
    _included(record, note, body.get("proof"))
    _same_view(body, record)
    return event_view(record)


# -------------------------------------------------------------------------------------- export


class _ChainCheck:
    """A tenant's records of one chain, in order."""

    def __init__(self, chain: int, tenant: str, key: VerifierKey, note: Note) -> None:
        self.chain, self.tenant, self.key, self.note = chain, tenant, key, note
        self.count, self.tag, self.ended = 0, _ZEROS, False
        self.kept_from = self.before = 0

    def begin(self, body: Any) -> None:
        """The log says that it was pruned up to somewhere: what comes before is not proven."""
        name = CLASSES[self.chain]
        wrong = ProofInvalid(f"{name}: what the log says of pruned records is damaged")
        if not isinstance(body, dict) or self.ended or self.kept_from or self.count:
            raise wrong
        record = _record(body.get("log_record"), self.key)
        kept, count, tag = record.fields.get(269), body.get("tenant_sequence"), body.get("tag")
        if record.chain != self.chain or record.kind != PRUNED or not isinstance(kept, int):
            raise wrong
        if not isinstance(count, int) or isinstance(count, bool) or not 0 <= count < 2**63:
            raise wrong
        self.tag = decoded(tag)
        if len(self.tag) != 32 or (count == 0) != (self.tag == _ZEROS):
            raise wrong
        _included(record, self.note, body.get("proof"))
        self.kept_from, self.before, self.count = kept, count, count

    def take(self, record: Record, proof: Any) -> None:
        where = f"{CLASSES[self.chain]} {record.sequence}"
        if self.ended:
            raise ProofInvalid(f"{where}: an event behind the end of its chain")
        if record.tenant != self.tenant.encode():
            raise ProofInvalid(f"{where}: an event of another tenant")
        if record.sequence < self.kept_from:
            raise ProofInvalid(f"{where}: an event that the log says was pruned")
        if record.tenant_sequence != self.count + 1 or record.tenant_previous != self.tag:
            raise ProofInvalid(f"{where}: the tenant's event {self.count + 1} is missing")
        _included(record, self.note, proof)
        self.count, self.tag = record.tenant_sequence, record.tag

    def end(self, line: Mapping[str, Any]) -> None:
        """The tenant's head in the checkpoint: nothing comes after the last event."""
        self.ended = True
        name = CLASSES[self.chain]
        _, _, count, root = self.note.chains[self.chain]
        own = tenant_key(self.key.log_id, self.chain, self.tenant)
        if self.count:
            entry = own + struct.pack("<Q", self.count) + self.tag
            found = line.get("head")
            index = _index(found)
            if not inclusion(entry, index, count, _hashes(found, "proof"), root):
                raise ProofInvalid(f"{name}: what follows event {self.count} is missing")
            return
        self._absent(own, line.get("neighbours"), count, root)

    def _absent(self, own: bytes, neighbours: Any, count: int, root: bytes) -> None:
        """No entry of the tenant: the ones before and after its place stand side by side."""
        missing = ProofInvalid(f"{CLASSES[self.chain]}: events of the tenant are missing")
        if not isinstance(neighbours, list):
            raise missing
        places = []
        for one in neighbours:
            entry, index = decoded(one.get("entry") if isinstance(one, dict) else None), _index(one)
            if len(entry) != 64 or not inclusion(entry, index, count, _hashes(one, "proof"), root):
                raise missing
            places.append((index, entry[:24]))
        if count == 0 and root == sha() and not places:
            return
        if len(places) == 1:
            index, key = places[0]
            first, last = index == 0 and own < key, index == count - 1 and key < own
            if first or last:
                return
        elif len(places) == 2:
            (one, below), (two, above) = places
            if two == one + 1 and below < own < above:
                return
        raise missing


def check_export(
    lines: Iterable[str],
    public_key: str,
    *,
    tenant: str | None = None,
    each: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Check an export, line by line: each event, and that none up to the checkpoint was left out.

    `tenant` is the id that it must be of, `each` is called with every event in order. Returns
    `tenant`, `log`, `checkpoint` (the note), `time_ns`, `events` by chain, and of chains that were
    pruned in `pruned` how many of the tenant's events the log says came before: it proves what
    follows those. Raises `ProofInvalid` that says what is wrong and where.
    """
    key = VerifierKey.parse(public_key)
    source = iter(lines)
    head = _object(json_of(next(source, "")), EXPORT)
    note = _note(head, key)
    owner = head.get("tenant")
    if not isinstance(owner, str) or (tenant is not None and owner != tenant):
        raise ProofInvalid(f"an export of tenant {owner!r}")
    chains = [_ChainCheck(code, owner, key, note) for code in range(len(CLASSES))]
    for line in source:
        body = json_of(line)
        if not isinstance(body, dict):
            raise ProofInvalid("a line that is no object")
        if "record" in body:
            record = _record(body["record"], key)
            _same_view(body, record)
            chains[record.chain].take(record, body.get("proof"))
            if each is not None and record.kind == EVENT:
                each(event_view(record))
        elif "pruned" in body and body.get("chain") in CLASSES:
            chains[CLASSES.index(body["chain"])].begin(body["pruned"])
        else:
            name = body.get("chain")
            if name not in CLASSES or chains[CLASSES.index(name)].ended:
                raise ProofInvalid(f"the end of a chain {name!r} that is not open")
            chains[CLASSES.index(name)].end(body)
    for chain in chains:
        if not chain.ended:
            raise ProofInvalid(f"{CLASSES[chain.chain]}: the export ends before its end")
    return {
        "tenant": owner,
        "log": key.log_id.hex(),
        "checkpoint": head["checkpoint"],
        "time_ns": int(note.leaf.split()[-1]),
        "events": {CLASSES[chain.chain]: chain.count - chain.before for chain in chains},
        "pruned": {CLASSES[chain.chain]: chain.before for chain in chains if chain.kept_from},
    }


def tenant_key(log_id: bytes, chain: int, tenant: str | bytes) -> bytes:
    """By which a tenant's head is found (LOG_FORMAT.md, 8.3)."""
    raw = tenant.encode() if isinstance(tenant, str) else tenant
    return sha(b"tenancy log tenant", log_id, bytes([chain]), raw)[:24]


def inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """RFC 9162 section 2.1.3.2."""
    if not 0 <= index < size:
        return False
    at, last, value = index, size - 1, sha(b"\0", leaf)
    for step in proof:
        if last == 0:
            return False
        if at & 1 or at == last:
            value = sha(b"\1", step, value)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            value = sha(b"\1", value, step)
        at, last = at >> 1, last >> 1
    return last == 0 and value == root


# ---------------------------------------------------------------------------------- documents


def canonical(value: Any) -> str:
    """RFC 8785 of texts, integers below 2**53, booleans, null, lists and objects."""
    return json.dumps(_ordered(value), ensure_ascii=False, separators=(",", ":"))


def _ordered(value: Any) -> Any:
    if isinstance(value, Mapping):
        names = sorted(value, key=lambda name: str(name).encode("utf-16-be"))
        return {name: _ordered(value[name]) for name in names}
    if isinstance(value, (list, tuple)):
        return [_ordered(one) for one in value]
    return value


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decoded(text: Any) -> bytes:
    """Base64 as we write it; empty for anything else."""
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, TypeError):
        return b""
    return data if encoded(data) == text else b""


def json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ProofInvalid(f"not JSON ({error})") from None


def _object(body: Any, form: str) -> Mapping[str, Any]:
    if not isinstance(body, Mapping) or body.get("format") != form:
        raise ProofInvalid(f"not a document of the format {form!r}")
    if body.get("version") != 1:
        raise ProofInvalid(f"version {body.get('version')!r} of {form!r}, this release reads 1")
    return body


def _note(body: Mapping[str, Any], key: VerifierKey) -> Note:
    text = body.get("checkpoint")
    try:
        return Note(str(text).encode(), key.log_id, key.public_key)
    except ImportError:
        raise ExtraMissing("tls", "cryptography") from None
    except ValueError as error:
        meaning = {
            "foreign": "is of another log",
            "signature": "is not signed with this key",
        }
        text = meaning.get(str(error), "is no checkpoint")
        raise ProofInvalid(f"the checkpoint {text}") from None


def _record(text: Any, key: VerifierKey) -> Record:
    data = decoded(text)
    try:
        record = Record(data, 0)
    except (ValueError, struct.error):
        raise ProofInvalid("a record that is damaged") from None
    if len(record.data) != len(data) or not record.parse() or record.chain >= len(CLASSES):
        raise ProofInvalid("a record that is damaged")
    if record.log_id != key.log_id:
        raise ProofInvalid("a record of another log")
    return record


def _included(record: Record, note: Note, proof: Any) -> None:
    size, root, _, _ = note.chains[record.chain]
    hashes = [decoded(text) for text in proof] if isinstance(proof, list) else []
    if not inclusion(record.data[:-4], record.sequence, size, hashes, root):
        raise ProofInvalid(
            f"{CLASSES[record.chain]} {record.sequence}: not in the log of the checkpoint"
        )


def _same_view(body: Mapping[str, Any], record: Record) -> None:
    """The event that people read beside the record is the record's."""
    if body.get("event") != event_view(record):
        raise ProofInvalid(
            f"{CLASSES[record.chain]} {record.sequence}: the event shown is not the record's"
        )


def _index(found: Any) -> int:
    index = found.get("index") if isinstance(found, dict) else None
    return index if isinstance(index, int) and not isinstance(index, bool) else -1


def _hashes(found: Any, name: str) -> list[bytes]:
    proof = found.get(name) if isinstance(found, dict) else None
    return [decoded(text) for text in proof] if isinstance(proof, list) else []


# ------------------------------------------------------------------------------------- records


def event_view(record: Record) -> dict[str, Any]:
    """A record as people read it. Numbers beyond 2**53 are texts."""
    return {
        "chain": CLASSES[record.chain],
        "sequence": _number(record.sequence),
        "kind": record.kind,
        "time_ns": str(record.time),
        "tenant": None if record.tenant is None else record.tenant.decode(),
        "tenant_sequence": _number(record.tenant_sequence),
        "fields": dict(_fields(record)),
    }


def _fields(record: Record) -> Iterator[tuple[str, Any]]:
    for field, named, kind, value in raw_fields(record):
        if named is not None:
            # Named by the application: told apart from ours, whatever it chose.
            yield f"context.{named}", _value(kind, value)
        else:
            name = _FIELDS[field - 1] if 1 <= field <= len(_FIELDS) else f"field_{field}"
            yield name, _value(kind, value)


def raw_fields(record: Record) -> Iterator[tuple[int, str | None, int, bytes]]:
    """Of each field its id, its name if the application named it, its type and its bytes."""
    rest = record.raw_fields
    for _ in range(record.count):
        field, kind = struct.unpack_from("<HB", rest)
        rest, named = rest[3:], None
        if field == _NAMED:
            (length,) = struct.unpack_from("<H", rest)
            named, rest = rest[2 : 2 + length].decode(), rest[2 + length :]
        (length,) = struct.unpack_from("<I", rest)
        value, rest = rest[4 : 4 + length], rest[4 + length :]
        yield field, named, kind, value


def _value(kind: int, value: bytes) -> Any:
    if kind == 0:
        return None
    if kind == 1:
        return value == b"\1"
    if kind in (2, 3):
        return _number(int.from_bytes(value, "little", signed=kind == 2))
    if kind in (4, 6):
        return value.decode()
    if kind == 7:
        return str(uuid.UUID(bytes=value))
    return {"sealed" if kind == 8 else "bytes": encoded(value)}


def _number(value: int) -> int | str:
    return value if abs(value) <= _EXACT else str(value)
