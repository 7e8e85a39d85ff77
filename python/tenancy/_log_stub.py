"""Stubs of pruned segments in plain Python (cpp/LOG_FORMAT.md, 6.4). Part of `_log_check`."""

from __future__ import annotations

import struct
from typing import Any, Protocol

from ._log_format import Block, Keys, joined, path_of, sha, shape

__all__ = ["Stub", "follows", "pass_stubs"]

HEADER = 4096
NONE = 2**64 - 1


class Stub:
    """What a stub says; raises ValueError with the code that says what is wrong. Without `keys`
    nobody looks at its MACs."""

    def __init__(self, data: bytes, keys: Keys | None, chain: int, first: int) -> None:
        try:
            head, foot = Block(b"TNCYSEG", data), Block(b"TNCYEND", data[HEADER:])
            whole = len(head.data) == HEADER and HEADER + len(foot.data) == len(data)
        except (ValueError, NotImplementedError):
            whole = False
        if not whole:
            raise ValueError("stub_damaged")
        if keys is not None and not (keys.owns(head) and keys.owns(foot)):
            raise ValueError("stub_mac")
        try:
            self._read(head.content, foot.content)
        except struct.error:
            raise ValueError("stub_content") from None
        if self.chains != (chain, chain) or self.firsts != (first, first):
            raise ValueError("stub_content")
        self.end = first + self.count
        places = list(shape(first, self.end)) if 0 < self.count < 2**63 else []
        if len(places) != len(self.hashes) or not places or self.offset <= HEADER:
            raise ValueError("stub_content")
        self.nodes = [(*place, one) for place, one in zip(places, self.hashes, strict=True)]

    def _read(self, head: bytes, foot: bytes) -> None:
        one, flags, self.epoch, first, self.before, self.cut_at, self.previous, many = (
            struct.unpack_from("<BB2xIQQQ32sI", head)
        )
        other, first_again, self.count, self.offset, self.last, hashes, entries = (
            struct.unpack_from("<B7x3Q32sII", foot)
        )
        self.follows_cut = bool(flags & 1)
        self.chains, self.firsts = (one, other), (first, first_again)
        if many != first.bit_count() or len(foot) < 72 + 32 * hashes + 64 * entries:
            raise struct.error("length")
        self.tree = [head[68 + 32 * i : 100 + 32 * i] for i in range(many)]
        self.hashes = [foot[72 + 32 * i : 104 + 32 * i] for i in range(hashes)]
        at = 72 + 32 * hashes
        self.tenants = [foot[at + 64 * i : at + 64 * i + 64] for i in range(entries)]


class Chain(Protocol):
    """The chain that is read, as far as its stubs go."""

    log: Any
    which: int
    name: str
    kept: int
    next: int
    tag: bytes
    epoch: int
    file: str
    offset: int
    nodes: list[tuple[int, int, bytes]]
    tenants: dict[bytes, tuple[int, bytes]]
    cuts: dict[int, tuple[int, bool]]
    stub: Stub | None
    stubs: list[bytes]

    def bad(self, code: str, **changes: Any) -> Exception: ...
    def note(self, status: int, code: str, **changes: Any) -> None: ...
    def pass_by(self, one: Any) -> None: ...
    def pass_boundaries(self) -> None: ...


def pass_stubs(chain: Chain) -> int:
    """Reads the stubs of what was pruned; returns where the last one begins."""
    before = NONE
    for one in chain.log.stubs[chain.which]:
        chain.offset = 0
        if one.first > chain.next:
            raise chain.bad("stub_missing", segment=path_of(chain.name, chain.next, "stub"))
        chain.file = one.name
        try:
            if one.first < chain.next:
                raise ValueError("stub_content")
            stub = Stub(one.data, chain.log.keys, chain.which, one.first)
            given = (stub.before, stub.previous, stub.epoch, stub.tree)
            if stub.end > chain.kept or not follows(
                chain, before, *given, stub.follows_cut, stub.cut_at
            ):
                raise ValueError("stub_content")
            if before == NONE:
                chain.pass_boundaries()
            _learn(chain, stub)
        except ValueError as error:
            raise chain.bad(str(error)) from None
        chain.stub, before = stub, one.first
        chain.stubs.append(sha(one.data))
        chain.tag, chain.next, chain.offset = stub.last, stub.end, stub.offset
        chain.nodes = joined(chain.nodes + stub.nodes)
        chain.pass_by(one)
    if chain.next != chain.kept:
        raise chain.bad("stub_missing", segment=path_of(chain.name, chain.next, "stub"), offset=0)
    if chain.kept:
        chain.note(0, "pruned", segment=path_of(chain.name, chain.next), offset=0)
    return before


def _learn(chain: Chain, stub: Stub) -> None:
    for entry in stub.tenants:
        sequence = struct.unpack_from("<Q", entry, 24)[0]
        if sequence <= chain.tenants.get(entry[:24], (0, b""))[0]:
            raise ValueError("stub_content")
        chain.tenants[entry[:24]] = (sequence, entry[32:])


def follows(
    chain: Chain,
    before: int,
    previous_first: int,
    previous: bytes,
    epoch: int,
    tree: list[bytes],
    cut: bool,
    cut_at: int,
) -> bool:
    """Whether a header continues what was read last, a stub or nothing."""
    behind = None if chain.stub is None else chain.stub.offset
    hashes = [value for _, _, value in chain.nodes]
    if (previous_first, previous, tree) != (before, chain.tag, hashes) or epoch < chain.epoch:
        return False
    if cut:
        if cut_at != behind:
            return False
        chain.cuts[before] = (cut_at, True)
    chain.epoch = epoch
    return True
