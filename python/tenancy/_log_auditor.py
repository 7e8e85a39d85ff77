"""The heart of verifying a log, in one file for a stranger to read, copy and run.

    python _log_auditor.py LOG_DIRECTORY KEY_FILE

It imports nothing but Python's own library and was written from cpp/LOG_FORMAT.md alone, whose
sections stand in brackets. It judges that every record is whole, carries the tag of its epoch's
key, and follows the one before it in its class and in its tenant; that segments follow one another
and their seals say where they end, with which tag and with whose; and that all that `head` and
`manifest` promise is there. Of a class it tells the first damage.

`tenancy._log_check` judges all of section 11: beyond this trees, checkpoints and anchors, the forms
of fields, repairs and silences, stubs of what was pruned, the file of tenants, keys of persons.

It ends with 0 when it found nothing, 1 when something was changed or is missing, 3 when the key is
not that of the log, 4 when what it found needs an explanation: a torn tail, a cut, a pruned class.
"""

import contextlib
import hashlib
import hmac
import re
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

CLASSES = ("security", "access", "other", "usage")
HEADER, ZEROS, NONE = 4096, bytes(32), 2**64 - 1
GENESIS, EPOCH = 1, 2  # kinds of records
CRC = list(range(256))  # of each byte
for _ in range(8):
    CRC = [crc >> 1 ^ (0x82F63B78 if crc & 1 else 0) for crc in CRC]


class Finding(NamedTuple):
    status: int
    code: str
    segment: str = ""
    offset: int = 0
    chain: str | None = None
    sequence: int | None = None


class DamageError(Exception):
    """The first damage of a class ends it."""


class Block(NamedTuple):
    raw: bytes
    epoch: int
    log_id: bytes
    content: bytes
    mac: bytes


