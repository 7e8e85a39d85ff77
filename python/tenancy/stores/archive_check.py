"""Whether an archive is what was written: each part by itself, and the parts one after the other.

A check reads everything. It needs no log: with the log's public key, from somewhere the archive's
writer cannot reach, each part is proven to be those records of the log. What nobody can see is that
the newest parts were taken away.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._audit_proofs import VerifierKey, decoded
from .._log_format import Note, sha
from ..errors import ExtraMissing, InvalidValue, NotFound, StoreDamaged, StoreError
from .archive import Archive
from .archive_part import FORMATS, ArchivePart, manifest_of, read_part, view_of
from .archive_place import ColdError
from .archive_proof import range_root
from .audit_events import CHAINS
from .log_records import parsed
from .records import Record

__all__ = ["ArchiveReport", "check_archive"]

WHOLE, TAMPERED, UNVERIFIABLE, RESERVED = 0, 1, 3, 4
_Keys = Mapping[str, VerifierKey]  # by the id of the log


@dataclass(frozen=True)
class ArchiveReport(Record):
    """What a check found. True when nothing was changed."""

    status: int
    """0 whole; 1 changed; 3 cannot be read, or nothing is there; 4 whole, with reservations: no key
    was given, there is a gap, or a write was interrupted."""
    url: str
    parts: int
    records: int
    findings: Sequence[Mapping[str, Any]]
    """Each with `status`, `code`, `part` (its name), `chain`, `sequence` and `text`."""

    def __bool__(self) -> bool:
        return self.status in (WHOLE, RESERVED)


@dataclass(eq=False)
class _FindingError(Exception):
    status: int
    code: str
    part: str
    text: str
    chain: str | None = None
    sequence: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "status": self.status,
            "code": self.code,
            "part": self.part,
            "chain": self.chain,
            "sequence": self.sequence,
            "text": self.text,
        }


def check_archive(
    url: str,
    *,
    storage_options: Mapping[str, Any] | None = None,
    public_key: str | Iterable[str] | None = None,
) -> ArchiveReport:
    """Check each part of an archive, and that the parts of a chain follow one another.

    `public_key` is the line of `keys/log.pub`, or those of all hosts that write to this archive:
    then each part must be of one of these logs, and is proven by its signed checkpoint. Without it
    the key that the manifest names is used, which shows damage, not a forgery (status 4,
    `key_not_given`). Raises a `StoreError` when the place cannot be listed, `InvalidValue` for a
    key that is none, `ExtraMissing`.
    """
    archive = Archive(url, storage_options=storage_options)
    keys = None if public_key is None else _keys_by_log(public_key)
    names = archive.place.names((*(f".{f}" for f in FORMATS), *(f".{f}.json" for f in FORMATS)))
    findings = [*_lone_files(names)]
    good: list[ArchivePart] = []
    parts = [name for name in names if name.endswith(".json")]
    for name in parts:
        found = _checked(archive, name, keys)
        if isinstance(found, ArchivePart):
            good.append(found)
        else:
            findings.append(found)
    findings += _between(good)
    if not parts:
        findings.append(_FindingError(UNVERIFIABLE, "no_archive", "", "no part of an archive"))
    elif keys is None:
        text = "no key was given: a forged archive with a key of its own cannot be told"
        findings.append(_FindingError(RESERVED, "key_not_given", "", text))
    statuses = {finding.status for finding in findings}
    return ArchiveReport(
        status=next((s for s in (TAMPERED, UNVERIFIABLE, RESERVED) if s in statuses), WHOLE),
        url=archive.url,
        parts=len(parts),
        records=sum(part.records for part in good),
        findings=[finding.as_dict() for finding in findings],
    )


def _keys_by_log(lines: str | Iterable[str]) -> _Keys:
    found = [VerifierKey.parse(line) for line in ([lines] if isinstance(lines, str) else lines)]
    if not found:
        raise InvalidValue(
            "public_key", "no key is in it", remedy="the line of keys/log.pub of each host"
        )
    return {key.log_id.hex(): key for key in found}


def _checked(archive: Archive, name: str, keys: _Keys | None) -> ArchivePart | _FindingError:
    try:
        part = _manifest(archive, name)
        _check_part(archive, part, keys)
    except _FindingError as finding:
        return finding
    return part


def _lone_files(names: Sequence[str]) -> Iterator[_FindingError]:
    for name in names:
        if not name.endswith(".json") and f"{name}.json" not in names:
            text = "a file without its manifest: its write was interrupted, or the manifest removed"
            yield _FindingError(RESERVED, "manifest_missing", name, text)


def _manifest(archive: Archive, name: str) -> ArchivePart:
    own = name.removesuffix(".json")
    try:
        return manifest_of(archive.place.read(name), archive.url, name)
    except ValueError as error:
        raise _FindingError(TAMPERED, "manifest_changed", own, str(error)) from None
    except (ColdError, StoreError) as error:
        raise _FindingError(UNVERIFIABLE, "unreadable", own, str(error)) from None


def _check_part(archive: Archive, part: ArchivePart, keys: _Keys | None) -> None:
    def found(code: str, text: str, *, status: int = TAMPERED) -> _FindingError:
        return _FindingError(status, code, part.name, text, part.chain)

    note = _checked_note(part, keys)
    with tempfile.TemporaryDirectory(prefix="tenancy-archive-") as scratch:
        copy = Path(scratch) / "part"
        try:
            digest = archive.place.fetch(part.name, copy)
        except NotFound:
            raise found("part_missing", "its manifest is there, the file is not") from None
        except ColdError:
            text = "in a class of storage that must be restored first"
            raise found("cold", text, status=UNVERIFIABLE) from None
        except StoreError as error:
            raise found("unreadable", error.message, status=UNVERIFIABLE) from None
        try:
            leaves, records = _check_rows(part, copy)
        except StoreDamaged as error:
            raise found("part_changed", error.message) from None
    if digest != part.sha256:
        raise found("part_changed", "the file's SHA-256 is not the manifest's")
    if records != part.records_sha256:
        raise found("part_content", "the records are not those that the manifest tells of")
    size, expected, _, _ = note.chains[CHAINS.index(part.chain)]
    before, after = ([decoded(text) for text in side] for side in (part.before, part.after))
    if range_root(size, part.first, leaves, before, after) != expected:
        raise found("part_root", "these are not the records of the log of the signed checkpoint")


def _checked_note(part: ArchivePart, keys: _Keys | None) -> Note:
    try:
        used = VerifierKey.parse(part.public_key) if keys is None else keys.get(part.log)
        if used is None or part.log != used.log_id.hex():
            raise ValueError("of another log than the key: give the key of each log that is here")
        return Note(part.checkpoint.encode(), used.log_id, used.public_key)
    except ImportError:
        raise ExtraMissing("archive", "cryptography") from None
    except ValueError as error:
        text = f"its checkpoint is not signed with the key ({error})"
        raise _FindingError(TAMPERED, "part_signature", part.name, text, part.chain) from None


def _check_rows(part: ArchivePart, copy: Path) -> tuple[list[bytes], str]:
    """Hashes of the leaves, and the sum of all records."""
    leaves, digest = [], hashlib.sha256()
    sequence, tag = part.first, bytes.fromhex(part.tags[0])

    def found(code: str, text: str) -> _FindingError:
        return _FindingError(TAMPERED, code, part.name, text, part.chain, sequence)

    for data, view in read_part(copy, part.format):
        try:
            record = parsed(data)
        except ValueError:
            raise found("record_damaged", "the bytes of the record are damaged") from None
        place = (record.log_id.hex(), CHAINS[record.chain], record.sequence)
        if place != (part.log, part.chain, sequence) or record.previous != tag:
            raise found("record_order", "another record stands where this one should")
        if view_of(record) != view:
            names = [name for name, value in view_of(record).items() if view.get(name) != value]
            raise found("part_content", f"columns that are not the record's: {', '.join(names)}")
        digest.update(data)
        leaves.append(sha(b"\0", data[:-4]))
        sequence, tag = sequence + 1, record.tag
    if sequence != part.last + 1 or tag.hex() != part.tags[1]:
        raise found("part_content", f"the part has {len(leaves)} records of {part.records}")
    return leaves, digest.hexdigest()


def _between(parts: Sequence[ArchivePart]) -> Iterator[_FindingError]:
    """Parts that do not join on, and what is missing between them."""
    order = sorted(parts, key=lambda p: (p.log, p.chain, p.first, p.last))
    last: ArchivePart | None = None
    for part in order:
        if last is None or (last.log, last.chain) != (part.log, part.chain):
            if part.first:
                text = f"the first record here is {part.first}: none before it are in the archive"
                yield _FindingError(RESERVED, "gap", part.name, text, part.chain, 0)
            last = part
            continue
        if part.first > last.last + 1:
            text = f"the records {last.last + 1} to {part.first - 1} are not in the archive"
            yield _FindingError(RESERVED, "gap", part.name, text, part.chain, last.last + 1)
        if part.first == last.last + 1 and part.tags[0] != last.tags[1]:
            text = "it does not continue the part before it"
            yield _FindingError(TAMPERED, "part_link", part.name, text, part.chain, part.first)
        if part.last > last.last:
            last = part
