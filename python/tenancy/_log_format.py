"""Keys, blocks, notes and records of the log in plain Python, from cpp/LOG_FORMAT.md alone.

Part of the second verifier, `tenancy._log_check`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

__all__ = [
    "CLASSES",
    "Block",
    "Keys",
    "Note",
    "Record",
    "folded",
    "frames",
    "joined",
    "path_of",
    "perfect",
    "root",
    "sha",
    "shape",
]

CLASSES = ("security", "access", "other", "usage")
WIDTHS = {0: 0, 1: 1, 2: 8, 3: 8, 7: 16}


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
        table.append(crc)
    return table


_CRC = _crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def path_of(chain: str, first: int, kind: str = "seg") -> str:
    """A file of `segments/`, as findings name it."""
    return f"segments/{chain}-{first:020}.{kind}"


def sha(*parts: bytes | bytearray) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


class Keys:
    """All keys of a log, from that of epoch 0. (3)"""

    def __init__(self, log_id: bytes, first: bytes) -> None:
        self.log_id, self.epochs = log_id, [first]

    def derive(self, epoch: int, info: bytes, length: int = 32) -> bytes | None:
        if epoch > 1 << 20:
            return None
        while len(self.epochs) <= epoch:
            self.epochs.append(self._hkdf(self.epochs[-1], b"tenancy log epoch", 32))
        return self._hkdf(self.epochs[epoch], info, length)

    def _hkdf(self, key: bytes, info: bytes, length: int) -> bytes:
        extracted = hmac.digest(self.log_id, key, "sha256")
        return hmac.digest(extracted, info + b"\x01", "sha256")[:length]

    def tag_is(self, data: bytes, tag: bytes, epoch: int, info: bytes) -> bool:
        key = self.derive(epoch, info)
        return key is not None and hmac.compare_digest(hmac.digest(key, data, "sha256"), tag)

    def owns(self, block: Block) -> bool:
        return block.log_id == self.log_id and self.tag_is(
            block.data[:-36], block.mac, block.epoch, b"tenancy log file"
        )


class Block:
    """A block of a file, its length and checksum right, else ValueError. (4)"""

    def __init__(self, magic: bytes, data: bytes) -> None:
        if len(data) < 76 or data[:8] != magic + b"\0":
            raise ValueError("no block")
        major, _, length, self.epoch = struct.unpack_from("<4I", data, 8)
        if not 76 <= length <= len(data):
            raise ValueError("length")
        self.data = data = data[:length]
        if crc32c(data[:-4]) != struct.unpack("<I", data[-4:])[0]:
            raise ValueError("checksum")
        if major != 1:
            raise NotImplementedError("version")
        self.log_id, self.content, self.mac = data[24:40], data[40:-36], data[-36:-4]


# ---------------------------------------------------------------------------- trees and notes


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 9162 section 2.1.1, over hashes of leaves."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b"\1", root(leaves[:k]), root(leaves[k:]))


def perfect(leaves: Sequence[bytes], begin: int, end: int) -> list[bytes]:
    """Leaves [begin, end) of a tree as maximal aligned perfect subtrees, left to right."""
    return [root(leaves[at : at + width]) for at, width in shape(begin, end)]


def shape(begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Where those subtrees begin and how many leaves each has."""
    while begin < end:
        width = 1 << (end - begin).bit_length() - 1
        width = min(width, begin & -begin) if begin else width
        yield begin, width
        begin += width


