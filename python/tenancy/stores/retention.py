"""The end of records: what has served its time is archived, then pruned, unless it is held.

Invariants:
 1. What is pruned is in the archive first, or the catalog says `archive: none`.
 2. Holds are looked at in the transaction in which records go: one that was placed before is kept.
 3. A chain is pruned from its front only, in whole segments: what must stay keeps all behind it.
 4. One run at a time on a host: the seat is a file lock that the kernel frees at death.
 5. What was deleted has its certificate and its fact, once: those of a run that was killed are made
    up for by the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from .. import _core
from .._text import to_datetime
from ..errors import StoreBusy, TenancyError
from .archive import Archive
from .audit_events import CHAINS
from .audit_log import translated_log
from .election import Election
from .holds import Standing, standing
from .host import Host
from .purge_certificate import Kept, PurgeCertificate, Purged, RetainedChain
from .purge_pending import Pending
from .whole_file import write_whole

__all__ = ["EVERY_S", "FIRST_S", "Retention", "RetentionJob"]

EVERY_S = 86_400.0
FIRST_S = 60.0
"""Not with the opening: reading a segment takes a while."""
DIRECTORY = "purges"
_DAY_NS = 86_400 * 10**9
_BATCH = 8
"""Segments that go in one transaction: nobody else changes definitions meanwhile."""


@dataclass(frozen=True)
class _Segment:
    first: int
    end: int
    records: int
    events: int
    since_ns: int
    until_ns: int
    held: tuple[str, ...]
    """Tenants under a hold that have records here."""

    def purged(self, archived: str | None) -> Purged:
        since, until = to_datetime(self.since_ns), to_datetime(self.until_ns)
        assert since is not None
        assert until is not None
        return Purged(
            first=self.first,
            last=self.end - 1,
            records=self.records,
            events=self.events,
            since=since,
            until=until,
            bytes=0,
            stub_sha256=None,
            archived=archived,
        )


class Retention:
    """Applies the catalog's `audit.retention`. Any thread."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def run(self, *, dry_run: bool = False, by: str | None = None) -> PurgeCertificate:
        """Raises `StoreBusy` when somebody else is at it."""
        seat = Election(self._host.directory.path / "retention")
        if not seat.win():
            raise StoreBusy("retention is being applied already", remedy="wait until it is done")
        try:
            return self._run(dry_run=dry_run, by=by)
        finally:
            seat.resign()

    def _run(self, *, dry_run: bool, by: str | None) -> PurgeCertificate:
        self._host.facts.settle()
        if not dry_run:
            self._make_up()
        policy = self._host.catalog.audit
        now_ns = self._host.clock.wall_ns()
        time = to_datetime(now_ns)
        assert time is not None
        made = PurgeCertificate(
            log=self._host.facts.log.id,
            time=time,
            dry_run=dry_run,
            archive=None if policy.archive is None else _public(policy.archive),
            chains={},
        )
        pending = None if dry_run else Pending.begin(self._directory, made, by, now_ns)
        chains = {
            chain: _ChainRun(self._host, chain, now_ns, pending, by=by).run() for chain in CHAINS
        }
        made = replace(made, chains=chains)
        if pending is None:
            return made
        if made and not made.purged:
            pending.forget()
            return made
        return self._tell(made, pending)

    @property
    def _directory(self) -> Path:
        return self._host.directory.path / DIRECTORY

    def _make_up(self) -> None:
        """Certificate and fact of a run that was killed behind its deletion."""
        left = Pending.left(self._directory)
        if left is None:
            return
        if self._host.facts.find(left.run) is None:
            left.take_back()
            made = left.made_up({chain: self._stubs(chain) for chain in CHAINS})
            if made.purged:
                self._tell(made, left)
        left.forget()

    def _stubs(self, chain: str) -> dict[int, tuple[int, str]]:
        directory = self._host.facts.log.directory
        with translated_log(directory):
            found = _core.log_segments(str(directory), chain)
        return {
            first: (size, stub.hex())
            for first, _, pruned, size, stub in found
            if pruned and size is not None and stub is not None
        }

    def _tell(self, made: PurgeCertificate, pending: Pending) -> PurgeCertificate:
        """The certificate as a file, and its digest as a fact."""
        directory = self._directory
        stamp = made.time.strftime("%Y%m%dT%H%M%S.%fZ")
        path = directory / f"{stamp}-{made.sha256[:16]}.json"
        pending.certify(path.name)
        write_whole(path, [made.to_json().encode()])
        gone = {chain: one.kept_from for chain, one in made.chains.items() if one.purged}
        with self._host.write(pending.by) as change:
            event = change.fact(
                "retention_policy_applied",
                "audit:retain",
                resource="audit",
                event_id=pending.run,
                result="success" if made else "failure",
                context={
                    "certificate_sha256": made.sha256,
                    "certificate": f"{DIRECTORY}/{path.name}",
                    "purged": made.purged,
                    "kept_from": gone,
                    **({"made_up": True} if made.made_up else {}),
                },
            )
        pending.forget()
        self._host.facts.settle()
        return replace(made, event=event)


