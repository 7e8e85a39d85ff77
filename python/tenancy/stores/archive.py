"""The archive of a log: parts in a directory of any file system that fsspec knows.

Invariants:
 1. A part is there when its manifest is; that is written last.
 2. What is there is never written over: the same records again are no error, others are.
 3. A part holds the bytes of its records as the log has them, so what was sealed stays sealed and
    the archive proves as much as the log did.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .. import _core
from .._audit_proofs import decoded, encoded
from .._log_format import sha
from .._text import listed, shown
from ..errors import Conflict, InvalidValue, NotFound, StoreDamaged, StoreNotWritable
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
from .archive_proof import range_root, sides
from .audit_events import CHAINS, event_of_log
from .audit_export import covering
from .audit_log import AuditLog
from .log_records import parsed, read_records, row_of
from .records import AuditEvent

__all__ = ["Archive", "read_archive"]

OPTIONS = "TENANCY_ARCHIVE_OPTIONS"
_EVENT = 0
_TIME, _SEQUENCE = 32, 116
"""Where a record has its time, from its start, and its sequence, from its end."""


class Archive:
    """An archive of one or several logs at `url`, such as `/mnt/archive`, `s3://bucket/audit` or
    `gs://bucket/audit`. Any thread.

    `format` is `parquet` or `jsonl`. `storage_options` go to the file system as they are; on S3,
    `{"s3_additional_kwargs": {"StorageClass": "GLACIER"}}` puts the records into that class (and
    the small manifests, which every run reads, into the ordinary one). Without any,
    `$TENANCY_ARCHIVE_OPTIONS` is taken, a JSON object. Credentials are shown in no message. Raises
    `ExtraMissing` (`archive`, `s3`, `gcs`) and `InvalidValue`.
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
        options = _of_environment() if storage_options is None else storage_options
        self.place = Place(url, options)

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
            proof = _proof(log, seen, start, end)
            file = Path(scratch) / "part"
            _spool(file, self.format, log, chain, start, end)
            digest = self._put(name, file, seen)
            part = self._part(log, name, seen, proof, file.stat().st_size, digest)
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
        self, log: AuditLog, name: str, seen: _Survey, proof: _Proof, size: int, digest: str
    ) -> ArchivePart:
        records = len(seen.leaves)
        return ArchivePart(
            url=self.url,
            name=name,
            log=log.id,
            chain=seen.chain,
            first=seen.first,
            last=seen.first + records - 1,
            records=records,
            format=self.format,
            bytes=size,
            sha256=digest,
            records_sha256=seen.sha256,
            tags=(seen.previous.hex(), seen.tag.hex()),
            first_time_ns=seen.first_time_ns,
            last_time_ns=seen.last_time_ns,
            public_key=log.public_key,
            checkpoint=proof.note,
            before=tuple(map(encoded, proof.before)),
            after=tuple(map(encoded, proof.after)),
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


# ------------------------------------------------------------------------------ the log's side


@dataclass
class _Survey:
    """What is seen of a range of the log when it is read once."""

    chain: str
    first: int
    sha256: str
    previous: bytes
    tag: bytes
    first_time_ns: int
    last_time_ns: int
    leaves: list[bytes]


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
    """Reads the range once; raises `StoreDamaged` where a record does not follow another."""
    digest, leaves = hashlib.sha256(), []
    previous = tag = b""
    first_ns = last_ns = 0
    for sequence, data in enumerate(read_records(log.directory, chain, start, end), start):
        digest.update(data)
        leaves.append(sha(b"\0", data[:-4]))
        (last_ns,) = struct.unpack_from("<q", data, _TIME)
        place, before = struct.unpack_from("<Q32s", data, len(data) - _SEQUENCE)
        if place != sequence or (tag and before != tag):
            raise StoreDamaged(
                f"{log.directory}: record {sequence} of chain {chain} does not follow the one "
                "before it",
                remedy="`tenancy audit verify` says what is wrong; nothing was archived",
            )
        if not tag:
            previous, first_ns = before, last_ns
        tag = data[-36:-4]
    return _Survey(chain, start, digest.hexdigest(), previous, tag, first_ns, last_ns, leaves)


def _spool(file: Path, form: str, log: AuditLog, chain: str, start: int, end: int) -> None:
    try:
        write_part(file, form, read_records(log.directory, chain, start, end))
    except ValueError:
        raise _damaged(log, chain, start, end) from None
    except OSError as error:
        raise StoreNotWritable(
            f"{file.parent}: a part cannot be prepared there ({error.strerror})",
            remedy="free some space, or name another directory with TMPDIR",
        ) from None


class _Proof(NamedTuple):
    """That a range is in the log of a checkpoint."""

    note: str
    before: list[bytes]
    after: list[bytes]


def _proof(log: AuditLog, seen: _Survey, start: int, end: int) -> _Proof:
    """The newest checkpoint if it covers the range, else a new one, and all hashes of its tree left
    and right of the range. Raises `StoreDamaged` when these records are not those of its tree."""
    note = covering(log.directory, seen.chain, end - 1) or log.checkpoint()
    size, root = _head_in(note, seen.chain)
    try:
        _, left = _core.log_prove_record(str(log.directory), seen.chain, start, note)
        _, right = _core.log_prove_record(str(log.directory), seen.chain, end - 1, note)
    except _core.CoreError as error:
        raise _damaged(log, seen.chain, start, end) from error
    before, after = sides(left, start, size)[0], sides(right, end - 1, size)[1]
    if range_root(size, start, seen.leaves, before, after) != root:
        raise _damaged(log, seen.chain, start, end)
    return _Proof(note, before, after)


def _head_in(note: str, chain: str) -> tuple[int, bytes]:
    """Size and root of a chain's tree in a checkpoint (cpp/LOG_FORMAT.md, 8.4)."""
    words = next(line.split() for line in note.splitlines() if line.startswith(f"chain {chain} "))
    return int(words[2]), decoded(words[3])


def _damaged(log: AuditLog, chain: str, start: int, end: int) -> StoreDamaged:
    return StoreDamaged(
        f"{log.directory}: the records {start} to {end - 1} of chain {chain} are not those of its "
        "checkpoint",
        remedy="`tenancy audit verify` says what is wrong; nothing was archived",
    )


def _of_environment() -> Mapping[str, Any] | None:
    text = os.environ.get(OPTIONS)
    if not text:
        return None
    try:
        options = json.loads(text)
    except (ValueError, RecursionError):
        options = None
    if not isinstance(options, dict):  # what it holds may be secret
        raise InvalidValue(OPTIONS, "expected a JSON object", remedy='\'{"key": "…"}\'')
    return options


def _conflict(url: str, name: str) -> Conflict:
    return Conflict(
        f"{url}/{name}: holds other records than the log",
        remedy="it is not written over; find out which of the two was changed",
    )
