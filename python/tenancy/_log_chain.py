"""One chain of the log, record by record, in plain Python. Part of `tenancy._log_check`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from ._log_format import CLASSES, Block, Keys, Record, folded, joined, path_of, root, sha, shape
from ._log_stub import Stub, follows, pass_stubs

__all__ = ["HEADER", "Chain", "Finding", "Segment", "StopError"]

NONE = 2**64 - 1
ZEROS = bytes(32)
HEADER = 4096
EVENT, GENESIS, EPOCH, HEARTBEAT, OPENED, CLOSED, REPAIR, CHECKPOINT, PRUNED, ERASED = range(10)


@dataclass(frozen=True)
class Finding:
    """One thing that was found; `status` as of the whole report. (LOG_FORMAT.md, 11)"""

    status: int
    code: str
    segment: str = ""
    offset: int = 0
    chain: str | None = None
    sequence: int | None = None


class StopError(Exception):
    """The first damage of a chain; or that nothing more can be said."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.code)
        self.finding = finding


@dataclass
class Segment:
    first: int
    name: str
    data: bytes


class Claims(Protocol):
    """What the chain is compared with."""

    keys: Keys
    segments: list[list[Segment]]
    stubs: list[list[Segment]]
    kept: list[int]
    entries: list[list[tuple[int, int, int, int, bytes]]]
    head: tuple[int, list[tuple[int, int, int, bytes]], int] | None
    notes: list[tuple[int, bytes]]
    public_key: bytes | None
    epoch_max: int

    def boundaries(self, which: int) -> Iterator[tuple[int, str, int, Any]]: ...
    def promised(self, which: int) -> int: ...


