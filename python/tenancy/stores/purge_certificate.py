"""What a run of retention did, and what it did not do, as a document."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from .._audit_proofs import canonical
from .records import Record

__all__ = ["ELSEWHERE", "Kept", "PurgeCertificate", "Purged", "RetainedChain"]

FORMAT = "tenancy-purge-certificate"

ELSEWHERE = (
    "exports, receipts and reports that were handed out",
    "what other systems were sent: bulk feeds, anchors, alerts",
    "backups and snapshots of the data directory, and free blocks of its disk",
    "the archive, where there is one",
)
"""Where copies may be of which the log knows nothing."""


@dataclass(frozen=True)
class Purged(Record):
    """A segment of the log whose records were deleted."""

    first: int
    """Sequence of its first record."""
    last: int
    records: int
    events: int
    since: datetime
    """Time of its earliest record."""
    until: datetime
    """Time of its latest record."""
    bytes: int
    """What it took on the disk; 0 as long as nothing was deleted."""
    stub_sha256: str | None
    """Of the file that is left, which proofs stand on; None as long as nothing was deleted."""
    archived: str | None
    """The part of the archive that has its records; None: none was asked for."""


@dataclass(frozen=True)
class Kept(Record):
    """Records that were not deleted."""

    reason: str
    """`held`, `not_expired`, `behind` (one that is kept for another reason), `active` (still
    written to), `no_archive`, `archive_failed`, `failed`."""
    first: int
    last: int | None
    """None: up to the end of the chain."""
    text: str
    holds: Sequence[str] = ()
    tenants: Sequence[str] = ()
    """Whose holds they are."""


@dataclass(frozen=True)
class RetainedChain(Record):
    """One retention class."""

    days: int
    expired_before: datetime
    """Records from before that time have served theirs."""
    kept_from: int
    """Sequence of the first record that is kept."""
    purged: Sequence[Purged]
    kept: Sequence[Kept]
    log_records: Sequence[int]
    """Sequences of the log's own records (`pruned`) that say so."""


@dataclass(frozen=True)
class PurgeCertificate(Record):
    """What `Audit.retain` did. True when nothing failed.

    It is anchored in the log: the fact `retention_policy_applied` has its `sha256`.
    """

    log: str
    time: datetime
    dry_run: bool
    """Nothing was deleted: this is what would be."""
    archive: str | None
    """Where records go first; `none`: nowhere; None: not said, so nothing is deleted."""
    chains: Mapping[str, RetainedChain]
    not_known: Sequence[str] = ELSEWHERE
    made_up: bool = False
    """The run was killed after it had deleted; the next one says what is gone."""
    event: str | None = None
    """Id of the fact that has the `sha256`; None when there was nothing to tell."""

    def __bool__(self) -> bool:
        failed = {"archive_failed", "failed"}
        return not any(one.reason in failed for chain in self.chains.values() for one in chain.kept)

    @property
    def purged(self) -> int:
        """How many records were deleted."""
        return sum(one.records for chain in self.chains.values() for one in chain.purged)

    def to_json(self) -> str:
        """The document in RFC 8785's form: the same certificate is the same text."""
        body = {"format": FORMAT, "version": 1, **self.as_dict()}
        del body["event"]  # it is made of this text
        return canonical(body)

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.to_json().encode()).hexdigest()
