"""The archive of a log: parts in a directory of any file system that fsspec knows.

Invariants:
 1. A part is there when its manifest is; that is written last.
 2. What is there is never written over: the same records again are no error, others are.
 3. A part holds the bytes of its records as the log has them, so what was sealed stays sealed and
    the archive proves as much as the log did.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from .. import _core
from .._audit_proofs import encoded
from .._text import listed, shown, to_ns
from ..errors import Conflict, InvalidValue, NotFound, StoreDamaged
from .archive_part import (
    FORMATS,
    ArchivePart,
    manifest_of,
    manifest_text,
    part_name,
    read_part,
    write_part,
)
from .archive_place import ColdError, Place, TakenError
from .archive_proof import sides
from .audit_events import CHAINS, event_of_log
from .audit_export import covering
from .audit_log import AuditLog, translated_log
from .log_records import first_kept, parsed, read_records, row_of, segments
from .records import AuditEvent

__all__ = ["Archive", "new_ranges", "read_archive", "time_ranges"]

_EVENT = 0


class Archive:
    """An archive of one or several logs at `url`, such as `/mnt/archive`, `s3://bucket/audit` or
    `gs://bucket/audit`. Any thread.

    `format` is `parquet` or `jsonl`. `storage_options` go to the file system as they are; on S3,
    `{"s3_additional_kwargs": {"StorageClass": "GLACIER"}}` puts the records into that class (and
    the small manifests, which every run reads, into the ordinary one). Credentials are shown in no
    message. Raises `ExtraMissing` (`archive`, `s3`, `gcs`) and `InvalidValue`.
    """

    def __init__(
        self,
        url: str,
        *,
        format: str = "parquet",  # noqa: A002 - what it is called everywhere
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if format not in FORMATS:
            raise InvalidValue("format", shown(format), remedy=f"one of {listed(FORMATS)}")
        self.format = format
        self.place = Place(url, storage_options)

    @property
    def url(self) -> str:
        """Without credentials."""
        return self.place.url

    def __repr__(self) -> str:
        return f"<Archive {self.url} {self.format}>"

    # ------------------------------------------------------------------------------ writing

    def write(self, log: AuditLog, chain: str, start: int, end: int) -> ArchivePart:
        """Write the records `start` ≤ sequence < `end` of a chain as one part, and describe it.

        Returns when the part is whole in the archive. The same range again writes nothing; other
        records under its name raise `Conflict`. Raises a `StoreError` when the archive or the log
        cannot be used; nothing half is left then.
        """
        _check_range(log, chain, start, end)
        name = part_name(log.id, chain, start, end - 1, self.format)
        seen = _survey(log, chain, start, end)
        known = self._known(name)
        if known is not None:
            self._same(known, seen)
            return known
        with tempfile.TemporaryDirectory(prefix="tenancy-archive-") as scratch:
            file = Path(scratch) / "part"
            write_part(file, self.format, read_records(log.directory, chain, start, end))
            digest = self._put(name, file, seen)
            part = self._part(log, name, start, end, seen, file.stat().st_size, digest)
            text = Path(scratch) / "manifest"
            text.write_text(manifest_text(part), encoding="utf-8")
            try:
                self.place.put(part.manifest, text, warm=True)
            except TakenError:  # another process was as quick
                other = self._known(name)
                assert other is not None
                self._same(other, seen)
                return other
        return part

    def _known(self, name: str) -> ArchivePart | None:
        try:
            text = self.place.read(f"{name}.json")
        except NotFound:
            return None
        try:
            return manifest_of(text, self.url, f"{name}.json")
        except ValueError as error:
            raise StoreDamaged(
                f"{self.url}/{name}.json: {error}", remedy="`tenancy audit archive URL --check`"
            ) from None

    def _same(self, part: ArchivePart, seen: _Survey) -> None:
        """The part holds these records, and its file is what the manifest says."""
        if part.records_sha256 != seen.sha256:
            raise _conflict(self.url, part.name)
        try:
            with tempfile.TemporaryDirectory(prefix="tenancy-archive-") as scratch:
                same = self.place.fetch(part.name, Path(scratch) / "part") == part.sha256
        except ColdError:
            same = self.place.size(part.name) == part.bytes
        if not same:
            raise StoreDamaged(
                f"{self.url}/{part.name}: the file was changed", remedy="restore it from a copy"
            )

    def _put(self, name: str, file: Path, seen: _Survey) -> str:
        """Put the file; a whole one that an interrupted write left is taken over."""
        try:
            self.place.put(name, file)
        except TakenError:
            try:
                self.place.fetch(name, file)
                found = hashlib.sha256()
                for data, _ in read_part(file, self.format):
                    found.update(data)
            except (ColdError, StoreDamaged):
                raise _conflict(self.url, name) from None
            if found.hexdigest() != seen.sha256:
                raise _conflict(self.url, name) from None
        size = self.place.size(name)
        if size != file.stat().st_size:
            raise StoreDamaged(f"{self.url}/{name}: has {size} bytes of {file.stat().st_size}")
        with file.open("rb") as source:
            digest = hashlib.sha256()
            while piece := source.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest()

    def _part(
        self,
        log: AuditLog,
        name: str,
        start: int,
        end: int,
        seen: _Survey,
        size: int,
        digest: str,
    ) -> ArchivePart:
        note = covering(log.directory, seen.chain, end - 1) or log.checkpoint()
        before, after = _proofs(log.directory, seen.chain, start, end - 1, note)
        return ArchivePart(
            url=self.url,
            name=name,
            log=log.id,
            chain=seen.chain,
            first=start,
            last=end - 1,
            records=end - start,
            format=self.format,
            bytes=size,
            sha256=digest,
            records_sha256=seen.sha256,
            tags=(seen.previous.hex(), seen.tag.hex()),
            first_time_ns=seen.first_time_ns,
            last_time_ns=seen.last_time_ns,
            public_key=log.public_key,
            checkpoint=note,
            before=tuple(map(encoded, before)),
            after=tuple(map(encoded, after)),
        )

    # ------------------------------------------------------------------------------ reading

    def parts(self, log: str | None = None) -> tuple[ArchivePart, ...]:
        """The parts by log, chain and range; of one log, or of all. Raises `StoreDamaged` naming a
        manifest that is none."""
        found = []
        for name in self.place.names(tuple(f".{form}.json" for form in FORMATS)):
            if log is None or name.startswith(f"{log}/"):
                part = self._known(name.removesuffix(".json"))
                if part is not None:
                    found.append(part)
        order = {chain: place for place, chain in enumerate(CHAINS)}
        return tuple(sorted(found, key=lambda p: (p.log, order[p.chain], p.first, p.last)))

    def covered(self, log: str) -> list[tuple[str, int, int]]:
        """Chain, first and last sequence of each part of a log, by the manifests' names alone."""
        form = "|".join(FORMATS)
        pattern = re.compile(rf"{log}/(\w+)/\1-(\d{{20}})-(\d{{20}})\.(?:{form})\.json")
        names = self.place.names(tuple(f".{form}.json" for form in FORMATS))
        found = filter(None, map(pattern.fullmatch, names))
        return sorted((match[1], int(match[2]), int(match[3])) for match in found)

    def records(self) -> Iterator[tuple[ArchivePart, bytes]]:
        """The bytes of each record, once also where parts overlap, in the order of `parts`."""
        chain, behind = ("", ""), 0
        for part in self.parts():
            if (part.log, part.chain) != chain:
                chain, behind = (part.log, part.chain), 0
            if part.last < behind:
                continue
            with tempfile.TemporaryDirectory(prefix="tenancy-archive-") as scratch:
                for place, (data, _) in enumerate(self.rows(part, Path(scratch) / "part")):
                    if part.first + place >= behind:
                        yield part, data
            behind = part.last + 1

    def rows(self, part: ArchivePart, scratch: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
        """Bytes and columns of a part's records, read through a copy at `scratch`."""
        try:
            self.place.fetch(part.name, scratch)
        except ColdError:
            raise StoreDamaged(
                f"{self.url}/{part.name}: lies in a class of storage that cannot be read at once",
                remedy="restore the object first, such as with `aws s3api restore-object`",
            ) from None
        return read_part(scratch, part.format)


def read_archive(
    url: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    tenant: str | None = None,
) -> Iterator[AuditEvent]:
    """All events of an archive, or those of the tenant of this id: chain by chain, oldest first.

    They are read from the records' bytes. What is sealed is empty. Nothing is proven by reading;
    `check_archive` does that. Raises a `StoreError` where the archive cannot be read.
    """
    for _, data in Archive(url, storage_options=storage_options).records():
        try:
            record = parsed(data)
        except ValueError:
            raise StoreDamaged(
                f"{url}: holds a record that is damaged",
                remedy="`tenancy audit archive URL --check` says which",
            ) from None
        if record.kind == _EVENT:
            event = event_of_log(row_of(record))
            if tenant is None or event.tenant == tenant:
                yield event


# ------------------------------------------------------------------------------ what to write


def new_ranges(
    log: AuditLog, covered: Sequence[tuple[str, int, int]]
) -> Iterator[tuple[str, int, int]]:
    """What the log has behind these parts (chain, first, last; ascending), which may not follow
    one another; cut where the log's segments are, so that each is a part of limited size."""
    log.flush()
    for chain, end in log.positions().items():
        start = first_kept(log.directory, chain) or 0
        for name, first, last in covered:
            if name == chain and first <= start:
                start = max(start, last + 1)
        yield from _cut(log.directory, chain, start, end)


def time_ranges(
    log: AuditLog, since: datetime | None, until: datetime | None
) -> Iterator[tuple[str, int, int]]:
    """The shortest range of each chain with all its records of `since` ≤ time < `until`."""
    low = -(1 << 63) if since is None else to_ns(since, "since")
    high = (1 << 63) - 1 if until is None else to_ns(until, "until")
    log.flush()
    for chain, end in log.positions().items():
        start = first_kept(log.directory, chain) or 0
        wanted = [row.sequence for row in log.rows(chain, start, end) if low <= row.time_ns < high]
        if wanted:
            yield from _cut(log.directory, chain, wanted[0], wanted[-1] + 1)


def _cut(directory: Path, chain: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    firsts = [first for first, _ in segments(directory, chain) if start < first < end]
    bounds = [start, *firsts, end]
    for low, high in pairwise(bounds):
        if low < high:
            yield chain, low, high


# ------------------------------------------------------------------------------ the log's side


@dataclass
class _Survey:
    """What is seen of a range of the log when it is read once."""

    chain: str
    sha256: str
    previous: bytes
    tag: bytes
    first_time_ns: int
    last_time_ns: int


def _check_range(log: AuditLog, chain: str, start: int, end: int) -> None:
    if chain not in CHAINS:
        raise InvalidValue("chain", shown(chain), remedy=f"one of {listed(CHAINS)}")
    log.flush()
    behind = log.positions()[chain]
    if not 0 <= start < end <= behind:
        raise InvalidValue(
            "range", f"{start} to {end} of chain {chain}, which has records up to {behind}"
        )


def _survey(log: AuditLog, chain: str, start: int, end: int) -> _Survey:
    digest = hashlib.sha256()
    previous = tag = b""
    first_ns = last_ns = 0
    for sequence, data in enumerate(read_records(log.directory, chain, start, end), start):
        digest.update(data)
        try:
            record = parsed(data)
        except ValueError:
            record = None
        followed = record is not None and (not tag or record.previous == tag)
        if record is None or record.sequence != sequence or not followed:
            raise StoreDamaged(
                f"{log.directory}: record {sequence} of chain {chain} does not follow the one "
                "before it",
                remedy="`tenancy audit verify` says what is wrong; nothing was archived",
            )
        if not tag:
            previous, first_ns = record.previous, record.time
        tag, last_ns = record.tag, record.time
    return _Survey(chain, digest.hexdigest(), previous, tag, first_ns, last_ns)


def _proofs(
    directory: Path, chain: str, first: int, last: int, note: str
) -> tuple[list[bytes], list[bytes]]:
    """All hashes of the note's tree left and right of a range, from the root down."""
    with translated_log(directory):
        _, left = _core.log_prove_record(str(directory), chain, first, note)
        _, right = _core.log_prove_record(str(directory), chain, last, note)
    size = _size_in(note, chain)
    return sides(left, first, size)[0], sides(right, last, size)[1]


def _size_in(note: str, chain: str) -> int:
    words = next(line.split() for line in note.splitlines() if line.startswith(f"chain {chain} "))
    return int(words[2])


def _conflict(url: str, name: str) -> Conflict:
    return Conflict(
        f"{url}/{name}: holds other records than the log",
        remedy="it is not written over; find out which of the two was changed",
    )