class Chain:
    """One chain, record by record."""

    def __init__(self, log: Claims, which: int) -> None:
        self.log, self.which, self.name = log, which, CLASSES[which]
        self.findings: list[Finding] = []
        self.segments = log.segments[which]
        self.kept, self.entries = log.kept[which], log.entries[which]
        self.next = 0
        self.epoch, self.tag, self.file, self.offset = 0, ZEROS, "", 0
        self.nodes: list[tuple[int, int, bytes]] = []  # the tree over what was pruned
        self.leaves: list[bytes] = []  # of what is kept
        self.tenants: dict[bytes, tuple[int, bytes]] = {}  # by key
        self.names: dict[bytes, bytes] = {}
        self.touched: set[bytes] = set()
        self.cuts: dict[int, tuple[int, bool]] = {}
        self.pruned: list[tuple[int, bytes]] = []
        self.stub: Stub | None = None
        self.stubs: list[bytes] = []  # their hashes
        self.sealed = 0
        self.sealed_under: dict[bytes, Finding] = {}
        self.erased: dict[bytes, Finding] = {}
        self.interval, self.time, self.quiet, self.silences = 0, 0, True, 0
        self.head_met = False
        self.head_judged = log.head is None
        self.trees_differ = self.damaged = False
        self.boundaries = sorted(log.boundaries(which), key=lambda boundary: boundary[0])
        self.promised = log.promised(which)

    def finding(self, status: int, code: str, **changes: Any) -> Finding:
        values = {
            "segment": self.file,
            "offset": self.offset,
            "chain": self.name,
            "sequence": self.next,
        }
        return Finding(status, code, **{**values, **changes})

    def note(self, status: int, code: str, **changes: Any) -> None:
        self.findings.append(self.finding(status, code, **changes))

    def bad(self, code: str, **changes: Any) -> StopError:
        return StopError(self.finding(1, code, **changes))

    def run(self) -> None:
        try:
            before, left_by_cut = pass_stubs(self), False
            for number, segment in enumerate(self.segments):
                following = self.segments[number + 1 :]
                left_by_cut = self.segment(segment, following, before, left_by_cut)
                before = segment.first
            self.finish()
        except StopError as stop:
            self.findings.append(stop.finding)
            self.damaged = True

    def entry(self, first: int) -> tuple[int, int, int, int, bytes] | None:
        return next((entry for entry in self.entries if entry[0] == first), None)

    def segment(self, one: Segment, after: list[Segment], before: int, was_cut: bool) -> bool:
        """Reads one segment; returns whether it was cut."""
        self.offset = 0
        if one.first > self.next:
            raise self.bad("segment_missing", segment=path_of(self.name, self.next))
        self.file = one.name
        cut_before = self.cuts[before][0] if was_cut else 0
        self.header(one, before, was_cut, cut_before)
        self.offset, self.touched = HEADER, set()
        cut = self.find_cut(one, after)
        self.pass_by(one)
        while True:
            if cut is not None and self.offset >= cut:
                if self.offset > cut:
                    raise self.bad("segment_link")
                self.manifest(one, 2, ZEROS)
                self.cuts[one.first] = (cut, False)
                return True
            try:
                record = Record(one.data, self.offset)
            except ValueError:
                return self.end(one, after)
            self.record(record)
            self.offset += len(record.data)
            self.pass_by(one)

    def header(self, one: Segment, before: int, was_cut: bool, cut_at: int) -> None:
        try:
            block = Block(b"TNCYSEG", one.data[:HEADER])
            if len(block.data) != HEADER:
                raise ValueError("length")
        except (ValueError, NotImplementedError):
            raise self.bad("segment_header") from None
        if block.log_id != self.log.keys.log_id:
            raise self.bad("segment_foreign")
        if not self.log.keys.owns(block):
            raise self.bad("segment_mac")
        content = block.content
        chain, flags, epoch, first, previous_first, at, previous, count = struct.unpack_from(
            "<BB2xIQQQ32sI", content
        )
        if chain > 3 or count != first.bit_count():
            raise self.bad("segment_header")
        if chain != self.which:
            raise self.bad("segment_foreign")
        if first != one.first:
            raise self.bad("segment_name")
        if first != self.next:
            raise self.bad("segment_link")
        hashes = [content[68 + 32 * i : 100 + 32 * i] for i in range(count)]
        if first > 0 and one is self.segments[0]:
            given = (previous_first, previous, epoch, hashes, bool(flags & 1), at)
            if not follows(self, before, *given):
                raise self.bad("segment_link")
            return
        expected = (before, self.tag, self.epoch, was_cut, cut_at if was_cut else at)
        if (previous_first, previous, epoch, bool(flags & 1), at) != expected:
            raise self.bad("segment_link")
        if hashes != [value for _, _, value in self.tree(0)]:
            raise self.bad("segment_link")

    def find_cut(self, one: Segment, after: list[Segment]) -> int | None:
        if not after:
            return None
        try:
            block = Block(b"TNCYSEG", after[0].data[:HEADER])
            if self.log.keys.owns(block):
                _, flags, _, _, first, at = struct.unpack_from("<BB2xIQQQ", block.content)
                return at if flags & 1 and first == one.first else None
        except (ValueError, NotImplementedError):
            pass
        entry = self.entry(one.first)
        return entry[2] if entry and entry[3] & 2 else None

    def end(self, one: Segment, after: list[Segment]) -> bool:
        rest = one.data[self.offset :]
        if rest[:4] == b"TNCY":
            return self.footer(one, after)
        promised = after[0].first if after else self.promised
        nothing = not any(rest[:4])
        if self.next < promised:
            raise self.bad("record_damaged" if any(rest) else "tail_missing")
        if after:
            raise self.bad("seal_missing" if nothing else "seal_damaged")
        if any(rest):
            self.note(4, "torn_tail")
        return False

    def footer(self, one: Segment, after: list[Segment]) -> bool:
        try:
            block = Block(b"TNCYEND", one.data[self.offset :])
        except (ValueError, NotImplementedError):
            if after or self.next < self.promised:
                raise self.bad("seal_damaged") from None
            self.note(4, "torn_tail")
            return False
        if not self.log.keys.owns(block):
            raise self.bad("seal_mac")
        hashes = [value for _, _, value in self.tree(one.first)]
        entries = sorted(self.leaf(tenant) for tenant in self.touched)
        head = struct.pack(
            "<B7x3Q32s", self.which, one.first, self.next - one.first, self.offset, self.tag
        )
        head += struct.pack("<II", len(hashes), len(entries)) + b"".join(hashes + entries)
        if not block.content.startswith(head):
            raise self.bad("seal_content")
        self.manifest(one, 1, block.mac)
        rest = one.data[self.offset + len(block.data) :]
        if any(rest) or (rest and after):
            raise self.bad("trailing_bytes", offset=self.offset + len(block.data))
        return False

    def manifest(self, one: Segment, flags: int, mac: bytes) -> None:
        entry = self.entry(one.first)
        if entry and entry[1:] != (self.next, self.offset, flags, mac):
            raise self.bad("manifest_content", segment="manifest", offset=0)

    def tree(self, begin: int) -> list[tuple[int, int, bytes]]:
        """Subtrees over the records from there on: from the first one, or from a kept one."""
        start = max(begin, self.kept)
        own = [
            (at, width, root(self.leaves[at - self.kept : at - self.kept + width]))
            for at, width in shape(start, max(self.next, start))
        ]
        return own if begin else joined(self.nodes + own)

    def key(self, tenant: bytes) -> bytes:
        if tenant not in self.names:
            parts = (self.log.keys.log_id, bytes([self.which]), tenant)
            self.names[tenant] = sha(b"tenancy log tenant", *parts)[:24]
        return self.names[tenant]

    def leaf(self, key: bytes) -> bytes:
        sequence, tag = self.tenants[key]
        return key + struct.pack("<Q", sequence) + tag

    def record(self, record: Record) -> None:
        keys, info = self.log.keys, b"tenancy log record" + bytes([self.which])
        if (record.version, record.algorithm) != (1, 1):
            raise self.bad("record_version")
        if record.log_id != keys.log_id:
            raise self.bad("record_log")
        if record.chain != self.which:
            raise self.bad("record_class")
        if record.epoch != self.epoch:
            raise self.bad("record_epoch")
        maced = record.data[:-36]
        if not keys.tag_is(maced, record.tag, self.epoch, info):
            newest = min(max(self.log.epoch_max, self.epoch + 1), 4096)
            resigned = any(keys.tag_is(maced, record.tag, e, info) for e in range(newest + 1))
            raise self.bad("record_resigned" if resigned else "record_mac")
        if record.sequence != self.next:
            raise self.bad("record_sequence")
        if record.previous != self.tag:
            raise self.bad("record_previous")
        self.check_tenant(record)
        if not record.parse():
            raise self.bad("record_encoding")
        self.check_kind(record)
        apart = record.time - self.time
        if not self.quiet and 0 < 2 * self.interval < apart and self.silences < 100:
            self.silences += 1
            self.note(4, "silent")
        self.time, self.quiet = record.time, record.kind == CLOSED
        if record.kind in (GENESIS, HEARTBEAT, OPENED):
            self.interval = record.fields.get(259, self.interval)
        self.sealed += len(record.sealed)
        for key in record.sealed:
            self.sealed_under.setdefault(key, self.finding(1, "subject_key_missing"))
        if record.kind == ERASED:
            self.erased.setdefault(record.fields[271], self.finding(1, "erased_undone"))
        self.tag = record.tag
        if record.tenant is not None:
            key = self.key(record.tenant)
            self.tenants[key] = (record.tenant_sequence, record.tag)
            self.touched.add(key)
        self.leaves.append(sha(b"\0", record.data[:-4]))
        self.next += 1
        self.epoch += record.kind == EPOCH

    def check_tenant(self, record: Record) -> None:
        if record.tenant is None:
            sequence, tag = -1, ZEROS
        else:
            sequence, tag = self.tenants.get(self.key(record.tenant), (0, ZEROS))
        if record.tenant_sequence != sequence + 1:
            raise self.bad("tenant_sequence")
        if record.tenant_previous != tag:
            raise self.bad("tenant_previous")

    def check_kind(self, record: Record) -> None:
        fields, kind = record.fields, record.kind
        own = GENESIS <= kind <= CLOSED or kind == CHECKPOINT
        if (self.next == 0) != (kind == GENESIS) or (own and record.tenant is not None):
            raise self.bad("record_encoding")
        if kind == GENESIS:
            check = self.log.keys.derive(0, b"tenancy log check", 16)
            key = self.log.public_key
            if (key and fields.get(257) != key) or fields.get(258) != check:
                self.note(1, "manifest_content", segment="manifest", offset=0)
        elif kind == EPOCH and fields.get(260) != self.epoch + 1:
            raise self.bad("record_epoch")
        elif kind == REPAIR:
            self.check_repair(fields)
        elif kind == CHECKPOINT:
            number, notes = fields.get(267, NONE), self.log.notes
            if number >= len(notes):
                self.note(1, "checkpoint_missing", segment="checkpoints", offset=0)
            elif fields.get(268) != sha(notes[number][1]):
                self.note(1, "checkpoint_content", segment="checkpoints", offset=notes[number][0])
        elif kind == ERASED and len(fields.get(271) or b"") != 16:
            raise self.bad("record_encoding")
        elif kind == PRUNED and 269 in fields:
            self.pruned.append((fields[269], fields.get(270, b"")))

    def check_repair(self, fields: dict[int | str, Any]) -> None:
        if fields.get(266) == b"lost":
            return self.note(1, "lost")
        first = fields.get(262, NONE)
        cut = self.cuts.get(first, (None, False))[0]
        if cut is None or cut != fields.get(263):
            if 265 in fields:
                raise self.bad("repair_content")
            return self.note(4, "repaired")
        self.cuts[first] = (cut, True)
        if first < self.kept:
            return self.note(4, "repaired", segment=path_of(self.name, first, "stub"), offset=cut)
        place = {"segment": path_of(self.name, first), "offset": cut}
        data = next(one.data for one in self.segments if one.first == first)[cut:].rstrip(b"\0")
        if fields.get(265) and (fields.get(264), fields[265]) != (len(data), sha(data)):
            raise self.bad("repair_content", **place)
        return self.note(4, "repaired", **place)

    def pass_by(self, one: Segment | None) -> None:
        """What head, checkpoints, anchors and `tenants` say of this place."""
        if not self.head_judged and self.log.head is not None:
            size, first, offset, tag = self.log.head[1][self.which]
            if self.next == size:
                here = one and (first, offset, tag) == (one.first, self.offset, self.tag)
                self.head_met |= bool(here) or (size == 0 and first == NONE)
            if self.next > size or (self.next == size and one is None):
                self.head_judged = True
                if not self.head_met:
                    self.note(1, "head_content", segment="head", offset=0, sequence=size)
        self.pass_boundaries()

    def pass_boundaries(self) -> None:
        while self.boundaries and self.boundaries[0][0] <= self.next:
            size, what, offset, claim = self.boundaries.pop(0)
            if size == self.next and not self.trees_differ:
                self.boundary(size, what, offset, claim)

    def boundary(self, size: int, what: str, offset: int, claim: Any) -> None:
        entries = sorted(self.leaf(tenant) for tenant in self.tenants)
        if what == "tenants":
            if claim != entries:
                self.note(1, "tenants_content", segment="tenants", offset=0, sequence=size)
            return
        tree, count, tenants = claim
        anchor = what == "anchor"
        place = {"segment": "" if anchor else "checkpoints", "offset": offset, "sequence": size}
        if tree != folded(self.tree(0)):
            self.note(1, "anchor_mismatch" if anchor else "checkpoint_root", **place)
        elif (count, tenants) != (len(entries), root([sha(b"\0", e) for e in entries])):
            self.note(1, "anchor_mismatch" if anchor else "checkpoint_tenants", **place)
        else:
            return
        self.trees_differ = True

    def finish(self) -> None:
        if self.next < self.promised:
            if not self.segments:
                raise self.bad("segment_missing", segment=path_of(self.name, self.next))
            raise self.bad("tail_missing")
        for first, (offset, told) in sorted(self.cuts.items()):
            if not told:
                self.note(4, "repaired", segment=path_of(self.name, first), offset=offset)
        said = [stubs for kept, stubs in self.pruned if kept == self.kept]
        if self.kept and sha(*self.stubs) not in said:
            place = {"segment": path_of(self.name, self.kept), "offset": 0, "sequence": self.kept}
            raise self.bad("pruned_content" if said else "pruned_missing", **place)
        self.pass_by(None)