class Record(NamedTuple):
    raw: bytes
    head: tuple[int, ...]  # version, algorithm, class, kind, epoch, bytes of the tenant, fields
    log_id: bytes
    tenant: bytes | None
    sequence: int
    previous: bytes
    tenant_sequence: int
    tenant_previous: bytes
    tag: bytes


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def block_of(data: bytes, magic: bytes) -> Block | None:
    """The block at the beginning, if it is whole. (4)"""
    if len(data) < 76 or data[:8] != magic + b"\0":
        return None
    major, _, length, epoch = struct.unpack_from("<4I", data, 8)
    if major != 1 or not 76 <= length <= len(data):
        return None
    data = data[:length]
    if crc32c(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
        return None
    return Block(data, epoch, data[24:40], data[40:-36], data[-36:-4])


def record_of(data: bytes, at: int) -> Record | None:
    """The record there, if it is whole. (5)"""
    length = struct.unpack_from("<I", data, at)[0] if at + 4 <= len(data) else 0
    raw = data[at : at + length]
    if not 156 <= length <= 1 << 20 or len(raw) < length:
        return None
    head = struct.unpack_from("<4BIHH", raw, 4)
    size = 0 if head[5] == 65535 else head[5]
    if 156 + size > length or struct.unpack("<I", raw[-4:])[0] != crc32c(raw[:-4]):
        return None
    tenant = None if head[5] == 65535 else raw[40 : 40 + size]
    parts = struct.unpack("<Q32sQ32s32s", raw[-116:-4])
    return Record(raw, head, raw[16:32], tenant, *parts)


# --------------------------------------------------------------------------------------- the log


class Log:
    """Keys, and what manifest and head promise."""

    def __init__(self, directory: Path, key_file: Path) -> None:
        self.directory, self.findings = directory, list[Finding]()
        self.files: dict[str, dict[int, bytes]] = {name: {} for name in CLASSES}
        for path in sorted(directory.glob("segments/*.seg")):
            name = re.fullmatch(r"(\w+)-(\d{20})\.seg", path.name)
            if name and name[1] in self.files:
                self.files[name[1]][int(name[2])] = path.read_bytes()
        block = block_of(key_file.read_bytes(), b"TNCYKEY") if key_file.exists() else None
        if block is None:
            raise DamageError("no key")
        self.log_id, self.epochs = block.log_id, [block.content[8:40]]
        if block.epoch or not self.owns(block):
            raise DamageError("no key")
        self.kept: list[int] | None = None  # what begins there was not pruned
        self.promised = [0] * 4
        self.head: list[tuple[int, int, int, bytes]] = []  # size, segment, offset and tag by class
        self.ours = False  # something is there that the key has made
        self.read_manifest()
        self.read_head()

    def tag_is(self, data: bytes, tag: bytes, epoch: int, info: bytes) -> bool:
        """Whether `tag` is the HMAC with the key that an epoch has for `info`. (3)"""
        if epoch > 1 << 20:
            return False
        while len(self.epochs) <= epoch:
            self.epochs.append(self.derived(self.epochs[-1], b"tenancy log epoch"))
        key = self.derived(self.epochs[epoch], info)
        return hmac.compare_digest(hmac.digest(key, data, "sha256"), tag)

    def derived(self, key: bytes, info: bytes) -> bytes:
        """HKDF of RFC 5869, one block."""
        extracted = hmac.digest(self.log_id, key, "sha256")
        return hmac.digest(extracted, info + b"\x01", "sha256")

    def owns(self, block: Block) -> bool:
        named = block.log_id == self.log_id
        return named and self.tag_is(block.raw[:-36], block.mac, block.epoch, b"tenancy log file")

    def read(self, name: str) -> bytes | None:
        path = self.directory / name
        if not path.is_file():
            self.findings.append(Finding(1, f"{name}_missing", name))
            return None
        return path.read_bytes()

    def read_manifest(self) -> None:  # (6.3)
        data = self.read("manifest")
        if data is None:
            return
        block = block_of(data, b"TNCYMAN")
        if block is None or len(block.raw) != len(data) or not self.owns(block):
            whole = block is not None and len(block.raw) == len(data)
            code = "manifest_mac" if whole else "manifest_damaged"
            self.findings.append(Finding(1, code, "manifest"))
            return
        self.ours, self.kept, at = True, [], 72
        for which in range(4):
            first, count = struct.unpack_from("<QI", block.content, at)
            self.kept.append(first)
            at += 16 + 64 * count
            if count:  # the last segment that was left
                self.promised[which] = struct.unpack_from("<8xQ", block.content, at - 64)[0]

    def read_head(self) -> None:  # (7)
        data = self.read("head")
        if data is None:
            return
        if len(data) != 4 * HEADER:
            self.findings.append(Finding(1, "head_damaged", "head"))
        newest, forged = -1, False
        for at in range(0, 4 * HEADER, HEADER) if len(data) <= 4 * HEADER else ():
            block = block_of(data[at : at + HEADER], b"TNCYHED")
            if block is None or len(block.raw) != HEADER:
                continue  # never written, or torn: one of the others is whole
            if not self.owns(block):
                self.findings.append(Finding(1, "head_mac", "head", at))
                forged = True
                continue
            self.ours = True
            (generation,) = struct.unpack_from("<Q", block.content)
            chains = list(struct.iter_unpack("<QQQ8x32s", block.content[32 : 32 + 4 * 64]))
            if generation > newest:
                newest, self.head = generation, chains
        if not self.head and not forged:
            self.findings.append(Finding(1, "head_damaged", "head"))
        for which, (size, _, _, _) in enumerate(self.head):
            self.promised[which] = max(self.promised[which], size)


class Chain:
    """One class, record by record."""

    def __init__(self, log: Log, which: int) -> None:
        self.log, self.which, self.name = log, which, CLASSES[which]
        segments = log.files[self.name]
        self.kept = log.kept[which] if log.kept else min(segments, default=0)
        self.segments = {first: data for first, data in segments.items() if first >= self.kept}
        self.next, self.epoch, self.tag = self.kept, 0, ZEROS
        self.tenants: dict[bytes, tuple[int, bytes]] = {}
        self.touched: set[bytes] = set()  # in this segment
        self.file, self.offset, self.met = "", 0, not log.head
        self.findings: list[Finding] = []

    def note(self, status: int, code: str, **other: Any) -> None:
        place: dict[str, Any] = {
            "segment": self.file,
            "offset": self.offset,
            "sequence": self.next,
            **other,
        }
        self.findings.append(Finding(status, code, chain=self.name, **place))

    def damage(self, code: str, **other: Any) -> DamageError:
        self.note(1, code, **other)
        return DamageError(code)

    def path(self, first: int) -> str:
        return f"segments/{self.name}-{first:020}.seg"

    def run(self) -> None:
        if self.kept:
            self.note(4, "pruned")
        before, cut = NONE, None
        firsts = sorted(self.segments)
        for first, after in zip(firsts, [*firsts[1:], None], strict=False):
            self.offset = 0
            if first > self.next:
                raise self.damage("segment_missing", segment=self.path(self.next))
            self.file = self.path(first)
            self.header(first, before, cut)
            cut = self.cut_of(first, after)
            self.read_segment(first, after, cut)
            before = first
        if self.next < self.log.promised[self.which]:
            if firsts:
                raise self.damage("tail_missing")
            raise self.damage("segment_missing", segment=self.path(self.next))
        if not self.met and self.log.head[self.which][:2] != (0, NONE):
            size = self.log.head[self.which][0]
            self.note(1, "head_content", segment="head", offset=0, sequence=size)

    def header(self, first: int, before: int, cut: int | None) -> None:  # (6.1)
        block = block_of(self.segments[first][:HEADER], b"TNCYSEG")
        if block is None or len(block.raw) != HEADER:
            raise self.damage("segment_header")
        if block.log_id != self.log.log_id:
            raise self.damage("segment_foreign")
        if not self.log.owns(block):
            raise self.damage("segment_mac")
        which, flags, epoch, said, previous_first, at, previous = struct.unpack_from(
            "<BB2xIQQQ32s", block.content
        )
        for right, code in (
            (which == self.which, "foreign"),
            (said == first, "name"),
            (first == self.next, "link"),
        ):
            if not right:
                raise self.damage(f"segment_{code}")
        if first and before == NONE:  # what was before it is pruned: its word for that
            self.epoch, self.tag = epoch, previous
            return
        given = (previous_first, previous, epoch, bool(flags & 1), at if cut else None)
        if given != (before, self.tag, self.epoch, cut is not None, cut):
            raise self.damage("segment_link")

    def cut_of(self, first: int, after: int | None) -> int | None:
        """Where the next segment says that this one was cut: what is behind was never durable."""
        block = None if after is None else block_of(self.segments[after][:HEADER], b"TNCYSEG")
        if block is None or not self.log.owns(block):
            return None
        _, flags, _, _, previous, at = struct.unpack_from("<BB2xIQQQ", block.content)
        return int(at) if flags & 1 and previous == first else None

    def read_segment(self, first: int, after: int | None, cut: int | None) -> None:
        data, self.offset, self.touched = self.segments[first], HEADER, set()
        self.meet(first)
        while cut is None or self.offset < cut:
            record = record_of(data, self.offset)
            if record is None:
                return self.end(first, after)
            self.record(record)
            self.offset += len(record.raw)
            self.meet(first)
        if self.offset > cut:
            raise self.damage("segment_link")
        return self.note(4, "cut")

    def meet(self, first: int) -> None:
        """Whether the head has this place."""
        if self.log.head:
            self.met |= (self.next, first, self.offset, self.tag) == self.log.head[self.which]

    def end(self, first: int, after: int | None) -> None:
        rest = self.segments[first][self.offset :]
        block = block_of(rest, b"TNCYEND")
        promised = self.log.promised[self.which] if after is None else after
        if rest[:4] != b"TNCY":
            if self.next < promised:
                raise self.damage("record_damaged" if any(rest) else "tail_missing")
            if after is not None:
                raise self.damage("seal_damaged" if any(rest[:4]) else "seal_missing")
            return self.note(4, "torn_tail") if any(rest) else None
        if block is None:
            if after is not None or self.next < promised:
                raise self.damage("seal_damaged")
            return self.note(4, "torn_tail")
        return self.seal(first, block, rest[len(block.raw) :], after)

    def seal(self, first: int, block: Block, rest: bytes, after: int | None) -> None:  # (6.2)
        if not self.log.owns(block):
            raise self.damage("seal_mac")
        entries = []
        for key in sorted(self.touched):
            sequence, tag = self.tenants[key]
            entries.append(key + struct.pack("<Q", sequence) + tag)
        records = self.next - first
        said = struct.pack("<B7x3Q32s", self.which, first, records, self.offset, self.tag)
        hashes, count = struct.unpack_from("<II", block.content, 64)
        tenants = block.content[72 + 32 * hashes :]
        right = block.content.startswith(said) and count == len(entries)
        if not right or not tenants.startswith(b"".join(entries)):
            raise self.damage("seal_content")
        if any(rest) or (rest and after is not None):
            raise self.damage("trailing_bytes", offset=self.offset + len(block.raw))

    def record(self, record: Record) -> None:  # (5)
        version, algorithm, which, kind, epoch, _, _ = record.head
        info = b"tenancy log record" + bytes([self.which])
        mac = self.log.tag_is(record.raw[:-36], record.tag, self.epoch, info)
        for right, code in (
            ((version, algorithm) == (1, 1), "version"),
            (record.log_id == self.log.log_id, "log"),
            (which == self.which, "class"),
            (epoch == self.epoch, "epoch"),
            (mac, "mac"),
            (record.sequence == self.next, "sequence"),
            (record.previous == self.tag, "previous"),
        ):
            if not right:
                raise self.damage(f"record_{code}")
        self.tenant(record)
        if (self.next == 0) != (kind == GENESIS):
            raise self.damage("record_encoding")
        self.tag = record.tag
        self.next += 1
        self.epoch += kind == EPOCH

    def tenant(self, record: Record) -> None:
        """The chain of the record's tenant; without one both words are zero."""
        sequence, tag = -1, ZEROS
        if record.tenant is not None:
            parts = (self.log.log_id, bytes([self.which]), record.tenant)
            key = sha(b"tenancy log tenant", *parts)[:24]
            first = (0, ZEROS)
            if self.kept:  # those before it may be pruned: its word for that
                first = (record.tenant_sequence - 1, record.tenant_previous)
            sequence, tag = self.tenants.get(key, first)
            self.tenants[key] = (record.tenant_sequence, record.tag)
            self.touched.add(key)
        if record.tenant_sequence != sequence + 1:
            raise self.damage("tenant_sequence")
        if record.tenant_previous != tag:
            raise self.damage("tenant_previous")


def audit(directory: str | Path, key_file: str | Path) -> tuple[int, list[Finding]]:
    """Status, and what was found, of a log directory and a file like `keys/log.verify`."""
    try:
        log = Log(Path(directory), Path(key_file))
    except DamageError:
        return 3, [Finding(3, "wrong_key")]
    findings = log.findings
    for chain in (Chain(log, which) for which in range(4)):
        with contextlib.suppress(DamageError):
            chain.run()
        log.ours |= chain.next > chain.kept
        findings += chain.findings
    if not log.ours:
        return 3, [Finding(3, "wrong_key")]
    found = {finding.status for finding in findings}
    return next((status for status in (1, 4) if status in found), 0), findings


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    result, told = audit(*sys.argv[1:])
    for one in told:
        print(*one)
    print("nothing found" if result == 0 else f"status {result}")
    sys.exit(result)
