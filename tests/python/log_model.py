"""A small writer of logs, as cpp/LOG_FORMAT.md describes them: what the two verifiers are fed."""

from __future__ import annotations

import base64
import hmac
import struct
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tenancy._log_format import CLASSES, Keys, crc32c, perfect, root, sha

START = 1_700_000_000_000_000_000
SECOND = 10**9
NONE = 2**64 - 1


def with_crc(data: bytes) -> bytes:
    return data + struct.pack("<I", crc32c(data))


def field(number: int, kind: int, value: bytes, name: bytes = b"") -> bytes:
    named = struct.pack("<H", len(name)) + name if number == 65535 else b""
    return struct.pack("<HB", number, kind) + named + struct.pack("<I", len(value)) + value


def u64(number: int, value: int) -> bytes:
    return field(number, 3, struct.pack("<Q", value))


class Chain:
    def __init__(self, which: int) -> None:
        self.which = which
        self.leaves: list[bytes] = []
        self.tag = bytes(32)
        self.tenants: dict[str, tuple[int, bytes]] = {}
        self.entries: list[bytes] = []  # of the manifest
        self.first, self.before = 0, NONE
        self.data, self.touched = b"", set[str]()
        self.cut_at = 0


class ModelLog:
    """One log in `root`/log with its keys in `root`/keys."""

    def __init__(self, path: Path, seed: int = 1) -> None:
        self.path, self.now, self.epoch, self.generation = path, START, 0, 0
        (path / "log" / "segments").mkdir(parents=True)
        (path / "keys").mkdir()
        self.log_id, self.first_key = sha(b"id", bytes([seed]))[:16], sha(b"key", bytes([seed]))
        self.keys = Keys(self.log_id, self.first_key)
        self.signer = Ed25519PrivateKey.from_private_bytes(sha(b"sign", bytes([seed])))
        self.public = self.signer.public_key().public_bytes_raw()
        self.check = self.keys.derive(0, b"tenancy log check", 16)
        self.chains = [Chain(i) for i in range(4)]
        self.checkpoint_leaves: list[bytes] = []
        self.notes: list[bytes] = []
        self.tenants_file = b""
        state = struct.pack("<II", 2, 0) + self.first_key
        (path / "keys" / "log.verify").write_bytes(self.block(b"TNCYKEY", state))
        genesis = field(257, 5, self.public) + field(258, 5, self.check or b"")
        for chain in self.chains:
            self.open_segment(chain)
            self.append(chain.which, None, [genesis + u64(259, 300 * SECOND)], kind=1, count=3)

    def block(self, magic: bytes, content: bytes, size: int = 0, epoch: int | None = None) -> bytes:
        epoch = self.epoch if epoch is None else epoch
        content = content.ljust(size - 76, b"\0") if size else content
        head = struct.pack("<4I", 1, 0, 76 + len(content), epoch)
        data = magic + b"\0" + head + self.log_id + content
        key = self.keys.derive(epoch, b"tenancy log file")
        assert key is not None
        return with_crc(data + hmac.digest(key, data, "sha256"))

    def file(self, chain: Chain) -> Path:
        name = f"{CLASSES[chain.which]}-{chain.first:020}.seg"
        return self.path / "log" / "segments" / name

    def open_segment(self, chain: Chain) -> None:
        chain.first, size = len(chain.leaves), len(chain.leaves)
        hashes = perfect(chain.leaves, 0, size)
        content = struct.pack(
            "<BB2xIQQQ32sI",
            chain.which,
            bool(chain.cut_at),
            self.epoch,
            size,
            chain.before,
            chain.cut_at,
            chain.tag,
            len(hashes),
        ) + b"".join(hashes)
        chain.data, chain.touched = self.block(b"TNCYSEG", content, 4096), set()

    def append(
        self,
        which: int,
        tenant: str | None,
        fields: list[bytes],
        kind: int = 0,
        count: int | None = None,
    ) -> None:
        chain = self.chains[which]
        body = b"".join(fields)
        name = b"" if tenant is None else tenant.encode()
        sequence, tag = (
            chain.tenants.get(tenant, (0, bytes(32))) if tenant is not None else (-1, bytes(32))
        )
        head = struct.pack(
            "<I4BIHH16sq",
            156 + len(name) + len(body),
            1,
            1,
            which,
            kind,
            self.epoch,
            65535 if tenant is None else len(name),
            len(fields) if count is None else count,
            self.log_id,
            self.now,
        )
        tail = struct.pack("<Q32sQ32s", len(chain.leaves), chain.tag, sequence + 1, tag)
        data = head + name + body + tail
        key = self.keys.derive(self.epoch, b"tenancy log record" + bytes([which]))
        assert key is not None
        chain.tag = hmac.digest(key, data, "sha256")
        data += chain.tag
        chain.leaves.append(sha(b"\0", data))
        chain.data += with_crc(data)
        if tenant is not None:
            chain.tenants[tenant] = (sequence + 1, chain.tag)
            chain.touched.add(tenant)
        self.now += SECOND

    def event(self, which: int, tenant: str | None, number: int) -> None:
        fields = [
            field(2, 4, b"data_read"),
            field(5, 4, b"doc-%d" % number),
            field(13, 0, b""),
            field(14, 4, b""),
            field(65535, 1, b"\1", b"cached"),
        ]
        self.append(which, tenant, fields)

    def leaf(self, chain: Chain, tenant: str) -> bytes:
        code = bytes([chain.which])
        key = sha(b"tenancy log tenant", self.log_id, code, tenant.encode())[:24]
        sequence, tag = chain.tenants[tenant]
        return key + struct.pack("<Q", sequence) + tag

    def roll(self, which: int) -> None:
        chain = self.chains[which]
        hashes = perfect(chain.leaves, chain.first, len(chain.leaves))
        tenants = sorted(self.leaf(chain, tenant) for tenant in chain.touched)
        offset, count = len(chain.data), len(chain.leaves) - chain.first
        content = struct.pack("<B7x3Q32s", which, chain.first, count, offset, chain.tag)
        content += struct.pack("<II", len(hashes), len(tenants)) + b"".join(hashes + tenants)
        footer = self.block(b"TNCYEND", content)
        self.leave(chain, footer, 1, footer[-36:-4])

    def cut(self, which: int, torn: bytes) -> None:
        """The segment has a torn tail; a recovery goes on in a new one and tells of it."""
        chain = self.chains[which]
        first, offset = chain.first, len(chain.data)
        self.leave(chain, torn, 2, bytes(32))
        told = [u64(262, first), u64(263, offset), u64(264, len(torn))]
        told += [field(265, 5, sha(torn)), field(266, 4, b"torn")]
        self.append(which, None, told, kind=6)

    def leave(self, chain: Chain, rest: bytes, flags: int, mac: bytes) -> None:
        offset = len(chain.data)
        self.file(chain).write_bytes(chain.data + rest)
        sizes = (chain.first, len(chain.leaves), offset, flags, mac)
        chain.entries.append(struct.pack("<QQQI4x32s", *sizes))
        chain.before, chain.cut_at = chain.first, offset if flags == 2 else 0
        self.open_segment(chain)

    def rotate(self) -> None:
        for chain in self.chains:
            self.append(chain.which, None, [u64(260, self.epoch + 1)], kind=2)
        self.epoch += 1

    def checkpoint(self) -> str:
        lines = b""
        for chain in self.chains:
            entries = [sha(b"\0", e) for e in sorted(self.leaf(chain, t) for t in chain.tenants)]
            words = (
                b"chain",
                CLASSES[chain.which].encode(),
                b"%d" % len(chain.leaves),
                base64.b64encode(root(chain.leaves)),
                b"%d" % len(entries),
                base64.b64encode(root(entries)),
            )
            lines += b" ".join(words) + b"\n"
        lines += b"epoch %d %d\n" % (self.epoch, self.now)
        self.checkpoint_leaves.append(sha(b"\0", lines))
        origin = b"tenancy-log/" + self.log_id.hex().encode()
        number = len(self.checkpoint_leaves)
        text = b"%b\n%d\n%b\n" % (origin, number, base64.b64encode(root(self.checkpoint_leaves)))
        text += lines
        key_hash = sha(origin, b"\n\1", self.public)[:4]
        signature = base64.b64encode(key_hash + self.signer.sign(text))
        self.notes.append(text + b"\n\xe2\x80\x94 " + origin + b" " + signature + b"\n")
        told = [u64(267, number - 1), field(268, 5, sha(self.notes[-1]))]
        self.append(0, None, told, kind=7)
        self.save_tenants()
        return self.notes[-1].decode()

    def save_tenants(self) -> None:
        content, entries = struct.pack("<Q", len(self.notes)), b""
        for chain in self.chains:
            content += struct.pack("<QQ", len(chain.leaves), len(chain.tenants))
            entries += b"".join(self.leaf(chain, tenant) for tenant in chain.tenants)
        self.tenants_file = self.block(b"TNCYTEN", content + entries)

    def save(self, unpromised: int = 0) -> None:
        """Everything to files; the head comes before `unpromised` more events of `access`."""
        head, manifest = b"", b""
        for chain in self.chains:
            sizes = (len(chain.leaves), chain.first, len(chain.data), chain.tag)
            head += struct.pack("<QQQ8x32s", *sizes)
            manifest += struct.pack("<QI4x", 0, len(chain.entries)) + b"".join(chain.entries)
        self.generation += 1
        content = struct.pack("<QqQQ", self.generation, self.now, len(self.notes), 0) + head
        slot = self.block(b"TNCYHED", content, 4096)
        (self.path / "log" / "head").write_bytes(bytes(8192) + slot + bytes(4096))
        content = struct.pack("<Qq", 1, self.now) + self.public + (self.check or b"") + bytes(8)
        (self.path / "log" / "manifest").write_bytes(self.block(b"TNCYMAN", content + manifest))
        (self.path / "log" / "tenants").write_bytes(self.tenants_file)
        framed = [with_crc(struct.pack("<I", len(note)) + note) for note in self.notes]
        (self.path / "log" / "checkpoints").write_bytes(b"".join(framed))
        for number in range(unpromised):
            self.event(1, "ten_a", number)
        for chain in self.chains:
            self.file(chain).write_bytes(chain.data + bytes(200))


def sample(path: Path, seed: int = 1) -> ModelLog:
    """Three segments in `access`, one of them cut, two epochs, two checkpoints."""
    log = ModelLog(path, seed)
    tenants = ["ten_a", "ten_b", "", None]
    for number in range(24):
        log.event(1, tenants[number % 4], number)
        if number % 5 == 0:
            log.event(number % 4, "ten_b", number)
        if number == 7:
            log.roll(1)
        if number == 10:
            log.rotate()
            log.checkpoint()
        if number == 15:
            log.cut(1, b"half a record")
    log.checkpoint()
    log.save(unpromised=2)
    return log
