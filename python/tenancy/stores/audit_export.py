"""Receipts and exports: what a tenant checks with the log's public key alone.

An export holds, of each chain, the tenant's records with their inclusion proofs and the proof of
the tenant's head; where the tenant has none, the two heads between which its own would stand. Those
show of another tenant a digest of its id, how many events it has and a tag, and no event. Of a
chain that was pruned it begins with the log's own record of that, and the tenant's head there.
(cpp/LOG_FORMAT.md, 8; `tenancy._audit_proofs` checks.)
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .. import _core
from .._audit_proofs import (
    EXPORT,
    RECEIPT,
    VerifierKey,
    canonical,
    encoded,
    event_view,
    tenant_key,
)
from .._log_format import CLASSES, Note, Record, sha
from ..errors import ExtraMissing, StoreDamaged
from .audit_log import translated_log
from .log_records import Front, front_of, read_records

__all__ = ["covering", "export_lines", "make_receipt"]

_HASH = 32
_PRUNED, _KEPT_FROM = 8, 269
_WHOLE = Front(0, [], {})


def make_receipt(
    directory: Path, public_key: str, note: str, chain: str, sequence: int
) -> dict[str, Any]:
    """The record, and the proof that it is in the log of the checkpoint `note`."""
    with translated_log(directory):
        data, proof = _core.log_prove_record(str(directory), chain, sequence, note)
    return {
        "format": RECEIPT,
        "version": 1,
        "public_key": public_key,
        "checkpoint": note,
        "record": encoded(data),
        "proof": [encoded(step) for step in proof],
        "event": event_view(_parsed(data)),
    }


def covering(directory: Path, chain: str, sequence: int) -> str | None:
    """The newest checkpoint, when it covers that record already."""
    try:
        note = _core.log_last_note(str(directory))
    except _core.CoreError:
        return None  # there is none yet
    match = re.search(rf"^chain {chain} (\d+) ", note, re.MULTILINE)
    return note if match is not None and sequence < int(match[1]) else None


def export_lines(directory: Path, public_key: str, note: str, tenant: str) -> Iterator[str]:
    """The lines of an export, in RFC 8785's form; memory: 64 bytes per record of a chain."""
    key = VerifierKey.parse(public_key)
    head = {
        "format": EXPORT,
        "version": 1,
        "public_key": public_key,
        "tenant": tenant,
        "checkpoint": note,
    }
    yield canonical(head)
    try:
        checkpoint = Note(note.encode(), key.log_id, key.public_key)
    except ImportError:
        raise ExtraMissing("tls", "cryptography") from None
    for code, name in enumerate(CLASSES):
        yield from _chain_lines(directory, key.log_id, checkpoint, code, name, tenant)


def _chain_lines(
    directory: Path, log_id: bytes, note: Note, code: int, name: str, tenant: str
) -> Iterator[str]:
    size, root, count, tenants_root = note.chains[code]
    own: list[tuple[int, bytes]] = []
    front = front_of(directory, name)
    heads, keys = dict(front.heads), dict[bytes, bytes]()
    leaves = bytearray()
    wanted, stated = tenant.encode(), None
    for sequence, data in enumerate(
        read_records(directory, name, front.kept_from, size), front.kept_from
    ):
        leaves += sha(b"\0", data[:-4])
        if data[7] == _PRUNED and _parsed(data).fields.get(_KEPT_FROM) == front.kept_from:
            stated = (sequence, data)
        owner = _owner(data)
        if owner is None:
            continue
        if owner not in keys:
            keys[owner] = tenant_key(log_id, code, owner)
        heads[keys[owner]] = data[-76:-68] + data[-36:-4]  # tenant sequence and tag
        if owner == wanted:
            own.append((sequence, data))
    tree = _Tree(leaves, front)
    entries = sorted(key + head for key, head in heads.items())
    tenants = _Tree(bytearray().join(sha(b"\0", entry) for entry in entries))
    if (tree.root, tenants.root, len(entries)) != (root, tenants_root, count):
        raise StoreDamaged(
            f"{directory}: chain {name} is not what its checkpoint says",
            remedy="`tenancy audit verify` says what is wrong",
        )
    if stated is not None:
        head = front.heads.get(tenant_key(log_id, code, tenant), bytes(40))
        yield canonical({"chain": name, "pruned": _pruned(stated, tree, head)})
    for sequence, data in own:
        line = {
            "record": encoded(data),
            "proof": [encoded(step) for step in tree.proof(sequence)],
            "event": event_view(_parsed(data)),
        }
        yield canonical(line)
    yield canonical({"chain": name, **_ending(entries, tenants, tenant_key(log_id, code, tenant))})


def _pruned(stated: tuple[int, bytes], tree: _Tree, head: bytes) -> dict[str, Any]:
    """The log's own record of up to where it was pruned, and the tenant's head there."""
    sequence, data = stated
    return {
        "log_record": encoded(data),
        "proof": [encoded(step) for step in tree.proof(sequence)],
        "tenant_sequence": int.from_bytes(head[:8], "little"),
        "tag": encoded(head[8:]),
    }


def _ending(entries: list[bytes], tree: _Tree, own: bytes) -> dict[str, Any]:
    """The tenant's head with its proof, or its neighbours with theirs."""

    def proven(index: int) -> dict[str, Any]:
        return {"index": index, "proof": [encoded(step) for step in tree.proof(index)]}

    place = bisect_left(entries, own)
    if place < len(entries) and entries[place].startswith(own):
        return {"head": proven(place)}
    near = [index for index in (place - 1, place) if 0 <= index < len(entries)]
    return {"neighbours": [{"entry": encoded(entries[i]), **proven(i)} for i in near]}


class _Tree:
    """All nodes of a Merkle tree (RFC 9162 section 2.1), level by level, as far as they are known:
    of what lies before `leaves`, the largest subtrees."""

    def __init__(self, leaves: bytearray, front: Front = _WHOLE) -> None:
        known = {width: value for _, width, value in front.nodes}
        self.levels: list[bytearray] = []
        self.starts: list[int] = []
        level = leaves
        while True:
            start = front.kept_from >> len(self.levels)
            if start & 1:  # a subtree of the front ends here: its neighbour is the first one known
                level, start = bytearray(known[1 << len(self.levels)]) + level, start - 1
            self.levels.append(level)
            self.starts.append(start)
            if start == 0 and len(level) <= _HASH:
                return
            below, level = level, bytearray()
            for at in range(0, len(below), 2 * _HASH):
                pair = below[at : at + 2 * _HASH]
                # A node without a neighbour is its own parent.
                level += sha(b"\1", pair) if len(pair) > _HASH else pair

    @property
    def root(self) -> bytes:
        return bytes(self.levels[-1]) or sha()

    def proof(self, index: int) -> Iterator[bytes]:
        for level, start in zip(self.levels[:-1], self.starts, strict=False):
            at = ((index ^ 1) - start) * _HASH
            if at < len(level):
                yield bytes(level[at : at + _HASH])
            index >>= 1


def _owner(data: bytes) -> bytes | None:
    (length,) = struct.unpack_from("<H", data, 12)
    return None if length == 65_535 else data[40 : 40 + length]


def _parsed(data: bytes) -> Record:
    record = Record(data, 0)
    record.parse()
    return record