class _ChainRun:
    """One retention class in one run."""

    def __init__(
        self, host: Host, chain: str, now_ns: int, pending: Pending | None, *, by: str | None
    ) -> None:
        """`pending` is told before anything is deleted; None: nothing is, this is a rehearsal."""
        policy = host.catalog.audit
        self._host, self._chain, self._pending, self._by = host, chain, pending, by
        self._log = host.facts.log
        self._days = policy.retention[chain]
        self._before_ns = max(now_ns - self._days * _DAY_NS, 0)
        self._url = policy.archive
        self._purged: list[Purged] = []
        self._kept: list[Kept] = []
        self._records: list[int] = []

    def run(self) -> RetainedChain:
        if self._pending is None:
            going, self._kept = self._plan(self._standing(), 1 << 62)
            self._purged = [segment.purged(None) for segment in going]
        else:
            while self._batch(self._pending):
                pass
        return self._state()

    def _state(self) -> RetainedChain:
        before = to_datetime(self._before_ns)
        assert before is not None
        return RetainedChain(
            days=self._days,
            expired_before=before,
            kept_from=self._log.kept_from()[self._chain],
            purged=tuple(self._purged),
            kept=tuple(self._kept),
            log_records=tuple(self._records),
        )

    # ------------------------------------------------------------------------------- a batch

    def _batch(self, pending: Pending) -> bool:
        """Archive and prune some segments; whether there may be more."""
        planned = self._standing()
        going, self._kept = self._plan(planned, _BATCH)
        archived: list[str | None] = []
        try:
            for segment in going:
                archived.append(self._archive(segment))  # noqa: PERF401 - what came before a failure
        except (TenancyError, OSError) as error:
            self._stop("archive_failed", going[len(archived)], f"the archive failed: {error}")
        going = going[: len(archived)]
        done = bool(going) and self._prune(going, archived, planned, pending)
        return done and len(going) == _BATCH

    def _archive(self, segment: _Segment) -> str | None:
        if self._url is None or self._url == "none":
            return None
        part = Archive(self._url).write(self._log, self._chain, segment.first, segment.end)
        return part.name

    def _prune(
        self,
        going: Sequence[_Segment],
        archived: Sequence[str | None],
        planned: Standing,
        pending: Pending,
    ) -> bool:
        """Nobody places a hold while this looks at them and deletes."""
        try:
            with self._host.write(self._by) as change:
                holds = standing(change.connection)
                free = list(going) if holds == planned else self._free(going, holds)
                if not free:
                    self._kept = self._plan(holds, _BATCH)[1]
                    return False
                doomed = [one.purged(part) for one, part in zip(free, archived, strict=False)]
                pending.announce(self._chain, self._state(), doomed)
                done = self._log.prune(self._chain, free[-1].end)
        except TenancyError as error:
            self._stop("failed", going[0], f"nothing was deleted: {error}")
            return False
        stubs = {first: (size, stub.hex()) for first, _, size, stub in done["segments"]}
        for segment, part in zip(free, archived, strict=False):
            if segment.first not in stubs:
                self._stop("failed", segment, "the log did not delete it")
                return False
            size, stub = stubs[segment.first]
            self._purged.append(replace(segment.purged(part), bytes=size, stub_sha256=stub))
        self._records.append(done["record"])
        if len(free) < len(going):
            self._kept = self._plan(holds, _BATCH)[1]
            return False
        return True

    def _free(self, going: Sequence[_Segment], holds: Standing) -> list[_Segment]:
        """Those in front that no hold keeps; they were read before it was placed."""
        free: list[_Segment] = []
        for segment in going:
            again = self._read(segment.first, segment.end, holds)
            if holds.everything or again.held:
                break
            free.append(segment)
        return free

    # ------------------------------------------------------------------------------- what goes

    def _plan(self, holds: Standing, most: int) -> tuple[list[_Segment], list[Kept]]:
        """The segments in front that may go, at most so many, and why the next one stays."""
        going: list[_Segment] = []
        for first, end in self._segments():
            if len(going) == most:
                return going, []
            if end is None:
                return going, [Kept("active", first, None, "the segment is still written to")]
            segment = self._read(first, end, holds)
            stays = self._stays(segment, holds)
            if stays is not None:
                return going, [stays, _behind(end)]
            going.append(segment)
        return going, []

    def _stays(self, segment: _Segment, holds: Standing) -> Kept | None:
        first, last = segment.first, segment.end - 1
        if segment.until_ns >= self._before_ns:
            until = to_datetime(segment.until_ns)
            return Kept("not_expired", first, last, f"its newest record is of {until}")
        if holds.everything:
            text = "a legal hold keeps everything"
            return Kept("held", first, last, text, holds=holds.everything)
        if segment.held:
            ids = tuple(hold for tenant in segment.held for hold in holds.tenants[tenant])
            text = "tenants under legal hold have records here"
            return Kept("held", first, last, text, holds=ids, tenants=segment.held)
        if self._url is None:
            text = "the catalog does not say where records go first: `audit: {archive: URL}`"
            return Kept("no_archive", first, last, f"{text}, or `archive: none`")
        return None

    def _stop(self, reason: str, segment: _Segment, text: str) -> None:
        self._kept = [Kept(reason, segment.first, segment.end - 1, text), _behind(segment.end)]

    def _standing(self) -> Standing:
        with self._host.read() as connection:
            return standing(connection)

    def _segments(self) -> Iterator[tuple[int, int | None]]:
        with translated_log(self._log.directory):
            found = _core.log_segments(str(self._log.directory), self._chain)
        for first, end, pruned, _, _ in found:
            if not pruned:
                yield first, end

    def _read(self, first: int, end: int, holds: Standing) -> _Segment:
        with translated_log(self._log.directory):
            records, events, since, until, held = _core.log_segment_content(
                str(self._log.directory), self._chain, first, end, list(holds.tenants)
            )
        return _Segment(first, end, records, events, since, until, tuple(held))


def _public(url: str) -> str:
    """Without credentials."""
    scheme, separator, rest = url.rpartition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"


def _behind(first: int) -> Kept:
    text = "a chain is pruned from its front only"
    return Kept("behind", first, None, text)


class RetentionJob:
    """As a background job: applies retention, and says what stands against it."""

    def __init__(self, retention: Retention) -> None:
        self._retention = retention

    def __call__(self) -> tuple[str, ...]:
        try:
            found = self._retention.run()
        except StoreBusy:
            return ()  # somebody does it by hand
        problems = {"no_archive", "archive_failed", "failed"}
        return tuple(
            f"{chain}: {kept.text}"
            for chain, one in found.chains.items()
            for kept in one.kept
            if kept.reason in problems
        )
