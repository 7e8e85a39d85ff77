"""A second verifier of the log, in plain Python, written from cpp/LOG_FORMAT.md alone.

It shares no code with the compiled one, so that an error in either shows as a disagreement: status,
and for each finding code, class, sequence, segment and offset. It is slow, and meant to be read.

    python -m tenancy._log_check LOG_DIRECTORY KEY_FILE [ANCHOR_FILE …]
"""

from __future__ import annotations

import json
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ._log_chain import HEADER, Chain, Finding, Segment, StopError
from ._log_format import CLASSES, Block, Keys, Note, Record, frames, root, sha
from ._log_subjects import judge_subjects

__all__ = ["Finding", "verify"]


class Log:
    """What is read before the chains, and the whole report."""

    def __init__(
        self,
        directory: Path,
        key_path: Path,
        anchors: Iterable[bytes],
        now: int,
        subjects: Path | None,
    ) -> None:
        self.directory, self.now, self.anchors = directory, now, list(anchors)
        self.subjects = subjects
        self.key_path = key_path
        self.findings: list[Finding] = []
        self.later: list[Finding] = []
        self.segments: list[list[Segment]] = [[], [], [], []]
        self.stubs: list[list[Segment]] = [[], [], [], []]
        self.has_manifest = False
        self.kept, self.epoch_max = [0] * 4, 0
        self.entries: list[list[tuple[int, int, int, int, bytes]]] = [[], [], [], []]
        self.public_key: bytes | None = None
        self.head: tuple[int, list[tuple[int, int, int, bytes]], int] | None = None
        self.tenant_file: list[tuple[int, list[bytes]]] | None = None
        self.notes: list[tuple[int, bytes]] = []
        self.checkpoints: list[Note] = []
        self.good_anchors: list[Note] = []
        self.whole = True
        self.records = self.sealed = 0

    def read(self, name: str) -> bytes | None:
        try:
            return (self.directory / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def run(self) -> None:
        self.read_key()
        unexpected = self.list_segments()
        ours = [self.read_manifest(), *self.read_head()]
        ours += [self.first_record(i) for i in range(4)]
        files = (self.read("manifest"), self.read("head"))
        if (any(self.segments) or any(self.stubs) or files != (None, None)) and not any(ours):
            self.findings = []
            raise StopError(Finding(3, "wrong_key"))
        self.read_tenants()
        self.read_checkpoints()
        self.findings += unexpected + self.divide()
        chains = [Chain(self, i) for i in range(4)]
        for chain in chains:
            chain.run()
            silence = abs(self.now - chain.time) if self.now > chain.time else 0
            if self.now and not chain.damaged and not chain.quiet and silence > 2 * chain.interval:
                chain.note(4, "silent")
            self.findings += chain.findings
            self.records += max(chain.next - chain.kept, 0)
            self.sealed += chain.sealed
        if self.subjects is not None:
            self.findings += judge_subjects(self.subjects, self.keys.log_id, chains)
        self.judge_anchors([chain.next for chain in chains])
        self.findings += self.later

    def read_key(self) -> None:
        try:
            data = self.key_path.read_bytes()
        except OSError:
            raise StopError(Finding(3, "io_error")) from None
        try:
            block = Block(b"TNCYKEY", data)
        except ValueError:
            raise StopError(Finding(3, "wrong_key")) from None
        except NotImplementedError:
            raise StopError(Finding(3, "version")) from None
        self.keys = Keys(block.log_id, block.content[8:40])
        state = struct.unpack_from("<I", block.content)[0]
        if block.epoch or state > 2 or not self.keys.owns(block):
            raise StopError(Finding(3, "wrong_key"))

    def list_segments(self) -> list[Finding]:
        if not self.directory.is_dir():
            raise StopError(Finding(3, "not_a_log"))
        unexpected = []
        directory = self.directory / "segments"
        names = sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
        for name in names:
            match = re.fullmatch(r"(\w+)-(\d{20})\.(seg|stub)(\.new)?", name)
            if not match or match[1] not in CLASSES:
                shown = re.sub(r"[^ -~]", "?", name)
                unexpected.append(Finding(4, "unexpected_file", f"segments/{shown}"))
            elif not match[4]:
                data = (directory / name).read_bytes()
                segment = Segment(int(match[2]), f"segments/{name}", data)
                kind = self.segments if match[3] == "seg" else self.stubs
                kind[CLASSES.index(match[1])].append(segment)
        return unexpected

    def divide(self) -> list[Finding]:
        """Stubs come before the first sequence kept, segments from there on. (6.4)"""
        unexpected = []
        for i, (segments, stubs) in enumerate(zip(self.segments, self.stubs, strict=True)):
            if not self.has_manifest and segments and stubs:
                self.kept[i] = segments[0].first
            there, kept = {one.first for one in segments}, self.kept[i]
            self.segments[i] = [one for one in segments if one.first >= kept]
            self.stubs[i] = [one for one in stubs if one.first < kept]
            unexpected += [
                Finding(4, "unexpected_file", one.name)
                for one in stubs
                if one.first >= kept and one.first not in there
            ]
        return unexpected

    def block(self, name: str, magic: bytes, code: str) -> Block | None:
        """The one block of a file, when it is whole and ours; else a finding."""
        data = self.read(name)
        if data is None:
            if name != "tenants":
                self.findings.append(Finding(1, f"{code}_missing", name))
            return None
        try:
            block = Block(magic, data)
            if len(block.data) != len(data):
                raise ValueError("longer")
        except NotImplementedError:
            if name == "manifest":
                raise StopError(Finding(3, "version", name)) from None
            block = None
        except ValueError:
            block = None
        if block is None or not self.keys.owns(block):
            self.findings.append(Finding(1, f"{code}_{'mac' if block else 'damaged'}", name))
            return None
        self.epoch_max = max(self.epoch_max, block.epoch)
        return block

    def read_manifest(self) -> bool:
        block = self.block("manifest", b"TNCYMAN", "manifest")
        if block is None:
            return False
        content, at = block.content, 72
        _, _, public_key, check, _ = struct.unpack_from("<Qq32s16sQ", content)
        kept, entries = [], []
        try:
            for _ in range(4):
                first, count = struct.unpack_from("<QI", content, at)
                kept.append(first)
                part = content[at + 16 : at + 16 + 64 * count]
                entries.append(list(struct.iter_unpack("<QQQI4x32s", part)))
                at += 16 + 64 * count
            right = at <= len(content)
        except struct.error:
            right = False
        if not right or check != self.keys.derive(0, b"tenancy log check", 16):
            self.findings.append(Finding(1, "manifest_content", "manifest"))
        else:
            self.kept, self.entries, self.public_key = kept, entries, public_key
            self.has_manifest = True
        return True

    def read_head(self) -> Iterator[bool]:
        data = self.read("head")
        if data is None:
            self.findings.append(Finding(1, "head_missing", "head"))
            return
        if len(data) != 4 * HEADER:
            self.findings.append(Finding(1, "head_damaged", "head"))
            if len(data) > 4 * HEADER:
                return
        forged = False
        for at in range(0, 4 * HEADER, HEADER):
            slot = data[at : at + HEADER]
            if not any(slot):
                continue
            try:
                block = Block(b"TNCYHED", slot)
                if len(block.data) != HEADER:
                    raise ValueError("length")
            except (ValueError, NotImplementedError):
                self.findings.append(Finding(4, "head_torn", "head", at))
                continue
            if not self.keys.owns(block):
                self.findings.append(Finding(1, "head_mac", "head", at))
                forged = True
                continue
            yield True
            self.epoch_max = max(self.epoch_max, block.epoch)
            generation, _, checkpoints = struct.unpack_from("<QqQ", block.content)
            chains = list(struct.iter_unpack("<QQQ8x32s", block.content[32 : 32 + 4 * 64]))
            if self.head is None or generation > self.head[0]:
                self.head = (generation, chains, checkpoints)
        if self.head is None and not forged:
            self.findings.append(Finding(1, "head_damaged", "head"))

    def first_record(self, which: int) -> bool:
        for segment in self.segments[which][:1]:
            try:
                record = Record(segment.data, HEADER)
            except ValueError:
                return False
            info = b"tenancy log record" + bytes([which])
            if self.keys.tag_is(record.data[:-36], record.tag, record.epoch, info):
                record.parse()
                if self.public_key is None and len(record.fields.get(257, b"")) == 32:
                    self.public_key = record.fields[257]
                return True
        return False

    def read_tenants(self) -> None:
        block = self.block("tenants", b"TNCYTEN", "tenants")
        if block is None:
            return
        pairs = list(struct.iter_unpack("<QQ", block.content[8:72]))
        rest, self.tenant_file = block.content[72:], []
        for size, count in pairs:
            part, rest = rest[: 64 * count], rest[64 * count :]
            entries = sorted(part[i : i + 64] for i in range(0, len(part), 64))
            self.tenant_file.append((size, entries))

    def read_checkpoints(self) -> None:
        data = self.read("checkpoints") or b""
        self.notes = list(frames(data))
        end = self.notes[-1][0] + len(self.notes[-1][1]) + 8 if self.notes else 0
        if len(self.notes) < (self.head[2] if self.head else 0):
            code = "checkpoint_damaged" if end < len(data) else "checkpoint_missing"
            self.findings.append(Finding(1, code, "checkpoints", end))
        elif end < len(data):
            self.findings.append(Finding(4, "checkpoint_torn", "checkpoints", end))
        leaves: list[bytes] = []
        key = self.public_key
        for number, (offset, text) in enumerate(self.notes if key else []):
            try:
                note = Note(text, self.keys.log_id, key or b"")
                before = self.checkpoints[-1] if self.checkpoints else note
                sizes = zip(before.chains, note.chains, strict=True)
                if note.number != number or note.epoch < before.epoch:
                    raise ValueError("content")
                if any(new[0] < old[0] for old, new in sizes):
                    raise ValueError("content")
                leaves.append(sha(b"\0", note.leaf))
                if root(leaves) != note.root:
                    raise ValueError("tree")
            except ValueError as error:
                code = {"foreign": "content"}.get(str(error), str(error))
                self.findings.append(Finding(1, f"checkpoint_{code}", "checkpoints", offset))
                self.whole = False
                break
            self.checkpoints.append(note)
        for anchor in self.anchors if key else []:
            self.read_anchor(anchor, key or b"")

    def read_anchor(self, anchor: bytes, key: bytes) -> None:
        try:
            self.good_anchors.append(Note(anchor, self.keys.log_id, key))
        except ValueError:
            self.later.append(Finding(1, "anchor_signature"))

    def boundaries(self, which: int) -> Iterator[tuple[int, str, int, Any]]:
        for (offset, _), note in zip(self.notes, self.checkpoints, strict=False):
            yield note.chains[which][0], "checkpoint", offset, note.chains[which][1:]
        for anchor in self.good_anchors:
            yield anchor.chains[which][0], "anchor", 0, anchor.chains[which][1:]
        if self.tenant_file is not None:
            size, entries = self.tenant_file[which]
            yield size, "tenants", 0, entries

    def promised(self, which: int) -> int:
        sizes = [note.chains[which][0] for note in self.checkpoints]
        sizes += [self.head[1][which][0]] if self.head else []
        sizes += [entry[1] for entry in self.entries[which][-1:]]
        sizes += [self.tenant_file[which][0]] if self.tenant_file is not None else []
        return max(sizes, default=0)

    def judge_anchors(self, ends: Sequence[int]) -> None:
        for anchor in self.good_anchors:
            here = anchor.number < len(self.checkpoints)
            behind = any(end < chain[0] for end, chain in zip(ends, anchor.chains, strict=True))
            if behind and not here:
                self.later.append(Finding(1, "rolled_back"))
            elif not here and self.whole:
                self.later.append(Finding(1, "checkpoint_missing", "checkpoints"))
            elif here and self.checkpoints[anchor.number].text != anchor.text:
                self.later.append(Finding(1, "anchor_mismatch"))
        if not self.anchors:
            self.later.append(Finding(4, "unanchored"))


def verify(
    directory: str | Path,
    key: str | Path,
    anchors: Iterable[str] = (),
    now_ns: int = 0,
    subjects: str | Path | None = None,
) -> tuple[int, list[Finding]]:
    """Status and findings of a log directory, as LOG_FORMAT.md, 11 defines them.

    `key` is a file like `keys/log.verify`; `anchors` are notes that were kept elsewhere; with
    `now_ns` a silence up to that time is judged as well, with `subjects`, a file like
    `keys/subjects`, whether erasures are what their records say.
    """
    notes = [anchor.encode() for anchor in anchors]
    file = None if subjects is None else Path(subjects)
    log = Log(Path(directory), Path(key), notes, now_ns, file)
    try:
        log.run()
    except StopError as stop:
        log.findings.append(stop.finding)
    found = {finding.status for finding in log.findings}
    return next((status for status in (1, 3, 4) if status in found), 0), log.findings


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    anchors = [Path(path).read_text(encoding="utf-8") for path in arguments[2:]]
    status, findings = verify(arguments[0], arguments[1], anchors)
    shown = [asdict(finding) for finding in findings]
    print(json.dumps({"status": status, "findings": shown}, indent=1))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