def joined(nodes: Iterable[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """Neighbouring subtrees (first leaf, leaves, hash) as the largest that they make."""
    out: list[tuple[int, int, bytes]] = []
    for at, width, value in nodes:
        while out and out[-1][1] == width and not out[-1][0] & width:
            at, _, left = out.pop()
            width, value = 2 * width, sha(b"\1", left, value)
        out.append((at, width, value))
    return out


def folded(nodes: Sequence[tuple[int, int, bytes]]) -> bytes:
    """The root of the tree whose subtrees these are, from its first leaf on."""
    value = nodes[-1][2] if nodes else sha()
    for _, _, left in reversed(nodes[:-1]):
        value = sha(b"\1", left, value)
    return value


class Note:
    """A checkpoint; raises ValueError with the code that says what is wrong. (8.4)"""

    def __init__(self, note: bytes, log_id: bytes, public_key: bytes) -> None:
        origin = b"tenancy-log/" + log_id.hex().encode()
        text, blank, rest = note.rpartition(b"\n\n")
        self.text = text = text + b"\n"
        hashed, number = rb"([A-Za-z0-9+/]{43}=)", rb"(0|[1-9]\d*)"
        form = rb"(tenancy-log/[0-9a-f]+)\n" + number + rb"\n" + hashed + rb"\n"
        for name in CLASSES:
            parts = (b"chain", name.encode(), number, hashed, number, hashed)
            form += b" ".join(parts) + b"\n"
        match = re.fullmatch(form + rb"epoch " + number + rb" (-?[0-9]+)\n", text)
        lines = rest.split(b"\n")
        line_form = rb"\xe2\x80\x94 ([^ ]+) ([A-Za-z0-9+/]+={0,2})"
        signatures = [re.fullmatch(line_form, line) for line in lines[:-1]]
        if not blank or not match or lines[-1] or not all(signatures) or match[2] == b"0":
            raise ValueError("damaged")
        if match[1] != origin:
            raise ValueError("foreign")
        words = match.groups()
        self.number, self.root = int(words[1]) - 1, base64.b64decode(words[2])
        self.chains = [
            (
                int(words[i]),
                base64.b64decode(words[i + 1]),
                int(words[i + 2]),
                base64.b64decode(words[i + 3]),
            )
            for i in range(3, 19, 4)
        ]
        self.epoch, self.leaf = int(words[19]), text.split(b"\n", 3)[3]
        key_hash = sha(origin, b"\n\1", public_key)[:4]
        for signature in filter(None, signatures):
            raw = base64.b64decode(signature[2])
            if signature[1] == origin and len(raw) == 68 and raw[:4] == key_hash:
                if _ed25519(public_key, raw[4:], text):
                    return
                break
        raise ValueError("signature")


def _ed25519(public_key: bytes, signature: bytes, text: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, text)
    except (InvalidSignature, ValueError):
        return False
    return True


def frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Whole frames of the file `checkpoints`: (offset, note)."""
    at = 0
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at)
        end = at + 4 + length
        if not 0 < length <= 1 << 20 or end + 4 > len(data):
            return
        if struct.unpack_from("<I", data, end)[0] != crc32c(data[at:end]):
            return
        yield at, data[at + 4 : end]
        at = end + 4


# ------------------------------------------------------------------------------------ records


class Record:
    """A record whose length and checksum are right, else ValueError. (5)"""

    def __init__(self, data: bytes, at: int) -> None:
        (length,) = struct.unpack_from("<I", data, at) if at + 4 <= len(data) else (1,)
        self.data = data = data[at : at + length]
        if not 156 <= length <= 1 << 20 or len(data) < length:
            raise ValueError("length")
        self.version, self.algorithm, self.chain, self.kind, self.epoch, tenant, self.count = (
            struct.unpack_from("<4BIHH", data, 4)
        )
        size = 0 if tenant == 65535 else tenant
        if 156 + size > length or struct.unpack("<I", data[-4:])[0] != crc32c(data[:-4]):
            raise ValueError("checksum")
        self.log_id, self.time = data[16:32], struct.unpack_from("<q", data, 32)[0]
        self.tenant = None if tenant == 65535 else data[40 : 40 + size]
        self.raw_fields = data[40 + size : -116]
        self.sequence, self.previous, self.tenant_sequence, self.tenant_previous, self.tag = (
            struct.unpack("<Q32sQ32s32s", data[-116:-4])
        )
        self.fields: dict[int | str, Any] = {}
        self.sealed: list[bytes] = []
        """Of each sealed field the id of its subject's key."""

    def parse(self) -> bool:
        """Whether tenant and fields have the one form that is allowed."""
        try:
            if self.tenant is not None and (
                len(self.tenant) > 1024 or self.tenant.decode() is None
            ):
                return False
            rest, last = self.raw_fields, (0, b"")
            for _ in range(self.count):
                field, kind = struct.unpack_from("<HB", rest)
                rest, name = rest[3:], b""
                if field == 65535:
                    (length,) = struct.unpack_from("<H", rest)
                    name, rest = rest[2 : 2 + length], rest[2 + length :]
                    if not 0 < length <= 255 or len(name) < length or not name.decode():
                        return False
                (length,) = struct.unpack_from("<I", rest)
                value, rest = rest[4 : 4 + length], rest[4 + length :]
                if (field, name) <= last or kind > 8 or len(value) < length:
                    return False
                if length != WIDTHS.get(kind, length) or (kind == 8 and length < 45):
                    return False
                if kind in (4, 6):
                    value.decode()
                if kind == 1 and value[0] > 1:
                    return False
                if kind == 8:
                    self.sealed.append(value[:16])
                last = (field, name)
                numeric = struct.unpack("<Q", value)[0] if kind == 3 else value
                self.fields.setdefault(field, numeric)
        except (struct.error, UnicodeDecodeError):
            return False
        return not rest
