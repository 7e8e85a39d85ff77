"""Audit facts: what changed, who did it, what was refused. `Tenancy.audit`.

Changes of definitions write theirs in their own transaction; all facts end in the log, where nobody
can change them unseen. Reading across tenants is a separate interface, `Tenancy.operator`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from ._audit_proofs import check_export, check_receipt
from ._text import (
    check_principal,
    check_text,
    duration_ns,
    from_json,
    listed,
    to_bounded_json,
    to_ns,
)
from .errors import InvalidValue, LegalHold, NotFound, StoreDamaged
from .stores.anchors import Anchor
from .stores.anchors_remote import as_anchor, note_or_anchor
from .stores.archive import Archive, read_archive
from .stores.archive_check import ArchiveReport, check_archive
from .stores.archive_part import ArchivePart
from .stores.archive_ranges import new_ranges, time_ranges
from .stores.audit_export import covering, export_lines, make_receipt
from .stores.audit_verify import AuditReport, verify_log
from .stores.bulk import bulk_lines, check_bulk
from .stores.emission import Emitting, check_fact
from .stores.erasure import ErasureCertificate
from .stores.holds import OF_TENANT, Hold, Holds, standing
from .stores.host import Host
from .stores.ocsf import to_ocsf
from .stores.purge_certificate import PurgeCertificate
from .stores.records import AuditEvent, Page, Tenant
from .stores.retention import Retention
from .stores.twins import twin
from .stores.whole_file import write_whole

__all__ = [
    "Archive",
    "ArchivePart",
    "ArchiveReport",
    "Audit",
    "AuditEvent",
    "AuditReport",
    "ErasureCertificate",
    "Hold",
    "PurgeCertificate",
    "check_archive",
    "check_export",
    "check_receipt",
    "read_archive",
    "to_ocsf",
]


_RELEASE = "release each with `audit.holds.release(hold)`"


class Audit(Emitting):
    """Every call has an `a…` twin but those that give one thing after the other: `follow`,
    `events`, `bulk`, `ocsf`."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.holds = Holds(host)
        self._emit_natively()

    def append(
        self,
        type: str,  # noqa: A002 - the field's name
        *,
        tenant: Tenant | str | None = None,
        action: str | None = None,
        resource: str | None = None,
        resource_id: str | None = None,
        result: str = "success",
        context: Mapping[str, Any] | None = None,
        principal: str | None = None,
        subject: str | None = None,
    ) -> str:
        """Write one fact, synced to disk when this returns. Returns its id.

        `type` is one of the field's (`login`, `data_read`, …) or your own; `result` is `success`,
        `failure` or `denied`. `principal` is by default the current context's. Of `context` the
        texts `ip`, `session_id` and `request_id` can be searched by. `subject` is the person it is
        about, by default the principal: with that person's key the fields are sealed that the
        catalog lists under `audit: personal`.
        """
        check_fact(type, action, resource, resource_id, principal, subject, context)
        tenant_id = None if tenant is None else self._host.tenant_id(tenant)
        with self._host.write(principal) as change:
            event = change.fact(
                type,
                action or type,
                tenant=tenant_id,
                resource=resource,
                resource_id=resource_id,
                result=result,
                context=from_json(to_bounded_json(context, "context")),
                subject=subject,
            )
        assert event is not None
        return event

    # ------------------------------------------------------------------------------ reading

    def search(
        self,
        tenant: Tenant | str,
        *,
        principal: str | None = None,
        type: str | None = None,  # noqa: A002
        action: str | None = None,
        resource: str | None = None,
        resource_id: str | None = None,
        result: str | None = None,
        ip: str | None = None,
        session: str | None = None,
        request: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        cursor: str | None = None,
    ) -> Page[AuditEvent]:
        """Facts of one tenant, newest first; `since` ≤ time < `until`. Of a purged one, by its id.

        `ip`, `session` and `request` are those of the fact's context (`ip`, `session_id`,
        `request_id`). A fact is found as soon as the call that wrote it has returned.
        """
        filters = {
            "tenant_id": self._host.kept_id(tenant),
            "principal": principal,
            "type": type,
            "action": action,
            "resource": resource,
            "resource_id": resource_id,
            "result": result,
            "ip": ip,
            "session": session,
            "request": request,
            "since_ns": None if since is None else to_ns(since, "since"),
            "until_ns": None if until is None else to_ns(until, "until"),
        }
        return self._host.facts.search(filters, limit, cursor)

    def get(self, tenant: Tenant | str, event_id: str) -> AuditEvent:
        """One fact of this tenant by its id."""
        tenant_id = self._host.kept_id(tenant)
        event = self._host.facts.find(event_id)
        if event is None or event.tenant != tenant_id:
            raise NotFound(f"no event {event_id!r}", tenant=tenant_id)
        return event

    def follow(
        self, tenant: Tenant | str, *, every_s: float = 0.25, for_s: float | None = None
    ) -> Iterator[AuditEvent]:
        """Facts of one tenant from now on, as they come, each once.

        It looks every `every_s` seconds and ends after `for_s` seconds, or never.
        """
        tenant_id = self._host.kept_id(tenant)
        duration_ns(every_s, "every_s")
        life = None if for_s is None else duration_ns(for_s, "for_s") / 1e9
        return self._host.facts.follow(tenant_id, every_s=every_s, for_s=life)

    # ------------------------------------------------------------------------------ elsewhere

    def events(
        self,
        tenant: Tenant | str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> Iterator[AuditEvent]:
        """All facts of one tenant, or of all and of none; newest first, `since` ≤ time < `until`.

        Across tenants it is itself a fact (`cross_tenant_access`), by `by` and for `reason`.
        """
        return self._events(tenant, since, until, "audit:events", by, reason)

    def bulk(
        self,
        tenant: Tenant | str | None = None,
        *,
        index: str = "tenancy-audit",
        operation: str = "create",
        since: datetime | None = None,
        until: datetime | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> Iterator[str]:
        """`events` in the bulk form of Elasticsearch and OpenSearch: lines of JSON, two for each
        fact, which joined are the body of `POST /_bulk`.

        The document's id is the fact's: sent twice, `create` answers 409 for it and `index` writes
        the same again.
        """
        check_bulk(index, operation)
        found = self._events(tenant, since, until, "audit:bulk", by, reason)
        return bulk_lines(found, index, operation)

    def ocsf(
        self,
        tenant: Tenant | str | None = None,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> Iterator[dict[str, Any]]:
        """`events` as those of the Open Cybersecurity Schema Framework 1.5.0; see `to_ocsf`."""
        return map(to_ocsf, self._events(tenant, since, until, "audit:ocsf", by, reason))

    def _events(
        self,
        tenant: Tenant | str | None,
        since: datetime | None,
        until: datetime | None,
        action: str,
        by: str | None,
        reason: str | None,
    ) -> Iterator[AuditEvent]:
        filters = {
            "tenant_id": None if tenant is None else self._host.kept_id(tenant),
            "since_ns": None if since is None else to_ns(since, "since"),
            "until_ns": None if until is None else to_ns(until, "until"),
        }
        if tenant is None:
            context = {"since": _iso(since), "until": _iso(until), "reason": reason}
            with self._host.write(by) as change:
                change.fact("cross_tenant_access", action, context=context)
        return self._host.facts.every(filters)

    def archive(
        self,
        url: str,
        *,
        format: str = "parquet",  # noqa: A002 - what it is called everywhere
        since: datetime | None = None,
        until: datetime | None = None,
        storage_options: Mapping[str, Any] | None = None,
    ) -> tuple[ArchivePart, ...]:
        """Write the log into an archive at `url`: the records that it has not yet, or with `since`
        or `until` those of that time. Returns the parts that are there then.

        `url` is a directory, `s3://bucket/path`, `gs://bucket/path` or what else fsspec knows, and
        `storage_options` are its file system's; see `Archive`. The archive has all tenants' facts
        and the log's own records, chain by chain, and is checked with `check_archive`.
        """
        self._host.facts.settle()
        log, place = (
            self._host.facts.log,
            Archive(url, format=format, storage_options=storage_options),
        )
        if since is None and until is None:
            ranges = new_ranges(log, place.covered(log.id))
        else:
            ranges = time_ranges(log, since, until)
        return tuple(place.write(log, *one) for one in ranges)

    # ------------------------------------------------------------------------------ the end

    def retain(self, *, dry_run: bool = False, by: str | None = None) -> PurgeCertificate:
        """Delete the records of the log that have served their time, as the catalog's
        `audit.retention` says, and say what was deleted and what was not.

        Whole segments go, the oldest first; they are archived before (`audit.archive`), and kept
        while a legal hold is on them. What is kept can be proven as before. With `dry_run` nothing
        is changed. The host's background work does it once a day. The certificate is false when an
        archive or the log failed; what it says is kept then, and the next run tries again. Raises
        `StoreBusy` while another run is at it.
        """
        return Retention(self._host).run(dry_run=dry_run, by=by)

    # ------------------------------------------------------------------------------ proofs

    @property
    def public_key(self) -> str:
        """The log's verifier key, one line: receipts and exports are checked with it alone. Give
        it to tenants in another way than the documents that it checks."""
        return self._host.facts.log.public_key

    def verify(
        self, *, key: str | os.PathLike[str] | None = None, anchors: Sequence[Anchor | str] = ()
    ) -> AuditReport:
        """Verify the whole log of this host, and that the table that is searched is the log's.

        `key` is the file of the verification key, by default `keys/log.verify` while it is on the
        host; `anchors` are checkpoints that were kept elsewhere, or the anchors that keep them
        (`tenancy.anchors`, or their URLs): without one, a roll-back of the whole directory cannot
        be seen. An anchor that cannot be read makes the status 3.
        """
        facts = self._host.facts
        with contextlib.suppress(StoreDamaged):  # what stops it is what is judged here
            facts.settle()
        own = facts.log.keys / "log.verify"
        return verify_log(
            facts.log.directory,
            own if key is None else Path(key),
            [note_or_anchor(anchor) for anchor in anchors],
            host_key=own,
            projection=facts.projection.path,
            keys=facts.log.keys,
        )

    def checkpoint(self, *, to: Anchor | str | None = None) -> str:
        """Sign where the log is now, after every fact that was written before: a C2SP note.

        Kept where the host cannot change it, it is an anchor for `verify`; `to` is an anchor, or
        its URL, that is given it now. Raises what `Anchor.publish` does.
        """
        anchor = None if to is None else as_anchor(to)
        self._host.facts.settle()
        note = self._host.facts.log.checkpoint()
        if anchor is not None:
            anchor.publish(note)
        return note

    def prove(self, tenant: Tenant | str, event_id: str) -> dict[str, Any]:
        """A receipt: one event of this tenant with the proof that the log has it.

        JSON can hold it; `tenancy.audit.check_receipt` checks it with the public key alone.
        """
        facts = self._host.facts
        chain, row = facts.locate(event_id, self._host.kept_id(tenant))
        log = facts.log
        note = covering(log.directory, chain, row.sequence) or log.checkpoint()
        return make_receipt(log.directory, log.public_key, note, chain, row.sequence)

    def export(self, tenant: Tenant | str, path: str | os.PathLike[str]) -> int:
        """Write all of one tenant's events into a file, one JSON object per line.

        `tenancy.audit.check_export` checks with the public key alone that each is in the log and
        that none up to the export's checkpoint was left out. Returns how many events it holds. The
        file must not be there yet.
        """
        tenant_id = self._host.kept_id(tenant)
        target = Path(path)
        if target.exists():
            raise InvalidValue("path", f"{target} is there already", remedy="name another file")
        log, count = self._host.facts.log, 0
        note = self.checkpoint()

        def lines() -> Iterator[bytes]:
            nonlocal count
            for line in export_lines(log.directory, log.public_key, note, tenant_id):
                count += '"record":' in line
                yield line.encode() + b"\n"

        write_whole(target, lines())
        return count

    def rebuild(self) -> int:
        """Make the table that is searched anew from the log; returns how many events it has."""
        return self._host.facts.drain.rebuild()

    # ------------------------------------------------------------------------------ erasure

    def erase_subject(
        self,
        subject: str,
        *,
        tenant: Tenant | str | None = None,
        by: str | None = None,
        reason: str,
    ) -> ErasureCertificate:
        """Destroy the key with which the personal fields of a person's facts are sealed.

        `subject` is a principal, or what `append` was given as `subject`, in that tenant; without a
        tenant it is one of the facts that belong to none. When it returns, no process can open
        those fields any more, a record in the log says so, and the facts are found as before by
        what was not sealed. It cannot be taken back. The certificate lists what was not deleted.
        Raises `NotFound` when nothing is sealed under a key of the subject, `LegalHold` while the
        tenant must keep everything.
        """
        check_principal(subject, "subject")
        check_text(reason, "reason", 1000)
        tenant_id = None if tenant is None else self._host.tenant_id(tenant)
        with self._host.write(by) as change:
            actor = change.by
            holds = standing(change.connection)
            held = (*holds.everything, *holds.tenants.get(tenant_id or "", ()))
            if held:
                raise LegalHold(
                    f"the log is under legal hold: {listed(held)}",
                    tenant=tenant_id,
                    remedy=None if set(held) == {OF_TENANT} else _RELEASE,
                )
        done = self._host.facts.erase(subject, tenant_id, by=actor, reason=reason)
        with self._host.write(by) as change:
            change.fact(
                "data_anonymization",
                "audit:erase",
                tenant=tenant_id,
                resource="subject_key",
                resource_id=done.key,
                context={"reason": reason, "records": dict(done.records)},
            )
        return done

    aappend = twin(append)
    asearch = twin(search)
    aget = twin(get)
    aarchive = twin(archive)
    averify = twin(verify)
    acheckpoint = twin(checkpoint)
    aprove = twin(prove)
    aexport = twin(export)
    arebuild = twin(rebuild)
    aretain = twin(retain)
    aerase_subject = twin(erase_subject)


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
