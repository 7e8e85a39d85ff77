"""Keys of subjects against what a log says of them, in plain Python. Part of `tenancy._log_check`.

Written from cpp/LOG_FORMAT.md, 3.2 and 11, alone.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from ._log_chain import Chain, Finding
from ._log_format import crc32c

__all__ = ["judge_subjects"]

FILE = "keys/subjects"
SLOT = 128
LIVE, ERASING, ERASED = 1, 2, 3


def judge_subjects(path: Path, log_id: bytes, chains: Sequence[Chain]) -> Iterator[Finding]:
    """What the file of keys and the records of the four chains contradict each other in."""
    data = path.read_bytes() if path.exists() else b""
    erased = chains[0].erased
    there: set[bytes] = set()
    if data:
        head = data[:SLOT]
        if head[:12] != b"TNCYSUB\0\1\0\0\0" or not _whole(head) or head[16:32] != log_id:
            yield Finding(1, "subjects_damaged", FILE)
            return
    for at in range(SLOT, len(data), SLOT):
        slot = data[at : at + SLOT]
        (state,) = struct.unpack_from("<I", slot, 80) if len(slot) == SLOT else (0,)
        if not _whole(slot) or not LIVE <= state <= ERASED:
            yield Finding(4, "subjects_torn", FILE, at)
            continue
        key, (sequence,) = slot[:16], struct.unpack_from("<Q", slot, 88)
        there.add(key)
        if state == ERASING:
            yield Finding(4, "erasing", FILE, at)
        elif state == LIVE and key in erased:
            yield erased[key]
        elif state == ERASED and key not in erased and _expected(chains[0], sequence):
            yield Finding(1, "erased_missing", FILE, at, chains[0].name, sequence)
    used = {key: place for one in reversed(chains) for key, place in one.sealed_under.items()}
    for key in sorted(used):
        if key not in there and key not in erased and not chains[0].damaged:
            yield used[key]


def _whole(slot: bytes) -> bool:
    return len(slot) == SLOT and struct.unpack("<I", slot[-4:])[0] == crc32c(slot[:-4])


def _expected(chain: Chain, sequence: int) -> bool:
    """Whether the record of that sequence would have been read."""
    return sequence >= chain.kept and not (chain.damaged and sequence > chain.next)
